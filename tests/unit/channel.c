/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls over one channel: each way that one can end, and many at once from both sides. */
#include "shm/channel.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

static struct dcm_call use_of(uint32_t index, uint32_t generation)
{
	return (struct dcm_call){ .index = index, .generation = generation };
}

static void test_call(struct pair *p)
{
	struct dcm_call mine = use_of(9, 1234567), call;
	struct dcm_parcel seen;
	uint32_t word, late;

	is_int(DCM_CHANNEL_EMPTY, dcm_channel_take(&p->server, &call, &seen), "nothing");
	dcm_channel_post(&p->client, mine, &request);
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p->client, mine, &word), "POSTED");
	late = word;
	ok(dcm_channel_more(&p->server), "there is more");
	is_int(DCM_CHANNEL_TAKEN, dcm_channel_take(&p->server, &call, &seen), "taken");
	ok(call.index == 9 && call.generation == 1234567, "that one");
	ok(seen.offset == 256 && seen.size == 3 && seen.status == -5 && seen.flags == 0,
	   "as posted");
	ok(!dcm_channel_more(&p->server), "there is no more");
	ok(dcm_channel_wait(&p->client, mine, &word), "slept on");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p->client, mine, NULL), "still POSTED");
	ok(dcm_channel_answer(&p->server, call, 0, &reply), "answered in time");
	ok(!dcm_channel_wait(&p->client, mine, &late), "no sleep after that");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p->client, mine, NULL), "ANSWERED");
	ok(!dcm_channel_abandon(&p->client, mine), "too late to give up");
	ok(dcm_channel_reply(&p->client, mine, &seen), "a reply");
	ok(seen.offset == 512 && seen.size == 4 && seen.status == 6, "as answered");
	ok(!dcm_channel_returned(&p->server, call), "not returned yet");
	dcm_channel_return(&p->client, mine);
	ok(dcm_channel_returned(&p->server, call), "returned");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p->client, use_of(9, 7), NULL),
	       "nothing is said of another use");
}

static void test_ends(struct pair *p)
{
	struct dcm_parcel seen, bad = { .offset = p->client.half, .size = 1 };
	struct dcm_call call;

	dcm_channel_post(&p->client, use_of(1, 2), &request);
	dcm_channel_take(&p->server, &call, &seen);
	ok(dcm_channel_answer(&p->server, call, 0, NULL), "released without a reply");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, use_of(1, 2), NULL), "FAILED");
	dcm_channel_post(&p->client, use_of(1, 3), &request);
	dcm_channel_take(&p->server, &call, &seen);
	ok(dcm_channel_abandon(&p->client, use_of(1, 3)), "given up");
	is_int(DCM_CALL_ABANDONED, dcm_channel_state(&p->client, use_of(1, 3), NULL), "ABANDONED");
	ok(!dcm_channel_answer(&p->server, call, 0, &reply), "answered in vain");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p->client, use_of(1, 3), NULL),
	       "then the room is back");
	dcm_channel_post(&p->client, use_of(1, 4), &request);
	dcm_channel_post(&p->client, use_of(2, 4), &request);
	dcm_channel_abandon(&p->client, use_of(1, 4));
	is_int(DCM_CHANNEL_TAKEN, dcm_channel_take(&p->server, &call, &seen), "the next");
	is_uint(2, call.index, "not the one given up");
	is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, use_of(1, 4), NULL),
	       "which is done with");
	dcm_channel_answer(&p->server, call, 0, &bad);
	ok(!dcm_channel_reply(&p->client, call, &seen), "a reply beyond the half is none");
}

static void test_one_way(struct pair *p)
{
	struct dcm_parcel seen, sent = request;
	struct dcm_call mine = use_of(5, 9), call;

	sent.flags = DCM_CALL_ONE_WAY;
	dcm_channel_post(&p->client, mine, &sent);
	ok(!dcm_channel_ended(&p->client, mine), "under way");
	is_int(DCM_CHANNEL_TAKEN, dcm_channel_take(&p->server, &call, &seen), "one way");
	is_uint(DCM_CALL_ONE_WAY, seen.flags, "as it says");
	ok(!dcm_channel_ended(&p->client, mine), "its room is the server's");
	ok(dcm_channel_answer(&p->server, call, seen.flags, NULL), "released");
	ok(dcm_channel_ended(&p->client, mine), "and the client's again");
	ok(!dcm_channel_ended(&p->client, use_of(5, 10)), "of that use, and no other");
}

