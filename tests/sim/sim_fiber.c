/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/sim/sim_fiber.h"

#include <stdint.h>
#include <sys/mman.h>

#include "tests/tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
enum { STACK_BYTES = 512 * 1024 };
#else
enum { STACK_BYTES = 64 * 1024 };
#endif

enum { GUARD_BYTES = 4096 };

/* Where the switch under way comes from: its bounds are learnt on arrival. */
static struct sim_fiber *came_from, *going_to;

static void *stack_new(void)
{
	char *at = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED || mprotect(at, GUARD_BYTES, PROT_NONE) != 0)
		sysbail("cannot map the stack of a fiber");
	return at + GUARD_BYTES;
}

void sim_fiber_begin(struct sim_fiber *fiber, void (*body)(void))
{
	if (fiber->stack == NULL) {
		fiber->stack = stack_new();
		fiber->bytes = STACK_BYTES;
	}
#ifdef WITH_ASAN
	/* Whoever ran here before was left in the middle of it. */
	__asan_unpoison_memory_region(fiber->stack, fiber->bytes);
	fiber->shadow = NULL;
#endif
	fiber->started = false;
	getcontext(&fiber->start);
	fiber->start.uc_stack.ss_sp = fiber->stack;
	fiber->start.uc_stack.ss_size = fiber->bytes;
	fiber->start.uc_link = NULL;
	makecontext(&fiber->start, body, 0);
}

static void arrived(void)
{
#ifdef WITH_ASAN
	const void *bottom;
	size_t bytes;

	__sanitizer_finish_switch_fiber(going_to->shadow, &bottom, &bytes);
	came_from->stack = (void *)(uintptr_t)bottom;
	came_from->bytes = bytes;
#endif
}

void sim_fiber_first(void)
{
	arrived();
}

void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to)
{
	if (_setjmp(from->at) == 0) {
		came_from = from;
		going_to = to;
		from->started = true;
#ifdef WITH_ASAN
		__sanitizer_start_switch_fiber(&from->shadow, to->stack, to->bytes);
#endif
		if (to->started)
			_longjmp(to->at, 1);
		to->started = true;
		setcontext(&to->start);
		sysbail("setcontext");
	}
	arrived();
}
