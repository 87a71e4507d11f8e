/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench latency - what a call costs, from the room for the request to the reply put back */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"
#include "bench/waits.h"

static const char before[] =
	"Measures round trips between two processes: room for a request, its payload written, the\n"
	"request read and the reply written by the other, the reply read and put back. Each trip "
	"is\n"
	"timed. Peers do it in turns, beside the bare limits of the machine: line (a bounced "
	"cache\n"
	"line), ring (Lamport's ring), futex, futex2 (futex_waitv on two words), spin-futex.\n";
static const char behind[] =
	"Ways to wait, on both sides alike:\n"
	" spin      never gives the processor away; compared with ring\n"
	" adaptive  what each does by itself between the two; compared with spin-futex\n"
	" sleep     at once; compared with futex2\n"
	" own       adaptive where a peer has that, else sleep, else spin; as adaptive\n"
	"Not under a real-time policy: who spins would take both processors from all others.\n"
	"With a pace, a call that is kept back by the one before counts from when it was due.\n";

int latency_main(int argc, char **argv)
{
	static const struct options_help help = { "latency", before, behind };
	static struct matrix m = { .subcommand = "latency" };
	struct list sizes = LIST_SIZES(64, 4096, 65536, 1 << 20);
	struct list waits = LIST_NAMES(wait_names, 0, 1, 2);
	struct list pace = LIST_ONE(1, 1000000000, 0);
	struct option_is all[OPTIONS_MAX];
	bool header = false;
	const struct option_is own[] = {
		{ "sizes", "LIST", "bytes of request and reply (64,4K,64K,1M)", .list = &sizes },
		{ "waits", "LIST", "of spin,adaptive,sleep,own (the first three)", .list = &waits },
		{ "pace", "NS", "a call is due each NS nanoseconds (as fast as they go)",
		  .list = &pace },
		{ "header", NULL, "write and read 8 bytes of each message, not all",
		  .flag = &header },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (unsigned s = 0; s < sizes.count; s++)
		for (unsigned w = 0; w < waits.count; w++) {
			struct cell cell = { .what = "call",
					     .wait = wait_names[waits.of[w]],
					     .size = sizes.of[s],
					     .header = header,
					     .beside = w > 0,
					     .pace_ns = pace.of[0],
					     .reference = wait_limit(waits.of[w], &m.place) };

			matrix_add(&m, &cell, "round trip of %zu bytes, %s, waiting: %s", cell.size,
				   header ? "8 of them touched" : "all of them touched", cell.wait);
		}
	return matrix_run(&m);
}
