/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls over one channel: each way that one can end, and many at once from both sides. */
#include "shm/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shm/check.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

enum { BYTES = 1 << 20, NONCE = 4711 };

/* One memory, two views: the client's and the server's. */
struct pair {
	void *memory;
	struct dcm_channel client, server;
};

static void pair_make(struct pair *p)
{
	/* In no segment: there is no keeper to tell. */
	*p = (struct pair){ .memory = aligned_alloc(DCM_PAGE, BYTES) };
	if (p->memory == NULL)
		bail("no memory for a channel");
	memset(p->memory, 0, BYTES);
	dcm_channel_format(p->memory, BYTES, NONCE);
	if (!dcm_channel_view(&p->client, p->memory, BYTES, NONCE) ||
	    !dcm_channel_view(&p->server, p->memory, BYTES, NONCE))
		bail("no view of a channel");
}

static void test_view(void)
{
	struct dcm_channel_header *h;
	struct dcm_channel ch;
	struct pair p;

	pair_make(&p);
	h = p.memory;
	ok(!dcm_channel_view(&ch, p.memory, BYTES, NONCE + 1), "another nonce");
	ok(!dcm_channel_view(&ch, p.memory, BYTES / 2, NONCE), "fewer bytes than the least");
	ok(!dcm_channel_view(&ch, p.memory, 2 * BYTES, NONCE), "more bytes than it says");
	ok(!dcm_channel_view(&ch, p.memory, UINT64_MAX, NONCE), "far more");
	h->layout++;
	ok(!dcm_channel_view(&ch, p.memory, BYTES, NONCE), "another layout");
	h->layout--;
	h->fingerprint++;
	ok(!dcm_channel_view(&ch, p.memory, BYTES, NONCE), "another fingerprint");
	h->fingerprint--;
	h->half = UINT64_MAX;
	ok(dcm_channel_view(&ch, p.memory, BYTES, NONCE), "halves are not believed");
	ok(ch.replies + ch.half <= (unsigned char *)p.memory + BYTES && ch.half >= BYTES / 4,
	   "they are computed");
	h->magic = 0;
	ok(!dcm_channel_view(&ch, p.memory, BYTES, NONCE), "no channel");
	free(p.memory);
}

static const struct dcm_parcel request = { .offset = 256, .size = 3, .status = -5 };
static const struct dcm_parcel reply = { .offset = 512, .size = 4, .status = 6 };

static void test_call(struct pair *p)
{
	struct dcm_parcel seen;
	uint32_t call, generation, word;

	is_int(DCM_RING_EMPTY, dcm_channel_take(&p->server, &call, &generation, &seen), "nothing");
	ok(dcm_channel_post(&p->client, 9, 1234567, &request), "posted");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p->client, 9, 1234567, &word), "POSTED");
	ok(dcm_channel_more(&p->server), "there is more");
	is_int(DCM_RING_OK, dcm_channel_take(&p->server, &call, &generation, &seen), "taken");
	ok(call == 9 && generation == 1234567, "that one");
	ok(seen.offset == 256 && seen.size == 3 && seen.status == -5 && seen.flags == 0,
	   "as posted");
	ok(!dcm_channel_more(&p->server), "there is no more");
	ok(dcm_channel_wait(&p->client, 9, &word), "slept on");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p->client, 9, 1234567, NULL), "still POSTED");
	ok(dcm_channel_answer(&p->server, 9, generation, 0, &reply), "answered in time");
	ok(!dcm_channel_wait(&p->client, 9, &(uint32_t){ 1234567u << 4 | DCM_CALL_POSTED }),
	   "no sleep after that");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p->client, 9, 1234567, NULL), "ANSWERED");
	ok(!dcm_channel_abandon(&p->client, 9), "too late to give up");
	ok(dcm_channel_reply(&p->client, 9, &seen), "a reply");
	ok(seen.offset == 512 && seen.size == 4 && seen.status == 6, "as answered");
	ok(!dcm_channel_returned(&p->server, 9, generation), "not returned yet");
	dcm_channel_collect(&p->client, 9, generation);
	ok(dcm_channel_returned(&p->server, 9, generation), "returned");
	is_int(DCM_CALL_IDLE, dcm_channel_state(&p->client, 9, 1234567, NULL), "IDLE");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, 9, 7, NULL), "not of another use");
}

