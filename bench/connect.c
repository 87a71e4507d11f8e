/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench connect - from no connection to the first reply */
#include <stdlib.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"

static const char before[] =
	"Measures, in a process that has initialised its library, from asking for a connection to\n"
	"a server by name until the first reply has been read, again and again; and that\n"
	"initialisation by itself, once in each run.\n";
static const char behind[] =
	"begin: the initialisation: DcmInit, a bus connection, a runtime. Nothing for sockets.\n";

int connect_main(int argc, char **argv)
{
	static const struct options_help help = { "connect", before, behind };
	static struct matrix m = { .subcommand = "connect" };
	struct list sizes = { { 64 }, 1, 0, 8, 1 << 30, NULL, 8 };
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "sizes", "LIST", "bytes of request and reply (64)", .list = &sizes },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < sizes.count; i++) {
		struct cell cell = { .what = "connect",
				     .wait = "own",
				     .size = sizes.of[i],
				     .reference = "unix-seqpacket" };

		matrix_add(&m, &cell, "connection and first reply, %zu bytes", cell.size);
	}
	return matrix_run(&m);
}
