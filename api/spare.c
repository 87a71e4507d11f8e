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

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct memory {
	int fd;
	void *base;
	uint64_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct memory spare;   /* under lock; bytes 0: none */
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

static void unmake(struct memory *m)
{
	if (m->base != MAP_FAILED)
		munmap(m->base, m->bytes);
	close(m->fd);
}

/* Return: 0, or negative errno. */
static int prepare(struct memory *m)
{
	int r;

	if (fchmod(m->fd, 0600) < 0 || ftruncate(m->fd, (off_t)m->bytes) < 0)
		return -errno;
	r = dcm_channel_commit(m->fd, m->bytes);
	if (r < 0)
		return r;
	m->base =
		mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (m->base == MAP_FAILED)
		return -errno;
	/* A child of this process is not a party to the channel. */
	madvise(m->base, m->bytes, MADV_DONTFORK);
	/* Never another size: no access of ours can end in SIGBUS. */
	return fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno
											: 0;
}

static int make(struct memory *m, uint64_t bytes)
{
	int r;

	*m = (struct memory){ .fd = make_memfd(), .base = MAP_FAILED, .bytes = bytes };
	if (m->fd < 0)
		return -errno;
	r = prepare(m);
	if (r < 0)
		unmake(m);
	return r;
}

int dcm_spare_take(uint64_t bytes, void **base)
{
	struct memory m = { .bytes = 0 };
	int r = 0;

	pthread_mutex_lock(&lock);
	wanted_bytes = bytes;
	if (spare.bytes == bytes) {
		m = spare;
		spare.bytes = 0;
	}
	pthread_mutex_unlock(&lock);
	if (m.bytes == 0)
		r = make(&m, bytes);
	if (r < 0)
		return r;
	*base = m.base;
	return m.fd;
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
	struct memory m;
	uint64_t bytes;
	int r;

	pthread_mutex_lock(&lock);
	bytes = spare.bytes == 0 ? wanted_bytes : 0;
	wanted_bytes = 0;
	pthread_mutex_unlock(&lock);
	if (bytes == 0)
		return;
	r = make(&m, bytes);
	if (r < 0)
		return;
	/* So that who gets it need not fault them in, one after the other. */
	madvise(m.base, DCM_CHANNEL_COMMITTED, MADV_POPULATE_WRITE);
	pthread_mutex_lock(&lock);
	spare = m; /* the keeper alone puts one there */
	pthread_mutex_unlock(&lock);
}

void dcm_spare_drop(void)
{
	struct memory m;

	pthread_mutex_lock(&lock);
	m = spare;
	spare.bytes = 0;
	wanted_bytes = 0;
	pthread_mutex_unlock(&lock);
	if (m.bytes != 0)
		unmake(&m);
}

void dcm_spare_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	if (spare.bytes != 0)
		close(spare.fd);
	spare.bytes = 0;
	wanted_bytes = 0;
}
