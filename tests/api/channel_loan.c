/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Loans: every size, in place, apart from each other, back-pressure, and their memory given back. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

enum { MIB = 1024 * 1024, HELD_MAX = 64 };

static uint64_t state;

/* The largest loan, found from outside. */
static size_t largest_of(Handle session)
{
	size_t fits = 0, above = (size_t)1 << 40;

	while (above - fits > 1) {
		size_t size = fits + (above - fits) / 2;
		DcmMessage message;

		if (DcmLoan(session, size, 0, &message) == rcOk) {
			DcmRelease(&message);
			fits = size;
		} else {
			above = size;
		}
	}
	return fits;
}

/* One call through the pair, both ways in place. */
static bool round_trip(struct pair *pair, size_t size, uint64_t seed)
{
	DcmMessage request = must_loan(pair->session, size), reply;
	DcmRequest received;
	uint64_t call;
	bool same;

	pattern_fill(request.data, size, seed);
	request.status = (int32_t)seed;
	must(DcmStart(pair->session, &request, FOREVER_NS, &call));
	received = must_receive(pair->listener);
	same = received.message.size == size && received.message.status == (int32_t)seed &&
	       pattern_is(received.message.data, size, seed);
	must(DcmLoanReply(&received, size, &reply));
	pattern_fill(reply.data, size, seed + 1);
	reply.status = -(int32_t)seed;
	must(DcmReply(&received, &reply));
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
	same = same && reply.size == size && reply.status == -(int32_t)seed &&
	       pattern_is(reply.data, size, seed + 1);
	must(DcmRelease(&reply));
	return same;
}

static void test_sizes(struct pair *pair)
{
	size_t largest = largest_of(pair->session), size;
	DcmMessage message;
	bool same = true;

	note("the largest loan is %zu bytes", largest);
	ok(largest >= 16 * MIB, "a channel of 64 MiB gives a loan of 16 MiB or more");
	for (size = 0; size < 40; size++)
		same = round_trip(pair, size, size + 1) && same;
	for (size = 64; size < largest; size *= 2)
		for (size_t near = size - 1; near <= size + 1; near++)
			same = round_trip(pair, near, near) && same;
	for (uint64_t i = 0; i < tap_scaled(500); i++)
		same = round_trip(pair, random_next(&state) % 20000, i) && same;
	ok(same, "requests and replies of all sizes arrive as they were written");
	ok(round_trip(pair, largest, 99), "so does the largest");
	is_rc(rcInvalidArgument, DcmLoan(pair->session, largest + 1, FOREVER_NS, &message),
	      "a byte more");
	is_rc(rcInvalidArgument, DcmLoan(pair->session, SIZE_MAX, 0, &message), "SIZE_MAX bytes");
	is_rc(rcInvalidArgument, DcmLoan(pair->session, SIZE_MAX - 4095, 0, &message),
	      "nearly SIZE_MAX bytes");
	ok(message.data == NULL, "what failed has no data");
}

static void test_reply_sizes(struct pair *pair)
{
	DcmMessage request = must_loan(pair->session, 1), reply;
	DcmRequest received;

	must(DcmSend(pair->session, &request, 0));
	received = must_receive(pair->listener);
	is_rc(rcInvalidArgument, DcmLoanReply(&received, 1, &reply), "a reply to a one-way message");
	must(DcmRelease(&received.message));
	request = must_loan(pair->session, 1);
	must(DcmStart(pair->session, &request, 0, &(uint64_t){ 0 }));
	received = must_receive(pair->listener);
	is_rc(rcInvalidArgument, DcmLoanReply(&received, SIZE_MAX, &reply), "an endless reply");
	is_rc(rcInvalidArgument, DcmLoanReply(&received, (size_t)64 * MIB, &reply),
	      "a reply as large as the channel");
	must_reply(&received, "", 0, 5);
	must(DcmFinish(pair->session, DCM_ANY_CALL, FOREVER_NS, NULL, &reply));
	ok(reply.size == 0 && reply.status == 5 && reply.data != NULL, "an empty reply has a status");
	must(DcmRelease(&reply));
}

