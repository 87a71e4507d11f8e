/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Participants are killed at random under full load, in tables and rings as small as can be:
 * servers, clients, newcomers in DcmInit and DcmFini, those who watch the one that was just killed,
 * those who are just taking a dead one's slots over; some are stopped for a while, some become
 * another program. The survivors go on. At each quiet point every notice and every call of every
 * survivor is checked against what all did, and nothing of the dead is left: no slot, descriptor,
 * mapping or file.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/stress/lib_kill_quiet.h"
#include "tests/tap.h"

enum {
	KILLS = 2000,
	KILLS_PER_ROUND = 125,
	ROUNDS_PER_ERA = 8, /* then all die, or leave */
	STUCK_MS = 90 * 1000,
	QUIET_MS = 90 * 1000,
	GONE = 64, /* those who became another program, between two quiet points */
	HUNT_LOOKS = 2000,
};

static struct kill_board *board;
static struct history_seen seen;
static struct dcm_segment seg;
static const char *directory, *gone_program;
static uint64_t dice;

static struct {
	pid_t pid;
	bool stopped;
	int64_t until_ms;
	struct holdings holdings;
} worker[KILL_WORKERS];

static pid_t gone[GONE];
static uint32_t gone_count;

static struct {
	uint32_t kills, young, watchers, reapers, stops, execs;
} counts;

static const char *role(uint32_t index)
{
	return index < KILL_FIRST_CLIENT     ? "server"
	       : index < KILL_FIRST_NEWCOMER ? "client"
	       : index < KILL_FIRST_OBSERVER ? "newcomer"
					     : "observer";
}

static void note_control(enum history_what what, uint32_t index)
{
	history_note(&board->history, KILL_CONTROL, what, index, NULL);
}

static void spawn(uint32_t index)
{
	uint64_t seed = draw(&dice, UINT64_MAX);

	memset(&board->worker[index], 0, sizeof board->worker[index]);
	if (index >= KILL_FIRST_CLIENT && index < KILL_FIRST_NEWCOMER)
		for (uint32_t i = 0; i < KILL_CALLERS; i++) {
			struct history_calls *calls =
				&board->history
					 .calls[(index - KILL_FIRST_CLIENT) * KILL_CALLERS + i];

			atomic_store(&calls->base, atomic_load(&calls->next));
		}
	note_control(HISTORY_BORN, index);
	memset(&worker[index], 0, sizeof worker[index]);
	worker[index].pid = fork_child();
	if (worker[index].pid == 0) {
		/* However much they all do, the one who kills has his turn. */
		setpriority(PRIO_PROCESS, 0, 5);
		kill_work(board, index, seed, gone_program);
	}
	worker[index].holdings.segment_maps = 1;
}

static void spawn_all(void)
{
	for (uint32_t i = KILL_WORKERS; i-- > 0;)
		spawn(i);
}

/* A process that was killed, but nothing else, ends with that signal. */
static void bury(pid_t pid, const char *what, uint32_t index)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		;
	if (!WIFSIGNALED(status) || (WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGUSR1))
		wrong("%s %u, process %d, ended by itself: status %#x", what, index, pid, status);
}

static void end_all(void)
{
	atomic_store(&board->all_die, 1);
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		kill(worker[i].pid, SIGKILL);
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		bury(worker[i].pid, role(i), i);
	counts.kills += KILL_WORKERS;
}

static void end_gone(void)
{
	for (uint32_t i = 0; i < gone_count; i++) {
		kill(gone[i], SIGKILL);
		bury(gone[i], "what became of a worker", i);
	}
	gone_count = 0;
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
			      role(i), i, worker[i].pid, t,
			      atomic_load(&board->worker[i].thread[t].what),
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
	end_all();
	die("round %u: that is what hangs", round);
}

/* Stops and the ends of stops. */

static void stop_one(uint32_t index)
{
	if (worker[index].stopped)
		return;
	kill(worker[index].pid, SIGSTOP);
	worker[index].stopped = true;
	worker[index].until_ms = now_ms() + (int64_t)draw(&dice, 40);
	counts.stops++;
}

static void continue_those_due(bool all)
{
	int64_t now = now_ms();

	for (uint32_t i = 0; i < KILL_WORKERS; i++) {
		if (!worker[i].stopped || (!all && now < worker[i].until_ms))
			continue;
		kill(worker[i].pid, SIGCONT);
		worker[i].stopped = false;
	}
}

/* Deaths. */

static bool is_marked[KILL_WORKERS]; /* killed, not buried yet */

static void kill_one(uint32_t index)
{
	if (is_marked[index])
		return;
	note_control(HISTORY_DOOMED, index);
	kill(worker[index].pid, SIGKILL);
	is_marked[index] = true;
	counts.kills++;
}

static void bury_and_spawn(void)
{
	for (uint32_t i = 0; i < KILL_WORKERS; i++) {
		if (!is_marked[i])
			continue;
		bury(worker[i].pid, role(i), i);
		is_marked[i] = false;
		spawn(i);
	}
}

