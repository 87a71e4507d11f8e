/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton - of the threads of one process that wait for another, those that nobody woke
 *
 * When a process dies the kernel wakes one of the threads of each process that sleep on its alive
 * words, and that thread wakes the others (shm/park.c). It may never come to that: a handler of the
 * host's keeps it, or the host has cancelled it. Nobody else wakes them then: the slot is free by
 * and by, or a newcomer's, and its words say nothing of who sleeps there.
 *
 * So the keeper of the process that waits looks whether the slots are in the same hands as when it
 * looked last, at the latest once a second while calls are blocked, and wakes all calls of its own
 * that may sleep on one that is not. A call that falls asleep later finds the change by itself.
 */
#ifndef DCM_SHM_BATON_H
#define DCM_SHM_BATON_H

#include "shm/segment.h"

/* Whose each slot was at the keeper's last look; private. All zero before the first. */
struct dcm_hands {
	uint64_t of[DCM_PROCESSES_MAX];
};

/* dcm_baton_look() - wake the calls of process @self that wait for one that is gone */
void dcm_baton_look(const struct dcm_segment *seg, uint32_t self, struct dcm_hands *hands);

#endif
