/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything is counted in units of DCM_ARENA_UNIT bytes. A block of order k is 1 << k units long
 * and begins at a multiple of its length, so the block it came from and the block beside it are
 * found from its place alone. For each order a bitmap says which blocks are free, and a summary
 * above it which words of that bitmap hold any: finding the lowest one reads one word in 4,096
 * units of the arena at the most.
 *
 * taken[unit] is 1 + the order of the block that was given out there, 0 elsewhere: a stale or
 * invented offset is told from a good one exactly, whatever the peer says.
 */
#define _GNU_SOURCE
#include "shm/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum {
	CHUNK_UNITS = DCM_ARENA_CHUNK / DCM_ARENA_UNIT,
	CHUNK_ORDER = 8,
	KEEP_CHUNKS = DCM_ARENA_KEEP / DCM_ARENA_CHUNK,
	ORDERS_MAX = 33,
	TRIES = 16,
};

#define BYTES_MAX (UINT64_C(1) << 40)

static_assert(1 << CHUNK_ORDER == CHUNK_UNITS, "a chunk is a block");

struct order {
	uint64_t *free;	   /* a bit for each block of this order */
	uint64_t *summary; /* a bit for each word of free that is not 0 */
	uint64_t blocks;   /* whole blocks of this order that the arena could be cut into */
};

struct dcm_arena {
	unsigned char *base;
	uint64_t units;
	uint64_t taken_units;
	uint64_t committed_chunks;
	uint64_t idle_chunks; /* committed, and no unit of them taken */
	uint64_t nonempty;    /* a bit for each order that has a free block */
	unsigned orders;
	bool populates; /* false: the kernel commits pages as they are touched */
	struct order order[ORDERS_MAX];
	uint8_t *taken;	     /* for each unit */
	uint16_t *used;	     /* units taken, for each chunk */
	uint64_t *committed; /* a bit for each chunk */
	void *tables; /* one mapping that holds all of these, touched as they are used; null: no room
			 was ever taken */
	size_t tables_bytes;
};

static uint64_t words_of(uint64_t bits)
{
	return (bits + 63) / 64;
}

static bool bit_of(const uint64_t *map, uint64_t bit)
{
	return (map[bit / 64] >> (bit % 64) & 1) != 0;
}

