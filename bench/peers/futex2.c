/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A futex of two words: futex_waitv() on the one that is told and on one that the kernel would
 * change at the peer's death. What a caller asks of the kernel who wants to learn of both.
 *
 * Fairness: the second word is nobody's robust futex here; only the waiting is as if it were.
 */
#include "bench/peers/lib_exchange.h"

void exchange_wait(struct exchange *x, struct word *word, uint32_t seen)
{
	while (atomic_load_explicit(&word->value, memory_order_acquire) == seen)
		futex_wait_two(&word->value, seen, &x->alive.value, 0);
}

void exchange_tell(struct word *word, int sleepers)
{
	atomic_fetch_add_explicit(&word->value, 1, memory_order_release);
	futex_wake(&word->value, sleepers);
}

const struct peer peer = {
	.name = "futex2",
	.what = "a word in shared memory, futex_waitv on it and on one more, FUTEX_WAKE each time",
	.kind = PEER_LIMIT,
	.can = PEER_CALL,
	.waits = PEER_SLEEP,
	EXCHANGE_CALLS,
};
