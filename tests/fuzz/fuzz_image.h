/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image - shared memory that a hostile peer writes to while the library works in it
 *
 * Every access of the library to shared words comes through the hooks of shm/atomics.h. So each is
 * seen to lie inside an image, a loop without end is noticed by its number, and the peer's writes
 * come between any two of them: what is read twice is read differently.
 *
 * Only the lines that were written to are put back for the next execution.
 */
#ifndef DCM_TESTS_FUZZ_IMAGE_H
#define DCM_TESTS_FUZZ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the fuzzer made up, read from the front; zeroes behind its end. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};
uint8_t fuzz_byte(struct fuzz_input *in);
uint64_t fuzz_bytes(struct fuzz_input *in, unsigned count);

/* fuzz_fail() - a violation: says what and in which operation, and ends the process */
void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail("not so: %s", #condition))

/* fuzz_pages() - zeroed pages between guards: a step beyond them, however wide, is a fault */
void *fuzz_pages(uint64_t bytes);

/*
 * fuzz_image_add() - @bytes at @base, and at @alias if that is not null, are an image
 * It is as it is now at the beginning of each execution.
 */
void fuzz_image_add(void *base, void *alias, uint64_t bytes);
/* fuzz_private_add() - memory of the process's own that the library has atomic words in */
void fuzz_private_add(void *base, uint64_t bytes);

/* fuzz_setup() - hooks on, the mutant that DCM_FUZZ_MUTANT names in effect */
void fuzz_setup(void);

/* fuzz_begin() - an execution begins: images as they were, nothing scheduled, nobody dead */
void fuzz_begin(void);
/* fuzz_memory() - since then no more than @most bytes of memory were allocated and not freed */
void fuzz_memory(size_t most);

/*
 * fuzz_call() - the library begins an operation
 * @steps_most: accesses that it may need, whatever the peer does
 * What fuzz_schedule() was given comes during it, at the latest at its end, fuzz_return().
 */
void fuzz_call(const char *operation, uint64_t steps_most);
void fuzz_return(void);

/* A write of the peer's: so many accesses behind the one before, and then perhaps again and again. */
struct fuzz_scribble {
	void *at;	/* aligned */
	unsigned bytes; /* 4 or 8 */
	uint64_t value;
	uint64_t add;	   /* to the value each time it comes again */
	uint32_t delay;	   /* accesses before it */
	uint32_t interval; /* accesses until it comes again; 0: once */
};
void fuzz_scribble(const struct fuzz_scribble *s); /* now */
void fuzz_schedule(const struct fuzz_scribble *s);

/*
 * fuzz_scribble_read() - a scribble at the word @at, from the input: its value, and when it comes
 * @how: the low four bits the kind of value; 0x10 during the next operation; 0x20 half the word;
 *       0x40 again and again
 */
void fuzz_scribble_read(struct fuzz_input *in, unsigned how, uint64_t *at, uint64_t other);

/* Which processes dcm_process_dead() finds dead, by index; and whether it asks the kernel itself. */
void fuzz_deaths(uint32_t dead, bool ask_kernel);

/* What a thread of the library does when it sleeps; null: nothing. */
extern void (*fuzz_on_sleep)(void);

#endif
