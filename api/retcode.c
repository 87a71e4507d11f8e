/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/retcode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <dcm/fabric.h>

static _Thread_local char detail[DCM_DETAIL_SIZE];

const char *RetcodeName(Retcode rc)
{
	static const char *const names[] = {
		"rcOk",		  "rcInvalidArgument",	"rcNotConnected",   "rcTimeout",
		"rcIpcInterrupt", "rcHandleRevoked",	"rcAlreadyExists",  "rcResourceNotFound",
		"rcOutOfMemory",  "rcQuotaExceeded",	"rcBufferTooSmall", "rcInvalidOperation",
		"rcNoCapability", "rcSecurityDisallow", "rcFail",
	};

	if (rc > 0 || rc < rcFail)
		return "unknown Retcode";
	return names[-rc];
}

const char *DcmLastDetail(void)
{
	return detail;
}

uint32_t DcmVersion(void)
{
	return (uint32_t)DCM_VERSION_MAJOR << 16 | (uint32_t)DCM_VERSION_MINOR << 8 |
	       (uint32_t)DCM_VERSION_PATCH;
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list args,
						      const char *reason)
{
	int used = vsnprintf(detail, sizeof(detail), format, args);

	if (used < 0)
		used = 0;
	if (reason != NULL && (size_t)used < sizeof(detail))
		snprintf(detail + used, sizeof(detail) - (size_t)used, "%s%s",
			 used == 0 ? "" : ": ", reason);
	for (char *c = detail; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
}

Retcode dcm_fail(Retcode rc, const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	say(format, args, NULL);
	va_end(args);
	errno = saved;
	return rc;
}

static Retcode code_of(int number)
{
	switch (number) {
	case EACCES:
	case EPERM:
	case EROFS:
		return rcSecurityDisallow;
	case ENOSPC:
	case ENOMEM:
		return rcOutOfMemory;
	case EMFILE:
	case ENFILE:
	case EFBIG:
		return rcQuotaExceeded;
	case ENOENT:
		return rcResourceNotFound;
	case ENODEV:
	case EINVAL:
	case ENAMETOOLONG:
		return rcInvalidArgument;
	case ETIMEDOUT:
		return rcTimeout;
	case EEXIST:
		return rcInvalidOperation;
	default: /* EBADMSG, EPROTO and ESTALE too: shared memory that is not as it must be */
		return rcFail;
	}
}

Retcode dcm_fail_errno(int negative_errno, const char *format, ...)
{
	int saved = errno;
	int number = negative_errno > -4096 ? -negative_errno : 0;
	const char *reason = strerrordesc_np(number);
	va_list args;

	va_start(args, format);
	say(format, args, reason != NULL ? reason : "unknown error");
	va_end(args);
	errno = saved;
	return code_of(number);
}

/*
 * Bytes of the character that begins at s, or 0 if none does that may stand in a name. A zero byte
 * ends every comparison, so nothing behind the end of the string is read.
 */
static size_t character(const unsigned char *s)
{
	size_t more = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
	uint32_t point;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	point = s[0] & (0x3fu >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3fu);
	}
	if (point < 0xa0 || (more == 2 && point < 0x800) || (more == 3 && point < 0x10000))
		return 0;
	if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return more + 1;
}

bool dcm_name_valid(const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t length, step;

	if (name == NULL)
		return false;
	length = strnlen(name, DCM_NAME_SIZE);
	if (length == 0 || length == DCM_NAME_SIZE)
		return false;
	for (; *s != '\0'; s += step) {
		step = character(s);
		if (step == 0)
			return false;
	}
	return true;
}
