/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/registry.h"

#include "shm/bell.h"
#include "shm/catalog.h"
#include "shm/index.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/quota.h"
#include "shm/ring.h"

enum { SNAPSHOT_TRIES = 8 };

static dcm_atomic64 *subscription_row(const struct dcm_segment *seg, uint32_t bucket)
{
	return dcm_index_row(seg->subscription_index, seg->subscription_row, bucket);
}

static struct dcm_ring_view ring_of(const struct dcm_segment *seg, struct dcm_subscription *sub)
{
	return dcm_ring_view(&sub->ring, seg->capacity.ring_shift);
}

/* The subscription behind *@cursor in a row, or null: its lines, which its process had last, are on
   their way here while the one before it is told. */
static struct dcm_subscription *next_in(const struct dcm_segment *seg, const dcm_atomic64 *row,
					uint32_t *cursor)
{
	struct dcm_subscription *sub;
	uint32_t at;

	if (!dcm_index_next(row, seg->subscription.count, cursor, &at))
		return NULL;
	sub = dcm_subscription_at(seg, at);
	__builtin_prefetch(&sub->word);
	__builtin_prefetch(&sub->ring.tail, 1);
	return sub;
}

/*
 * While a slot is claimed and written, what the announcement needs is on its way here. Where somebody
 * publishes now and then, none of it is in a cache, and each line waited for alone delays who is told.
 */
static void will_announce(const struct dcm_segment *seg, uint64_t type_hash, uint64_t name_hash)
{
	const dcm_atomic64 *row = subscription_row(seg, dcm_bucket_of(type_hash));
	uint32_t cursor = 0;

	__builtin_prefetch(dcm_registry_ec(seg, type_hash, 0), 1);
	__builtin_prefetch(dcm_registry_ec(seg, type_hash, name_hash), 1);
	(void)next_in(seg, row, &cursor);
}

bool dcm_registry_reserve(const struct dcm_segment *seg, uint32_t self,
			  const struct dcm_endpoint_key *key, struct dcm_ref *out)
{
	struct dcm_endpoint_names *names;
	struct dcm_endpoint *endpoint;

	will_announce(seg, key->type_hash, key->name_hash);
	if (!dcm_quota_claim_near(seg, &seg->endpoint, self, dcm_catalog_home(seg, key->type_hash),
				  DCM_REGION, out))
		return false;
	endpoint = dcm_endpoint_at(seg, out->index);
	names = dcm_endpoint_names_at(seg, out->index);
	/* release, R3. */
	dcm_store(&endpoint->type_hash, key->type_hash, release);
	dcm_store(&endpoint->name_hash, key->name_hash, release);
	dcm_store(&endpoint->sid, key->sid, release);
	dcm_store(&endpoint->published_ns, (uint64_t)dcm_park_now(), release);
	dcm_store(&endpoint->gift_key, key->gift.key, release);
	dcm_store(&endpoint->gift, key->gift.at, release);
	dcm_store(&endpoint->bell, 0u, release);
	dcm_store(&endpoint->told_at, key->told_at, release);
	dcm_name_store(&names->type, key->type);
	dcm_name_store(&names->name, key->name);
	dcm_catalog_list(seg, out->index, key->type_hash, key->name_hash);
	return true;
}

void dcm_registry_show(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, ref.index);

	/* seq, R1. Dying before this line leaves nothing to see; after it, an endpoint whose
	   reaper announces its end. */
	dcm_store(&endpoint->word, dcm_word(ref.generation, self, DCM_ENDPOINT_LIVE),
		  DCM_ORDER(publish_before_looking, seq, release));
	dcm_registry_announce(seg, ref.index);
}

bool dcm_registry_publish(const struct dcm_segment *seg, uint32_t self,
			  const struct dcm_endpoint_key *key, struct dcm_ref *out)
{
	if (!dcm_registry_reserve(seg, self, key, out))
		return false;
	dcm_registry_show(seg, self, *out);
	return true;
}

/* What an endpoint says that a subscription can be about. */
struct subject {
	uint64_t type_hash, name_hash, sid;
	uint32_t index;
};

/* Could a subscription want to hear of that: no; as of any name; as of this one. */
enum wanted { UNWANTED, WANTED_OF_ANY, WANTED_OF_ONE };

