/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the stress tests share: time, dice, memory that forked children share, contents that can be
 * checked, and wanted results of which only the wrong ones are reported.
 */
#ifndef DCM_TESTS_STRESS_LIB_STRESS_H
#define DCM_TESTS_STRESS_LIB_STRESS_H

#include <dcm/types.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/segment.h"

/* After so many failures a test stops: more of the same tells nothing. */
enum { FAILURES_MAX = 20 };

int64_t now_ms(void);
void nap_us(long us);
/* nap_until() - sleep until @word is at least @value or @ms are over; true: it is */
bool nap_until(_Atomic uint32_t *word, uint32_t value, int64_t ms);

/* mix() - a number that looks random, of @x */
uint64_t mix(uint64_t x);
/* draw() - the next random number below @bound */
uint64_t draw(uint64_t *dice, uint64_t bound);

/* fork_child() - fork(), or end the test; the child ends with its parent, however that ends */
pid_t fork_child(void);

/* shared_memory() - zeroed, the same in this process and the children that it forks */
void *shared_memory(size_t bytes);

/* fill() - contents that follow from @seed; differs() - where they are not that, or SIZE_MAX */
void fill(void *data, size_t size, uint64_t seed);
size_t differs(const void *data, size_t size, uint64_t seed);

/*
 * wanted() - report @seen when it is not @rc, with its name and detail
 * Call it before anything else of the library, which would change the detail.
 * Return: whether it was wanted.
 */
bool wanted(Retcode rc, Retcode seen, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* wrong() - report a failure, for one condition of very many that are checked */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* too_many_wrong() - time to stop */
bool too_many_wrong(void);

/* start_thread()/join_thread() - or end the test */
pthread_t start_thread(void *(*run)(void *), void *arg);
void join_thread(pthread_t thread);

/* look_at_fabric() - map the segment of DCM_FABRIC to be read only, or end the test */
void look_at_fabric(struct dcm_segment *seg);

/* Slots in use, by their words; and by the bitmap. Quiet tables say the same twice. */
struct used {
	uint32_t process, endpoint, subscription, connection, listener, gift;
};
struct used slots_used(const struct dcm_segment *seg);
struct used bits_used(const struct dcm_segment *seg);

/* say_slots() - every slot that is in use, as comments */
void say_slots(const struct dcm_segment *seg);

#endif
