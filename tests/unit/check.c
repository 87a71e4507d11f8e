/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm_check(): says nothing about what is in order, and finds each kind of damage and of dead. */
#define _GNU_SOURCE
#include "shm/check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/catalog.h"
#include "shm/channel.h"
#include "shm/gift.h"
#include "shm/hash.h"
#include "shm/index.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

/* Tables end inside a word of their bitmaps, and the ring overflows at once. */
static const struct dcm_capacity small = { .processes = 5,
					   .endpoints = 70,
					   .subscriptions = 5,
					   .connections = 66,
					   .listeners = 3,
					   .ring_shift = 2,
					   .gift_shift = 2 };

enum { FINDINGS = 64 };

struct found {
	struct dcm_finding list[FINDINGS];
	unsigned count;
	struct dcm_check_result result;
};

static void collect(void *context, const struct dcm_finding *f)
{
	struct found *found = context;

	if (found->count < FINDINGS)
		found->list[found->count++] = *f;
}

static void check(struct world *w, struct found *found, unsigned confirm, int64_t pause_ns)
{
	struct dcm_check_options options = { .confirm = confirm,
					     .pause_ns = pause_ns,
					     .proof = true,
					     .report = collect,
					     .context = found };

	found->count = 0;
	dcm_check(&w->seg, &options, &found->result);
}

static bool has(const struct found *found, enum dcm_check_problem problem,
		enum dcm_check_table table, uint32_t slot)
{
	for (unsigned i = 0; i < found->count; i++)
		if (found->list[i].problem == problem && found->list[i].table == table &&
		    found->list[i].slot == slot)
			return true;
	return false;
}

/* A world with something in every state. */
struct stage {
	struct world w;
	uint32_t server, client, third;
	struct dcm_ref endpoint[3], subscription[2], listener;
	struct dcm_ref parked, posted, taken, accepted, open, refused, ended, hung_up;
};

static struct dcm_ref connect_to(struct stage *s, const char *type, const char *name,
				 struct dcm_ref endpoint, uint32_t state)
{
	struct dcm_request_key key = world_request(type, name);
	struct dcm_offer offer = {
		.listener = s->listener.index, .fd = 3, .inode = 4, .bytes = DCM_CHANNEL_BYTES_MIN
	};
	struct dcm_request_view view;
	struct dcm_ref ref, taken;
	const struct dcm_segment *seg = &s->w.seg;

	if (!dcm_rendezvous_ask(seg, s->client, &key, &ref))
		bail("cannot ask");
	if (state == DCM_CONNECTION_POSTED)
		return ref;
	if (!dcm_rendezvous_take(seg, s->server, endpoint, &taken, &view) ||
	    taken.index != ref.index)
		bail("cannot take");
	if (state == DCM_CONNECTION_ENDED)
		dcm_rendezvous_client_leaves(seg, s->client, ref);
	if (state == DCM_CONNECTION_REFUSED)
		dcm_rendezvous_server_leaves(seg, s->server, ref);
	if (state == DCM_CONNECTION_ACCEPTED || state == DCM_CONNECTION_OPEN ||
	    state == DCM_CONNECTION_HUNGUP)
		if (!dcm_rendezvous_accept(seg, s->server, ref, &offer))
			bail("cannot accept");
	if (state == DCM_CONNECTION_OPEN || state == DCM_CONNECTION_HUNGUP)
		if (!dcm_rendezvous_open(seg, s->client, ref, s->server, DCM_TRANSFER_GETFD))
			bail("cannot open");
	if (state == DCM_CONNECTION_HUNGUP)
		dcm_rendezvous_server_leaves(seg, s->server, ref);
	is_uint(state, dcm_rendezvous_look(seg, ref).state, "a connection in state %u", state);
	return ref;
}

