/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench scale - what things cost beside much else: it should be what they match, no more */
#define _GNU_SOURCE
#include "bench/scale.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/dcm-bench.h"
#include "bench/lib_child.h"
#include "bench/lib_options.h"
#include "bench/lib_stats.h"

enum { ROWS_MAX = 128, PROCESSES_MAX = 1000, OWN_PROCESSES = 8 };

struct wishes {
	struct list runs, endpoints, matches, sessions, processes;
	struct place place;
	bool json;
};

struct row {
	enum scale_what what;
	uint64_t n;
	struct summary s;
	double ratio; /* of the median, to the first row of the same kind */
};

/* One kind of measurement, and what it is made beside. */
static const struct {
	const char *name, *of, *what;
} kinds[] = {
	[SCALE_PAIR] = { "pair", "endpoints", "publish and unpublish" },
	[SCALE_SUBSCRIBE] = { "subscribe", "endpoints", "one match: subscribe, read, close" },
	[SCALE_BY_NAME] = { "by-name", "matches",
			    "the same, one name of so many of its interface" },
	[SCALE_REQUEST] = { "request", "endpoints", "ask for what is not there, and withdraw" },
	[SCALE_BACKFILL] = { "back-fill", "matches", "subscribe, read, close: each match" },
	[SCALE_RESYNC] = { "resync", "matches",
			   "all is as it was known, after a ring overflowed: each" },
	[SCALE_CONNECT] = { "connect", "sessions", "to the first reply, and close" },
	[SCALE_AMONG] = { "connect", "processes", "the same" },
	[SCALE_CALL] = { "call", "sessions", "64 bytes, to a listener with so many" },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct row rows[ROWS_MAX];
static unsigned count;
static struct wishes w = {
	.runs = { .of = { 15 }, .count = 1, .most_items = 1, .least = 1, .most = SCALE_RUNS_MAX },
	.endpoints = { .of = { 10, 100, 1000, 10000, 100000 },
		       .count = 5,
		       .least = 1,
		       .most = SCALE_ENDPOINTS_MAX },
	.matches = { .of = { 1, 10, 100, 1000, 10000 }, .count = 5, .least = 1, .most = 20000 },
	.sessions = { .of = { 1, 100, 1000, 8000 },
		      .count = 4,
		      .least = 1,
		      .most = SCALE_SESSIONS_MAX },
	.processes = { .of = { 10, 100, 1000 }, .count = 3, .least = 8, .most = PROCESSES_MAX },
};

static void measure_all(void);
static void print_all(int64_t before, int64_t after);

static const char help_before[] =
	"Measures what it costs to publish, to subscribe, to connect and to call beside more and\n"
	"more of everything: endpoints of other interfaces in the table, endpoints that match,\n"
	"sessions with one listener, attached processes. The ratio is that of the median to the\n"
	"first of its kind: 1 is what does not depend on it at all.\n";

int scale_main(int argc, char **argv)
{
	const struct option_is options[] = {
		{ "runs", "N", "of each, of which the median is taken (15)", .list = &w.runs },
		{ "endpoints", "LIST", "in the table (10,100,1000,10000,100000)",
		  .list = &w.endpoints },
		{ "matches", "LIST", "of one subscription (1,10,100,1000,10000)",
		  .list = &w.matches },
		{ "sessions", "LIST", "with one listener (1,100,1000,8000)", .list = &w.sessions },
		{ "processes", "LIST", "attached (10,100,1000)", .list = &w.processes },
		{ "cpus", "A,B", "who measures on A, all others on B (the first two)",
		  .place = &w.place },
		{ "json", NULL, "JSON", .flag = &w.json },
		{ 0 },
	};
	const struct options_help help = { "scale", help_before, NULL };
	int64_t before;
	int status;

	place_parse(NULL, &w.place);
	status = options_parse(argc, argv, &help, options);
	if (status >= 0)
		return status;
	bench_begin();
	before = place_canary(&w.place);
	measure_all();
	print_all(before, place_canary(&w.place));
	return EXIT_GOOD;
}

static uint64_t most_of(const struct list *list)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < list->count; i++)
		if (list->of[i] > most)
			most = list->of[i];
	return most;
}

static void set_capacity(const char *name, uint64_t value, uint64_t least)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)(value > least ? value : least));
	setenv(name, text, 1);
}

static void set_capacities(void)
{
	set_capacity("DCM_MAX_ENDPOINTS", most_of(&w.endpoints) + most_of(&w.matches) + 1000, 4096);
	set_capacity("DCM_MAX_CONNECTIONS", most_of(&w.sessions) + 192, 2048);
	set_capacity("DCM_MAX_PROCESSES", most_of(&w.processes) + 1, 512);
}

/* A process of its own, that is ready. */
static struct scale_role *begin(void (*run)(void *))
{
	struct scale_role *r = bench_shared(sizeof(*r));

	r->place = w.place;
	r->runs = (uint32_t)w.runs.of[0];
	bench_child(run, r);
	bench_reach(&r->done, 1);
	return r;
}

/* In slices: what is asked for may take longer than one wait may. */
static void have_it(struct scale_role *r, enum scale_what what, uint64_t n)
{
	uint32_t done = atomic_load(&r->done);

	r->what = what;
	r->n = n;
	bench_raise(&r->asked);
	while (!bench_reach_within(&r->done, done + 1, 1000000000))
		bench_check_ended();
}

