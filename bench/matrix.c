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
enum { ROUNDS_MORE = 5, BAR = 24 };

void matrix_options(struct matrix *m, const struct option_is *own, struct option_is *all)
{
	const struct option_is common[] = {
		{ "peers", "LIST", "only these, by name (all)", .text = &m->peers },
		{ "runs", "N", "runs of each (5)", .list = &m->runs },
		{ "duration", "MS", "milliseconds of a run, after its warm-up, a tenth of it (300)",
		  .list = &m->ms },
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

/* Where we are, for who looks on. */
static void show(const struct matrix *m, const struct peers *peers, unsigned cell, unsigned run,
		 unsigned peer)
{
	static int64_t began_ns;
	unsigned runs = (unsigned)m->runs.of[0], filled;
	double done, left;

	if (!isatty(STDERR_FILENO))
		return;
	if (began_ns == 0)
		began_ns = bench_now();
	if (cell == m->cells) {
		fputs("\r\033[K", stderr);
		return;
	}
	run = run < runs ? run : runs - 1;
	done = ((double)cell + ((double)run + (double)peer / peers->count) / runs) / m->cells;
	left = done > 0 ? (double)(bench_now() - began_ns) / 1e9 * (1 - done) / done : 0;
	filled = (unsigned)(done * BAR);
	fprintf(stderr, "\r[%.*s%*s] %3.0f %%, %.0f s left: %s, %s\033[K", (int)filled,
		"########################", (int)(BAR - filled), "", done * 100, left,
		m->title[cell], peers->is[peer].name);
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

	if (peer->kind == PEERS_LIMIT && cell->limits_spin_alone) {
		limits.what = "send";
		limits.wait = "spin";
		limits.clients = 1;
	}
	results_add(p, peers_run(peer, &limits, line), line);
}

static void measure(const struct matrix *m, const struct peers *peers, unsigned cell,
		    struct results *r)
{
	unsigned runs = (unsigned)m->runs.of[0];
	const char *limit = m->cell[cell].reference;

	r->wanted = runs;
	r->reference = PEERS_MAX;
	for (unsigned p = 0; p < peers->count; p++)
		if (limit != NULL && strcmp(peers->is[p].name, limit) == 0)
			r->reference = p;
	for (unsigned run = 0; run < runs + ROUNDS_MORE; run++) {
		for (unsigned p = 0; p < peers->count; p++) {
			if (!needs_more(&r->peer[p], run, runs))
				continue;
			show(m, peers, cell, run, p);
			run_one(&peers->is[p], &m->cell[cell], &r->peer[p]);
		}
		results_choose(r, peers->count);
	}
}

int matrix_run(struct matrix *m)
{
	struct results *r = calloc(1, sizeof(*r));
	struct peers *peers = calloc(1, sizeof(*peers));
	bool failed = false;

	if (r == NULL || peers == NULL)
		bench_fail("no memory");
	peers_find(peers, m->peers);
	print_head(m, peers);
	for (unsigned cell = 0; cell < m->cells; cell++) {
		memset(r, 0, sizeof(*r));
		measure(m, peers, cell, r);
		show(m, peers, m->cells, 0, 0);
		print_cell(m, peers, cell, r);
		for (unsigned p = 0; p < peers->count; p++)
			failed = failed || r->peer[p].failed;
		results_drop(r, peers->count);
	}
	print_foot(m, peers);
	free(peers);
	free(r);
	return failed ? EXIT_BAD : EXIT_GOOD;
}
