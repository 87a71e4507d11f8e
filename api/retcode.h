/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * retcode - how functions of api/ say what went wrong, and names that callers give
 *
 *	return dcm_fail(rcNoCapability, "the handle lacks OCAP_HANDLE_GET_SID");
 *	return dcm_fail_errno(r, "cannot map %s", path);
 */
#ifndef DCM_API_RETCODE_H
#define DCM_API_RETCODE_H

#include <stdbool.h>

#include <dcm/types.h>

enum { DCM_DETAIL_SIZE = 512 };

/*
 * dcm_fail() - set this thread's detail to one line and give @rc back; errno stays as it is
 * A line longer than DCM_DETAIL_SIZE is cut; control characters become spaces.
 */
Retcode dcm_fail(Retcode rc, const char *format, ...)
	__attribute__((cold, noinline, format(printf, 2, 3)));

/* dcm_fail_errno() - the same with the code and the words that belong to a negative errno */
Retcode dcm_fail_errno(int negative_errno, const char *format, ...)
	__attribute__((cold, noinline, format(printf, 2, 3)));

/*
 * dcm_name_valid() - is it a name: 1 to 255 bytes of UTF-8 without control characters
 * Reads no more than 256 bytes, whatever @name is; null is no name.
 */
bool dcm_name_valid(const char *name);

#endif
