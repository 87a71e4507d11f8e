/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench contention - many producers of one consumer, and more ends than processors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/dcm-bench.h"
#include "bench/matrix.h"
#include "bench/waits.h"

static const char before[] =
	"Measures one-way messages from several processes to one, all producers on one processor\n"
	"and the consumer on the other; and round trips of pairs of processes that share both\n"
	"processors, more than there are: the limit of these is spin-futex, under the same load.\n";
static const char behind[] = "least: what the slowest of the clients has, of an even share.\n";
static const char *const parts[] = { "producers", "pairs", NULL };

static void add_producers(struct matrix *m, const struct list *producers, const struct list *waits,
			  const struct list *sizes, const struct list *batches)
{
	for (unsigned w = 0; w < waits->count; w++)
		for (unsigned s = 0; s < sizes->count; s++)
			for (unsigned b = 0; b < batches->count; b++)
				for (unsigned p = 0; p < producers->count; p++) {
					struct cell cell = { .what = producers->of[p] == 1 ? "send"
											   : "many",
							     .wait = wait_names[waits->of[w]],
							     .size = sizes->of[s],
							     .batch = (uint32_t)batches->of[b],
							     .clients = (uint32_t)producers->of[p],
							     .reference = "ring" };

					matrix_add(m, &cell,
						   "%u producers, one-way, %zu bytes, batches of "
						   "%u, waiting: %s",
						   cell.clients, cell.size, cell.batch, cell.wait);
				}
}

static void add_pairs(struct matrix *m, const struct list *pairs, const struct list *waits,
		      const struct list *sizes)
{
	for (unsigned w = 0; w < waits->count; w++)
		for (unsigned s = 0; s < sizes->count; s++)
			for (unsigned p = 0; p < pairs->count; p++) {
				struct cell cell = { .what = "call",
						     .wait = wait_names[waits->of[w]],
						     .size = sizes->of[s],
						     .clients = (uint32_t)pairs->of[p],
						     .servers = (uint32_t)pairs->of[p],
						     .free = true,
						     .reference =
							     wait_limit(waits->of[w], &m->place) };

				matrix_add(m, &cell,
					   "%u pairs on two processors, round trip of %zu bytes, "
					   "waiting: %s",
					   cell.clients, cell.size, cell.wait);
			}
}

int contention_main(int argc, char **argv)
{
	static const struct options_help help = { "contention", before, behind };
	static struct matrix m = { .subcommand = "contention" };
	struct list sizes = { { 64 }, 1, 0, 8, 1 << 30, NULL };
	struct list waits = { { WAIT_ADAPTIVE }, 1, 0, 0, 0, wait_names };
	struct list batches = { { 1 }, 1, 0, 1, 256, NULL };
	struct list producers = { { 1, 2, 4, 8, 16, 24 }, 6, 0, 1, 128, NULL };
	struct list pairs = { { 12 }, 1, 0, 1, 64, NULL };
	struct list which = { { 0, 1 }, 2, 0, 0, 0, parts };
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "parts", "LIST", "of producers,pairs (both)", .list = &which },
		{ "producers", "LIST", "so many at once (1,2,4,8,16,24)", .list = &producers },
		{ "pairs", "LIST", "so many clients, each with a server of its own (12)",
		  .list = &pairs },
		{ "sizes", "LIST", "bytes of a message (64)", .list = &sizes },
		{ "waits", "LIST", "of spin,adaptive,sleep (adaptive)", .list = &waits },
		{ "batches", "LIST", "messages that a producer sends together (1)",
		  .list = &batches },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < which.count; i++)
		if (which.of[i] == 0)
			add_producers(&m, &producers, &waits, &sizes, &batches);
		else
			add_pairs(&m, &pairs, &waits, &sizes);
	return matrix_run(&m);
}
