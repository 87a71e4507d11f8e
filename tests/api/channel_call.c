/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it asks of short time-outs that they are long enough) */
/* Calls: in any order, in time and late, answered or not, one way, and who pays for what is kept. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

enum { MIB = 1024 * 1024, MANY = 64 };

static uint64_t state;

static uint64_t start(Handle session, uint32_t value)
{
	DcmMessage message = must_loan(session, sizeof(value));
	uint64_t call = 0;

	memcpy(message.data, &value, sizeof(value));
	must(DcmStart(session, &message, FOREVER_NS, &call));
	return call;
}

static uint32_t value_of(const DcmMessage *message)
{
	uint32_t value = UINT32_MAX;

	if (message->data != NULL && message->size == sizeof(value))
		memcpy(&value, message->data, sizeof(value));
	return value;
}

static void reply_value(DcmRequest *request, uint32_t value)
{
	must_reply(request, &value, sizeof(value), 0);
}

static void test_what_arrives(struct pair *pair)
{
	DcmRequest request;
	DcmMessage reply;
	uint64_t call = start(pair->session, 1), done;

	request = must_receive(pair->listener);
	ok(request.context == PAIR_CONTEXT, "the context of the callable handle arrives");
	ok(request.badgeContext == NULL, "there is no badge");
	is_uint(PAIR_RIID, request.riid, "its riid arrives");
	is_uint(0, request.flags, "a call has no flags");
	is_uint(1, value_of(&request.message), "the request is what was sent");
	reply_value(&request, 2);
	is_rc(rcOk, DcmFinish(pair->session, call, 0, &done, &reply), "the call is finished");
	ok(done == call, "under its number");
	is_uint(2, value_of(&reply), "the reply is what was sent");
	must(DcmRelease(&reply));
	is_rc(rcInvalidArgument, DcmFinish(pair->session, call, 0, NULL, &reply),
	      "the same call once more");
	is_rc(rcResourceNotFound, DcmFinish(pair->session, DCM_ANY_CALL, FOREVER_NS, NULL, &reply),
	      "any call, with none under way");
	call = start(pair->session, 1);
	request = must_receive(pair->listener);
	reply_value(&request, 3);
	is_rc(rcOk, DcmFinish(pair->session, call, FOREVER_NS, NULL, NULL),
	      "a reply that nobody wants");
}

/* Starts many, answers them in one random order, finishes them in another. */
static void test_any_order(struct pair *pair, bool any)
{
	uint64_t calls[MANY], done;
	DcmRequest requests[MANY];
	bool right = true, once[MANY] = { false };
	DcmMessage reply;

	for (uint32_t i = 0; i < MANY; i++)
		calls[i] = start(pair->session, i);
	for (unsigned int i = 0; i < MANY; i++)
		requests[i] = must_receive(pair->listener);
	for (unsigned int left = MANY; left > 0; left--) {
		size_t which = random_next(&state) % left;

		reply_value(&requests[which], value_of(&requests[which].message) + 1000);
		requests[which] = requests[left - 1];
	}
	for (unsigned int left = MANY; left > 0; left--) {
		size_t which = random_next(&state) % left;
		uint32_t i;

		must(DcmFinish(pair->session, any ? DCM_ANY_CALL : calls[which], FOREVER_NS, &done,
			       &reply));
		i = value_of(&reply) - 1000;
		right = right && i < MANY && !once[i] && (any || done == calls[which]);
		once[i % MANY] = true;
		calls[which] = calls[left - 1];
		must(DcmRelease(&reply));
	}
	ok(right, "%d calls, answered and finished in random orders%s", MANY, any ? ", any" : "");
	is_rc(rcResourceNotFound, DcmFinish(pair->session, DCM_ANY_CALL, 0, NULL, NULL),
	      "then none is left");
}

