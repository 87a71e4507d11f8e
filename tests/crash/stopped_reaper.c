/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reaper is stopped between reading a slot's word and its step, for so long that two others die
 * over the same slot and the first one's index is another process's. What it then tries must fail.
 */
#include <stdlib.h>
#include <string.h>

#include "shm/process.h"
#include "shm/segment.h"
#include "tests/tap.h"

enum { DEAD = 1, SECOND = 2, PROCESSES = 4 };

static _Alignas(4096) unsigned char memory[64 * 4096];
static struct dcm_segment seg;

static struct dcm_ref join(uint32_t index)
{
	struct dcm_ref ref;

	if (!dcm_slot_claim_at(&seg.process, index, index, &ref))
		bail("no process slot %u", index);
	dcm_store(dcm_slot_word(&seg.process, index),
		  dcm_word(ref.generation, index, DCM_PROCESS_ALIVE), seq);
	return ref;
}

static uint64_t word_of(struct dcm_ref ref)
{
	return dcm_load(dcm_slot_word(&seg.listener, ref.index), seq);
}

int main(void)
{
	struct dcm_capacity capacity = { .processes = PROCESSES,
					 .endpoints = 1,
					 .subscriptions = 1,
					 .connections = 1,
					 .listeners = 1,
					 .ring_shift = 1 };
	struct dcm_ref first, newcomer, slot;
	uint64_t read, tried;

	plan_lazy();
	dcm_mutant = getenv("DCM_MUTANT");
	memset(memory, 0, sizeof memory);
	if (!dcm_segment_view(&seg, memory, sizeof memory, &capacity))
		bail("the segment does not fit");
	first = join(DEAD);
	join(SECOND);

	/* The first reaper takes a slot over, and dies. A second reads its word, and is stopped. */
	dcm_slot_claim(&seg.listener, 0, &slot);
	ok(dcm_slot_seize(&seg.listener, &slot, 0, DCM_CLAIMED, DEAD), "taken from the owner");
	read = word_of(slot);
	ok(dcm_process_owned(&seg, read, first), "the slot is the first reaper's");

	/* A third goes on, and dies too; somebody new gets the first one's index, and reaps. */
	ok(dcm_slot_seize(&seg.listener, &slot, DEAD, DCM_REAP, SECOND), "taken from the first");
	dcm_slot_yield(&seg.process, first);
	newcomer = join(DEAD);
	ok(newcomer.generation > first.generation, "the index is another's");
	ok(dcm_slot_seize(&seg.listener, &slot, SECOND, DCM_REAP, DEAD), "taken from the second");

	/* The stopped one goes on, with what it read when the slot was the first reaper's. */
	ok(word_of(slot) != read, "the word did not come back");
	tried = read;
	ok(!dcm_cas(dcm_slot_word(&seg.listener, slot.index), &tried, read + 1),
	   "its step finds another word");
	return 0;
}
