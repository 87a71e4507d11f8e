/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it brings its own calloc) */
/* asan: no (it brings its own calloc) */
/* A hashed set holds what was put in and not taken out, through growth, shrinking and no memory. */
#include "api/hashed.h"

#include <stddef.h>
#include <stdlib.h>

#include "tests/tap.h"

enum { THINGS = 3000, STEPS = 200000 };

struct thing {
	struct dcm_hashed_link link;
	uint32_t number;
	bool in;
};

static struct thing things[THINGS];
static bool no_memory;

void *__libc_calloc(size_t count, size_t bytes);

/* Instead of the C library's. */
void *calloc(size_t count, size_t bytes)
{
	return no_memory ? NULL : __libc_calloc(count, bytes);
}

static bool is_number(const struct dcm_hashed_link *link, const void *like)
{
	return ((const struct thing *)(const void *)link)->number == *(const uint32_t *)like;
}

/* Many share a hash, and the lowest bits of most are the same. */
static uint64_t hash_of(uint32_t number)
{
	return number % 7 == 0 ? 5 : (uint64_t)(number / 2) << (number % 3 * 8);
}

static bool is_found(const struct dcm_hashed *set, uint32_t number)
{
	return dcm_hashed_find(set, hash_of(number), is_number, &number) == &things[number].link;
}

static unsigned disagreements(const struct dcm_hashed *set)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < THINGS; i++)
		wrong += is_found(set, i) != things[i].in;
	return wrong;
}

static void change(struct dcm_hashed *set, uint32_t number)
{
	struct thing *thing = &things[number];

	if (thing->in)
		dcm_hashed_take(set, &thing->link);
	else
		dcm_hashed_put(set, &thing->link, hash_of(number));
	thing->in = !thing->in;
}

static void random_steps(struct dcm_hashed *set)
{
	unsigned wrong = 0;

	srand(1);
	for (unsigned i = 0; i < STEPS; i++) {
		no_memory = i / 5000 % 3 == 1;
		change(set, (uint32_t)rand() % (1 + i % THINGS));
		if (i % 10000 == 0)
			wrong += disagreements(set);
	}
	no_memory = false;
	is_int(0, (int)wrong, "after each of %d steps it holds what it should", STEPS);
}

int main(void)
{
	struct dcm_hashed set = { 0 };
	uint32_t nobody = 1;
	size_t most;

	plan(7);
	for (uint32_t i = 0; i < THINGS; i++)
		things[i].number = i;
	ok(dcm_hashed_find(&set, hash_of(1), is_number, &nobody) == NULL,
	   "an empty set has nothing");
	random_steps(&set);
	for (uint32_t i = 0; i < THINGS; i++)
		if (!things[i].in)
			change(&set, i);
	is_int(0, (int)disagreements(&set), "all of them are found");
	is_int(THINGS, (int)set.count, "and counted");
	most = set.more;
	ok(most + 1 >= THINGS / 2, "there are as many rows as that needs");
	for (uint32_t i = 0; i < THINGS; i++)
		change(&set, i);
	ok(set.count == 0 && disagreements(&set) == 0 && set.more < 4,
	   "empty again, it has no rows to speak of");
	for (uint32_t i = 0; i < 100; i++)
		change(&set, i);
	dcm_hashed_drop(&set);
	ok(set.count == 0 && set.more == 0 &&
		   dcm_hashed_find(&set, hash_of(1), is_number, &nobody) == NULL,
	   "dropped, it is empty");
	return 0;
}