/* A slot of which no reply was returned for more than half of all generations. */
static void test_one_way_for_long(struct pair *p)
{
	const uint32_t step = 1 << 24;
	struct dcm_parcel seen, sent = request;
	struct dcm_call call;

	sent.flags = DCM_CALL_ONE_WAY;
	for (uint32_t generation = step; generation <= 16 * step - 1 - step; generation += step) {
		dcm_channel_post(&p->client, use_of(7, generation), &sent);
		dcm_channel_take(&p->server, &call, &seen);
		dcm_channel_answer(&p->server, call, seen.flags, NULL);
		ok(dcm_channel_ended(&p->client, call), "one way, generation %u", generation);
		dcm_channel_post(&p->client, use_of(7, generation + 1), &request);
		dcm_channel_take(&p->server, &call, &seen);
		ok(dcm_channel_answer(&p->server, call, 0, &reply), "then a call");
		ok(!dcm_channel_returned(&p->server, call), "whose reply is the client's");
	}
}

/* What a mad client could write. */
static void test_bad_requests(struct pair *p)
{
	struct dcm_parcel bad[] = { { .offset = p->client.half, .size = 1 },
				    { .offset = 1, .size = UINT64_MAX },
				    { .offset = UINT64_MAX, .size = 2 } };
	struct dcm_parcel seen, good = { .offset = p->client.half, .size = 0 };
	struct dcm_call call;
	uint32_t next;

	for (uint32_t i = 0; i < 3; i++) {
		dcm_channel_post(&p->client, use_of(3, 5 + i), &bad[i]);
		is_int(-EBADMSG, dcm_channel_take(&p->server, &call, &seen),
		       "a request beyond the half");
		is_int(DCM_CALL_FAILED, dcm_channel_state(&p->client, use_of(3, 5 + i), NULL),
		       "FAILED");
	}
	dcm_channel_post(&p->client, use_of(3, 8), &good);
	is_int(DCM_CHANNEL_TAKEN, dcm_channel_take(&p->server, &call, &seen), "empty, at its end");
	dcm_channel_post(&p->client, use_of(DCM_CHANNEL_CALLS, 1), &good);
	is_int(-EBADMSG, dcm_channel_take(&p->server, &call, &seen), "no such call");
	next = dcm_load(&p->client.next, relaxed);
	dcm_store(&p->client.shared->cells[next % DCM_CHANNEL_CALLS].word, next + 1, relaxed);
	is_int(DCM_CHANNEL_EMPTY, dcm_channel_take(&p->server, &call, &seen),
	       "a message that is not the next");
}

static void test_full(struct pair *p)
{
	struct dcm_parcel seen;
	struct dcm_call call;
	uint32_t good = 0;

	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		dcm_channel_post(&p->client, use_of(i, 100), &request);
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		good += dcm_channel_abandon(&p->client, use_of(i, 100));
	is_uint(DCM_CHANNEL_CALLS, good, "a call in each slot, all given up");
	is_int(DCM_CHANNEL_EMPTY, dcm_channel_take(&p->server, &call, &seen), "none left");
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		good -= dcm_channel_state(&p->client, use_of(i, 100), NULL) == DCM_CALL_FAILED;
	is_uint(0, good, "all done with");
}

/* The number of a message goes around. */
static void test_numbers(struct pair *p)
{
	struct dcm_parcel seen;
	struct dcm_call call;
	uint32_t good = 0;

	dcm_store(&p->client.next, UINT32_MAX - 300, relaxed);
	dcm_store(&p->server.next, UINT32_MAX - 300, relaxed);
	for (uint32_t i = 0; i < 600; i++) {
		dcm_channel_post(&p->client, use_of(i % 7, 1000 + i), &request);
		good += dcm_channel_take(&p->server, &call, &seen) == DCM_CHANNEL_TAKEN &&
			call.index == i % 7 && call.generation == 1000 + i;
		good += dcm_channel_take(&p->server, &call, &seen) == DCM_CHANNEL_EMPTY;
	}
	is_uint(1200, good, "each message once, also behind number 2^32 - 1");
}

