/* SPDX-License-Identifier: BSD-2-Clause */
/* The contents of the kill test's messages: which call it is, which way it goes, and bytes that
   follow from both. */
#ifndef DCM_TESTS_STRESS_LIB_KILL_STAMP_H
#define DCM_TESTS_STRESS_LIB_KILL_STAMP_H

#include <dcm/channel.h>
#include <string.h>

#include "tests/stress/lib_stress.h"

enum kill_way { KILL_ASKS, KILL_ANSWERS };

/* kill_is_dropped() - servers never answer this call */
static inline bool kill_is_dropped(uint64_t call)
{
	return mix(call) % 50 == 0;
}

/* kill_stamp() - fill a message of at least 8 bytes */
static inline void kill_stamp(DcmMessage *message, enum kill_way way, uint64_t call)
{
	memcpy(message->data, &call, sizeof call);
	fill((char *)message->data + sizeof call, message->size - sizeof call, mix(call) + way);
}

/* kill_stamped() - is it such a message; of which call */
static inline bool kill_stamped(const DcmMessage *message, enum kill_way way, uint64_t *call)
{
	if (message->size < sizeof *call)
		return false;
	memcpy(call, message->data, sizeof *call);
	return differs((const char *)message->data + sizeof *call, message->size - sizeof *call,
		       mix(*call) + way) == SIZE_MAX;
}

#endif
