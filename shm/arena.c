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
 *
 * Blocks of up to 1 MiB that come back wait in a queue for each order, and most are given out from there,
 * so that nothing is cut or put together. A block that waits is neither free in the bitmaps nor
 * taken; nothing is out of reach for it, because the queues are emptied before room is refused. Its
 * chunk may lose its pages, and gets new ones when it is taken.
 *
 * What is taken one at a time is the same block again and again, and stays in the caches. Of a stream
 * new ones are cut until as many wait as are taken, up to DCM_ARENA_KEEP of all together; then the one
 * that has waited longest is given out. By then its lines have left the caches of the processor that
 * read them, and need not be fetched from there, which costs more than to have them from the cache that
 * both share.
 */
#define _GNU_SOURCE
#include "shm/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "shm/bitmap.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

enum {
	CHUNK_UNITS = DCM_ARENA_CHUNK / DCM_ARENA_UNIT,
	CHUNK_ORDER = 8,
	KEEP_CHUNKS = DCM_ARENA_KEEP / DCM_ARENA_CHUNK,
	KEEP_UNITS = DCM_ARENA_KEEP / DCM_ARENA_UNIT,
	ORDERS_MAX = 33,
	QUEUES = CHUNK_ORDER + 5, /* orders whose blocks wait, up to 16 chunks each */
	QUEUE_MOST = 512,	  /* twice what a client can have on their way */
	SHED_CHUNKS = 4,	  /* given back at once */
	TRIES = 16,
};

#define BYTES_MAX (UINT64_C(1) << 40)

static_assert(1 << CHUNK_ORDER == CHUNK_UNITS, "a chunk is a block");

struct order {
	uint64_t *free;	   /* a bit for each block of this order */
	uint64_t *summary; /* a bit for each word of free that is not 0 */
	uint64_t blocks;   /* whole blocks of this order that the arena could be cut into */
	uint64_t count;	   /* of them free */
};

struct queue {
	uint32_t taken; /* blocks of this order */
	uint32_t first, count;
	uint32_t unsure; /* of them, from the first on: may have lost their pages */
	uint32_t *unit;	 /* where each block begins, QUEUE_MOST of them */
};

struct dcm_arena {
	unsigned char *base;
	uint64_t units;
	uint64_t taken_units, waiting_units;
	uint64_t committed_chunks;
	uint64_t idle_chunks; /* committed, and no unit of them taken */
	uint64_t most_chunks; /* in use at once since the last look */
	uint64_t may_stay; /* chunks committed that the last look found to be used now and then */
	uint64_t nonempty; /* a bit for each order that has a free block */
	unsigned orders;
	bool populates; /* false: the kernel commits pages as they are touched */
	struct order order[ORDERS_MAX];
	struct queue queue[QUEUES];
	uint8_t *taken;	     /* for each unit */
	uint16_t *used;	     /* units taken in smaller blocks, for each chunk */
	uint64_t *committed; /* a bit for each chunk */
	uint64_t *busy;	     /* a bit for each chunk of which some unit is taken */
	void *tables; /* one mapping that holds all of these, touched as they are used; null: no room
			 was ever taken */
	size_t tables_bytes;
};

/* The highest bit of a number that is not 0. */
static unsigned log2_of(uint64_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

static void add_free(struct dcm_arena *arena, unsigned k, uint64_t block)
{
	struct order *order = &arena->order[k];

	dcm_bitmap_set(order->free, block);
	dcm_bitmap_set(order->summary, block / 64);
	order->count++;
	arena->nonempty |= UINT64_C(1) << k;
}

static void remove_free(struct dcm_arena *arena, unsigned k, uint64_t block)
{
	struct order *order = &arena->order[k];

	dcm_bitmap_clear(order->free, block);
	if (order->free[block / 64] == 0)
		dcm_bitmap_clear(order->summary, block / 64);
	if (--order->count == 0)
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
		PLACE(order->summary, dcm_bitmap_words(dcm_bitmap_words(order->blocks)));
	}
	PLACE(arena->committed, dcm_bitmap_words(chunks));
	PLACE(arena->busy, dcm_bitmap_words(chunks));
	PLACE(arena->used, chunks);
	for (unsigned k = 0; k < QUEUES; k++)
		PLACE(arena->queue[k].unit, QUEUE_MOST);
	for (unsigned k = arena->orders; k-- > 0;)
		PLACE(arena->order[k].free, dcm_bitmap_words(arena->order[k].blocks));
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
	while (from < end && dcm_bitmap_has(arena->committed, from) != committed)
		from++;
	return from;
}

