// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_path.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The next component of a name, and what is behind it; false behind the last one. */
static bool next_component(const char **name, char component[256])
{
	size_t bytes = strcspn(*name, "/");

	if (bytes == 0 || bytes > 255)
		return false;
	memcpy(component, *name, bytes);
	component[bytes] = '\0';
	*name += bytes;
	*name += **name == '/';
	return true;
}

/* One directory further down; the upper one is closed unless it is the root. */
static int enter(int root, int directory, const char *component)
{
	int next = openat(directory, component, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int error = 0;

	if (next < 0)
		error = errno;
	else if (fstat(next, &st) < 0)
		error = errno;
	else if (S_ISLNK(st.st_mode))
		error = ELOOP;
	else if (!S_ISDIR(st.st_mode))
		error = ENOTDIR;
	if (directory != root)
		close(directory);
	if (error == 0)
		return next;
	if (next >= 0)
		close(next);
	return -error;
}

/* Component by component, for kernels before 5.6 and sandboxes that do not know openat2(). */
static int walk_beneath(int root, const char *name, int flags)
{
	char component[256];
	int directory = root;
	int fd, error;

	while (next_component(&name, component) && *name != '\0') {
		directory = enter(root, directory, component);
		if (directory < 0)
			return directory;
	}
	fd = openat(directory, component, flags | O_NOFOLLOW);
	error = errno;
	if (directory != root)
		close(directory);
	return fd < 0 ? -error : fd;
}

int files_open_beneath(int root, const char *name, int flags)
{
	static atomic_bool walks;
	struct open_how how = {
		.flags = (unsigned int)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	if (*name == '\0') {
		fd = openat(root, ".", flags | O_CLOEXEC);
		return fd < 0 ? -errno : (int)fd;
	}
	if (!atomic_load(&walks)) {
		fd = syscall(SYS_openat2, root, name, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != ENOSYS && errno != EPERM)
			return -errno;
		if (errno == ENOSYS)
			atomic_store(&walks, true);
	}
	return walk_beneath(root, name, flags | O_CLOEXEC);
}

/* The directory that a name is in, which is made as far as it is missing. */
static int make_parent(int root, const char *name)
{
	char component[256];
	int directory = root;

	while (next_component(&name, component) && *name != '\0') {
		if (mkdirat(directory, component, 0777) < 0 && errno != EEXIST) {
			int error = errno;

			if (directory != root)
				close(directory);
			return -error;
		}
		directory = enter(root, directory, component);
		if (directory < 0)
			return directory;
	}
	return directory;
}

static int open_parent(int root, const char *name)
{
	const char *slash = strrchr(name, '/');
	char parent[PATH_MAX];
	int fd;

	snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - name) : 0, name);
	fd = files_open_beneath(root, parent, O_PATH | O_DIRECTORY | O_NOFOLLOW);
	return fd == -ENOENT && slash ? make_parent(root, name) : fd;
}

int files_target_open(struct files_target *target, int root, const char *name)
{
	static atomic_uint number;
	const char *slash = strrchr(name, '/');

	target->leaf = slash ? slash + 1 : name;
	target->parent = open_parent(root, name);
	if (target->parent < 0)
		return target->parent;
	/* What a killed client left may have the same name. */
	for (int attempt = 0; attempt < 100; attempt++) {
		snprintf(target->temporary, sizeof(target->temporary), ".dcm-files-%d-%u",
			 (int)getpid(), atomic_fetch_add(&number, 1));
		target->fd = openat(target->parent, target->temporary,
				    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		if (target->fd >= 0 || errno != EEXIST)
			break;
	}
	if (target->fd < 0) {
		int error = errno;

		close(target->parent);
		return -error;
	}
	return 0;
}

int files_target_keep(struct files_target *target)
{
	int error = 0;

	if (close(target->fd) < 0 ||
	    renameat(target->parent, target->temporary, target->parent, target->leaf) < 0) {
		error = errno;
		unlinkat(target->parent, target->temporary, 0);
	}
	close(target->parent);
	return -error;
}

void files_target_drop(struct files_target *target)
{
	close(target->fd);
	unlinkat(target->parent, target->temporary, 0);
	close(target->parent);
}
