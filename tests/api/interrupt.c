/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interruption: it ends every call that is blocked, waits for the next one if none is, once, comes
 * after ready data, and is never lost.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

#define TYPE "test.Interrupt"

static struct pair pair;
static struct load load;

static Retcode interrupt(enum blocking what, uint64_t handle)
{
	return what <= BLOCK_RECEIVE ? DcmInterruptCall(handle) : DcmInterruptBlockingCall(handle);
}

/* What a call of a consumed message needs anew. */
static void again(struct blocked *b)
{
	if (b->what == BLOCK_CALL)
		b->message = must_loan(b->handle, 8);
}

static bool consumes(enum blocking what)
{
	return what == BLOCK_START || what == BLOCK_SEND;
}

static void clean(struct blocked *b)
{
	DcmRequest request;

	while (DcmReceive(pair.listener, 0, &request) == rcOk)
		must(DcmRelease(&request.message));
	while (b->handle == pair.session &&
	       DcmFinish(pair.session, DCM_ANY_CALL, 0, NULL, NULL) == rcNotConnected)
		;
	DcmRelease(&b->message);
	load_drop(&load);
	if (b->handle != pair.session && b->handle != pair.listener)
		must(DcmCloseHandle(b->handle));
}

/* While it is blocked, and then no more. */
static void test_blocked(enum blocking what)
{
	struct blocked b = { .what = what, .handle = blocking_handle(what, TYPE, &pair), .timeout_ms = -1 };

	load_for(&load, &b);
	blocked_go(&b);
	is_rc(rcOk, interrupt(what, b.handle), "interrupt %s", blocking_name(what));
	blocked_ends(&b, rcIpcInterrupt, "interrupted");
	if (!consumes(what)) {
		again(&b);
		b.timeout_ms = 1;
		is_rc(rcTimeout, blocked_make(&b), "%s, the next one", blocking_name(what));
	}
	clean(&b);
}

/* Before it blocks: the next call ends, once; one with timeout 0 neither reports nor consumes it. */
static void test_sticky(enum blocking what)
{
	struct blocked b = { .what = what, .handle = blocking_handle(what, TYPE, &pair), .timeout_ms = 0 };
	Retcode full = what == BLOCK_LOAN || consumes(what) ? rcQuotaExceeded : rcTimeout;

	load_for(&load, &b);
	must(interrupt(what, b.handle));
	must(interrupt(what, b.handle));
	is_rc(full, blocked_make(&b), "%s at timeout 0, with an interruption waiting",
	      blocking_name(what));
	again(&b);
	b.timeout_ms = 60 * 1000;
	is_rc(rcIpcInterrupt, blocked_make(&b), "%s that would block", blocking_name(what));
	if (!consumes(what)) {
		again(&b);
		b.timeout_ms = 1;
		is_rc(rcTimeout, blocked_make(&b), "%s after it: once", blocking_name(what));
	}
	clean(&b);
}

static void test_several(enum blocking what)
{
	struct blocked waiting[4];
	uint64_t handle = blocking_handle(what, TYPE, &pair);

	for (int i = 0; i < 4; i++)
		blocked_start(&waiting[i], what, handle);
	must(interrupt(what, handle));
	for (int i = 0; i < 4; i++)
		blocked_ends(&waiting[i], rcIpcInterrupt, "one of four, interrupted");
	waiting[0].timeout_ms = 1;
	is_rc(rcTimeout, blocked_make(&waiting[0]), "%s after four", blocking_name(what));
	clean(&waiting[0]);
}

/* Data that is there comes first; the interruption is for the call after it. */
static void test_data_first(void)
{
	DcmHandle publication, subscription;
	DcmMessage message = must_loan(pair.session, 1);
	DcmRequest request;
	Handle server = new_identity();

	must(DcmSetSubscription(TYPE ".data", NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmPublishEndpoint(server, TYPE ".data", "n", &publication));
	must(DcmInterruptBlockingCall(subscription));
	is_rc(rcOk, DcmReadPubQueue(subscription, 60 * 1000, NULL, NULL, NULL, NULL),
	      "a notice that is there");
	is_rc(rcIpcInterrupt, DcmReadPubQueue(subscription, 60 * 1000, NULL, NULL, NULL, NULL),
	      "then the interruption");
	must(DcmSend(pair.session, &message, 0));
	must(DcmInterruptCall(pair.listener));
	is_rc(rcOk, DcmReceive(pair.listener, FOREVER_NS, &request), "a message that is there");
	must(DcmRelease(&request.message));
	is_rc(rcIpcInterrupt, DcmReceive(pair.listener, FOREVER_NS, &request),
	      "then the interruption");
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(subscription));
	must(KnHandleClose(server));
}

