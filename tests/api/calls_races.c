/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All kinds of calls by several threads at once, over the same sessions and one listener, while these
 * are interrupted, closed and revoked: each call ends with a code that the contract names and leaves
 * its message with whom the contract says, each reply is that of its request, and when all has been
 * given back nothing stays mapped, so no message was counted twice, or never.
 */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_api.h"

enum { CALLERS = 4, SERVERS = 2, SESSIONS = 3, BATCH = 5, HOARD = 7 };

/* What all threads of one round have in common. */
struct round {
	struct pair pair;
	Handle sessions[SESSIONS]; /* two handles of one, one of another */
	_Atomic unsigned int calls, wrong;
	unsigned int wanted;
};

struct worker {
	struct round *round;
	uint64_t random;
	DcmRequest hoard[HOARD]; /* of a server: answered later */
	unsigned int hoarded;
};

static uint64_t next(struct worker *w, uint64_t below)
{
	return random_next(&w->random) % below;
}

static void expect(struct worker *w, bool right)
{
	if (!right)
		atomic_fetch_add(&w->round->wrong, 1);
}

static int64_t some_time(struct worker *w)
{
	static const int64_t times[] = { 0, 1000, 30 * 1000, MS_NS, FOREVER_NS, FOREVER_NS };

	return times[next(w, sizeof times / sizeof times[0])];
}

static bool is_end(Retcode rc)
{
	return rc == rcInvalidArgument || rc == rcNotConnected || rc == rcHandleRevoked;
}

static bool is_passing(Retcode rc)
{
	return rc == rcOk || rc == rcTimeout || rc == rcQuotaExceeded || rc == rcIpcInterrupt;
}

/* A message that was given to a call: whose it is by now. */
static void settle(struct worker *w, DcmMessage *message, Retcode rc)
{
	bool kept = rc == rcInvalidArgument || rc == rcQuotaExceeded;

	expect(w, is_end(rc) || is_passing(rc));
	expect(w, (message->data != NULL) == kept);
	expect(w, DcmRelease(message) == rcOk);
}

static Retcode loan(struct worker *w, Handle session, uint64_t tag, DcmMessage *message)
{
	size_t size = next(w, 8) == 0 ? 5000 : 8 + next(w, 56);
	Retcode rc = DcmLoan(session, size, some_time(w), message);

	if (rc == rcOk)
		memcpy(message->data, &tag, sizeof tag);
	else
		expect(w, message->data == NULL);
	return rc;
}

static void check_reply(struct worker *w, DcmMessage *reply, uint64_t tag)
{
	uint64_t seen = 0;

	if (reply->size == sizeof seen)
		memcpy(&seen, reply->data, sizeof seen);
	expect(w, seen == tag + 1);
	expect(w, DcmRelease(reply) == rcOk);
}

static Retcode call(struct worker *w, Handle session)
{
	uint64_t tag = random_next(&w->random);
	DcmMessage message, reply;
	Retcode rc = loan(w, session, tag, &message);
	bool wants = next(w, 8) != 0;

	if (rc != rcOk)
		return rc;
	rc = DcmCall(session, &message, some_time(w), wants ? &reply : NULL);
	settle(w, &message, rc);
	if (rc == rcOk && wants)
		check_reply(w, &reply, tag);
	return rc;
}

/* Released without a reply is rcNotConnected as well, and no end: the next call tells. */
static Retcode finish(struct worker *w, Handle session, uint64_t name, uint64_t tag)
{
	bool any = name == DCM_ANY_CALL;
	DcmMessage reply;
	Retcode rc = DcmFinish(session, name, some_time(w), NULL, &reply);

	expect(w, is_end(rc) || is_passing(rc) || (any && rc == rcResourceNotFound));
	if (rc != rcOk)
		expect(w, reply.data == NULL);
	else if (any)
		expect(w, reply.size == sizeof tag && DcmRelease(&reply) == rcOk);
	else
		check_reply(w, &reply, tag);
	return rc;
}

