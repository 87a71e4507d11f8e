/* SPDX-License-Identifier: BSD-2-Clause */
/* transfer - taking the descriptor out of the server's process, and what makes it a channel's */
#define _GNU_SOURCE
#include "api/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shm/channel.h"
#include "shm/kernel.h"
#include "shm/process.h"

#define SEALS_NEEDED (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SEALS_BARRED (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)

/*
 * Is it the sealed memfd of the offer? The seals come first: only memory has any, and that answers
 * from the kernel alone, while a file of a FUSE would ask whoever serves it, for as long as it
 * likes. Of memory, not huge pages: those can run out under a mapping. The nonce is looked at when
 * it is mapped.
 */
static bool is_offered(int fd, const struct dcm_offer *offer)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED || (seals & SEALS_BARRED) != 0)
		return false;
	return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_dev == offer->device && st.st_ino == offer->inode &&
	       st.st_size >= 0 && (uint64_t)st.st_size == offer->bytes &&
	       offer->bytes >= DCM_CHANNEL_BYTES_MIN && offer->bytes <= DCM_CHANNEL_BYTES_MAX &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

int dcm_transfer_verified(int fd, const struct dcm_offer *offer)
{
	if (is_offered(fd, offer))
		return fd;
	close(fd);
	return -EBADMSG;
}

bool dcm_transfer_comparable(const struct dcm_segment *seg, uint32_t a, uint32_t b)
{
	const struct dcm_process *p = dcm_process_at(seg, a), *q = dcm_process_at(seg, b);
	uint64_t pid_namespace = p != NULL ? dcm_load(&p->pid_namespace, acquire) : 0;

	return q != NULL && pid_namespace != 0 &&
	       pid_namespace == dcm_load(&q->pid_namespace, acquire);
}

int dcm_transfer_getfd(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
		       const struct dcm_offer *offer)
{
	struct dcm_process *process = dcm_process_at(seg, server.index);
	int pidfd, fd, r;

	if (!dcm_transfer_comparable(seg, self, server.index))
		return -EXDEV;
	pidfd = (int)syscall(SYS_pidfd_open, dcm_load(&process->pid, acquire), 0);
	if (pidfd < 0)
		return -errno;
	/* There behind the open: so the number was still the server's when it was opened. */
	if (!dcm_process_there(seg, server)) {
		close(pidfd);
		return -ESRCH;
	}
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)offer->fd, 0);
	r = -errno;
	close(pidfd);
	if (fd >= 0)
		return dcm_transfer_verified(fd, offer);
	/* No such descriptor, or not to be had through the first thread, which has ended while others
	   go on: the kernel has one answer for both before 6.9, and another way tells. */
	if (r == -EBADF || r == -ESRCH)
		r = dcm_process_there(seg, server) ? -EBADF : -ESRCH;
	return r;
}
