/* SPDX-License-Identifier: BSD-2-Clause */
/* lib_teller - an object with events whose state, stamp and bell are in this process */
#ifndef DCM_TESTS_UNIT_LIB_TELLER_H
#define DCM_TESTS_UNIT_LIB_TELLER_H

#include "api/source.h"

/* Its states; the first makes a descriptor readable. It has DCM_BLOCKING_CALL_INTERRUPTED too. */
#define TELLER_STATE (1u << 16)
#define TELLER_OTHER (1u << 17)

struct teller {
	struct dcm_object object;
	struct dcm_source source;
	dcm_atomic32 bell;
	dcm_atomic64 state; /* stamp:32 | events:32 */
	dcm_atomic32 closed;
	dcm_atomic32 looks;
};

/* Of DCM_KIND_SUBSCRIPTION, with a number; null: no memory. */
struct teller *teller_new(void);

/* Another stamp, and what is true with it. */
void teller_change(struct teller *teller, uint32_t events);

/* As dcm_bell_ring(), with @kick (or null) for the kick; false: nobody wants to be told. */
bool teller_ring(struct teller *teller, void (*kick)(void));

/* How often somebody looked at a closed one. */
unsigned teller_looks_closed(void);

#endif
