/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Messages that are not what they say: consumed, copied, forged, of another call, session or
 * channel. Each is refused, and the channel works on as if nothing had been tried.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

enum { SIZE = 3000 };

static uint64_t state;

static struct pair a, b, c;

static uint64_t start(Handle session, uint64_t seed)
{
	DcmMessage message = must_loan(session, SIZE);
	uint64_t call;

	pattern_fill(message.data, SIZE, seed);
	must(DcmStart(session, &message, FOREVER_NS, &call));
	return call;
}

static bool works(struct pair *pair)
{
	uint64_t seed = random_next(&state), call = start(pair->session, seed);
	DcmRequest request = must_receive(pair->listener);
	bool same = pattern_is(request.message.data, SIZE, seed);
	DcmMessage reply;

	must_reply(&request, request.message.data, SIZE, 0);
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
	same = same && pattern_is(reply.data, SIZE, seed);
	must(DcmRelease(&reply));
	return same;
}

/* All its room can be had at once: nothing was lost, and nothing given out twice. */
static bool whole(struct pair *pair)
{
	struct load load = { .rooms = 0 };
	bool large;

	load_room(&load, pair->session);
	large = load.room[0].size >= (size_t)16 << 20;
	load_drop(&load);
	return large;
}

static void test_requests_of_others(void)
{
	DcmMessage message = must_loan(a.session, SIZE), reply = { .data = NULL };
	uint64_t call;

	is_rc(rcInvalidArgument, DcmSend(b.session, &message, 0), "a loan of another session");
	is_rc(rcInvalidArgument, DcmStart(b.session, &message, 0, &call), "likewise");
	is_rc(rcInvalidArgument, DcmCall(b.session, &message, 0, &reply), "likewise");
	ok(message.data != NULL, "it is still the caller's");
	is_rc(rcOk, DcmSend(a.session, &message, 0), "on its own session it goes");
	is_rc(rcInvalidArgument, DcmSend(a.session, &message, 0), "a consumed message");
	is_rc(rcOk, DcmRelease(&message), "it is released without effect");
}

static void test_reply_of_reply(void)
{
	uint64_t call = start(a.session, 1);
	DcmRequest skipped = must_receive(a.listener), request = must_receive(a.listener);
	DcmMessage reply, message;

	must(DcmRelease(&skipped.message)); /* sent by the test before */
	message = request.message;
	is_rc(rcInvalidArgument, DcmSend(a.session, &message, 0), "a received request is no loan");
	is_rc(rcInvalidArgument, DcmReply(&request, &message), "nor is it a reply");
	must(DcmLoanReply(&request, 10, &reply));
	is_rc(rcInvalidArgument, DcmSend(a.session, &reply, 0), "a reply's room is no request");
	must(DcmReply(&request, &reply));
	must(DcmFinish(a.session, call, FOREVER_NS, NULL, &reply));
	is_rc(rcInvalidArgument, DcmSend(a.session, &reply, 0), "a reply is no request");
	message = reply;
	must(DcmRelease(&reply));
	is_rc(rcInvalidArgument, DcmRelease(&message), "a reply released twice");
}

static void test_double_replies(void)
{
	uint64_t call = start(a.session, 2);
	DcmRequest request = must_receive(a.listener), copy = request;
	DcmMessage reply, second, kept;

	must(DcmLoanReply(&request, 10, &reply));
	must(DcmLoanReply(&request, 10, &second));
	kept = reply;
	is_rc(rcOk, DcmReply(&request, &reply), "a reply");
	is_rc(rcInvalidArgument, DcmReply(&request, &second), "a second reply");
	ok(second.data != NULL, "its room is still the server's");
	is_rc(rcInvalidArgument, DcmReply(&copy, &second), "with a copy of the request");
	is_rc(rcInvalidArgument, DcmRelease(&copy.message), "a release of the answered request");
	is_rc(rcInvalidArgument, DcmRelease(&kept), "a release of the reply that was sent");
	is_rc(rcOk, DcmRelease(&second), "the second reply's room is given back");
	must(DcmFinish(a.session, call, FOREVER_NS, NULL, NULL));
	is_rc(rcInvalidArgument, DcmLoanReply(&copy, 10, &reply), "room for an answered request");
	must(DcmRelease(&reply));
}

