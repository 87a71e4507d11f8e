/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/crash/lib_step.h"

#include <signal.h>
#include <unistd.h>

#include "tests/tap.h"

enum { STRIDE_SMALL = 8 };

static _Atomic uint64_t steps, die_at;
static _Atomic bool armed, of_others;
static _Thread_local bool armed_here;
static int with = SIGKILL;

void step_arm(uint64_t at, bool others)
{
	armed_here = true;
	atomic_store(&steps, 0);
	atomic_store(&die_at, at);
	atomic_store(&of_others, others);
	atomic_store(&armed, true);
}

void step_stop(void)
{
	with = SIGSTOP;
}

void step_disarm(void)
{
	atomic_store(&armed, false);
}

uint64_t step_next(uint64_t at)
{
	uint64_t stride = tap_scale() < 1 ? STRIDE_SMALL : 1;

	do
		at++;
	while (at % stride != tap_seed() % stride);
	return at;
}

static void step(void)
{
	if (!atomic_load(&armed) || armed_here == atomic_load(&of_others))
		return;
	if (atomic_fetch_add(&steps, 1) + 1 == atomic_load(&die_at))
		kill(getpid(), with);
}

static uint64_t step_load(const volatile void *word, unsigned bytes, enum dcm_order order)
{
	(void)order;
	step();
	return bytes == 4 ? atomic_load((const volatile dcm_atomic32 *)word)
			  : atomic_load((const volatile dcm_atomic64 *)word);
}

static void step_store(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order)
{
	(void)order;
	step();
	if (bytes == 4)
		atomic_store((volatile dcm_atomic32 *)word, (uint32_t)value);
	else
		atomic_store((volatile dcm_atomic64 *)word, value);
}

static bool step_cas(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired)
{
	uint32_t narrow = (uint32_t)*expected;
	bool done;

	step();
	if (bytes == 8)
		return atomic_compare_exchange_strong((volatile dcm_atomic64 *)word, expected,
						      desired);
	done = atomic_compare_exchange_strong((volatile dcm_atomic32 *)word, &narrow,
					      (uint32_t)desired);
	*expected = narrow;
	return done;
}

static uint64_t apply(enum dcm_rmw op, uint64_t old, uint64_t operand)
{
	switch (op) {
	case DCM_RMW_SWAP:
		return operand;
	case DCM_RMW_ADD:
		return old + operand;
	case DCM_RMW_OR:
		return old | operand;
	default:
		return old & operand;
	}
}

static uint64_t step_rmw(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand)
{
	uint64_t old;

	step();
	do
		old = bytes == 4 ? atomic_load((volatile dcm_atomic32 *)word)
				 : atomic_load((volatile dcm_atomic64 *)word);
	while (!(bytes == 4 ? atomic_compare_exchange_strong((volatile dcm_atomic32 *)word,
							     &(uint32_t){ (uint32_t)old },
							     (uint32_t)apply(op, old, operand))
			    : atomic_compare_exchange_strong((volatile dcm_atomic64 *)word, &old,
							     apply(op, old, operand))));
	return old;
}

const struct dcm_hooks step_hooks = {
	.load = step_load,
	.store = step_store,
	.cas = step_cas,
	.rmw = step_rmw,
};
