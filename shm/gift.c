/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/gift.h"

#include "shm/quota.h"

/* Places that are tried before any that is free. */
enum { TRIES = 4 };

/*
 * At a place that follows from the key, and so is as rarely as can be one that was used a short while
 * ago: what was revoked there is remembered the longer.
 */
static bool claim(const struct dcm_segment *seg, uint32_t self, uint64_t key, struct dcm_ref *out)
{
	uint64_t from = (key * 0x9e3779b97f4a7c15ull) >> 32;
	bool claimed = false;

	for (uint32_t i = 0; i < TRIES && !claimed; i++)
		claimed = dcm_slot_claim_at(&seg->gift, self,
					    (uint32_t)((from + i) % seg->gift.count), out);
	if (!claimed)
		return dcm_quota_claim(seg, &seg->gift, self, out);
	if (!dcm_quota_exceeded(seg, &seg->gift, self))
		return true;
	dcm_slot_yield(&seg->gift, *out);
	return false;
}

bool dcm_gift_make(const struct dcm_segment *seg, uint32_t self, uint64_t key, struct dcm_ref *out)
{
	struct dcm_gift_slot *slot;

	if (!claim(seg, self, key, out))
		return false;
	slot = dcm_gift_at(seg, out->index);
	dcm_store(&slot->key, key, release);
	/* Dying before this line, or before anything names the gift, leaves a slot to the reaper. */
	dcm_store(&slot->word, dcm_word(out->generation, self, DCM_GIFT_GIVEN), release);
	return true;
}

void dcm_gift_revoke(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref, uint64_t key)
{
	struct dcm_gift_slot *slot = dcm_gift_at(seg, ref.index);
	uint32_t before;

	if (slot == NULL)
		return;
	before = dcm_load(&slot->revocations, relaxed);
	/* Counted first: dying before the next line leaves the oldest where it is. */
	dcm_store(&slot->revocations, before + 1, relaxed);
	/* seq, G1. */
	DCM_LINE(gift_is_revoked)
	dcm_store(&slot->revoked[before % DCM_GIFT_REVOKED_KEYS], key, seq);
	/* For those who look at the table: it is no different for anybody else. */
	(void)dcm_slot_step(&seg->gift, ref, self, DCM_GIFT_GIVEN, self, DCM_GIFT_REVOKED);
}

void dcm_gift_drop(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref)
{
	if (dcm_slot_seize(&seg->gift, &ref, self, DCM_GIFT_GIVEN, self))
		dcm_slot_yield(&seg->gift, ref);
}

void dcm_gift_leave(const struct dcm_segment *seg, uint32_t self)
{
	for (uint32_t i = 0; i < seg->gift.count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(&seg->gift, i), relaxed);
		struct dcm_ref ref = { i, dcm_word_generation(word) };

		if (dcm_word_owner(word) == self && dcm_word_state(word) != DCM_FREE &&
		    dcm_slot_seize(&seg->gift, &ref, self, dcm_word_state(word), self))
			dcm_slot_yield(&seg->gift, ref);
	}
}

bool dcm_gift_revoked(const struct dcm_segment *seg, struct dcm_gift gift)
{
	const struct dcm_gift_slot *slot = dcm_gift_at(seg, gift.at - 1);
	bool revoked = false;

	for (uint32_t i = 0; slot != NULL && gift.key != 0 && i < DCM_GIFT_REVOKED_KEYS; i++)
		revoked = revoked || dcm_load(&slot->revoked[i], seq) == gift.key;
	return revoked;
}
