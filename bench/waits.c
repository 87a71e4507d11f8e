/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/waits.h"

#include <stddef.h>

const char *const wait_names[WAITS + 1] = { "spin", "adaptive", "sleep", "own", NULL };

const char *wait_limit(uint64_t wait, const struct place *place)
{
	static const char *const limits[WAITS] = { "ring", "spin-futex", "futex2", "spin-futex" };

	return place->near == place->far ? "futex2" : limits[wait];
}