static Retcode start(struct worker *w, Handle session)
{
	uint64_t tag = random_next(&w->random), name;
	DcmMessage message;
	Retcode rc = loan(w, session, tag, &message);

	if (rc != rcOk)
		return rc;
	rc = DcmStart(session, &message, some_time(w), &name);
	settle(w, &message, rc);
	if (rc == rcOk && next(w, 2) == 0)
		(void)finish(w, session, name, tag);
	(void)finish(w, session, DCM_ANY_CALL, 0);
	return rc;
}

static Retcode send_one(struct worker *w, Handle session)
{
	DcmMessage message;
	Retcode rc = loan(w, session, 0, &message);

	if (rc != rcOk)
		return rc;
	rc = DcmSend(session, &message, some_time(w));
	settle(w, &message, rc);
	return rc;
}

/* One by one, or as many as there is room for. */
static size_t loan_many(struct worker *w, Handle session, DcmMessage *messages)
{
	size_t count = 0;

	if (next(w, 2) == 0) {
		while (count < BATCH && loan(w, session, 0, &messages[count]) == rcOk)
			count++;
		return count;
	}
	expect(w, (DcmLoanBatch(session, 8 + next(w, 100), some_time(w), messages, BATCH, &count) ==
		   rcOk) == (count != 0));
	for (size_t i = 0; i < count; i++)
		memset(messages[i].data, 0, messages[i].size);
	return count;
}

static Retcode send_many(struct worker *w, Handle session)
{
	DcmMessage messages[BATCH];
	size_t count = loan_many(w, session, messages), sent;
	Retcode rc;

	rc = DcmSendBatch(session, messages, count, some_time(w), &sent);
	expect(w, (rc == rcOk) == (sent == count) || (count == 0 && is_end(rc)));
	for (size_t i = 0; i < count; i++) {
		expect(w, (messages[i].data == NULL) == (i < sent));
		expect(w, DcmRelease(&messages[i]) == rcOk);
	}
	return rc;
}

static void call_until_closed(void *arg)
{
	static Retcode (*const kinds[])(struct worker * w, Handle session) = {
		call, call, start, send_one, send_many,
	};
	struct worker *w = arg;
	unsigned int open = (1u << SESSIONS) - 1;

	while (open != 0) {
		unsigned int i = (unsigned int)next(w, SESSIONS);
		Retcode rc;

		if ((open >> i & 1) == 0)
			continue;
		rc = kinds[next(w, sizeof kinds / sizeof kinds[0])](w, w->round->sessions[i]);
		expect(w, is_passing(rc) || is_end(rc));
		/* The number is gone. */
		if (rc == rcInvalidArgument)
			open &= ~(1u << i);
		atomic_fetch_add(&w->round->calls, 1);
	}
}

static void answer(struct worker *w, DcmRequest *request)
{
	DcmMessage reply;
	uint64_t tag;
	Retcode rc = rcNotConnected;

	memcpy(&tag, request->message.data, sizeof tag);
	tag++;
	if ((request->flags & DCM_REQUEST_ONE_WAY) == 0 && next(w, 8) != 0) {
		rc = DcmLoanReply(request, sizeof tag, &reply);
		expect(w, rc == rcOk || rc == rcNotConnected);
	}
	if (rc != rcOk) {
		expect(w, DcmRelease(&request->message) == rcOk);
		return;
	}
	memcpy(reply.data, &tag, sizeof tag);
	if (next(w, 8) == 0) {
		/* Released first, there is nothing to reply to; the loan is its own. */
		DcmRequest copy = *request;

		expect(w, DcmRelease(&request->message) == rcOk);
		expect(w, DcmReply(&copy, &reply) == rcInvalidArgument && reply.data != NULL);
		expect(w, DcmRelease(&reply) == rcOk);
		return;
	}
	rc = DcmReply(request, &reply);
	expect(w, rc == rcOk || rc == rcNotConnected);
	expect(w, request->message.data == NULL && reply.data == NULL);
}

static void answer_hoard(struct worker *w)
{
	while (w->hoarded > 0)
		answer(w, &w->hoard[--w->hoarded]);
}

static bool are_one_way(const DcmRequest *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if ((requests[i].flags & DCM_REQUEST_ONE_WAY) == 0)
			return false;
	return true;
}

