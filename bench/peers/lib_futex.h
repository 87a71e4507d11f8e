/* SPDX-License-Identifier: BSD-2-Clause */
/* futex - the calls of the kernel, for the limits */
#ifndef DCM_BENCH_FUTEX_H
#define DCM_BENCH_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* A word on lines of its own. */
struct word {
	_Alignas(128) _Atomic uint32_t value;
	_Atomic uint32_t sleeps; /* somebody does, or is about to */
};

void futex_wait(_Atomic uint32_t *word, uint32_t seen);
void futex_wake(_Atomic uint32_t *word, int count);

/* futex_wait_two() - until either changes, by futex_waitv(); fails where the kernel has none */
void futex_wait_two(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *other,
		    uint32_t other_seen);

#endif
