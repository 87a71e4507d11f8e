/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients of the kill test: they subscribe, connect, and call in every way there is. */
#define _GNU_SOURCE
#include <stdio.h>

#include "tests/stress/lib_kill.h"
#include "tests/stress/lib_kill_stamp.h"
#include "tests/tap.h"

enum { REQUEST_MAX = 20000, STARTED = 3 };

static _Atomic DcmHandle subscription; /* read by another thread than the one that closes it */
static _Atomic Handle session;

struct caller {
	unsigned thread;
	uint32_t number; /* in the history */
	Handle to;
	bool lasting; /* its server is never killed */
	uint64_t dice;
};

/* Closed under us, by the thread that opened it. */
static bool was_closed(const struct caller *c)
{
	return atomic_load(&session) != c->to;
}

/*
 * The end of a call. Failed it has if its server released it, or died, or the session was closed;
 * if none of that can be, it was lost.
 */
static void ended(const struct caller *c, uint64_t call, Retcode rc)
{
	struct history *h = &kill_board->history;
	uint32_t marks = history_mark(h, call, rc == rcOk ? HISTORY_REPLIED_TO : HISTORY_FAILED);

	if ((marks & (HISTORY_REPLIED_TO | HISTORY_FAILED)) != 0)
		wrong("client %u: call %#llx, marks %#x, ends twice", kill_index,
		      (unsigned long long)call, marks);
	if (rc == rcOk && (marks & HISTORY_REPLYING) == 0)
		wrong("client %u: call %#llx, marks %#x, was answered by nobody", kill_index,
		      (unsigned long long)call, marks);
	if (rc == rcNotConnected && c->lasting && !was_closed(c) && !kill_leaving() &&
	    !atomic_load(&kill_board->all_die) && (marks & HISTORY_RELEASING) == 0)
		wrong("client %u: call %#llx, marks %#x, fails, but its server lives", kill_index,
		      (unsigned long long)call, marks);
}

static void take_reply(const struct caller *c, DcmMessage *reply, uint64_t call)
{
	uint64_t seen = 0;

	if (!kill_stamped(reply, KILL_ANSWERS, &seen) || seen != call)
		wrong("client %u: the reply to call %#llx, %zu bytes, is of call %#llx", kill_index,
		      (unsigned long long)call, reply->size, (unsigned long long)seen);
	wanted(rcOk, DcmRelease(reply), "DcmRelease of a reply");
	ended(c, call, rcOk);
	atomic_fetch_add(&kill_self->done, 1);
}

/* A stamped loan. Return: false: the session is over, or the history is full. */
static bool loan(struct caller *c, uint32_t marks, DcmMessage *out, uint64_t *call)
{
	size_t size =
		8 + (draw(&c->dice, 8) == 0 ? draw(&c->dice, REQUEST_MAX) : draw(&c->dice, 64));
	Retcode rc;

	kill_enter(c->thread, "DcmLoan");
	rc = DcmLoan(c->to, size, -1, out);
	kill_leave(c->thread);
	if (rc == rcInvalidArgument && was_closed(c))
		return false;
	if (!kill_ok(rcNotConnected, rc, "DcmLoan"))
		return false;
	if (!history_call(&kill_board->history, c->number, marks, call)) {
		wanted(rcOk, DcmRelease(out), "DcmRelease of a loan");
		nap_us(1000);
		return false;
	}
	kill_stamp(out, KILL_ASKS, *call);
	return true;
}

/* What a call other than an answered one left. Return: whether the session goes on. */
static bool no_reply(const struct caller *c, DcmMessage *request, uint64_t call, Retcode rc,
		     const char *what)
{
	ended(c, call, rc);
	if (rc == rcTimeout)
		return true;
	if (rc == rcInvalidArgument && was_closed(c)) {
		wanted(rcOk, DcmRelease(request), "DcmRelease of a loan, session closed");
		return false;
	}
	kill_ok(rcNotConnected, rc, what);
	return kill_is_dropped(call);
}

static bool call_once(struct caller *c, bool patient)
{
	int64_t timeout = patient ? -1 : (int64_t)draw(&c->dice, 2000) * 1000;
	DcmMessage request, reply;
	uint64_t call;
	Retcode rc;

	if (!loan(c, 0, &request, &call))
		return false;
	kill_enter(c->thread, patient ? "DcmCall for ever" : "DcmCall");
	rc = DcmCall(c->to, &request, timeout, &reply);
	kill_leave(c->thread);
	if (rc == rcTimeout && patient)
		wrong("client %u: a call for ever timed out", kill_index);
	if (rc != rcOk)
		return no_reply(c, &request, call, rc, "DcmCall");
	take_reply(c, &reply, call);
	return true;
}

static bool send_once(struct caller *c)
{
	DcmMessage message;
	uint64_t call;
	Retcode rc;

	if (!loan(c, HISTORY_ONE_WAY, &message, &call))
		return false;
	kill_enter(c->thread, "DcmSend");
	rc = DcmSend(c->to, &message, -1);
	kill_leave(c->thread);
	return rc == rcOk || no_reply(c, &message, call, rc, "DcmSend");
}

/* Several calls at once, fetched in the order in which they end. */
static bool start_some(struct caller *c)
{
	uint64_t call[STARTED], number[STARTED], ends;
	unsigned begun = 0, i;
	DcmMessage message;
	bool good = true;
	Retcode rc;

	for (; begun < STARTED && good; begun += good) {
		if (!loan(c, 0, &message, &call[begun]))
			break;
		kill_enter(c->thread, "DcmStart");
		rc = DcmStart(c->to, &message, -1, &number[begun]);
		kill_leave(c->thread);
		good = rc == rcOk || (no_reply(c, &message, call[begun], rc, "DcmStart") && false);
	}
	for (unsigned left = begun; left > 0; left--) {
		/* Other threads finish theirs over this session: each asks for its own. */
		i = left - 1;
		kill_enter(c->thread, "DcmFinish");
		rc = DcmFinish(c->to, number[i], -1, &ends, &message);
		kill_leave(c->thread);
		if (rc == rcOk) {
			take_reply(c, &message, call[i]);
			continue;
		}
		message.data = NULL;
		good = no_reply(c, &message, call[i], rc, "DcmFinish") && good;
	}
	return good && begun == STARTED;
}

