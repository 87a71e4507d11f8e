/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_inside - the fabric as a hostile participant has it: all of its segment, to write at will
 *
 *	struct inside inside = inside_open();
 *	struct dcm_ref ref = inside_connection(&inside, DCM_CONNECTION_TAKEN);
 *	dcm_store(&dcm_connection_at(&inside.seg, ref.index)->socket, 0ull, seq);
 *	inside_close(&inside);
 */
#ifndef DCM_TESTS_API_LIB_INSIDE_H
#define DCM_TESTS_API_LIB_INSIDE_H

#include "shm/rendezvous.h"

struct inside {
	struct dcm_segment seg;
};

/* Maps the segment that DCM_FABRIC names once more; takes no slot and no lock of it. */
struct inside inside_open(void);
void inside_close(struct inside *inside);

/* The one connection in @state; dies when there is none, or another. */
struct dcm_ref inside_connection(struct inside *inside, uint32_t state);

/* The slot of the process with that number. */
struct dcm_process *inside_process(struct inside *inside, int pid);
/* The same, by its index. */
uint32_t inside_slot(struct inside *inside, int pid);

#endif
