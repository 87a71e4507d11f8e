/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-shmdump - what is in a fabric, and whether it is in order */
#define _GNU_SOURCE
#include "tools/dcm-shmdump.h"

#include <ctype.h>
#include <dcm/types.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/park.h"

enum { WANTED_MAX = 16 };

struct arguments {
	const char *fabric;
	bool check;
	unsigned wanted[WANTED_MAX]; /* views, in the order asked for */
	unsigned wanted_count;
	const char *output;
};

static int parse(int argc, char **argv, struct arguments *a, struct dump *dump);
static int attach(struct dump *dump, const char *fabric);
static void watch_truncation(void);
static int print_views(struct dump *dump, const struct arguments *a);

int main(int argc, char **argv)
{
	static struct dump dump = { .headings = true, .first = true };
	struct arguments a = { .fabric = getenv("DCM_FABRIC") };
	int status;

	setlocale(LC_ALL, "");
	status = parse(argc, argv, &a, &dump);
	if (status >= 0)
		return status;
	dump.color = dump.format == FORMAT_TEXT && isatty(STDOUT_FILENO) &&
		     (getenv("NO_COLOR") == NULL || *getenv("NO_COLOR") == '\0');
	watch_truncation();
	status = attach(&dump, a.fabric);
	if (status != 0)
		return status;
	dump.now = dcm_park_now();
	status = a.check ? dump_check(&dump) : print_views(&dump, &a);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "dcm-shmdump: cannot write: %s\n", strerror(errno));
		return EXIT_USAGE;
	}
	return status;
}

static void usage(void)
{
	printf("Usage: dcm-shmdump [options] [FABRIC]\n"
	       "\n"
	       "Shows what is in a DCM fabric. FABRIC is a name, or a path if it has a slash;\n"
	       "without it, DCM_FABRIC in the environment, or \"default\".\n"
	       "\n"
	       "Options:\n"
	       "     --check           look for damage, and for what belongs to the dead\n"
	       " -t, --table LIST      only these tables (see below)\n"
	       " -o, --output LIST     only these columns, of the one table asked for\n"
	       " -J, --json            JSON\n"
	       " -r, --raw             columns separated by one space\n"
	       " -n, --noheadings      no headings\n"
	       " -b, --bytes           sizes as numbers\n"
	       " -h, --help            this text\n"
	       " -V, --version         the version\n"
	       "\n"
	       "Tables and their columns:\n");
	for (unsigned v = 0; v < view_count; v++) {
		printf(" %s:\n    ", views[v].name);
		for (unsigned c = 0, at = 4; c < views[v].count; c++) {
			const char *name = views[v].columns[c].name;

			at += (unsigned)strlen(name) + 1;
			if (at > 78) {
				printf("\n    ");
				at = 5 + (unsigned)strlen(name);
			}
			printf(" %s", name);
		}
		printf("\n");
	}
	printf("\n"
	       "Exit status: 0, and with --check: in order; 1 usage, or there is no such fabric,\n"
	       "or it cannot be read; 2 it is damaged, or something in it belongs to the dead.\n"
	       "What is printed may change in later versions; programs use --json or --output.\n");
}

static int complain(const char *format, const char *what)
{
	fputs("dcm-shmdump: ", stderr);
	fprintf(stderr, format, what);
	fputs("\nTry 'dcm-shmdump --help'.\n", stderr);
	return EXIT_USAGE;
}

/* The next item of a list at *@list, lower case; false: no more. */
static bool next_item(const char **list, char *item, size_t size)
{
	size_t length = 0;

	while (**list == ',')
		(*list)++;
	while (**list != '\0' && **list != ',') {
		if (length + 1 < size)
			item[length++] = (char)tolower((unsigned char)**list);
		(*list)++;
	}
	item[length] = '\0';
	return length != 0;
}

static int want_views(const char *list, struct arguments *a)
{
	char item[32];

	while (next_item(&list, item, sizeof item)) {
		unsigned v = 0;

		while (v < view_count && strcmp(item, views[v].name) != 0)
			v++;
		if (v == view_count)
			return complain("there is no table \"%s\"", item);
		if (a->wanted_count == WANTED_MAX)
			return complain("too many tables, at \"%s\"", item);
		a->wanted[a->wanted_count++] = v;
	}
	return a->wanted_count == 0 ? complain("no table in \"%s\"", list) : -1;
}