static void set_bit(uint64_t *map, uint64_t bit)
{
	map[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static void clear_bit(uint64_t *map, uint64_t bit)
{
	map[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
}

/* The highest bit of a number that is not 0. */
static unsigned log2_of(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

static void add_free(struct dcm_arena *arena, unsigned k, uint64_t block)
{
	struct order *order = &arena->order[k];

	set_bit(order->free, block);
	set_bit(order->summary, block / 64);
	arena->nonempty |= UINT64_C(1) << k;
}

static void remove_free(struct dcm_arena *arena, unsigned k, uint64_t block)
{
	struct order *order = &arena->order[k];

	clear_bit(order->free, block);
	if (order->free[block / 64] != 0)
		return;
	clear_bit(order->summary, block / 64);
	if (order->summary[block / 4096] != 0)
		return;
	for (uint64_t i = 0; i < words_of(words_of(order->blocks)); i++)
		if (order->summary[i] != 0)
			return;
	arena->nonempty &= ~(UINT64_C(1) << k);
}

static uint64_t lowest_free(const struct order *order)
{
	uint64_t i = 0, word;

	while (order->summary[i] == 0)
		i++;
	word = i * 64 + (uint64_t)__builtin_ctzll(order->summary[i]);
	return word * 64 + (uint64_t)__builtin_ctzll(order->free[word]);
}

/* Cuts the tables out of one mapping; with none yet, says how large it must be. */
static size_t place_tables(struct dcm_arena *arena)
{
	uint64_t chunks = arena->units / CHUNK_UNITS;
	unsigned char *at = arena->tables;
	size_t bytes = 0;

#define PLACE(field, count)                                                                        \
	do {                                                                                       \
		if (at != NULL)                                                                    \
			(field) = (void *)(at + bytes);                                            \
		bytes += ((size_t)(count) * sizeof(*(field)) + 7) / 8 * 8;                         \
	} while (0)
	for (unsigned k = 0; k < arena->orders; k++) {
		struct order *order = &arena->order[k];

		order->blocks = arena->units >> k;
		PLACE(order->summary, words_of(words_of(order->blocks)));
	}
	PLACE(arena->committed, words_of(chunks));
	PLACE(arena->used, chunks);
	for (unsigned k = arena->orders; k-- > 0;)
		PLACE(arena->order[k].free, words_of(arena->order[k].blocks));
	PLACE(arena->taken, arena->units);
#undef PLACE
	return bytes;
}

struct dcm_arena *dcm_arena_create(unsigned char *base, uint64_t bytes)
{
	struct dcm_arena *arena;

	if (bytes == 0 || bytes % DCM_ARENA_CHUNK != 0 || bytes > BYTES_MAX)
		return NULL;
	arena = calloc(1, sizeof(*arena));
	if (arena == NULL)
		return NULL;
	arena->base = base;
	arena->units = bytes / DCM_ARENA_UNIT;
	arena->orders = log2_of(arena->units) + 1;
	arena->populates = base != NULL;
	return arena;
}

/* With the first room that is taken: of most channels, none ever is. False: out of memory. */
static bool make_tables(struct dcm_arena *arena)
{
	uint64_t unit = 0;
	void *tables;

	arena->tables_bytes = place_tables(arena);
	/* Not from the heap: of these tables most pages are never touched, and stay free. */
	tables = mmap(NULL, arena->tables_bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tables == MAP_FAILED)
		return false;
	arena->tables = tables;
	place_tables(arena);
	while (unit < arena->units) {
		unsigned k = log2_of(arena->units - unit);

		if (unit != 0 && (unsigned)__builtin_ctzll(unit) < k)
			k = (unsigned)__builtin_ctzll(unit);
		add_free(arena, k, unit >> k);
		unit += UINT64_C(1) << k;
	}
	return true;
}

void dcm_arena_destroy(struct dcm_arena *arena)
{
	if (arena == NULL)
		return;
	if (arena->tables != NULL)
		munmap(arena->tables, arena->tables_bytes);
	free(arena);
}

/* madvise() on whole chunks; -ENOMEM stands for whatever made the kernel refuse pages. */
static int advise(const struct dcm_arena *arena, uint64_t chunk, uint64_t count, int advice)
{
	unsigned char *at = arena->base + chunk * DCM_ARENA_CHUNK;
	int saved = errno, result = -EAGAIN;

	for (unsigned i = 0; i < TRIES && (result == -EINTR || result == -EAGAIN); i++)
		result = madvise(at, (size_t)(count * DCM_ARENA_CHUNK), advice) == 0 ? 0 : -errno;
	errno = saved;
	return result == 0 || result == -EINVAL ? result : -ENOMEM;
}

/* The first chunk in [from, end) whose committed bit is as asked, or end. */
static uint64_t next_chunk(const struct dcm_arena *arena, uint64_t from, uint64_t end,
			   bool committed)
{
	while (from < end && bit_of(arena->committed, from) != committed)
		from++;
	return from;
}

/* Gives back the committed chunks of [first, end), none of which holds a taken unit. */
static void decommit(struct dcm_arena *arena, uint64_t first, uint64_t end)
{
	uint64_t run = next_chunk(arena, first, end, true), stop;

	for (; run < end; run = next_chunk(arena, stop, end, true)) {
		stop = next_chunk(arena, run, end, false);
		if (arena->base != NULL && advise(arena, run, stop - run, MADV_REMOVE) != 0)
			continue; /* the pages are still there, and still counted */
		for (uint64_t chunk = run; chunk < stop; chunk++)
			clear_bit(arena->committed, chunk);
		arena->committed_chunks -= stop - run;
		arena->idle_chunks -= stop - run;
	}
}

/* Makes sure that the chunks of [first, end) have pages; new ones are idle until they are used. */
static int commit(struct dcm_arena *arena, uint64_t first, uint64_t end)
{
	uint64_t run = next_chunk(arena, first, end, false), stop;

	for (; run < end; run = next_chunk(arena, stop, end, false)) {
		stop = next_chunk(arena, run, end, true);
		if (arena->populates) {
			int result = advise(arena, run, stop - run, MADV_POPULATE_WRITE);

			if (result == -EINVAL) {
				arena->populates = false;
			} else if (result != 0) {
				/* Some pages may have come. The chunks before this run are
				   whole ones of the same block: nothing in them is taken. */
				(void)advise(arena, run, stop - run, MADV_REMOVE);
				decommit(arena, first, run);
				return result;
			}
		}
		for (uint64_t chunk = run; chunk < stop; chunk++)
			set_bit(arena->committed, chunk);
		arena->committed_chunks += stop - run;
		arena->idle_chunks += stop - run;
	}
	return 0;
}

/* Units [unit, unit + count) become taken: either part of one chunk, or whole chunks. */
static void use(struct dcm_arena *arena, uint64_t unit, uint64_t count)
{
	uint64_t each = count < CHUNK_UNITS ? count : CHUNK_UNITS;

	arena->taken_units += count;
	for (uint64_t at = unit; at < unit + count; at += each) {
		if (arena->used[at / CHUNK_UNITS] == 0)
			arena->idle_chunks--;
		arena->used[at / CHUNK_UNITS] = (uint16_t)(arena->used[at / CHUNK_UNITS] + each);
	}
}

static void disuse(struct dcm_arena *arena, uint64_t unit, uint64_t count)
{
	uint64_t each = count < CHUNK_UNITS ? count : CHUNK_UNITS;

	arena->taken_units -= count;
	for (uint64_t at = unit; at < unit + count; at += each) {
		arena->used[at / CHUNK_UNITS] = (uint16_t)(arena->used[at / CHUNK_UNITS] - each);
		if (arena->used[at / CHUNK_UNITS] == 0)
			arena->idle_chunks++;
	}
}

int dcm_arena_take(struct dcm_arena *arena, uint64_t size, uint64_t *offset)
{
	uint64_t count = size == 0 ? 1 : (size - 1) / DCM_ARENA_UNIT + 1;
	unsigned want, k;
	uint64_t unit, end;
	int result;

	if (size > dcm_arena_largest(arena))
		return -E2BIG;
	if (arena->tables == NULL && !make_tables(arena))
		return -ENOMEM;
	want = count == 1 ? 0 : log2_of(count - 1) + 1;
	if (arena->nonempty >> want == 0)
		return -ENOSPC;
	k = want + (unsigned)__builtin_ctzll(arena->nonempty >> want);
	unit = lowest_free(&arena->order[k]) << k;
	count = UINT64_C(1) << want;
	end = (unit + count + CHUNK_UNITS - 1) / CHUNK_UNITS;
	result = commit(arena, unit / CHUNK_UNITS, end);
	if (result != 0)
		return result;
	remove_free(arena, k, unit >> k);
	/* The lower half is kept at each cut, the upper one becomes free. */
	while (k-- > want)
		add_free(arena, k, (unit >> k) + 1);
	arena->taken[unit] = (uint8_t)(want + 1);
	use(arena, unit, count);
	*offset = unit * DCM_ARENA_UNIT;
	return 0;
}

/* From the end of a free block that is whole chunks: what is low is what is taken next. */
static void trim(struct dcm_arena *arena, uint64_t unit, unsigned k)
{
	uint64_t first = unit / CHUNK_UNITS;
	uint64_t end = first + (UINT64_C(1) << (k - CHUNK_ORDER));
	uint64_t over = arena->idle_chunks - KEEP_CHUNKS, from = end;

	while (from > first && over > 0)
		if (bit_of(arena->committed, --from))
			over--;
	decommit(arena, from, end);
}

int dcm_arena_give(struct dcm_arena *arena, uint64_t offset)
{
	uint64_t unit = offset / DCM_ARENA_UNIT;
	unsigned k;

	if (dcm_arena_room(arena, offset) == 0)
		return -EINVAL;
	k = arena->taken[unit] - 1u;
	arena->taken[unit] = 0;
	disuse(arena, unit, UINT64_C(1) << k);
	for (; k + 1 < arena->orders; k++) {
		/* Its bit lies in the same word, and is 0 where the arena ends before it. */
		uint64_t beside = unit >> k ^ 1;

		if (!bit_of(arena->order[k].free, beside))
			break;
		remove_free(arena, k, beside);
		unit &= ~(UINT64_C(1) << k);
	}
	add_free(arena, k, unit >> k);
	if (k >= CHUNK_ORDER && arena->idle_chunks > KEEP_CHUNKS)
		trim(arena, unit, k);
	return 0;
}

uint64_t dcm_arena_room(const struct dcm_arena *arena, uint64_t offset)
{
	uint64_t unit = offset / DCM_ARENA_UNIT;

	if (arena->tables == NULL || offset % DCM_ARENA_UNIT != 0 || unit >= arena->units ||
	    arena->taken[unit] == 0)
		return 0;
	return (uint64_t)DCM_ARENA_UNIT << (arena->taken[unit] - 1);
}

uint64_t dcm_arena_largest(const struct dcm_arena *arena)
{
	return (uint64_t)DCM_ARENA_UNIT << (arena->orders - 1);
}

uint64_t dcm_arena_taken(const struct dcm_arena *arena)
{
	return arena->taken_units * DCM_ARENA_UNIT;
}

uint64_t dcm_arena_committed(const struct dcm_arena *arena)
{
	return arena->committed_chunks * DCM_ARENA_CHUNK;
}
