/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_image.h"

#include <errno.h>
#include <sanitizer/allocator_interface.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shm/layout.h"
#include "shm/park.h"
#include "shm/slot.h"

/* As far as an index of 32 bits reaches in the table of the widest slots. */
#define GUARD_BYTES (UINT64_C(4) << 40)

#define TICK_NS (20 * 1000) /* of the clock, each time that it is read */

enum { IMAGES = 2, PRIVATES = 8, SCHEDULED = 32, LINE = DCM_CACHELINE };

struct image {
	unsigned char *base, *alias;
	uint64_t bytes;
	unsigned char *good;  /* what every execution begins with */
	unsigned char *dirty; /* for each line: may differ from that */
	uint32_t *lines;      /* the dirty ones */
	uint32_t count;
};

static struct image images[IMAGES];
static unsigned image_count;

static struct {
	uintptr_t base;
	uint64_t bytes;
} privates[PRIVATES];
static unsigned private_count;

static struct {
	const char *operation; /* null: none, nothing is looked at */
	uint64_t steps, steps_most;
	struct fuzz_scribble scheduled[SCHEDULED];
	unsigned count, next;
	uint64_t due; /* the next of them */
	size_t allocated;
	int64_t now_ns;
	uint32_t dead;
} run;

void (*fuzz_on_sleep)(void);

uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

uint64_t fuzz_bytes(struct fuzz_input *in, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++)
		value |= (uint64_t)fuzz_byte(in) << 8 * i;
	return value;
}

void fuzz_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "violation: %s: ", run.operation != NULL ? run.operation : "between");
	vfprintf(stderr, format, args);
	fprintf(stderr, " (mutant %s)\n", dcm_mutant != NULL ? dcm_mutant : "none");
	va_end(args);
	abort();
}

