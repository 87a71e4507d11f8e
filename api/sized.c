/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/sized.h"

#include <string.h>

#include "api/retcode.h"

/* More than any will ever have: a structSize above is one that was not set. */
enum { SIZED_MAX = 65536 };

static uint32_t size_of(const void *out)
{
	uint32_t size;

	memcpy(&size, out, sizeof size);
	return size;
}

Retcode dcm_sized_check(const void *out, size_t first, const char *what)
{
	uint32_t size;

	if (out == NULL)
		return dcm_fail(rcInvalidArgument, "the %s is null", what);
	size = size_of(out);
	if (size < first || size > SIZED_MAX)
		return dcm_fail(rcInvalidArgument,
				"structSize of the %s is %u: set it to sizeof(%s), here %zu", what,
				size, what, first);
	return rcOk;
}

void dcm_sized_put(void *out, const void *known, size_t bytes)
{
	uint32_t size = size_of(out);
	size_t both = size < bytes ? size : bytes;

	memcpy(out, known, both);
	memset((unsigned char *)out + both, 0, size - both);
	memcpy(out, &size, sizeof size);
}