static void test_all_calls(struct pair *pair)
{
	struct load load = { .rooms = 0 };
	struct blocked waiting = { .what = BLOCK_SEND, .handle = pair->session, .timeout_ms = -1 };
	DcmRequest request;
	DcmMessage reply;
	uint64_t call;

	load_calls(&load, pair->session);
	is_rc(rcQuotaExceeded, DcmStart(pair->session, &load.spare, 0, &call),
	      "one call too many, not waiting");
	ok(load.spare.data != NULL, "its request is still the caller's");
	is_rc(rcQuotaExceeded, DcmSend(pair->session, &load.spare, 0), "one message too many");
	ok(load.spare.data != NULL, "it is still the caller's");
	waiting.message = load.spare;
	load.spare.data = NULL;
	blocked_go(&waiting);
	request = must_receive(pair->listener);
	reply_value(&request, 1);
	must(DcmFinish(pair->session, DCM_ANY_CALL, FOREVER_NS, NULL, &reply));
	must(DcmRelease(&reply));
	blocked_ends(&waiting, rcOk, "a call is finished");
	for (unsigned int i = 1; i < SESSION_CALLS; i++) {
		request = must_receive(pair->listener);
		reply_value(&request, i);
		must(DcmFinish(pair->session, DCM_ANY_CALL, FOREVER_NS, NULL, NULL));
	}
	request = must_receive(pair->listener);
	is_uint(DCM_REQUEST_ONE_WAY, request.flags, "the message that waited arrives last");
	must(DcmRelease(&request.message));
}

static void timed_out_message(struct pair *pair)
{
	struct load load = { .rooms = 0 };
	DcmRequest request;
	uint64_t call;

	load_calls(&load, pair->session);
	is_rc(rcTimeout, DcmStart(pair->session, &load.spare, 2 * MS_NS, &call),
	      "one call too many, waiting");
	ok(load.spare.data == NULL, "its request is consumed");
	for (unsigned int i = 0; i < SESSION_CALLS; i++) {
		request = must_receive(pair->listener);
		must(DcmRelease(&request.message));
		is_rc(rcNotConnected, DcmFinish(pair->session, load.calls[i], FOREVER_NS, NULL, NULL),
		      "a call released unanswered");
	}
}

struct sender {
	struct pair *pair;
	uint32_t count;
};

static void send_all(void *arg)
{
	struct sender *sender = arg;

	for (uint32_t i = 0; i < sender->count; i++) {
		DcmMessage message = must_loan(sender->pair->session, sizeof(i));

		memcpy(message.data, &i, sizeof(i));
		must(DcmSend(sender->pair->session, &message, FOREVER_NS));
	}
}

static void test_send_order(struct pair *pair)
{
	struct sender sender = { .pair = pair, .count = (uint32_t)tap_scaled(20000) };
	struct task task;
	bool right = true;

	task_start(&task, send_all, &sender);
	for (uint32_t i = 0; i < sender.count; i++) {
		DcmRequest request = must_receive(pair->listener);

		right = right && value_of(&request.message) == i &&
			request.flags == DCM_REQUEST_ONE_WAY;
		must(DcmRelease(&request.message));
	}
	task_join(&task);
	ok(right, "%u messages of one thread arrive in their order", sender.count);
}

/* Calls that are given up, each with a large request and a large late reply, more than fit at once. */
static void test_late_replies(struct pair *pair)
{
	unsigned int in_vain = 0, rounds = 40;
	struct load load = { .rooms = 0 };
	DcmMessage message, reply;
	DcmRequest request;
	uint64_t call;

	for (unsigned int i = 0; i < rounds; i++) {
		message = must_loan(pair->session, (size_t)8 * MIB);
		if (DcmCall(pair->session, &message, i % 2 ? 1 : 100000, &reply) != rcTimeout ||
		    message.data != NULL)
			die("a call that nobody answers does not time out");
		if (i % 4 == 3)
			continue; /* it is never received */
		/* Given up before it was taken, it is not handed out; this one is taken before. */
		call = start(pair->session, i);
		request = must_receive(pair->listener);
		in_vain += value_of(&request.message) == i;
		reply_value(&request, i);
		must(DcmFinish(pair->session, call, FOREVER_NS, NULL, NULL));
	}
	ok(in_vain > 0, "a call given up before it is received does not run");
	load_room(&load, pair->session);
	ok(load.rooms > 0 && load.room[0].size >= (size_t)8 * MIB, "its room is free again");
	load_drop(&load);
}

/* On a loaded machine the caller may give up before its call is received: then once more. */
static DcmRequest receive_in_time(struct pair *pair, struct blocked *caller)
{
	DcmRequest request;

	for (int tries = 0; tries < 20; tries++) {
		caller->message = must_loan(pair->session, (size_t)8 * MIB);
		blocked_go(caller);
		if (DcmReceive(pair->listener, 2 * caller->timeout_ms * MS_NS, &request) == rcOk)
			return request;
		blocked_ends(caller, rcTimeout, "nobody receives in time");
	}
	die("no call was received before its caller gave up");
}