void *fuzz_pages(uint64_t bytes)
{
	unsigned char *space = mmap(NULL, 2 * GUARD_BYTES + bytes, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (space == MAP_FAILED || mprotect(space + GUARD_BYTES, bytes, PROT_READ | PROT_WRITE) < 0)
		fuzz_fail("no address space: %s", strerror(errno));
	return space + GUARD_BYTES;
}

void fuzz_image_add(void *base, void *alias, uint64_t bytes)
{
	struct image *i = &images[image_count++];

	*i = (struct image){ .base = base, .alias = alias, .bytes = bytes };
	i->good = malloc(bytes);
	i->dirty = calloc(bytes / LINE + 1, 1);
	i->lines = calloc(bytes / LINE + 1, sizeof *i->lines);
	if (i->good == NULL || i->dirty == NULL || i->lines == NULL)
		fuzz_fail("no memory");
	memcpy(i->good, base, bytes);
}

void fuzz_private_add(void *base, uint64_t bytes)
{
	privates[private_count].base = (uintptr_t)base;
	privates[private_count++].bytes = bytes;
}

static struct image *image_of(uintptr_t at, uint64_t *offset)
{
	for (unsigned i = 0; i < image_count; i++) {
		*offset = at - (uintptr_t)images[i].base;
		if (*offset < images[i].bytes)
			return &images[i];
		*offset = at - (uintptr_t)images[i].alias;
		if (images[i].alias != NULL && *offset < images[i].bytes)
			return &images[i];
	}
	return NULL;
}

static bool is_private(uintptr_t at)
{
	for (unsigned i = 0; i < private_count; i++)
		if (at - privates[i].base < privates[i].bytes)
			return true;
	return false;
}

static void touch(volatile void *word)
{
	uint64_t offset;
	struct image *i = image_of((uintptr_t)word, &offset);

	if (i == NULL || i->dirty[offset / LINE])
		return;
	i->dirty[offset / LINE] = 1;
	i->lines[i->count++] = (uint32_t)(offset / LINE);
}

static void restore(struct image *i)
{
	while (i->count != 0) {
		uint32_t line = i->lines[--i->count];
		uint64_t start = (uint64_t)line * LINE;
		uint64_t bytes = i->bytes - start < LINE ? i->bytes - start : LINE;

		memcpy(i->base + start, i->good + start, bytes);
		i->dirty[line] = 0;
	}
}

void fuzz_scribble(const struct fuzz_scribble *s)
{
	touch(s->at);
	if (s->bytes == 4)
		*(volatile uint32_t *)s->at = (uint32_t)s->value;
	else
		*(volatile uint64_t *)s->at = s->value;
}

static void plan_next(void)
{
	run.due = run.next < run.count ? run.steps + run.scheduled[run.next].delay : UINT64_MAX;
}

static void scribbles_due(void)
{
	while (run.steps >= run.due) {
		struct fuzz_scribble *s = &run.scheduled[run.next];

		fuzz_scribble(s);
		s->value += s->add;
		s->delay = s->interval;
		/* One that comes again leaves the turn to none behind it. */
		if (s->interval == 0)
			run.next++;
		plan_next();
	}
}

/* Before each access. */
static void step(const volatile void *word, unsigned bytes)
{
	uint64_t offset;

	if (run.operation == NULL)
		return;
	if (image_of((uintptr_t)word, &offset) == NULL && !is_private((uintptr_t)word))
		fuzz_fail("an access outside the image, at %p", (const void *)(uintptr_t)word);
	if ((uintptr_t)word % bytes != 0)
		fuzz_fail("an access at %p is not aligned", (const void *)(uintptr_t)word);
	if (++run.steps > run.steps_most)
		fuzz_fail("no end after %llu accesses", (unsigned long long)run.steps);
	if (run.steps >= run.due)
		scribbles_due();
}

static uint64_t hook_load(const volatile void *word, unsigned bytes, enum dcm_order order)
{
	(void)order;
	step(word, bytes);
	return bytes == 4 ? *(const volatile uint32_t *)word : *(const volatile uint64_t *)word;
}

static void put(volatile void *word, unsigned bytes, uint64_t value)
{
	touch(word);
	if (bytes == 4)
		*(volatile uint32_t *)word = (uint32_t)value;
	else
		*(volatile uint64_t *)word = value;
}

static void hook_store(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order)
{
	(void)order;
	step(word, bytes);
	put(word, bytes, value);
}

static bool hook_cas(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired)
{
	uint64_t seen = hook_load(word, bytes, seq);

	if (seen == *expected) {
		put(word, bytes, desired);
		return true;
	}
	*expected = seen;
	return false;
}

static uint64_t hook_rmw(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand)
{
	uint64_t old = hook_load(word, bytes, seq);

	switch (op) {
	case DCM_RMW_SWAP:
		put(word, bytes, operand);
		break;
	case DCM_RMW_ADD:
		put(word, bytes, old + operand);
		break;
	case DCM_RMW_OR:
		put(word, bytes, old | operand);
		break;
	case DCM_RMW_AND:
		put(word, bytes, old & operand);
		break;
	}
	return old;
}

/* Woken for no reason, with others at work meanwhile, until time is up. */
static int hook_wait(const struct dcm_park_word *words, unsigned count, int64_t deadline_ns)
{
	for (unsigned i = 0; i < count; i++)
		if (words[i].word != NULL)
			step(words[i].word, 4);
	if (fuzz_on_sleep != NULL)
		fuzz_on_sleep();
	return run.now_ns >= deadline_ns ? -ETIMEDOUT : 0;
}

static int hook_wake(dcm_atomic32 *word, int count)
{
	(void)count;
	step(word, 4);
	return 0;
}

static int hook_add_wake(dcm_atomic32 *word, uint32_t add)
{
	hook_rmw(word, 4, DCM_RMW_ADD, add);
	return 0;
}

static int64_t hook_now(void)
{
	return run.now_ns += TICK_NS;
}

static void hook_pause(void)
{
}

static bool hook_dead(uint32_t index, uint64_t generation)
{
	(void)generation;
	return index < 32 && (run.dead >> index & 1) != 0;
}

static struct dcm_hooks hooks = {
	.load = hook_load,
	.store = hook_store,
	.cas = hook_cas,
	.rmw = hook_rmw,
	.futex_wait = hook_wait,
	.futex_wake = hook_wake,
	.futex_add_wake = hook_add_wake,
	.now_ns = hook_now,
	.pause = hook_pause,
	.process_dead = hook_dead,
};

void fuzz_deaths(uint32_t dead, bool ask_kernel)
{
	run.dead = dead;
	hooks.process_dead = ask_kernel ? NULL : hook_dead;
}

void fuzz_setup(void)
{
	dcm_hooks = &hooks;
	dcm_mutant = getenv("DCM_FUZZ_MUTANT");
}

void fuzz_begin(void)
{
	for (unsigned i = 0; i < image_count; i++)
		restore(&images[i]);
	run.operation = NULL;
	run.count = run.next = 0;
	run.now_ns = 1000000000;
	fuzz_deaths(0, false);
	run.allocated = __sanitizer_get_current_allocated_bytes();
}

void fuzz_memory(size_t most)
{
	size_t now = __sanitizer_get_current_allocated_bytes();

	if (now > run.allocated + most)
		fuzz_fail("%zu bytes of memory are in use", now - run.allocated);
}

void fuzz_call(const char *operation, uint64_t steps_most)
{
	run.operation = operation;
	run.steps = 0;
	run.steps_most = steps_most;
	plan_next();
}

void fuzz_return(void)
{
	for (; run.next < run.count; run.next++)
		fuzz_scribble(&run.scheduled[run.next]);
	run.count = run.next = 0;
	run.operation = NULL;
}

void fuzz_schedule(const struct fuzz_scribble *s)
{
	if (run.count < SCHEDULED)
		run.scheduled[run.count++] = *s;
}

static uint64_t value_of(struct fuzz_input *in, unsigned kind, uint64_t was, uint64_t other)
{
	uint64_t generation;

	switch (kind) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return fuzz_bytes(in, 8);
	case 3:
		return fuzz_byte(in);
	case 4:
		return was ^ 1ull << fuzz_byte(in) % 64;
	case 5:
		return was + (uint64_t)(int8_t)fuzz_byte(in);
	case 6: /* a state word of this use of the slot, or one beside it */
		generation = dcm_word_generation(was) + (uint64_t)(int8_t)fuzz_byte(in);
		kind = fuzz_byte(in);
		return dcm_word(generation, kind >> 4, kind & 15);
	case 7: /* another state */
		return (was & ~15ull) | (fuzz_byte(in) & 15);
	case 8: /* a ring's cell */
		generation = fuzz_byte(in);
		return generation << 32 | fuzz_byte(in);
	case 9:
		return other;
	case 10:
		return other + (uint64_t)(int8_t)fuzz_byte(in);
	case 11:
		return fuzz_bytes(in, 4);
	case 12: /* where an endpoint is: 19 bits of index above the generation */
		return (uint64_t)fuzz_byte(in) << DCM_GENERATION_BITS | fuzz_byte(in);
	case 13: /* an owner from the process table's end on */
		return (was & ~0xffff0ull) | fuzz_bytes(in, 2) << 4;
	case 14:
		return was + (1ull << fuzz_byte(in) % 64);
	default:
		return ~was;
	}
}

void fuzz_scribble_read(struct fuzz_input *in, unsigned how, uint64_t *at, uint64_t other)
{
	struct fuzz_scribble s = { .at = at, .bytes = how & 0x20 ? 4 : 8 };
	uint64_t was = *at;
	unsigned again;

	if (how & 0x20) {
		s.at = (uint32_t *)(void *)at + (fuzz_byte(in) & 1);
		was = *(uint32_t *)s.at;
	}
	s.value = value_of(in, how & 15, was, other);
	if ((how & 0x10) == 0) {
		fuzz_scribble(&s);
		return;
	}
	/* Most often soon: behind the look that a second one may follow. */
	again = fuzz_byte(in);
	s.delay = again < 192 ? again % 16 : (again - 191) * 16;
	if (how & 0x40) {
		again = fuzz_byte(in);
		s.interval = 1 + again % 16;
		s.add = again / 16 == 0 ? 0 : 1ull << 4 * (again / 16);
	}
	fuzz_schedule(&s);
}

/* Leaks are counted by fuzz_memory(); where memory came from is seldom worth its cost. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0:malloc_context_size=3:quarantine_size_mb=8";
}
