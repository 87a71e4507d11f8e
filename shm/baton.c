/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/baton.h"

#include "shm/park.h"
#include "shm/process.h"

/* Differs when the slot is another process's, or when that process has died. */
static uint64_t hands_at(const struct dcm_segment *seg, uint32_t index)
{
	/* seq, as all that asks for a generation. Of a free slot, too: its last one counts. */
	uint64_t word = dcm_load(dcm_slot_word(&seg->process, index), seq);
	uint64_t use = DCM_ORDER(baton_of_that_use, dcm_word_generation(word), 0ull);

	return use << 1 | dcm_process_alive(seg, index);
}

void dcm_baton_look(const struct dcm_segment *seg, uint32_t self, struct dcm_hands *hands)
{
	for (uint32_t i = 0; i < seg->process.count; i++) {
		uint64_t now = hands_at(seg, i);

		if (now == hands->of[i])
			continue;
		/* After the change was seen: who slept before it is woken, and looks again. */
		hands->of[i] = now;
		DCM_LINE(baton_is_passed_on)
		dcm_park_wake_word(dcm_alive_at(seg, i, dcm_alive_calls(self)));
	}
}

void dcm_baton_pass(dcm_atomic32 *ec)
{
	DCM_LINE(wake_is_passed_on) dcm_park_wake_one(ec);
}
