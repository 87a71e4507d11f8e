/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables on the screen, by libsmartcols: for people, as raw columns, and as parts of one JSON
   object. */
#define _GNU_SOURCE
#include "tools/dcm-shmdump.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#define NS_IN_S UINT64_C(1000000000)

enum { TEXT_BYTES = 4 * 256 + 1 };

struct sheet {
	const struct dump *dump;
	const char *name;
	const struct column *columns;
	unsigned count;
	bool vertical;		/* for people only: a line for each cell */
	int place[COLUMNS_MAX]; /* of each column on the screen; -1: not shown */
	unsigned next;		/* column that the next cell is of */
	unsigned rows;
	struct libscols_table *table;
	struct libscols_line *line;
};

static void check_memory(bool good)
{
	if (good)
		return;
	fputs("dcm-shmdump: out of memory\n", stderr);
	exit(EXIT_USAGE);
}

static void add_column(struct sheet *s, const char *name, enum column_kind kind)
{
	bool number = kind == COLUMN_NUMBER || kind == COLUMN_AGE ||
		      (kind == COLUMN_BYTES && s->dump->bytes);
	struct libscols_column *column =
		scols_table_new_column(s->table, name, 0, kind != COLUMN_TEXT ? SCOLS_FL_RIGHT : 0);

	check_memory(column != NULL);
	if (number)
		scols_column_set_json_type(column, SCOLS_JSON_NUMBER);
}

/* Which columns are on the screen, and where. */
static void place_columns(struct sheet *s)
{
	const struct dump *dump = s->dump;

	for (unsigned c = 0; c < s->count; c++)
		s->place[c] = dump->shown_count == 0 ? (int)c : -1;
	for (unsigned i = 0; i < dump->shown_count; i++)
		s->place[dump->shown[i]] = (int)i;
	if (s->vertical) {
		add_column(s, "FIELD", COLUMN_TEXT);
		add_column(s, "VALUE", COLUMN_TEXT);
		return;
	}
	for (unsigned i = 0; i < (dump->shown_count != 0 ? dump->shown_count : s->count); i++) {
		const struct column *c = &s->columns[dump->shown_count != 0 ? dump->shown[i] : i];

		add_column(s, c->name, c->kind);
	}
}

struct sheet *sheet_open(const struct dump *dump, const char *name, const struct column *columns,
			 unsigned count, bool vertical)
{
	struct sheet *s = calloc(1, sizeof *s);

	check_memory(s != NULL && count <= COLUMNS_MAX);
	*s = (struct sheet){ .dump = dump,
			     .name = name,
			     .columns = columns,
			     .count = count,
			     .vertical = vertical && dump->format == FORMAT_TEXT,
			     .table = scols_new_table() };
	check_memory(s->table != NULL && scols_table_set_name(s->table, name) == 0);
	scols_table_enable_json(s->table, dump->format == FORMAT_JSON);
	scols_table_enable_raw(s->table, dump->format == FORMAT_RAW);
	scols_table_enable_noheadings(s->table, !dump->headings || s->vertical);
	scols_table_enable_colors(s->table, dump->color);
	place_columns(s);
	return s;
}

static void new_line(struct sheet *s)
{
	s->line = scols_table_new_line(s->table, NULL);
	check_memory(s->line != NULL);
}

void sheet_row(struct sheet *s, const char *color)
{
	s->next = 0;
	s->rows++;
	if (s->vertical)
		return;
	new_line(s);
	if (color != NULL && s->dump->color)
		check_memory(scols_line_set_color(s->line, color) == 0);
}

/* @text: null: nothing */
static void put(struct sheet *s, const char *text)
{
	unsigned c = s->next++;
	char name[32];
	size_t i;

	if (c >= s->count || s->place[c] < 0)
		return;
	if (!s->vertical) {
		check_memory(scols_line_set_data(s->line, (size_t)s->place[c], text) == 0);
		return;
	}
	for (i = 0; i + 2 < sizeof name && s->columns[c].name[i] != '\0'; i++)
		name[i] = (char)(s->columns[c].name[i] | 0x20);
	name[i++] = ':';
	name[i] = '\0';
	new_line(s);
	check_memory(scols_line_set_data(s->line, 0, name) == 0 &&
		     scols_line_set_data(s->line, 1, text) == 0);
}

void cell_none(struct sheet *s)
{
	put(s, NULL);
}

/*
 * Bytes of the character at @s that may go to a terminal, and into JSON, as it is; 0: none. That
 * excludes control characters, those of Latin 1 too, and what turns the direction of a line.
 */
