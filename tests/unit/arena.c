/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/arena.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

static uint64_t take(struct dcm_arena *arena, uint64_t size)
{
	uint64_t offset = UINT64_MAX;
	int result = dcm_arena_take(arena, size, &offset);

	return result == 0 ? offset : UINT64_MAX;
}

static void sizes(void)
{
	struct dcm_arena *arena = dcm_arena_create(NULL, 3 * MIB + 64 * KIB);
	uint64_t at = 7;

	is_uint(2 * MIB, dcm_arena_largest(arena), "the largest block of 3 MiB and a bit is 2 MiB");
	is_int(0, dcm_arena_take(arena, 0, &at), "room for nothing can be had");
	is_uint(3 * MIB, at, "out of the smallest block that will do");
	is_uint(256, dcm_arena_room(arena, at), "it is one unit");
	is_int(0, dcm_arena_take(arena, 1, &at), "room for one byte can be had");
	is_uint(3 * MIB + 256, at, "right behind");
	is_int(0, dcm_arena_take(arena, 257, &at), "257 bytes can be had");
	is_uint(512, dcm_arena_room(arena, at), "they are two units");
	is_uint(1024, dcm_arena_taken(arena), "taken counts whole blocks");
	is_int(0, dcm_arena_give(arena, 3 * MIB), "the first is given");
	is_uint(3 * MIB + 1024, take(arena, 256), "it has to wait while another is taken");
	is_int(0, dcm_arena_give(arena, 3 * MIB + 256), "with none of its size taken");
	is_int(0, dcm_arena_give(arena, 3 * MIB + 1024), "the last that came back");
	is_uint(3 * MIB + 1024, take(arena, 256), "is taken again");
	is_uint(0, take(arena, 2 * MIB), "the largest block is whole");
	at = 7;
	is_int(-ENOSPC, dcm_arena_take(arena, 2 * MIB, &at), "there is no other");
	is_int(-E2BIG, dcm_arena_take(arena, 2 * MIB + 1, &at), "one more byte never fits");
	is_int(-E2BIG, dcm_arena_take(arena, UINT64_MAX, &at), "UINT64_MAX never fits");
	is_int(-E2BIG, dcm_arena_take(arena, UINT64_MAX - 254, &at),
	       "nor what overflows in rounding");
	is_uint(7, at, "a failure leaves the offset alone");
	is_uint(2 * MIB, take(arena, MIB), "the block in the middle is whole too");
	is_int(0, dcm_arena_give(arena, 3 * MIB + 512), "small ones come back");
	is_int(0, dcm_arena_give(arena, 3 * MIB + 1024), "in any order");
	is_uint(3 * MIB, take(arena, 64 * KIB), "and are one block again when one is wanted");
	is_int(-ENOSPC, dcm_arena_take(arena, 1, &at), "then nothing is left");
	dcm_arena_destroy(arena);
	dcm_arena_destroy(NULL);
}

static void bad_gives(void)
{
	struct dcm_arena *arena = dcm_arena_create(NULL, MIB);
	uint64_t at = take(arena, 4096), bad = 0;

	for (uint64_t i = 0; i < MIB + 8192; i++)
		if (i != at && dcm_arena_give(arena, i) != -EINVAL)
			bad++;
	is_uint(0, bad, "no offset but that of the block is accepted");
	is_uint(0, dcm_arena_room(arena, at + 256), "inside a block no block starts");
	is_int(-EINVAL, dcm_arena_give(arena, UINT64_MAX), "UINT64_MAX is no block");
	is_int(-EINVAL, dcm_arena_give(arena, UINT64_MAX / 256 * 256), "nor what wraps around");
	is_uint(0, dcm_arena_room(arena, UINT64_C(1) << 63), "nor is 2^63");
	is_int(0, dcm_arena_give(arena, at), "the block itself is");
	is_int(-EINVAL, dcm_arena_give(arena, at), "but not twice");
	is_uint(0, dcm_arena_taken(arena), "nothing is taken at the end");
	dcm_arena_destroy(arena);
	ok(dcm_arena_create(NULL, 0) == NULL, "no arena of no bytes");
	ok(dcm_arena_create(NULL, 65536 + 256) == NULL, "nor of half a chunk");
	ok(dcm_arena_create(NULL, UINT64_MAX / 65536 * 65536) == NULL,
	   "nor of everything there is");
}