static void tell(enum scale_what what, uint64_t n)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s, %llu", kinds[what].name, (unsigned long long)n);
}

/* @shown: what stands in the table; @n: what it is asked for. */
static void measure(struct scale_role *measurer, enum scale_what what, uint64_t n, uint64_t shown)
{
	struct samples samples = { 0 };
	struct row *row = &rows[count];
	double per = what == SCALE_BACKFILL || what == SCALE_RESYNC ? (double)n : 1;

	if (count == ROWS_MAX)
		bench_fail("too many to measure");
	tell(what, shown);
	have_it(measurer, what, n);
	for (uint32_t i = 0; i < measurer->runs; i++)
		samples_add(&samples, (int64_t)((double)measurer->ns[i] / per));
	*row = (struct row){ .what = what, .n = shown, .s = samples_sum_up(&samples), .ratio = 1 };
	samples_drop(&samples);
	for (unsigned i = 0; i < count; i++)
		if (rows[i].what == what && rows[i].s.p50 != 0) {
			row->ratio = (double)row->s.p50 / (double)rows[i].s.p50;
			break;
		}
	count++;
}

static void measure_endpoints(struct scale_role *measurer, struct scale_role *filler)
{
	for (unsigned i = 0; i < w.endpoints.count; i++) {
		uint64_t n = w.endpoints.of[i];

		have_it(filler, SCALE_PUBLISH, n);
		measure(measurer, SCALE_PAIR, n, n);
		measure(measurer, SCALE_SUBSCRIBE, n, n);
		measure(measurer, SCALE_REQUEST, n, n);
	}
	for (unsigned i = 0; i < w.matches.count; i++) {
		uint64_t n = w.matches.of[i];

		measure(measurer, SCALE_BACKFILL, n, n);
		measure(measurer, SCALE_RESYNC, n, n);
		measure(measurer, SCALE_BY_NAME, n, n);
	}
}

static void measure_sessions(struct scale_role *measurer, struct scale_role *holder)
{
	for (unsigned i = 0; i < w.sessions.count; i++) {
		uint64_t n = w.sessions.of[i];

		have_it(holder, SCALE_HOLD, n - 1);
		measure(measurer, SCALE_CONNECT, 0, n);
		measure(measurer, SCALE_CALL, 0, n);
	}
}

static void measure_processes(struct scale_role *measurer)
{
	uint64_t there = OWN_PROCESSES;

	for (unsigned i = 0; i < w.processes.count; i++) {
		for (; there < w.processes.of[i]; there++)
			(void)begin(scale_bystander);
		measure(measurer, SCALE_AMONG, 0, w.processes.of[i]);
	}
}

static void measure_all(void)
{
	struct scale_role *measurer;

	set_capacities();
	(void)begin(scale_server);
	measurer = begin(scale_measurer);
	measure_endpoints(measurer, begin(scale_filler));
	measure_processes(measurer);
	measure_sessions(measurer, begin(scale_holder));
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static void print_row(const struct row *row, bool first)
{
	if (w.json)
		printf("%s\n  {\"name\": \"%s\", \"of\": \"%s\", \"n\": %llu, \"runs\": %zu, "
		       "\"ratio\": %.3f, \"least_ns\": %ld, \"p50_ns\": %ld, \"p90_ns\": %ld, "
		       "\"max_ns\": %ld}",
		       first ? "" : ",", kinds[row->what].name, kinds[row->what].of,
		       (unsigned long long)row->n, row->s.count, row->ratio, (long)row->s.least,
		       (long)row->s.p50, (long)row->s.p90, (long)row->s.max);
	else
		printf("%-10s %8llu %-9s %8.2f %10ld %10ld %10ld  %s\n", kinds[row->what].name,
		       (unsigned long long)row->n, kinds[row->what].of, row->ratio,
		       (long)row->s.p50, (long)row->s.p90, (long)row->s.max, kinds[row->what].what);
}

static void print_all(int64_t before, int64_t after)
{
	bool first = true;

	if (w.json)
		printf("{\"schema\": \"dcm-bench-scale/1\", \"machine\": \"%s\", "
		       "\"compiler\": \"%s\", \"cpu\": %u, \"cpu_others\": %u,\n \"rows\": [",
		       place_machine(), __VERSION__, w.place.near, w.place.far);
	else
		printf("%s; compiler %s\n"
		       "on processor %u, all others on %u; medians of %u runs, nanoseconds\n\n"
		       "%-10s %8s %-9s %8s %10s %10s %10s  %s\n",
		       place_machine(), __VERSION__, w.place.near, w.place.far,
		       (unsigned)w.runs.of[0], "", "", "", "ratio", "p50", "p90", "max", "what");
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned i = 0; i < count; i++)
			if (rows[i].what == (enum scale_what)kind) {
				print_row(&rows[i], first);
				first = false;
			}
	if (w.json)
		printf("\n ],\n \"canary_before_ns\": %ld, \"canary_after_ns\": %ld}\n",
		       (long)before, (long)after);
	else
		printf("\na cache line went there and back in %ld ns before, %ld after\n",
		       (long)before, (long)after);
}