/* A request that was interrupted goes on; so does a started call. */
static void test_goes_on(void)
{
	DcmHandle publication, connection, request;
	struct blocked b;
	DcmRequest received;

	must(DcmCreateConnection(PAIR_TYPE, "later", INVALID_HANDLE, INVALID_HANDLE, &connection));
	blocked_start(&b, BLOCK_CONNECT, connection);
	must(DcmInterruptBlockingCall(connection));
	blocked_ends(&b, rcIpcInterrupt, "parked");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), PAIR_TYPE, "later",
				&publication));
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, pair.callable, INVALID_HANDLE));
	is_rc(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &b.number),
	      "it was asked for all along");
	must(KnHandleClose(b.number));
	must(DcmCloseHandle(request));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(publication));
	b = (struct blocked){ .what = BLOCK_FINISH, .handle = pair.session, .timeout_ms = -1 };
	load_for(&load, &b);
	blocked_go(&b);
	must(DcmInterruptCall(pair.session));
	blocked_ends(&b, rcIpcInterrupt, "under way");
	received = must_receive(pair.listener);
	must_reply(&received, "", 0, 9);
	is_rc(rcOk, blocked_make(&b), "the call was under way all along");
	is_int(9, b.message.status, "with its reply");
	must(DcmRelease(&b.message));
}

/* A thread that takes notices until it was interrupted as often as is said. */
struct taker {
	DcmHandle subscription;
	unsigned int notices, interrupts;
	_Atomic unsigned int seen;
};

static void take(void *arg)
{
	struct taker *t = arg;

	for (;;) {
		Retcode rc =
			DcmReadPubQueue(t->subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL);

		if (rc == rcNotConnected)
			return;
		t->notices += rc == rcOk;
		t->interrupts += rc == rcIpcInterrupt;
		if (rc == rcIpcInterrupt)
			atomic_fetch_add(&t->seen, 1);
	}
}

struct goal {
	struct taker *taker;
	unsigned int wanted;
	int patience;
};

static bool is_seen(void *arg)
{
	struct goal *goal = arg;

	return atomic_load(&goal->taker->seen) >= goal->wanted || goal->patience-- == 0;
}

/* An interruption at the same moment as data: both come. */
static void test_race(uint64_t *state)
{
	unsigned int rounds = (unsigned int)tap_scaled(2000), lost = 0;
	struct taker taker = { .notices = 0 };
	Handle server = new_identity();
	DcmHandle publication;
	struct task task;

	must(DcmSetSubscription(TYPE ".race", NULL, NULL, INVALID_HANDLE, &taker.subscription));
	task_start(&task, take, &taker);
	for (unsigned int i = 0; i < rounds; i++) {
		struct goal goal = { .taker = &taker, .wanted = i + 1 - lost, .patience = 2000 };

		must(DcmPublishEndpoint(server, TYPE ".race", "n", &publication));
		for (uint64_t n = random_next(state) % 2000; n > 0; n--)
			atomic_load(&taker.seen);
		must(DcmInterruptBlockingCall(taker.subscription));
		if (!until(is_seen, &goal) || atomic_load(&taker.seen) < goal.wanted)
			lost++;
		must(DcmCloseHandle(publication));
		if (lost == 5)
			break;
	}
	must(DcmCloseHandle(taker.subscription));
	task_join(&task);
	is_uint(0, lost, "%u interruptions beside data: none is lost", rounds);
	must(KnHandleClose(server));
}

int main(void)
{
	struct holdings before;
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		test_blocked(what);
		test_sticky(what);
	}
	test_several(BLOCK_RECEIVE);
	test_several(BLOCK_LISTEN);
	test_several(BLOCK_READ);
	test_several(BLOCK_CONNECT);
	test_several(BLOCK_GROUP_LISTEN);
	test_several(BLOCK_GROUP_READ);
	test_data_first();
	test_goes_on();
	test_race(&state);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
