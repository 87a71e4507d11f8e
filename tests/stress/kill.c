/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Servers and clients with small tables are killed at random under load, and started again. The
 * survivors go on, no call blocks for ever, and at each quiet point nothing of the dead is left in
 * the segment and all slots are back.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/check.h"
#include "tests/stress/lib_kill.h"
#include "tests/tap.h"

enum {
	ROUNDS = 120,
	KILLS = 10, /* in each round */
	STUCK_MS = 15 * 1000,
	QUIET_MS = 15 * 1000,
};

static struct kill_board *board;
static pid_t pids[KILL_WORKERS];
static uint64_t dice;
static uint32_t kills;

static const char *role(uint32_t index)
{
	return index < KILL_SERVERS ? "server" : index == KILL_OBSERVER ? "observer" : "client";
}

static void spawn(uint32_t index)
{
	uint64_t seed = draw(&dice, UINT64_MAX);

	memset(&board->worker[index], 0, sizeof board->worker[index]);
	pids[index] = fork_child();
	if (pids[index] == 0)
		kill_work(board, index, seed);
}

static void spawn_all(void)
{
	for (uint32_t i = KILL_WORKERS; i-- > 0;)
		spawn(i);
}

static void end_all(int signal)
{
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		kill(pids[i], signal);
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		waitpid(pids[i], NULL, 0);
}

static void order(uint32_t what)
{
	atomic_store(&board->order, what);
	atomic_fetch_add(&board->phase, 1);
}

/* A survivor that is in one call for so long hangs. */
static void see_nobody_hangs(uint32_t round)
{
	int64_t now = now_ms();
	bool hangs = false;

	for (uint32_t i = 0; i < KILL_WORKERS; i++) {
		for (uint32_t t = 0; t < KILL_THREADS; t++) {
			int64_t since = atomic_load(&board->worker[i].thread[t].since_ms);

			if (since == 0 || now - since < STUCK_MS)
				continue;
			wrong("round %u: %s %u, process %d, thread %u is in %s for %lld ms", round,
			      role(i), i, pids[i], t, atomic_load(&board->worker[i].thread[t].what),
			      (long long)(now - since));
			hangs = true;
		}
	}
	if (!hangs)
		return;
	if (getenv("DCM_TEST_STOP")) {
		diag("  stopped: look at them with a debugger");
		tap_watchdog(0);
		for (;;)
			pause();
	}
	end_all(SIGKILL);
	die("round %u: that is what hangs", round);
}

static void kill_and_spawn(uint32_t round)
{
	for (uint32_t i = 0; i < KILLS; i++) {
		uint32_t victim = (uint32_t)draw(&dice, KILL_OBSERVER);
		uint32_t more = draw(&dice, 4) == 0 ? (uint32_t)draw(&dice, KILL_OBSERVER) : victim;

		nap_us((long)draw(&dice, 30000));
		see_nobody_hangs(round);
		/* Sometimes two at once. */
		kill(pids[victim], SIGKILL);
		kill(pids[more], SIGKILL);
		waitpid(pids[victim], NULL, 0);
		if (more != victim)
			waitpid(pids[more], NULL, 0);
		kills += more != victim ? 2 : 1;
		spawn(victim);
		if (more != victim)
			spawn(more);
	}
}

static bool all_came(uint32_t phase)
{
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		if (atomic_load(&board->worker[i].phase) < phase)
			return false;
	return true;
}

static void pause_all(uint32_t round)
{
	int64_t end = now_ms() + QUIET_MS;
	uint32_t phase;

	order(KILL_PAUSE);
	phase = atomic_load(&board->phase);
	while (!all_came(phase)) {
		nap_us(500);
		see_nobody_hangs(round);
		if (too_many_wrong())
			break;
		if (now_ms() < end)
			continue;
		for (uint32_t i = 0; i < KILL_WORKERS; i++)
			if (atomic_load(&board->worker[i].phase) < phase)
				diag("  %s %u, process %d did not pause", role(i), i, pids[i]);
		end_all(SIGKILL);
		die("round %u: not all came to the quiet point", round);
	}
}

static void report(void *context, const struct dcm_finding *f)
{
	(void)context;
	if (f->kind != DCM_CHECK_TRANSITION)
		diag("  %s %u, bucket %d, word %#llx: %s", dcm_check_table_name(f->table), f->slot,
		     (int)f->bucket, (unsigned long long)f->word, f->text);
}

