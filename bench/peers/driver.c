/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * driver - one run of one peer: NAME KEY=VALUE... prints one line of JSON
 *
 * dcm-bench starts it. "NAME describe" says what the peer is. Exit status 77: its library was not
 * there when it was built, or a program that it needs is not there now. 78: it cannot do that job.
 */
#define _GNU_SOURCE
#include "bench/peers/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/peers/driver_job.h"
#include "bench/peers/driver_result.h"

/* Kills of a run, if they take no more than so many times its length. */
enum { KILLS = 200, LONGER_MOST = 3 };

enum { EXIT_ABSENT = 77, EXIT_CANNOT = 78, DAEMONS_MAX = 4, SETTLE_NS = 2 * 1000 * 1000 };

/* What a run may take to begin and to end. */
#define SLACK_NS (INT64_C(8) * 1000 * 1000 * 1000)

/* What one process is given. */
struct role {
	struct run *run;
	struct peer_end end;
	end_part *part;
};

static struct run *prepared;	 /* and not cleaned */
static pid_t pids[2 * ENDS_MAX]; /* servers, and behind them clients */
static unsigned pid_count;
static pid_t daemons[DAEMONS_MAX];
static unsigned daemon_count;

static bool can_do(const struct run *run)
{
	const struct peer_job *job = &run->job;
	uint32_t many = job->what == PEER_FAN ? job->servers : job->clients / job->servers;

	return (peer.can & job->what) != 0 && (peer.waits & job->wait) != 0 &&
	       (peer.largest == 0 || job->size <= peer.largest) &&
	       (peer.most == 0 || many <= peer.most);
}

static void describe(void)
{
	printf("%s\t%d\t%d\t%s\t%s\n", peer.name, (int)peer.kind, peer.can == 0,
	       peer.package == NULL ? "-" : peer.package, peer.what);
}

static void pin(const struct run *run, const struct peer_end *e)
{
	/* Of subscribers every second one is with the publisher, and the first is not: where the kernel
	   puts one that it may put anywhere differs from run to run, and that by more than any peer. */
	bool far = run->job.what == PEER_FAN && e->serves ? e->number % 2 == 0 : e->serves;

	if (run->free)
		place_pin_both(&run->place);
	else
		place_pin(far ? run->place.far : run->place.near);
}

/* Who is through stays until the driver ends it: an end before that is a failure. */
static void rest(void)
{
	for (;;)
		pause();
}

static void play(void *arg)
{
	struct role *role = arg;
	struct run *run = role->run;
	struct peer_end *e = &role->end;

	pin(run, e);
	if (e->serves) {
		if (peer.begin != NULL)
			peer.begin(e);
		if (run->job.what != PEER_APPEAR)
			peer.serve(e);
		bench_raise(&run->served);
	} else {
		bench_reach(&run->served, run->job.servers);
		client_begins(run, e);
		bench_raise(&run->opened);
		bench_reach(&run->opened, run->job.clients);
	}
	role->part(run, e);
	if (peer.close != NULL)
		peer.close(e);
	bench_raise(&run->done);
	rest();
}

static void start(struct run *run, bool serves)
{
	static end_part *const parts[][2] = {
		{ calls_client, calls_server },	    { sends_client, sends_server },
		{ sends_client, sends_server },	    { fan_client, fan_server },
		{ connect_client, connect_server }, { appear_client, appear_server },
		{ death_client, death_server },
	};
	static struct role roles[2][ENDS_MAX];
	uint32_t count = serves ? run->job.servers : run->job.clients;

	for (uint32_t i = 0; i < count; i++) {
		struct role *role = &roles[serves][i];

		*role = (struct role){ .run = run,
				       .end = { &run->job, i, serves, NULL },
				       .part = parts[__builtin_ctz(run->job.what)][serves] };
		pids[pid_count++] = bench_child(play, role);
	}
}

static void prepare(struct run *run)
{
	prepared = run;
	if (peer.prepare != NULL)
		peer.prepare(&run->job);
}

/* Also when something has failed, or somebody wants this to end. */
static void clean(void)
{
	struct run *run = prepared;

	if (run == NULL)
		return;
	prepared = NULL;
	while (pid_count > 0)
		bench_kill(pids[--pid_count]);
	if (peer.clean != NULL)
		peer.clean(&run->job);
	while (daemon_count > 0)
		bench_kill(daemons[--daemon_count]);
}

/* How far it came: of publications, how many subscribers have read the last. */
static void say_how_far(struct run *run)
{
	const struct peer_job *job = &run->job;
	uint64_t last = run->client[0].count;
	uint32_t told = 0;

	for (uint32_t i = 0; i < job->servers; i++)
		told += atomic_load(&run->server[i].told) == last;
	if (job->what == PEER_FAN)
		fprintf(stderr, "%u of %u know of publication %llu; ", told, job->servers,
			(unsigned long long)last);
	bench_fail("not through: %u of %u serve, %u of %u are open, %u have ended",
		   atomic_load(&run->served), job->servers, atomic_load(&run->opened), job->clients,
		   atomic_load(&run->done));
}

