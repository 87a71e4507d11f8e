/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench throughput - one-way messages of one producer, as fast as they go */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"
#include "bench/waits.h"

static const char before[] =
	"Measures one-way messages from one process to another, as many as it takes: room, the\n"
	"payload written, sent, received, read, put back. The consumer counts what it has read in "
	"a\n"
	"time that it takes itself. Beside it the bare limit of the machine, ring: Lamport's ring\n"
	"with cached indices, its index stored as often.\n";
static const char behind[] =
	"The limit spins, whatever the others do. Of batches, those of a peer count as one\n"
	"where it can have them; else each message is sent by itself. GB/s of messages of which 8 "
	"bytes are touched say how cheap it is to "
	"hand\n"
	"one over, not how much is moved.\n";
static const char *const touches[] = { "all", "header", NULL };

int throughput_main(int argc, char **argv)
{
	static const struct options_help help = { "throughput", before, behind };
	static struct matrix m = { .subcommand = "throughput" };
	struct list sizes = { { 64, 4096, 65536, 1 << 20 }, 4, 0, 8, 1 << 30, NULL, 8 };
	struct list waits = { { WAIT_SPIN, WAIT_ADAPTIVE }, 2, 0, 0, 0, wait_names };
	struct list batches = { { 1, 16 }, 2, 0, 1, 256, NULL };
	struct list touch = { { 0, 1 }, 2, 0, 0, 0, touches };
	struct list footprint = { { 0 }, 1, 1, 1, UINT64_C(1) << 40, NULL };
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "sizes", "LIST", "bytes of a message (64,4K,64K,1M)", .list = &sizes },
		{ "waits", "LIST", "of spin,adaptive,sleep (spin,adaptive)", .list = &waits },
		{ "batches", "LIST", "messages sent together (1,16; sizes above 4K: 1)",
		  .list = &batches },
		{ "touch", "LIST", "of all,header: bytes written and read, or 8 (both)",
		  .list = &touch },
		{ "footprint", "BYTES", "of messages under way, for peers that can be told",
		  .list = &footprint },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (uint64_t i = 0; i < sizes.count * waits.count * batches.count * touch.count; i++) {
		uint64_t of = i / touch.count;
		struct cell cell = { .what = "send",
				     .header = touch.of[i % touch.count] == 1,
				     .batch = (uint32_t)batches.of[of % batches.count],
				     .size = sizes.of[of / batches.count % sizes.count],
				     .footprint = footprint.of[0],
				     .reference = "ring",
				     .limits_spin_alone = true };

		cell.wait = wait_names[waits.of[of / batches.count / sizes.count]];
		if (cell.batch > 1 && cell.size > 4096 && batches.count > 1)
			continue;
		matrix_add(&m, &cell, "one-way, %zu bytes, %s, batches of %u, waiting: %s",
			   cell.size, cell.header ? "8 of them touched" : "all of them touched",
			   cell.batch, cell.wait);
	}
	return matrix_run(&m);
}