static void test_replies_across(void)
{
	uint64_t in_a = start(a.session, 3), in_b = start(b.session, 4), second;
	DcmRequest of_a = must_receive(a.listener), of_b = must_receive(b.listener), of_second;
	DcmMessage reply, consumed;

	must(DcmLoanReply(&of_a, SIZE, &reply));
	is_rc(rcInvalidArgument, DcmReply(&of_b, &reply), "a reply across channels");
	ok(reply.data != NULL && of_b.message.data != NULL, "both are still the server's");
	second = start(a.session, 5);
	of_second = must_receive(a.listener);
	must(DcmReply(&of_a, &reply));
	consumed = reply;
	is_rc(rcInvalidArgument, DcmReply(&of_second, &consumed),
	      "a consumed reply for another request");
	is_rc(rcTimeout, DcmFinish(a.session, second, 0, NULL, NULL), "it was not answered by that");
	must(DcmRelease(&of_second.message));
	must_reply(&of_b, "", 0, 0);
	must(DcmFinish(a.session, in_a, FOREVER_NS, NULL, NULL));
	must(DcmFinish(b.session, in_b, FOREVER_NS, NULL, NULL));
	DcmFinish(a.session, second, FOREVER_NS, NULL, NULL);
}

static void test_one_way(void)
{
	DcmMessage message = must_loan(a.session, SIZE), reply = { .data = NULL };
	DcmRequest request;

	must(DcmSend(a.session, &message, 0));
	request = must_receive(a.listener);
	is_rc(rcInvalidArgument, DcmReply(&request, &reply), "a reply to a one-way message");
	is_rc(rcInvalidArgument, DcmLoanReply(&request, 1, &reply), "room for one");
	request.flags = 0; /* a lie */
	if (DcmLoanReply(&request, 1, &reply) == rcOk)
		DcmReply(&request, &reply);
	DcmRelease(&reply);
	DcmRelease(&request.message);
	ok(works(&a) && whole(&a), "flags changed by the program: the channel works on");
}

/* A stale copy of a message that was given away must not take what is another's now. */
static void test_stale_loans(void)
{
	DcmMessage message = must_loan(c.session, SIZE), copy = message, next;
	DcmRequest request;
	uint64_t call;

	must(DcmRelease(&message));
	is_rc(rcInvalidArgument, DcmRelease(&copy), "a loan released twice");
	next = must_loan(c.session, SIZE);
	is_rc(rcInvalidArgument, DcmRelease(&copy), "also when its room is another's");
	is_rc(rcInvalidArgument, DcmStart(c.session, &copy, 0, &call), "it is not sent either");
	is_rc(rcOk, DcmRelease(&next), "the other one is still its owner's");
	message = must_loan(c.session, SIZE);
	copy = message;
	must(DcmStart(c.session, &message, 0, &call));
	is_rc(rcInvalidArgument, DcmRelease(&copy), "a copy of a message under way");
	is_rc(rcInvalidArgument, DcmSend(c.session, &copy, 0), "it is not sent twice");
	while (DcmReceive(c.listener, 0, &request) == rcOk)
		must(DcmRelease(&request.message));
	is_rc(rcNotConnected, DcmFinish(c.session, call, 0, NULL, NULL), "the call has one end");
}

static bool sane(Retcode rc)
{
	return rc == rcOk || rc == rcInvalidArgument || rc == rcNotConnected ||
	       rc == rcQuotaExceeded;
}

/* One word of a message changed at random, in a way that often hits something. */
static void forge(uint64_t *opaque)
{
	static const uint64_t near[] = { 0, 1, 2, 3, 4, 5, 255, 256, UINT32_MAX, UINT64_MAX };
	uint64_t *word = &opaque[random_next(&state) % 4];

	switch (random_next(&state) % 4) {
	case 0:
		*word ^= UINT64_C(1) << random_next(&state) % 64;
		break;
	case 1:
		*word = random_next(&state);
		break;
	case 2:
		*word = near[random_next(&state) % 10] << (random_next(&state) % 2 ? 32 : 0);
		break;
	default:
		*word += near[random_next(&state) % 6] * 256;
		break;
	}
}

/* One message of each kind, for a forgery to begin with. */
struct pieces {
	DcmMessage loan, reply, reply_loan;
	DcmRequest request;
	uint64_t first, second;
};

static void pieces_make(struct pieces *p, struct pair *pair)
{
	DcmRequest request;

	p->loan = must_loan(pair->session, SIZE);
	p->first = start(pair->session, 1);
	request = must_receive(pair->listener);
	must_reply(&request, "reply", 6, 0);
	must(DcmFinish(pair->session, p->first, FOREVER_NS, NULL, &p->reply));
	p->second = start(pair->session, 2);
	p->request = must_receive(pair->listener);
	must(DcmLoanReply(&p->request, SIZE, &p->reply_loan));
}

