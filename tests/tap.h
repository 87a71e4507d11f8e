/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small producer of TAP (Test Anything Protocol), with the function names of C TAP Harness.
 *
 *	int main(void)
 *	{
 *		plan_lazy();
 *		is_int(0, dcm_ring_check(&ring), "a new ring is consistent");
 *		return 0;
 *	}
 *
 * Every function may be called from any thread, and from children that were forked after plan():
 * results are counted in memory that is shared with them, each line is one write, and lines carry
 * no numbers (TAP lets them out), so no lock is needed and a child may be killed at any point.
 *
 * The process that called plan() closes the test when it exits: it checks that no descriptor, no
 * child and no temporary file is left, which counts as one result, prints the plan, and makes its
 * exit status 1 if anything failed. Children that only fork and _exit() print nothing more.
 */
#ifndef DCM_TESTS_TAP_H
#define DCM_TESTS_TAP_H

#include <stddef.h>
#include <stdint.h>

/* 1 under ThreadSanitizer, which cannot fork beside threads. */
#if defined(__SANITIZE_THREAD__)
#define TAP_TSAN 1
#elif defined(__has_feature)
#define TAP_TSAN __has_feature(thread_sanitizer)
#else
#define TAP_TSAN 0
#endif

#define TAP_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Exactly one of these comes first. plan() fails the test if another number of results came. */
void plan(unsigned long count);
void plan_lazy(void);
void skip_all(const char *format, ...) TAP_PRINTF(1, 2) __attribute__((noreturn));

/* One result each; the value is whether it was good. Wanted comes before seen. */
int ok(int success, const char *format, ...) TAP_PRINTF(2, 3);
int is_bool(int wanted, int seen, const char *format, ...) TAP_PRINTF(3, 4);
int is_int(int64_t wanted, int64_t seen, const char *format, ...) TAP_PRINTF(3, 4);
int is_uint(uint64_t wanted, uint64_t seen, const char *format, ...) TAP_PRINTF(3, 4);
int is_hex(uint64_t wanted, uint64_t seen, const char *format, ...) TAP_PRINTF(3, 4);
int is_string(const char *wanted, const char *seen, const char *format, ...) TAP_PRINTF(3, 4);
int is_blob(const void *wanted, const void *seen, size_t bytes, const char *format, ...)
	TAP_PRINTF(4, 5);

/* Results that this machine cannot give; they count as good. */
void skip(const char *reason, ...) TAP_PRINTF(1, 2);
void skip_block(unsigned long count, const char *reason, ...) TAP_PRINTF(2, 3);

/* Stops the whole run of all tests: for a broken machine, not for a failed test. */
void bail(const char *format, ...) TAP_PRINTF(1, 2) __attribute__((noreturn));
void sysbail(const char *format, ...) TAP_PRINTF(1, 2) __attribute__((noreturn));

/* Ends this process at once with a bad result: when going on makes no sense. */
void die(const char *format, ...) TAP_PRINTF(1, 2) __attribute__((noreturn));

/* Comments. diag() is seen in every run (standard error), note() with prove -v. */
void diag(const char *format, ...) TAP_PRINTF(1, 2);
void sysdiag(const char *format, ...) TAP_PRINTF(1, 2);
void note(const char *format, ...) TAP_PRINTF(1, 2);

/*
 * What a proof has tried, for the summary of prove-it: @technique ("simulator"), @subject
 * ("registry"), @count of @unit ("schedules") and how many violations were found; and what noticed
 * that a line of a protocol was left out ("simulator: registry, seed 12"; null: nothing can, and
 * @why). One comment line each.
 */
void tap_proof(const char *technique, const char *subject, uint64_t count, const char *unit,
	       uint64_t violations);
void tap_mutant(const char *name, const char *killed_by, const char *why);

/* How many results failed so far, in all processes of the test. */
unsigned long tap_failed(void);

/*
 * Ends a test that still runs after so many seconds from now, with its children; 0 never does.
 * plan() sets 300 seconds, and more with a DCM_TEST_SCALE above 1. Built on alarm(), which the test must then not use itself.
 */
void tap_watchdog(unsigned int seconds);

/*
 * The seed of everything random in the test: DCM_TEST_SEED, or a random number. It is printed as
 * "# seed N", and again at the end of a test that failed.
 */
uint64_t tap_seed(void);

/* DCM_TEST_SCALE, by which stress tests multiply their rounds: 1, or less in slow builds. */
double tap_scale(void);
/* count times that, and at least 1. */
uint64_t tap_scaled(uint64_t count);

/*
 * Makes a private directory in /dev/shm, sets DCM_FABRIC to DIR/fabric in the environment, and
 * returns DIR. It is removed at the end; a test that crashes or hangs leaves it to be looked at.
 */
const char *tap_fabric_dir(void);

/* The path of the program built from helper_NAME.c beside the test; the string is not freed. */
const char *tap_helper(const char *name);

/* Open descriptors of this process, but the one used to count them. */
unsigned int tap_count_fds(void);

#endif
