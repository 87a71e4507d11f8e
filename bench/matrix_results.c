/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/matrix_results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib_child.h"

static const double near_enough = 1.34;

void results_add(struct of_peer *p, enum run_state state, const char *line)
{
	struct one_run *run = &p->run[p->runs];

	if (state == RUN_CANNOT || state == RUN_ABSENT) {
		p->cannot = true;
	} else if (state == RUN_FAILED) {
		p->failed = ++p->failures == FAILURES_MAX;
		snprintf(p->why, sizeof(p->why), "%.*s", (int)strcspn(line, "\n"),
			 line[0] == '\0' ? "it said nothing" : line);
	} else if (p->runs < RUNS_MAX) {
		run->line = strdup(line);
		if (run->line == NULL)
			bench_fail("no memory for results");
		run->canary_before = peers_number(line, NULL, "canary_before_ns");
		run->canary_after = peers_number(line, NULL, "canary_after_ns");
		p->runs++;
	}
}

static bool alike(double a, double b)
{
	return a <= b * near_enough && b <= a * near_enough;
}

static bool is_of(const struct one_run *run, double canary_ns)
{
	return alike(run->canary_before, canary_ns) && alike(run->canary_after, canary_ns);
}

/* How well a placement serves: all are to have their runs in it, DCM and the limit before others. */
static unsigned worth(const struct results *r, unsigned peers, double canary_ns)
{
	unsigned sum = 0;

	for (unsigned p = 0; p < peers; p++) {
		unsigned count = 0;

		for (unsigned i = 0; i < r->peer[p].runs; i++)
			count += is_of(&r->peer[p].run[i], canary_ns);
		if (count > r->wanted)
			count = r->wanted;
		sum += p == r->reference || p == r->self ? PEERS_MAX * count : count;
	}
	return sum;
}

static unsigned worth_of_all(const struct results *r, unsigned cells, unsigned peers,
			     double canary_ns)
{
	unsigned sum = 0;

	for (unsigned c = 0; c < cells; c++)
		sum += worth(&r[c], peers, canary_ns);
	return sum;
}

/* Each canary that was taken is one that it could be. */
static double choose_canary(const struct results *r, unsigned cells, unsigned peers)
{
	double chosen = 0;
	unsigned best = 0;

	for (unsigned i = 0; i < cells * peers; i++) {
		const struct of_peer *of = &r[i / peers].peer[i % peers];

		for (unsigned run = 0; run < of->runs; run++) {
			unsigned here = worth_of_all(r, cells, peers, of->run[run].canary_before);

			if (here > best) {
				best = here;
				chosen = of->run[run].canary_before;
			}
		}
	}
	return chosen;
}

void results_choose(struct results *r, unsigned cells, unsigned peers)
{
	double canary_ns = choose_canary(r, cells, peers);

	for (unsigned i = 0; i < cells * peers; i++) {
		struct of_peer *of = &r[i / peers].peer[i % peers];

		r[i / peers].canary_ns = canary_ns;
		of->counted = 0;
		for (unsigned run = 0; run < of->runs; run++) {
			of->run[run].counts = is_of(&of->run[run], canary_ns);
			of->counted += of->run[run].counts;
		}
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread results_spread(const struct of_peer *p, const char *in, const char *key)
{
	double value[RUNS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < p->runs; i++)
		if (p->run[i].counts)
			value[count++] = peers_number(p->run[i].line, in, key);
	if (count == 0)
		return (struct spread){ 0 };
	qsort(value, count, sizeof(value[0]), by_size);
	return (struct spread){ (value[(count - 1) / 2] + value[count / 2]) / 2, value[0],
				value[count - 1] };
}

void results_drop(struct results *r, unsigned peers)
{
	for (unsigned p = 0; p < peers; p++)
		for (unsigned i = 0; i < r->peer[p].runs; i++)
			free(r->peer[p].run[i].line);
}