/* Gives back the committed chunks of [first, end), none of which holds a taken unit. */
static void decommit(struct dcm_arena *arena, uint64_t first, uint64_t end)
{
	uint64_t run = next_chunk(arena, first, end, true), stop;

	for (unsigned k = 0; k < QUEUES; k++)
		arena->queue[k].unsure = arena->queue[k].count;
	for (; run < end; run = next_chunk(arena, stop, end, true)) {
		stop = next_chunk(arena, run, end, false);
		if (arena->base != NULL && advise(arena, run, stop - run, MADV_REMOVE) != 0)
			continue; /* the pages are still there, and still counted */
		dcm_bitmap_clear_all(arena->committed, run, stop);
		arena->committed_chunks -= stop - run;
		arena->idle_chunks -= stop - run;
	}
}

/* Makes sure that the chunks of [first, end) have pages; new ones are idle until they are used. */
static int commit(struct dcm_arena *arena, uint64_t first, uint64_t end)
{
	uint64_t run, stop;

	if (dcm_bitmap_has_all(arena->committed, first, end))
		return 0;
	run = next_chunk(arena, first, end, false);
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
		dcm_bitmap_set_all(arena->committed, run, stop);
		arena->committed_chunks += stop - run;
		arena->idle_chunks += stop - run;
	}
	return 0;
}

static uint64_t chunks_of(unsigned k)
{
	return k < CHUNK_ORDER ? 1 : UINT64_C(1) << (k - CHUNK_ORDER);
}

/* The block of order k at @unit becomes taken: either part of one chunk, or whole chunks. */
static void use(struct dcm_arena *arena, uint64_t unit, unsigned k)
{
	uint64_t chunk = unit / CHUNK_UNITS, in_use;

	arena->taken[unit] = (uint8_t)(k + 1);
	arena->taken_units += UINT64_C(1) << k;
	if (k < QUEUES)
		arena->queue[k].taken++;
	if (k >= CHUNK_ORDER || arena->used[chunk] == 0) {
		dcm_bitmap_set_all(arena->busy, chunk, chunk + chunks_of(k));
		arena->idle_chunks -= chunks_of(k);
	}
	if (k < CHUNK_ORDER)
		arena->used[chunk] = (uint16_t)(arena->used[chunk] + (1u << k));
	in_use = arena->committed_chunks - arena->idle_chunks;
	if (in_use > arena->most_chunks)
		arena->most_chunks = in_use;
}

static void disuse(struct dcm_arena *arena, uint64_t unit, unsigned k)
{
	uint64_t chunk = unit / CHUNK_UNITS;

	arena->taken[unit] = 0;
	arena->taken_units -= UINT64_C(1) << k;
	if (k < QUEUES)
		arena->queue[k].taken--;
	if (k < CHUNK_ORDER)
		arena->used[chunk] = (uint16_t)(arena->used[chunk] - (1u << k));
	if (k >= CHUNK_ORDER || arena->used[chunk] == 0) {
		dcm_bitmap_clear_all(arena->busy, chunk, chunk + chunks_of(k));
		arena->idle_chunks += chunks_of(k);
	}
}

