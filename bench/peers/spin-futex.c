/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Look for a while, then sleep: who waits looks without and then with a pause for 25 us, half of
 * what a wake-up across processors costs on the machine that this was written on, and then sleeps
 * in FUTEX_WAIT. Who tells makes the system call only when somebody sleeps.
 *
 * Fairness: the time is fixed. Where the two share a processor each look is in vain, and nothing
 * here notices it: who compares an adaptive policy on one core compares it with futex.
 */
#include "bench/lib_clock.h"
#include "bench/peers/lib_exchange.h"

enum { BARE_LOOKS = 1000, SPIN_NS = 25 * 1000 };

static bool changed(struct word *word, uint32_t seen)
{
	return atomic_load_explicit(&word->value, memory_order_acquire) != seen;
}

static bool look(struct word *word, uint32_t seen)
{
	int64_t until;

	for (int i = 0; i < BARE_LOOKS; i++)
		if (changed(word, seen))
			return true;
	until = peer_now() + SPIN_NS;
	while (peer_now() < until)
		for (int i = 0; i < 16; i++) {
			if (changed(word, seen))
				return true;
#if defined(__x86_64__)
			_mm_pause();
#endif
		}
	return false;
}

/* Both accesses are in one order with those of exchange_tell(): one of the two sees the other. */
void exchange_wait(struct exchange *x, struct word *word, uint32_t seen)
{
	(void)x;
	while (!look(word, seen)) {
		atomic_fetch_add(&word->sleeps, 1);
		if (atomic_load(&word->value) == seen)
			futex_wait(&word->value, seen);
		atomic_fetch_sub(&word->sleeps, 1);
	}
}

void exchange_tell(struct word *word, int sleepers)
{
	atomic_fetch_add(&word->value, 1);
	if (atomic_load(&word->sleeps) != 0)
		futex_wake(&word->value, sleepers);
}

const struct peer peer = {
	.name = "spin-futex",
	.what = "a word in shared memory, looked at for 25 us, then FUTEX_WAIT",
	.kind = PEER_LIMIT,
	.can = PEER_CALL | PEER_FAN,
	.waits = PEER_ADAPTIVE,
	EXCHANGE_CALLS,
	.send = exchange_send,
};
