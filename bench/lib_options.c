/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/lib_options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dcm-bench.h"

enum { FIRST = 256, WHAT_AT = 20 };

int options_complain(const char *subcommand, const char *what, const char *value)
{
	fprintf(stderr, "dcm-bench %s: %s: %s\nTry 'dcm-bench %s --help'.\n", subcommand, what,
		value, subcommand);
	return EXIT_BAD;
}

static bool parse_number(const char *text, const struct list *list, uint64_t *number)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	*number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *number > list->most)
		return false;
	unit = *end == '\0' ? NULL : strchr(units, toupper((unsigned char)*end));
	if (unit != NULL) {
		*number <<= 10 * (unit - units + 1);
		end++;
	}
	return *end == '\0' && *number >= list->least && *number <= list->most &&
	       (list->multiple_of == 0 || *number % list->multiple_of == 0);
}

static bool parse_name(const char *text, const struct list *list, uint64_t *index)
{
	for (*index = 0; list->names[*index] != NULL; ++*index)
		if (strcmp(text, list->names[*index]) == 0)
			return true;
	return false;
}

static bool parse_list(char *text, struct list *list)
{
	unsigned most = list->most_items == 0 ? LIST_MAX : list->most_items;
	char *rest = text, *item;

	list->count = 0;
	while ((item = strsep(&rest, ",")) != NULL) {
		uint64_t *value = &list->of[list->count];

		if (list->count++ == most || !(list->names == NULL ? parse_number(item, list, value)
								   : parse_name(item, list, value)))
			return false;
	}
	return true;
}

/* Keeps @text, which strsep() would cut, for a complaint. */
static bool take(const struct option_is *o, const char *text)
{
	char copy[512];

	if (o->place != NULL)
		return place_parse(text, o->place);
	if (o->flag != NULL) {
		*o->flag = true;
		return true;
	}
	if (o->text != NULL) {
		*o->text = text;
		return true;
	}
	return snprintf(copy, sizeof(copy), "%s", text) < (int)sizeof(copy) &&
	       parse_list(copy, o->list);
}

static void print_option(const struct option_is *o)
{
	int width = printf("     --%s%s%s", o->name, o->argument == NULL ? "" : " ",
			   o->argument == NULL ? "" : o->argument);
	const char *line = o->what;

	for (;;) {
		size_t length = strcspn(line, "\n");

		printf("%*s%.*s\n", width < WHAT_AT + 5 ? WHAT_AT + 5 - width : 2, "", (int)length,
		       line);
		if (line[length] == '\0')
			break;
		line += length + 1;
		width = 0; /* the rest has the place of the first line */
	}
}

static int print_help(const struct options_help *help, const struct option_is *options)
{
	printf("Usage: dcm-bench %s [options]\n\n%s\nOptions:\n", help->subcommand, help->before);
	for (const struct option_is *o = options; o->name != NULL; o++)
		print_option(o);
	printf(" -h, --help%*sthis text\n", WHAT_AT - 6, "");
	if (help->behind != NULL)
		printf("\n%s", help->behind);
	return EXIT_GOOD;
}

int options_parse(int argc, char **argv, const struct options_help *help,
		  const struct option_is *options)
{
	struct option known[OPTIONS_MAX + 2] = { { "help", no_argument, NULL, 'h' } };
	char name[64];
	int which;

	for (unsigned i = 0; i < OPTIONS_MAX && options[i].name != NULL; i++)
		known[i + 1] = (struct option){ options[i].name,
						options[i].argument == NULL ? no_argument
									    : required_argument,
						NULL, (int)i + FIRST };
	while ((which = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (which == 'h')
			return print_help(help, options);
		if (which < FIRST) {
			fprintf(stderr, "Try 'dcm-bench %s --help'.\n", help->subcommand);
			return EXIT_BAD;
		}
		if (!take(&options[which - FIRST], optarg)) {
			snprintf(name, sizeof(name), "--%s", options[which - FIRST].name);
			return options_complain(help->subcommand, name, optarg);
		}
	}
	if (optind < argc)
		return options_complain(help->subcommand, "what is this", argv[optind]);
	return -1;
}
