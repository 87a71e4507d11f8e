/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What only Linux needs: names of codes, details of errors, the process's name, the version.
 */
#ifndef DCM_FABRIC_H
#define DCM_FABRIC_H

#include <dcm/types.h>

DCM_BEGIN_DECLS

/**
 * RetcodeName() - the name of a result code
 * @rc: any number
 *
 * Threads:  any; also in a signal handler.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   the text is constant.
 * Return:   "rcNotConnected" and so on; never null, also for a number that is no code.
 * Origin:   ours.
 */
DCM_API const char *RetcodeName(Retcode rc);

/**
 * DcmLastDetail() - what more is known about this thread's last error
 *
 * Threads:  any; each has its own.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   one line of text, valid until the thread's next call into the library.
 * Return:   never null; empty if the thread had no error yet.
 * Origin:   ours.
 */
DCM_API const char *DcmLastDetail(void);

/**
 * DcmVersion() - the version of the library in use
 *
 * Threads:  any; also in a signal handler.
 * Blocks:   no.
 * Progress: wait-free.
 * Memory:   none.
 * Return:   major << 16 | minor << 8 | patch.
 * Origin:   ours.
 */
DCM_API uint32_t DcmVersion(void);

/**
 * DcmSetProcessName() - the name by which peers see this process
 * @name: 1 to 255 bytes
 *
 * To be called before DcmInit(). The environment variable DCM_PROCESS_NAME comes first; without
 * either it is the program's short name.
 *
 * Threads:  any.
 * Blocks:   no.
 * Progress: no other process is asked.
 * Memory:   the name is copied.
 * Return:   rcOk; rcInvalidArgument (the name); rcInvalidOperation (after DcmInit()).
 * Origin:   ours; in the original the system's description names processes.
 */
DCM_API Retcode DcmSetProcessName(const char *name);

/**
 * DcmInterruptCall() - end what is blocked on a session or a listener
 * @handle: a session (DcmLoan, DcmCall, DcmStart, DcmFinish, DcmSend) or a listener (DcmReceive)
 *
 * As DcmInterruptBlockingCall() for DCM handles: every call that is blocked on the handle ends with
 * rcIpcInterrupt; if none is, the next call that would block on it does, once.
 *
 * Threads:  any; DcmInit() is not needed.
 * Blocks:   no.
 * Progress: lock-free.
 * Memory:   what the caller stored before is visible to the thread whose call ends.
 * Return:   rcOk.
 * Origin:   ours.
 */
DCM_API Retcode DcmInterruptCall(Handle handle);

DCM_END_DECLS

#endif
