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
	"processors, more than there are: the limit of these is spin-futex, under the same load.\n"
	"Of producers that are stopped, wherever they are, it is asked what the others get "
	"through,\n"
	"and how long the consumer gets nothing.\n";
static const char behind[] =
	"The limit of many producers is ring, with one that spins. Not under a real-time policy:\n"
	"producers of one processor would wait for each other. own: adaptive where a peer has "
	"that,\n"
	"else sleep, else spin.\n"
	"least: what the slowest of the clients has, of an even share.\n";
enum { PRODUCERS, PAIRS, STOPS, STOPPED_PRODUCERS = 4 };
static const char *const parts[] = { "producers", "pairs", "stops", NULL };

/* As asked for. */
struct wishes {
	struct list sizes, waits, batches, producers, pairs, stop, parts;
};

static void add_producers(struct matrix *m, const struct wishes *w)
{
	uint64_t cells = w->waits.count * w->sizes.count * w->batches.count * w->producers.count;

	for (uint64_t i = 0; i < cells; i++) {
		uint64_t of = i / w->producers.count;
		/* What several get through is compared with what one does: in turns. */
		struct cell cell = { .clients = (uint32_t)w->producers.of[i % w->producers.count],
				     .beside = i % w->producers.count > 0,
				     .batch = (uint32_t)w->batches.of[of % w->batches.count],
				     .reference = "ring",
				     .limits_spin_alone = true };

		of /= w->batches.count;
		cell.size = w->sizes.of[of % w->sizes.count];
		cell.wait = wait_names[w->waits.of[of / w->sizes.count]];
		cell.what = cell.clients == 1 ? "send" : "many";
		matrix_add(m, &cell,
			   "producers: %u, one-way, %zu bytes, batches of %u, waiting: %s",
			   cell.clients, cell.size, cell.batch, cell.wait);
	}
}

static void add_pairs(struct matrix *m, const struct wishes *w)
{
	for (uint64_t i = 0; i < w->waits.count * w->sizes.count * w->pairs.count; i++) {
		uint64_t of = i / w->pairs.count, wait = w->waits.of[of / w->sizes.count];
		struct cell cell = { .what = "call",
				     .wait = wait_names[wait],
				     .size = w->sizes.of[of % w->sizes.count],
				     .clients = (uint32_t)w->pairs.of[i % w->pairs.count],
				     .free = true,
				     .limits_wait = wait == WAIT_OWN ? "adaptive" : NULL,
				     .reference = wait_limit(wait, &m->place) };

		cell.servers = cell.clients;
		matrix_add(m, &cell,
			   "pairs on two processors: %u, round trip of %zu bytes, waiting: %s",
			   cell.clients, cell.size, cell.wait);
	}
}

/* Some producers as they are, and beside them the same of whom always one is stopped. */
static void add_stops(struct matrix *m, const struct wishes *w)
{
	for (uint64_t i = 0; i < 2 * w->waits.count * w->sizes.count; i++) {
		uint64_t of = i / 2;
		struct cell cell = { .what = "many",
				     .wait = wait_names[w->waits.of[of / w->sizes.count]],
				     .size = w->sizes.of[of % w->sizes.count],
				     .clients = STOPPED_PRODUCERS,
				     .batch = 1,
				     .stop_ns = i % 2 * w->stop.of[0] * 1000000,
				     .beside = i % 2 == 1,
				     .reference = "ring",
				     .limits_spin_alone = true };

		matrix_add(m, &cell, "producers: %u, %s, one-way, %zu bytes, waiting: %s",
			   cell.clients,
			   cell.stop_ns == 0 ? "none is stopped"
					     : "one after the other is stopped now and then",
			   cell.size, cell.wait);
	}
}

int contention_main(int argc, char **argv)
{
	static void (*const add[])(struct matrix *,
				   const struct wishes *) = { add_producers, add_pairs, add_stops };
	static const struct options_help help = { "contention", before, behind };
	static struct matrix m = { .subcommand = "contention" };
	struct wishes w = {
		.sizes = LIST_SIZES(64),
		.waits = LIST_NAMES(wait_names, WAIT_OWN),
		.batches = LIST_NUMBERS(1, 256, 1),
		.producers = LIST_NUMBERS(1, 128, 1, 2, 4, 8, 16, 24),
		.pairs = LIST_NUMBERS(1, 64, 12),
		.stop = LIST_ONE(1, 10000, 10),
		.parts = LIST_NAMES(parts, PRODUCERS, PAIRS),
	};
	struct option_is all[OPTIONS_MAX];
	const struct option_is own[] = {
		{ "parts", "LIST", "of producers,pairs,stops (the first two)", .list = &w.parts },
		{ "producers", "LIST", "so many at once (1,2,4,8,16,24)", .list = &w.producers },
		{ "pairs", "LIST", "so many clients, each with a server of its own (12)",
		  .list = &w.pairs },
		{ "stop", "MS", "stops: so long each, and so long none (10)", .list = &w.stop },
		{ "sizes", "LIST", "bytes of a message (64)", .list = &w.sizes },
		{ "waits", "LIST", "of spin,adaptive,sleep,own (own)", .list = &w.waits },
		{ "batches", "LIST", "messages that a producer sends together (1)",
		  .list = &w.batches },
		{ 0 },
	};
	int status;

	matrix_options(&m, own, all);
	status = options_parse(argc, argv, &help, all);
	if (status >= 0)
		return status;
	for (unsigned i = 0; i < w.parts.count; i++)
		add[w.parts.of[i]](&m, &w);
	return matrix_run(&m);
}
