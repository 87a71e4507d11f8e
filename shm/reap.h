/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reap - what the dead leave behind
 *
 * Any process may reap any other that is proved dead, at any time, also two at once, also after
 * another reaper died or was stopped in the middle: every step is one compare-and-swap from a word
 * that is the dead one's (dcm_process_owned) to the reaper, and a reaper that dies leaves slots of
 * its own to its own reaper. There is no election. The process slot goes last, so as long as
 * anything of the dead is left, its slot says so.
 *
 * A reaper that is stopped between two steps pins the one slot it is at, until it goes on or dies.
 */
#ifndef DCM_SHM_REAP_H
#define DCM_SHM_REAP_H

#include "shm/segment.h"

/*
 * dcm_reap_notice() - level 1: tell those who subscribed to what the process at @index published,
 * whose alive word says that it is dead, and the other parties of its connections. Takes nothing
 * over. Safe to repeat.
 */
void dcm_reap_notice(const struct dcm_segment *seg, uint32_t index);

/* dcm_reap_process() - level 2: take over all that process @dead, proved dead, owned, as @by */
void dcm_reap_process(const struct dcm_segment *seg, struct dcm_ref dead, uint32_t by);

/*
 * dcm_reap_scan() - tell of all that are dead by their alive word; then reap what is proved dead
 * @thorough: ask the kernel also about those whose alive word says nothing (a scribbled word)
 * Return: how many are dead by their alive word but not proved dead yet: scan again soon.
 */
uint32_t dcm_reap_scan(const struct dcm_segment *seg, uint32_t by, bool thorough);

#endif
