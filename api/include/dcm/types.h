/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all headers of DCM for Linux share: types, result codes, handles, timeouts.
 *
 * Functions are described in the same lines everywhere:
 *
 *	Threads:  who may call it, and at once with what
 *	Blocks:   what it may wait for
 *	Progress: what another thread or process, stopped or dead, can do to it
 *	Memory:   who owns what; what is visible to whom afterwards
 *	Return:   every code, and when
 *	Origin:   "KCE 1.3" is behaviour that the documentation of KasperskyOS Community Edition 1.3
 *	          states; "ours" is what this library decided where that is silent, or for Linux
 *
 * Codes that any function may return, and that are not repeated below: rcInvalidArgument for a
 * handle that is closed, was never given out or is of another kind, and for a null pointer where
 * one is needed; rcOutOfMemory when memory is refused to the process; rcFail when shared memory is
 * found damaged. DcmLastDetail() in dcm/fabric.h tells more about the last error.
 */
#ifndef DCM_TYPES_H
#define DCM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of these headers; DcmVersion() is that of the library in use. */
#define DCM_VERSION_MAJOR 0
#define DCM_VERSION_MINOR 1
#define DCM_VERSION_PATCH 0

/* Marks what the library exports. */
#if defined(__GNUC__)
#define DCM_API __attribute__((visibility("default")))
#else
#define DCM_API
#endif

#ifdef __cplusplus
#define DCM_BEGIN_DECLS extern "C" {
#define DCM_END_DECLS	}
#else
#define DCM_BEGIN_DECLS
#define DCM_END_DECLS
#endif

/* Names that the original's sources use. */
typedef uint32_t rtl_uint32_t;
typedef uint64_t rtl_uint64_t;
typedef uintptr_t rtl_uintptr_t;
typedef size_t rtl_size_t;
typedef bool rtl_bool;
#define RTL_NULL NULL

/* Result of a function; RetcodeName() gives the word. The numbers are ours, and fixed. */
typedef int32_t Retcode;
enum {
	rcOk = 0,
	rcInvalidArgument = -1,	  /* an argument that is never right, a closed handle included */
	rcNotConnected = -2,	  /* no fabric, or the other side refused or is gone */
	rcTimeout = -3,		  /* not within the given time */
	rcIpcInterrupt = -4,	  /* ended by DcmInterruptBlockingCall() or DcmInterruptCall() */
	rcHandleRevoked = -5,	  /* the handle was withdrawn by its provider */
	rcAlreadyExists = -6,	  /* it is there already */
	rcResourceNotFound = -7,  /* nothing (more) of that kind is there */
	rcOutOfMemory = -8,	  /* memory, of the process or of the file system, is used up */
	rcQuotaExceeded = -9,	  /* a table or a channel is full; the detail names the setting */
	rcBufferTooSmall = -10,	  /* the result does not fit into the caller's buffer */
	rcInvalidOperation = -11, /* not in this state */
	rcNoCapability = -12,	  /* the handle lacks a right; the detail names it */
	rcSecurityDisallow = -13, /* the kernel or the fabric refuses */
	rcFail = -14		  /* shared memory that is damaged or of another layout */
};

/*
 * Handles, DCM handles and notices are numbers of this process. None is given out twice while the
 * process lives, not even after it was closed; the three kinds share no number. 0 is never valid
 * either.
 */
typedef uint64_t Handle;
typedef uint64_t DcmHandle;
typedef uint64_t Notice;
#define INVALID_HANDLE	   UINT64_MAX
#define DCM_INVALID_HANDLE UINT64_MAX
#define INVALID_RIID	   UINT32_MAX

/* Identity of a resource, the same in every process of a fabric; never 0, never used again. */
typedef uint64_t Sid;

/* Milliseconds on CLOCK_MONOTONIC. 0 does not wait. */
typedef uint32_t DcmTimeout;
#define INFINITE_TIMEOUT UINT32_MAX

/* What a notice tells of an endpoint. */
typedef uint32_t DcmPubStatus;
#define DCM_PUBLISHED	1u
#define DCM_UNPUBLISHED 2u

/*
 * Bytes of every name with its terminating zero. A name is 1 to 255 bytes of UTF-8 without control
 * characters; anything else is rcInvalidArgument. A buffer for a name has this many bytes.
 */
#define DCM_NAME_SIZE 256

#endif