static void populate(struct stage *s)
{
	struct dcm_endpoint_key a = world_endpoint("t.A", "one", 11);
	struct dcm_endpoint_key b = world_endpoint("t.A", "two", 11);
	struct dcm_endpoint_key c = world_endpoint("t.B", "three", 12);
	const uint64_t group[] = { c.type_hash, dcm_hash("t.D") };
	const struct dcm_segment *seg = &s->w.seg;

	world_make(&s->w, &small);
	world_clean(&s->w, "an empty segment");
	s->server = world_process(&s->w, "server");
	s->client = world_process(&s->w, "client");
	s->third = world_process(&s->w, "third \xc3\xa9");
	world_clean(&s->w, "three processes");
	dcm_registry_subscribe(seg, s->client, a.type_hash, &s->subscription[0]);
	dcm_registry_subscribe_to(seg, s->third,
				  &(struct dcm_interest){ .type_hashes = group, .count = 2 },
				  &s->subscription[1]);
	world_clean(&s->w, "subscriptions");
	dcm_publication_begin(seg, s->server, &a, &s->endpoint[0]);
	b.told_at = 1 + s->endpoint[0].index;
	dcm_publication_begin(seg, s->server, &b, &s->endpoint[1]);
	dcm_publication_begin(seg, s->third, &c, &s->endpoint[2]);
	world_clean(&s->w, "publications");
	dcm_listener_open(seg, s->server, &s->listener);
	dcm_listener_signal(seg, s->listener.index, small.connections - 1);
	world_clean(&s->w, "a listener");
	s->parked = connect_to(s, "t.C", "none", s->endpoint[0], DCM_CONNECTION_POSTED);
	world_clean(&s->w, "a parked request");
	s->taken = connect_to(s, "t.A", "one", s->endpoint[0], DCM_CONNECTION_TAKEN);
	s->accepted = connect_to(s, "t.A", "one", s->endpoint[0], DCM_CONNECTION_ACCEPTED);
	s->open = connect_to(s, "t.A", "two", s->endpoint[1], DCM_CONNECTION_OPEN);
	s->refused = connect_to(s, "t.A", "two", s->endpoint[1], DCM_CONNECTION_REFUSED);
	s->ended = connect_to(s, "t.A", "one", s->endpoint[0], DCM_CONNECTION_ENDED);
	s->hung_up = connect_to(s, "t.A", "one", s->endpoint[0], DCM_CONNECTION_HUNGUP);
	s->posted = connect_to(s, "t.A", "two", s->endpoint[1], DCM_CONNECTION_POSTED);
	world_clean(&s->w, "a connection in every state");
}

/* Both parties leave what is left; nothing remains. */
static void test_clean_end(struct stage *s)
{
	struct dcm_ref refs[] = { s->parked, s->posted,	 s->taken, s->accepted,
				  s->open,   s->refused, s->ended, s->hung_up };
	const struct dcm_segment *seg = &s->w.seg;
	uint32_t used = 0;

	for (size_t i = 0; i < sizeof refs / sizeof refs[0]; i++) {
		dcm_rendezvous_client_leaves(seg, s->client, refs[i]);
		world_clean(&s->w, "the client left %zu", i);
		dcm_rendezvous_server_leaves(seg, s->server, refs[i]);
		world_clean(&s->w, "the server left %zu", i);
	}
	for (int i = 0; i < 3; i++)
		dcm_publication_end(seg, i < 2 ? s->server : s->third, s->endpoint[i]);
	world_clean(&s->w, "nothing is published");
	dcm_registry_unsubscribe(seg, s->subscription[0], s->client, s->client);
	dcm_registry_unsubscribe(seg, s->subscription[1], s->third, s->third);
	dcm_listener_shut(seg, s->listener, s->server, s->server);
	world_clean(&s->w, "all is closed");
	for (uint32_t i = 0; i < small.connections; i++)
		used += dcm_word_state(dcm_load(dcm_slot_word(&seg->connection, i), seq)) != 0;
	is_uint(0, used, "no connection slot is left");
}

