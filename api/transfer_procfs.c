/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer_procfs - the file behind a descriptor of the server's, opened anew through /proc
 *
 * It asks the kernel for less than pidfd_getfd does (the right to read of ptrace, not the right to
 * attach), so Yama and Docker's seccomp profile, which deny that, let this pass.
 *
 * A directory of /proc that is held open is as good as a pidfd: when its process has ended it is
 * empty, and never another process's that has the number later. So this way needs no pidfd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "api/transfer.h"
#include "shm/process.h"

/*
 * Is it the directory of the process that began at @wanted? Field 22 of "stat"; the second, in
 * parentheses, may hold anything. Return: 0; -ESTALE it is another's; negative errno.
 */
static int check_start_time(int directory, uint64_t wanted)
{
	int fd = openat(directory, "stat", O_RDONLY | O_CLOEXEC);
	char text[1024], *at;
	ssize_t bytes;

	if (fd < 0)
		return -errno;
	bytes = read(fd, text, sizeof text - 1);
	close(fd);
	text[bytes > 0 ? bytes : 0] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; at != NULL && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at != NULL && strtoull(at, NULL, 10) == wanted ? 0 : -ESTALE;
}

/* Does /proc number processes as this process does? It may be another PID namespace's. */
static bool is_own_proc(void)
{
	char text[16];
	ssize_t bytes = readlink("/proc/self", text, sizeof text - 1);

	text[bytes > 0 ? bytes : 0] = '\0';
	return strtol(text, NULL, 10) == (long)getpid();
}

/* The server's directory in /proc. Return: descriptor or negative errno. */
static int open_directory(const struct dcm_segment *seg, struct dcm_ref server)
{
	const struct dcm_process *process = dcm_process_at(seg, server.index);
	uint64_t start_time = dcm_load(&process->start_time, acquire);
	char path[32];
	int fd, r;

	if (!is_own_proc())
		return -EXDEV;
	snprintf(path, sizeof path, "/proc/%u", dcm_load(&process->pid, acquire));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EACCES : -errno; /* hidden, as hidepid does it */
	r = start_time == 0 ? 0 : check_start_time(fd, start_time);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/*
 * Where the kernel keeps memfds. Nothing that anybody mounts is there, so what is can be opened
 * without waiting for anybody. 0: not known.
 */
static uint64_t memory_device(void)
{
	static dcm_atomic64 known;
	uint64_t device = dcm_load(&known, relaxed);
	struct stat st;
	int fd;

	if (device != 0)
		return device;
	fd = memfd_create("dcm-device", MFD_CLOEXEC);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0)
		device = st.st_dev;
	close(fd);
	dcm_store(&known, device, relaxed);
	return device;
}

/*
 * The file behind the number, held but not opened: a FIFO, a device or a file system that somebody
 * serves is looked at here, and touched no further.
 */
static int hold_file(int directory, uint32_t tid, const struct dcm_offer *offer)
{
	char path[48];
	struct statx st;
	int fd, r = -EBADMSG;

	/* Of the keeper: a first thread that has ended, while others go on, has no descriptors. */
	snprintf(path, sizeof path, "task/%u/fd/%u", tid, offer->fd);
	fd = openat(directory, path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EBADMSG : -errno;
	/* From what the kernel has: not to be held up by who serves the file. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &st) < 0)
		r = -errno;
	else if (S_ISREG(st.stx_mode) && st.stx_ino == offer->inode &&
		 makedev(st.stx_dev_major, st.stx_dev_minor) == offer->device)
		return fd;
	close(fd);
	return r;
}

/* From the same file, whatever the server has put behind the number meanwhile. */
static int open_held(int held)
{
	char path[40];
	int fd;

	snprintf(path, sizeof path, "/proc/thread-self/fd/%d", held);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

static int open_offered(int directory, uint32_t tid, const struct dcm_offer *offer)
{
	uint64_t device = memory_device();
	int held, fd;

	if (device == 0)
		return -EACCES;
	if (device != offer->device)
		return -EBADMSG;
	held = hold_file(directory, tid, offer);
	if (held < 0)
		return held;
	fd = open_held(held);
	close(held);
	return fd < 0 ? fd : dcm_transfer_verified(fd, offer);
}

int dcm_transfer_procfs(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
			const struct dcm_offer *offer)
{
	int directory, fd;

	if (!dcm_transfer_comparable(seg, self, server.index))
		return -EXDEV;
	directory = open_directory(seg, server);
	if (directory < 0)
		return dcm_process_there(seg, server) ? directory : -ESRCH;
	fd = open_offered(directory, dcm_load(&dcm_process_at(seg, server.index)->tid, acquire),
			  offer);
	close(directory);
	/* There behind it all: so the number was the server's when its directory was opened, and so
	   was all that was found in it. */
	if (dcm_process_there(seg, server))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ESRCH;
}
