/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One process, many threads as publisher, subscriber, client and server, that interrupt each other,
 * close, copy and revoke handles in use, follow each other's events by notices and descriptors, while DcmInit()
 * and DcmFini() come and go. Made for ThreadSanitizer and
 * AddressSanitizer; without them it sees that no call hangs, that no code is returned that cannot
 * be, and that at the end nothing is left.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handle.h"
#include "tests/stress/lib_stress.h"
#include "tests/tap.h"

#define TYPE "test.Threads"

enum {
	SLOTS = 4, /* handles of each kind, which all threads share */
	EACH = 2,  /* threads of each role */
	SECONDS = 20,
	STUCK_MS = 30 * 1000,
	ROUNDS = 8,
};

/* Handles that any thread may use, interrupt or close at any time. */
static _Atomic uint64_t publications[SLOTS], subscriptions[SLOTS], connections[SLOTS];
static _Atomic uint64_t listeners[SLOTS], sessions[SLOTS];
static _Atomic uint64_t callables[SLOTS], notices[SLOTS], identities[SLOTS];

static _Atomic uint32_t stop;
static _Atomic uint64_t done[16];
static uint64_t seed;

struct role {
	const char *name;
	bool (*turn)(uint64_t *dice); /* whether it came to what it is for */
	uint32_t index;
	_Atomic int64_t since_ms; /* of its turn */
	pthread_t thread;
	uint64_t dice;
};

/* Codes that may come when others close, interrupt and end things at any time. */
static bool may_be(Retcode rc, const char *what)
{
	switch (rc) {
	case rcOk:
		return true;
	case rcTimeout:
	case rcIpcInterrupt:
	case rcNotConnected:
	case rcInvalidArgument:
	case rcHandleRevoked:
		return false;
	default:
		wanted(rcOk, rc, "%s", what);
		return false;
	}
}

static _Atomic uint64_t *any_of(_Atomic uint64_t *slots, uint64_t *dice)
{
	return &slots[draw(dice, SLOTS)];
}

/* Put a new handle into a slot; what was there is closed. */
static void put(_Atomic uint64_t *slot, uint64_t handle, bool of_dcm)
{
	uint64_t old = atomic_exchange(slot, handle);

	if (old == 0)
		return;
	if (of_dcm)
		may_be(DcmCloseHandle(old), "DcmCloseHandle");
	else
		wanted(rcOk, KnHandleClose(old), "KnHandleClose");
}

static bool publisher_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot = any_of(publications, dice);
	DcmHandle publication = 0;
	char name[16];
	Retcode rc;

	snprintf(name, sizeof name, "e%u", (unsigned)draw(dice, SLOTS));
	rc = DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, &publication);
	if (rc != rcAlreadyExists && may_be(rc, "DcmPublishEndpoint"))
		put(slot, publication, true);
	else
		put(slot, 0, true);
	nap_us((long)draw(dice, 2000));
	return rc == rcOk;
}

static bool subscriber_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot = any_of(subscriptions, dice);
	char server[DCM_NAME_SIZE], name[DCM_NAME_SIZE];
	DcmHandle subscription = 0;
	DcmPubStatus status;
	Handle handle;

	if (draw(dice, 8) == 0 && may_be(DcmSetSubscription(TYPE, draw(dice, 2) ? "e1" : NULL, NULL,
							    INVALID_HANDLE, &subscription),
					 "DcmSetSubscription"))
		put(slot, subscription, true);
	if (!may_be(DcmReadPubQueue(atomic_load(slot), (DcmTimeout)draw(dice, 5), &status, &handle,
				    server, name),
		    "DcmReadPubQueue"))
		return false;
	put(any_of(identities, dice), handle, false);
	return true;
}