/* One word changed: that is found, and when it is put back, nothing. */
#define DAMAGE(s, at, value, problem_, table_, slot_, what)                                        \
	do {                                                                                       \
		struct found found_;                                                               \
		__typeof__(dcm_load((at), seq)) was_ = dcm_load((at), seq);                        \
		dcm_store((at), (value), seq);                                                     \
		check(&(s)->w, &found_, 2, 0);                                                     \
		ok(has(&found_, DCM_PROBLEM_##problem_, DCM_CHECK_##table_, (slot_)), "found: %s", \
		   what);                                                                          \
		dcm_store((at), was_, seq);                                                        \
		if (!world_is_clean(&(s)->w))                                                      \
			ok(0, "and nothing without it: %s", what);                                 \
	} while (0)

static uint64_t in_state(uint64_t word, uint32_t state)
{
	return dcm_word(dcm_word_generation(word), dcm_word_owner(word), state);
}

static uint64_t owned_by(uint64_t word, uint32_t owner)
{
	return dcm_word(dcm_word_generation(word), owner, dcm_word_state(word));
}

static void test_gifts(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	struct dcm_endpoint *e = dcm_endpoint_at(seg, s->endpoint[0].index);
	struct dcm_ref own, others;
	struct dcm_gift_slot *slot;

	dcm_gift_make(seg, s->server, 41, &own);
	dcm_gift_make(seg, s->third, 42, &others);
	slot = dcm_gift_at(seg, own.index);
	DAMAGE(s, &e->gift_key, 41, GIFT, ENDPOINT, s->endpoint[0].index, "a key alone");
	dcm_store(&e->gift, own.index + 1, seq);
	dcm_store(&e->gift_key, 41ull, seq);
	world_clean(&s->w, "an endpoint that is shown by a gift");
	DAMAGE(s, &e->gift_key, 42, GIFT, ENDPOINT, s->endpoint[0].index, "another's key");
	DAMAGE(s, &slot->word, dcm_word(own.generation, s->third, DCM_GIFT_GIVEN), GIFT, ENDPOINT,
	       s->endpoint[0].index, "a gift of somebody else");
	DAMAGE(s, &slot->word, dcm_word(own.generation, s->server, 4), STATE, GIFT, own.index,
	       "state 4 of a gift");
	DAMAGE(s, &slot->word, dcm_word(own.generation, s->server, DCM_GIFT_REVOKED), FIELD, GIFT,
	       own.index, "revoked, and its key does not say so");
	DAMAGE(s, &slot->key, 0, FIELD, GIFT, own.index, "a gift without a key");
	dcm_gift_revoke(seg, s->server, own, 41);
	world_clean(&s->w, "one that is revoked");
	dcm_store(&e->gift, 0u, seq);
	dcm_store(&e->gift_key, 0ull, seq);
	dcm_gift_leave(seg, s->server);
	dcm_gift_leave(seg, s->third);
}

static void test_words(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	dcm_atomic64 *endpoint = dcm_slot_word(&seg->endpoint, s->endpoint[0].index);
	dcm_atomic64 *open = dcm_slot_word(&seg->connection, s->open.index);
	dcm_atomic64 *process = dcm_slot_word(&seg->process, s->third);
	dcm_atomic64 *listener = dcm_slot_word(&seg->listener, s->listener.index);
	dcm_atomic64 *free_slot = dcm_slot_word(&seg->endpoint, 69);
	uint64_t word = dcm_load(endpoint, seq);

	DAMAGE(s, endpoint, in_state(word, 3), STATE, ENDPOINT, s->endpoint[0].index, "state 3");
	DAMAGE(s, endpoint, word & 0xfffff, STATE, ENDPOINT, s->endpoint[0].index, "generation 0");
	DAMAGE(s, endpoint, owned_by(word, 5), OWNER, ENDPOINT, s->endpoint[0].index, "owner 5");
	DAMAGE(s, endpoint, owned_by(word, 4), OWNER_DEAD, ENDPOINT, s->endpoint[0].index,
	       "an owner that is free");
	DAMAGE(s, endpoint, owned_by(in_state(word, DCM_REAP), 0xffff), REAPER, ENDPOINT,
	       s->endpoint[0].index, "a reaper without a slot");
	DAMAGE(s, endpoint, in_state(word, DCM_REAP), REAPED, ENDPOINT, s->endpoint[0].index,
	       "taken apart by somebody who lives");
	DAMAGE(s, endpoint, owned_by(in_state(word, DCM_FREE), 2), STATE, ENDPOINT,
	       s->endpoint[0].index, "free with an owner");
	DAMAGE(s, endpoint, dcm_word(2, 0, DCM_FREE), USED, ENDPOINT, s->endpoint[0].index,
	       "free and used");
	DAMAGE(s, endpoint, dcm_word(2, 0, DCM_FREE), INDEX_STRAYS, ENDPOINT, s->endpoint[0].index,
	       "free and in the index");
	DAMAGE(s, free_slot, dcm_word(7, s->server, DCM_CLAIMED), CLAIMED, ENDPOINT, 69,
	       "claimed by somebody who lives");
	DAMAGE(s, free_slot, dcm_word(7, s->server, DCM_ENDPOINT_LIVE), INDEX_LACKS, ENDPOINT, 69,
	       "live and not in the index");
	DAMAGE(s, free_slot, dcm_word(7, s->server, DCM_ENDPOINT_LIVE), USED, ENDPOINT, 69,
	       "live and not used");
	word = dcm_load(open, seq);
	DAMAGE(s, open, in_state(word, 9), STATE, CONNECTION, s->open.index, "state 9");
	DAMAGE(s, open, owned_by(word, s->server), OWNER, CONNECTION, s->open.index,
	       "OPEN, owned by its server");
	word = dcm_load(process, seq);
	DAMAGE(s, process, owned_by(word, s->server), OWNER, PROCESS, s->third, "not its own");
	DAMAGE(s, process, in_state(word, 3), STATE, PROCESS, s->third, "state 3 of a process");
	word = dcm_load(listener, seq);
	DAMAGE(s, listener, in_state(word, 3), STATE, LISTENER, s->listener.index, "a listener's");
}

static void test_bitmaps(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	uint32_t bucket = dcm_bucket_of(dcm_hash("t.A")), other = (bucket + 1) % DCM_BUCKETS;
	uint32_t requests = dcm_bucket_of(dcm_hash("t.C"));
	dcm_atomic64 *row = dcm_catalog_row(seg, &seg->by_type, 0, bucket);
	dcm_atomic64 *beside = dcm_catalog_row(seg, &seg->by_type, 0, other);
	dcm_atomic64 *subs = dcm_index_row(seg->subscription_index, seg->subscription_row, bucket);
	dcm_atomic64 *asks = dcm_index_row(seg->connection_index, seg->connection_row, requests);
	dcm_atomic64 *used = seg->endpoint.used;
	uint64_t bit = 1ull << s->endpoint[1].index, all = dcm_load(used, seq);

	DAMAGE(s, used, all & ~bit, USED, ENDPOINT, s->endpoint[1].index, "used bit lost");
	DAMAGE(s, used, all | 1ull << 63, USED, ENDPOINT, 63, "used bit of a free slot");
	DAMAGE(s, &used[1], 1ull << 6, USED, ENDPOINT, 70, "used bit behind the last slot");
	DAMAGE(s, row, dcm_load(row, seq) & ~bit, INDEX_LACKS, ENDPOINT, s->endpoint[1].index,
	       "index bit lost");
	DAMAGE(s, row, dcm_load(row, seq) | 1ull << 40, INDEX_STRAYS, ENDPOINT, 40,
	       "index bit of a free slot");
	DAMAGE(s, beside, bit, INDEX_STRAYS, ENDPOINT, s->endpoint[1].index,
	       "index bit in another bucket");
	DAMAGE(s, &row[1], 1ull << 63, INDEX_STRAYS, ENDPOINT, 127, "index bit behind the last");
	DAMAGE(s, subs, 0ull, INDEX_LACKS, SUBSCRIPTION, s->subscription[0].index,
	       "index bit of a subscription");
	DAMAGE(s, asks, 0ull, INDEX_LACKS, CONNECTION, s->parked.index, "index bit of a request");
	DAMAGE(s, &dcm_listener_ready(dcm_listener_at(seg, s->listener.index))[1], 1ull << 2, FIELD,
	       LISTENER, s->listener.index, "ready bit behind the last");
}

/* A subscription in two rows, an endpoint that is told at another. */
static void test_groups(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	uint32_t slot = s->subscription[1].index, first = dcm_bucket_of(dcm_hash("t.B"));
	uint32_t second = dcm_bucket_of(dcm_hash("t.D"));
	dcm_atomic64 *row = dcm_index_row(seg->subscription_index, seg->subscription_row, second);
	dcm_atomic64 *buckets = dcm_subscription_at(seg, slot)->buckets;
	uint64_t of_first = dcm_load(&buckets[first / 64], seq) & ~(1ull << first % 64);
	uint64_t of_second = dcm_load(&buckets[second / 64], seq) & ~(1ull << second % 64);

	DAMAGE(s, row, 0ull, INDEX_LACKS, SUBSCRIPTION, slot, "index bit of the second interface");
	DAMAGE(s, &buckets[second / 64], of_second, INDEX_STRAYS, SUBSCRIPTION, slot,
	       "index bit of a bucket that it does not name");
	DAMAGE(s, &buckets[first / 64], of_first, FIELD, SUBSCRIPTION, slot,
	       "its first interface is of none of its buckets");
	DAMAGE(s, &dcm_endpoint_at(seg, s->endpoint[1].index)->told_at, seg->endpoint.count + 1,
	       FIELD, ENDPOINT, s->endpoint[1].index, "told at a slot that there is not");
}

static void test_names(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	uint32_t index = s->endpoint[2].index;
	struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, index);
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	struct dcm_connection *posted = dcm_connection_at(seg, s->posted.index);

	DAMAGE(s, &names->type.words[0], 0ull, NAME, ENDPOINT, index, "an empty name");
	DAMAGE(s, &names->name.words[31], 1ull << 56, NAME, ENDPOINT, index, "no zero at the end");
	DAMAGE(s, &names->name.words[9], 1ull, NAME, ENDPOINT, index, "bytes behind the zero");
	DAMAGE(s, &names->name.words[0], 0x0a62ull, NAME, ENDPOINT, index, "a control character");
	DAMAGE(s, &names->name.words[0], 0x63ull, HASH, ENDPOINT, index, "another name");
	DAMAGE(s, &endpoint->name_hash, 5ull, HASH, ENDPOINT, index, "another hash");
	DAMAGE(s, &endpoint->type_hash, 5ull, HASH, ENDPOINT, index, "another interface");
	DAMAGE(s, &endpoint->type_hash, 5ull, INDEX_LACKS, ENDPOINT, index, "in another bucket");
	DAMAGE(s, &posted->name.words[0], 0x63ull, HASH, CONNECTION, s->posted.index,
	       "a request's");
	DAMAGE(s, &dcm_process_at(seg, s->server)->name.words[0], 0ull, NAME, PROCESS, s->server,
	       "a process without a name");
}

