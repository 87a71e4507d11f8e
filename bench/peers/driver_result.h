/* SPDX-License-Identifier: BSD-2-Clause */
/* result - what is printed of a run, and what else went on while it was made */
#ifndef DCM_BENCH_DRIVER_RESULT_H
#define DCM_BENCH_DRIVER_RESULT_H

#include "bench/peers/driver.h"

struct noise {
	int64_t canary_before_ns, canary_after_ns;
	double others; /* share of the two processors' time that others had, the host among them */
	double busy_before, own_before;
};

void noise_begin(struct noise *noise, const struct place *place);
void noise_end(struct noise *noise, const struct place *place);

void result_print(const struct run *run, const struct noise *noise);

/* client_begins() - begin, and what comes before the first call, with the time that begin takes */
void client_begins(struct run *run, struct peer_end *e);

#endif