/*
 * What it says is of the use that was found ACTIVE, or of a later one, which looks at everything
 * behind the announcer's change.
 */
static enum wanted wants(const struct dcm_subscription *sub, const struct subject *of)
{
	uint64_t name_hash = dcm_load(&sub->name_hash, acquire), sid = dcm_load(&sub->sid, acquire);

	if ((dcm_load(&sub->types, acquire) == 1 &&
	     dcm_load(&sub->type_hash, acquire) != of->type_hash) ||
	    (name_hash != 0 && name_hash != of->name_hash) || (sid != 0 && sid != of->sid))
		return UNWANTED;
	return name_hash == 0 ? WANTED_OF_ANY : WANTED_OF_ONE;
}

static enum wanted hint(const struct dcm_segment *seg, struct dcm_subscription *sub,
			const struct subject *of)
{
	enum wanted wanted = UNWANTED;

	if (dcm_word_state(dcm_load(&sub->word, seq)) == DCM_SUBSCRIPTION_ACTIVE)
		wanted = wants(sub, of);
	if (wanted == UNWANTED)
		return UNWANTED;
	if (dcm_ring_push(ring_of(seg, sub), of->index + 1) != DCM_RING_OK) {
		/* Dying before this line loses the hint, but what it was about is our own endpoint:
		   our reaper gives the hint again. */
		DCM_LINE(overflow_is_resync) dcm_store(&sub->resync, 1u, seq);
		dcm_add(&sub->resyncs, 1u);
		dcm_add(&dcm_segment_header(seg)->overflows, 1ull);
	}
	DCM_LINE(hint_wakes_group) dcm_park_wake_all(&sub->ec);
	DCM_LINE(hint_rings) dcm_bell_ring(seg, &sub->bell, dcm_slot_owner, sub);
	return wanted;
}

dcm_atomic32 *dcm_registry_ec(const struct dcm_segment *seg, uint64_t type_hash, uint64_t name_hash)
{
	uint64_t key = name_hash == 0 ? type_hash : dcm_catalog_key(type_hash, name_hash);

	return dcm_bucket_ec(seg, dcm_bucket_of(key));
}

void dcm_registry_announce(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	/* relaxed: written by ourselves, or by a process that is dead by its alive word; if the slot
	   is another's by now, that one's reaper has announced already what we are about. */
	const struct subject of = { .type_hash = dcm_load(&endpoint->type_hash, relaxed),
				    .name_hash = dcm_load(&endpoint->name_hash, relaxed),
				    .sid = dcm_load(&endpoint->sid, relaxed),
				    .index = index };
	const dcm_atomic64 *row = subscription_row(seg, dcm_bucket_of(of.type_hash));
	bool of_any = false, of_one = false; /* names */
	uint32_t cursor = 0;
	struct dcm_subscription *sub, *next = next_in(seg, row, &cursor);

	while ((sub = next) != NULL) {
		enum wanted wanted;

		next = next_in(seg, row, &cursor);
		wanted = hint(seg, sub, &of);
		of_any |= wanted == WANTED_OF_ANY;
		of_one |= wanted == WANTED_OF_ONE;
	}
	if (of_any) {
		DCM_LINE(hint_wakes_bucket)
		dcm_park_wake_all(dcm_registry_ec(seg, of.type_hash, 0));
	}
	if (of_one) {
		DCM_LINE(hint_wakes_name)
		dcm_park_wake_all(dcm_registry_ec(seg, of.type_hash, of.name_hash));
	}
}

bool dcm_registry_retire(const struct dcm_segment *seg, struct dcm_ref *ref, uint32_t owner,
			 uint32_t by)
{
	/* Dying behind this line leaves REAP under a dead owner: its reaper announces again. */
	if (!dcm_slot_seize(&seg->endpoint, ref, owner, DCM_ENDPOINT_LIVE, by))
		return false;
	DCM_LINE(retire_announces) dcm_registry_announce(seg, ref->index);
	return true;
}

