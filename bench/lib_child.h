/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child - the processes of a benchmark, what they share, and its end
 *
 * The process that runs the benchmark forks all others, has no threads while it does, and does not
 * use the library itself. Whatever goes wrong in any of them ends all.
 */
#ifndef DCM_BENCH_CHILD_H
#define DCM_BENCH_CHILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* bench_begin() - a directory in memory, returned, and a fabric in it, named by DCM_FABRIC: the
 * directory goes with this process, and whatever is in it */
const char *bench_begin(void);

/* bench_at_end() - what this process does before that directory goes, however it ends */
void bench_at_end(void (*at_end)(void));

/* bench_fail() - say it and end: this process and, by that, its children */
void bench_fail(const char *format, ...) BENCH_PRINTF(1, 2) __attribute__((noreturn));

int64_t bench_now(void);
void bench_nap(int64_t ns);

/* bench_shared() - zeroed memory that children forked later share */
void *bench_shared(size_t bytes);

/* bench_reside() - memory of this process that is resident, in small pages, as most programs have:
 * their number is what makes its end long */
void bench_reside(size_t bytes);

/* bench_child() - a process that does @run(@arg) and ends, at the latest with its parent */
pid_t bench_child(void (*run)(void *arg), void *arg);
/* bench_kill() - SIGKILL, and wait until it is over */
void bench_kill(pid_t pid);

/* bench_check_ended() - end, with what was left behind, if this process was asked to */
void bench_check_ended(void);

/* bench_reach() - sleep until @word is @value or more; fails when a child ends meanwhile */
void bench_reach(_Atomic uint32_t *word, uint32_t value);
/* bench_reach_within() - the same for @ns at most; false: not reached by then */
bool bench_reach_within(_Atomic uint32_t *word, uint32_t value, int64_t ns);
/* bench_raise() - add 1, and wake who sleeps there */
void bench_raise(_Atomic uint32_t *word);

/* bench_asleep() - wait until thread @tid of @pid sleeps in the kernel */
void bench_asleep(pid_t pid, pid_t tid);

#endif