/* Under a badge or none; the callable handle is kept, to be revoked, or closed. */
static bool accept_with(DcmHandle request, Handle callable, uint64_t *dice)
{
	Handle badge = INVALID_HANDLE;
	bool accepted;

	if (draw(dice, 2) == 0)
		may_be(KnHandleCreateBadge(atomic_load(any_of(notices, dice)), 7, NULL, &badge),
		       "KnHandleCreateBadge");
	accepted = may_be(DcmAccept(request, callable, badge), "DcmAccept");
	if (accepted && badge != INVALID_HANDLE && draw(dice, 4) == 0)
		wanted(rcOk, KnHandleRevokeSubtree(callable, badge), "KnHandleRevokeSubtree");
	if (badge != INVALID_HANDLE)
		wanted(rcOk, KnHandleClose(badge), "closing a badge");
	put(any_of(callables, dice), callable, false);
	return accepted;
}

static bool accepter_turn(uint64_t *dice)
{
	Handle callable = INVALID_HANDLE, client;
	DcmHandle request;
	bool accepted = false;

	if (!may_be(DcmListen(atomic_load(any_of(publications, dice)), (DcmTimeout)draw(dice, 5),
			      &client, NULL, &request),
		    "DcmListen"))
		return false;
	if (may_be(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					      atomic_load(any_of(listeners, dice)), 1, &callable),
		   "KnHandleCreateUserObjectEx"))
		accepted = accept_with(request, callable, dice);
	may_be(DcmCloseHandle(request), "closing a request");
	wanted(rcOk, KnHandleClose(client), "closing a client's identity");
	return accepted;
}

static bool server_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot = any_of(listeners, dice);
	DcmRequest request;
	DcmMessage reply;
	Handle listener;
	bool replied;

	if (atomic_load(slot) == 0 || draw(dice, 400) == 0) {
		wanted(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
		put(slot, listener, false);
	}
	if (!may_be(DcmReceive(atomic_load(slot), (int64_t)draw(dice, 3000000), &request),
		    "DcmReceive"))
		return false;
	if (draw(dice, 16) == 0 ||
	    !may_be(DcmLoanReply(&request, request.message.size, &reply), "DcmLoanReply")) {
		wanted(rcOk, DcmRelease(&request.message), "releasing a request");
		return false;
	}
	memcpy(reply.data, request.message.data, request.message.size);
	reply.status = request.message.status;
	replied = may_be(DcmReply(&request, &reply), "DcmReply");
	if (request.message.data != NULL || reply.data != NULL)
		wrong("DcmReply left what it consumes");
	return replied;
}

static bool connecter_turn(uint64_t *dice)
{
	_Atomic uint64_t *slot = any_of(connections, dice);
	DcmHandle connection = 0;
	Handle session;
	char name[16];
	Retcode rc;

	snprintf(name, sizeof name, "e%u", (unsigned)draw(dice, SLOTS));
	if (draw(dice, 4) == 0 &&
	    may_be(DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
		   "DcmCreateConnection"))
		put(slot, connection, true);
	rc = DcmConnect(atomic_load(slot), (DcmTimeout)draw(dice, 10), &session);
	if (rc == rcInvalidOperation) /* it gave its session before */
		put(slot, 0, true);
	else if (may_be(rc, "DcmConnect"))
		put(any_of(sessions, dice), session, false);
	return rc == rcOk;
}

static bool see_reply(DcmMessage *reply, uint32_t number)
{
	if (reply->size != number % 5000 || (uint32_t)reply->status != number ||
	    differs(reply->data, reply->size, number) != SIZE_MAX)
		wrong("the reply to %u is of %zu bytes, status %d, or differs", number, reply->size,
		      reply->status);
	return wanted(rcOk, DcmRelease(reply), "releasing a reply");
}

