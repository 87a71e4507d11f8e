/* SPDX-License-Identifier: BSD-2-Clause */
/* options - of a subcommand: a table that is both parsed and printed as help */
#ifndef DCM_BENCH_OPTIONS_H
#define DCM_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/lib_place.h"

enum { LIST_MAX = 16, OPTIONS_MAX = 24 };

/* Numbers, which may end in K, M or G, or names; with commas between. */
struct list {
	uint64_t of[LIST_MAX];
	unsigned count;
	unsigned most_items; /* 0: LIST_MAX */
	uint64_t least, most;
	const char *const *names; /* null: numbers; ends with a null: values are indices of it */
	uint64_t multiple_of;	  /* 0: any number */
};

/* Exactly one of the last is set; a flag has no argument. */
struct option_is {
	const char *name, *argument, *what; /* a line break in what goes on below it */
	struct list *list;
	struct place *place;
	const char **text;
	bool *flag;
};

/* What --help prints before and behind the options. */
struct options_help {
	const char *subcommand, *before, *behind; /* behind may be null */
};

/* options_parse() - Return: an exit status, or -1 to go on. @options ends with a null name. */
int options_parse(int argc, char **argv, const struct options_help *help,
		  const struct option_is *options);

/* options_complain() - of a combination that is not possible. Return: EXIT_BAD */
int options_complain(const char *subcommand, const char *what, const char *value);

#endif