static size_t plain_character(const unsigned char *s)
{
	size_t more = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
	uint32_t point;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f && s[0] != '\\';
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	point = s[0] & (0x3fu >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3fu);
	}
	if (point < 0xa0 || (more == 2 && point < 0x800) || (more == 3 && point < 0x10000) ||
	    point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	if ((point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
	    (point >= 0x2066 && point <= 0x2069) || point == 0xfeff)
		return 0;
	return more + 1;
}

/* All else as \ooo. */
static void escape(char to[TEXT_BYTES], const char *from)
{
	const unsigned char *s = (const unsigned char *)from;
	size_t at = 0;

	while (*s != '\0' && at + 4 < TEXT_BYTES) {
		size_t step = plain_character(s);

		if (step == 0) {
			at += (size_t)sprintf(to + at, "\\%03o", *s++);
			continue;
		}
		memcpy(to + at, s, step);
		at += step;
		s += step;
	}
	to[at] = '\0';
}

void cell_text(struct sheet *s, const char *text)
{
	char escaped[TEXT_BYTES];

	escape(escaped, text);
	put(s, escaped);
}

void cell_number(struct sheet *s, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof text, "%" PRIu64, number);
	put(s, text);
}

void cell_hex(struct sheet *s, uint64_t number, int digits)
{
	char text[32];

	snprintf(text, sizeof text, "%0*" PRIx64, digits, number);
	put(s, text);
}

void cell_bytes(struct sheet *s, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	uint64_t unit = 1;
	unsigned power = 0;
	char text[32];

	while (power + 1 < sizeof units - 1 && bytes / unit >= 1024) {
		unit *= 1024;
		power++;
	}
	if (s->dump->bytes)
		snprintf(text, sizeof text, "%" PRIu64, bytes);
	else if (bytes % unit == 0 || bytes / unit >= 100)
		snprintf(text, sizeof text, "%" PRIu64 "%c", bytes / unit, units[power]);
	else
		snprintf(text, sizeof text, "%" PRIu64 ".%u%c", bytes / unit,
			 (unsigned)(bytes % unit * 10 / unit), units[power]);
	put(s, text);
}

void cell_age(struct sheet *s, uint64_t since_ns)
{
	uint64_t now = (uint64_t)s->dump->now, ns = now - since_ns, seconds = ns / NS_IN_S;
	char text[48];

	if (since_ns == 0 || since_ns > now) {
		put(s, NULL);
		return;
	}
	if (s->dump->format != FORMAT_TEXT)
		snprintf(text, sizeof text, "%" PRIu64 ".%03u", seconds,
			 (unsigned)(ns / 1000000 % 1000));
	else if (seconds < 60)
		snprintf(text, sizeof text, "%" PRIu64 ".%us", seconds,
			 (unsigned)(ns / 100000000 % 10));
	else if (seconds < 3600)
		snprintf(text, sizeof text, "%" PRIu64 "m%02us", seconds / 60,
			 (unsigned)(seconds % 60));
	else if (seconds < 86400)
		snprintf(text, sizeof text, "%" PRIu64 "h%02um", seconds / 3600,
			 (unsigned)(seconds / 60 % 60));
	else
		snprintf(text, sizeof text, "%" PRIu64 "d%02uh", seconds / 86400,
			 (unsigned)(seconds / 3600 % 24));
	put(s, text);
}

/* What libsmartcols prints is an object with one member; that member goes into ours. */
static void print_member(struct dump *dump, const char *object)
{
	const char *start = strchr(object, '{'), *end = strrchr(object, '}');

	if (start == NULL || end == NULL)
		return;
	for (start++; *start == '\n'; start++)
		;
	while (end > start && end[-1] == '\n')
		end--;
	printf("%s%.*s", dump->first ? "" : ",\n", (int)(end - start), start);
	dump->first = false;
}

void sheet_print(struct dump *dump, struct sheet *s, bool wanted_empty)
{
	bool alone = dump->shown_count != 0, empty = s->rows == 0;
	char *text = NULL;

	if (dump->format == FORMAT_JSON) {
		check_memory(scols_print_table_to_string(s->table, &text) == 0 && text != NULL);
		print_member(dump, text);
		free(text);
	} else if (!empty || wanted_empty) {
		if (!dump->first)
			putchar('\n');
		if (dump->headings && !s->vertical && !alone)
			printf("%s: %u\n", s->name, s->rows);
		if (!empty) {
			check_memory(scols_print_table(s->table) == 0);
			dump->first = false;
		}
	}
	scols_unref_table(s->table);
	free(s);
}

void json_open(struct dump *dump)
{
	printf("{\n");
	json_text(dump, "schema", "dcm-shmdump/1");
}

void json_text(struct dump *dump, const char *name, const char *text)
{
	printf("%s   \"%s\": \"%s\"", dump->first ? "" : ",\n", name, text);
	dump->first = false;
}

void json_number(struct dump *dump, const char *name, uint64_t number)
{
	printf("%s   \"%s\": %" PRIu64, dump->first ? "" : ",\n", name, number);
	dump->first = false;
}

void json_close(void)
{
	printf("\n}\n");
}
