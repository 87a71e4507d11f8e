/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench events - what it costs to tell of something, whether or not somebody waits for it */
#define _GNU_SOURCE
#include "bench/events.h"

#include <dcm/dcm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/dcm-bench.h"
#include "bench/lib_child.h"
#include "bench/lib_need.h"
#include "bench/lib_options.h"
#include "bench/lib_stats.h"

struct wishes {
	struct list rounds;
	struct place place;
	bool json;
};

/* One process measures it all, of which this is what the others see. */
struct stage {
	struct wishes w;
	_Atomic uint32_t ready, done;
	double *calls;				/* of one turn of each; null: not known */
	int64_t sample_ps[][EVENTS_ROUNDS_MAX]; /* of one turn */
};

static int parse(int argc, char **argv, struct wishes *w);
static void measure_all(void *arg);
static void follow(struct stage *stage);
static void print_head(const struct wishes *w, int64_t canary);
static void print_rows(const struct stage *stage);
static void print_foot(const struct wishes *w, int64_t canary_before, int64_t after);

int events_main(int argc, char **argv)
{
	struct wishes w = { .rounds = LIST_ONE(1, EVENTS_ROUNDS_MAX, 500) };
	struct events_server servers[EVENTS_SERVERS];
	int status = parse(argc, argv, &w);
	struct stage *stage;
	int64_t canary;
	pid_t measurer;
	double *calls;

	if (status >= 0)
		return status;
	calls = calloc(events_case_count, sizeof(*calls));
	if (calls == NULL)
		bench_fail("no memory");
	bench_begin();
	place_pin(w.place.near);
	canary = place_canary(&w.place);
	stage = bench_shared(sizeof(*stage) + events_case_count * sizeof(stage->sample_ps[0]));
	stage->w = w;
	print_head(&w, canary);
	for (unsigned i = 0; i < EVENTS_SERVERS; i++) {
		servers[i] =
			(struct events_server){ w.place, &stage->ready, (enum events_waiting)i };
		bench_child(events_serve, &servers[i]);
	}
	measurer = bench_child(measure_all, stage);
	follow(stage);
	if (events_count_calls(measurer, calls))
		stage->calls = calls;
	print_rows(stage);
	print_foot(&w, canary, place_canary(&w.place));
	free(calls);
	return EXIT_GOOD;
}

/* Until all samples are there, with a word on how far it is for who looks on. */
static void follow(struct stage *stage)
{
	bool seen = isatty(STDERR_FILENO);

	for (uint32_t round = 1; round <= stage->w.rounds.of[0]; round++) {
		bench_reach(&stage->done, round);
		if (seen)
			fprintf(stderr, "\r%u of %u rounds", round,
				(unsigned)stage->w.rounds.of[0]);
	}
	if (seen)
		fputs("\r\033[K", stderr);
}

static const char help_before[] =
	"Measures what it costs to set an event and to fetch it, to have a descriptor, and\n"
	"to call a server that waits in one way or the other; beside it a mutex and an\n"
	"eventfd. They take turns, so that what disturbs the machine disturbs all alike; a\n"
	"sample is the mean of so many in a row. How many system calls one makes is counted by\n"
	"tracing it afterwards.\n";
static const char help_behind[] =
	"\n"
	"Where the canary, a cache line's round trip between A and B, differs before and\n"
	"after, the machine was not the same all the time.\n";

/* The list of what is measured is as long as it is. */
static const char *behind_all(void)
{
	static char text[4096] = "What is measured:\n";
	size_t used = strlen(text);

	for (uint32_t i = 0; i < events_case_count && used < sizeof(text); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %-12s %s\n",
					 events_cases[i].name, events_cases[i].what);
	if (used < sizeof(text))
		snprintf(text + used, sizeof(text) - used, "%s", help_behind);
	return text;
}

static int parse(int argc, char **argv, struct wishes *w)
{
	const struct option_is options[] = {
		{ "rounds", "N", "samples of each kind (500)", .list = &w->rounds },
		{ "cpus", "A,B", "all on A, servers of calls on B (the first two)",
		  .place = &w->place },
		{ "json", NULL, "JSON", .flag = &w->json },
		{ 0 },
	};
	const struct options_help help = { "events", help_before, behind_all() };

	place_parse(NULL, &w->place);
	return options_parse(argc, argv, &help, options);
}