static void test_fields(struct stage *s)
{
	const struct dcm_segment *seg = &s->w.seg;
	struct dcm_connection *open = dcm_connection_at(seg, s->open.index);
	struct dcm_connection *accepted = dcm_connection_at(seg, s->accepted.index);
	struct dcm_connection *posted = dcm_connection_at(seg, s->posted.index);
	struct dcm_connection *parked = dcm_connection_at(seg, s->parked.index);
	struct dcm_subscription *sub = dcm_subscription_at(seg, s->subscription[0].index);
	uint64_t target = dcm_load(&posted->target, seq);

	DAMAGE(s, &open->client, s->third, OWNER, CONNECTION, s->open.index, "another client");
	DAMAGE(s, &open->server, 500u, FIELD, CONNECTION, s->open.index, "no such server");
	DAMAGE(s, &open->server, 4u, PARTY_DEAD, CONNECTION, s->open.index,
	       "a server that is gone");
	DAMAGE(s, &open->listener, 3u, FIELD, CONNECTION, s->open.index, "no such listener");
	DAMAGE(s, &open->transfer, 9u, FIELD, CONNECTION, s->open.index, "no such transfer");
	DAMAGE(s, &open->ticket, 1ull << 40, FIELD, CONNECTION, s->open.index, "a later ticket");
	DAMAGE(s, &accepted->bytes, 0ull, FIELD, CONNECTION, s->accepted.index, "no bytes");
	DAMAGE(s, &accepted->client, 4u, PARTY_DEAD, CONNECTION, s->accepted.index,
	       "a client that is gone");
	DAMAGE(s, &accepted->server, s->client, OWNER, CONNECTION, s->accepted.index,
	       "another server");
	DAMAGE(s, &posted->target, target + 1, TARGET, CONNECTION, s->posted.index,
	       "waits for a later publication");
	DAMAGE(s, &posted->target, 70ull << 44 | 1, TARGET, CONNECTION, s->posted.index,
	       "waits for an endpoint that is not");
	DAMAGE(s, &posted->target, 60ull << 44 | 1, TARGET, CONNECTION, s->posted.index,
	       "waits for a free endpoint");
	DAMAGE(s, &posted->target, (target & 1ull << 63) | 60ull << 44 | 9, TARGET, CONNECTION,
	       s->posted.index, "waits for a later use of one that is free");
	DAMAGE(s, &parked->target, 0ull, TARGET, CONNECTION, s->parked.index, "target 0");
	DAMAGE(s, &parked->target, 1ull << 63 | 99, TARGET, CONNECTION, s->parked.index,
	       "parked in another use");
	DAMAGE(s, &sub->resync, 2u, FIELD, SUBSCRIPTION, s->subscription[0].index, "resync 2");
	DAMAGE(s, &sub->type_hash, 0ull, FIELD, SUBSCRIPTION, s->subscription[0].index, "no hash");
	DAMAGE(s, dcm_alive_at(&s->w.seg, s->server, 0), 9999u, ALIVE, PROCESS, s->server,
	       "another thread's number");
	DAMAGE(s, dcm_alive_at(&s->w.seg, s->server, 2), 9999u | FUTEX_WAITERS, ALIVE, PROCESS,
	       s->server, "another thread's number for calls that wait");
	DAMAGE(s, dcm_alive_at(&s->w.seg, s->server, dcm_alive_keeper(&s->w.seg, s->client)),
	       9999u | FUTEX_WAITERS, ALIVE, PROCESS, s->server,
	       "another thread's number for a keeper that waits");
	DAMAGE(s, dcm_alive_at(&s->w.seg, s->server, 0), 0u, LEAVING, PROCESS, s->server,
	       "a process that leaves");
}

