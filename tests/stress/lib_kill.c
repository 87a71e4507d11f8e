/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/stress/lib_kill.h"

#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/tap.h"

#define TYPE "test.Kill"

enum { REQUEST_MAX = 20000, KNOWN_MAX = 64, INIT_MS = 10 * 1000 };

/* This process. */
static struct kill_board *board;
static struct kill_worker *self;
static uint32_t index_of_self;
static uint64_t dice; /* of the main thread */

static Handle listener, callable;
static _Atomic DcmHandle publication;
static _Atomic DcmHandle subscription; /* read by another thread than the one that closes it */
static _Atomic Handle session;

static void enter(unsigned thread, const char *what)
{
	atomic_store(&self->thread[thread].what, what);
	atomic_store(&self->thread[thread].since_ms, now_ms());
}

static void leave(unsigned thread)
{
	atomic_store(&self->thread[thread].since_ms, 0);
}

static bool working(void)
{
	return atomic_load(&board->order) == KILL_WORK && !too_many_wrong();
}

static bool leaving(void)
{
	return atomic_load(&board->order) == KILL_LEAVE || too_many_wrong();
}

/* One of two codes, or a failure. Return: whether it was rcOk. */
static bool ok_or(Retcode other, Retcode seen, const char *what)
{
	if (seen == rcOk)
		return true;
	if (seen == rcQuotaExceeded)
		atomic_fetch_add(&board->full, 1);
	if (seen == rcNotConnected)
		atomic_fetch_add(&board->broken, 1);
	if (seen != other)
		wanted(rcOk, seen, "worker %u: %s", index_of_self, what);
	return false;
}

/* Here all that was ordered so far is done. */
static void pause_here(void)
{
	uint32_t phase = atomic_load(&board->phase);

	atomic_store(&self->phase, phase);
	while (atomic_load(&board->phase) == phase)
		nap_us(200);
}

static void attach(void)
{
	int64_t end = now_ms() + INIT_MS;
	char name[32];
	Retcode rc;

	snprintf(name, sizeof name, "w%u", index_of_self);
	DcmSetProcessName(name);
	/* The slots of the dead come back, but perhaps not this instant. */
	enter(0, "DcmInit");
	while ((rc = DcmInit()) == rcQuotaExceeded && now_ms() < end)
		nap_us(1000);
	leave(0);
	if (!wanted(rcOk, rc, "worker %u: DcmInit", index_of_self))
		_exit(1);
}

/* Server. */

static void answer(DcmRequest *request)
{
	DcmMessage reply;
	size_t size = request->message.size;
	Retcode rc;

	if (request->message.status % 50 == 0) {
		wanted(rcOk, DcmRelease(&request->message), "DcmRelease of a request");
		return;
	}
	rc = DcmLoanReply(request, size, &reply);
	if (!ok_or(rcNotConnected, rc, "DcmLoanReply")) {
		wanted(rcOk, DcmRelease(&request->message), "DcmRelease of a request");
		return;
	}
	memcpy(reply.data, request->message.data, size);
	reply.status = -request->message.status;
	ok_or(rcNotConnected, DcmReply(request, &reply), "DcmReply");
	atomic_fetch_add(&self->done, 1);
}

static void *receive(void *arg)
{
	DcmRequest request;
	Retcode rc;

	(void)arg;
	while ((rc = DcmReceive(listener, -1, &request)) == rcOk)
		answer(&request);
	/* The listener was closed during the call or before it. */
	if (rc != rcNotConnected || !leaving())
		wanted(leaving() ? rcInvalidArgument : rcOk, rc, "worker %u: DcmReceive",
		       index_of_self);
	return NULL;
}

