/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sized - structures of the public API that may grow
 *
 * Each begins with structSize, a uint32_t that the caller sets to the size it knows. A caller that
 * knows less than the first release had has not set it; one that knows more than this library gets
 * zeros for the rest.
 */
#ifndef DCM_API_SIZED_H
#define DCM_API_SIZED_H

#include <stddef.h>

#include <dcm/types.h>

/*
 * dcm_sized_check() - can a result be written to @out
 * @first: bytes of the structure in its first release; @what: its name, for the detail
 * Return: rcOk, or rcInvalidArgument with the detail set.
 */
Retcode dcm_sized_check(const void *out, size_t first, const char *what);

/* dcm_sized_put() - @bytes of @known to @out, which was checked; its structSize stays */
void dcm_sized_put(void *out, const void *known, size_t bytes);

#endif