static void test_ring(struct stage *s)
{
	struct dcm_subscription *sub = dcm_subscription_at(&s->w.seg, s->subscription[0].index);
	struct dcm_ring_view r = dcm_ring_view(&sub->ring, small.ring_shift);
	uint32_t index = s->subscription[0].index;

	DAMAGE(s, r.head, 3ull, RING, SUBSCRIPTION, index, "head before tail");
	DAMAGE(s, r.tail, 6ull, RING, SUBSCRIPTION, index, "more than fits");
	DAMAGE(s, r.tail, ~0ull, RING, SUBSCRIPTION, index, "tail far away");
	DAMAGE(s, &r.cells[0], 0ull, RING, SUBSCRIPTION, index, "an empty cell within");
	DAMAGE(s, &r.cells[1], 71ull, RING, SUBSCRIPTION, index, "a hint at no slot");
	DAMAGE(s, &r.cells[1], 5ull << 32 | 1, RING, SUBSCRIPTION, index, "a cell of another lap");
	DAMAGE(s, &r.cells[3], 7ull, RING, SUBSCRIPTION, index, "a cell filled ahead");
}

/* A request whose endpoint a reaper has taken over, which will refuse it: in transition, no more. */
static void test_seized(struct stage *s)
{
	dcm_atomic64 *word = dcm_slot_word(&s->w.seg.endpoint, s->endpoint[1].index);
	uint64_t was = dcm_load(word, seq);
	struct found found;

	dcm_store(word, dcm_word(dcm_word_generation(was) + 2, s->third, DCM_REAP), seq);
	check(&s->w, &found, 0, 0);
	ok(has(&found, DCM_PROBLEM_REAPED, DCM_CHECK_ENDPOINT, s->endpoint[1].index), "taken over");
	is_uint(0, found.result.damaged + found.result.dead, "and nothing is wrong with that");
	dcm_store(word, was, seq);
}