static void test_ends(struct pair *p)
{
	struct dcm_parcel seen, bad = { .offset = p->client.half, .size = 1 };
	uint32_t call, generation;

	dcm_channel_post(&p->client, 1, 2, &request);
	dcm_channel_take(&p->server, &call, &generation, &seen);
	ok(dcm_channel_answer(&p->server, 1, 2, 0, NULL), "released without a reply");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, 1, 2, NULL), "FAILED");
	dcm_channel_collect(&p->client, 1, 2);
	dcm_channel_post(&p->client, 1, 3, &request);
	dcm_channel_take(&p->server, &call, &generation, &seen);
	ok(dcm_channel_abandon(&p->client, 1), "given up");
	is_int(DCM_CALL_ABANDONED, dcm_channel_state(&p->client, 1, 3, NULL), "ABANDONED");
	ok(!dcm_channel_answer(&p->server, 1, 3, 0, &reply), "answered in vain");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p->client, 1, 3, NULL),
	       "then the room is back");
	dcm_channel_collect(&p->client, 1, 3);
	dcm_channel_post(&p->client, 1, 4, &request);
	dcm_channel_post(&p->client, 2, 4, &request);
	dcm_channel_abandon(&p->client, 1);
	is_int(DCM_RING_OK, dcm_channel_take(&p->server, &call, &generation, &seen), "the next");
	is_uint(2, call, "not the one given up");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, 1, 4, NULL), "which is done with");
	dcm_channel_answer(&p->server, 2, 4, 0, &bad);
	ok(!dcm_channel_reply(&p->client, 2, &seen), "a reply beyond the half is none");
	dcm_channel_collect(&p->client, 1, 4);
	dcm_channel_collect(&p->client, 2, 4);
}

/* What a mad client could write. */
static void test_bad_requests(struct pair *p)
{
	struct dcm_parcel bad[] = { { .offset = p->client.half, .size = 1 },
				    { .offset = 1, .size = UINT64_MAX },
				    { .offset = UINT64_MAX, .size = 2 } };
	struct dcm_ring_view ring = dcm_ring_view(&p->client.shared->ring, DCM_CHANNEL_RING_SHIFT);
	struct dcm_parcel seen, good = { .offset = p->client.half, .size = 0 };
	uint32_t call, generation;

	for (int i = 0; i < 3; i++) {
		dcm_channel_post(&p->client, 3, 5, &bad[i]);
		is_int(-EBADMSG, dcm_channel_take(&p->server, &call, &generation, &seen),
		       "a request beyond the half");
		is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, 3, 5, NULL), "FAILED");
	}
	dcm_channel_post(&p->client, 3, 5, &good);
	is_int(DCM_RING_OK, dcm_channel_take(&p->server, &call, &generation, &seen),
	       "empty, at it");
	dcm_channel_answer(&p->server, 3, 5, DCM_CALL_ONE_WAY, NULL);
	dcm_channel_collect(&p->client, 3, 5);
	dcm_ring_push(ring, DCM_CHANNEL_CALLS + 1);
	is_int(-EBADMSG, dcm_channel_take(&p->server, &call, &generation, &seen), "no such call");
	dcm_ring_push(ring, 4);
	is_int(-EBADMSG, dcm_channel_take(&p->server, &call, &generation, &seen), "an idle call");
	dcm_channel_collect(&p->client, 3, 5);
	is_int(DCM_RING_EMPTY, dcm_channel_take(&p->server, &call, &generation, &seen), "done");
}

