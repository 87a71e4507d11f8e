/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (forks, and faults on purpose) */
/*
 * The guard of the segment: truncated under their feet, programs that asked for it live on, with
 * errors; others die, as the kernel has it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_sigbus.h"

#define TYPE "test.Guard"

static void unguarded(void)
{
	DcmHandle subscription;

	must(DcmInit());
	cut(0);
	DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription);
}

/* A segment lost: all blocked calls. */

struct scene {
	struct pair pair[BLOCKING_COUNT];
	struct blocked blocked[BLOCKING_COUNT];
	struct load load[BLOCKING_COUNT];
	DcmRequest request; /* received and unanswered */
	uint64_t call;	    /* of that */
	DcmHandle subscription, connection, publication;
};
static struct scene scene;
static bool guard_first;
static off_t left; /* bytes of the segment; LEFT_... */

enum { LEFT_HALF = -1, LEFT_ALL_BUT_A_PAGE = -2 };

static uint64_t handle_for(enum blocking what)
{
	switch (what) {
	case BLOCK_LISTEN:
		return scene.publication;
	case BLOCK_READ:
		return scene.subscription;
	case BLOCK_CONNECT:
		scene.connection = blocking_handle(what, TYPE, &scene.pair[what]);
		return scene.connection;
	default:
		return blocking_handle(what, TYPE, &scene.pair[what]);
	}
}

static void receive_one(void)
{
	struct pair *pair = &scene.pair[BLOCK_RECEIVE];
	DcmMessage message = must_loan(pair->session, 6);

	memcpy(message.data, "before", 6);
	must(DcmStart(pair->session, &message, FOREVER_NS, &scene.call));
	scene.request = must_receive(pair->listener);
}

static void block_all(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		struct blocked *b = &scene.blocked[what];

		*b = (struct blocked){ .what = what, .handle = handle_for(what), .timeout_ms = -1 };
		load_for(&scene.load[what], b);
		blocked_go(b);
	}
}

static void set_scene(void)
{
	if (guard_first)
		is_rc(rcOk, DcmGuardSegment(), "a guard before DcmInit");
	must(DcmInit());
	if (!guard_first)
		is_rc(rcOk, DcmGuardSegment(), "a guard after DcmInit");
	is_rc(rcOk, DcmGuardSegment(), "twice is as good");
	for (enum blocking what = 0; what <= BLOCK_RECEIVE; what++)
		pair_open(&scene.pair[what]);
	must(DcmPublishEndpoint(new_identity(), TYPE, "n", &scene.publication));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &scene.subscription));
	must(DcmReadPubQueue(scene.subscription, 0, NULL, NULL, NULL, NULL));
	receive_one();
}

static void later_calls(void)
{
	DcmMessage message;
	DcmRequest request;
	DcmHandle out;
	Handle me = KosTaskGetHandle(KosTaskGetSelf());
	struct pair *pair = &scene.pair[0];

	is_rc(rcFail, DcmPublishEndpoint(me, TYPE, "later", &out), "later: DcmPublishEndpoint");
	is_rc(rcFail, DcmListen(scene.publication, 0, NULL, NULL, &out), "later: DcmListen");
	is_rc(rcFail, DcmAccept(1, 2, INVALID_HANDLE), "later: DcmAccept");
	is_rc(rcFail, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &out),
	      "later: DcmSetSubscription");
	is_rc(rcFail,
	      DcmListenGroupPub(scene.blocked[BLOCK_GROUP_LISTEN].handle, 0, NULL, NULL, NULL,
				&out),
	      "later: DcmListenGroupPub");
	is_rc(rcFail,
	      DcmReadGroupPubQueue(scene.blocked[BLOCK_GROUP_READ].handle, 0, 0, NULL, NULL, NULL,
				   NULL),
	      "later: DcmReadGroupPubQueue");
	is_rc(rcFail, DcmEnumEndpoints(NULL, 0, NULL, &(size_t){ 0 }), "later: DcmEnumEndpoints");
	is_rc(rcFail, DcmConnectAny(TYPE, &out), "later: DcmConnectAny");
	is_rc(rcFail, DcmReadPubQueue(scene.subscription, 0, NULL, NULL, NULL, NULL),
	      "later: DcmReadPubQueue, no word of a withdrawal");
	is_rc(rcFail, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, &out),
	      "later: DcmCreateConnection");
	is_rc(rcFail, DcmConnect(scene.connection, 0, &out), "later: DcmConnect");
	is_rc(rcFail, DcmReceive(pair->listener, 0, &request), "later: DcmReceive");
	is_rc(rcFail, DcmLoan(pair->session, 1, 0, &message), "later: DcmLoan");
	is_rc(rcFail, DcmInit(), "later: DcmInit");
	ok(strstr(DcmLastDetail(), "truncated") != NULL, "the detail says so: %s", DcmLastDetail());
}

