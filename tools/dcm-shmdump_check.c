/* SPDX-License-Identifier: BSD-2-Clause */
/* --check: what is damaged, and what belongs to the dead. */
#include "tools/dcm-shmdump.h"

#include <inttypes.h>

static const struct column columns[] = {
	{ "KIND", COLUMN_TEXT },     { "TABLE", COLUMN_TEXT },	 { "SLOT", COLUMN_NUMBER },
	{ "GEN", COLUMN_NUMBER },    { "STATE", COLUMN_TEXT },	 { "OWNER", COLUMN_NUMBER },
	{ "BUCKET", COLUMN_NUMBER }, { "PROBLEM", COLUMN_TEXT },
};

static void report(void *context, const struct dcm_finding *f)
{
	static const char *const kinds[] = { "damaged", "dead", "transition" };
	static const char *const colors[] = { "red", "yellow", NULL };
	struct sheet *sheet = context;

	sheet_row(sheet, colors[f->kind]);
	cell_text(sheet, kinds[f->kind]);
	cell_text(sheet, dcm_check_table_name(f->table));
	cell_number(sheet, f->slot);
	cell_number(sheet, dcm_word_generation(f->word));
	cell_text(sheet, f->table == DCM_CHECK_HEADER
				 ? ""
				 : state_name(f->table, dcm_word_state(f->word)));
	cell_number(sheet, dcm_word_owner(f->word));
	if (f->bucket == UINT32_MAX)
		cell_none(sheet);
	else
		cell_number(sheet, f->bucket);
	cell_text(sheet, f->text);
}

static void print_count(const char *what, uint64_t count, bool more)
{
	printf("%s%s%" PRIu64 " finding%s", what, more ? "at least " : "", count,
	       count == 1 ? "" : "s");
}

static void print_verdict(const struct dump *dump, const struct dcm_check_result *r)
{
	if (r->damaged != 0)
		print_count("damaged: ", r->damaged, r->stopped);
	else
		printf("consistent");
	if (r->dead != 0)
		print_count("; of the dead: ", r->dead, r->stopped);
	else
		printf("; nothing belongs to the dead");
	if (r->transition != 0)
		printf("; between two steps: %" PRIu64, r->transition);
	/* A path is as its user wrote it; what it has of control characters is not ours to print. */
	printf(" (");
	for (const char *c = dump->seg.path; *c != '\0'; c++)
		putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
	printf(")\n");
}

int dump_check(struct dump *dump)
{
	struct sheet *sheet =
		sheet_open(dump, "findings", columns, sizeof columns / sizeof columns[0], false);
	struct dcm_check_options options = DCM_CHECK_LIVE(report, sheet);
	bool json = dump->format == FORMAT_JSON;
	struct dcm_check_result result;

	dcm_check(&dump->seg, &options, &result);
	if (json) {
		json_open(dump);
		json_text(dump, "verdict",
			  result.damaged != 0 ? "damaged"
			  : result.dead != 0  ? "dead"
					      : "consistent");
		json_number(dump, "damaged", result.damaged);
		json_number(dump, "dead", result.dead);
		json_number(dump, "transition", result.transition);
	}
	sheet_print(dump, sheet, false);
	if (json)
		json_close();
	else
		print_verdict(dump, &result);
	return result.damaged != 0 || result.dead != 0 ? EXIT_DAMAGED : 0;
}
