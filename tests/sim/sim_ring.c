/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario ring: three pushers and two poppers, killed anywhere, on a ring of 2 or 4 cells.
 * Nothing is lost but what a killed popper carried, nothing comes twice, what one popper gets of
 * one pusher comes in order, and what the dead leave hinders nobody.
 */
#include <stdio.h>
#include <string.h>

#include "shm/ring.h"
#include "tests/sim/sim_main.h"

enum { PUSHERS = 3, POPPERS = 2, VALUES = 6, POPS = 12, CELLS_MAX = 4, PROBE = 1000 };
enum fate { NOT_TRIED, TRIED, PUSHED, FULL };

static struct {
	struct dcm_ring ring;
	dcm_atomic64 cells[CELLS_MAX];
} shared;

static struct dcm_ring_view view;
static enum fate fates[PUSHERS][VALUES];
static unsigned popped[PUSHERS][VALUES];
static unsigned poppers[POPPERS];
static bool popping[POPPERS];
static unsigned numbers[PUSHERS + POPPERS];

static uint32_t value_of(unsigned pusher, unsigned i)
{
	return pusher * VALUES + i + 1;
}

static void take(uint32_t value)
{
	SIM_CHECK(value >= 1 && value <= PUSHERS * VALUES, "popped %u, which nobody pushed", value);
	popped[(value - 1) / VALUES][(value - 1) % VALUES]++;
}

static void pusher(void *arg)
{
	unsigned me = *(unsigned *)arg;

	for (unsigned i = 0; i < VALUES; i++) {
		fates[me][i] = TRIED;
		fates[me][i] = dcm_ring_push(view, value_of(me, i)) == DCM_RING_OK ? PUSHED : FULL;
	}
}

static void popper(void *arg)
{
	unsigned me = *(unsigned *)arg, last[PUSHERS] = { 0 };
	uint32_t value;

	for (unsigned i = 0; i < POPS; i++) {
		unsigned from;

		popping[me] = true;
		if (dcm_ring_pop(view, &value) == DCM_RING_OK) {
			take(value);
			from = (value - 1) / VALUES;
			SIM_CHECK(value > last[from], "popped %u after %u", value, last[from]);
			last[from] = value;
		}
		popping[me] = false;
	}
}

static void setup(void)
{
	memset(&shared, 0, sizeof shared);
	memset(fates, 0, sizeof fates);
	memset(popped, 0, sizeof popped);
	memset(popping, 0, sizeof popping);
	view = dcm_ring_view(&shared.ring, 1 + sim_random(2));
	for (unsigned i = 0; i < PUSHERS + POPPERS; i++) {
		bool pushes = i < PUSHERS;
		unsigned p =
			sim_process(pushes ? "pusher" : "popper", SIM_KILLABLE | SIM_STOPPABLE);

		numbers[i] = pushes ? i : i - PUSHERS;
		if (!pushes)
			poppers[i - PUSHERS] = p;
		sim_thread(p, pushes ? "pusher" : "popper", pushes ? pusher : popper, &numbers[i]);
	}
}

/* The ring works as if new, whoever died in it. */
static void check_usable(void)
{
	uint32_t cells = 1u << view.shift, value = 0;

	SIM_CHECK(dcm_ring_depth(view) == 0, "an empty ring has depth %u", dcm_ring_depth(view));
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < cells; i++)
			SIM_CHECK(dcm_ring_push(view, i + 1) == DCM_RING_OK,
				  "full with %u of %u in it", i, cells);
		SIM_CHECK(dcm_ring_push(view, 1) == DCM_RING_FULL, "takes more than it holds");
		for (uint32_t i = 0; i < cells; i++)
			SIM_CHECK(dcm_ring_pop(view, &value) == DCM_RING_OK && value == i + 1,
				  "lost %u, or gave %u", i + 1, value);
		SIM_CHECK(dcm_ring_pop(view, &value) == DCM_RING_EMPTY, "not empty");
	}
}

/* Whoever died in the middle of a push or a pop, there is room while a cell is empty. */
static void check_room(void)
{
	uint32_t cells = 1u << view.shift, there = 0, value = 0;
	int pushed;

	for (uint32_t i = 0; i < cells; i++)
		there += (uint32_t)dcm_load(&view.cells[i], seq) != 0;
	pushed = dcm_ring_push(view, PROBE);
	SIM_CHECK((pushed == DCM_RING_OK) == (there < cells), "%u of %u cells used, push says %d",
		  there, cells, pushed);
	while (dcm_ring_pop(view, &value) == DCM_RING_OK && value != PROBE)
		take(value);
	SIM_CHECK((value == PROBE) == (pushed == DCM_RING_OK), "lost the last that was pushed");
}

static bool quiet(void)
{
	unsigned lost = 0, carrying = 0;
	uint32_t value;

	check_room();
	while (dcm_ring_pop(view, &value) == DCM_RING_OK)
		take(value);
	for (unsigned p = 0; p < PUSHERS; p++)
		for (unsigned i = 0; i < VALUES; i++) {
			SIM_CHECK(popped[p][i] <= 1, "%u came twice", value_of(p, i));
			SIM_CHECK(fates[p][i] != FULL || popped[p][i] == 0,
				  "%u came though it was refused", value_of(p, i));
			lost += fates[p][i] == PUSHED && popped[p][i] == 0;
		}
	for (unsigned i = 0; i < POPPERS; i++)
		carrying += sim_killed(poppers[i]) && popping[i];
	SIM_CHECK(lost <= carrying, "%u values lost, %u were carried by the killed", lost,
		  carrying);
	check_usable();
	return false;
}

static bool describe(const volatile void *word, char *text, size_t size)
{
	const volatile dcm_atomic64 *at = word;

	if (at == view.tail || at == view.head)
		snprintf(text, size, at == view.tail ? "tail" : "head");
	else
		snprintf(text, size, "cell[%d]", (int)(at - view.cells));
	return true;
}

const struct sim_scenario sim_ring = {
	.name = "ring",
	.horizon = 250,
	.kills_max = 3,
	.stops_max = 1,
	.setup = setup,
	.quiet = quiet,
	.describe = describe,
};
