/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/descriptor.h"
#include "api/identity.h"
#include "api/keeper.h"
#include "shm/channel.h"
#include "shm/kernel.h"

/* Of the process: null, or whole and taken out by whoever takes it. */
static struct dcm_memory *_Atomic spare;
static dcm_atomic32 wanted; /* 1: memory was taken since the last was made ahead */
static dcm_atomic32 made;   /* spares, ever */
static dcm_atomic32 seen;   /* by the keeper's last look: so many were made */

/* Tests that kill at each step wait each time until the survivor holds what it held before; that would
   take seconds, and what is made ahead is no part of what they look for: it is in no segment. */
#ifdef DCM_HOOKS
enum { MAKES_AHEAD = 0 };
#else
enum { MAKES_AHEAD = 1 };
#endif

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

/* Past this limit of the process the kernel would send SIGXFSZ, which ends the program. */
static bool may_be_so_long(uint64_t bytes)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur >= bytes;
}

static bool is_there(int fd, uint64_t device, uint64_t inode)
{
	struct dcm_descriptor is;

	return dcm_descriptor_look(fd, &is) && is.device == device && is.inode == inode;
}

/* close() is where a thread is cancelled; a bare call is none that a sanitizer sees. */
static void close_whole(int fd)
{
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	close(fd);
	pthread_setcancelstate(before, &before);
}

void dcm_spare_close(int fd, uint64_t device, uint64_t inode)
{
	if (is_there(fd, device, inode))
		close_whole(fd);
}

static void destroy(struct dcm_memory *m)
{
	if (m->base != MAP_FAILED)
		munmap(m->base, m->bytes);
	dcm_spare_close(m->fd, m->device, m->inode);
}

/* Of the file. Return: 0 or negative errno. */
static int fill(struct dcm_memory *m)
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
	dcm_channel_format(m->base, m->bytes, m->nonce);
	/* Never another size: no access of ours can end in SIGBUS. */
	return fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno
											: 0;
}

/* A file, and by what it is known from here on. */
static int open_new(struct dcm_memory *m)
{
	struct dcm_descriptor is;
	int fd = make_memfd();

	if (fd < 0)
		return -errno;
	if (!dcm_descriptor_look(fd, &is)) {
		close_whole(fd);
		return -EPERM; /* a filter denies both ways to look */
	}
	m->fd = fd;
	m->device = is.device;
	m->inode = is.inode;
	return 0;
}

static int make(uint64_t bytes, struct dcm_memory *m)
{
	int r;

	*m = (struct dcm_memory){ .fd = -1, .base = MAP_FAILED, .bytes = bytes };
	if (!may_be_so_long(bytes))
		return -EFBIG;
	if (getrandom(&m->nonce, sizeof m->nonce, 0) != sizeof m->nonce)
		m->nonce = dcm_sid_next();
	r = open_new(m);
	if (r < 0)
		return r;
	r = fill(m);
	if (r < 0)
		destroy(m);
	return r;
}

int dcm_spare_take(uint64_t bytes, struct dcm_memory *out)
{
	struct dcm_memory *m = atomic_exchange(&spare, NULL);

	dcm_store(&wanted, 1u, relaxed);
	if (m == NULL)
		return make(bytes, out);
	*out = *m;
	free(m);
	if (out->bytes == bytes && is_there(out->fd, out->device, out->inode))
		return 0;
	destroy(out);
	return make(bytes, out);
}

/* Its pages are there when it is taken: nobody waits for them. */
static struct dcm_memory *make_ahead(uint64_t bytes)
{
	struct dcm_memory *m = malloc(sizeof *m);
	struct dcm_channel view;

	if (m == NULL || make(bytes, m) < 0) {
		free(m);
		return NULL;
	}
	if (dcm_channel_view(&view, m->base, bytes, m->nonce))
		dcm_channel_settle(&view);
	return m;
}

void dcm_spare_prepare(uint64_t bytes)
{
	struct dcm_memory *m, *none = NULL;

	if (!MAKES_AHEAD || dcm_load(&wanted, relaxed) == 0 || dcm_swap(&wanted, 0u) == 0)
		return;
	m = make_ahead(bytes);
	if (m == NULL)
		return; /* who accepts says why */
	dcm_add(&made, 1u);
	if (!atomic_compare_exchange_strong(&spare, &none, m)) {
		destroy(m);
		free(m);
		return;
	}
	dcm_keeper_look_later();
}

void dcm_spare_tend(void)
{
	uint32_t now = dcm_load(&made, relaxed);

	if (atomic_load(&spare) == NULL)
		return;
	if (now == dcm_load(&seen, relaxed)) {
		dcm_spare_drop();
		return;
	}
	dcm_store(&seen, now, relaxed);
	dcm_keeper_look_later();
}

void dcm_spare_drop(void)
{
	struct dcm_memory *m = atomic_exchange(&spare, NULL);

	if (m == NULL)
		return;
	destroy(m);
	free(m);
}

void dcm_spare_shut(void)
{
	struct dcm_memory *m = atomic_load(&spare);
	int saved = errno;

	if (m == NULL)
		return;
	dcm_spare_close(m->fd, m->device, m->inode);
	m->fd = -1;
	errno = saved;
}

void dcm_spare_forked(void)
{
	struct dcm_memory *m = atomic_exchange(&spare, NULL);

	dcm_store(&wanted, 0u, relaxed);
	if (m == NULL)
		return;
	dcm_spare_close(m->fd, m->device, m->inode);
	free(m);
}