static int64_t sample(const struct events_case *c, struct events_thing *t)
{
	int64_t began_ns = bench_now();

	for (uint32_t i = 0; i < c->turns; i++)
		c->turn(t);
	return (bench_now() - began_ns) * 1000 / c->turns;
}

static void measure_all(void *arg)
{
	struct events_thing *things = calloc(events_case_count, sizeof(*things));
	struct stage *stage = arg;

	if (things == NULL)
		bench_fail("no memory");
	bench_reach(&stage->ready, EVENTS_SERVERS);
	bench_need(rcOk, DcmInit(), "DcmInit");
	for (uint32_t i = 0; i < events_case_count; i++)
		events_cases[i].begin(&things[i]);
	for (uint32_t round = 0; round < stage->w.rounds.of[0]; round++) {
		for (uint32_t i = 0; i < events_case_count; i++) {
			/* Its server may have gone to sleep, and its lines from the cache. */
			sample(&events_cases[i], &things[i]);
			stage->sample_ps[i][round] = sample(&events_cases[i], &things[i]);
		}
		bench_raise(&stage->done);
	}
	events_traced(things);
}

static void print_head(const struct wishes *w, int64_t canary)
{
	if (w->json) {
		printf("{\"schema\": \"dcm-bench-events/1\", \"machine\": \"%s\", "
		       "\"compiler\": \"%s\", \"cpu\": %u, \"cpu_servers\": %u,\n"
		       " \"rows\": [",
		       place_machine(), __VERSION__, w->place.near, w->place.far);
		return;
	}
	printf("%s; compiler %s\n"
	       "on processor %u, servers on %u; a cache line goes and comes back in %ld ns\n"
	       "nanoseconds\n\n"
	       "%-12s %9s %9s %9s %9s  %-15s %7s  %s\n",
	       place_machine(), __VERSION__, w->place.near, w->place.far, (long)canary, "", "p50",
	       "p90", "p99", "max", "x p50", "calls", "what");
}

static struct summary sum_up(const struct stage *stage, uint32_t i)
{
	struct samples samples = { 0 };
	struct summary s;

	for (uint32_t round = 0; round < stage->w.rounds.of[0]; round++)
		samples_add(&samples, stage->sample_ps[i][round]);
	s = samples_sum_up(&samples);
	samples_drop(&samples);
	return s;
}

static void print_row(const struct stage *stage, uint32_t i)
{
	const struct events_case *c = &events_cases[i];
	const char *of = events_cases[c->beside].name;
	struct summary s = sum_up(stage, i), beside = sum_up(stage, c->beside);
	double ratio = beside.p50 > 0 ? (double)s.p50 / (double)beside.p50 : 0;
	char calls[32] = "null";

	if (stage->calls != NULL)
		snprintf(calls, sizeof(calls), "%.2f", stage->calls[i]);

	if (stage->w.json)
		printf("%s\n  {\"name\": \"%s\", \"turns\": %u, \"samples\": %zu, \"p50_ns\": "
		       "%.1f, "
		       "\"p90_ns\": %.1f, \"p99_ns\": %.1f, \"max_ns\": %.1f, "
		       "\"ratio_p50\": %.3f, \"of\": \"%s\", \"calls\": %s, \"what\": \"%s\"}",
		       i == 0 ? "" : ",", c->name, c->turns, s.count, (double)s.p50 / 1e3,
		       (double)s.p90 / 1e3, (double)s.p99 / 1e3, (double)s.max / 1e3, ratio, of,
		       calls, c->what);
	else
		printf("%-12s %9.1f %9.1f %9.1f %9.1f  %6.2f %-8s %7s  %s\n", c->name,
		       (double)s.p50 / 1e3, (double)s.p90 / 1e3, (double)s.p99 / 1e3,
		       (double)s.max / 1e3, ratio, of, stage->calls == NULL ? "-" : calls, c->what);
}

static void print_rows(const struct stage *stage)
{
	for (uint32_t i = 0; i < events_case_count; i++)
		print_row(stage, i);
}

static void print_foot(const struct wishes *w, int64_t canary_before, int64_t after)
{
	if (w->json)
		printf("\n ],\n \"canary_before_ns\": %ld, \"canary_after_ns\": %ld}\n",
		       (long)canary_before, (long)after);
	else
		printf("\na cache line now goes and comes back in %ld ns (%ld before)\n",
		       (long)after, (long)canary_before);
}