static bool client_turn(uint64_t *dice)
{
	uint32_t number = (uint32_t)draw(dice, 1 << 30), how = (uint32_t)draw(dice, 4);
	Handle session = atomic_load(any_of(sessions, dice));
	int64_t ns = (int64_t)draw(dice, 4000000);
	DcmMessage request, reply;
	bool good = false;
	uint64_t call;

	if (!may_be(DcmLoan(session, number % 5000, ns, &request), "DcmLoan")) {
		nap_us(20);
		return false;
	}
	fill(request.data, request.size, number);
	request.status = (int32_t)number;
	if (how == 0)
		may_be(DcmSend(session, &request, ns), "DcmSend");
	else if (how == 1 && may_be(DcmStart(session, &request, ns, &call), "DcmStart")) {
		if (may_be(DcmFinish(session, call, -1, NULL, &reply), "DcmFinish"))
			good = see_reply(&reply, number);
	} else if (how > 1 && may_be(DcmCall(session, &request, ns, &reply), "DcmCall"))
		good = see_reply(&reply, number);
	/* Not consumed: the session was closed before the call came. */
	wanted(rcOk, DcmRelease(&request), "releasing a loan");
	return good;
}

static bool disturber_turn(uint64_t *dice)
{
	_Atomic uint64_t *of_dcm[] = { publications, subscriptions, connections };
	_Atomic uint64_t *others[] = { listeners, sessions };

	switch (draw(dice, 6)) {
	case 0:
		put(any_of(of_dcm[draw(dice, 3)], dice), 0, true);
		break;
	case 1:
		put(any_of(sessions, dice), 0, false);
		break;
	case 2:
		may_be(DcmInterruptCall(atomic_load(any_of(others[draw(dice, 2)], dice))),
		       "DcmInterruptCall");
		break;
	default:
		may_be(DcmInterruptBlockingCall(atomic_load(any_of(of_dcm[draw(dice, 3)], dice))),
		       "DcmInterruptBlockingCall");
	}
	nap_us((long)draw(dice, 3000));
	return true;
}

/* It may be revoked already, with what it descends from. */
static void revoke(_Atomic uint64_t *slot)
{
	uint64_t handle = atomic_exchange(slot, 0);
	Retcode rc;

	if (handle == 0)
		return;
	rc = KnHandleRevoke(handle);
	if (rc == rcHandleRevoked)
		wanted(rcOk, KnHandleClose(handle), "closing what is revoked");
	else
		wanted(rcOk, rc, "KnHandleRevoke");
}

/* Copies sessions and revokes them, here and by the callable handles that they were made from. */
static bool heir_turn(uint64_t *dice)
{
	uint64_t what = draw(dice, 8);
	Handle copy;

	nap_us((long)draw(dice, 1000));
	if (what == 0)
		revoke(any_of(callables, dice));
	else if (what == 1)
		revoke(any_of(sessions, dice));
	else if (!may_be(KnHandleCopy(atomic_load(any_of(sessions, dice)),
				      OCAP_IPC_CALL | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT,
				      INVALID_HANDLE, &copy),
			 "KnHandleCopy"))
		return false;
	else
		put(any_of(sessions, dice), copy, false);
	return true;
}

/* Counts of its own on top; one of them is often the last. */
static bool counter_turn(uint64_t *dice)
{
	Retcode rc = DcmInit();

	if (!wanted(rcOk, rc, "DcmInit"))
		return false;
	nap_us((long)draw(dice, 10000));
	DcmFini();
	if (draw(dice, 4) == 0)
		nap_us((long)draw(dice, 2000));
	return true;
}

