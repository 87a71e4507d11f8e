/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * barrier - a full barrier on every processor that runs a participant, for who seldom needs it
 *
 * Where one side stores and then looks very often, and the other rarely (before it sleeps), the
 * first has a plain store and a plain load between which its processor may turn around, and the
 * second runs this between its store and its look. Then either the first one's store is there to be
 * seen, or its load comes after the second one's store.
 *
 * The kernel interrupts the processors of processes that have joined, no others: both sides join,
 * and the first must know that the second has. Where the kernel denies it nobody says so; where a
 * filter denies it later, the barrier waits for longer than any processor holds a store back.
 */
#ifndef DCM_SHM_BARRIER_H
#define DCM_SHM_BARRIER_H

#include <stdbool.h>

/* dcm_barrier_join() - this process's processors take part from here on, if the kernel lets them */
void dcm_barrier_join(void);
/* dcm_barrier_joined() - do they */
bool dcm_barrier_joined(void);

/* dcm_barrier() - microseconds; milliseconds where it is denied since */
void dcm_barrier(void);

#endif