static void serve_until_closed(void *arg)
{
	struct worker *w = arg;
	DcmRequest requests[BATCH];
	size_t count;
	Retcode rc;

	do {
		/* Not for ever with what all callers may be waiting for. */
		int64_t time_ns = w->hoarded == 0 ? some_time(w) : MS_NS;

		if (next(w, 2) == 0) {
			rc = DcmReceive(w->round->pair.listener, time_ns, &requests[0]);
			count = rc == rcOk;
		} else {
			rc = DcmReceiveBatch(w->round->pair.listener, time_ns, requests,
					     1 + next(w, BATCH), &count);
			expect(w, (rc == rcOk) == (count != 0));
		}
		expect(w, is_end(rc) || is_passing(rc));
		if (are_one_way(requests, count) && next(w, 2) == 0) {
			expect(w, DcmReleaseBatch(requests, count) == rcOk);
			count = 0;
		}
		for (size_t i = 0; i < count; i++)
			if (w->hoarded < HOARD && next(w, 8) == 0)
				w->hoard[w->hoarded++] = requests[i];
			else
				answer(w, &requests[i]);
		if (rc != rcOk || w->hoarded == HOARD)
			answer_hoard(w);
	} while (!is_end(rc));
}

static bool has_run(void *arg)
{
	struct round *round = arg;

	return atomic_load(&round->calls) >= round->wanted;
}

/* Each handle once, in any order: closed, or revoked; what has no number any more is neither. */
static void close_all(struct round *round, uint64_t *state)
{
	Handle handles[SESSIONS + 2] = { round->sessions[0], round->sessions[1], round->sessions[2],
					 round->pair.listener, round->pair.callable };

	for (unsigned int left = SESSIONS + 2; left > 0; left--) {
		unsigned int i = (unsigned int)(random_next(state) % left);
		Handle handle = handles[i];

		handles[i] = handles[left - 1];
		if (random_next(state) % 2 == 0)
			(void)KnHandleRevoke(handle);
		(void)KnHandleClose(handle);
		for (uint64_t n = random_next(state) % 3000; n > 0; n--)
			atomic_load(&round->calls);
	}
}

static void open_sessions(struct round *round)
{
	pair_open(&round->pair);
	round->sessions[0] = round->pair.session;
	must(KnHandleCopy(round->pair.session, OCAP_IPC_CALL, INVALID_HANDLE, &round->sessions[1]));
	round->sessions[2] = pair_connect(&round->pair);
}

static unsigned int race(uint64_t *state)
{
	static struct worker workers[CALLERS + SERVERS];
	struct round round = { .wanted = (unsigned int)(random_next(state) % 300 + 1) };
	struct task tasks[CALLERS + SERVERS];
	bool leaves = random_next(state) % 4 == 0;

	open_sessions(&round);
	for (int i = 0; i < CALLERS + SERVERS; i++) {
		workers[i] = (struct worker){ .round = &round, .random = random_next(state) | 1 };
		task_start(&tasks[i], i < CALLERS ? call_until_closed : serve_until_closed,
			   &workers[i]);
	}
	if (!until(has_run, &round))
		die("nothing runs");
	for (uint64_t n = random_next(state) % 4; n > 0; n--)
		(void)DcmInterruptCall(n % 2 == 0 ? round.pair.listener : round.sessions[n / 2]);
	/* Sessions and listeners go on without it. */
	if (leaves)
		DcmFini();
	close_all(&round, state);
	for (int i = 0; i < CALLERS + SERVERS; i++)
		task_join(&tasks[i]);
	if (leaves)
		must(DcmInit());
	else
		must(DcmCloseHandle(round.pair.publication));
	return round.wrong;
}

int main(void)
{
	unsigned int count, wrong = 0;
	struct holdings before;
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	must(DcmInit());
	count = (unsigned int)tap_scaled(150);
	for (unsigned int i = 0; i < count; i++)
		wrong += race(&state);
	is_uint(0, wrong,
		"%u times all handles closed and revoked under %d threads that call and serve",
		count, CALLERS + SERVERS);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
