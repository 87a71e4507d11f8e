/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * beacon - the alive words of a process on the robust list of its keeper thread
 *
 * When that thread ends in whatever way, or its process calls execve, the kernel walks the list,
 * marks each word with FUTEX_OWNER_DIED and wakes one of those who sleep there, of each process
 * the calls before the keeper.
 */
#ifndef DCM_SHM_BEACON_H
#define DCM_SHM_BEACON_H

#include "shm/segment.h"

struct dcm_beacon {
	void *nodes[1 + 2 * DCM_PROCESSES_MAX]; /* struct robust_list, one for each alive word */
	void *head[3];				/* struct robust_list_head */
	void *previous_head;			/* glibc's, put back on disarm */
	size_t previous_bytes;
};

/*
 * dcm_beacon_arm() - by the keeper thread itself: its alive words go on its robust list
 * The thread's own list head (glibc's) is replaced, in this thread only; @beacon must live until
 * dcm_beacon_disarm(). Then CLAIMED -> ALIVE.
 * Return: 0 or negative errno.
 */
int dcm_beacon_arm(const struct dcm_segment *seg, struct dcm_ref self, struct dcm_beacon *beacon);
/* dcm_beacon_disarm() - alive words to 0 and their waiters woken; by the keeper, at its end */
void dcm_beacon_disarm(const struct dcm_segment *seg, struct dcm_ref self,
		       struct dcm_beacon *beacon);

#endif
