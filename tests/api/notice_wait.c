/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for events: several threads, each event to one of them; none lost between two waits; and
 * what ends a wait.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>

#include "tests/api/lib_api.h"

#define USER	     (1u << 16)
#define EVENT_RIGHTS (OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT)

enum { THREADS = 4, ROUNDS = 2000 };

static Notice notice;
static Handle object[THREADS];
static _Atomic unsigned got[THREADS];

struct waiter {
	struct task task;
	uint64_t msec;
	Retcode rc;
	size_t count;
	EventDesc event;
};

static void wait_once(void *arg)
{
	struct waiter *w = arg;

	w->rc = KnNoticeGetEvent(notice, w->msec, 1, &w->event, &w->count);
}

static void start_waiters(struct waiter *w, size_t count, uint64_t msec)
{
	for (size_t i = 0; i < count; i++) {
		w[i] = (struct waiter){ .msec = msec };
		task_start(&w[i].task, wait_once, &w[i]);
	}
	for (size_t i = 0; i < count; i++)
		ok(task_asleep(&w[i].task), "thread %zu waits", i);
}

static void set_up(void)
{
	must(KnNoticeCreate(&notice));
	for (size_t i = 0; i < THREADS; i++) {
		must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, EVENT_RIGHTS, NULL,
					      &object[i]));
		must(KnNoticeSubscribeToObject(notice, object[i], USER, i));
		got[i] = 0;
	}
}

static void tear_down(void)
{
	must(KnNoticeRelease(notice));
	for (size_t i = 0; i < THREADS; i++)
		must(KnHandleClose(object[i]));
}

static void test_each_to_one(void)
{
	struct waiter w[THREADS];
	EventDesc event;
	size_t count;

	set_up();
	start_waiters(w, THREADS, INFINITE_TIMEOUT);
	for (size_t i = 0; i < THREADS; i++)
		must(KnNoticeSetObjectEvent(object[i], USER));
	for (size_t i = 0; i < THREADS; i++) {
		task_join(&w[i].task);
		is_rc(rcOk, w[i].rc, "thread %zu has an event", i);
		if (w[i].rc == rcOk && w[i].event.eventId < THREADS)
			got[w[i].event.eventId]++;
	}
	for (size_t i = 0; i < THREADS; i++)
		is_uint(1, got[i], "event %zu went to one of them", i);
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "none is left");
	tear_down();
}

static bool is_one_over(void *arg)
{
	struct waiter *w = arg;

	for (size_t i = 0; i < THREADS; i++)
		if (atomic_load(&w[i].task.over) != 0)
			return true;
	return false;
}

static void test_one_of_many(void)
{
	unsigned events = 0, ends = 0;
	struct waiter w[THREADS];

	set_up();
	start_waiters(w, THREADS, INFINITE_TIMEOUT);
	must(KnNoticeSetObjectEvent(object[0], USER));
	ok(until(is_one_over, w), "an event ends a wait");
	is_rc(rcOk, KnNoticeRelease(notice), "release while threads wait");
	for (size_t i = 0; i < THREADS; i++) {
		task_join(&w[i].task);
		events += w[i].rc == rcOk;
		ends += w[i].rc == rcNotConnected;
	}
	is_uint(1, events, "the event ended one");
	is_uint(THREADS - 1, ends, "the release the others");
	for (size_t i = 0; i < THREADS; i++)
		must(KnHandleClose(object[i]));
}

static void test_with_time(void)
{
	struct waiter w;

	set_up();
	start_waiters(&w, 1, 60 * 1000);
	must(KnNoticeSetObjectEvent(object[1], USER));
	task_join(&w.task);
	is_rc(rcOk, w.rc, "an event before the time is over");
	is_uint(1, w.event.eventId, "its id");
	start_waiters(&w, 1, 60 * 1000);
	must(KnHandleClose(object[0]));
	must(KnNoticeSubscribeToObject(notice, object[1], USER, 7));
	must(KnNoticeUnsubscribeFromEvent(notice, 1));
	must(KnNoticeSetObjectEvent(object[1], USER));
	task_join(&w.task);
	is_uint(7, w.event.eventId, "of an entry that was added while waiting");
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, EVENT_RIGHTS, NULL, &object[0]));
	tear_down();
}

/* One asks, the other answers: an event that is lost between two waits stops both. */
static Notice question, answer;

static void wait_for_one(Notice on)
{
	EventDesc event;
	size_t count;

	must(KnNoticeGetEvent(on, INFINITE_TIMEOUT, 1, &event, &count));
}

static void answer_all(void *arg)
{
	uint64_t rounds = tap_scaled(ROUNDS);

	for (uint64_t i = 0; i < rounds; i++) {
		wait_for_one(question);
		must(KnNoticeSetObjectEvent(*(Handle *)arg, USER << 1));
	}
}

static void test_ping_pong(void)
{
	uint64_t rounds = tap_scaled(ROUNDS);
	struct task task = { 0 };
	Handle ball;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, EVENT_RIGHTS, NULL, &ball));
	must(KnNoticeCreate(&question));
	must(KnNoticeCreate(&answer));
	must(KnNoticeSubscribeToObject(question, ball, USER, 1));
	must(KnNoticeSubscribeToObject(answer, ball, USER << 1, 2));
	task_start(&task, answer_all, &ball);
	for (uint64_t i = 0; i < rounds; i++) {
		must(KnNoticeSetObjectEvent(ball, USER));
		wait_for_one(answer);
	}
	task_join(&task);
	ok(1, "%llu questions had their answers", (unsigned long long)rounds);
	must(KnNoticeRelease(question));
	must(KnNoticeRelease(answer));
	must(KnHandleClose(ball));
}

int main(void)
{
	plan_lazy();
	test_each_to_one();
	test_one_of_many();
	test_with_time();
	test_ping_pong();
	return 0;
}