/* Of a stream, the room that came back last is not the next, while there is room in the caches. */
static void turns(void)
{
	static const struct {
		uint64_t size, rooms;
	} streams[] = { { 256, 119 }, { 4096, 119 }, { 65536, 64 }, { MIB, 60 } };
	enum { ON_WAY = 60 };

	for (unsigned i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct dcm_arena *arena = dcm_arena_create(NULL, 128 * MIB);
		uint64_t at[ON_WAY], came[120] = { 0 }, rooms = 0, soonest = UINT64_MAX;

		for (unsigned j = 0; j < 10 * ON_WAY; j++) {
			uint64_t *mine = &at[j % ON_WAY];

			if (j >= ON_WAY) {
				dcm_arena_give(arena, *mine);
				came[*mine / streams[i].size] = j;
			}
			*mine = take(arena, streams[i].size);
			if (*mine / streams[i].size >= rooms)
				rooms = *mine / streams[i].size + 1;
			else if (j - came[*mine / streams[i].size] < soonest)
				soonest = j - came[*mine / streams[i].size];
		}
		is_uint(streams[i].rooms, rooms,
			"%d rooms of %" PRIu64 " bytes on their way have %" PRIu64, ON_WAY,
			streams[i].size, streams[i].rooms);
		is_uint(streams[i].rooms - ON_WAY, soonest, "which take turns");
		dcm_arena_destroy(arena);
	}
}

/* That rooms take turns costs nobody the largest block, as long as the others are room enough. */
static void whole(void)
{
	static const struct {
		uint64_t bytes, size, least, most, largest;
	} streams[] = {
		{ 448 * KIB, 16 * KIB, 1, 7, 256 * KIB },
		{ 448 * KIB, 4 * KIB, 20, 30, 256 * KIB },
		{ 1984 * KIB, 64 * KIB, 8, 12, MIB },
		{ 3968 * KIB, 64 * KIB, 4, 24, 2 * MIB },
		{ 32704 * KIB, 64 * KIB, 10, 60, 16 * MIB },
	};

	for (unsigned i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		struct dcm_arena *arena = dcm_arena_create(NULL, streams[i].bytes);
		uint64_t at[60], count = 0, first = 0, goal = 0, refused = 0, large;

		for (unsigned j = 0; j < 20000; j++) {
			if (j % 50 == 0)
				goal = streams[i].least +
				       draw(streams[i].most - streams[i].least + 1);
			if (count < goal || count == 0) {
				at[(first + count++) % 60] = take(arena, streams[i].size);
			} else {
				dcm_arena_give(arena, at[first++ % 60]);
				count--;
			}
			if (j % 7 != 0)
				continue;
			large = take(arena, streams[i].largest);
			refused += large == UINT64_MAX || dcm_arena_give(arena, large) != 0;
		}
		is_uint(0, refused, "%" PRIu64 " bytes are there beside %" PRIu64 " of %" PRIu64,
			streams[i].largest, streams[i].most, streams[i].size);
		dcm_arena_destroy(arena);
	}
}

/* One at a time, whatever came before, the room that came back last is the next: so are its pages. */
static void again(void)
{
	static const uint64_t sizes[] = { 65, 256, 257, 4096, 20000, 65536, 70000, MIB };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct dcm_arena *arena = dcm_arena_create(NULL, 64 * MIB);
		uint64_t at[40], bad = 0, committed;

		for (unsigned turn = 0; turn < 100; turn++) {
			unsigned count = 1 + turn % 40;

			for (unsigned j = 0; j < count; j++)
				at[j] = take(arena, sizes[i]);
			for (unsigned j = 0; j < count; j++)
				bad += dcm_arena_give(arena, at[j]) != 0;
		}
		committed = dcm_arena_committed(arena);
		at[0] = take(arena, sizes[i]);
		for (unsigned turn = 0; turn < 100; turn++) {
			bad += dcm_arena_give(arena, at[0]) != 0;
			bad += take(arena, sizes[i]) != at[0];
		}
		is_uint(0, bad, "a room for %" PRIu64 " bytes is used again and again", sizes[i]);
		is_uint(committed, dcm_arena_committed(arena), "and no other");
		dcm_arena_destroy(arena);
	}
}

static void shed(struct dcm_arena *arena)
{
	uint64_t below = UINT64_MAX;

	while (dcm_arena_shed(arena, &below))
		;
}

