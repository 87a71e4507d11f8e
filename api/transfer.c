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

void dcm_transfer_behind(struct dcm_ahead *ahead)
{
	if (ahead->process.generation != 0 && ahead->pidfd >= 0)
		close(ahead->pidfd);
	*ahead = (struct dcm_ahead){ .pidfd = -ESRCH };
}

void dcm_transfer_ahead(const struct dcm_segment *seg, uint32_t self, struct dcm_ref process,
			struct dcm_ahead *ahead)
{
	const struct dcm_process *p = dcm_process_at(seg, process.index);

	if (process.generation != 0 && process.generation == ahead->process.generation &&
	    process.index == ahead->process.index)
		return;
	dcm_transfer_behind(ahead);
	if (p == NULL || process.generation == 0)
		return;
	ahead->process = process;
	if (!dcm_transfer_comparable(seg, self, process.index))
		ahead->pidfd = -EXDEV;
	else
		ahead->pidfd = (int)syscall(SYS_pidfd_open, dcm_load(&p->pid, acquire), 0);
	if (ahead->pidfd == -1)
		ahead->pidfd = -errno;
}

int dcm_transfer_getfd(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
		       const struct dcm_offer *offer, struct dcm_ahead *ahead)
{
	int fd, r;

	/* If there was none to be had before, perhaps there is now. */
	if (ahead->pidfd < 0)
		dcm_transfer_behind(ahead);
	dcm_transfer_ahead(seg, self, server, ahead);
	if (ahead->pidfd < 0)
		return ahead->pidfd;
	/* There behind the open: so the number was still the server's when it was opened. */
	if (!dcm_process_there(seg, server))
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_getfd, ahead->pidfd, (int)offer->fd, 0);
	r = -errno;
	if (fd >= 0)
		return dcm_transfer_verified(fd, offer);
	/* No such descriptor, or not to be had through the first thread, which has ended while others
	   go on: the kernel has one answer for both before 6.9, and another way tells. */
	if (r == -EBADF || r == -ESRCH)
		r = dcm_process_there(seg, server) ? -EBADF : -ESRCH;
	return r;
}