static void test_full(struct pair *p)
{
	struct dcm_parcel seen;
	uint32_t good = 0, call, generation;

	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		good += dcm_channel_post(&p->client, i, 6, &request);
	is_uint(DCM_CHANNEL_CALLS, good, "a call in each slot");
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		good -= dcm_channel_abandon(&p->client, i);
	is_uint(0, good, "all given up");
	is_int(DCM_RING_EMPTY, dcm_channel_take(&p->server, &call, &generation, &seen),
	       "none left");
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++) {
		good += dcm_channel_state(&p->client, i, 6, NULL) == DCM_CALL_FAILED;
		dcm_channel_collect(&p->client, i, 6);
	}
	is_uint(DCM_CHANNEL_CALLS, good, "all done with");
}

static void test_hang_up(void)
{
	struct dcm_parcel seen;
	uint32_t call, generation;
	struct pair p;

	pair_make(&p);
	ok(!dcm_channel_hung_up(&p.client), "the server is there");
	dcm_channel_post(&p.client, 0, 1, &request);
	dcm_channel_post(&p.client, 1, 1, &request);
	dcm_channel_post(&p.client, 2, 1, &request);
	dcm_channel_take(&p.server, &call, &generation, &seen);
	dcm_channel_answer(&p.server, 0, 1, 0, &reply);
	dcm_channel_take(&p.server, &call, &generation, &seen);
	dcm_channel_hang_up(&p.server, DCM_SERVER_GONE);
	ok(dcm_channel_hung_up(&p.client), "the server is gone");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p.client, 0, 1, NULL), "answered before");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p.client, 1, 1, NULL), "taken: failed");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p.client, 2, 1, NULL), "not taken: failed");
	ok(!dcm_channel_more(&p.server), "none is left");
	ok(!dcm_channel_answer(&p.server, 1, 1, 0, &reply), "an answer after that is in vain");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p.client, 1, 1, NULL), "and changes nothing");
	dcm_channel_collect(&p.client, 1, 1);
	dcm_channel_post(&p.client, 1, 2, &request);
	ok(!dcm_channel_answer(&p.server, 1, 1, 0, &reply), "nor does a late one");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p.client, 1, 2, NULL), "end a later call");
	free(p.memory);
}

/*
 * Client threads that call with requests in room of their own, give up at random, and check each
 * reply; server threads that answer in room of their own. Bytes are plain: what orders them is the
 * channel. A reply's room is used anew only when it was returned, a request's when it is over.
 */
enum { CLIENTS = 4, SERVERS = 3, SLOTS = 8, CALLS = 8000, HANG_UPS = 20, ROOM = 256 };

struct crowd {
	struct pair p;
	uint64_t calls;
	dcm_atomic32 clients_left, work; /* an event count, as a listener's */
	dcm_atomic64 answered, given_up, failed, wrong, hung;
	uint32_t reply_generation[DCM_CHANNEL_CALLS]; /* the server's books, by call */
	bool hang_up;				      /* the server goes in the middle */
};

/* Room for a call: in the requests' half and in the replies', one of two by turns, since the last
   reply may not have been returned. */
static uint64_t room_of(uint32_t call, uint32_t generation)
{
	return ((uint64_t)call * 2 + generation % 2) * ROOM;
}

static uint64_t stamp(uint32_t call, uint32_t generation)
{
	return ((uint64_t)call << 32 | generation) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill(unsigned char *at, uint64_t seed, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++)
		at[i] = (unsigned char)(seed >> i % 8 * 8);
}

static bool filled(const unsigned char *at, uint64_t seed, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++)
		if (at[i] != (unsigned char)(seed >> i % 8 * 8))
			return false;
	return true;
}

static bool is_over(enum dcm_call_state state)
{
	return state == DCM_CALL_ANSWERED || state == DCM_CALL_FAILED;
}

/* Sleeps until the call is over, or gives it up. Return: the state. */
static enum dcm_call_state await(struct crowd *c, uint32_t call, uint32_t generation, bool patient)
{
	struct dcm_channel *ch = &c->p.client;
	enum dcm_call_state state;
	uint32_t word;

