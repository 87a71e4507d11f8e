/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * 32 processes call DcmInit() at the same instant on a fabric that is not there, 200 times over,
 * and some are killed meanwhile. Each survivor publishes an endpoint, and each is told of those of
 * all survivors and of nobody else: they are on one, whole segment. What the dead left is reaped.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/lib_stress.h"
#include "tests/tap.h"

#define TYPE "test.Init"

enum { PROCESSES = 32, ROUNDS = 200, KILLS_MAX = 10, WINDOW_US = 10000, PATIENCE_MS = 20 * 1000 };

static struct board {
	_Atomic uint32_t ready;
	_Atomic uint32_t go;		      /* 1: init; 2: who survives is known; 3: end */
	_Atomic uint32_t survivors;	      /* bits */
	_Atomic uint32_t attached[PROCESSES]; /* 1: DcmInit returned; 2: it failed */
	_Atomic uint32_t saw[PROCESSES];      /* 1: exactly the survivors; 2: not */
} * board;

static uint64_t dice;
static const char *fabric;

/* Read notices until exactly @wanted_bits are announced. Return: what was at last. */
static uint32_t see_others(DcmHandle subscription, uint32_t wanted_bits)
{
	int64_t end = now_ms() + PATIENCE_MS;
	char name[DCM_NAME_SIZE];
	DcmPubStatus status;
	uint32_t seen = 0, bit;

	while (seen != wanted_bits && now_ms() < end) {
		Retcode rc = DcmReadPubQueue(subscription, 200, &status, NULL, NULL, name);

		if (rc == rcTimeout)
			continue;
		if (!wanted(rcOk, rc, "DcmReadPubQueue"))
			break;
		bit = 1u << atoi(name) % PROCESSES;
		if ((status == DCM_PUBLISHED) == ((seen & bit) != 0))
			wrong("status %u of %s, of which the last was the same", status, name);
		seen ^= bit;
	}
	return seen;
}

static void participate(uint32_t me)
{
	DcmHandle publication, subscription;
	uint32_t survivors, seen;
	char name[16];
	Retcode rc;

	snprintf(name, sizeof name, "%u", me);
	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->go) == 0)
		nap_us(50);
	rc = DcmInit();
	if (!wanted(rcOk, rc, "process %u: DcmInit", me)) {
		atomic_store(&board->attached[me], 2);
		_exit(1);
	}
	wanted(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, &publication),
	       "process %u: DcmPublishEndpoint", me);
	wanted(rcOk, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
	       "process %u: DcmSetSubscription", me);
	atomic_store(&board->attached[me], 1);
	nap_until(&board->go, 2, PATIENCE_MS);
	survivors = atomic_load(&board->survivors);
	seen = see_others(subscription, survivors);
	if (seen != survivors)
		wrong("process %u: survivors are %#x, it sees %#x", me, survivors, seen);
	atomic_store(&board->saw[me], 1);
	nap_until(&board->go, 3, PATIENCE_MS);
	DcmFini();
	_exit(0);
}

/* Return: bits of those killed; *@early counts those that had not attached. */
static uint32_t kill_some(const pid_t *pids, uint32_t *early)
{
	uint32_t kills = (uint32_t)draw(&dice, KILLS_MAX + 1), dead = 0;

	for (uint32_t i = 0; i < kills; i++) {
		uint32_t victim = (uint32_t)draw(&dice, PROCESSES);

		nap_us((long)draw(&dice, WINDOW_US / (kills + 1)));
		if (dead >> victim & 1)
			continue;
		kill(pids[victim], SIGKILL);
		*early += atomic_load(&board->attached[victim]) == 0;
		dead |= 1u << victim;
	}
	return dead;
}

/* The last participant finds nothing but itself, after all that the others left was reaped. */
static void see_remains(uint32_t round)
{
	int64_t end = now_ms() + PATIENCE_MS;
	struct used slots, bits;
	struct dcm_segment seg;
	struct stat st;

	wanted(rcOk, DcmInit(), "round %u: DcmInit of the last", round);
	look_at_fabric(&seg);
	do {
		slots = slots_used(&seg);
		bits = bits_used(&seg);
		if (slots.process == 1 && slots.endpoint == 0 && slots.subscription == 0 &&
		    memcmp(&slots, &bits, sizeof slots) == 0)
			break;
		nap_us(1000);
	} while (now_ms() < end);
	if (slots.process != 1 || slots.endpoint != 0 || slots.subscription != 0 ||
	    memcmp(&slots, &bits, sizeof slots) != 0) {
		wrong("round %u: %u processes, %u endpoints, %u subscriptions are left; bits say "
		      "%u, %u, %u",
		      round, slots.process, slots.endpoint, slots.subscription, bits.process,
		      bits.endpoint, bits.subscription);
		say_slots(&seg);
	}
	if (stat(fabric, &st) < 0 || (uint64_t)st.st_size != seg.bytes ||
	    (uint64_t)st.st_blocks * 512 < seg.bytes || !dcm_segment_linked(&seg))
		wrong("round %u: the segment is not whole", round);
	DcmFini();
	dcm_segment_close(&seg);
}

/* Nothing; or no segment, but the lock file of the last round. */
static void prepare(void)
{
	char lock[256];

	memset(board, 0, sizeof *board);
	unlink(fabric);
	snprintf(lock, sizeof lock, "%s.lock", fabric);
	if (draw(&dice, 2) == 0)
		unlink(lock);
}

static void await_survivors(_Atomic uint32_t *words, uint32_t survivors, uint32_t round,
			    const char *what)
{
	for (uint32_t i = 0; i < PROCESSES; i++)
		if (survivors >> i & 1 && !nap_until(&words[i], 1, PATIENCE_MS + 5000))
			wrong("round %u: process %u is stuck: %s", round, i, what);
}

static void play(uint32_t round, uint32_t *killed, uint32_t *early)
{
	uint32_t dead, survivors;
	pid_t pids[PROCESSES];

	prepare();
	for (uint32_t i = 0; i < PROCESSES; i++) {
		pids[i] = fork_child();
		if (pids[i] == 0)
			participate(i);
	}
	nap_until(&board->ready, PROCESSES, PATIENCE_MS);
	atomic_store(&board->go, 1);
	dead = kill_some(pids, early);
	survivors = ~dead;
	*killed += (uint32_t)__builtin_popcount(dead);
	await_survivors(board->attached, survivors, round, "DcmInit");
	atomic_store(&board->survivors, survivors);
	atomic_store(&board->go, 2);
	await_survivors(board->saw, survivors, round, "seeing the others");
	/* Half of the rounds end in order, half in a massacre. */
	if (round % 2 == 0)
		atomic_store(&board->go, 3);
	for (uint32_t i = 0; i < PROCESSES; i++) {
		if (round % 2 == 1)
			kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	see_remains(round);
}

int main(void)
{
	uint32_t rounds, killed = 0, early = 0;
	int64_t begun = now_ms();

	plan_lazy();
	dice = tap_seed();
	rounds = (uint32_t)tap_scaled(ROUNDS);
	tap_fabric_dir();
	fabric = getenv("DCM_FABRIC");
	board = shared_memory(sizeof *board);
	for (uint32_t round = 0; round < rounds && !too_many_wrong(); round++)
		play(round, &killed, &early);
	ok(tap_failed() == 0,
	   "%u rounds of %d processes, %u killed, %u of them before they had attached", rounds,
	   PROCESSES, killed, early);
	ok(early > 0 || rounds < 10, "some were killed as they attached");
	note("%u rounds in %lld ms", rounds, (long long)(now_ms() - begun));
	return tap_failed() != 0;
}
