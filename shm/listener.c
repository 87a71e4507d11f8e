/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/listener.h"

#include "shm/bell.h"
#include "shm/park.h"
#include "shm/quota.h"

bool dcm_listener_open(const struct dcm_segment *seg, uint32_t self, struct dcm_ref *out)
{
	struct dcm_listener *listener;

	if (!dcm_quota_claim(seg, &seg->listener, self, out))
		return false;
	listener = dcm_listener_at(seg, out->index);
	dcm_store(&listener->bell, 0u, relaxed);
	dcm_store(&listener->owner, self, relaxed);
	/* A server leaves the bits of its busy channels set. What a client of an earlier use sets from
	   here on is looked at once and found to mean nothing. */
	for (uint32_t i = 0; i < dcm_bitmap_words(seg->connection.count); i++)
		if (dcm_load(&dcm_listener_ready(listener)[i], relaxed) != 0)
			dcm_store(&dcm_listener_ready(listener)[i], 0ull, relaxed);
	dcm_store(&listener->word, dcm_word(out->generation, self, DCM_LISTENER_LIVE), release);
	return true;
}

bool dcm_listener_shut(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t owner,
		       uint32_t by)
{
	if (!dcm_slot_seize(&seg->listener, &ref, owner, DCM_LISTENER_LIVE, by))
		return false;
	dcm_listener_wake(seg, ref);
	dcm_slot_yield(&seg->listener, ref);
	return true;
}

static uint32_t owner_of(const void *listener)
{
	/* relaxed: behind the token, shm/bell.h. */
	return dcm_load(&((const struct dcm_listener *)listener)->owner, relaxed);
}

bool dcm_listener_signal(const struct dcm_segment *seg, uint32_t index, uint32_t connection)
{
	struct dcm_listener *listener = dcm_listener_at(seg, index);
	uint64_t bit = 1ull << connection % 64;
	dcm_atomic64 *word;
	bool known;

	if (listener == NULL || connection >= seg->connection.count)
		return false;
	word = &dcm_listener_ready(listener)[connection / 64];
	/* seq, L1: a bit found set will be cleared later than this, and the ring looked at then. */
	known = (dcm_load(word, DCM_ORDER(signal_looks_in_order, seq, relaxed)) & bit) != 0;
	if (!known)
		DCM_LINE(signal_sets_bit) dcm_or(word, bit);
	known = !dcm_park_wake_one(&listener->ec) && known;
	DCM_LINE(signal_rings) dcm_bell_ring(seg, &listener->bell, owner_of, listener);
	return known;
}

struct dcm_listener_sight dcm_listener_sight(const struct dcm_segment *seg, uint32_t index,
					     uint32_t connection)
{
	struct dcm_listener *listener = dcm_listener_at(seg, index);

	if (listener == NULL || connection >= seg->connection.count)
		return (struct dcm_listener_sight){ .ready = NULL };
	return (struct dcm_listener_sight){
		.ready = &dcm_listener_ready(listener)[connection / 64],
		.ec = &listener->ec,
		.bell = &listener->bell,
		.bit = 1ull << connection % 64,
	};
}

void dcm_listener_mark(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t connection)
{
	struct dcm_listener *listener = dcm_listener_at(seg, ref.index);

	if (listener != NULL && connection < seg->connection.count)
		dcm_or(&dcm_listener_ready(listener)[connection / 64], 1ull << connection % 64);
}

void dcm_listener_wake(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_listener *listener = dcm_listener_at(seg, ref.index);

	if (listener != NULL)
		dcm_park_wake_all(&listener->ec);
}

/* Of the ready bits: how many may be set. */
static uint32_t reached(const struct dcm_segment *seg, uint32_t reach)
{
	return reach < seg->connection.count ? reach : seg->connection.count;
}

/* Of word @w of the ready bits: those below @count, all but that of @skip. What is beyond is left as
   it is: it may be the first call of a channel that was accepted since @count was looked at. */
static uint64_t all_but(uint32_t w, uint32_t count, uint32_t skip)
{
	uint64_t below = count / 64 == w ? (1ull << count % 64) - 1 : ~0ull;

	return skip / 64 == w ? below & ~(1ull << skip % 64) : below;
}

bool dcm_listener_any_but(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t reach,
			  uint32_t skip)
{
	struct dcm_listener *listener = dcm_listener_at(seg, ref.index);
	uint32_t count = reached(seg, reach), words = dcm_bitmap_words(count);

	if (listener == NULL)
		return false;
	for (uint32_t w = 0; w < words; w++)
		/* seq, B1 of shm/bell.h: behind the caller's token. */
		if ((dcm_load(&dcm_listener_ready(listener)[w], seq) & all_but(w, count, skip)) !=
		    0)
			return true;
	return false;
}

static bool take_bit(dcm_atomic64 *word, uint64_t bits, uint32_t *bit)
{
	for (; bits != 0; bits &= bits - 1) {
		*bit = (uint32_t)__builtin_ctzll(bits);
		if (dcm_and(word, ~(1ull << *bit)) & 1ull << *bit)
			return true;
	}
	return false;
}

bool dcm_listener_next_but(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t reach,
			   uint32_t *cursor, uint32_t skip, uint32_t *index)
{
	struct dcm_listener *listener = dcm_listener_at(seg, ref.index);
	uint32_t count = reached(seg, reach), words = dcm_bitmap_words(count);
	uint32_t first = *cursor < count ? *cursor : 0, bit;
	dcm_atomic64 *ready;

	if (listener == NULL || count == 0)
		return false;
	ready = dcm_listener_ready(listener);
	/* Around once: from the cursor to the end, then from the start to the cursor's word. */
	for (uint32_t i = 0; i <= words; i++) {
		uint32_t w = (first / 64 + i) % words;
		uint64_t mask = (i == 0 ? ~0ull << first % 64 : ~0ull) & all_but(w, count, skip);

		/* seq, L2. */
		if (!take_bit(&ready[w], dcm_load(&ready[w], seq) & mask, &bit))
			continue;
		*index = w * 64 + bit;
		*cursor = *index + 1;
		return true;
	}
	return false;
}
