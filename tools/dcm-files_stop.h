/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGINT and SIGTERM in a client: a thread waits for them, and ends the calls that are blocked.
 *
 * Whoever blocks on a handle has it watched first and then looks at files_stop_asked(): an
 * interruption that comes in between is remembered by the handle.
 */
#ifndef DCM_FILES_STOP_H
#define DCM_FILES_STOP_H

#include <dcm/dcm.h>

/* Before any other thread is started. */
void files_stop_begin(void);
/* Ends the program by the signal that came, if one did; to be called when all is cleaned up. */
void files_stop_end(void);
/* The signal that came, or 0. */
int files_stop_asked(void);

/* interrupt: DcmInterruptBlockingCall for a DCM handle, DcmInterruptCall for a session. */
void files_stop_watch(uint64_t handle, Retcode (*interrupt)(uint64_t handle));
void files_stop_unwatch(uint64_t handle);

#endif
