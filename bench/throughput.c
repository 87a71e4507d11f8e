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
	"The limit spins, whatever the others do; own: each as it does by itself. Of batches, "
	"those\n"
	"of a peer count as one where it can have them; else each message is sent by itself. GB/s\n"
	"of messages of which 8 bytes are touched say how cheap it is to hand one over, not how\n"
	"much is moved.\n";
static const char *const touches[] = { "all", "header", NULL };

/* As asked for. */
struct wishes {
	struct list sizes, waits, batches, touch, footprint;
};

/* What is touched no more than 8 bytes of is to cost the same whatever its size: in turns. */
static void add_sizes(struct matrix *m, const struct wishes *w, uint64_t wait, bool header,
		      uint64_t batch, uint64_t footprint)
{
	bool beside = false;
	char under_way[48] = "";

	if (footprint != 0)
		snprintf(under_way, sizeof(under_way), ", %llu KiB under way",
			 (unsigned long long)footprint >> 10);
	for (unsigned i = 0; i < w->sizes.count; i++) {
		const struct cell cell = { .what = "send",
					   .wait = wait_names[wait],
					   .header = header,
					   .batch = (uint32_t)batch,
					   .size = w->sizes.of[i],
					   .footprint = footprint,
					   .beside = beside,
					   .reference = "ring",
					   .limits_spin_alone = true };

		if (batch > 1 && cell.size > 4096 && w->batches.count > 1)
			continue;
		matrix_add(m, &cell, "one-way, %zu bytes, %s, batches of %u%s, waiting: %s",
			   cell.size, header ? "8 of them touched" : "all of them touched",
			   cell.batch, under_way, cell.wait);
		beside = header;
	}
}

int throughput_main(int argc, char **argv)
{
	static const struct options_help help = { "throughput", before, behind };
	static struct matrix m = { .subcommand = "throughput" };
	struct wishes w = {
		.sizes = LIST_SIZES(64, 4096, 65536, 1 << 20),
		.waits = LIST_NAMES(wait_names, WAIT_SPIN, WAIT_OWN),
		.batches = LIST_NUMBERS(1, 256, 1, 16),
		.touch = LIST_NAMES(touches, 0, 1),
		.footprint = LIST_NUMBERS(1, UINT64_C(1) << 40, 0),
	};
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "sizes", "LIST", "bytes of a message (64,4K,64K,1M)", .list = &w.sizes },
		{ "waits", "LIST", "of spin,adaptive,sleep,own (spin,own)", .list = &w.waits },
		{ "batches", "LIST", "messages sent together (1,16; sizes above 4K: 1)",
		  .list = &w.batches },
		{ "touch", "LIST", "of all,header: bytes written and read, or 8 (both)",
		  .list = &w.touch },
		{ "footprint", "LIST", "bytes of messages under way, for peers that can be told",
		  .list = &w.footprint },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (uint64_t i = 0;
	     i < w.waits.count * w.touch.count * w.batches.count * w.footprint.count; i++) {
		uint64_t f = i % w.footprint.count, of = i / w.footprint.count;
		uint64_t b = of % w.batches.count, t = of / w.batches.count % w.touch.count;

		add_sizes(&m, &w, w.waits.of[of / w.batches.count / w.touch.count],
			  w.touch.of[t] == 1, w.batches.of[b], w.footprint.of[f]);
	}
	return matrix_run(&m);
}
