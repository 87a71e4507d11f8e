/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slot - the state word that every table's slot begins with, and the claiming of free slots
 *
 *   word = generation:44 | owner:16 | state:4
 *
 * The word changes only by compare-and-swap from the exact value that was read. The owner is the
 * index of the process that must take the next step; nobody else does it for that process until it
 * is proved dead, and then the reaper makes itself the owner first. The generation rises each time
 * a free slot is claimed, so a reference (index, generation) names one use of a slot for ever.
 *
 *            claim            ...            yield
 *   FREE(g) -------> CLAIMED(g+1) -> ... -> FREE(g+1)
 *
 * A reaper that takes a slot into REAP for a dead owner raises the generation with it. So no word
 * ever comes back: whoever was stopped before a step from a word that he read finds another one.
 *
 * The bitmap of used slots is exact whenever nobody is between two steps: an owner sets its bit
 * after the claim and clears it before the yield, so the owner of the slot owns the bit.
 */
#ifndef DCM_SHM_SLOT_H
#define DCM_SHM_SLOT_H

#include "shm/atomics.h"

/* States common to all tables; those between are the table's own. */
enum {
	DCM_FREE = 0,
	DCM_CLAIMED = 1,
	DCM_REAP = 15, /* being taken apart by its owner; gone, for everybody else */
};

#define DCM_GENERATION_BITS 44

struct dcm_ref {
	uint32_t index;
	uint64_t generation; /* 0: refers to nothing */
};

static inline uint64_t dcm_word(uint64_t generation, uint32_t owner, uint32_t state)
{
	return generation << 20 | (uint64_t)(owner & 0xffff) << 4 | (state & 15);
}

static inline uint64_t dcm_word_generation(uint64_t word)
{
	return word >> 20;
}

static inline uint32_t dcm_word_owner(uint64_t word)
{
	return (uint32_t)(word >> 4) & 0xffff;
}

static inline uint32_t dcm_word_state(uint64_t word)
{
	return (uint32_t)word & 15;
}

/* dcm_slot_owner() - of the slot whose state word @slot begins with, now */
static inline uint32_t dcm_slot_owner(const void *slot)
{
	/* relaxed: who asks for more than that compares the word. */
	return dcm_word_owner(dcm_load((const dcm_atomic64 *)slot, relaxed));
}

/* A table as this process sees it: bounds from the private copy of the capacities. */
struct dcm_table {
	unsigned char *slots; /* the state word is the first thing in each */
	uint64_t stride;
	uint32_t count;
	dcm_atomic64 *used;
};

/* The slot at @index; null when there is no such slot. */
static inline void *dcm_slot(const struct dcm_table *t, uint32_t index)
{
	return DCM_ORDER(slot_in_table, index < t->count, true) ? t->slots + t->stride * index
								: NULL;
}

static inline dcm_atomic64 *dcm_slot_word(const struct dcm_table *t, uint32_t index)
{
	return dcm_slot(t, index);
}

/*
 * dcm_slot_claim_from() - take a free slot for @owner
 * @from: where to look first: any number, best one near which there was a free slot lately
 * Progress: lock-free; one pass over the bitmap, a second if others were faster.
 * Return: true with *@out set and the slot CLAIMED, or false: the table is full.
 */
bool dcm_slot_claim_from(const struct dcm_table *t, uint32_t owner, uint32_t from,
			 struct dcm_ref *out);

/* dcm_slot_claim_within() - the same, of the @slots from @first on alone; both are whole words */
bool dcm_slot_claim_within(const struct dcm_table *t, uint32_t owner, uint32_t first,
			   uint32_t slots, struct dcm_ref *out);

/* dcm_slot_claim() - the same, from the beginning */
static inline bool dcm_slot_claim(const struct dcm_table *t, uint32_t owner, struct dcm_ref *out)
{
	return dcm_slot_claim_from(t, owner, 0, out);
}

/*
 * dcm_slot_claim_at() - take the slot at @index for @owner if it is free
 * Return: true with *@out set and the slot CLAIMED, or false.
 */
bool dcm_slot_claim_at(const struct dcm_table *t, uint32_t owner, uint32_t index,
		       struct dcm_ref *out);

/*
 * dcm_slot_step() - one step of a slot: from (@generation, @owner, @state) to @next under @next_owner
 * Return: true if this call did it; false if the word was not exactly that.
 */
bool dcm_slot_step(const struct dcm_table *t, struct dcm_ref ref, uint32_t owner, uint32_t state,
		   uint32_t next_owner, uint32_t next);

/*
 * dcm_slot_seize() - from (@owner, @state) into REAP under @by, as the last use or as a reaper
 * Return: true if this call did it; a reaper's *@ref is then of the raised generation.
 */
bool dcm_slot_seize(const struct dcm_table *t, struct dcm_ref *ref, uint32_t owner, uint32_t state,
		    uint32_t by);

/* dcm_slot_yield() - give back a slot that @owner owns in any state: clears its bit, then FREE. */
void dcm_slot_yield(const struct dcm_table *t, struct dcm_ref ref);

#endif