/* A stream that fills the channel now and then, and is far from it in between. */
static void bursts(void)
{
	struct dcm_arena *arena = dcm_arena_create(NULL, 64 * MIB);
	uint64_t at[32], moved = 0, full = 0, bad = 0;

	for (unsigned turn = 0; turn < 1000; turn++) {
		unsigned high = turn % 100 == 0 ? 32 : 1;

		for (unsigned i = 0; i < high; i++)
			bad += dcm_arena_take(arena, MIB, &at[i]) != 0;
		for (unsigned i = 0; i < high; i++)
			bad += dcm_arena_give(arena, at[i]) != 0;
		if (turn == 0)
			full = dcm_arena_committed(arena);
		if (turn % 250 == 249) {
			bad += !dcm_arena_look(arena);
			shed(arena);
		}
		moved += dcm_arena_committed(arena) != full;
	}
	is_uint(32 * MIB, full, "a stream fills its channel");
	is_uint(0, moved, "what it uses now and then stays committed");
	bad += dcm_arena_take(arena, MIB, &at[0]) != 0 || dcm_arena_give(arena, at[0]) != 0;
	ok(dcm_arena_look(arena), "the last room was in use lately: another look is wanted");
	ok(dcm_arena_has_spare(arena), "but much was not");
	shed(arena);
	is_uint(DCM_ARENA_KEEP + MIB, dcm_arena_committed(arena), "and goes");
	dcm_arena_look(arena);
	shed(arena);
	is_uint(DCM_ARENA_KEEP, dcm_arena_committed(arena), "the room with the next look");
	ok(!dcm_arena_look(arena) && !dcm_arena_has_spare(arena), "for as long as nothing happens");
	is_uint(0, bad, "every room came back");
	dcm_arena_destroy(arena);
}

struct loan {
	uint64_t at, room, size;
};

/* Which loans of the model overlap or are out of place; the model is a byte for each unit. */
static unsigned enter(unsigned char *model, uint64_t units, const struct loan *loan, int value)
{
	unsigned bad = 0;

	bad += loan->at % 256 != 0 || loan->at % loan->room != 0 || loan->room < loan->size;
	bad += loan->room > 256 && loan->room / 2 >= loan->size;
	bad += loan->at / 256 + loan->room / 256 > units;
	for (uint64_t i = loan->at / 256; bad == 0 && i < (loan->at + loan->room) / 256; i++) {
		bad += model[i] == value;
		model[i] = (unsigned char)value;
	}
	return bad;
}

static uint64_t some_size(uint64_t largest)
{
	switch (draw(8)) {
	case 0:
		return draw(largest + 1);
	case 1:
		return draw(largest < 65536 * 3 ? largest : 65536 * 3);
	case 2:
		return 256 * draw(64);
	default:
		return draw(4096);
	}
}