/* Channels are files of their own. */
static void channels_live(void)
{
	struct pair *pair = &scene.pair[BLOCK_RECEIVE];
	DcmMessage reply;

	is_blob("before", scene.request.message.data, 6, "what was received can be read");
	is_rc(rcOk, DcmLoanReply(&scene.request, 5, &reply), "a reply to it can be loaned");
	memcpy(reply.data, "after", 5);
	is_rc(rcOk, DcmReply(&scene.request, &reply), "and sent");
	is_rc(rcOk, DcmFinish(pair->session, scene.call, 0, NULL, &reply), "it arrives");
	is_blob("after", reply.data, 5, "whole");
	is_rc(rcOk, DcmRelease(&reply), "and can be released");
}

static void leave_scene(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		load_drop(&scene.load[what]);
		must(DcmRelease(&scene.blocked[what].message));
	}
	for (enum blocking what = 0; what <= BLOCK_RECEIVE; what++)
		pair_close(&scene.pair[what]);
	is_rc(rcOk, DcmCloseHandle(scene.subscription), "DcmCloseHandle");
	DcmFini();
}

static void anew(void)
{
	struct pair pair;

	is_rc(rcFail, DcmInit(), "attach anew to what is left of the file");
	unlink(fabric);
	is_rc(rcOk, DcmInit(), "once it is removed");
	pair_open(&pair);
	pair_close(&pair);
	cut(0);
	is_rc(rcFail,
	      DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n",
				 &pair.publication) == rcOk
		      ? DcmInit()
		      : rcFail,
	      "which is guarded, too");
	DcmFini();
}

static void lose_all(void)
{
	struct holdings before = holdings_now();

	set_scene();
	block_all();
	cut(left == LEFT_HALF		  ? fabric_bytes() / 2
	    : left == LEFT_ALL_BUT_A_PAGE ? fabric_bytes() - 4096
					  : left);
	/* Nobody touches anything but the keeper. */
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		blocked_ends(&scene.blocked[what], rcFail, "blocked as the segment went");
		ok(strstr(scene.blocked[what].detail, "truncated") != NULL, "its detail says so");
	}
	later_calls();
	channels_live();
	leave_scene();
	holdings_are(&before, "after DcmFini");
	anew();
}

static void peers(void)
{
	struct pair pair;

	must(DcmInit());
	must(DcmGuardSegment());
	pair_open(&pair);
	cut(0);
	/* The first to touch it is this thread. */
	ok(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &pair.publication) !=
		   rcNotConnected,
	   "the call that meets it comes back");
	is_rc(rcFail, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &pair.publication),
	      "the next one says what is wrong");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.listener));
	DcmFini();
}

/* Calls that would look for ever, as they are told to. */
static struct pair spinning;

static void receives(void *arg)
{
	DcmRequest request;

	*(Retcode *)arg = DcmReceive(spinning.listener, FOREVER_NS, &request);
}

static void spinners(void)
{
	struct task task;
	Retcode rc = rcOk;

	must(DcmGuardSegment());
	must(DcmInit());
	pair_open(&spinning);
	must(DcmSetWaitPolicy(spinning.listener, DCM_WAIT_SPIN, -1));
	task_start(&task, receives, &rc);
	usleep(10000);
	cut(0);
	task_join(&task);
	is_rc(rcFail, rc, "a DcmReceive that spins");
	pair_close(&spinning);
	DcmFini();
}

