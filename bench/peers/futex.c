/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bare futex: who waits sleeps at once, and who tells makes the system call each time.
 *
 * Round trips, a publication to many that sleep on one word (one wake-all), and a service that
 * appears (a generation word that clients sleep on).
 *
 * Fairness: it finds by itself neither the peer nor that it died, and keeps one message.
 */
#include "bench/peers/lib_exchange.h"

void exchange_wait(struct exchange *x, struct word *word, uint32_t seen)
{
	(void)x;
	while (atomic_load_explicit(&word->value, memory_order_acquire) == seen)
		futex_wait(&word->value, seen);
}

void exchange_tell(struct word *word, int sleepers)
{
	atomic_fetch_add_explicit(&word->value, 1, memory_order_release);
	futex_wake(&word->value, sleepers);
}

const struct peer peer = {
	.name = "futex",
	.what = "a word in shared memory, FUTEX_WAIT and FUTEX_WAKE each time",
	.kind = PEER_LIMIT,
	.can = PEER_CALL | PEER_FAN | PEER_APPEAR,
	.waits = PEER_SLEEP,
	EXCHANGE_CALLS,
	EXCHANGE_TELLS,
};
