/* SPDX-License-Identifier: BSD-2-Clause */
/* job - from the command line */
#ifndef DCM_BENCH_DRIVER_JOB_H
#define DCM_BENCH_DRIVER_JOB_H

#include "bench/peers/driver.h"

/* Who was not told of a death in so long never will be. */
#define NEVER_NS (INT64_C(3) * 1000 * 1000 * 1000)

/* job_read() - KEY=VALUE of each argument; fails when it is none */
void job_read(struct run *run, int count, char **arguments);

/* job_in_ticks() - times, when the clock has been measured */
void job_in_ticks(struct run *run);

const char *job_what(unsigned what);
const char *job_wait(enum peer_wait wait);

#endif
