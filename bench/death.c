/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench death - how soon blocked calls return when the process that they wait for is killed */
#define _GNU_SOURCE
#include "bench/death.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/dcm-bench.h"
#include "bench/lib_child.h"
#include "bench/lib_options.h"
#include "bench/lib_stats.h"
#include "bench/matrix.h"

enum { SETTLE_NS = 3 * 1000 * 1000, PROGRESS_NS = 200 * 1000 * 1000 };

const char *const death_call_names[DEATH_CALLS + 1] = {
	[DEATH_CALL] = "call",
	[DEATH_CONNECT] = "connect",
	[DEATH_LISTEN] = "listen",
	[DEATH_READ] = "read",
};

struct wishes {
	struct list callers, resident, calls, rounds; /* rounds: 0: as many as go with the size */
	struct list runs, ms, within;
	struct place place;
	const char *peers; /* or null */
	bool json;
};

/* One row of the table. */
struct result {
	enum death_call call;
	uint32_t callers, rounds;
	size_t resident;
	struct summary seen, raw;
};

static int parse(int argc, char **argv, struct wishes *w);
static int measure_peers(const struct wishes *w);
static struct result measure(struct death_stage *stage, const struct wishes *w, size_t resident);
static void start_callers(struct death_stage *stage, struct death_caller_is *is);
static void end_callers(struct death_stage *stage);
static void print_head(const struct wishes *w, int64_t canary);
static void print_row(const struct wishes *w, const struct result *r, bool first);
static void print_foot(const struct wishes *w, bool few, int64_t before, int64_t after);

/* So few samples that the nearest rank of p99 is the last. */
static bool p99_is_max(const struct result *r)
{
	return r->seen.count < 100;
}

int death_main(int argc, char **argv)
{
	struct wishes w = {
		.callers = LIST_NUMBERS(1, DEATH_CALLERS_MAX, 1, 64),
		.resident = LIST_NUMBERS(0, 1ull << 40, 0, 512ull << 20, 4ull << 30),
		.calls = LIST_NAMES(death_call_names, DEATH_CALL, DEATH_CONNECT, DEATH_LISTEN,
				    DEATH_READ),
		.rounds = LIST_ONE(1, 1000000, 0),
		.runs = LIST_ONE(1, 20, 5),
		.ms = LIST_ONE(1, 600000, 1000),
		.within = LIST_ONE(1, 86400, 86400),
	};
	struct death_caller_is is[DEATH_CALLERS_MAX];
	int status = parse(argc, argv, &w);
	int64_t before;
	bool first = true, few = false;

	if (status >= 0)
		return status;
	if (w.peers != NULL)
		return measure_peers(&w);
	bench_begin();
	place_pin(w.place.near);
	before = place_canary(&w.place);
	print_head(&w, before);
	for (unsigned c = 0; c < w.callers.count; c++) {
		struct death_stage *stage = bench_shared(sizeof(*stage));

		stage->callers = (uint32_t)w.callers.of[c];
		stage->place = w.place;
		start_callers(stage, is);
		for (unsigned i = 0; i < w.calls.count * w.resident.count; i++) {
			struct result r;

			stage->call = (enum death_call)w.calls.of[i % w.calls.count];
			r = measure(stage, &w, w.resident.of[i / w.calls.count]);
			print_row(&w, &r, first);
			first = false;
			few = few || p99_is_max(&r);
		}
		end_callers(stage);
	}
	print_foot(&w, few, before, place_canary(&w.place));
	return EXIT_GOOD;
}

static const char help_before[] =
	"Blocks callers on a process, kills it with SIGKILL, and measures from just before\n"
	"kill() until the blocked call has returned; beside it, in turn, round by round, the\n"
	"limit of the kernel: callers of the same number in FUTEX_WAIT on one robust futex of\n"
	"a victim of the same size, of whom the kernel wakes one and that one the others.\n"
	"Each caller is a process, and each gives a sample in each round; of fewer than 100\n"
	"samples p99 is the maximum. A caller that has returned puts nothing away before all\n"
	"have: they share a processor.\n";
static const char help_behind[] =
	"The calls:\n"
	" call     DcmCall to the victim, which never answers: rcNotConnected\n"
	" connect  DcmConnect to the victim, which never listens: rcNotConnected\n"
	" listen   DcmListen of a successor. A client's request waits at the victim; when\n"
	"          that is killed, the client's DcmConnect ends, it asks anew, and the\n"
	"          request reaches the successor: three wake-ups, one behind the other\n"
	" read     DcmReadPubQueue: the victim's endpoint is UNPUBLISHED. A keeper that\n"
	"          watches the victim is woken, and announces it: two wake-ups\n"
	"\n"
	"The victim's memory is private and anonymous, in small pages, each written once.\n"
	"Where the canary, a cache line's round trip between A and B, differs before and\n"
	"after, the machine was not the same all the time.\n";