static void against_model(unsigned char *base, uint64_t bytes)
{
	enum { LOANS = 400 };
	struct dcm_arena *arena = dcm_arena_create(base, bytes);
	unsigned char *model = calloc(1, bytes / 256);
	struct loan *loans = calloc(LOANS, sizeof(*loans));
	uint64_t taken = 0, rounds = tap_scaled(60000), got = 0, full = 0, most = 0, gone = 0;
	uint64_t most_before = 0;
	unsigned count = 0, bad = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		if (draw(500) == 0) {
			uint64_t was = dcm_arena_committed(arena), in_use;

			in_use = was - dcm_arena_idle(arena);
			dcm_arena_look(arena);
			bad += in_use < taken || in_use > most;
			most_before = most;
			most = in_use;
			shed(arena);
			gone += was - dcm_arena_committed(arena);
			bad += dcm_arena_has_spare(arena) ||
			       dcm_arena_committed(arena) > most_before + DCM_ARENA_KEEP ||
			       (dcm_arena_committed(arena) < was &&
				dcm_arena_committed(arena) < most_before + DCM_ARENA_KEEP);
		}
		if (count < LOANS && draw(100) < (i / 2000 % 2 != 0 ? 70 : 40)) {
			struct loan *loan = &loans[count];
			int result;

			loan->size = some_size(dcm_arena_largest(arena));
			result = dcm_arena_take(arena, loan->size, &loan->at);
			bad += result != 0 && result != -ENOSPC;
			full += result == -ENOSPC;
			if (result != 0)
				continue;
			got++;
			loan->room = dcm_arena_room(arena, loan->at);
			bad += enter(model, bytes / 256, loan, 1);
			taken += loan->room;
			if (dcm_arena_committed(arena) - dcm_arena_idle(arena) > most)
				most = dcm_arena_committed(arena) - dcm_arena_idle(arena);
			if (base != NULL)
				memset(base + loan->at, (int)(loan->at / 256 % 251),
				       (size_t)loan->size);
			count++;
		} else if (count > 0) {
			uint64_t which = draw(count);

			for (uint64_t at = loans[which].at;
			     base != NULL && at < loans[which].at + loans[which].size; at += 4096)
				bad += base[at] != loans[which].at / 256 % 251;
			bad += enter(model, bytes / 256, &loans[which], 0);
			bad += dcm_arena_give(arena, loans[which].at) != 0;
			taken -= loans[which].room;
			loans[which] = loans[--count];
		}
		bad += dcm_arena_taken(arena) != taken || dcm_arena_committed(arena) < taken;
	}
	note("%" PRIu64 " loans, %" PRIu64 " times full, %" PRIu64 " MiB given back", got, full,
	     gone / MIB);
	ok(got > 0 && full > 0, "%" PRIu64 " KiB: it was full at times", bytes / KIB);
	while (count > 0)
		bad += dcm_arena_give(arena, loans[--count].at) != 0;
	is_uint(0, bad, "%" PRIu64 " KiB: blocks never overlap, fit, and come back", bytes / KIB);
	is_uint(0, dcm_arena_taken(arena), "nothing is taken");
	is_uint(0, take(arena, dcm_arena_largest(arena)), "the largest block is there again");
	ok(dcm_arena_give(arena, 0) == 0, "and goes back");
	while (dcm_arena_look(arena))
		shed(arena);
	shed(arena);
	ok(dcm_arena_committed(arena) <= DCM_ARENA_KEEP, "little is kept");
	dcm_arena_destroy(arena);
	free(model);
	free(loans);
}

static uint64_t blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void pages(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	uint64_t bytes = 32 * MIB, at, low, high, bad = 0;
	unsigned char *base;
	struct dcm_arena *arena;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
		sysbail("memfd");
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		sysbail("mmap");
	arena = dcm_arena_create(base, bytes);
	is_uint(0, blocks_of(fd), "a new arena uses no pages");
	at = take(arena, 100);
	is_uint(64 * KIB, blocks_of(fd), "the first loan commits one chunk, before it is touched");
	is_uint(64 * KIB, dcm_arena_committed(arena), "and that is counted");
	is_uint(256, take(arena, 100), "the second is beside it");
	is_uint(64 * KIB, blocks_of(fd), "and needs no more");
	low = take(arena, 3 * MIB);
	is_uint(4 * MIB + 64 * KIB, blocks_of(fd), "a large loan commits its block");
	high = take(arena, 16 * MIB);
	is_uint(20 * MIB + 64 * KIB, blocks_of(fd), "and a larger one");
	memset(base + low, 1, 4 * MIB);
	memset(base + high, 2, 16 * MIB);
	is_int(0, dcm_arena_give(arena, high), "that is given");
	is_uint(20 * MIB + 64 * KIB, blocks_of(fd), "and keeps its pages for the next");
	ok(dcm_arena_look(arena), "until it lies idle from one look");
	shed(arena);
	is_uint(20 * MIB + 64 * KIB, blocks_of(fd), "where it was in use before");
	ok(!dcm_arena_look(arena), "to the next");
	shed(arena);
	is_uint(8 * MIB + 64 * KIB, blocks_of(fd), "4 MiB that lie free are kept");
	is_uint(8 * MIB + 64 * KIB, dcm_arena_committed(arena), "and counted");
	for (uint64_t i = 0; i < 4 * MIB; i++)
		bad += base[low + i] != 1;
	is_uint(0, bad, "what is taken lost nothing");
	is_int(0, dcm_arena_give(arena, low), "the other is given too");
	while (dcm_arena_look(arena))
		shed(arena);
	shed(arena);
	is_uint(4 * MIB + 64 * KIB, blocks_of(fd),
		"and still 4 MiB are kept, beside the chunk in use");
	is_int(0, dcm_arena_give(arena, at), "small ones");
	is_int(0, dcm_arena_give(arena, at + 256), "back as well");
	while (dcm_arena_look(arena))
		shed(arena);
	dcm_arena_look(arena);
	shed(arena);
	is_uint(4 * MIB, blocks_of(fd), "in the end 4 MiB are kept");
	is_uint(blocks_of(fd), dcm_arena_committed(arena), "as counted");
	is_uint(0, take(arena, 32 * MIB), "everything at once");
	is_uint(32 * MIB, blocks_of(fd), "commits everything");
	dcm_arena_destroy(arena);
	against_model(base, bytes);
	munmap(base, bytes);
	close(fd);
}

