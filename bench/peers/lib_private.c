/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/peers/lib_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* The same user and group as before, and no others. */
static bool map_ids(unsigned user, unsigned group)
{
	char users[32], groups[32];

	snprintf(users, sizeof(users), "%u %u 1", user, user);
	snprintf(groups, sizeof(groups), "%u %u 1", group, group);
	return write_to("/proc/self/uid_map", users) && write_to("/proc/self/setgroups", "deny") &&
	       write_to("/proc/self/gid_map", groups);
}

static bool enter(void)
{
	unsigned user = geteuid(), group = getegid();

	if (unshare(CLONE_NEWNS) == 0)
		return true;
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && map_ids(user, group);
}

static bool mount_over(const char *path)
{
	return mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") == 0;
}

/* The empty directory of the run moves: where it was, nobody would be left to remove it. */
static bool hide(const struct peer_job *job)
{
	bool hidden = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		      rmdir(job->directory) == 0;

	if (!hidden)
		return false;
	hidden = mount_over("/tmp") && mount_over("/dev/shm");
	if (mkdir(job->directory, 0700) != 0)
		peer_fail("%s: %s", job->directory, strerror(errno));
	return hidden;
}

bool private_names(const struct peer_job *job)
{
	static bool tried, are;

	if (!tried)
		are = enter() && hide(job);
	tried = true;
	return are;
}
