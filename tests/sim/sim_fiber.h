/* SPDX-License-Identifier: BSD-2-Clause */
/* fiber - stacks to run on, and going from one to the other without a system call */
#ifndef DCM_TESTS_SIM_FIBER_H
#define DCM_TESTS_SIM_FIBER_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

struct sim_fiber {
	ucontext_t start;
	jmp_buf at;
	bool started;
	void *stack; /* null until first used; of the main fiber: the thread's own */
	size_t bytes;
	void *shadow; /* AddressSanitizer's */
};

/* sim_fiber_begin() - at the next switch to it, @fiber calls @body, which never returns */
void sim_fiber_begin(struct sim_fiber *fiber, void (*body)(void));

/* sim_fiber_first() - to be called first of all in a @body */
void sim_fiber_first(void);

/* sim_fiber_switch() - go on in @to; comes back when somebody switches to @from */
void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to);

#endif
