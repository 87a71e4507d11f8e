/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/matrix.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/dcm-bench.h"
#include "bench/lib_child.h"
#include "bench/matrix_print.h"
#include "bench/matrix_results.h"

/* More runs, of those that were not made in the placement that most were. */
enum { ROUNDS_MORE = 10, BAR = 24 };

void matrix_options(struct matrix *m, const struct option_is *own, struct option_is *all)
{
	const struct option_is common[] = {
		{ "peers", "LIST", "only these, by name (all)", .text = &m->peers },
		{ "runs", "N", "runs of each (5)", .list = &m->runs },
		{ "duration", "MS", "milliseconds of a run, after its warm-up, a tenth of it (300)",
		  .list = &m->ms },
		{ "within", "S", "no run is made again after so many seconds (as long as it takes)",
		  .list = &m->within },
		{ "cpus", "A,B", "clients on A, servers on B, which may be A (the first two)",
		  .place = &m->place },
		{ "json", NULL, "JSON, with each run and its histogram", .flag = &m->json },
		{ 0 },
	};
	unsigned count = 0;

	for (; own->name != NULL; own++)
		all[count++] = *own;
	memcpy(all + count, common, sizeof(common));
	m->runs = (struct list)LIST_ONE(1, RUNS_MAX - ROUNDS_MORE, 5);
	m->within = (struct list)LIST_ONE(1, 86400, 86400);
	if (m->ms.count == 0)
		m->ms = (struct list)LIST_ONE(1, 600000, 300);
	place_parse(NULL, &m->place);
}

struct cell *matrix_add(struct matrix *m, const struct cell *cell, const char *title, ...)
{
	struct cell *added = &m->cell[m->cells];
	va_list list;

	if (m->cells == CELLS_MAX)
		bench_fail("more than %d things to measure", CELLS_MAX);
	*added = *cell;
	added->place = m->place;
	added->ms = (uint32_t)m->ms.of[0];
	added->warm_ms = added->ms / 10 + 1;
	va_start(list, title);
	vsnprintf(m->title[m->cells], sizeof(m->title[0]), title, list);
	va_end(list);
	m->cells++;
	return added;
}

/* Where we are, for who looks on. @cell: the first of those that are beside each other, of which
   there are @beside; @done: how much of them. */
static void show(const struct matrix *m, unsigned cell, unsigned beside, double done,
		 const char *peer)
{
	static int64_t began_ns;
	unsigned filled;
	double left;

	if (!isatty(STDERR_FILENO))
		return;
	if (began_ns == 0)
		began_ns = bench_now();
	if (peer == NULL) {
		fputs("\r\033[K", stderr);
		return;
	}
	done = ((double)cell + (done < 1 ? done : 1) * beside) / m->cells;
	left = done > 0 ? (double)(bench_now() - began_ns) / 1e9 * (1 - done) / done : 0;
	filled = (unsigned)(done * BAR);
	fprintf(stderr, "\r[%.*s%*s] %3.0f %%, %.0f s left: %s, %s\033[K", (int)filled,
		"########################", (int)(BAR - filled), "", done * 100, left,
		m->title[cell], peer);
}

static bool needs_more(const struct of_peer *p, unsigned run, unsigned runs)
{
	if (p->cannot || p->failed || p->runs == RUNS_MAX)
		return false;
	return run < runs || p->counted < runs;
}

static void run_one(const struct peer_is *peer, const struct cell *cell, struct of_peer *p)
{
	static char line[RUN_TEXT];
	struct cell limits = *cell;

	if (peer->kind == PEERS_LIMIT && cell->limits_wait != NULL)
		limits.wait = cell->limits_wait;
	if (peer->kind == PEERS_LIMIT && cell->limits_spin_alone) {
		limits.what = "send";
		limits.wait = "spin";
		limits.clients = 1;
		limits.stop_ns = 0;
	}
	results_add(p, peers_run(peer, &limits, line), line);
}

static void begin_results(const struct matrix *m, const struct peers *peers, unsigned cell,
			  struct results *r)
{
	const char *limit = m->cell[cell].reference;

	memset(r, 0, sizeof(*r));
	r->wanted = (unsigned)m->runs.of[0];
	r->reference = PEERS_MAX;
	r->self = PEERS_MAX;
	for (unsigned p = 0; p < peers->count; p++) {
		if (limit != NULL && strcmp(peers->is[p].name, limit) == 0)
			r->reference = p;
		if (peers->is[p].kind == PEERS_SELF)
			r->self = p;
	}
}

/* One run more of each that needs it. */
static void one_round(const struct matrix *m, const struct peers *peers, unsigned first,
		      unsigned beside, unsigned run, struct results *r)
{
	unsigned runs = (unsigned)m->runs.of[0];

	for (unsigned i = 0; i < beside * peers->count; i++) {
		struct of_peer *of = &r[i / peers->count].peer[i % peers->count];
		const struct peer_is *peer = &peers->is[i % peers->count];

		if (!needs_more(of, run, runs))
			continue;
		show(m, first, beside, (run + (double)i / (beside * peers->count)) / runs,
		     peer->name);
		run_one(peer, &m->cell[first + i / peers->count], of);
	}
	results_choose(r, beside, peers->count);
}

/* Cells that are beside each other have each their part of the time in which runs are made again. */
static void measure(const struct matrix *m, const struct peers *peers, unsigned first,
		    unsigned beside, int64_t began_ns, struct results *r)
{
	unsigned runs = (unsigned)m->runs.of[0];
	int64_t until_ns =
		began_ns + (int64_t)m->within.of[0] * 1000000000 / m->cells * (first + beside);

	for (unsigned run = 0; run < runs + ROUNDS_MORE; run++)
		if (run < runs || bench_now() < until_ns)
			one_round(m, peers, first, beside, run, r);
	show(m, 0, 0, 0, NULL);
}

static unsigned beside_each_other(const struct matrix *m, unsigned first)
{
	unsigned count = 1;

	while (first + count < m->cells && m->cell[first + count].beside)
		count++;
	if (count > BESIDE_MAX)
		bench_fail("more than %d beside each other", BESIDE_MAX);
	return count;
}

/* Return: none has failed. */
static bool print_results(struct matrix *m, const struct peers *peers, unsigned cell,
			  struct results *r)
{
	bool good = true;

	print_cell(m, peers, cell, r);
	for (unsigned p = 0; p < peers->count; p++)
		good = good && !r->peer[p].failed;
	results_drop(r, peers->count);
	return good;
}

int matrix_run(struct matrix *m)
{
	struct results *r = calloc(BESIDE_MAX, sizeof(*r));
	struct peers *peers = calloc(1, sizeof(*peers));
	int64_t began_ns = bench_now();
	bool good = true;
	unsigned beside;

	if (r == NULL || peers == NULL)
		bench_fail("no memory");
	peers_find(peers, m->peers);
	print_head(m, peers);
	for (unsigned first = 0; first < m->cells; first += beside) {
		beside = beside_each_other(m, first);
		for (unsigned i = 0; i < beside; i++)
			begin_results(m, peers, first + i, &r[i]);
		measure(m, peers, first, beside, began_ns, r);
		for (unsigned i = 0; i < beside; i++)
			good = print_results(m, peers, first + i, &r[i]) && good;
	}
	print_foot(m, peers);
	free(peers);
	free(r);
	return good ? EXIT_GOOD : EXIT_BAD;
}
