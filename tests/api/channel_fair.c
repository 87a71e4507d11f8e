/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose turn it is: a client that never stops sending does not keep the server from a hundred
 * others, nor from one; and what each of them sent comes in its order.
 */
#include "tests/api/lib_api.h"

enum { OTHERS = 100, FLOOD = 200 };

static struct pair pair;
static Handle others[OTHERS];
static int32_t flood_last = -1;
static int disorder;

static void send_from(Handle session, int32_t status)
{
	DcmMessage message = must_loan(session, 8);

	message.status = status;
	must(DcmSend(session, &message, FOREVER_NS));
}

/* One is received; if it was of the flood, the next of it is there at once. */
static int32_t receive_one(int32_t *flood_next)
{
	DcmRequest request = must_receive(pair.listener);
	int32_t status = request.message.status;

	must(DcmRelease(&request.message));
	if (status >= 0) {
		disorder += status != flood_last + 1;
		flood_last = status;
		send_from(pair.session, (*flood_next)++);
	}
	return status;
}

/* How many are received until all that others sent are in. */
static int until_all(int32_t *flood_next, int wanted)
{
	int received = 0, came = 0;

	for (; came < wanted && received < 100000; received++)
		came += receive_one(flood_next) < 0;
	return received;
}

static void test_hundred(int32_t *flood_next)
{
	int received;

	for (int i = 0; i < FLOOD; i++)
		(void)receive_one(flood_next);
	for (int i = 0; i < OTHERS; i++)
		send_from(others[i], -1);
	received = until_all(flood_next, OTHERS);
	ok(received <= 3 * OTHERS, "a hundred have had their turn after %d receives", received);
}

static void test_one(int32_t *flood_next)
{
	int worst = 0;

	for (int i = 0; i < 200; i++) {
		int received;

		for (int32_t j = 0; j < i; j++)
			(void)receive_one(flood_next);
		send_from(others[i % OTHERS], -1);
		received = until_all(flood_next, 1);
		worst = received > worst ? received : worst;
	}
	ok(worst <= 32, "one among a flood waits for %d others at the most", worst);
	is_int(0, disorder, "what the flood brings comes in its order");
}

static void drain(void)
{
	DcmRequest request;

	while (DcmReceive(pair.listener, 0, &request) == rcOk)
		must(DcmRelease(&request.message));
}

int main(void)
{
	struct holdings before;
	int32_t flood_next = 0;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	for (int i = 0; i < OTHERS; i++)
		others[i] = pair_connect(&pair);
	for (int i = 0; i < FLOOD; i++)
		send_from(pair.session, flood_next++);
	test_hundred(&flood_next);
	test_one(&flood_next);
	drain();
	for (int i = 0; i < OTHERS; i++)
		must(KnHandleClose(others[i]));
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