static void test_hang_up(void)
{
	struct dcm_parcel seen;
	struct dcm_call call;
	struct pair p;
	uint32_t word;

	pair_make(&p);
	ok(!dcm_channel_hung_up(&p.client), "the server is there");
	for (uint32_t i = 0; i < 3; i++)
		dcm_channel_post(&p.client, use_of(i, 1), &request);
	dcm_channel_take(&p.server, &call, &seen);
	dcm_channel_answer(&p.server, call, 0, &reply);
	dcm_channel_take(&p.server, &call, &seen);
	dcm_channel_state(&p.client, call, &word);
	ok(dcm_channel_wait(&p.client, call, &word), "slept on");
	dcm_channel_hang_up(&p.server, DCM_SERVER_GONE);
	ok(dcm_channel_hung_up(&p.client) && !dcm_channel_revoked(&p.client), "the server is gone");
	ok(dcm_load(&p.client.shared->replies[1].word, seq) != word, "whoever slept looks again");
	is_int(DCM_CALL_ANSWERED, dcm_channel_state(&p.client, use_of(0, 1), NULL),
	       "answered before");
	is_int(DCM_CALL_POSTED, dcm_channel_state(&p.client, call, NULL), "not answered");
	ok(dcm_channel_abandon(&p.client, call), "it is given up");
	ok(!dcm_channel_answer(&p.server, call, 0, &reply), "an answer after that is in vain");
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
	pthread_mutex_t client_lock, server_lock;
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
static enum dcm_call_state await(struct crowd *c, struct dcm_call call, bool patient)
{
	struct dcm_channel *ch = &c->p.client;
	enum dcm_call_state state;
	uint32_t word;

	while (!is_over(state = dcm_channel_state(ch, call, &word))) {
		if (!patient && dcm_channel_abandon(ch, call))
			return DCM_CALL_ABANDONED;
		if (!dcm_channel_wait(ch, call, &word))
			continue;
		/* K4: after the mark, before the sleep. */
		if (dcm_channel_hung_up(ch))
			return dcm_channel_abandon(ch, call) ? DCM_CALL_FAILED
							     : dcm_channel_state(ch, call, NULL);
		dcm_park_sleep(&ch->shared->replies[call.index].word, word, NULL, DCM_FOREVER);
	}
	return state;
}

static void end_call(struct crowd *c, struct dcm_call call, enum dcm_call_state state)
{
	struct dcm_channel *ch = &c->p.client;
	struct dcm_parcel got;

	switch (state) {
	case DCM_CALL_ANSWERED:
		dcm_add(&c->answered, 1ull);
		if (!dcm_channel_reply(ch, call, &got) || got.status != (int32_t)call.index ||
		    !filled(ch->replies + got.offset, ~stamp(call.index, call.generation),
			    got.size))
			dcm_add(&c->wrong, 1ull);
		break;
	case DCM_CALL_ABANDONED:
		dcm_add(&c->given_up, 1ull);
		/* Not to be used before the server is done with it, or gone. */
		while (!is_over(dcm_channel_state(ch, call, NULL)) && !dcm_channel_hung_up(ch))
			dcm_park_pause();
		break;
	default:
		dcm_add(&c->failed, 1ull);
	}
	dcm_channel_return(ch, call);
}

static void client(struct crowd *c, unsigned thread)
{
	struct world_random random = world_random(thread);
	struct dcm_channel *ch = &c->p.client;

	for (uint64_t i = 0; i < c->calls && !dcm_channel_hung_up(ch); i++) {
		struct dcm_call call = { .index = thread * SLOTS + world_below(&random, SLOTS),
					 .generation = (uint32_t)i + 1 };
		struct dcm_parcel parcel = { .offset = room_of(call.index, 0),
					     .size = world_below(&random, ROOM),
					     .status = (int32_t)call.index };

		fill(ch->requests + parcel.offset, stamp(call.index, call.generation), parcel.size);
		pthread_mutex_lock(&c->client_lock);
		dcm_channel_post(ch, call, &parcel);
		pthread_mutex_unlock(&c->client_lock);
		dcm_park_wake_one(&c->work);
		end_call(c, call, await(c, call, world_below(&random, 4) != 0));
	}
	if (dcm_add(&c->clients_left, UINT32_MAX) == 1)
		dcm_park_wake_all(&c->work);
}

static void answer_one(struct crowd *c, struct dcm_call call, const struct dcm_parcel *parcel,
		       struct world_random *random)
{
	struct dcm_parcel answer = { .offset = room_of(call.index, call.generation),
				     .size = world_below(random, ROOM),
				     .status = (int32_t)call.index };
	struct dcm_channel *ch = &c->p.server;
	uint32_t *last = &c->reply_generation[call.index];

	/* A call given up is the server's to read until it answers. */
	if (parcel->status != (int32_t)call.index ||
	    !filled(ch->requests + parcel->offset, stamp(call.index, call.generation),
		    parcel->size))
		dcm_add(&c->wrong, 1ull);
	if (*last != 0 && !dcm_channel_returned(ch, use_of(call.index, *last)))
		dcm_add(&c->wrong, 1ull);
	*last = call.generation;
	fill(ch->replies + answer.offset, ~stamp(call.index, call.generation), answer.size);
	dcm_channel_answer(ch, call, parcel->flags,
			   world_below(random, 16) == 0 ? NULL : &answer);
}

static bool serve_one(struct crowd *c, struct world_random *random)
{
	struct dcm_parcel parcel;
	struct dcm_call call;
	int r;

	pthread_mutex_lock(&c->server_lock);
	r = dcm_channel_hung_up(&c->p.server) ? DCM_CHANNEL_EMPTY
					      : dcm_channel_take(&c->p.server, &call, &parcel);
	pthread_mutex_unlock(&c->server_lock);
	if (r == DCM_CHANNEL_EMPTY)
		return false;
	if (r == DCM_CHANNEL_TAKEN)
		answer_one(c, call, &parcel, random);
	else
		dcm_add(&c->wrong, 1ull);
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
	pthread_mutex_init(&c.client_lock, NULL);
	pthread_mutex_init(&c.server_lock, NULL);
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
	pthread_mutex_destroy(&c.client_lock);
	pthread_mutex_destroy(&c.server_lock);
	free(c.p.memory);
}

/* Words overwritten anywhere behind the header: those that are looked at next, often. */
static void overwrite(struct pair *p, struct world_random *random)
{
	struct dcm_channel_header *h = p->memory;
	uint64_t *words = (uint64_t *)p->memory + DCM_PAGE / 8;
	uint32_t next = dcm_load(&p->server.next, relaxed);
	uint32_t count = (DCM_CHANNEL_FRONT - DCM_PAGE) / 8;

	for (int i = 0; i < 10; i++)
		words[world_below(random, count)] = world_below(random, 2)
							    ? world_next(random)
							    : world_below(random, 600);
	if (world_below(random, 2) == 0)
		words = (uint64_t *)(void *)&h->cells[next % DCM_CHANNEL_CALLS];
	else
		words = (uint64_t *)(void *)&h->replies[world_below(random, 4)];
	words[1 + world_below(random, 3)] = world_next(random);
}

/* Either side, in a channel whose words were overwritten. */
static void test_scribbled(void)
{
	struct world_random random = world_random(99);
	struct dcm_parcel seen;
	struct dcm_call call;
	uint32_t bad = 0;
	struct pair p;

	pair_make(&p);
	for (uint64_t round = 0; round < tap_scaled(30000); round++) {
		struct dcm_call mine = use_of(world_below(&random, 4), (uint32_t)round + 1);

		dcm_store(&p.client.next, dcm_load(&p.server.next, relaxed), relaxed);
		dcm_channel_post(&p.client, mine, &request);
		overwrite(&p, &random);
		if (dcm_channel_take(&p.server, &call, &seen) == DCM_CHANNEL_TAKEN) {
			bad += call.index >= DCM_CHANNEL_CALLS || seen.offset > p.server.half ||
			       seen.size > p.server.half - seen.offset;
			dcm_channel_answer(&p.server, call, seen.flags, &reply);
		}
		dcm_channel_abandon(&p.client, mine);
		if (dcm_channel_reply(&p.client, mine, &seen))
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
	test_one_way(&p);
	test_one_way_for_long(&p);
	test_bad_requests(&p);
	test_full(&p);
	test_numbers(&p);
	free(p.memory);
	test_hang_up();
	test_crowd(false, tap_scaled(CALLS));
	for (int i = 0; i < HANG_UPS; i++)
		test_crowd(true, tap_scaled(CALLS / HANG_UPS));
	test_scribbled();
	return 0;
}
