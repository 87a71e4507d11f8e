/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench fanout - one publication to many subscribers that sleep */
#include <stdlib.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"

static const char before[] =
	"Measures one publication to many processes, each of which waits for it in the way that\n"
	"its library has by default: from just before the publisher's call until the last has\n"
	"read it, and the call itself. The first of them is on the other processor, the second\n"
	"on the publisher's, and so on. Beside it the limit of the kernel, futex: all sleep on\n"
	"one word, and one FUTEX_WAKE wakes them.\n";
static const char behind[] =
	"DCM's publication is that of an endpoint, with a name; the others' is a message.\n"
	"call: what the publisher's call costs, and how many times that of the limit.\n";

int fanout_main(int argc, char **argv)
{
	static const struct options_help help = { "fanout", before, behind };
	static struct matrix m = { .subcommand = "fanout", .ms = LIST_ONE(1, 600000, 500) };
	struct list subscribers = LIST_NUMBERS(1, 128, 1, 8, 64);
	struct list gap = LIST_ONE(1, 1000000, 1000);
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "subscribers", "LIST", "so many (1,8,64)", .list = &subscribers },
		{ "gap", "US", "microseconds from when the last was told to the next (1000)",
		  .list = &gap },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < subscribers.count; i++) {
		struct cell cell = { .what = "fan",
				     .wait = "own",
				     .size = 64,
				     .servers = (uint32_t)subscribers.of[i],
				     .gap_ns = gap.of[0] * 1000,
				     .reference = "futex" };

		matrix_add(&m, &cell, "one publication, %u subscribers: the last is told",
			   cell.servers);
	}
	return matrix_run(&m);
}
