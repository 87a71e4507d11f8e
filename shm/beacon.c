/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/beacon.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <unistd.h>

#include "shm/kernel.h"
#include "shm/park.h"
#include "shm/process.h"

/* The kernel wakes the calls of so many processes, then their keepers, then of the next. */
enum { BEACON_GROUP = 16 };

/* ROBUST_LIST_LIMIT: whatever is behind it the kernel does not mark. */
static_assert(1 + 2 * DCM_PROCESSES_MAX <= 2048, "the kernel comes to the end of each row");
static_assert(sizeof(struct robust_list) == sizeof(void *), "struct dcm_beacon");
static_assert(sizeof(struct robust_list_head) == 3 * sizeof(void *), "struct dcm_beacon");
static_assert(sizeof(struct robust_list) == sizeof(struct dcm_alive),
	      "one offset leads to all words");

/*
 * Word 0 first. Calls before keepers, for they have only to return, and a keeper on the same
 * processor would reap first; but keepers not long after, for subscribers wait for them: the
 * kernel's walk along all words of a row of 1,025 takes 0.1 ms.
 */
static void link_nodes(struct dcm_beacon *beacon, uint32_t processes)
{
	void **last = &beacon->nodes[0];

	for (uint32_t i = 0; i < 2 * processes + 2 * BEACON_GROUP; i++) {
		uint32_t process = i / (2 * BEACON_GROUP) * BEACON_GROUP + i % BEACON_GROUP;
		uint32_t place = 1 + process + (i / BEACON_GROUP % 2 != 0 ? processes : 0);

		if (process >= processes)
			continue;
		*last = &beacon->nodes[place];
		last = &beacon->nodes[place];
	}
	*last = beacon->head;
}

/*
 * The kernel adds the offset to each node and marks the word that it finds there. Nodes are
 * private: what lies in the segment cannot lead the kernel astray.
 */
static int beacon_light(struct dcm_beacon *beacon, const dcm_atomic32 *alive, uint32_t processes)
{
	struct robust_list_head head = {
		.list = { .next = (struct robust_list *)(void *)beacon->nodes },
		.futex_offset = (intptr_t)alive - (intptr_t)beacon->nodes,
		.list_op_pending = NULL,
	};

	if (syscall(SYS_get_robust_list, 0, &beacon->previous_head, &beacon->previous_bytes) < 0)
		return -errno;
	link_nodes(beacon, processes);
	memcpy(beacon->head, &head, sizeof head);
	return syscall(SYS_set_robust_list, beacon->head, sizeof head) < 0 ? -errno : 0;
}

static void beacon_put_out(const struct dcm_beacon *beacon)
{
	syscall(SYS_set_robust_list, beacon->previous_head,
		beacon->previous_bytes != 0 ? beacon->previous_bytes
					    : sizeof(struct robust_list_head));
}

int dcm_beacon_arm(const struct dcm_segment *seg, struct dcm_ref self, struct dcm_beacon *beacon)
{
	struct dcm_process *p = dcm_process_at(seg, self.index);
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	int r;

	if (p == NULL)
		return -EINVAL;
	/* release, I */
	dcm_store(&p->tid, tid, release);
	/* Before the words name this thread: the kernel passes over all that do not. */
	r = beacon_light(beacon, dcm_alive_at(seg, self.index, 0), seg->process.count);
	if (r < 0)
		return r;
	if (dcm_process_appear(seg, self, tid))
		return 0;
	beacon_put_out(beacon);
	return -EBADMSG;
}

void dcm_beacon_disarm(const struct dcm_segment *seg, struct dcm_ref self,
		       struct dcm_beacon *beacon)
{
	if (dcm_process_at(seg, self.index) == NULL)
		return;
	/* Dying from here on leaves 0 in word 0, which with a free byte is as good a proof as the
	   mark; the kernel marks what is left of the others. */
	for (uint32_t place = 0; place < dcm_alive_words(seg->process.count); place++) {
		dcm_atomic32 *alive = dcm_alive_at(seg, self.index, place);

		/* list_op_pending: killed before it wakes, the kernel finds 0 there and does. */
		beacon->head[2] = &beacon->nodes[place];
		if ((dcm_swap(alive, 0u) & FUTEX_WAITERS) != 0)
			dcm_park_wake_word(alive);
	}
	beacon_put_out(beacon);
}
