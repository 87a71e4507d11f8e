/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_trap - a thread whose every system call is counted, from some point on
 *
 *	if (!trap_calls())
 *		_exit(TRAP_NONE);
 *	...
 *	_exit(trap_status());
 *
 * They are made all the same: who was refused one would go on as no program ever does. There is no
 * way back, so it is the thread of a process that was forked for it. Three are not counted:
 * clock_gettime, which the C library makes itself where the kernel shows the clock to programs, and
 * is asked only where it does not; the return from a signal handler, by which calls are counted; and
 * the last.
 */
#ifndef DCM_TESTS_API_LIB_TRAP_H
#define DCM_TESTS_API_LIB_TRAP_H

#include <stdbool.h>

/* Exit statuses of one who counts: from 0 to TRAP_MOST so many calls. */
enum { TRAP_MOST = 100, TRAP_NONE, TRAP_FAILED };

/* From here on, for this thread. False: no filter can be set, or it does not trap. */
bool trap_calls(void);

/* How many were made since. */
unsigned int trap_count(void);
/* The number of the first of them; -1: none was. */
long trap_first(void);

/* trap_count(), TRAP_MOST at the most */
int trap_status(void);

#endif
