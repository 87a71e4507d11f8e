/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kill test looks at when all who live have come to rest. */
#ifndef DCM_TESTS_STRESS_LIB_KILL_QUIET_H
#define DCM_TESTS_STRESS_LIB_KILL_QUIET_H

#include "tests/stress/lib_kill.h"

/* quiet_tables() - slots come to be in use as @due, and dcm_check() finds nothing */
void quiet_tables(const struct dcm_segment *seg, struct used due, uint32_t round);

/* What a process holds that a death might make it leak. */
struct holdings {
	unsigned descriptors, segment_maps, channel_maps;
};

/* quiet_process() - @pid comes to hold @due; one whose descriptors are 0 sets them */
void quiet_process(pid_t pid, const char *fabric, struct holdings *due, uint32_t round);

/* quiet_files() - the fabric's directory holds the segment and its lock file, and no more */
void quiet_files(const char *directory, uint32_t round);

/* quiet_history() - every reader comes to know what is published; every call has ended */
void quiet_history(struct history *h, struct history_seen *seen, uint32_t round);

#endif