static void answer_late(struct pair *pair, struct blocked *caller)
{
	DcmRequest request = receive_in_time(pair, caller);
	DcmMessage reply;

	blocked_ends(caller, rcTimeout, "nobody answers");
	ok(caller->message.data == NULL, "its request is consumed");
	memset(request.message.data, 7, request.message.size);
	must(DcmLoanReply(&request, (size_t)8 * MIB, &reply));
	is_rc(rcNotConnected, DcmReply(&request, &reply), "a reply that comes late");
	ok(request.message.data == NULL && reply.data == NULL, "it is consumed");
}

static void test_given_up_while_running(struct pair *pair)
{
	struct blocked caller = { .what = BLOCK_CALL, .handle = pair->session, .timeout_ms = 50 };

	for (int i = 0; i < 6; i++)
		answer_late(pair, &caller);
	ok(true, "no room is lost to late replies");
}

static void test_unanswered(struct pair *pair)
{
	struct blocked caller;
	DcmRequest request;
	DcmMessage reply;
	uint64_t call;

	caller = (struct blocked){ .what = BLOCK_CALL, .handle = pair->session, .timeout_ms = -1 };
	caller.message = must_loan(pair->session, 8);
	blocked_go(&caller);
	request = must_receive(pair->listener);
	must(DcmRelease(&request.message));
	ok(request.message.data == NULL, "a released request is consumed");
	blocked_ends(&caller, rcNotConnected, "its request is released unanswered");
	call = start(pair->session, 5);
	is_rc(rcTimeout, DcmFinish(pair->session, call, 0, NULL, &reply), "no reply yet");
	is_rc(rcTimeout, DcmFinish(pair->session, call, MS_NS, NULL, &reply), "nor a little later");
	is_rc(rcTimeout, DcmFinish(pair->session, DCM_ANY_CALL, MS_NS, NULL, &reply), "nor of any");
	request = must_receive(pair->listener);
	must(DcmRelease(&request.message));
	is_rc(rcNotConnected, DcmFinish(pair->session, DCM_ANY_CALL, FOREVER_NS, NULL, &reply),
	      "a started call released unanswered");
	is_rc(rcResourceNotFound, DcmFinish(pair->session, DCM_ANY_CALL, 0, NULL, &reply),
	      "it is finished then");
}

/* A client that keeps its replies stops only itself. */
static void test_hoarder(struct pair *pair)
{
	Handle other = pair_connect(pair);
	DcmMessage kept[64], reply;
	unsigned int count = 0;
	DcmRequest request;
	uint64_t call;
	Retcode rc;

	for (;; count++) {
		call = start(other, count);
		request = must_receive(pair->listener);
		rc = DcmLoanReply(&request, (size_t)4 * MIB, &reply);
		if (rc != rcOk || count == 64)
			break;
		must(DcmReply(&request, &reply));
		must(DcmFinish(other, call, FOREVER_NS, NULL, &kept[count]));
	}
	is_rc(rcQuotaExceeded, rc, "room for one more reply to who keeps them");
	must(DcmRelease(&request.message));
	is_rc(rcNotConnected, DcmFinish(other, call, FOREVER_NS, NULL, NULL), "it gets none");
	call = start(pair->session, 1);
	request = must_receive(pair->listener);
	is_rc(rcOk, DcmLoanReply(&request, (size_t)4 * MIB, &reply), "room for others' replies");
	must(DcmReply(&request, &reply));
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, NULL));
	while (count > 0)
		must(DcmRelease(&kept[--count]));
	call = start(other, 1);
	request = must_receive(pair->listener);
	is_rc(rcOk, DcmLoanReply(&request, (size_t)4 * MIB, &reply),
	      "room again when the replies are released");
	must(DcmReply(&request, &reply));
	must(DcmFinish(other, call, FOREVER_NS, NULL, NULL));
	must(KnHandleClose(other));
}

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	test_what_arrives(&pair);
	test_any_order(&pair, false);
	test_any_order(&pair, true);
	test_all_calls(&pair);
	timed_out_message(&pair);
	test_send_order(&pair);
	test_late_replies(&pair);
	test_given_up_while_running(&pair);
	test_unanswered(&pair);
	test_hoarder(&pair);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