static bool are_as(const struct used *a, const struct used *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* The tables, when they have come to rest: by their slots, by their bitmaps, and by dcm_check(). */
static void see_tables(const struct dcm_segment *seg, struct used due, uint32_t round)
{
	struct dcm_check_options options = DCM_CHECK_LIVE(report, NULL);
	int64_t end = now_ms() + QUIET_MS;
	struct dcm_check_result result;
	struct used slots, bits;

	do {
		nap_us(500);
		slots = slots_used(seg);
		bits = bits_used(seg);
		/* A listener has a slot from the first accept on. */
		if (due.listener != 0 && slots.listener <= due.listener)
			due.listener = slots.listener;
	} while ((!are_as(&slots, &due) || !are_as(&bits, &due)) && now_ms() < end);
	if (!are_as(&slots, &due) || !are_as(&bits, &due)) {
		wrong("round %u: slots in use (process endpoint subscription connection listener): "
		      "wanted %u %u %u %u %u, words say %u %u %u %u %u, bits %u %u %u %u %u",
		      round, due.process, due.endpoint, due.subscription, due.connection,
		      due.listener, slots.process, slots.endpoint, slots.subscription,
		      slots.connection, slots.listener, bits.process, bits.endpoint,
		      bits.subscription, bits.connection, bits.listener);
		say_slots(seg);
	}
	dcm_check(seg, &options, &result);
	if (result.damaged != 0 || result.dead != 0)
		wrong("round %u: dcm_check finds %llu damaged, %llu of the dead", round,
		      (unsigned long long)result.damaged, (unsigned long long)result.dead);
}

static void see_quiet(const struct dcm_segment *seg, uint32_t round)
{
	uint32_t phase = atomic_load(&board->phase);

	see_tables(seg,
		   (struct used){ .process = KILL_WORKERS,
				  .endpoint = KILL_SERVERS,
				  .subscription = 1,
				  .listener = KILL_SERVERS },
		   round);
	if (!nap_until(&board->agreed, phase, QUIET_MS))
		wrong("round %u: the observer does not know exactly the %d servers", round,
		      KILL_SERVERS);
}

/* One that comes when all are gone finds, or makes, an empty fabric. */
static void see_empty(struct dcm_segment *seg, uint32_t round)
{
	order(KILL_WORK);
	spawn(KILL_OBSERVER);
	if (!nap_until(&board->worker[KILL_OBSERVER].phase, 1, QUIET_MS))
		wrong("round %u: the one who comes when all are gone is stuck", round);
	/* If no slot was free it has replaced the segment, of which nobody is left. */
	dcm_segment_close(seg);
	look_at_fabric(seg);
	see_tables(seg, (struct used){ .process = 1, .subscription = 1 }, round);
	kill(pids[KILL_OBSERVER], SIGKILL);
	waitpid(pids[KILL_OBSERVER], NULL, 0);
}

/* All at once are killed, at work, or leave. */
static void start_over(struct dcm_segment *seg, uint32_t round)
{
	if (draw(&dice, 2) == 0) {
		order(KILL_WORK);
		nap_us((long)draw(&dice, 100000));
		end_all(SIGKILL);
	} else {
		order(KILL_LEAVE);
		for (uint32_t i = 0; i < KILL_WORKERS; i++) {
			int status;

			waitpid(pids[i], &status, 0);
			if (status != 0)
				wrong("round %u: %s %u left with %#x", round, role(i), i, status);
		}
	}
	see_empty(seg, round);
}

static void set_up(void)
{
	tap_fabric_dir();
	/* As few as can do, so that what is lost is missed. */
	setenv("DCM_MAX_PROCESSES", "11", 1);
	setenv("DCM_MAX_ENDPOINTS", "16", 1);
	setenv("DCM_MAX_SUBSCRIPTIONS", "7", 1);
	setenv("DCM_MAX_CONNECTIONS", "7", 1);
	setenv("DCM_MAX_LISTENERS", "4", 1);
	setenv("DCM_MAX_HINTS", "4", 1);
	setenv("DCM_MAX_CHANNEL_BYTES", "2097152", 1);
	board = shared_memory(sizeof *board);
}

static uint64_t done_by_all(void)
{
	uint64_t done = 0;

	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		done += atomic_load(&board->worker[i].done);
	return done;
}

int main(void)
{
	struct dcm_segment seg;
	uint32_t rounds;
	uint64_t done = 0;
	int64_t begun = now_ms();

	plan_lazy();
	dice = tap_seed();
	rounds = (uint32_t)tap_scaled(ROUNDS);
	set_up();
	order(KILL_WORK);
	spawn_all();
	pause_all(0);
	look_at_fabric(&seg);
	for (uint32_t round = 1; round <= rounds && !too_many_wrong(); round++) {
		order(KILL_WORK);
		kill_and_spawn(round);
		nap_us((long)draw(&dice, 20000));
		pause_all(round);
		see_quiet(&seg, round);
		done += done_by_all();
		if (round % 5 == 0 || round == rounds)
			start_over(&seg, round);
		if (round % 5 == 0 && round < rounds) {
			order(KILL_WORK);
			spawn_all();
		}
	}
	ok(tap_failed() == 0, "%u kills in %u rounds; %u calls were ended by a death", kills,
	   rounds, atomic_load(&board->broken));
	ok(done > 100 * (uint64_t)rounds, "the survivors went on: %llu calls and notices",
	   (unsigned long long)done);
	note("tables were full %u times; %lld ms", atomic_load(&board->full),
	     (long long)(now_ms() - begun));
	dcm_segment_close(&seg);
	return tap_failed() != 0;
}
