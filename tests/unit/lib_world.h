/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * world - a segment in memory, and processes in it that are only slots
 *
 * Its block is exactly as long as the segment, so that an address sanitizer sees a step beyond it.
 * A process has the alive word that its keeper would give it, and no number: nobody can be proved
 * dead by accident. Threads of the test act for as many processes as they like.
 */
#ifndef DCM_TESTS_UNIT_WORLD_H
#define DCM_TESTS_UNIT_WORLD_H

#include "shm/publication.h"
#include "shm/registry.h"
#include "shm/rendezvous.h"
#include "shm/segment.h"

struct world {
	struct dcm_segment seg;
	void *memory;
	uint64_t bytes;
};

void world_make(struct world *w, const struct dcm_capacity *capacity);
void world_free(struct world *w);

/* A living process; the number of its slot. */
uint32_t world_process(struct world *w, const char *name);
/* What the kernel does at its death. */
void world_kill(struct world *w, uint32_t process);
/* What another process does then, with the proof that only this test has. */
void world_reap(struct world *w, uint32_t process, uint32_t by);
struct dcm_ref world_ref(struct world *w, uint32_t process);

struct dcm_endpoint_key world_endpoint(const char *type, const char *name, uint64_t sid);
struct dcm_request_key world_request(const char *type, const char *name);

/* One result: the segment is in order, nothing of the dead in it, nobody between two steps. */
int world_clean(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same without a result, for loops. */
int world_is_clean(struct world *w);

/* Whether the kernel, or a filter of this environment, lets processes be watched by number. */
bool world_has_pidfds(void);

/* A small generator, one for each thread, all from tap_seed(). */
struct world_random {
	uint64_t state;
};
struct world_random world_random(uint64_t stream);
uint64_t world_next(struct world_random *random);
uint32_t world_below(struct world_random *random, uint32_t bound);

/* Starts @count threads at once, each with its number, and waits for all. */
void world_threads(unsigned count, void (*run)(void *context, unsigned number), void *context);

#endif
