/* SPDX-License-Identifier: BSD-2-Clause */
/* The hint ring: alone, where laps wrap, and with many that push and pop at once. */
#define _GNU_SOURCE
#include "shm/ring.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "shm/check.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

enum { SHIFT_MOST = 8 };

static struct {
	struct dcm_ring ring;
	alignas(DCM_CACHELINE) dcm_atomic64 cells[1 << SHIFT_MOST];
} memory;

/* An empty ring whose next position is the first of @lap (of the 64-bit count). */
static struct dcm_ring_view ring_at(uint32_t shift, uint64_t lap)
{
	struct dcm_ring_view r = dcm_ring_view(&memory.ring, shift);

	dcm_store(r.tail, lap << shift, relaxed);
	dcm_store(r.head, lap << shift, relaxed);
	for (uint32_t i = 0; i < 1u << shift; i++)
		dcm_store(&r.cells[i], lap << 32, relaxed);
	return r;
}

static void test_alone(uint32_t shift, uint64_t lap)
{
	struct dcm_ring_view r = ring_at(shift, lap);
	uint32_t cells = 1u << shift, value = 0, next = 1, wanted = 1, bad = 0;

	bad += dcm_ring_pop(r, &value) != DCM_RING_EMPTY;
	/* Each depth, at each position of several laps. */
	for (uint32_t round = 0; round < 5 * cells; round++) {
		for (uint32_t i = 0; i <= round % cells; i++)
			bad += dcm_ring_push(r, next++) != DCM_RING_OK;
		bad += dcm_ring_depth(r) != round % cells + 1;
		bad += !dcm_check_ring(r, UINT32_MAX);
		if (round % cells + 1 == cells)
			bad += dcm_ring_push(r, 77) != DCM_RING_FULL;
		for (uint32_t i = 0; i <= round % cells; i++)
			bad += dcm_ring_pop(r, &value) != DCM_RING_OK || value != wanted++;
		bad += dcm_ring_pop(r, &value) != DCM_RING_EMPTY || dcm_ring_depth(r) != 0;
	}
	is_uint(0, bad, "%u cells from lap %#llx: first in, first out, full and empty", cells,
		(unsigned long long)lap);
}

/* What somebody who died left between two steps: the next who comes does them. */
static void test_left(void)
{
	struct dcm_ring_view r = ring_at(2, 3);
	uint32_t value = 0;

	dcm_store(&r.cells[0], 3ull << 32 | 9, seq);
	ok(dcm_check_ring(r, 10), "filled, and the tail behind: legal");
	is_int(DCM_RING_OK, dcm_ring_push(r, 10), "the next push goes on");
	is_int(DCM_RING_OK, dcm_ring_pop(r, &value), "and a pop");
	is_uint(9, value, "finds what the dead one pushed");
	is_int(DCM_RING_OK, dcm_ring_pop(r, &value), "then");
	is_uint(10, value, "the other's");
	r = ring_at(2, 3);
	dcm_store(&r.cells[0], 3ull << 32 | 9, seq);
	is_int(DCM_RING_OK, dcm_ring_pop(r, &value), "a pop alone finds it");
	is_uint(13, dcm_load(r.tail, seq), "and moves the tail");
	r = ring_at(2, 3);
	for (uint32_t i = 0; i < 4; i++)
		dcm_ring_push(r, i + 1);
	dcm_store(&r.cells[0], 4ull << 32, seq);
	ok(dcm_check_ring(r, 10), "taken, and the head behind: legal");
	is_int(DCM_RING_OK, dcm_ring_push(r, 5), "its cell is used again");
	ok(dcm_check_ring(r, 10), "legal");
	is_uint(4, dcm_ring_depth(r), "four are in it");
	is_int(DCM_RING_OK, dcm_ring_pop(r, &value), "a pop goes on");
	is_uint(2, value, "with the next");
	is_uint(3, dcm_ring_depth(r), "and three are left");
}