	while (!is_over(state = dcm_channel_state(ch, call, generation, &word))) {
		if (!patient && dcm_channel_abandon(ch, call))
			return DCM_CALL_ABANDONED;
		if (!dcm_channel_wait(ch, call, &word))
			continue;
		/* K4: after the post, before the sleep. */
		if (dcm_channel_hung_up(ch))
			return is_over(dcm_channel_state(ch, call, generation, NULL))
				       ? DCM_CALL_FAILED
				       : DCM_CALL_POSTED;
		dcm_park_sleep(&ch->shared->call[call].word, word, NULL, DCM_FOREVER);
	}
	return state;
}

static void end_call(struct crowd *c, uint32_t call, uint32_t generation, enum dcm_call_state state)
{
	struct dcm_channel *ch = &c->p.client;
	struct dcm_parcel got;

	switch (state) {
	case DCM_CALL_ANSWERED:
		dcm_add(&c->answered, 1ull);
		if (!dcm_channel_reply(ch, call, &got) || got.status != (int32_t)call ||
		    !filled(ch->replies + got.offset, ~stamp(call, generation), got.size))
			dcm_add(&c->wrong, 1ull);
		break;
	case DCM_CALL_ABANDONED:
		dcm_add(&c->given_up, 1ull);
		/* Not to be used before the server is done with it, or gone. */
		while (!is_over(dcm_channel_state(ch, call, generation, NULL)) &&
		       !dcm_channel_hung_up(ch))
			dcm_park_pause();
		break;
	default:
		dcm_add(&c->failed, 1ull);
	}
	dcm_channel_collect(ch, call, generation);
}

static void client(struct crowd *c, unsigned thread)
{
	struct world_random random = world_random(thread);
	struct dcm_channel *ch = &c->p.client;

	for (uint64_t i = 0; i < c->calls && !dcm_channel_hung_up(ch); i++) {
		uint32_t call = thread * SLOTS + world_below(&random, SLOTS);
		uint32_t generation = (uint32_t)i + 1;
		struct dcm_parcel parcel = { .offset = room_of(call, 0),
					     .size = world_below(&random, ROOM),
					     .status = (int32_t)call };

		fill(ch->requests + parcel.offset, stamp(call, generation), parcel.size);
		if (!dcm_channel_post(ch, call, generation, &parcel)) {
			dcm_add(&c->wrong, 1ull);
			continue;
		}
		dcm_park_wake_one(&c->work);
		end_call(c, call, generation,
			 await(c, call, generation, world_below(&random, 4) != 0));
	}
	if (dcm_add(&c->clients_left, UINT32_MAX) == 1)
		dcm_park_wake_all(&c->work);
}

static bool serve_one(struct crowd *c, struct world_random *random)
{
	struct dcm_channel *ch = &c->p.server;
	struct dcm_parcel parcel, answer;
	uint32_t call, generation;
	int r = dcm_channel_take(ch, &call, &generation, &parcel);

	if (r == DCM_RING_EMPTY)
		return false;
	if (r != DCM_RING_OK || parcel.status != (int32_t)call) {
		/* One that was in the ring when another thread hung up is failed already. */
		if (r == DCM_RING_OK || !dcm_channel_hung_up(ch))
			dcm_add(&c->wrong, 1ull);
		return true;
	}
	/* A call given up is the server's to read until it answers. */
	if (!filled(ch->requests + parcel.offset, stamp(call, generation), parcel.size))
		dcm_add(&c->wrong, 1ull);
	answer = (struct dcm_parcel){ .offset = room_of(call, generation),
				      .size = world_below(random, ROOM),
				      .status = (int32_t)call };
	if (c->reply_generation[call] != 0 &&
	    !dcm_channel_returned(ch, call, c->reply_generation[call]))
		dcm_add(&c->wrong, 1ull);
	c->reply_generation[call] = generation;
	fill(ch->replies + answer.offset, ~stamp(call, generation), answer.size);
	if (world_below(random, 16) == 0)
		dcm_channel_answer(ch, call, generation, parcel.flags, NULL);
	else
		dcm_channel_answer(ch, call, generation, parcel.flags, &answer);
	return true;
}

