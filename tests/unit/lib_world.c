/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#define _GNU_SOURCE
#include "tests/unit/lib_world.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/check.h"
#include "shm/hash.h"
#include "shm/process.h"
#include "shm/reap.h"
#include "tests/tap.h"

enum { THREADS_MAX = 64 };

void world_make(struct world *w, const struct dcm_capacity *capacity)
{
	struct dcm_places places;

	if (!dcm_layout_places(capacity, &places))
		bail("capacities out of bounds");
	w->bytes = places.bytes;
	w->memory = aligned_alloc(DCM_PAGE, places.bytes);
	if (w->memory == NULL)
		bail("no memory for a segment");
	memset(w->memory, 0, places.bytes);
	if (!dcm_segment_view(&w->seg, w->memory, places.bytes, capacity))
		bail("no view of a segment");
}

void world_free(struct world *w)
{
	free(w->memory);
}

uint32_t world_process(struct world *w, const char *name)
{
	struct dcm_process *p;
	struct dcm_ref ref;
	uint32_t tid, i = 0;

	while (!dcm_slot_claim_at(&w->seg.process, i, i, &ref))
		if (++i == w->seg.process.count)
			bail("the table of processes is too small");
	p = dcm_process_at(&w->seg, i);
	tid = 1000 + i;
	dcm_name_store(&p->name, name);
	dcm_store(&p->pid, 0u, relaxed);
	dcm_store(&p->tid, tid, relaxed);
	for (uint32_t place = 0; place < dcm_alive_words(w->seg.process.count); place++)
		dcm_store(dcm_alive_at(&w->seg, i, place), tid, release);
	dcm_store(&p->word, dcm_word(ref.generation, i, DCM_PROCESS_ALIVE), seq);
	return i;
}

void world_kill(struct world *w, uint32_t process)
{
	/* As the kernel: mark each word, and wake one that sleeps there. */
	for (uint32_t place = 0; place < dcm_alive_words(w->seg.process.count); place++) {
		dcm_atomic32 *alive = dcm_alive_at(&w->seg, process, place);

		dcm_store(alive, FUTEX_OWNER_DIED, seq);
		syscall(SYS_futex, alive, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

struct dcm_ref world_ref(struct world *w, uint32_t process)
{
	return (struct dcm_ref){ process, dcm_process_generation(&w->seg, process) };
}

void world_reap(struct world *w, uint32_t process, uint32_t by)
{
	dcm_reap_process(&w->seg, world_ref(w, process), by);
}

struct dcm_endpoint_key world_endpoint(const char *type, const char *name, uint64_t sid)
{
	return (struct dcm_endpoint_key){ .type = type,
					  .name = name,
					  .type_hash = dcm_hash(type),
					  .name_hash = dcm_hash(name),
					  .sid = sid };
}

struct dcm_request_key world_request(const char *type, const char *name)
{
	return (struct dcm_request_key){ .type = type,
					 .name = name,
					 .type_hash = dcm_hash(type),
					 .name_hash = dcm_hash(name),
					 .client_sid = 77 };
}

static void tell(void *context, const struct dcm_finding *f)
{
	(void)context;
	diag("%s %u: %s (state %u, owner %u, generation %llu)", dcm_check_table_name(f->table),
	     f->slot, f->text, dcm_word_state(f->word), dcm_word_owner(f->word),
	     (unsigned long long)dcm_word_generation(f->word));
}

int world_is_clean(struct world *w)
{
	struct dcm_check_options options = { .report = tell, .most = 20 };
	struct dcm_check_result result;

	dcm_check(&w->seg, &options, &result);
	return result.damaged + result.dead + result.transition == 0;
}

int world_clean(struct world *w, const char *format, ...)
{
	char what[200];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	return ok(world_is_clean(w), "in order: %s", what);
}

struct world_random world_random(uint64_t stream)
{
	return (struct world_random){ tap_seed() + stream * UINT64_C(0x9e3779b97f4a7c15) };
}

/* splitmix64 */
uint64_t world_next(struct world_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t world_below(struct world_random *random, uint32_t bound)
{
	return (uint32_t)(world_next(random) % bound);
}

struct starter {
	void (*run)(void *context, unsigned number);
	void *context;
	unsigned number;
	pthread_barrier_t *start;
};

static void *start(void *argument)
{
	struct starter *s = argument;

	pthread_barrier_wait(s->start);
	s->run(s->context, s->number);
	return NULL;
}

bool world_has_pidfds(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void world_threads(unsigned count, void (*run)(void *context, unsigned number), void *context)
{
	struct starter starters[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	pthread_barrier_t barrier;

	tap_seed(); /* drawn before there are threads */
	if (count > THREADS_MAX || pthread_barrier_init(&barrier, NULL, count) != 0)
		bail("cannot have %u threads", count);
	for (unsigned i = 0; i < count; i++) {
		starters[i] = (struct starter){ run, context, i, &barrier };
		if (pthread_create(&threads[i], NULL, start, &starters[i]) != 0)
			bail("cannot start thread %u", i);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
}