void dcm_registry_remove(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, ref.index);
	uint64_t type_hash, name_hash;

	if (endpoint == NULL)
		return;
	/* relaxed: written by ourselves, or by a dead process before we proved it dead. */
	type_hash = dcm_load(&endpoint->type_hash, relaxed);
	name_hash = dcm_load(&endpoint->name_hash, relaxed);
	DCM_LINE(bit_cleared_before_free) dcm_catalog_unlist(seg, ref.index, type_hash, name_hash);
	dcm_slot_yield(&seg->endpoint, ref);
}

static bool live_word(const struct dcm_segment *seg, uint64_t word)
{
	return dcm_word_state(word) == DCM_ENDPOINT_LIVE &&
	       dcm_process_alive(seg, dcm_word_owner(word));
}

bool dcm_registry_is_live(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, ref.index);
	uint64_t word = endpoint != NULL ? dcm_load(&endpoint->word, seq) : 0;

	return dcm_word_generation(word) == ref.generation && live_word(seg, word);
}

/* Everything but the word, while the word is @word; the caller looks at the word again. */
static void copy_view(const struct dcm_segment *seg, uint32_t index, uint64_t word,
		      struct dcm_endpoint_view *view)
{
	const struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	const struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, index);
	uint32_t owner = dcm_word_owner(word);

	view->endpoint = (struct dcm_ref){ index, dcm_word_generation(word) };
	view->process = (struct dcm_ref){ owner, dcm_process_generation(seg, owner) };
	/* acquire, pairs R3: if any of this is of a later use, so is the word looked at next. */
	view->type_hash = dcm_load(&endpoint->type_hash, acquire);
	view->name_hash = dcm_load(&endpoint->name_hash, acquire);
	view->sid = dcm_load(&endpoint->sid, acquire);
	view->gift.key = dcm_load(&endpoint->gift_key, acquire);
	view->gift.at = dcm_load(&endpoint->gift, acquire);
	dcm_name_load(view->type, &names->type);
	dcm_name_load(view->name, &names->name);
	dcm_name_load(view->server, &dcm_process_at(seg, owner)->name);
}

void dcm_registry_fetch(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	const struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, index);

	if (endpoint == NULL)
		return;
	__builtin_prefetch(&endpoint->word);
	__builtin_prefetch(&names->type);
	__builtin_prefetch(&names->name);
}

bool dcm_registry_may_be(const struct dcm_segment *seg, uint32_t index, uint64_t type_hash,
			 uint64_t name_hash)
{
	const struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);

	/* acquire, pairs R3. What changes them tells of it when it is visible. */
	return endpoint != NULL && dcm_load(&endpoint->type_hash, acquire) == type_hash &&
	       (name_hash == 0 || dcm_load(&endpoint->name_hash, acquire) == name_hash);
}

bool dcm_registry_look(const struct dcm_segment *seg, uint32_t index, uint64_t type_hash,
		       struct dcm_endpoint_view *view)
{
	struct dcm_endpoint *endpoint = dcm_endpoint_at(seg, index);
	uint64_t word, hash;

	if (endpoint == NULL)
		return false;
	word = dcm_load(&endpoint->word, seq);
	/* A word that keeps changing belongs to somebody who will give a hint when it stands. */
	for (int tries = 0; tries < SNAPSHOT_TRIES; tries++) {
		uint64_t before = word;

		if (!live_word(seg, word))
			return false;
		hash = dcm_load(&endpoint->type_hash, acquire);
		if (type_hash == 0 || hash == type_hash)
			copy_view(seg, index, word, view);
		word = dcm_load(&endpoint->word, seq);
		if (DCM_ORDER(copy_stands, word == before, true))
			return type_hash == 0 || hash == type_hash;
	}
	return false;
}

/* What is still in the ring is of an earlier use, or a hint too many for this one. */
static void empty_ring(const struct dcm_segment *seg, struct dcm_subscription *sub)
{
	uint32_t ignored;

	for (uint32_t i = 0; i < 1u << seg->capacity.ring_shift; i++)
		if (dcm_ring_pop(ring_of(seg, sub), &ignored) != DCM_RING_OK)
			break;
}