static void *accept_all(void *arg)
{
	uint64_t my_dice = mix(dice);
	DcmHandle request;
	Retcode rc;

	(void)arg;
	while (!leaving()) {
		rc = DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request);
		if (rc == rcNotConnected || rc == rcInvalidArgument) {
			nap_us(50); /* withdrawn: another is on its way, or DcmFini was */
			continue;
		}
		if (!wanted(rcOk, rc, "worker %u: DcmListen", index_of_self))
			break;
		if (draw(&my_dice, 10) != 0) {
			rc = DcmAccept(request, callable, INVALID_HANDLE);
			ok_or(rcNotConnected, rc, "DcmAccept");
		}
		rc = DcmCloseHandle(request);
		if (rc != rcNotConnected || !leaving())
			wanted(rcOk, rc, "closing a request");
	}
	return NULL;
}

static bool publish(const char *name, DcmHandle *out)
{
	return ok_or(rcQuotaExceeded,
		     DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, out),
		     "DcmPublishEndpoint");
}

/* The endpoint that clients ask for, perhaps after the old one was withdrawn under their requests. */
static void publish_main(void)
{
	DcmHandle handle = 0;
	char name[32];

	if (atomic_load(&publication) != 0)
		wanted(rcOk, DcmCloseHandle(publication), "unpublishing");
	snprintf(name, sizeof name, "s%u", index_of_self);
	enter(0, "publishing into a table that stays full");
	while (!publish(name, &handle))
		nap_us(1000);
	leave(0);
	atomic_store(&publication, handle);
}

