/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * arena - room for loans in one side's half of a channel
 *
 * All bookkeeping is private to the process that hands the room out: nothing of it lies in shared
 * memory, so the peer can neither damage it nor die in the middle of it. A buddy allocator over
 * units of DCM_ARENA_UNIT bytes: the smallest free block that will do is cut, of equals the one at
 * the lowest address. Blocks of up to 1 MiB that come back are given out again whole: the last one
 * while none of its size is taken, else in turns, of which a stream has about twice what it needs.
 *
 * Pages are committed when a loan first needs them and stay: a stream that fills its channel now and
 * then would else pay the kernel for that each time. Somebody looks about once a second while more
 * than DCM_ARENA_KEEP is committed, and gives back what was not in use since the look before.
 *
 * Not for two threads at once: the caller holds the channel's private lock.
 */
#ifndef DCM_SHM_ARENA_H
#define DCM_SHM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DCM_ARENA_UNIT = 256,
	DCM_ARENA_CHUNK = 65536,	  /* commit and give back in these */
	DCM_ARENA_KEEP = 4 * 1024 * 1024, /* committed but free: kept up to this, however idle */
};

struct dcm_arena;

/*
 * dcm_arena_create() - bookkeeping for @bytes of room at @base
 * @base:  page aligned, mapped shared from a memfd; null: pure arithmetic (no page is ever touched)
 * @bytes: whole chunks; need not be a power of two
 * Return: the arena, or null: out of memory.
 */
struct dcm_arena *dcm_arena_create(unsigned char *base, uint64_t bytes);
void dcm_arena_destroy(struct dcm_arena *arena);

/*
 * dcm_arena_take() - room for @size bytes (0 counts as 1)
 * Return: 0 and *@offset from the base, a multiple of DCM_ARENA_UNIT; -ENOSPC nothing that large
 * is free now; -E2BIG it never can be; -ENOMEM the kernel has no pages (nothing is taken).
 */
int dcm_arena_take(struct dcm_arena *arena, uint64_t size, uint64_t *offset);

/*
 * dcm_arena_give() - what dcm_arena_take() gave
 * Return: 0, or -EINVAL: @offset is not the start of a block that is taken.
 */
int dcm_arena_give(struct dcm_arena *arena, uint64_t offset);

/* dcm_arena_room() - bytes of the taken block at @offset; 0: no taken block starts there */
uint64_t dcm_arena_room(const struct dcm_arena *arena, uint64_t offset);

uint64_t dcm_arena_largest(const struct dcm_arena *arena);   /* what can ever be taken at once */
uint64_t dcm_arena_taken(const struct dcm_arena *arena);     /* bytes in taken blocks now */
uint64_t dcm_arena_committed(const struct dcm_arena *arena); /* bytes that have pages now */
uint64_t dcm_arena_idle(const struct dcm_arena *arena);	     /* of these, in chunks wholly free */

/*
 * dcm_arena_look() - another second or so is over
 * What was in use at once at the most since the last look, and DCM_ARENA_KEEP, may stay committed
 * until the next; the rest is to be had by dcm_arena_shed(). Free blocks are put together.
 * Return: true: a look in a second may find more; false: only after more was taken and given.
 */
bool dcm_arena_look(struct dcm_arena *arena);

/* dcm_arena_has_spare() - would dcm_arena_shed() find any? */
bool dcm_arena_has_spare(const struct dcm_arena *arena);

/*
 * dcm_arena_shed() - give some pages back to the kernel: a few at a time, so that nobody waits long
 * @below: where to look; UINT64_MAX at first, then as it was left
 * Return: true: go on, there may be more; false: that was all.
 */
bool dcm_arena_shed(struct dcm_arena *arena, uint64_t *below);

#endif