/* The header, as soon as there is one. */
static void test_header(struct stage *s)
{
	struct dcm_header *h = dcm_segment_header(&s->w.seg);
	struct found found;

	h->magic = DCM_MAGIC;
	h->layout = DCM_LAYOUT;
	h->fingerprint = dcm_layout_fingerprint();
	h->bytes = s->w.bytes;
	h->hash = DCM_HASH_XXH3;
	h->capacity = small;
	world_clean(&s->w, "a header");
	h->capacity.endpoints++;
	check(&s->w, &found, 0, 0);
	ok(has(&found, DCM_PROBLEM_HEADER, DCM_CHECK_HEADER, 0), "found: another capacity");
	h->capacity = small;
}

static void test_dead(struct stage *s)
{
	struct found found;

	world_kill(&s->w, s->server);
	check(&s->w, &found, 2, 0);
	is_uint(0, found.result.damaged, "a death is no damage");
	ok(has(&found, DCM_PROBLEM_DYING, DCM_CHECK_PROCESS, s->server), "found: the dying");
	ok(has(&found, DCM_PROBLEM_OWNER_DEAD, DCM_CHECK_ENDPOINT, s->endpoint[0].index),
	   "found: its endpoint");
	ok(has(&found, DCM_PROBLEM_OWNER_DEAD, DCM_CHECK_LISTENER, s->listener.index),
	   "found: its listener");
	ok(has(&found, DCM_PROBLEM_OWNER_DEAD, DCM_CHECK_CONNECTION, s->taken.index),
	   "found: what it took");
	ok(has(&found, DCM_PROBLEM_PARTY_DEAD, DCM_CHECK_CONNECTION, s->open.index),
	   "found: its open channel");
	ok(!has(&found, DCM_PROBLEM_OWNER_DEAD, DCM_CHECK_ENDPOINT, s->endpoint[2].index),
	   "others are not");
	world_reap(&s->w, s->server, s->third);
	world_clean(&s->w, "the server is reaped");
	world_kill(&s->w, s->client);
	world_reap(&s->w, s->client, s->third);
	world_clean(&s->w, "the client too");
}

