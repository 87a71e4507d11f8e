/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * baton - threads of a process that sleep on, because the one that was woken is kept
 *
 * Whoever is woken for others as well may never come to it: a handler of the host's keeps it, or the
 * host has cancelled it. So the keeper of the process that waits looks, at the latest once a second
 * while calls are blocked, whether somebody is to be woken in its stead.
 *
 * When a process dies the kernel wakes one of the threads of each process that sleep on its alive
 * words, and that thread wakes the others (shm/park.c). Nobody else wakes them: the slot is free by
 * and by, or a newcomer's, and its words say nothing of who sleeps there. The keeper looks whether
 * the slots are in the same hands as when it looked last, and wakes all calls of its own that may
 * sleep on one that is not. A call that falls asleep later finds the change by itself.
 *
 * When there is a call to receive, or a request to take, one thread of those that sleep at its event
 * count is woken (dcm_park_wake_one()), and the next with the next. The keeper looks whether there
 * is something, and has one more woken. Who has been woken already finds it first, as a rule; then
 * that one looks for nothing, and sleeps on. While there is nothing, nobody is woken.
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

/* dcm_baton_pass() - there is something for one of those who sleep at @ec: wake one more */
void dcm_baton_pass(dcm_atomic32 *ec);

#endif