/* A page that nobody has a reason to touch: the bitmaps of the last slots. */
static void lose_little(void)
{
	setenv("DCM_MAX_SUBSCRIPTIONS", "65536", 1);
	setenv("DCM_MAX_HINTS", "2", 1);
	lose_all();
}

/* At any moment of any call. */

static uint64_t random_state;

static Retcode publishes(struct pair *pair)
{
	DcmHandle handle;
	Retcode rc = DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n", &handle);

	(void)pair;
	if (rc == rcOk)
		DcmCloseHandle(handle);
	return rc;
}

static Retcode reads(struct pair *pair)
{
	DcmHandle handle;
	Retcode rc = DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &handle);

	(void)pair;
	if (rc != rcOk)
		return rc;
	do
		rc = DcmReadPubQueue(handle, 1, NULL, NULL, NULL, NULL);
	while (rc == rcOk);
	DcmCloseHandle(handle);
	return rc;
}

static Retcode connects(struct pair *pair)
{
	DcmHandle handle;
	Handle session;
	Retcode rc =
		DcmCreateConnection(TYPE ".none", "n", INVALID_HANDLE, INVALID_HANDLE, &handle);

	(void)pair;
	if (rc != rcOk)
		return rc;
	rc = DcmConnect(handle, 1, &session);
	DcmCloseHandle(handle);
	return rc;
}

static Retcode calls_on(struct pair *pair)
{
	DcmMessage message;
	Retcode rc = DcmLoan(pair->session, 8, 10 * MS_NS, &message);

	if (rc == rcOk) {
		memset(message.data, 1, 8);
		rc = DcmCall(pair->session, &message, 10 * MS_NS, &message);
	}
	DcmRelease(&message);
	return rc;
}

static Retcode serves(struct pair *pair)
{
	DcmRequest request;
	DcmMessage reply;
	Retcode rc = DcmReceive(pair->listener, 10 * MS_NS, &request);

	if (rc != rcOk)
		return rc;
	if (DcmLoanReply(&request, 8, &reply) == rcOk)
		DcmReply(&request, &reply);
	DcmRelease(&reply);
	DcmRelease(&request.message);
	return rcOk;
}

static struct pair busy_pair;
static Retcode (*const busy_with[])(struct pair *) = { publishes, reads, connects, calls_on,
						       serves };
enum { BUSY_THREADS = sizeof(busy_with) / sizeof(busy_with[0]) };

static void until_lost(void *arg)
{
	Retcode (*const *act)(struct pair *) = arg;

	while ((*act)(&busy_pair) != rcFail)
		;
}

static void busy(void)
{
	struct task tasks[BUSY_THREADS];

	must(DcmGuardSegment());
	must(DcmInit());
	pair_open(&busy_pair);
	for (int i = 0; i < BUSY_THREADS; i++)
		task_start(&tasks[i], until_lost, (void *)(uintptr_t)&busy_with[i]);
	usleep((useconds_t)(random_next(&random_state) % 20000));
	cut((off_t)(random_next(&random_state) % (uint64_t)fabric_bytes()));
	for (int i = 0; i < BUSY_THREADS; i++)
		task_join(&tasks[i]);
	pair_close(&busy_pair);
	DcmFini();
}

/* While nothing is blocked and nobody calls, and then DcmFini is all that comes. */
static void only_fini(void)
{
	must(DcmGuardSegment());
	must(DcmInit());
	cut(0);
	DcmFini();
}

int main(void)
{
	plan_lazy();
	fabric_begin();
	dies(unguarded, "truncated without a guard");
	lives(lose_all, "truncated, guarded after DcmInit");
	guard_first = true;
	lives(lose_all, "truncated, guarded before DcmInit");
	left = LEFT_HALF;
	lives(lose_all, "truncated to a half");
	left = LEFT_ALL_BUT_A_PAGE;
	lives(lose_little, "truncated by a page");
	random_state = tap_seed() | 1;
	for (uint64_t i = tap_scaled(50); i-- > 0; random_next(&random_state))
		lives(busy, "in the middle of calls");
	lives(peers, "met by a calling thread");
	lives(spinners, "under a call that spins");
	lives(only_fini, "met by DcmFini");
	return 0;
}