/* A process with a number that was a child's of ours. */
static void test_proved(struct stage *s)
{
	struct dcm_process *p = dcm_process_at(&s->w.seg, s->third);
	struct dcm_process_self self = { 0 };
	struct found found;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	dcm_process_describe(&self);
	dcm_store(&p->pid, (uint32_t)pid, relaxed);
	dcm_store(&p->pid_namespace, self.pid_namespace, relaxed);
	check(&s->w, &found, 0, 0);
	if (world_has_pidfds()) {
		ok(has(&found, DCM_PROBLEM_DIED, DCM_CHECK_PROCESS, s->third),
		   "found: the proved dead");
		ok(has(&found, DCM_PROBLEM_OWNER_DEAD, DCM_CHECK_ENDPOINT, s->endpoint[2].index),
		   "found: its endpoint");
	} else {
		skip_block(2, "pidfd_open is denied, and a world has no lock file");
	}
	dcm_store(&p->pid, 0u, relaxed);
	world_clean(&s->w, "it lives after all");
}

struct repair {
	dcm_atomic64 *at;
	uint64_t value;
};

static void *repair_soon(void *argument)
{
	struct repair *repair = argument;

	usleep(20000);
	dcm_store(repair->at, repair->value, seq);
	return NULL;
}

/* What goes away while it is being confirmed was never there. */
static void test_confirm(struct stage *s)
{
	dcm_atomic64 *word = dcm_slot_word(&s->w.seg.endpoint, s->endpoint[2].index);
	uint64_t was = dcm_load(word, seq);
	struct repair repair = { word, was };
	struct found found;
	pthread_t thread;

	dcm_store(word, in_state(was, 5), seq);
	check(&s->w, &found, 0, 0);
	is_uint(1, found.result.damaged, "one look finds it");
	pthread_create(&thread, NULL, repair_soon, &repair);
	check(&s->w, &found, 20, 20 * 1000 * 1000);
	is_uint(0, found.count, "many looks do not");
	pthread_join(thread, NULL);
}

static void test_limit(struct stage *s)
{
	struct found found = { .count = 0 };
	struct dcm_check_options options = { .most = 3, .report = collect, .context = &found };
	void *was = malloc(s->w.bytes);

	memcpy(was, s->w.memory, s->w.bytes);
	memset(s->w.seg.endpoint.slots, 0x55, s->w.seg.endpoint.stride * small.endpoints);
	dcm_check(&s->w.seg, &options, &found.result);
	is_uint(3, found.count, "no more than were asked for");
	ok(found.result.stopped, "and it says so");
	memcpy(s->w.memory, was, s->w.bytes);
	free(was);
	dcm_check(&s->w.seg, NULL, &found.result);
	is_uint(0, found.result.damaged + found.result.dead, "without options");
	ok(!found.result.stopped, "it did not stop");
}

int main(void)
{
	struct stage s;

	plan_lazy();
	populate(&s);
	test_words(&s);
	test_gifts(&s);
	test_groups(&s);
	test_bitmaps(&s);
	test_names(&s);
	test_fields(&s);
	test_ring(&s);
	test_seized(&s);
	test_header(&s);
	test_proved(&s);
	test_confirm(&s);
	test_limit(&s);
	test_dead(&s);
	world_free(&s.w);
	populate(&s);
	test_clean_end(&s);
	world_free(&s.w);
	return 0;
}