static int parse(int argc, char **argv, struct wishes *w)
{
	static const struct options_help help = { "death", help_before, help_behind };
	const struct option_is options[] = {
		{ "calls", "LIST", "of call,connect,listen,read (all)", .list = &w->calls },
		{ "callers", "LIST", "so many are blocked at once (1,64)", .list = &w->callers },
		{ "resident", "LIST", "so much memory is resident in the victim (0,512M,4G)",
		  .list = &w->resident },
		{ "rounds", "N", "kills of each kind (200; 100 from 256M, 30 from 2G)",
		  .list = &w->rounds },
		{ "cpus", "A,B", "killer and callers on A, victim on B (the first two)",
		  .place = &w->place },
		{ "peers", "LIST",
		  "instead, callers of a server of each of these (or of all): one call, one\n"
		  "caller, in turns",
		  .text = &w->peers },
		{ "runs", "N", "runs of each of the peers (5)", .list = &w->runs },
		{ "duration", "MS", "milliseconds of each, in whole rounds (1000)",
		  .list = &w->ms },
		{ "within", "S", "no run is made again after so many seconds (as long as it takes)",
		  .list = &w->within },
		{ "json", NULL, "JSON", .flag = &w->json },
		{ 0 },
	};

	place_parse(NULL, &w->place);
	return options_parse(argc, argv, &help, options);
}

/* The same question to others: how soon one caller knows. */
static int measure_peers(const struct wishes *w)
{
	static struct matrix m = { .subcommand = "death-peers" };

	m.runs = w->runs;
	m.ms = w->ms;
	m.within = w->within;
	m.place = w->place;
	m.json = w->json;
	m.peers = strcmp(w->peers, "all") == 0 ? NULL : w->peers;
	for (unsigned i = 0; i < w->resident.count; i++) {
		const struct cell cell = { .what = "death",
					   .wait = "own",
					   .resident = w->resident.of[i],
					   .reference = "unix-seqpacket" };

		matrix_add(&m, &cell, "a server with %zu MiB is killed, and its caller knows",
			   cell.resident >> 20);
	}
	return matrix_run(&m);
}

static void start_callers(struct death_stage *stage, struct death_caller_is *is)
{
	for (uint32_t i = 0; i < stage->callers; i++) {
		is[i] = (struct death_caller_is){ stage, i };
		bench_child(death_caller, &is[i]);
	}
	bench_reach(&stage->back, stage->callers);
}

static void end_callers(struct death_stage *stage)
{
	for (uint32_t i = 0; i < stage->callers; i++)
		bench_kill(stage->caller[i].pid);
}

/* One kill. */
static void kill_one(struct death_stage *stage, struct samples *samples)
{
	uint32_t round = atomic_load(&stage->round) + 1;
	int64_t killed_ns;
	pid_t victim;

	/* Its endpoints are named by the round, which must be there first. */
	bench_raise(&stage->round);
	victim = bench_child(death_victim, stage);
	bench_reach(&stage->blocked, round * stage->callers);
	for (uint32_t i = 0; i < stage->callers; i++)
		bench_asleep(stage->caller[i].pid, stage->caller[i].pid);
	bench_nap(SETTLE_NS);
	killed_ns = bench_now();
	kill(victim, SIGKILL);
	bench_reach(&stage->returned, round * stage->callers);
	bench_raise(&stage->away);
	/* The first round of the group was its start. */
	bench_reach(&stage->back, (round + 1) * stage->callers);
	for (uint32_t i = 0; i < stage->callers; i++)
		samples_add(samples, stage->caller[i].returned_ns - killed_ns);
	bench_kill(victim);
}

static uint32_t rounds_for(size_t resident)
{
	return resident >= 2ull << 30 ? 30 : resident >= 256ull << 20 ? 100 : 200;
}

/* A round with gigabytes takes seconds. */
static void show_progress(const struct result *r, uint32_t round)
{
	static int64_t shown;

	if (!isatty(STDERR_FILENO) || (round < r->rounds && bench_now() - shown < PROGRESS_NS))
		return;
	shown = bench_now();
	if (round == r->rounds)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r%s, callers: %u, resident: %zuM, round %u of %u\033[K",
			death_call_names[r->call], r->callers, r->resident >> 20, round + 1,
			r->rounds);
}

