/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Position p, counted from 0, uses cell p % cells in lap p / cells. The cell reads
 *	(lap, 0)	free for the push of this lap
 *	(lap, v)	holds v
 *	(lap + 1, 0)	taken; free for the next lap
 * All accesses to cells are read-modify-writes or seq loads, and each carries the whole entry, so
 * there is no edge to name here: what an entry refers to is checked by whoever looks there.
 */
#include "shm/ring.h"

static uint64_t cell(uint32_t lap, uint32_t value)
{
	return (uint64_t)lap << 32 | value;
}

/* A private bound on tries: as many as there are others who can be faster, then give up. */
static uint32_t tries_max(struct dcm_ring_view r)
{
	return DCM_ORDER(ring_tries_end, (2u << r.shift) + 8, UINT32_MAX);
}

/* From @at to the next position, unless somebody did it already. */
static void move_on(dcm_atomic64 *cursor, uint64_t at)
{
	/* Looked at first: a line that others still read is not taken from them in vain. */
	if (dcm_load(cursor, seq) == at)
		dcm_cas(cursor, &at, at + 1);
}

int dcm_ring_push(struct dcm_ring_view r, uint32_t value)
{
	uint64_t mask = (1ull << r.shift) - 1;

	for (uint32_t i = 0; i < tries_max(r); i++) {
		uint64_t tail = dcm_load(r.tail, seq);
		uint32_t lap = (uint32_t)(tail >> r.shift);
		dcm_atomic64 *at = &r.cells[tail & mask];
		uint64_t seen = dcm_load(at, seq);
		int32_t ahead = (int32_t)((uint32_t)(seen >> 32) - lap);

		if (ahead < 0)
			return DCM_RING_FULL; /* the entry of the last lap is still there */
		if (seen == cell(lap, 0) && dcm_cas(at, &seen, cell(lap, value))) {
			/* Dying here leaves the entry whole and the tail behind: others move it. */
			DCM_LINE(push_moves_tail) move_on(r.tail, tail);
			return DCM_RING_OK;
		}
		/* Filled, or filled and taken again: whoever did that may be dead. */
		if (seen != cell(lap, 0))
			DCM_LINE(push_helps_tail) move_on(r.tail, tail);
	}
	return DCM_RING_FULL;
}

int dcm_ring_pop(struct dcm_ring_view r, uint32_t *value)
{
	uint64_t mask = (1ull << r.shift) - 1;

	for (uint32_t i = 0; i < tries_max(r); i++) {
		uint64_t head = dcm_load(r.head, seq);
		uint32_t lap = (uint32_t)(head >> r.shift);
		dcm_atomic64 *at = &r.cells[head & mask];
		uint64_t seen = dcm_load(at, seq);
		int32_t ahead = (int32_t)((uint32_t)(seen >> 32) - lap);

		if (ahead < 0 || seen == cell(lap, 0))
			return DCM_RING_EMPTY;
		if (ahead == 0 && dcm_cas(at, &seen, cell(lap + 1, 0))) {
			/* The pusher may have died before it moved the tail over this entry. */
			DCM_LINE(pop_helps_tail) move_on(r.tail, head);
			DCM_LINE(pop_moves_head) move_on(r.head, head);
			*value = (uint32_t)seen;
			return DCM_RING_OK;
		}
		/* Taken: by a thread that may never come to move the head. */
		if ((int32_t)((uint32_t)(seen >> 32) - lap) > 0) {
			move_on(r.tail, head);
			DCM_LINE(pop_helps_head) move_on(r.head, head);
		}
	}
	return DCM_RING_EMPTY;
}

uint32_t dcm_ring_depth(struct dcm_ring_view r)
{
	uint64_t head = dcm_load(r.head, relaxed), tail = dcm_load(r.tail, relaxed);
	uint64_t depth = tail - head, cells = 1ull << r.shift;

	/* One more than fits: the oldest is taken, and the head not yet moved over it. */
	if (depth == cells + 1)
		return (uint32_t)cells;
	return depth < cells + 1 ? (uint32_t)depth : 0;
}
