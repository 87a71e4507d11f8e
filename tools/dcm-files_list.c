// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_list.h"
#include "dcm-files_names.h"
#include "dcm-files_stop.h"
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { COLUMN_SIZE, COLUMN_MODIFIED, COLUMN_NAME };

static void format_time(int64_t ns, char *text, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm parts;

	if (!localtime_r(&seconds, &parts) || !strftime(text, size, "%FT%T%z", &parts))
		snprintf(text, size, "%" PRId64, ns);
}

static bool add_line(struct libscols_table *table, const struct list_options *options,
		     const struct files_name *file)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char size[FILES_AMOUNT_SIZE];
	char modified[64];
	char shown[FILES_SHOWN_SIZE];
	/* JSON holds only characters, whatever the name is; tables know what to do. */
	const char *name = options->json ? files_characters(file->name, shown) : file->name;

	if (options->bytes || options->json)
		snprintf(size, sizeof(size), "%" PRIu64, file->file_bytes);
	else
		files_amount(file->file_bytes, size);
	format_time(file->modified_ns, modified, sizeof(modified));
	return line && scols_line_set_data(line, COLUMN_SIZE, size) == 0 &&
	       scols_line_set_data(line, COLUMN_MODIFIED, modified) == 0 &&
	       scols_line_set_data(line, COLUMN_NAME, name) == 0;
}

static bool fill_table(struct libscols_table *table, const struct list_options *options,
		       const struct files_names *names)
{
	struct libscols_column *size;

	scols_table_set_name(table, "files");
	scols_table_enable_json(table, options->json);
	scols_table_enable_raw(table, options->raw);
	scols_table_enable_noheadings(table, options->noheadings);
	size = scols_table_new_column(table, "SIZE", 0, SCOLS_FL_RIGHT);
	if (!size || !scols_table_new_column(table, "MODIFIED", 0, 0) ||
	    !scols_table_new_column(table, "NAME", 0, SCOLS_FL_NOEXTREMES))
		return false;
	scols_column_set_json_type(size, SCOLS_JSON_NUMBER);
	for (size_t i = 0; i < names->count; i++)
		if (!add_line(table, options, &names->names[i]))
			return false;
	return true;
}

static int print(const struct list_options *options, const struct files_names *names)
{
	struct libscols_table *table = scols_new_table();
	bool good = table && fill_table(table, options, names);

	if (!good)
		files_warn("no memory for the table");
	else if (scols_print_table(table) != 0 || fflush(stdout) != 0 || ferror(stdout)) {
		files_warn("standard output: %s", strerror(errno));
		good = false;
	}
	scols_unref_table(table);
	return good ? EXIT_DONE : EXIT_TROUBLE;
}

int files_list(const struct list_options *options)
{
	struct files_names names = { .count = 0 };
	enum files_outcome outcome;
	struct finder finder;
	Handle session;
	int code;

	if (!finder_open(&finder, &options->find))
		return EXIT_TROUBLE;
	do {
		outcome = finder_connect(&finder, &session);
		if (outcome != FILES_DONE)
			break;
		outcome = files_names_fetch(&names, session);
		files_session_end(session);
		if (outcome == FILES_LOST)
			finder_lost(&finder, false);
	} while (outcome == FILES_LOST);
	code = files_exit_code(outcome);
	if (outcome == FILES_DONE)
		code = print(options, &names);
	files_names_free(&names);
	finder_close(&finder);
	return code;
}
