/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/gift.h"

#include "shm/quota.h"

bool dcm_gift_make(const struct dcm_segment *seg, uint32_t self, uint64_t key, struct dcm_ref *out)
{
	struct dcm_gift_slot *slot;

	if (!dcm_quota_claim(seg, &seg->gift, self, out))
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

	if (slot == NULL)
		return;
	/* seq, G1. */
	DCM_LINE(gift_is_revoked)
	dcm_store(&slot->revoked, key, seq);
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

	return slot != NULL && gift.key != 0 && dcm_load(&slot->revoked, seq) == gift.key;
}
