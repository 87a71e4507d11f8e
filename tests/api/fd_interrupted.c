/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No interruption is lost to an event loop: one that comes while a call is on its way to saying
 * rcTimeout, nor one that was issued before the descriptor was asked for.
 */
#include <poll.h>
#include <sched.h>

#include "tests/api/lib_event.h"

#define TYPE "test.FdInterrupted"

enum { ROUNDS = 1500 };

static uint64_t rounds;

static struct side {
	uint64_t handle;
	Retcode (*wait)(uint64_t handle, bool long_enough);
	Retcode (*interrupt)(uint64_t handle);
	_Atomic uint32_t round, done;
	uint64_t dice;
} side;

static Retcode wait_for_request(uint64_t handle, bool long_enough)
{
	DcmHandle request;

	return DcmListen(handle, long_enough ? 20000 : 1, NULL, NULL, &request);
}

static Retcode wait_for_notice(uint64_t handle, bool long_enough)
{
	return DcmReadPubQueue(handle, long_enough ? 20000 : 1, NULL, NULL, NULL, NULL);
}

static Retcode wait_for_decision(uint64_t handle, bool long_enough)
{
	Handle session;

	return DcmConnect(handle, long_enough ? 20000 : 1, &session);
}

static Retcode wait_for_call(uint64_t handle, bool long_enough)
{
	DcmRequest call;

	return DcmReceive(handle, long_enough ? 20 * S_NS : MS_NS, &call);
}

/* Some time in or about the call's millisecond. */
static void interrupt_each(void *unused)
{
	(void)unused;
	for (uint32_t round = 1; round <= rounds; round++) {
		struct timespec now, start;
		int64_t after_ns = (int64_t)(random_next(&side.dice) % 400000) + 800000;

		while (side.round < round)
			sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &start);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - start.tv_sec) * S_NS + now.tv_nsec - start.tv_nsec < after_ns);
		side.interrupt(side.handle);
		side.done = round;
	}
}

static bool is_readable(int fd)
{
	struct pollfd on = { .fd = fd, .events = POLLIN };

	return poll(&on, 1, 0) == 1;
}

/* A call whose time ran out did not hear of the interruption: the descriptor has to tell of it. */
static void test_race(const char *what)
{
	unsigned timeouts = 0, silent = 0, wrong = 0;
	int fd = fd_of(side.handle);
	struct task task;

	side.round = side.done = 0;
	task_start(&task, interrupt_each, NULL);
	for (uint32_t round = 1; round <= rounds; round++) {
		Retcode rc;

		side.round = round;
		rc = side.wait(side.handle, false);
		while (side.done < round)
			sched_yield();
		wrong += rc != rcTimeout && rc != rcIpcInterrupt;
		if (rc != rcTimeout)
			continue;
		timeouts++;
		silent += !is_readable(fd);
		wrong += side.wait(side.handle, true) != rcIpcInterrupt;
	}
	task_join(&task);
	note("%s: %u of %llu calls timed out", what, timeouts, (unsigned long long)rounds);
	is_uint(0, wrong, "%s: each interruption ends one call", what);
	is_uint(0, silent, "%s: and the descriptor tells of each that a call did not hear of",
		what);
}

static void test_before(const char *what)
{
	int fd;

	must(side.interrupt(side.handle));
	fd = fd_of(side.handle);
	fd_becomes_readable(fd, what);
	is_rc(rcIpcInterrupt, side.wait(side.handle, true), "%s: as a call would say", what);
	is_rc(rcTimeout, side.wait(side.handle, false), "%s: once", what);
	fd_is_silent(fd, what);
}

static void test_kind(const char *what, uint64_t handle,
		      Retcode (*wait)(uint64_t handle, bool long_enough),
		      Retcode (*interrupt)(uint64_t handle))
{
	side.handle = handle;
	side.wait = wait;
	side.interrupt = interrupt;
	test_before(what);
	test_race(what);
}

int main(void)
{
	DcmHandle publication, subscription, connection;
	Handle listener;

	plan_lazy();
	tap_watchdog(120);
	rounds = tap_scaled(ROUNDS);
	tap_fabric_dir();
	side.dice = 4711;
	must(DcmInit());
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "p", &publication));
	must(DcmSetSubscription(TYPE ".None", NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmCreateConnection(TYPE ".None", "c", INVALID_HANDLE, INVALID_HANDLE, &connection));
	must(KnHandleCreateListener(&listener));
	test_kind("publication", publication, wait_for_request, DcmInterruptBlockingCall);
	test_kind("subscription", subscription, wait_for_notice, DcmInterruptBlockingCall);
	test_kind("connection", connection, wait_for_decision, DcmInterruptBlockingCall);
	test_kind("listener", listener, wait_for_call, DcmInterruptCall);
	must(KnHandleClose(listener));
	DcmFini();
	return 0;
}
