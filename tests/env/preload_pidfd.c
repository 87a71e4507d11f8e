/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fstat() as before Linux 6.9: all pidfds are one inode of the anonymous file system, so that their
 * number tells nothing. To be preloaded; a filter of system calls cannot say what a descriptor is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { ONE_FOR_ALL = 11 };

#define PIDFS_MAGIC	 0x50494446
#define ANON_INODE_MAGIC 0x09041934

static long type_of(int fd)
{
	struct statfs fs;

	return syscall(SYS_fstatfs, fd, &fs) == 0 ? (long)fs.f_type : 0;
}

__attribute__((visibility("default"))) int fstatfs(int fd, struct statfs *out)
{
	int r = (int)syscall(SYS_fstatfs, fd, out);

	if (r == 0 && out->f_type == PIDFS_MAGIC)
		out->f_type = ANON_INODE_MAGIC;
	return r;
}

__attribute__((visibility("default"))) int fstat(int fd, struct stat *out)
{
	int r = fstatat(fd, "", out, AT_EMPTY_PATH);

	if (r == 0 && type_of(fd) == PIDFS_MAGIC)
		out->st_ino = ONE_FOR_ALL;
	return r;
}

__attribute__((visibility("default"))) int fstat64(int fd, struct stat64 *out)
{
	int r = fstatat64(fd, "", out, AT_EMPTY_PATH);

	if (r == 0 && type_of(fd) == PIDFS_MAGIC)
		out->st_ino = ONE_FOR_ALL;
	return r;
}
