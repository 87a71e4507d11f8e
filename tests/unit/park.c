/* SPDX-License-Identifier: BSD-2-Clause */
/* Sleeping and waking: no wake is lost, and each of the things that end a sleep ends it. */
#define _GNU_SOURCE
#include "shm/park.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tests/unit/lib_world.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define MS INT64_C(1000000)

static void test_times(void)
{
	dcm_atomic32 word = 6;
	int64_t before = dcm_park_now();

	is_int(0, dcm_park_sleep(&word, 7, NULL, DCM_FOREVER), "another value: no sleep");
	is_int(-ETIMEDOUT, dcm_park_sleep(&word, 6, NULL, before), "a deadline that is past");
	is_int(-ETIMEDOUT, dcm_park_sleep(&word, 6, NULL, before + 20 * MS), "a deadline");
	ok(dcm_park_now() >= before + 20 * MS, "not before it");
	ok(dcm_park_deadline(-1) == DCM_FOREVER && dcm_park_deadline(DCM_FOREVER) == DCM_FOREVER,
	   "for ever");
	ok(dcm_park_deadline(DCM_FOREVER - 5) == DCM_FOREVER, "later than time goes");
	ok(dcm_park_deadline(0) >= before && dcm_park_deadline(MS) >= before + MS, "from now on");
}

static void test_counts(void)
{
	dcm_atomic32 ec = 10;
	uint32_t key;

	dcm_park_wake_all(&ec);
	dcm_park_wake_one(&ec);
	is_uint(10, dcm_load(&ec, seq), "nobody sleeps: nothing is written");
	key = dcm_park_prepare(&ec);
	is_uint(11, key, "prepared");
	dcm_park_wake_all(&ec);
	ok(dcm_load(&ec, seq) != key, "woken before it slept");
	is_uint(0, dcm_load(&ec, seq) & 1, "and the bit is clear");
	key = dcm_park_prepare(&ec);
	dcm_park_wake_one(&ec);
	ok(dcm_load(&ec, seq) != key, "likewise by one");
	is_uint(0, dcm_load(&ec, seq) & 1, "nobody slept: the bit is clear");
	dcm_store(&ec, UINT32_MAX, seq);
	dcm_park_wake_all(&ec);
	is_uint(0, dcm_load(&ec, seq), "the count wraps");
	is_int(0, dcm_park_sleep(&ec, key, NULL, DCM_FOREVER), "and an old key does not sleep");
}

/* One sleeper, and what ends its sleep. */
struct nap {
	dcm_atomic32 ec, alive, poke;
	bool guarded;
	dcm_atomic32 asleep;
	int result;
};

static void *nap(void *argument)
{
	struct nap *n = argument;
	struct dcm_park_guard guard = { .alive[1] = { &n->alive, 1 }, .poke = { &n->poke, 1 } };
	uint32_t key = dcm_park_prepare(&n->ec);

	dcm_store(&n->asleep, 1u, seq);
	do
		n->result = dcm_park_sleep(&n->ec, key, n->guarded ? &guard : NULL, DCM_FOREVER);
	while (dcm_load(&n->ec, seq) == key && dcm_load(&n->alive, seq) == 1 &&
	       dcm_load(&n->poke, seq) == 1);
	return NULL;
}

static void test_nap(bool guarded, void (*end)(struct nap *), const char *what)
{
	struct nap n = { .alive = 1, .poke = 1, .guarded = guarded };
	pthread_t thread;

	pthread_create(&thread, NULL, nap, &n);
	while (dcm_load(&n.asleep, seq) == 0)
		usleep(100);
	usleep(2000);
	end(&n);
	pthread_join(thread, NULL);
	is_int(0, n.result, "%s ends a sleep", what);
}

static void by_wake_all(struct nap *n)
{
	dcm_park_wake_all(&n->ec);
}

static void by_wake_one(struct nap *n)
{
	dcm_park_wake_one(&n->ec);
}

static void by_death(struct nap *n)
{
	dcm_store(&n->alive, 2u, seq);
	dcm_park_wake_word(&n->alive);
}

static void by_poke(struct nap *n)
{
	dcm_park_poke(&n->poke);
}

static void test_ends(const char *where)
{
	note("%s", where);
	test_nap(false, by_wake_all, "wake-all");
	test_nap(false, by_wake_one, "wake-one");
	test_nap(true, by_wake_all, "wake-all, guarded,");
	test_nap(true, by_wake_one, "wake-one, guarded,");
	test_nap(true, by_death, "a death");
	test_nap(true, by_poke, "a poke");
}

