/* SPDX-License-Identifier: BSD-2-Clause */
/* Closing and revoking one handle at the same time: who is told rcOk has done what was asked. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/api/lib_api.h"

enum { ROUNDS = 20000 };

static struct round {
	pthread_barrier_t barrier;
	atomic_uint ready; /* of both: go, without a sleep */
	Handle top, badge;
	bool subtree, over;
	Retcode rc;
} now;

/* Both at once, then one of them a little later. */
static void go(uint64_t *state)
{
	atomic_fetch_add(&now.ready, 1);
	while (atomic_load(&now.ready) % 2 != 0)
		sched_yield();
	for (uint64_t n = random_next(state) % 64; n > 0; n--)
		atomic_load(&now.ready);
}

static void revoke_it(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&now.barrier);
		if (now.over)
			return;
		go(arg);
		now.rc = now.subtree ? KnHandleRevokeSubtree(now.top, now.badge)
				     : KnHandleRevoke(now.top);
		pthread_barrier_wait(&now.barrier);
	}
}

/* One round. Return: true, or false: told that all is revoked, and it is not. */
static bool race(uint64_t *state)
{
	Handle copy;
	Sid sid;
	bool kept;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID, NULL, &now.top));
	must(KnHandleCopy(now.top, OCAP_HANDLE_GET_SID, now.badge, &copy));
	pthread_barrier_wait(&now.barrier);
	go(state);
	(void)KnHandleClose(now.top);
	pthread_barrier_wait(&now.barrier);
	kept = KnHandleGetSidByHandle(copy, &sid) == rcOk;
	must(KnHandleClose(copy));
	return now.rc != rcOk || !kept;
}

static void test_race(bool subtree, uint64_t *state)
{
	unsigned rounds = (unsigned)tap_scaled(ROUNDS), told = 0, wrong = 0;
	uint64_t other = random_next(state);
	struct task task;

	now.subtree = subtree;
	now.over = false;
	task_start(&task, revoke_it, &other);
	for (unsigned i = 0; i < rounds; i++) {
		wrong += !race(state);
		told += now.rc == rcOk;
	}
	now.over = true;
	pthread_barrier_wait(&now.barrier);
	task_join(&task);
	ok(wrong == 0,
	   "%s against KnHandleClose: %u of %u times first, %u times told so and not so",
	   subtree ? "KnHandleRevokeSubtree" : "KnHandleRevoke", told, rounds, wrong);
}

int main(void)
{
	uint64_t state;
	Notice notice;

	plan_lazy();
	state = tap_seed();
	must(KnNoticeCreate(&notice));
	must(KnHandleCreateBadge(notice, 1, NULL, &now.badge));
	pthread_barrier_init(&now.barrier, NULL, 2);
	test_race(false, &state);
	test_race(true, &state);
	pthread_barrier_destroy(&now.barrier);
	must(KnHandleClose(now.badge));
	must(KnNoticeRelease(notice));
	return 0;
}