enum { PUSHERS = 3, POPPERS = 3, VALUES = 60000 };

struct crowd {
	struct dcm_ring_view ring;
	uint32_t values;	    /* of each pusher */
	uint32_t *payload[PUSHERS]; /* plain: written before the push, read after the pop */
	uint8_t *seen[PUSHERS];
	dcm_atomic32 left; /* values not popped yet */
	dcm_atomic32 bad_payload, bad_order, twice;
};

static void push_all(struct crowd *c, uint32_t pusher)
{
	for (uint32_t i = 0; i < c->values; i++) {
		c->payload[pusher][i] = i ^ pusher << 24;
		while (dcm_ring_push(c->ring, pusher << 24 | (i + 1)) != DCM_RING_OK)
			sched_yield();
	}
}

static void pop_all(struct crowd *c)
{
	uint32_t last[PUSHERS] = { 0 }, value;

	while (dcm_load(&c->left, relaxed) != 0) {
		uint32_t pusher, i;

		if (dcm_ring_pop(c->ring, &value) != DCM_RING_OK) {
			sched_yield();
			continue;
		}
		dcm_add(&c->left, UINT32_MAX); /* less one */
		pusher = value >> 24;
		i = (value & 0xffffff) - 1;
		if (pusher >= PUSHERS || i >= c->values) {
			dcm_add(&c->bad_payload, 1u);
			continue;
		}
		if (c->payload[pusher][i] != (i ^ pusher << 24))
			dcm_add(&c->bad_payload, 1u);
		if (c->seen[pusher][i]++ != 0)
			dcm_add(&c->twice, 1u);
		if (i + 1 <= last[pusher])
			dcm_add(&c->bad_order, 1u);
		last[pusher] = i + 1;
	}
}

static void crowd_run(void *context, unsigned number)
{
	struct crowd *c = context;

	if (number < PUSHERS)
		push_all(c, number);
	else
		pop_all(c);
}

static void test_crowd(uint32_t shift, uint64_t lap)
{
	struct crowd c = { .ring = ring_at(shift, lap), .values = (uint32_t)tap_scaled(VALUES) };
	uint64_t missing = 0;

	for (int i = 0; i < PUSHERS; i++) {
		c.payload[i] = calloc(c.values, sizeof *c.payload[i]);
		c.seen[i] = calloc(c.values, 1);
		if (c.payload[i] == NULL || c.seen[i] == NULL)
			bail("no memory");
	}
	dcm_store(&c.left, PUSHERS * c.values, seq);
	world_threads(PUSHERS + POPPERS, crowd_run, &c);
	for (uint32_t p = 0; p < PUSHERS; p++)
		for (uint32_t i = 0; i < c.values; i++)
			missing += c.seen[p][i] == 0;
	is_uint(0, missing, "%u cells from lap %#llx: nothing is lost", 1u << shift,
		(unsigned long long)lap);
	is_uint(0, dcm_load(&c.twice, seq), "nothing comes twice");
	is_uint(0, dcm_load(&c.bad_payload, seq), "what it stands for is there");
	is_uint(0, dcm_load(&c.bad_order, seq), "each pusher's in its order");
	ok(dcm_check_ring(c.ring, UINT32_MAX), "and the ring is in order");
	is_uint(0, dcm_ring_depth(c.ring), "and empty");
	for (int i = 0; i < PUSHERS; i++) {
		free(c.payload[i]);
		free(c.seen[i]);
	}
}

int main(void)
{
	static const uint64_t laps[] = { 0, 0xfffffffd, 0x7ffffffd, 0xfffffffffd };

	plan_lazy();
	for (size_t i = 0; i < sizeof laps / sizeof laps[0]; i++)
		for (uint32_t shift = 1; shift <= 4; shift++)
			test_alone(shift, laps[i]);
	test_left();
	test_crowd(1, 0);
	test_crowd(2, 0xffffffff - 100);
	test_crowd(SHIFT_MOST, 0x7fffffff - 3);
	return 0;
}
