/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench discovery - a service appears, and a client that waits for it is told */
#include <stdlib.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"

static const char before[] =
	"Measures from just before a server announces a service until a client that waits for it\n"
	"knows that it is there. Beside it the limit of the kernel, futex: the client sleeps on a\n"
	"word that the server changes.\n";

int discovery_main(int argc, char **argv)
{
	static const struct options_help help = { "discovery", before, NULL };
	static struct matrix m = { .subcommand = "discovery" };
	const struct cell cell = { .what = "appear", .wait = "own", .reference = "futex" };
	const struct option_is own[] = { { 0 } };
	struct option_is all[OPTIONS_MAX];
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	matrix_add(&m, &cell, "a service appears, and a waiting client is told");
	return matrix_run(&m);
}