static void server(struct crowd *c, unsigned thread)
{
	struct world_random random = world_random(thread);
	uint64_t served = 0;

	while (dcm_load(&c->clients_left, seq) != 0) {
		uint32_t key = dcm_park_prepare(&c->work);

		if (serve_one(c, &random)) {
			if (c->hang_up && ++served == c->calls) {
				dcm_channel_hang_up(&c->p.server, DCM_SERVER_GONE);
				return;
			}
		} else if (dcm_load(&c->clients_left, seq) != 0) {
			dcm_park_sleep(&c->work, key, NULL, DCM_FOREVER);
		}
	}
}

static void crowd_run(void *context, unsigned number)
{
	if (number < CLIENTS)
		client(context, number);
	else
		server(context, number);
}

static void test_crowd(bool hang_up, uint64_t calls)
{
	static struct crowd c;
	uint64_t sum;

	memset(&c, 0, sizeof c);
	pair_make(&c.p);
	c.calls = calls;
	c.hang_up = hang_up;
	dcm_store(&c.clients_left, CLIENTS, seq);
	world_threads(CLIENTS + SERVERS, crowd_run, &c);
	sum = dcm_load(&c.answered, seq) + dcm_load(&c.given_up, seq) + dcm_load(&c.failed, seq);
	is_uint(0, dcm_load(&c.wrong, seq), "each reply is the right one");
	if (hang_up)
		ok(sum >= c.calls, "every call ends, hung up or not");
	else
		is_uint(c.calls * CLIENTS, sum, "every call ends");
	note("%llu answered, %llu given up, %llu failed",
	     (unsigned long long)dcm_load(&c.answered, seq),
	     (unsigned long long)dcm_load(&c.given_up, seq),
	     (unsigned long long)dcm_load(&c.failed, seq));
	if (!hang_up)
		ok(dcm_check_ring(dcm_ring_view(&c.p.client.shared->ring, DCM_CHANNEL_RING_SHIFT),
				  DCM_CHANNEL_CALLS),
		   "the ring is in order");
	free(c.p.memory);
}

/* Either side, in a channel whose words were overwritten. */
static void test_scribbled(void)
{
	struct world_random random = world_random(99);
	struct dcm_parcel seen;
	uint32_t call, generation, bad = 0;
	struct pair p;

	pair_make(&p);
	for (uint64_t round = 0; round < tap_scaled(30000); round++) {
		uint64_t *words = (uint64_t *)p.memory + DCM_PAGE / 8;
		uint32_t count = (DCM_CHANNEL_ARENA - DCM_PAGE) / 8,
			 slot = world_below(&random, 256);

		for (int i = 0; i < 10; i++)
			words[world_below(&random, count)] = world_below(&random, 2)
								     ? world_next(&random)
								     : world_below(&random, 600);
		dcm_channel_post(&p.client, slot, (uint32_t)round, &request);
		if (dcm_channel_take(&p.server, &call, &generation, &seen) == DCM_RING_OK) {
			bad += call >= DCM_CHANNEL_CALLS || seen.offset > p.server.half ||
			       seen.size > p.server.half - seen.offset;
			dcm_channel_answer(&p.server, call, generation, seen.flags, &reply);
		}
		dcm_channel_abandon(&p.client, slot);
		if (dcm_channel_reply(&p.client, slot, &seen))
			bad += seen.offset > p.client.half ||
			       seen.size > p.client.half - seen.offset;
		dcm_channel_more(&p.server);
		if (round % 100 == 0)
			dcm_channel_hang_up(&p.server, DCM_SERVER_GONE);
	}
	is_uint(0, bad, "a damaged channel gives nothing beyond its halves");
	free(p.memory);
}

int main(void)
{
	struct pair p;

	plan_lazy();
	test_view();
	pair_make(&p);
	test_call(&p);
	test_ends(&p);
	test_bad_requests(&p);
	test_full(&p);
	free(p.memory);
	test_hang_up();
	test_crowd(false, tap_scaled(CALLS));
	for (int i = 0; i < HANG_UPS; i++)
		test_crowd(true, tap_scaled(CALLS / HANG_UPS));
	test_scribbled();
	return 0;
}
