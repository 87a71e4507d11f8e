/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/channel.h"
#include "shm/kernel.h"

struct file {
	int fd;
	uint64_t bytes; /* 0: there is none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file spare;     /* under lock */
static uint64_t wanted_bytes; /* under lock; 0: nothing was taken, or it was tried in vain */

/* Kernels before 6.3 do not know the exec seal; the other seals must not be lost with it. */
static int make_memfd(void)
{
	int fd = -1;

	if (DCM_KERNEL_NEW)
		fd = memfd_create("dcm-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && (!DCM_KERNEL_NEW || errno == EINVAL))
		fd = memfd_create("dcm-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

/* Return: 0, or negative errno. */
static int prepare(const struct file *file)
{
	int r;

	if (fchmod(file->fd, 0600) < 0 || ftruncate(file->fd, (off_t)file->bytes) < 0)
		return -errno;
	r = dcm_channel_commit(file->fd, file->bytes);
	if (r < 0)
		return r;
	/* Never another size: no access of ours can end in SIGBUS. */
	return fcntl(file->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno
											   : 0;
}

static int make(struct file *file, uint64_t bytes)
{
	int r;

	*file = (struct file){ .fd = make_memfd(), .bytes = bytes };
	if (file->fd < 0)
		return -errno;
	r = prepare(file);
	if (r < 0)
		close(file->fd);
	return r;
}

int dcm_spare_take(uint64_t bytes)
{
	struct file file = { .bytes = 0 };
	int r = 0;

	pthread_mutex_lock(&lock);
	wanted_bytes = bytes;
	if (spare.bytes == bytes) {
		file = spare;
		spare.bytes = 0;
	}
	pthread_mutex_unlock(&lock);
	if (file.bytes == 0)
		r = make(&file, bytes);
	return r < 0 ? r : file.fd;
}

bool dcm_spare_wanted(void)
{
	bool wanted;

	pthread_mutex_lock(&lock);
	wanted = spare.bytes == 0 && wanted_bytes != 0;
	pthread_mutex_unlock(&lock);
	return wanted;
}

void dcm_spare_fill(void)
{
	struct file file;
	uint64_t bytes;

	pthread_mutex_lock(&lock);
	bytes = spare.bytes == 0 ? wanted_bytes : 0;
	wanted_bytes = 0;
	pthread_mutex_unlock(&lock);
	if (bytes == 0 || make(&file, bytes) < 0)
		return;
	pthread_mutex_lock(&lock);
	spare = file; /* the keeper alone puts one there */
	pthread_mutex_unlock(&lock);
}

void dcm_spare_drop(void)
{
	struct file file;

	pthread_mutex_lock(&lock);
	file = spare;
	spare.bytes = 0;
	wanted_bytes = 0;
	pthread_mutex_unlock(&lock);
	if (file.bytes != 0)
		close(file.fd);
}

void dcm_spare_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	if (spare.bytes != 0)
		close(spare.fd);
	spare.bytes = 0;
	wanted_bytes = 0;
}
