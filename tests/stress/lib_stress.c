/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/stress/lib_stress.h"

#include <dcm/fabric.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nap_us(long us)
{
	nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 },
		  NULL);
}

bool nap_until(_Atomic uint32_t *word, uint32_t value, int64_t ms)
{
	int64_t end = now_ms() + ms;

	while (atomic_load(word) < value) {
		if (now_ms() > end)
			return false;
		nap_us(500);
	}
	return true;
}

uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t draw(uint64_t *dice, uint64_t bound)
{
	*dice += UINT64_C(0x9e3779b97f4a7c15);
	return mix(*dice) % bound;
}

pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	return 0;
}

void *shared_memory(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		sysbail("%zu bytes of shared memory", bytes);
	return memory;
}

/* The 8 bytes at position @at. */
static uint64_t content(uint64_t seed, size_t at)
{
	uint64_t x = seed + at * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 29;
}

void fill(void *data, size_t size, uint64_t seed)
{
	unsigned char *bytes = data;
	size_t at = 0;
	uint64_t word;

	for (; at + 8 <= size; at += 8) {
		word = content(seed, at);
		memcpy(bytes + at, &word, 8);
	}
	word = content(seed, at);
	memcpy(bytes + at, &word, size - at);
}

size_t differs(const void *data, size_t size, uint64_t seed)
{
	const unsigned char *bytes = data;
	size_t at = 0;
	uint64_t word, seen;

	for (; at + 8 <= size; at += 8) {
		word = content(seed, at);
		memcpy(&seen, bytes + at, 8);
		if (seen != word)
			return at;
	}
	word = content(seed, at);
	return memcmp(bytes + at, &word, size - at) == 0 ? SIZE_MAX : at;
}

bool wanted(Retcode rc, Retcode seen, const char *format, ...)
{
	char what[512], detail[512];
	va_list args;

	if (rc == seen)
		return true;
	snprintf(detail, sizeof detail, "%s", DcmLastDetail());
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	ok(0, "%s: wanted %s, seen %s (%s)", what, RetcodeName(rc), RetcodeName(seen), detail);
	return false;
}

void wrong(const char *format, ...)
{
	char what[512];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	ok(0, "%s", what);
}

bool too_many_wrong(void)
{
	return tap_failed() >= FAILURES_MAX;
}

pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	int64_t end = now_ms() + 60 * 1000;
	int r;

	/* EAGAIN: no room for now; or another thread is in execve, and this one about to end. */
	while ((r = pthread_create(&thread, NULL, run, arg)) == EAGAIN && now_ms() < end)
		nap_us(1000);
	if (r != 0)
		bail("pthread_create: %d", r);
	return thread;
}

void join_thread(pthread_t thread)
{
	int r = pthread_join(thread, NULL);

	if (r != 0)
		bail("pthread_join: %d", r);
}

void look_at_fabric(struct dcm_segment *seg)
{
	struct dcm_segment_options options = { .fabric = getenv("DCM_FABRIC"), .read_only = true };
	struct dcm_detail why;

	if (dcm_segment_open(seg, &options, &why) < 0)
		bail("looking at the fabric: %s", why.text);
}

static uint32_t count_slots(const struct dcm_table *t)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < t->count; i++)
		used += dcm_word_state(dcm_load(dcm_slot_word(t, i), acquire)) != DCM_FREE;
	return used;
}

static uint32_t count_bits(const struct dcm_table *t)
{
	uint32_t used = 0;

	for (uint32_t i = 0; i < dcm_bitmap_words(t->count); i++)
		used += (uint32_t)__builtin_popcountll(dcm_load(&t->used[i], acquire));
	return used;
}

struct used slots_used(const struct dcm_segment *seg)
{
	return (struct used){ .process = count_slots(&seg->process),
			      .endpoint = count_slots(&seg->endpoint),
			      .subscription = count_slots(&seg->subscription),
			      .connection = count_slots(&seg->connection),
			      .listener = count_slots(&seg->listener),
			      .gift = count_slots(&seg->gift) };
}

struct used bits_used(const struct dcm_segment *seg)
{
	return (struct used){ .process = count_bits(&seg->process),
			      .endpoint = count_bits(&seg->endpoint),
			      .subscription = count_bits(&seg->subscription),
			      .connection = count_bits(&seg->connection),
			      .listener = count_bits(&seg->listener),
			      .gift = count_bits(&seg->gift) };
}

static void say_table(const struct dcm_table *t, const char *name)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(t, i), acquire);

		if (dcm_word_state(word) != DCM_FREE)
			diag("  %s %u: state %u, owner %u, generation %llu", name, i,
			     dcm_word_state(word), dcm_word_owner(word),
			     (unsigned long long)dcm_word_generation(word));
	}
}

void say_slots(const struct dcm_segment *seg)
{
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (dcm_word_state(dcm_load(&dcm_process_at(seg, i)->word, acquire)) != DCM_FREE)
			diag("  process %u: pid %u, alive word %#x", i,
			     dcm_load(&dcm_process_at(seg, i)->pid, acquire),
			     dcm_load(dcm_alive_at(seg, i, 0), acquire));
	say_table(&seg->process, "process");
	say_table(&seg->endpoint, "endpoint");
	say_table(&seg->subscription, "subscription");
	say_table(&seg->connection, "connection");
	say_table(&seg->listener, "listener");
	say_table(&seg->gift, "gift");
}