static void renew_notice(_Atomic uint64_t *slot, bool none)
{
	Notice notice = 0;
	uint64_t old;

	if (!none)
		wanted(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	old = atomic_exchange(slot, notice);
	if (old != 0)
		wanted(rcOk, KnNoticeRelease(old), "KnNoticeRelease");
}

static bool follow(Notice notice, uint64_t handle, unsigned kind, uint64_t *dice)
{
	static const uint32_t events[] = { DCM_CLIENT_CONNECTED, DCM_PUBLICATION_CHANGED,
					   DCM_CLIENT_RELEASED_BY_SERVER };
	uint32_t mask;

	if (kind >= 4)
		return may_be(KnNoticeSubscribeToObject(notice, handle, EVENT_OBJECT_DESTROYED, 9),
			      "KnNoticeSubscribeToObject");
	mask = events[kind] | (draw(dice, 2) ? DCM_BLOCKING_CALL_INTERRUPTED : 0u);
	return may_be(DcmSubscribeToEvents(notice, handle, mask, kind), "DcmSubscribeToEvents");
}

static void follow_no_more(Notice notice, uint64_t handle, bool by_id)
{
	Retcode rc = by_id ? KnNoticeUnsubscribeFromEvent(notice, 1)
			   : DcmUnsubscribeFromEvents(notice, handle);

	if (rc != rcResourceNotFound)
		may_be(rc, "unsubscribing");
}

/* Subscribes to what others use and close, or polls it. */
static bool watcher_turn(uint64_t *dice)
{
	_Atomic uint64_t *all[] = { publications, subscriptions, connections,
				    listeners,	  sessions,	 identities };
	unsigned kind = (unsigned)draw(dice, 6);
	uint64_t handle = atomic_load(any_of(all[kind], dice));
	_Atomic uint64_t *slot = any_of(notices, dice);
	struct pollfd p = { .events = POLLIN };
	uint64_t what = draw(dice, 8);

	if (atomic_load(slot) == 0 || draw(dice, 100) == 0)
		renew_notice(slot, false);
	if (what < 4) {
		if (!may_be(DcmGetFd(what == 0 ? atomic_load(slot) : handle, &p.fd), "DcmGetFd"))
			return false;
		return poll(&p, 1, (int)draw(dice, 3)) > 0;
	}
	if (what == 4)
		follow_no_more(atomic_load(slot), handle, draw(dice, 2) == 0);
	else if (kind != 3)
		return follow(atomic_load(slot), handle, kind, dice);
	return true;
}

static bool fetcher_turn(uint64_t *dice)
{
	EventDesc event[4];
	size_t count;

	if (!may_be(KnNoticeGetEvent(atomic_load(any_of(notices, dice)), draw(dice, 10),
				     1 + draw(dice, 4), event, &count),
		    "KnNoticeGetEvent"))
		return false;
	for (size_t i = 0; i < count; i++)
		if (event[i].eventMask == 0)
			wrong("an event of %zu has no mask", (size_t)event[i].eventId);
	return count > 0;
}

static struct role roles[] = {
	{ .name = "publisher", .turn = publisher_turn },
	{ .name = "subscriber", .turn = subscriber_turn },
	{ .name = "accepter", .turn = accepter_turn },
	{ .name = "server", .turn = server_turn },
	{ .name = "connecter", .turn = connecter_turn },
	{ .name = "client", .turn = client_turn },
	{ .name = "disturber", .turn = disturber_turn },
	{ .name = "heir", .turn = heir_turn },
	{ .name = "counter", .turn = counter_turn },
	{ .name = "watcher", .turn = watcher_turn },
	{ .name = "fetcher", .turn = fetcher_turn },
};

enum { ROLES = sizeof roles / sizeof roles[0] };

static struct role players[ROLES * EACH];

static void *play(void *arg)
{
	struct role *role = arg;

	while (atomic_load(&stop) == 0 && !too_many_wrong()) {
		atomic_store(&role->since_ms, now_ms());
		if (role->turn(&role->dice))
			atomic_fetch_add(&done[role->index], 1);
	}
	atomic_store(&role->since_ms, 0);
	return NULL;
}

static void see_nobody_hangs(void)
{
	int64_t now = now_ms();

	for (uint32_t i = 0; i < ROLES * EACH; i++) {
		int64_t since = atomic_load(&players[i].since_ms);

		if (since != 0 && now - since > STUCK_MS)
			die("%s %u hangs in one turn for %lld ms", players[i].name, i,
			    (long long)(now - since));
	}
}

static void close_all(void)
{
	for (uint32_t i = 0; i < SLOTS; i++) {
		put(&publications[i], 0, true);
		put(&subscriptions[i], 0, true);
		put(&connections[i], 0, true);
		put(&sessions[i], 0, false);
		put(&callables[i], 0, false);
		put(&listeners[i], 0, false);
		put(&identities[i], 0, false);
		renew_notice(&notices[i], true);
	}
}

static void count_object(struct dcm_object *object, void *count)
{
	diag("  a handle %#llx of kind %d is left", (unsigned long long)object->number,
	     (int)object->type->kind);
	(*(unsigned *)count)++;
}

/* All is closed: nothing of this process is left, neither in it nor in the fabric. */
static void see_the_end(uint32_t round, unsigned fds)
{
	int64_t end = now_ms() + STUCK_MS;
	struct dcm_segment seg;
	unsigned handles = 0;

	look_at_fabric(&seg);
	while (slots_used(&seg).process != 0 && now_ms() < end)
		nap_us(1000);
	is_uint(0, slots_used(&seg).process, "round %u: the process has left the fabric", round);
	is_uint(0, slots_used(&seg).endpoint, "round %u: no endpoint is left", round);
	is_uint(0, slots_used(&seg).subscription, "round %u: no subscription is left", round);
	is_uint(0, slots_used(&seg).connection, "round %u: no connection is left", round);
	is_uint(0, slots_used(&seg).listener, "round %u: no listener is left", round);
	is_uint(0, slots_used(&seg).gift, "round %u: no gift is left", round);
	if (slots_used(&seg).process != 0)
		say_slots(&seg);
	dcm_segment_close(&seg);
	dcm_handle_each(~(1u << DCM_KIND_TASK), count_object, &handles);
	is_uint(0, handles, "round %u: no handle is left", round);
	/* The keeper gives its slot back before it closes the file. */
	while (tap_count_fds() != fds && now_ms() < end)
		nap_us(1000);
	is_uint(fds, tap_count_fds(), "round %u: descriptors are as before", round);
}

static void play_round(uint32_t round, int64_t ms)
{
	bool held = round % 2 == 0; /* else the last DcmFini comes again and again */
	unsigned fds = tap_count_fds();
	int64_t end = now_ms() + ms;

	atomic_store(&stop, 0);
	if (held)
		wanted(rcOk, DcmInit(), "DcmInit");
	for (uint32_t i = 0; i < ROLES * EACH; i++) {
		players[i] = roles[i % ROLES];
		players[i].index = i % ROLES;
		players[i].dice = mix(seed + round * 1000 + i);
		players[i].thread = start_thread(play, &players[i]);
	}
	while (now_ms() < end && !too_many_wrong()) {
		nap_us(20000);
		see_nobody_hangs();
	}
	atomic_store(&stop, 1);
	close_all();
	if (held)
		DcmFini();
	for (uint32_t i = 0; i < ROLES * EACH; i++) {
		while (pthread_tryjoin_np(players[i].thread, NULL) != 0) {
			/* DcmFinish may wait for an answer that only a closed session brings. */
			close_all();
			see_nobody_hangs();
			nap_us(1000);
		}
	}
	close_all();
	see_the_end(round, fds);
}

int main(void)
{
	int64_t ms;

	plan_lazy();
	seed = tap_seed();
	tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "2097152", 1);
	ms = (int64_t)tap_scaled(SECONDS * 1000 / ROUNDS);
	for (uint32_t round = 0; round < ROUNDS && !too_many_wrong(); round++)
		play_round(round, ms);
	for (uint32_t i = 0; i < ROLES; i++)
		ok(atomic_load(&done[i]) > 0, "the %ss succeeded %llu times", roles[i].name,
		   (unsigned long long)atomic_load(&done[i]));
	ok(tap_failed() == 0, "nothing was wrong meanwhile");
	return tap_failed() != 0;
}
