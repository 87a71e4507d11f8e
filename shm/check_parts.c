/* SPDX-License-Identifier: BSD-2-Clause */
/* What is judged by itself: a ring, a process, a target word. */
#include "shm/check.h"

#include <linux/futex.h>

#include "shm/gift.h"
#include "shm/process.h"

enum { LOOKS = 8 };

#define TARGET_PARKED	  (1ull << 63)
#define TARGET_GENERATION ((1ull << DCM_GENERATION_BITS) - 1)

const char *dcm_check_table_name(enum dcm_check_table table)
{
	static const char *const names[] = { "header",	   "process",  "endpoint", "subscription",
					     "connection", "listener", "gift" };

	return (unsigned)table < sizeof names / sizeof names[0] ? names[table] : "?";
}

bool dcm_check_target(uint64_t target, struct dcm_ref *endpoint)
{
	if ((target & TARGET_PARKED) != 0 || target == 0)
		return false;
	*endpoint = (struct dcm_ref){ (uint32_t)(target >> DCM_GENERATION_BITS),
				      target & TARGET_GENERATION };
	return true;
}

bool dcm_check_parked(uint64_t target, uint64_t generation)
{
	return target == (TARGET_PARKED | generation);
}

bool dcm_check_gift(const struct dcm_segment *seg, const dcm_atomic32 *at, const dcm_atomic64 *key,
		    uint32_t owner)
{
	struct dcm_gift gift = { dcm_load(key, acquire), dcm_load(at, acquire) };
	const struct dcm_gift_slot *slot = dcm_gift_at(seg, gift.at - 1);
	uint64_t word = slot != NULL ? dcm_load(&slot->word, seq) : 0;
	uint32_t state = dcm_word_state(word);

	if (gift.at == 0)
		return gift.key == 0;
	return (state == DCM_GIFT_GIVEN || state == DCM_GIFT_REVOKED) &&
	       dcm_word_owner(word) == owner && dcm_load(&slot->key, acquire) == gift.key;
}

bool dcm_check_gift_slot(const struct dcm_segment *seg, uint32_t slot, uint64_t word)
{
	const struct dcm_gift_slot *at = dcm_gift_at(seg, slot);
	uint64_t key = dcm_load(&at->key, acquire);

	return key != 0 && (dcm_word_state(word) != DCM_GIFT_REVOKED ||
			    dcm_gift_revoked(seg, (struct dcm_gift){ key, slot + 1 }));
}

enum dcm_fate dcm_check_fate(const struct dcm_segment *seg, uint32_t index)
{
	const struct dcm_process *p = dcm_process_at(seg, index);
	uint32_t alive;

	if (p == NULL)
		return DCM_FATE_NONE;
	switch (dcm_word_state(dcm_load(&p->word, seq))) {
	case DCM_FREE:
		return DCM_FATE_NONE;
	case DCM_CLAIMED:
		return DCM_FATE_ATTACHING;
	case DCM_REAP:
		return DCM_FATE_REAPED;
	default: /* ALIVE; or damaged, and found to be so elsewhere */
		alive = dcm_load(dcm_alive_at(seg, index, 0), acquire);
		if ((alive & FUTEX_OWNER_DIED) != 0)
			return DCM_FATE_DYING;
		return (alive & FUTEX_TID_MASK) != 0 ? DCM_FATE_ALIVE : DCM_FATE_LEAVING;
	}
}

/* A cell at position @at, which is in the ring (@queued) or not. */
static bool cell_is(uint64_t cell, uint32_t lap, bool queued, uint32_t most)
{
	uint32_t value = (uint32_t)cell;

	return (uint32_t)(cell >> 32) == lap && value <= most && (value != 0) == queued;
}

static bool cells_legal(struct dcm_ring_view r, uint64_t head, uint64_t tail, uint32_t most)
{
	uint64_t cells = 1ull << r.shift;

	for (uint64_t at = head; at != head + cells; at++) {
		uint64_t cell = dcm_load(&r.cells[at & (cells - 1)], seq);
		uint32_t lap = (uint32_t)(at >> r.shift);
		bool legal = cell_is(cell, lap, at - head < tail - head, most);

		/* Filled, and the tail not yet moved over it. */
		if (at == tail || at == head)
			legal |= cell_is(cell, lap, true, most);
		/* Taken, and the head not yet moved; perhaps filled anew. */
		if (at == head)
			legal |= cell_is(cell, lap + 1, false, most) ||
				 cell_is(cell, lap + 1, true, most);
		if (!legal)
			return false;
	}
	return true;
}

bool dcm_check_ring(struct dcm_ring_view r, uint32_t most)
{
	for (int looks = 0; looks < LOOKS; looks++) {
		uint64_t head = dcm_load(r.head, seq), tail = dcm_load(r.tail, seq);
		/* One more than fits: the oldest was taken, and the head not yet moved. */
		bool legal =
			tail - head <= (1ull << r.shift) + 1 && cells_legal(r, head, tail, most);

		/* The cursors only grow, so between equal loads of both nothing else moved. */
		if (legal || (dcm_load(r.head, seq) == head && dcm_load(r.tail, seq) == tail))
			return legal;
	}
	return true;
}