/* In CLAIMED: the rows first, then the bits, for whoever takes it apart if we die in between. */
static void list_in_rows(const struct dcm_segment *seg, uint32_t index, const uint64_t *type_hashes,
			 size_t count)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, index);
	uint64_t buckets[DCM_BUCKETS / 64] = { 0 };
	uint32_t cursor = 0, bucket;

	for (size_t i = 0; i < count; i++) {
		bucket = dcm_bucket_of(type_hashes[i]);
		buckets[bucket / 64] |= 1ull << bucket % 64;
	}
	for (uint32_t i = 0; i < DCM_BUCKETS / 64; i++)
		dcm_store(&sub->buckets[i], buckets[i], relaxed);
	while (dcm_index_next(sub->buckets, DCM_BUCKETS, &cursor, &bucket))
		dcm_index_set(subscription_row(seg, bucket), index);
}

void dcm_registry_unlist(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_subscription *sub = dcm_subscription_at(seg, index);
	uint32_t cursor = 0, bucket;

	/* Written by ourselves, or by a dead process before we proved it dead. */
	while (dcm_index_next(sub->buckets, DCM_BUCKETS, &cursor, &bucket))
		dcm_index_clear(subscription_row(seg, bucket), index);
}

bool dcm_registry_subscribe_to(const struct dcm_segment *seg, uint32_t self,
			       const struct dcm_interest *interest, struct dcm_ref *out)
{
	struct dcm_subscription *sub;

	if (!dcm_quota_claim(seg, &seg->subscription, self, out))
		return false;
	sub = dcm_subscription_at(seg, out->index);
	/* release: an announcer that finds any of it finds all that its slot's owner did before. */
	dcm_store(&sub->type_hash, interest->type_hashes[0], release);
	dcm_store(&sub->name_hash, interest->name_hash, release);
	dcm_store(&sub->sid, interest->sid, release);
	dcm_store(&sub->types, (uint32_t)interest->count, release);
	dcm_store(&sub->resyncs, 0u, relaxed);
	dcm_store(&sub->bell, 0u, relaxed);
	empty_ring(seg, sub);
	DCM_LINE(subscribe_looks_at_all) dcm_store(&sub->resync, 1u, relaxed);
	list_in_rows(seg, out->index, interest->type_hashes, interest->count);
	/* seq, R2: before the first look that dcm_registry_hint() asks for. */
	dcm_store(&sub->word, dcm_word(out->generation, self, DCM_SUBSCRIPTION_ACTIVE),
		  DCM_ORDER(subscribe_before_looking, seq, release));
	return true;
}

bool dcm_registry_subscribe(const struct dcm_segment *seg, uint32_t self, uint64_t type_hash,
			    struct dcm_ref *out)
{
	const struct dcm_interest interest = { .type_hashes = &type_hash, .count = 1 };

	return dcm_registry_subscribe_to(seg, self, &interest, out);
}

bool dcm_registry_unsubscribe(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t owner,
			      uint32_t by)
{
	if (!dcm_slot_seize(&seg->subscription, &ref, owner, DCM_SUBSCRIPTION_ACTIVE, by))
		return false;
	dcm_registry_unlist(seg, ref.index);
	dcm_slot_yield(&seg->subscription, ref);
	return true;
}

enum dcm_hint dcm_registry_hint(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t *index)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, ref.index);
	uint32_t value;
	bool popped;

	if (sub == NULL)
		return DCM_HINT_NONE;
	popped = dcm_load(&sub->resync, seq) == 0 &&
		 dcm_ring_pop(ring_of(seg, sub), &value) == DCM_RING_OK;
	/* Again behind the pop: a hint pushed after another was lost must not overtake the resync
	   that stands for the lost one. */
	if (dcm_load(&sub->resync, DCM_ORDER(resync_before_hint, seq, relaxed)) != 0) {
		/* Cleared before the look, so that a loss during the look asks for another. */
		dcm_swap(&sub->resync, 0u);
		return DCM_HINT_ALL;
	}
	if (!popped)
		return DCM_HINT_NONE;
	if (DCM_ORDER(hint_in_table, value - 1 >= seg->endpoint.count, false))
		return DCM_HINT_ALL; /* not a slot: somebody scribbled, trust nothing */
	*index = value - 1;
	return DCM_HINT_ONE;
}

void dcm_registry_resync(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_subscription *sub = dcm_subscription_at(seg, ref.index);

	if (sub != NULL)
		dcm_store(&sub->resync, 1u, seq);
}