/* A block that is neither taken nor waits is free, together with what is free beside it. */
static void add_block(struct dcm_arena *arena, uint64_t unit, unsigned k)
{
	for (; k + 1 < arena->orders; k++) {
		/* Its bit lies in the same word, and is 0 where the arena ends before it. */
		uint64_t beside = unit >> k ^ 1;

		if (!dcm_bitmap_has(arena->order[k].free, beside))
			break;
		remove_free(arena, k, beside);
		unit &= ~(UINT64_C(1) << k);
	}
	add_free(arena, k, unit >> k);
}

/* The block that has waited longest; or the one that came last, while none of its order is taken, or
   where that one has its pages and the other may have none. */
static int take_waiting(struct dcm_arena *arena, unsigned k, uint64_t *unit)
{
	struct queue *queue = &arena->queue[k];
	bool newest = queue->taken == 0 || queue->unsure != 0;
	uint32_t at = newest ? queue->count - 1 : 0;
	uint64_t chunk;
	int result = 0;

	if (queue->count == 0)
		return -ENOSPC;
	*unit = queue->unit[(queue->first + at) % QUEUE_MOST];
	chunk = *unit / CHUNK_UNITS;
	if (at < queue->unsure)
		result = commit(arena, chunk, chunk + chunks_of(k));
	if (result != 0)
		return result;
	if (at == 0)
		queue->first++;
	if (at < queue->unsure)
		queue->unsure--;
	queue->count--;
	arena->waiting_units -= UINT64_C(1) << k;
	return 0;
}

/* The block of order k at @unit waits until it is wanted again; false: enough do. */
static bool add_waiting(struct dcm_arena *arena, unsigned k, uint64_t unit)
{
	struct queue *queue;

	if (k >= QUEUES || arena->queue[k].count == QUEUE_MOST)
		return false;
	queue = &arena->queue[k];
	queue->unit[(queue->first + queue->count++) % QUEUE_MOST] = (uint32_t)unit;
	arena->waiting_units += UINT64_C(1) << k;
	return true;
}

/* Return: did any block wait? All are free now. */
static bool empty_queues(struct dcm_arena *arena)
{
	bool any = false;

	for (unsigned k = 0; k < QUEUES; k++) {
		struct queue *queue = &arena->queue[k];

		any = any || queue->count != 0;
		for (; queue->count != 0; queue->count--)
			add_block(arena, queue->unit[queue->first++ % QUEUE_MOST], k);
		queue->unsure = 0;
	}
	arena->waiting_units = 0;
	return any;
}

/* Out of the smallest free block that will do, of these the lowest. */
static int cut(struct dcm_arena *arena, unsigned want, uint64_t *unit)
{
	uint64_t chunk;
	unsigned k;
	int result;

	if (arena->nonempty >> want == 0)
		return -ENOSPC;
	k = want + (unsigned)__builtin_ctzll(arena->nonempty >> want);
	*unit = lowest_free(&arena->order[k]) << k;
	chunk = *unit / CHUNK_UNITS;
	result = commit(arena, chunk, chunk + chunks_of(want));
	if (result != 0)
		return result;
	remove_free(arena, k, *unit >> k);
	/* The lower half is kept at each cut, the upper one becomes free. */
	while (k-- > want)
		add_free(arena, k, (*unit >> k) + 1);
	return 0;
}

/* Of what is free and will do for order k, is there the largest block alone that there can be? */
static bool largest_alone(const struct dcm_arena *arena, unsigned k)
{
	return arena->nonempty >> k == UINT64_C(1) << (arena->orders - 1 - k);
}

/*
 * Is a block of order k to be given out that waits, though another could be cut? When as many wait as are
 * taken, or enough of all orders; and rather than cut the largest block: that rooms take turns is not to
 * cost anybody what could be had else.
 */
static bool enough_wait(const struct dcm_arena *arena, unsigned k)
{
	const struct queue *queue = &arena->queue[k];

	return queue->count > queue->taken || queue->count == QUEUE_MOST ||
	       arena->taken_units + arena->waiting_units >= KEEP_UNITS || largest_alone(arena, k);
}

