/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client that has written messages that cannot be, as many as there is place for, into a channel
 * that is hot: the server passes over few of them in one receive, however fast others may follow,
 * and another client has its turn meanwhile.
 */
#include "shm/channel.h"
#include "tests/api/lib_api.h"

enum { HEAT = 8, FEW = 32 };

static struct pair pair;

/* A message's channel, as its client has it mapped. */
static struct dcm_channel_header *channel_of(const DcmMessage *message)
{
	return (void *)((unsigned char *)message->data - message->opaque[3] - DCM_CHANNEL_FRONT);
}

static struct dcm_channel_header *send_one(Handle session, int32_t status)
{
	DcmMessage message = must_loan(session, 8);
	struct dcm_channel_header *channel = channel_of(&message);

	message.status = status;
	must(DcmSend(session, &message, FOREVER_NS));
	return channel;
}

static struct dcm_channel_header *heat(void)
{
	struct dcm_channel_header *channel = NULL;

	for (uint32_t i = 0; i < HEAT; i++) {
		DcmRequest request;

		channel = send_one(pair.session, 0);
		request = must_receive(pair.listener);
		must(DcmRelease(&request.message));
	}
	return channel;
}

static uint32_t generation_of(uint32_t slot)
{
	return 1000 + slot;
}

/* One-way, beyond the half: each is ended as soon as it is taken. */
static void fill(struct dcm_channel_header *channel)
{
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++) {
		struct dcm_cell *cell = &channel->cells[(HEAT + 1 + i) % DCM_CHANNEL_CALLS];

		dcm_store(&cell->generation, generation_of(i), relaxed);
		dcm_store(&cell->call, i | DCM_CALL_ONE_WAY << 16, relaxed);
		dcm_store(&cell->offset, UINT64_MAX, relaxed);
		dcm_store(&cell->size, 1ull, relaxed);
		dcm_store(&cell->word, HEAT + 1 + i, release);
	}
}

static uint32_t passed_over(struct dcm_channel_header *channel)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		count += dcm_load(&channel->done[i], acquire) == generation_of(i);
	return count;
}

static void test_full_of_them(void)
{
	Handle other = pair_connect(&pair);
	struct dcm_channel_header *channel = heat();
	DcmRequest request = { .riid = 0 };
	uint32_t passed;

	fill(channel);
	(void)send_one(other, 7);
	is_rc(rcOk, DcmReceive(pair.listener, 0, &request), "another client has its turn");
	is_int(7, request.message.status, "with what it sent");
	must(DcmRelease(&request.message));
	is_rc(rcTimeout, DcmReceive(pair.listener, 0, &request), "nothing comes of the others");
	passed = passed_over(channel);
	ok(passed > 0 && passed <= FEW, "%u of them were passed over", passed);
	for (int i = 0; i < DCM_CHANNEL_CALLS; i++)
		(void)DcmReceive(pair.listener, 0, &request);
	is_uint(DCM_CHANNEL_CALLS, passed_over(channel), "all of them are, in the end");
	must(KnHandleClose(other));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	test_full_of_them();
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
