/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/atomics.h"

/* Longer than any processor holds a store back, whatever it does. */
#define FAR_LONGER_NS (2 * 1000 * 1000)

static _Atomic uint32_t joined; /* of this process; its forked child joins anew */

static bool ask(int command)
{
	int saved = errno;
	bool done = syscall(SYS_membarrier, command, 0) == 0;

	errno = saved;
	return done;
}

void dcm_barrier_join(void)
{
	bool done = ask(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) &&
		    ask(MEMBARRIER_CMD_GLOBAL_EXPEDITED);

	atomic_store_explicit(&joined, done, memory_order_relaxed);
}

bool dcm_barrier_joined(void)
{
#ifdef DCM_HOOKS
	if (DCM_HOOKED(barrier))
		return true;
#endif
	return atomic_load_explicit(&joined, memory_order_relaxed) != 0;
}

void dcm_barrier(void)
{
	const struct timespec far_longer = { .tv_nsec = FAR_LONGER_NS };
	int saved = errno;

#ifdef DCM_HOOKS
	if (DCM_HOOKED(barrier)) {
		dcm_hooks->barrier();
		return;
	}
#endif
	if (!ask(MEMBARRIER_CMD_GLOBAL_EXPEDITED))
		/* By the bare call: no point at which a thread is cancelled. */
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &far_longer, NULL);
	errno = saved;
}