static uint32_t draw_victim(void)
{
	for (;;) {
		uint32_t index = (uint32_t)draw(&dice, KILL_WORKERS);

		if (!kill_lives_on(index))
			return index;
	}
}

/* The worker in process slot @slot, or KILL_WORKERS if it is none that may be killed. */
static uint32_t victim_in(uint32_t slot)
{
	struct dcm_process *p = dcm_process_at(&seg, slot);
	uint32_t pid = p == NULL ? 0 : dcm_load(&p->pid, acquire);

	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		if (worker[i].pid == (pid_t)pid && !kill_lives_on(i))
			return i;
	return KILL_WORKERS;
}

static uint32_t slot_of(uint32_t index)
{
	for (uint32_t i = 0; i < seg.process.count; i++)
		if (victim_in(i) == index && dcm_process_alive(&seg, i))
			return i;
	return seg.process.count;
}

/* With a victim, those who watch it: the living before it in the table, as far as they may die. */
static void kill_with_watchers(uint32_t index)
{
	uint32_t count = seg.process.count, slot = slot_of(index), found = 0, other;

	kill_one(index);
	if (slot == count)
		return;
	nap_us((long)draw(&dice, 2) * 20);
	for (uint32_t i = 1; i < count && found < 2; i++) {
		uint32_t before = (slot + count - i) % count;

		if (!dcm_process_alive(&seg, before))
			continue;
		found++;
		other = victim_in(before);
		if (other == KILL_WORKERS || other == index)
			continue;
		kill_one(other);
		counts.watchers++;
	}
}

/* Whoever is taking a slot of the dead over at this instant, if he may be killed. */
static uint32_t reaper_at_work(void)
{
	const struct dcm_table *tables[] = { &seg.process,    &seg.endpoint, &seg.subscription,
					     &seg.connection, &seg.listener, &seg.gift };

	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		for (uint32_t i = 0; i < tables[t]->count; i++) {
			uint64_t word = dcm_load(dcm_slot_word(tables[t], i), relaxed);
			uint32_t owner = dcm_word_owner(word), victim;

			if (dcm_word_state(word) != DCM_REAP)
				continue;
			victim = victim_in(owner);
			if (victim != KILL_WORKERS && !is_marked[victim])
				return victim;
		}
	}
	return KILL_WORKERS;
}

static void kill_with_reaper(uint32_t index)
{
	uint32_t reaper;

	kill_one(index);
	for (uint32_t look = 0; look < HUNT_LOOKS; look++) {
		reaper = reaper_at_work();
		if (reaper == KILL_WORKERS)
			continue;
		kill_one(reaper);
		counts.reapers++;
		return;
	}
}

/* The process goes on as another program, perhaps to the next quiet point. */
static void make_it_another(uint32_t index)
{
	char path[64], program[512];
	ssize_t length;

	if (gone_count == GONE || worker[index].stopped) {
		kill_one(index);
		return;
	}
	note_control(HISTORY_DOOMED, index);
	kill(worker[index].pid, SIGUSR1);
	snprintf(path, sizeof path, "/proc/%d/exe", worker[index].pid);
	/* Gone, too, if the signal came before there was a handler. */
	do {
		nap_us(100);
		length = readlink(path, program, sizeof program - 1);
		program[length > 0 ? length : 0] = '\0';
	} while (length > 0 && strstr(program, "helper_gone") == NULL);
	gone[gone_count++] = worker[index].pid;
	counts.execs++;
	spawn(index);
}

/* Its successor dies over DcmInit, or soon after. */
static void kill_young(uint32_t index)
{
	kill_one(index);
	bury_and_spawn();
	nap_us((long)draw(&dice, 800));
	kill_one(index);
	counts.young++;
}

static void kill_somehow(void)
{
	uint32_t index = draw_victim();

	switch (draw(&dice, 16)) {
	case 0:
		make_it_another(index);
		break;
	case 1:
	case 2:
	case 3:
		kill_with_reaper(index);
		break;
	case 4:
	case 5:
		kill_with_watchers(index);
		break;
	case 6:
		/* Many at once. */
		for (uint64_t i = 1 + draw(&dice, 4); i-- > 0;)
			kill_one(draw_victim());
		break;
	case 7:
	case 8:
	case 9:
		kill_young(index);
		break;
	default:
		kill_one(index);
		kill_one(draw_victim());
	}
	bury_and_spawn();
}

static void kill_for_a_while(uint32_t round, uint32_t kills)
{
	uint32_t end = counts.kills + kills;

	while (counts.kills < end && !atomic_load(&board->history.full) && !too_many_wrong()) {
		nap_us((long)draw(&dice, 1000));
		continue_those_due(false);
		see_nobody_hangs(round);
		if (draw(&dice, 8) == 0)
			stop_one((uint32_t)draw(&dice, KILL_WORKERS));
		kill_somehow();
	}
	continue_those_due(true);
}

