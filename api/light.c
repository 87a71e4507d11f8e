/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/light.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "api/descriptor.h"

/*
 * All by the bare calls. A thread that is cancelled in read(), write() or close() keeps our locks;
 * and ThreadSanitizer, which does not see all of them, is to see none.
 */
int dcm_light_make(void)
{
	int saved = errno;
	int fd = (int)syscall(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		fd = -errno;
	errno = saved;
	return fd;
}

static void transfer(long call, int fd)
{
	uint64_t count = 1;
	int saved = errno;

	(void)syscall(call, fd, &count, sizeof(count));
	errno = saved;
}

void dcm_light_on(struct dcm_light *light)
{
	if (light->fd < 0 || light->on)
		return;
	light->on = true;
	transfer(SYS_write, light->fd);
}

void dcm_light_off(struct dcm_light *light)
{
	if (light->fd < 0 || !light->on)
		return;
	light->on = false;
	transfer(SYS_read, light->fd);
}

void dcm_light_close(struct dcm_light *light)
{
	if (light->fd < 0)
		return;
	dcm_light_on(light);
	dcm_light_discard(light->fd);
	light->fd = -1;
	light->on = false;
}

/* An eventfd has no type of file; what has one was opened since by a child that closed ours first. */
static bool is_a_file(int fd)
{
	struct dcm_descriptor is;

	return dcm_descriptor_look(fd, &is) && is.type != 0;
}

void dcm_light_discard(int fd)
{
	int saved = errno;

	if (!is_a_file(fd))
		(void)syscall(SYS_close, fd);
	errno = saved;
}