static void test_apart(struct pair *pair)
{
	DcmMessage held[HELD_MAX];
	uint64_t seed[HELD_MAX];
	bool aligned = true, same = true;
	unsigned int count = 0;

	for (uint64_t i = 0; i < tap_scaled(20000); i++) {
		size_t size = random_next(&state) % (random_next(&state) % 4 == 0 ? 300000 : 700);

		if (count == HELD_MAX || (count > 0 && random_next(&state) % 2 == 0)) {
			size_t which = random_next(&state) % count;

			same = same && pattern_is(held[which].data, held[which].size, seed[which]);
			must(DcmRelease(&held[which]));
			held[which] = held[--count];
			seed[which] = seed[count];
			continue;
		}
		if (DcmLoan(pair->session, size, 0, &held[count]) != rcOk)
			continue;
		aligned = aligned && (uintptr_t)held[count].data % _Alignof(max_align_t) == 0;
		seed[count] = random_next(&state);
		pattern_fill(held[count].data, size, seed[count]);
		count++;
	}
	while (count-- > 0) {
		same = same && pattern_is(held[count].data, held[count].size, seed[count]);
		must(DcmRelease(&held[count]));
	}
	ok(same, "loans do not overlap");
	ok(aligned, "loans are aligned for every type");
}

static void test_shrinking(struct pair *pair)
{
	DcmMessage request = must_loan(pair->session, 1000), reply;
	DcmRequest received;
	uint64_t call;

	is_uint(1000, request.size, "a loan's size is as asked");
	is_int(0, request.status, "its status is 0");
	request.size = (size_t)1 << 30;
	is_rc(rcInvalidArgument, DcmStart(pair->session, &request, 0, &call),
	      "a request with its size raised");
	ok(request.data != NULL, "it is still the caller's");
	request.size = 10;
	must(DcmStart(pair->session, &request, 0, &call));
	ok(request.data == NULL, "a started request is consumed");
	received = must_receive(pair->listener);
	is_uint(10, received.message.size, "a request made smaller arrives so");
	must(DcmLoanReply(&received, 1000, &reply));
	reply.size = 1 << 20;
	is_rc(rcInvalidArgument, DcmReply(&received, &reply), "a reply with its size raised");
	ok(reply.data != NULL && received.message.data != NULL, "both are still the server's");
	reply.size = 0;
	must(DcmReply(&received, &reply));
	ok(reply.data == NULL && received.message.data == NULL, "then both are consumed");
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
	is_uint(0, reply.size, "a reply made smaller arrives so");
	must(DcmRelease(&reply));
	is_rc(rcOk, DcmRelease(&reply), "a release of what was released");
}

static void test_full(struct pair *pair)
{
	struct blocked waiting;
	struct load load = { .rooms = 0 };
	DcmMessage message;

	load_room(&load, pair->session);
	ok(load.rooms > 0, "the room can be used up");
	is_rc(rcQuotaExceeded, DcmLoan(pair->session, 1, 0, &message), "a loan, full, not waiting");
	is_rc(rcTimeout, DcmLoan(pair->session, 1, 2 * MS_NS, &message), "a loan, full, waiting");
	blocked_start(&waiting, BLOCK_LOAN, pair->session);
	must(DcmRelease(&load.room[load.rooms - 1]));
	load.rooms--;
	blocked_ends(&waiting, rcOk, "another thread gives a loan back");
	must(DcmRelease(&waiting.message));
	load_drop(&load);
}

/* The room of a message is back when the server is done with it, and whoever waits is told. */
static void test_full_with_sent(struct pair *pair, bool one_way)
{
	struct blocked waiting;
	struct load load = { .rooms = 0 };
	DcmRequest received;
	DcmMessage reply;
	uint64_t call = 0;

	load_room(&load, pair->session);
	load.rooms--;
	if (one_way)
		must(DcmSend(pair->session, &load.room[load.rooms], FOREVER_NS));
	else
		must(DcmStart(pair->session, &load.room[load.rooms], FOREVER_NS, &call));
	received = must_receive(pair->listener);
	blocked_start(&waiting, BLOCK_LOAN, pair->session);
	if (one_way) {
		must(DcmRelease(&received.message));
	} else {
		must_reply(&received, "r", 1, 0);
		must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
		must(DcmRelease(&reply));
	}
	blocked_ends(&waiting, rcOk,
		     one_way ? "the server releases a one-way message" : "a call is finished");
	must(DcmRelease(&waiting.message));
	load_drop(&load);
}

/* Of all channels mapped here. */
static size_t memory_kib(void)
{
	return mapped_kib("/memfd:dcm-channel");
}

