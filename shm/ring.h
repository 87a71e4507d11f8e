/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ring - a queue of small numbers that any process may die in the middle of
 *
 *              push   pop      (- = safe together, from any process and thread)
 *   push        -      -
 *   pop         -      -
 *
 * A cell is lap:32 | value:32, value 0 is empty. An entry is there, whole, with the one
 * compare-and-swap that puts it in its cell, and gone with the one that takes it out; tail and
 * head only say where to look, and anybody moves them on for somebody who died or sleeps.
 */
#ifndef DCM_SHM_RING_H
#define DCM_SHM_RING_H

#include "shm/layout.h"

enum { DCM_RING_OK = 0, DCM_RING_FULL = 1, DCM_RING_EMPTY = 2 };

/* A ring as this process sees it: the size is private. */
struct dcm_ring_view {
	dcm_atomic64 *tail, *head, *cells;
	uint32_t shift; /* cells: 1 << shift */
};

static inline struct dcm_ring_view dcm_ring_view(struct dcm_ring *ring, uint32_t shift)
{
	return (struct dcm_ring_view){ .tail = &ring->tail,
				       .head = &ring->head,
				       .cells = (dcm_atomic64 *)(void *)(ring + 1),
				       .shift = shift };
}

/*
 * dcm_ring_push() - append @value
 * @value: not 0
 * Progress: wait-free: a bounded number of tries.
 * Return: DCM_RING_OK, or DCM_RING_FULL: no room, or too many others at once, or a damaged ring.
 */
int dcm_ring_push(struct dcm_ring_view r, uint32_t value);

/*
 * dcm_ring_pop() - take the oldest value
 * Progress: wait-free: a bounded number of tries.
 * Return: DCM_RING_OK with *@value, or DCM_RING_EMPTY (also when others took all it saw).
 */
int dcm_ring_pop(struct dcm_ring_view r, uint32_t *value);

/* dcm_ring_depth() - about how many are in it */
uint32_t dcm_ring_depth(struct dcm_ring_view r);

#endif