static bool call_somehow(struct caller *c)
{
	switch (draw(&c->dice, 8)) {
	case 0:
		return call_once(c, false);
	case 1:
		return send_once(c);
	case 2:
		return start_some(c);
	default:
		return call_once(c, true);
	}
}

static void *call_many(void *arg)
{
	struct caller *c = arg;
	uint64_t calls = draw(&c->dice, 300);

	while (kill_working() && calls-- > 0 && call_somehow(c))
		;
	return NULL;
}

static bool connect_once(bool *lasting)
{
	static const DcmTimeout timeouts[] = { 0, 5, 100, INFINITE_TIMEOUT };
	DcmTimeout timeout = timeouts[draw(&kill_dice, 4)];
	uint32_t server = (uint32_t)draw(&kill_dice, KILL_SERVERS);
	Handle out = INVALID_HANDLE;
	char name[HISTORY_NAME];
	DcmHandle connection;
	Retcode rc;

	snprintf(name, sizeof name, "s%u", server);
	*lasting = kill_lives_on(server);
	wanted(rcOk,
	       DcmCreateConnection(KILL_TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
	       "DcmCreateConnection");
	kill_enter(0, timeout == INFINITE_TIMEOUT ? "DcmConnect for ever" : "DcmConnect");
	rc = DcmConnect(connection, timeout, &out);
	kill_leave(0);
	if (rc != rcTimeout || timeout == INFINITE_TIMEOUT)
		kill_ok(rc == rcQuotaExceeded ? rc : rcNotConnected, rc, "DcmConnect");
	wanted(rcOk, DcmCloseHandle(connection), "closing a connection");
	atomic_store(&session, out);
	return rc == rcOk;
}

static void read_some(DcmHandle from, uint64_t *my_dice)
{
	bool for_ever = draw(my_dice, 2) == 0;
	Retcode rc;

	for (uint64_t i = draw(my_dice, 60); i > 0 && kill_working() && kill_room(); i--) {
		kill_enter(3, for_ever ? "DcmReadPubQueue for ever" : "DcmReadPubQueue");
		rc = kill_read(from, for_ever ? INFINITE_TIMEOUT : 20);
		kill_leave(3);
		if (rc == rcOk || (rc == rcTimeout && !for_ever))
			continue;
		if (rc != rcNotConnected || kill_working())
			wanted(rc == rcInvalidArgument && !kill_working() ? rc : rcOk, rc,
			       "worker %u: DcmReadPubQueue", kill_index);
	}
}

static void *subscribe_and_read(void *arg)
{
	uint64_t my_dice = mix(kill_dice + 1);
	DcmHandle mine;

	(void)arg;
	while (kill_working()) {
		if (!kill_room() ||
		    !kill_ok(rcQuotaExceeded,
			     DcmSetSubscription(KILL_TYPE, NULL, NULL, INVALID_HANDLE, &mine),
			     "DcmSetSubscription")) {
			nap_us(1000);
			continue;
		}
		kill_note(HISTORY_SUBSCRIBED, 0, NULL);
		atomic_store(&subscription, mine);
		read_some(mine, &my_dice);
		kill_note(HISTORY_UNSUBSCRIBED, 0, NULL);
		/* Unless the main thread was first. */
		if (atomic_exchange(&subscription, 0) != 0)
			wanted(rcOk, DcmCloseHandle(mine), "closing a subscription");
	}
	return NULL;
}

static void call_over_session(bool lasting)
{
	Handle mine = atomic_load(&session);
	struct caller callers[KILL_CALLERS];
	pthread_t threads[KILL_CALLERS];
	bool early = draw(&kill_dice, 4) == 0;

	for (unsigned i = 0; i < KILL_CALLERS; i++) {
		callers[i] =
			(struct caller){ .thread = 1 + i,
					 .number = (kill_index - KILL_FIRST_CLIENT) * KILL_CALLERS +
						   i,
					 .to = mine,
					 .lasting = lasting,
					 .dice = mix(mine + i) };
		threads[i] = start_thread(call_many, &callers[i]);
	}
	if (early) {
		nap_us((long)draw(&kill_dice, 2000));
		atomic_store(&session, INVALID_HANDLE);
		wanted(rcOk, KnHandleClose(mine), "closing a session in use");
	}
	for (unsigned i = 0; i < KILL_CALLERS; i++)
		join_thread(threads[i]);
	if (!early)
		wanted(rcOk, KnHandleClose(mine), "closing a session");
}

/* It may be blocked for ever. */
static void end_reader(pthread_t reader)
{
	for (bool closed = false; !closed;) {
		DcmHandle to_close = atomic_exchange(&subscription, 0);

		if (to_close != 0)
			wanted(rcOk, DcmCloseHandle(to_close), "closing a subscription in use");
		closed = pthread_tryjoin_np(reader, NULL) == 0;
		if (!closed)
			nap_us(200);
	}
}

void kill_be_client(void)
{
	pthread_t reader;
	bool lasting;

	while (!kill_leaving()) {
		reader = start_thread(subscribe_and_read, NULL);
		while (kill_working())
			if (connect_once(&lasting))
				call_over_session(lasting);
		end_reader(reader);
		if (!kill_leaving())
			kill_pause();
	}
	DcmFini();
}