/* Both ends are here, and map it: 4 MiB of each half may stay, and what is there from the start. */
enum { KEPT_KIB = 2 * (2 * 4 * 1024 + 256) };

/* Nothing is blocked meanwhile: the library's thread looks all the same, until it is done.
   @caller: null, or one who makes small calls all the time */
static void goes_back(struct pair *caller, size_t during, const char *what)
{
	size_t after = memory_kib();

	for (unsigned i = 0; i < 300 && after > KEPT_KIB; i++) {
		pause_ms(100);
		if (caller != NULL)
			(void)round_trip(caller, 8, i);
		after = memory_kib();
	}
	note("KiB in memory: %zu, later %zu", during, after);
	ok(during >= KEPT_KIB + 10 * 1024 && after <= KEPT_KIB, "%s", what);
}

static void test_memory(struct pair *pair)
{
	size_t during = 1, kept = 0;

	/* A second in which this thread does not run is enough to lose it. */
	for (unsigned i = 0; i < 10 && kept != during; i++) {
		DcmMessage message = must_loan(pair->session, (size_t)15 * MIB);

		memset(message.data, 1, message.size);
		during = memory_kib();
		must(DcmRelease(&message));
		kept = memory_kib();
	}
	is_uint(during, kept, "a large loan that is released leaves its memory to the next");
	goes_back(NULL, during, "when none comes its memory is given back");
}

/* The sender does nothing more, and its thread has looked in vain before they are received. */
static void test_memory_on_way(struct pair *pair)
{
	enum { MESSAGES = 15, LOOKS_MS = 3500 };
	size_t during;

	for (unsigned i = 0; i < MESSAGES; i++) {
		DcmMessage message = must_loan(pair->session, MIB);

		memset(message.data, 1, message.size);
		must(DcmSend(pair->session, &message, 0));
	}
	during = memory_kib();
	pause_ms(LOOKS_MS);
	for (unsigned i = 0; i < MESSAGES; i++) {
		DcmRequest received = must_receive(pair->listener);

		must(DcmRelease(&received.message));
	}
	goes_back(NULL, during, "that of messages is, however late they are received");
}

/* Nor does a server's thread that goes on replying keep that of the replies before. */
static void test_memory_of_replies(struct pair *pair)
{
	enum { CALLS = 15 };
	uint64_t calls[CALLS];
	DcmRequest request;
	DcmMessage message;
	size_t during;

	for (unsigned i = 0; i < CALLS; i++) {
		message = must_loan(pair->session, 8);
		must(DcmStart(pair->session, &message, FOREVER_NS, &calls[i]));
	}
	for (unsigned i = 0; i < CALLS; i++) {
		request = must_receive(pair->listener);
		must(DcmLoanReply(&request, MIB, &message));
		memset(message.data, 1, message.size);
		must(DcmReply(&request, &message));
	}
	during = memory_kib();
	for (unsigned i = 0; i < CALLS; i++) {
		must(DcmFinish(pair->session, calls[i], FOREVER_NS, NULL, &message));
		must(DcmRelease(&message));
	}
	goes_back(pair, during, "that of replies is, though the server goes on");
}

static void test_small_channel(const char *bytes)
{
	size_t largest;
	struct pair pair;

	setenv("DCM_MAX_CHANNEL_BYTES", bytes, 1);
	must(DcmInit());
	pair_open(&pair);
	largest = largest_of(pair.session);
	ok(largest >= strtoull(bytes, NULL, 10) / 8, "DCM_MAX_CHANNEL_BYTES=%s: a loan of %zu bytes",
	   bytes, largest);
	ok(round_trip(&pair, largest, 1) && round_trip(&pair, 0, 2), "it carries both ways");
	test_full(&pair);
	pair_close(&pair);
	DcmFini();
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
	test_sizes(&pair);
	test_reply_sizes(&pair);
	test_apart(&pair);
	test_shrinking(&pair);
	test_full(&pair);
	test_full_with_sent(&pair, true);
	test_full_with_sent(&pair, false);
	test_memory(&pair);
	test_memory_on_way(&pair);
	test_memory_of_replies(&pair);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	test_small_channel("1048576");
	test_small_channel("1052672");
	test_small_channel("3333333");
	holdings_are(&before, "after small channels");
	return 0;
}
