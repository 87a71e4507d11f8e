/* SPDX-License-Identifier: BSD-2-Clause */
/* place - on which processors, and whether they were as near to each other all the time */
#ifndef DCM_BENCH_PLACE_H
#define DCM_BENCH_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* Two processors, the same one twice where there is no other. */
struct place {
	unsigned near, far;
};

/* place_parse() - "A,B"; null: the first two that this process may use */
bool place_parse(const char *text, struct place *place);

/* place_pin() - this thread, and what it starts later */
void place_pin(unsigned cpu);

/* place_pin_both() - on either of the two, as the kernel likes */
void place_pin_both(const struct place *place);

/* place_busy() - seconds that the two were not idle since the machine started, with what the host
 * took from them; @all: seconds of both, idle or not */
double place_busy(const struct place *place, double *all);

/* place_canary() - median round trip of a cache line between the two, in ns; 0: only one */
int64_t place_canary(const struct place *place);

/* place_machine() - processor and kernel in one line; of this process, not freed */
const char *place_machine(void);

/* place_flags() - with which the benchmark was compiled */
const char *place_flags(void);

#endif