/* Quiet points. */

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
		nap_us(300);
		see_nobody_hangs(round);
		if (too_many_wrong())
			break;
		if (now_ms() < end)
			continue;
		for (uint32_t i = 0; i < KILL_WORKERS; i++)
			if (atomic_load(&board->worker[i].phase) < phase)
				diag("  %s %u, process %d did not pause", role(i), i,
				     worker[i].pid);
		say_slots(&seg);
		end_all();
		die("round %u: not all came to the quiet point", round);
	}
}

/* @anew: the segment may be another one than before. */
static void see_quiet(uint32_t round, bool anew)
{
	pause_all(round);
	if (anew) {
		dcm_segment_close(&seg);
		look_at_fabric(&seg);
	}
	quiet_tables(&seg,
		     (struct used){ .process = KILL_WORKERS,
				    .endpoint = KILL_SERVERS,
				    .subscription = KILL_OBSERVERS,
				    .listener = KILL_SERVERS,
				    .gift = KILL_WORKERS },
		     round);
	quiet_history(&board->history, &seen, round);
	for (uint32_t i = 0; i < KILL_WORKERS; i++)
		quiet_process(worker[i].pid, getenv("DCM_FABRIC"), &worker[i].holdings, round);
	quiet_files(directory, round);
	end_gone();
}

/* All who come meet at a fabric of the dead, or at none; some die over making it. */
static void begin_era(uint32_t round)
{
	history_forget(&board->history, true);
	atomic_store(&board->all_die, 0);
	if (draw(&dice, 2) == 0)
		unlink(getenv("DCM_FABRIC"));
	order(KILL_WORK);
	spawn_all();
	for (uint64_t i = draw(&dice, 6); i-- > 0; bury_and_spawn()) {
		nap_us((long)draw(&dice, 500));
		kill_one(draw_victim());
	}
	see_quiet(round, true);
}

/* All at once are killed, at work, or leave. */
static void end_era(uint32_t round)
{
	if (draw(&dice, 2) == 0) {
		order(KILL_WORK);
		nap_us((long)draw(&dice, 50000));
		end_all();
		return;
	}
	order(KILL_LEAVE);
	for (uint32_t i = 0; i < KILL_WORKERS; i++) {
		int status;

		waitpid(worker[i].pid, &status, 0);
		if (status != 0)
			wrong("round %u: %s %u left with %#x", round, role(i), i, status);
	}
}

static void set_up(void)
{
	directory = tap_fabric_dir();
	gone_program = tap_helper("gone");
	/* As few as can do, so that what is lost is missed. */
	setenv("DCM_MAX_PROCESSES", "15", 1);
	setenv("DCM_MAX_ENDPOINTS", "16", 1);
	setenv("DCM_MAX_SUBSCRIPTIONS", "9", 1);
	setenv("DCM_MAX_CONNECTIONS", "8", 1);
	setenv("DCM_MAX_LISTENERS", "5", 1);
	setenv("DCM_MAX_HINTS", "4", 1);
	setenv("DCM_MAX_CHANNEL_BYTES", "2097152", 1);
	board = shared_memory(sizeof *board);
}

static void tell(uint32_t rounds, int64_t ms)
{
	ok(tap_failed() == 0, "%u kills in %u rounds; %u calls were ended by a death", counts.kills,
	   rounds, atomic_load(&board->broken));
	note("%u died within a millisecond of their birth, %u watching a dead one, %u in the "
	     "middle of reaping; %u became another program, %u were stopped",
	     counts.young, counts.watchers, counts.reapers, counts.execs, counts.stops);
	note("tables were full %u times; %lld ms, %lld kills/s", atomic_load(&board->full),
	     (long long)ms, (long long)counts.kills * 1000 / (ms + 1));
	tap_proof("random kills", "servers, clients, newcomers, reapers", counts.kills, "SIGKILLs",
		  tap_failed());
	tap_proof("history", "notices", seen.notices, "notices", seen.wrong_notices);
	tap_proof("history", "calls", seen.calls, "calls", seen.wrong_calls);
}

int main(void)
{
	int64_t begun = now_ms();
	uint32_t kills, round = 0;

	plan_lazy();
	dice = tap_seed();
	kills = (uint32_t)tap_scaled(KILLS);
	set_up();
	while (counts.kills < kills && !too_many_wrong()) {
		if (round % ROUNDS_PER_ERA == 0)
			begin_era(round);
		round++;
		order(KILL_WORK);
		kill_for_a_while(round, KILLS_PER_ROUND);
		see_quiet(round, false);
		if (round % ROUNDS_PER_ERA == 0 || counts.kills >= kills)
			end_era(round);
	}
	if (too_many_wrong())
		end_all();
	ok(seen.notices > kills && seen.calls > kills,
	   "the survivors went on: %llu notices, %llu calls", (unsigned long long)seen.notices,
	   (unsigned long long)seen.calls);
	tell(round, now_ms() - begun);
	dcm_segment_close(&seg);
	return tap_failed() != 0;
}