/* Where the kernel has not futex_waitv, or somebody denies it. */
static void test_without_waitv(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof code[0], code };
	dcm_atomic32 ec = 1, poke = 1;
	struct dcm_park_guard guard = { .poke = { &poke, 1 } };
	int64_t deadline = dcm_park_now() + 100 * MS;
	int status;
	pid_t pid = fork();

	if (pid != 0) {
		waitpid(pid, &status, 0);
		ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended well");
		return;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		skip("no seccomp here");
		_exit(0);
	}
	test_ends("without futex_waitv");
	/* It may wake for no reason on the way. */
	while (dcm_park_sleep(&ec, 1, &guard, deadline) == 0)
		;
	ok(dcm_park_now() >= deadline, "a deadline, guarded");
	_exit(0);
}

/* Work is given out one by one: each piece wakes one, and none is left lying while all sleep. */
enum { GIVERS = 2, TAKERS = 3, PIECES = 30000 };

struct works {
	dcm_atomic32 ec, work, taken;
	uint32_t pieces;
	bool all; /* wake all */
};

static bool take_piece(struct works *w)
{
	uint32_t seen = dcm_load(&w->work, seq);

	while (seen != 0)
		if (dcm_cas(&w->work, &seen, seen - 1))
			return true;
	return false;
}

static void take_pieces(struct works *w)
{
	while (dcm_load(&w->taken, seq) < w->pieces * GIVERS) {
		uint32_t key;

		if (!take_piece(w)) {
			key = dcm_park_prepare(&w->ec);
			if (dcm_load(&w->work, seq) == 0 &&
			    dcm_load(&w->taken, seq) < w->pieces * GIVERS)
				dcm_park_sleep(&w->ec, key, NULL, DCM_FOREVER);
			continue;
		}
		if (dcm_add(&w->taken, 1u) + 1 == w->pieces * GIVERS)
			dcm_park_wake_all(&w->ec);
	}
}

static void give_pieces(struct works *w, struct world_random *random)
{
	for (uint32_t i = 0; i < w->pieces; i++) {
		dcm_add(&w->work, 1u);
		if (w->all)
			dcm_park_wake_all(&w->ec);
		else
			dcm_park_wake_one(&w->ec);
		for (uint32_t spin = world_below(random, 200); spin != 0; spin--)
			dcm_park_pause();
	}
}

static void works_run(void *context, unsigned number)
{
	struct world_random random = world_random(number);

	if (number < GIVERS)
		give_pieces(context, &random);
	else
		take_pieces(context);
}

static void test_works(bool all)
{
	struct works w = { .pieces = (uint32_t)tap_scaled(PIECES), .all = all };

	world_threads(GIVERS + TAKERS, works_run, &w);
	is_uint(w.pieces * GIVERS, dcm_load(&w.taken, seq), "all work is done, wake-%s",
		all ? "all" : "one");
	is_uint(0, dcm_load(&w.work, seq), "and no more");
}

/* Two that take turns: each sleeps until the other has had its turn. */
struct turns {
	dcm_atomic32 ec, turn;
	uint32_t turns;
};

static void turns_run(void *context, unsigned number)
{
	struct turns *t = context;

	for (uint32_t i = 0; i < t->turns; i++) {
		while (dcm_load(&t->turn, seq) % 2 != number) {
			uint32_t key = dcm_park_prepare(&t->ec);

			if (dcm_load(&t->turn, seq) % 2 != number)
				dcm_park_sleep(&t->ec, key, NULL, DCM_FOREVER);
		}
		dcm_add(&t->turn, 1u);
		dcm_park_wake_all(&t->ec);
	}
}

static void test_turns(void)
{
	struct turns t = { .turns = (uint32_t)tap_scaled(20000) };

	world_threads(2, turns_run, &t);
	is_uint(2 * t.turns, dcm_load(&t.turn, seq), "two take turns");
}

int main(void)
{
	plan_lazy();
	test_times();
	test_counts();
	/* While there are no threads yet. */
	test_without_waitv(ENOSYS);
	test_without_waitv(EPERM);
	test_ends("with futex_waitv, if it is there");
	test_works(false);
	test_works(true);
	test_turns();
	return 0;
}
