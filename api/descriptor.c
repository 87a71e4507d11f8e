/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * By a bare call: of what the C library's call looks at, ThreadSanitizer says that it races with a close
 * of whatever had the number before.
 */
static bool look_bare(int fd, struct dcm_descriptor *is)
{
	struct statx st;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO, &st) != 0)
		return false;
	is->device = makedev(st.stx_dev_major, st.stx_dev_minor);
	is->inode = st.stx_ino;
	is->type = st.stx_mode & S_IFMT;
	return true;
}

/* Where a filter denies that one. */
static bool look(int fd, struct dcm_descriptor *is)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	is->device = st.st_dev;
	is->inode = st.st_ino;
	is->type = st.st_mode & S_IFMT;
	return true;
}

bool dcm_descriptor_look(int fd, struct dcm_descriptor *is)
{
	int saved = errno;
	bool seen = look_bare(fd, is) || (errno != EBADF && look(fd, is));

	errno = saved;
	return seen;
}