static void be_server(void)
{
	DcmHandle toggled[KILL_TOGGLED] = { 0 };
	pthread_t threads[3];
	char name[32];

	wanted(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	wanted(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
	publish_main();
	threads[0] = start_thread(accept_all, NULL);
	threads[1] = start_thread(receive, NULL);
	threads[2] = start_thread(receive, NULL);
	while (!leaving()) {
		uint32_t i = (uint32_t)draw(&dice, KILL_TOGGLED);

		if (!working()) {
			for (i = 0; i < KILL_TOGGLED; i++)
				if (toggled[i] != 0)
					wanted(rcOk, DcmCloseHandle(toggled[i]), "unpublishing");
			memset(toggled, 0, sizeof toggled);
			pause_here();
			continue;
		}
		snprintf(name, sizeof name, "t%u.%u", index_of_self, i);
		if (toggled[i] == 0) {
			if (!publish(name, &toggled[i]))
				toggled[i] = 0;
		} else {
			wanted(rcOk, DcmCloseHandle(toggled[i]), "unpublishing");
			toggled[i] = 0;
		}
		if (draw(&dice, 20) == 0)
			publish_main();
		nap_us((long)draw(&dice, 400));
	}
	DcmFini();
	KnHandleClose(callable);
	KnHandleClose(listener);
	for (unsigned i = 0; i < 3; i++)
		join_thread(threads[i]);
}

/* Client. */

static bool call_once(unsigned thread, Handle to, uint64_t *my_dice)
{
	int32_t number = (int32_t)draw(my_dice, 1000000);
	size_t size = draw(my_dice, 8) == 0 ? draw(my_dice, REQUEST_MAX) : draw(my_dice, 64);
	DcmMessage request, reply;
	Retcode rc, due = number % 50 == 0 ? rcNotConnected : rcOk;

	enter(thread, "DcmLoan");
	rc = DcmLoan(to, size, -1, &request);
	leave(thread);
	/* Closed under us, by the thread that opened it. */
	if (rc == rcInvalidArgument && atomic_load(&session) != to)
		return false;
	if (!ok_or(rcNotConnected, rc, "DcmLoan"))
		return false;
	request.status = number;
	fill(request.data, size, (uint64_t)number);
	enter(thread, "DcmCall for ever");
	rc = DcmCall(to, &request, -1, &reply);
	leave(thread);
	if (rc == rcInvalidArgument && atomic_load(&session) != to) {
		wanted(rcOk, DcmRelease(&request), "DcmRelease of a loan, session closed");
		return false;
	}
	if (rc != rcOk)
		return !ok_or(rcNotConnected, rc, "DcmCall") && due == rcNotConnected;
	if (due != rcOk || reply.size != size || reply.status != -number ||
	    differs(reply.data, size, (uint64_t)number) != SIZE_MAX)
		wrong("worker %u: reply %d of %zu bytes to %d of %zu", index_of_self, reply.status,
		      reply.size, number, size);
	wanted(rcOk, DcmRelease(&reply), "DcmRelease of a reply");
	atomic_fetch_add(&self->done, 1);
	return true;
}

struct caller {
	unsigned thread;
	Handle to;
};

static void *call_many(void *arg)
{
	const struct caller *c = arg;
	uint64_t my_dice = mix(c->to + c->thread);
	uint64_t calls = draw(&my_dice, 300);

	while (working() && calls-- > 0 && call_once(c->thread, c->to, &my_dice))
		;
	return NULL;
}

static bool connect_once(void)
{
	static const DcmTimeout timeouts[] = { 0, 5, 100, INFINITE_TIMEOUT };
	DcmTimeout timeout = timeouts[draw(&dice, 4)];
	Handle out = INVALID_HANDLE;
	DcmHandle connection;
	char name[32];
	Retcode rc;

	snprintf(name, sizeof name, "s%u", (unsigned)draw(&dice, KILL_SERVERS));
	wanted(rcOk, DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
	       "DcmCreateConnection");
	enter(0, timeout == INFINITE_TIMEOUT ? "DcmConnect for ever" : "DcmConnect");
	rc = DcmConnect(connection, timeout, &out);
	leave(0);
	if (rc != rcTimeout || timeout == INFINITE_TIMEOUT)
		ok_or(rc == rcQuotaExceeded ? rc : rcNotConnected, rc, "DcmConnect");
	wanted(rcOk, DcmCloseHandle(connection), "closing a connection");
	atomic_store(&session, out);
	return rc == rcOk;
}

static void read_some(DcmHandle from, uint64_t *my_dice)
{
	bool for_ever = draw(my_dice, 2) == 0;
	char name[DCM_NAME_SIZE];
	Handle server;
	Retcode rc;

	for (uint64_t i = draw(my_dice, 60); i > 0 && working(); i--) {
		enter(3, for_ever ? "DcmReadPubQueue for ever" : "DcmReadPubQueue");
		rc = DcmReadPubQueue(from, for_ever ? INFINITE_TIMEOUT : 20, NULL, &server, NULL,
				     name);
		leave(3);
		if (rc == rcOk)
			wanted(rcOk, KnHandleClose(server), "closing a server's identity");
		else if (rc == rcTimeout && !for_ever)
			continue;
		else if (rc != rcNotConnected || working())
			wanted(rc == rcInvalidArgument && !working() ? rc : rcOk, rc,
			       "worker %u: DcmReadPubQueue", index_of_self);
	}
}

static void *subscribe_and_read(void *arg)
{
	uint64_t my_dice = mix(dice + 1);
	DcmHandle mine;

	(void)arg;
	while (working()) {
		if (!ok_or(rcQuotaExceeded,
			   DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &mine),
			   "DcmSetSubscription")) {
			nap_us(1000);
			continue;
		}
		atomic_store(&subscription, mine);
		read_some(mine, &my_dice);
		/* Unless the main thread was first. */
		if (atomic_exchange(&subscription, 0) != 0)
			wanted(rcOk, DcmCloseHandle(mine), "closing a subscription");
	}
	return NULL;
}

static void call_over_session(void)
{
	Handle mine = atomic_load(&session);
	struct caller callers[] = { { 1, mine }, { 2, mine } };
	pthread_t threads[2];
	bool early = draw(&dice, 4) == 0;

	for (unsigned i = 0; i < 2; i++)
		threads[i] = start_thread(call_many, &callers[i]);
	if (early) {
		nap_us((long)draw(&dice, 2000));
		atomic_store(&session, INVALID_HANDLE);
		wanted(rcOk, KnHandleClose(mine), "closing a session in use");
	}
	for (unsigned i = 0; i < 2; i++)
		join_thread(threads[i]);
	if (!early)
		wanted(rcOk, KnHandleClose(mine), "closing a session");
}

static void be_client(void)
{
	DcmHandle to_close;
	pthread_t reader;

	while (!leaving()) {
		reader = start_thread(subscribe_and_read, NULL);
		while (working())
			if (connect_once())
				call_over_session();
		/* It may be blocked for ever. */
		for (bool closed = false; !closed;) {
			to_close = atomic_exchange(&subscription, 0);
			if (to_close != 0)
				wanted(rcOk, DcmCloseHandle(to_close),
				       "closing a subscription in use");
			closed = pthread_tryjoin_np(reader, NULL) == 0;
			if (!closed)
				nap_us(200);
		}
		if (!leaving())
			pause_here();
	}
	DcmFini();
}

/* Observer: alternation for each publication over all deaths, and all endpoints at quiet points. */

static struct {
	Sid sid;
	char name[32];
} known[KNOWN_MAX];

static uint32_t known_count;

static void take(DcmPubStatus status, Sid sid, const char *name)
{
	uint32_t i = 0;

	while (i < known_count && (known[i].sid != sid || strcmp(known[i].name, name) != 0))
		i++;
	if ((status == DCM_PUBLISHED) == (i < known_count)) {
		wrong("the observer reads %s of %s, server %#" PRIx64 ", which was %s",
		      status == DCM_PUBLISHED ? "PUBLISHED" : "UNPUBLISHED", name, sid,
		      i < known_count ? "announced" : "not announced");
	} else if (status == DCM_UNPUBLISHED) {
		known[i] = known[--known_count];
	} else if (known_count < KNOWN_MAX) {
		known[i].sid = sid;
		snprintf(known[known_count++].name, sizeof known[i].name, "%.30s", name);
	} else {
		wrong("the observer knows %d endpoints: more than there can be", KNOWN_MAX);
	}
}

/* Return: whether there was one in time. */
static bool observe(DcmTimeout timeout)
{
	char name[DCM_NAME_SIZE];
	DcmPubStatus status = 0;
	Handle server;
	Sid sid = 0;
	Retcode rc = DcmReadPubQueue(subscription, timeout, &status, &server, NULL, name);

	if (rc == rcTimeout)
		return false;
	if (!wanted(rcOk, rc, "the observer's DcmReadPubQueue"))
		return false;
	wanted(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
	wanted(rcOk, KnHandleClose(server), "closing a server's identity");
	take(status, sid, name);
	atomic_fetch_add(&self->done, 1);
	return true;
}

static bool knows_servers_only(void)
{
	uint32_t servers = 0;

	for (uint32_t i = 0; i < known_count; i++)
		if (known[i].name[0] == 's')
			servers |= 1u << (known[i].name[1] - '0');
	return known_count == KILL_SERVERS && servers == (1u << KILL_SERVERS) - 1;
}

static void be_observer(void)
{
	DcmHandle mine;

	wanted(rcOk, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &mine),
	       "the observer's DcmSetSubscription");
	atomic_store(&subscription, mine);
	while (!leaving()) {
		uint32_t phase = atomic_load(&board->phase);

		while (observe(5) && !too_many_wrong())
			;
		if (atomic_load(&board->order) == KILL_PAUSE && knows_servers_only())
			atomic_store(&board->agreed, phase);
		atomic_store(&self->phase, phase);
	}
	if (!knows_servers_only() && atomic_load(&board->order) == KILL_PAUSE)
		for (uint32_t i = 0; i < known_count; i++)
			diag("  the observer knows %s of %#" PRIx64, known[i].name, known[i].sid);
	DcmFini();
}

void kill_work(struct kill_board *shared, uint32_t index, uint64_t seed)
{
	board = shared;
	self = &shared->worker[index];
	index_of_self = index;
	dice = seed;
	attach();
	if (index < KILL_SERVERS)
		be_server();
	else if (index != KILL_OBSERVER)
		be_client();
	else
		be_observer();
	_exit(0);
}