/* In the middle of whatever they do: one producer after the other, until the consumer is through. */
static void stop_in_turns(const struct run *run, int64_t until_ns)
{
	const uint32_t clients = run->job.clients;

	for (uint32_t i = 0; atomic_load(&run->stop) == 0 && bench_now() < until_ns; i++) {
		pid_t producer = pids[run->job.servers + i % clients];

		bench_check_ended();
		kill(producer, SIGSTOP);
		bench_nap((int64_t)run->stop_ns);
		kill(producer, SIGCONT);
		bench_nap((int64_t)run->stop_ns);
	}
}

static void measure(struct run *run)
{
	double ns = (double)(run->warm + run->length) / run->clock.per_ns;

	prepare(run);
	start(run, true);
	start(run, false);
	if (run->stop_ns > 0) {
		bench_reach(&run->opened, run->job.clients);
		stop_in_turns(run, bench_now() + (int64_t)ns + SLACK_NS);
	}
	if (!bench_reach_within(&run->done, run->job.clients + run->job.servers,
				(int64_t)ns + SLACK_NS))
		say_how_far(run);
	clean();
}

/* One kill. Return: false: who called never learned of it. */
static bool kill_one(struct run *run)
{
	int64_t killed_ns;
	bool told;

	atomic_store(&run->served, 0);
	atomic_store(&run->opened, 0);
	atomic_store(&run->turn, 0);
	prepare(run);
	start(run, true);
	start(run, false);
	bench_reach(&run->turn, 1);
	if (run->job.wait != PEER_SPIN)
		bench_asleep(pids[1], pids[1]);
	bench_nap(SETTLE_NS);
	killed_ns = bench_now();
	kill(pids[0], SIGKILL);
	told = bench_reach_within(&run->turn, 2, NEVER_NS);
	if (told)
		hist_add(&run->client[0].time,
			 (uint64_t)((double)(run->turn_ns - killed_ns) * run->clock.per_ns));
	clean();
	return told;
}

/*
 * As many kills of each peer, where they are quick: the p99 of few is their maximum, and a peer whose
 * victims take longer to start would be held to that.
 */
static bool has_enough(const struct run *run, uint64_t ticks)
{
	uint64_t count = run->client[0].count;

	return ticks >= run->length &&
	       (run->resident > 0 || count >= KILLS || ticks >= LONGER_MOST * run->length);
}

static void measure_deaths(struct run *run)
{
	uint64_t began = clock_ticks();

	do {
		if (!kill_one(run)) {
			run->client[0].count = 0; /* never */
			break;
		}
		run->client[0].count++;
	} while (!has_enough(run, clock_ticks() - began));
	run->client[0].began = began;
	run->client[0].ended = clock_ticks();
}

int main(int argc, char **argv)
{
	struct run *run = bench_shared(sizeof(*run));
	struct noise noise;

	if (argc == 2 && strcmp(argv[1], "describe") == 0) {
		describe();
		return 0;
	}
	if (peer.can == 0)
		return EXIT_ABSENT;
	job_read(run, argc - 1, argv + 1);
	if (!can_do(run))
		return EXIT_CANNOT;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	run->job.directory = bench_begin();
	bench_at_end(clean);
	run->client = bench_shared(run->job.clients * sizeof(*run->client));
	run->server = bench_shared(run->job.servers * sizeof(*run->server));
	place_pin(run->place.near);
	run->clock = clock_measure();
	job_in_ticks(run);
	noise_begin(&noise, &run->place);
	place_pin_both(&run->place);
	if (run->job.what == PEER_DEATH)
		measure_deaths(run);
	else
		measure(run);
	place_pin(run->place.near);
	noise_end(&noise, &run->place);
	result_print(run, &noise);
	return 0;
}

void peer_fail(const char *format, ...)
{
	char text[512];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	bench_fail("%s", text);
}

void peer_absent(const char *package)
{
	fprintf(stderr, "%s: %s is not installed\n", peer.name, package);
	exit(EXIT_ABSENT);
}

void peer_cannot(const char *why)
{
	fprintf(stderr, "%s: %s\n", peer.name, why);
	exit(EXIT_CANNOT);
}

void *peer_shared(size_t bytes)
{
	return bench_shared(bytes);
}

void *peer_memory(size_t bytes)
{
	void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);

	if (memory == NULL)
		bench_fail("no memory");
	memset(memory, 0, (bytes + 63) / 64 * 64);
	return memory;
}

const char *peer_path(const struct peer_job *job, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", job->directory, name);
	return path;
}

static void be_daemon(void *argv)
{
	int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(nowhere, STDIN_FILENO);
	dup2(nowhere, STDOUT_FILENO);
	dup2(nowhere, STDERR_FILENO);
	execvp(((char **)argv)[0], argv);
}

void peer_daemon(const char *const argv[])
{
	if (daemon_count == DAEMONS_MAX)
		bench_fail("too many daemons");
	daemons[daemon_count++] = bench_child(be_daemon, (void *)(uintptr_t)argv);
}

int64_t peer_now(void)
{
	return bench_now();
}
