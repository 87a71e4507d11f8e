/* SPDX-License-Identifier: BSD-2-Clause */
/* waits - ways to wait, by name, and the limit that each is compared with */
#ifndef DCM_BENCH_WAITS_H
#define DCM_BENCH_WAITS_H

#include <stdint.h>

#include "bench/lib_place.h"

enum { WAIT_SPIN, WAIT_ADAPTIVE, WAIT_SLEEP, WAIT_OWN, WAITS };

extern const char *const wait_names[WAITS + 1]; /* ends with a null */

/* wait_limit() - of a round trip; on one processor who spins is in vain, so that it is futex2 */
const char *wait_limit(uint64_t wait, const struct place *place);

#endif