/* A file shorter than its mapping is how the kernel's refusal to give pages is had at will. */
static void no_pages(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	uint64_t bytes = 4 * MIB, at = 7;
	unsigned char *base;
	struct dcm_arena *arena;

	if (fd < 0 || ftruncate(fd, (off_t)MIB) != 0)
		sysbail("memfd");
	base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		sysbail("mmap");
	arena = dcm_arena_create(base, bytes);
	is_uint(0, take(arena, 64 * KIB), "what there is can be had");
	errno = 0;
	is_int(-ENOMEM, dcm_arena_take(arena, 2 * MIB, &at), "what the kernel refuses cannot");
	is_int(0, errno, "errno is left alone");
	is_uint(7, at, "and no offset is given");
	is_uint(64 * KIB, dcm_arena_taken(arena), "nothing more is taken");
	is_uint(64 * KIB, dcm_arena_committed(arena), "nor committed");
	is_uint(64 * KIB, blocks_of(fd), "and no page is left over");
	is_int(-ENOMEM, dcm_arena_take(arena, 2 * MIB, &at), "again the same");
	is_int(0, dcm_arena_give(arena, 0), "the arena works on");
	is_int(-ENOMEM, dcm_arena_take(arena, 4 * MIB, &at), "a block that is there in part only");
	is_uint(0, dcm_arena_committed(arena), "gives back what it got, and what lay idle");
	is_uint(0, blocks_of(fd), "to the last page");
	if (ftruncate(fd, (off_t)bytes) != 0)
		sysbail("ftruncate");
	is_uint(0, take(arena, 4 * MIB), "with pages to be had it goes");
	dcm_arena_destroy(arena);
	munmap(base, bytes);
	close(fd);
}

/* On memory that knows no MADV_POPULATE_WRITE, as on kernels before 5.14: EINVAL. */
static void old_kernel(void)
{
	unsigned char *base = mmap(NULL, MIB, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct dcm_arena *arena;

	if (base == MAP_FAILED)
		sysbail("mmap");
	/* An unaligned address is what a kernel of today answers EINVAL to. */
	arena = dcm_arena_create(base + 1, MIB);
	is_uint(0, take(arena, 128 * KIB),
		"without MADV_POPULATE_WRITE a loan is given all the same");
	is_uint(128 * KIB, dcm_arena_committed(arena), "and counted as committed");
	is_int(0, dcm_arena_give(arena, 0), "and taken back");
	dcm_arena_destroy(arena);
	munmap(base, MIB);
}

static uint64_t resident(void)
{
	unsigned long pages_used = 0, ignored;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f == NULL || fscanf(f, "%lu %lu", &ignored, &pages_used) != 2)
		sysbail("statm");
	fclose(f);
	return pages_used * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void small_tables(void)
{
	enum { MANY = 100 };
	struct dcm_arena *arenas[MANY];
	uint64_t before = resident(), each;

	for (unsigned i = 0; i < MANY; i++) {
		arenas[i] = dcm_arena_create(NULL, 32 * MIB);
		(void)take(arenas[i], 1000);
	}
	each = (resident() - before) / MANY;
	note("%" PRIu64 " bytes of tables for an arena of 32 MiB with one loan", each);
	ok(each < 100 * KIB, "the tables of an arena are touched as they are used");
	for (unsigned i = 0; i < MANY; i++)
		dcm_arena_destroy(arenas[i]);
}

int main(void)
{
	static const uint64_t odd[] = { 64, 192, 448, 1984, 5 * 1024, 61 * 1024 };

	plan_lazy();
	seed = tap_seed();
	sizes();
	bad_gives();
	turns();
	whole();
	again();
	bursts();
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		against_model(NULL, odd[i] * KIB);
	pages();
	no_pages();
	old_kernel();
	small_tables();
	return 0;
}