static int want_columns(struct dump *dump, const struct arguments *a)
{
	const char *list = a->output;
	const struct view *view;
	char item[32];

	if (a->wanted_count != 1)
		return complain("--output needs --table with one table, not %s",
				a->wanted_count == 0 ? "all" : "several");
	view = &views[a->wanted[0]];
	while (next_item(&list, item, sizeof item)) {
		unsigned c = 0;

		while (c < view->count && strcasecmp(item, view->columns[c].name) != 0)
			c++;
		if (c == view->count)
			return complain("that table has no column \"%s\"", item);
		if (dump->shown_count == COLUMNS_MAX)
			return complain("too many columns, at \"%s\"", item);
		dump->shown[dump->shown_count++] = c;
	}
	return dump->shown_count == 0 ? complain("no column in \"%s\"", a->output) : -1;
}

/* What remains when all options are known. */
static int settle(int argc, char **argv, struct arguments *a, struct dump *dump)
{
	if (optind < argc)
		a->fabric = argv[optind++];
	if (optind < argc)
		return complain("one fabric at a time, not also \"%s\"", argv[optind]);
	if (a->check && (a->wanted_count != 0 || a->output != NULL))
		return complain("--check goes with neither --table nor %s", "--output");
	return a->output != NULL ? want_columns(dump, a) : -1;
}

/* Return: an exit status, or -1 to go on. */
static int parse(int argc, char **argv, struct arguments *a, struct dump *dump)
{
	static const struct option options[] = {
		{ "check", no_argument, NULL, 'c' },
		{ "table", required_argument, NULL, 't' },
		{ "output", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'J' },
		{ "raw", no_argument, NULL, 'r' },
		{ "noheadings", no_argument, NULL, 'n' },
		{ "bytes", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int option, r = -1;

	while (r < 0 && (option = getopt_long(argc, argv, "t:o:JrnbhV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->check = true;
			break;
		case 't':
			r = want_views(optarg, a);
			break;
		case 'o':
			a->output = optarg;
			break;
		case 'J':
		case 'r':
			if (dump->format != FORMAT_TEXT)
				return complain("%s exclude each other", "--json and --raw");
			dump->format = option == 'J' ? FORMAT_JSON : FORMAT_RAW;
			break;
		case 'n':
			dump->headings = false;
			break;
		case 'b':
			dump->bytes = true;
			break;
		case 'h':
			usage();
			return 0;
		case 'V':
			printf("dcm-shmdump %d.%d.%d (layout %u)\n", DCM_VERSION_MAJOR,
			       DCM_VERSION_MINOR, DCM_VERSION_PATCH, DCM_LAYOUT);
			return 0;
		default:
			fputs("Try 'dcm-shmdump --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	return r >= 0 ? r : settle(argc, argv, a, dump);
}

/* Return: 0 or an exit status. */
static int attach(struct dump *dump, const char *fabric)
{
	struct dcm_segment_options options = { .fabric = fabric, .read_only = true };
	struct dcm_detail why;
	int r = dcm_segment_open(&dump->seg, &options, &why);

	if (r == 0)
		return 0;
	fprintf(stderr, "dcm-shmdump: %s\n", why.text);
	return r == -EBADMSG ? EXIT_DAMAGED : EXIT_USAGE;
}

/* Whoever may write to the file may also truncate it; then its pages are gone from under us. */
static void on_bus_error(int signal)
{
	static const char text[] = "dcm-shmdump: the segment was truncated while it was read\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);

	(void)signal;
	(void)ignored;
	_exit(EXIT_DAMAGED);
}

static void watch_truncation(void)
{
	struct sigaction action = { .sa_handler = on_bus_error };

	sigaction(SIGBUS, &action, NULL);
}

static void print_view(struct dump *dump, const struct view *view, bool asked_for)
{
	struct sheet *sheet =
		sheet_open(dump, view->name, view->columns, view->count, view->vertical);

	view->fill(dump, sheet);
	sheet_print(dump, sheet, asked_for);
}

static int print_views(struct dump *dump, const struct arguments *a)
{
	count_usage(dump);
	if (dump->format == FORMAT_JSON)
		json_open(dump);
	for (unsigned i = 0; i < a->wanted_count; i++)
		print_view(dump, &views[a->wanted[i]], true);
	for (unsigned v = 0; a->wanted_count == 0 && v < view_count; v++)
		print_view(dump, &views[v], false);
	if (dump->format == FORMAT_JSON)
		json_close();
	return 0;
}
