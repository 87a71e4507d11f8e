/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * process - real processes that attach to a real segment, live, and are killed
 */
#ifndef DCM_TESTS_UNIT_PROCESS_H
#define DCM_TESTS_UNIT_PROCESS_H

#include <sys/types.h>

#include "shm/beacon.h"
#include "shm/process.h"

/* What a child that attached tells. */
struct proc_report {
	int result;
	uint32_t index;
	uint64_t generation;
};

struct proc_child {
	pid_t pid;
	struct dcm_ref ref;
};

extern struct dcm_capacity proc_capacity; /* of the segments that proc_begin() makes */
extern struct dcm_segment proc_seg;	  /* attached by the test itself, without a slot */
extern char proc_fabric[256];
extern struct dcm_beacon proc_beacon;

/* A new segment as proc_seg, and its end. */
void proc_begin(const char *name);
void proc_end(void);

int proc_attach(struct dcm_segment *to);
struct dcm_process_self proc_describe(const char *name);
/* Attaches, claims and, unless @claim_only, becomes alive. */
struct proc_report proc_join(bool claim_only);

/* A child that runs @life, which begins with proc_tell(pipe_fd, proc_join(...)). */
struct proc_child proc_start(void (*life)(int pipe_fd));
void proc_tell(int pipe_fd, struct proc_report report);
/* A life: alive until it is killed. */
void proc_lives(int pipe_fd);
void proc_end_child(struct proc_child child);

/* Until the process is proved dead, for as long as the watchdog lets us. */
void proc_wait_dead(struct dcm_ref ref);
void proc_wait_marked(uint32_t index);

#endif