static int find(struct dcm_arena *arena, unsigned want, uint64_t *unit)
{
	int result;

	if (want < QUEUES && enough_wait(arena, want) && take_waiting(arena, want, unit) == 0)
		return 0;
	/* The largest block is cut when all that is free beside it has been put together. */
	if (largest_alone(arena, want) && want < arena->orders - 1)
		empty_queues(arena);
	result = cut(arena, want, unit);
	if (result != 0 && want < QUEUES && take_waiting(arena, want, unit) == 0)
		return 0;
	if (result == -ENOSPC && empty_queues(arena))
		return cut(arena, want, unit);
	return result;
}

int dcm_arena_take(struct dcm_arena *arena, uint64_t size, uint64_t *offset)
{
	uint64_t count = size == 0 ? 1 : (size - 1) / DCM_ARENA_UNIT + 1, unit = 0;
	unsigned want = count == 1 ? 0 : log2_of(count - 1) + 1;
	int result;

	if (size > dcm_arena_largest(arena))
		return -E2BIG;
	if (arena->tables == NULL && !make_tables(arena))
		return -ENOMEM;
	result = find(arena, want, &unit);
	if (result != 0)
		return result;
	use(arena, unit, want);
	*offset = unit * DCM_ARENA_UNIT;
	return 0;
}

int dcm_arena_give(struct dcm_arena *arena, uint64_t offset)
{
	uint64_t unit = offset / DCM_ARENA_UNIT;
	unsigned k;

	if (dcm_arena_room(arena, offset) == 0)
		return -EINVAL;
	k = arena->taken[unit] - 1u;
	disuse(arena, unit, k);
	if (!add_waiting(arena, k, unit))
		add_block(arena, unit, k);
	return 0;
}

bool dcm_arena_look(struct dcm_arena *arena)
{
	uint64_t in_use = arena->committed_chunks - arena->idle_chunks;

	arena->may_stay = arena->most_chunks + KEEP_CHUNKS;
	arena->most_chunks = in_use;
	empty_queues(arena);
	return arena->may_stay > in_use + KEEP_CHUNKS && arena->idle_chunks > KEEP_CHUNKS;
}

/* Chunks that need not have pages: those in use, and DCM_ARENA_KEEP, are never among them. */
static uint64_t spare_chunks(const struct dcm_arena *arena)
{
	uint64_t stay = arena->most_chunks + KEEP_CHUNKS;

	if (stay < arena->may_stay)
		stay = arena->may_stay;
	return arena->committed_chunks > stay ? arena->committed_chunks - stay : 0;
}

bool dcm_arena_has_spare(const struct dcm_arena *arena)
{
	return spare_chunks(arena) != 0;
}

/* The end of the highest run of chunks below @end that have pages and nothing taken; 0: none. */
static uint64_t last_idle(const struct dcm_arena *arena, uint64_t end)
{
	for (uint64_t word = dcm_bitmap_words(end); word-- > 0;) {
		uint64_t idle =
			arena->committed[word] & ~arena->busy[word] & dcm_bitmap_part(word, 0, end);

		if (idle != 0)
			return word * 64 + log2_of(idle) + 1;
	}
	return 0;
}

bool dcm_arena_shed(struct dcm_arena *arena, uint64_t *below)
{
	uint64_t chunks = arena->units / CHUNK_UNITS, over = spare_chunks(arena), end, first;

	if (over == 0)
		return false;
	if (over > SHED_CHUNKS)
		over = SHED_CHUNKS;
	/* From the end: of what is free, the low blocks are taken first. */
	end = last_idle(arena, *below < chunks ? *below : chunks);
	for (first = end; first > 0 && end - first < over; first--)
		if (!dcm_bitmap_has(arena->committed, first - 1) ||
		    dcm_bitmap_has(arena->busy, first - 1))
			break;
	decommit(arena, first, end);
	*below = first;
	return first > 0;
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

uint64_t dcm_arena_idle(const struct dcm_arena *arena)
{
	return arena->idle_chunks * DCM_ARENA_CHUNK;
}