static struct result measure(struct death_stage *stage, const struct wishes *w, size_t resident)
{
	struct samples seen = { 0 }, raw = { 0 };
	struct result r = { .call = stage->call,
			    .callers = stage->callers,
			    .resident = resident,
			    .rounds = w->rounds.of[0] != 0 ? (uint32_t)w->rounds.of[0]
							   : rounds_for(resident) };

	stage->resident = resident;
	for (uint32_t i = 0; i < r.rounds; i++) {
		show_progress(&r, i);
		stage->call = DEATH_RAW;
		kill_one(stage, &raw);
		stage->call = r.call;
		kill_one(stage, &seen);
	}
	show_progress(&r, r.rounds);
	r.seen = samples_sum_up(&seen);
	r.raw = samples_sum_up(&raw);
	samples_drop(&seen);
	samples_drop(&raw);
	return r;
}

static void print_head(const struct wishes *w, int64_t canary)
{
	if (w->json) {
		printf("{\"schema\": \"dcm-bench-death/1\", \"machine\": \"%s\", "
		       "\"compiler\": \"%s\", \"cpu_callers\": %u, \"cpu_victim\": %u,\n"
		       " \"rows\": [",
		       place_machine(), __VERSION__, w->place.near, w->place.far);
		return;
	}
	printf("%s; compiler %s\n"
	       "killer and callers on processor %u, victim on %u; a cache line goes and comes "
	       "back in %ld ns\n"
	       "microseconds from kill() to the return of the call, raw: of FUTEX_WAIT on a robust "
	       "futex\n\n"
	       "%-8s %7s %8s %6s | %7s %7s %7s %8s | %7s %7s %7s %8s | %5s %5s\n",
	       place_machine(), __VERSION__, w->place.near, w->place.far, (long)canary, "call",
	       "callers", "resident", "rounds", "p50", "p90", "p99", "max", "raw p50", "p90", "p99",
	       "max", "x p50", "x p99");
}

static void print_summary(const char *name, const struct summary *s)
{
	printf("\"%s\": {\"samples\": %zu, \"p50_ns\": %ld, \"p90_ns\": %ld, \"p99_ns\": %ld, "
	       "\"max_ns\": %ld}",
	       name, s->count, (long)s->p50, (long)s->p90, (long)s->p99, (long)s->max);
}

static double ratio(int64_t a, int64_t b)
{
	return b > 0 ? (double)a / (double)b : 0;
}

static void print_row(const struct wishes *w, const struct result *r, bool first)
{
	const struct summary *s = &r->seen, *raw = &r->raw;
	double p50 = ratio(s->p50, raw->p50), p99 = ratio(s->p99, raw->p99);

	if (w->json) {
		printf("%s\n  {\"call\": \"%s\", \"callers\": %u, \"resident_bytes\": %zu, "
		       "\"rounds\": %u,\n   ",
		       first ? "" : ",", death_call_names[r->call], r->callers, r->resident,
		       r->rounds);
		print_summary("dcm", s);
		printf(",\n   ");
		print_summary("raw", raw);
		printf(",\n   \"ratio_p50\": %.3f, \"ratio_p99\": %.3f, \"p99_is_max\": %s}", p50,
		       p99, p99_is_max(r) ? "true" : "false");
	} else {
		printf("%-8s %7u %7zuM %6u | %7.0f %7.0f %7.0f %8.0f | %7.0f %7.0f %7.0f %8.0f | "
		       "%5.2f %5.2f\n",
		       death_call_names[r->call], r->callers, r->resident >> 20, r->rounds,
		       (double)s->p50 / 1e3, (double)s->p90 / 1e3, (double)s->p99 / 1e3,
		       (double)s->max / 1e3, (double)raw->p50 / 1e3, (double)raw->p90 / 1e3,
		       (double)raw->p99 / 1e3, (double)raw->max / 1e3, p50, p99);
	}
	fflush(stdout);
}

static void print_foot(const struct wishes *w, bool few, int64_t before, int64_t after)
{
	if (few && !w->json)
		printf("\nof fewer than 100 samples (rounds x callers) p99 is the maximum\n");
	if (w->json)
		printf("\n ],\n \"canary_before_ns\": %ld, \"canary_after_ns\": %ld}\n",
		       (long)before, (long)after);
	else
		printf("\na cache line now goes and comes back in %ld ns (%ld before)\n",
		       (long)after, (long)before);
}
