/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/peers/lib_futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/peers/peer.h"

void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

void futex_wait_two(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *other,
		    uint32_t other_seen)
{
	struct futex_waitv both[2] = {
		{ .val = seen, .uaddr = (uintptr_t)word, .flags = FUTEX_32 },
		{ .val = other_seen, .uaddr = (uintptr_t)other, .flags = FUTEX_32 },
	};

	if (syscall(SYS_futex_waitv, both, 2, 0, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR)
		peer_fail("futex_waitv: %s", strerror(errno));
}