static bool forge_one(struct pieces *p, struct pair *pair)
{
	const DcmMessage *kinds[] = { &p->loan, &p->reply, &p->reply_loan, &p->request.message };
	DcmMessage forged = *kinds[random_next(&state) % 4], out = { .data = NULL };
	DcmRequest request = p->request;
	const DcmMessage before = forged;
	uint64_t call;
	Retcode rc;

	do
		forge(forged.opaque);
	while (memcmp(forged.opaque, before.opaque, sizeof(before.opaque)) == 0);
	switch (random_next(&state) % 6) {
	case 0:
		rc = DcmRelease(&forged);
		break;
	case 1:
		rc = DcmSend(pair->session, &forged, 0);
		break;
	case 2:
		rc = DcmStart(pair->session, &forged, 0, &call);
		break;
	case 3:
		rc = DcmReply(&request, &forged);
		break;
	case 4:
		request.message = forged;
		rc = DcmLoanReply(&request, SIZE, &out);
		break;
	default:
		rc = DcmFinish(pair->session, random_next(&state) % 4096 << 32 |
						      random_next(&state) % 300,
			       0, NULL, &out);
		break;
	}
	if (!sane(rc) || (rc != rcOk && *DcmLastDetail() == '\0'))
		return false;
	return DcmRelease(&out) == rcOk;
}

static void test_forged(void)
{
	uint64_t rounds = tap_scaled(3000), tries = 0;
	bool good = true;
	struct pair pair;

	for (uint64_t i = 0; i < rounds; i++) {
		struct pieces pieces;

		if (i % 100 == 0) {
			if (i > 0)
				pair_close(&pair);
			pair_open(&pair);
		}
		pieces_make(&pieces, &pair);
		for (int n = 0; n < 20; n++, tries++)
			good = forge_one(&pieces, &pair) && good;
		/* Whatever was hit: each is released once, or was before. */
		DcmRelease(&pieces.loan);
		DcmRelease(&pieces.reply);
		DcmRelease(&pieces.reply_loan);
		DcmRelease(&pieces.request.message);
		while (DcmReceive(pair.listener, 0, &pieces.request) == rcOk)
			DcmRelease(&pieces.request.message);
		while (DcmFinish(pair.session, DCM_ANY_CALL, 0, NULL, NULL) == rcNotConnected)
			;
	}
	pair_close(&pair);
	ok(good, "%llu forged messages have a code each", (unsigned long long)tries);
	ok(works(&a) && works(&b), "other channels are as they were");
}

/* Forgeries that no honest message can be: all are refused. */
static void test_forged_kinds(void)
{
	DcmMessage loan = must_loan(a.session, SIZE), forged;
	unsigned int taken = 0;

	for (uint64_t kind = 0; kind < 300; kind++) {
		if (kind == loan.opaque[1] >> 32)
			continue;
		forged = loan;
		forged.opaque[1] = kind << 32 | (uint32_t)loan.opaque[1];
		taken += DcmRelease(&forged) == rcOk;
	}
	is_uint(0, taken, "a loan said to be of another kind is not released");
	for (uint64_t number = 0; number < 1000; number++) {
		forged = loan;
		forged.opaque[0] += number + 1;
		taken += DcmRelease(&forged) == rcOk;
		forged = loan;
		forged.opaque[3] += number + 1;
		taken += DcmRelease(&forged) == rcOk;
	}
	is_uint(0, taken, "nor one said to be of another channel or place");
	is_rc(rcOk, DcmRelease(&loan), "the loan itself is");
}

static void test_finish(void)
{
	uint64_t call = start(a.session, 1);
	DcmRequest request = must_receive(a.listener);
	unsigned int found = 0;

	for (uint64_t i = 0; i < 20000; i++) {
		uint64_t number = i < 600 ? i : random_next(&state);

		if (number == call || number == DCM_ANY_CALL)
			continue;
		found += DcmFinish(a.session, number, 0, NULL, NULL) != rcInvalidArgument;
	}
	is_uint(0, found, "calls that are not under way are not finished");
	is_rc(rcInvalidArgument, DcmFinish(b.session, call, 0, NULL, NULL),
	      "nor one of another session");
	must_reply(&request, "", 0, 0);
	is_rc(rcOk, DcmFinish(a.session, call, FOREVER_NS, NULL, NULL), "the one that is, is");
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	must(DcmInit());
	pair_open(&a);
	pair_open(&b);
	test_requests_of_others();
	test_reply_of_reply();
	test_double_replies();
	test_replies_across();
	test_one_way();
	test_finish();
	ok(works(&a) && works(&b) && whole(&a) && whole(&b), "both channels work on");
	test_forged_kinds();
	test_forged();
	/* On a channel of its own: where this goes wrong its books are no good. */
	pair_open(&c);
	test_stale_loans();
	pair_close(&c);
	pair_close(&a);
	pair_close(&b);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
