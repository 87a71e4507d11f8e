/* SPDX-License-Identifier: BSD-2-Clause */
/* Finding the segment, making it, replacing it. */
#define _GNU_SOURCE
#include "shm/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "shm/park.h"

#define NAME_BYTES_MAX 64
#define GATE_WAIT_NS   (10 * INT64_C(1000000000))
#define SLEEP_NS_MIN   (200 * 1000)
#define SLEEP_NS_MAX   (5 * 1000 * 1000)
#define CHUNK_BYTES    (1 << 20)

struct directory {
	char path[sizeof((struct dcm_segment *)0)->path];
};

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

static int put_path(char *path, size_t size, struct dcm_detail *why, const char *head,
		    const char *tail)
{
	int length = snprintf(path, size, "%s%s", head, tail);

	if (length >= 0 && (size_t)length < size)
		return 0;
	return dcm_segment_refuse(why, -ENAMETOOLONG,
				  "the fabric's path is longer than %zu bytes: ...%s; choose a "
				  "shorter DCM_FABRIC",
				  size - 1, dcm_segment_shown(tail));
}

static int path_from_path(const char *fabric, char *path, size_t size, struct dcm_detail *why)
{
	char *here;
	int r;

	if (ends_in(fabric, "/"))
		return dcm_segment_refuse(why, -EINVAL,
					  "DCM_FABRIC=%s names a directory, not a file",
					  dcm_segment_shown(fabric));
	if (fabric[0] == '/')
		return put_path(path, size, why, "", fabric);
	here = getcwd(NULL, 0);
	if (here == NULL)
		return dcm_segment_refuse(why, -errno, "no current directory for DCM_FABRIC=%s: %s",
					  dcm_segment_shown(fabric), dcm_segment_error(errno));
	r = put_path(path, size, why, here, "/");
	if (r == 0)
		r = put_path(path + strlen(path), size - strlen(path), why, "", fabric);
	free(here);
	return r;
}

static bool name_is_valid(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t length = strlen(name);

	return length <= NAME_BYTES_MAX && name[0] != '.' && strspn(name, letters) == length;
}

int dcm_segment_path(const char *fabric, char *path, size_t size, struct dcm_detail *why)
{
	char head[64];
	struct statfs fs;

	if (fabric == NULL || fabric[0] == '\0')
		fabric = "default";
	if (ends_in(fabric, ".lock") || ends_in(fabric, ".tmp"))
		return dcm_segment_refuse(
			why, -EINVAL,
			"DCM_FABRIC=%s: .lock and .tmp are endings of the library's "
			"own files",
			dcm_segment_shown(fabric));
	if (strchr(fabric, '/') != NULL)
		return path_from_path(fabric, path, size, why);
	if (!name_is_valid(fabric))
		return dcm_segment_refuse(why, -EINVAL,
					  "DCM_FABRIC=%.80s: a name has 1 to %d of the characters "
					  "A-Z a-z 0-9 . _ - and does not begin with a dot; a path "
					  "has a slash",
					  fabric, NAME_BYTES_MAX);
	snprintf(head, sizeof head, "/run/user/%u", geteuid());
	if (statfs(head, &fs) == 0 && dcm_segment_in_memory((long)fs.f_type))
		snprintf(head, sizeof head, "/run/user/%u/dcm/", geteuid());
	else
		snprintf(head, sizeof head, "/dev/shm/dcm-%u-", geteuid());
	return put_path(path, size, why, head, fabric);
}

static void directory_of(const char *path, struct directory *directory)
{
	char *slash;

	snprintf(directory->path, sizeof directory->path, "%s", path);
	slash = strrchr(directory->path, '/');
	slash[slash == directory->path] = '\0';
}

/* The directory that holds the fabric: there, and in memory. The default one is made. */
static int prepare_directory(const struct dcm_segment *seg, bool by_name, struct dcm_detail *why)
{
	struct directory directory;
	struct statfs fs;
	struct stat st;

	directory_of(seg->path, &directory);
	if (by_name && ends_in(directory.path, "/dcm"))
		mkdir(directory.path, 0700);
	if (stat(directory.path, &st) < 0)
		return dcm_segment_refuse(why, -errno,
					  "the directory of the fabric, %s: %s; make it or choose "
					  "another DCM_FABRIC",
					  dcm_segment_shown(directory.path),
					  dcm_segment_error(errno));
	if (statfs(directory.path, &fs) < 0)
		return dcm_segment_refuse(why, -errno, "cannot stat the file system of %s: %s",
					  dcm_segment_shown(directory.path),
					  dcm_segment_error(errno));
	if (!dcm_segment_in_memory((long)fs.f_type))
		return dcm_segment_refuse(
			why, -ENODEV,
			"%s is on a disk file system, where stores would wait for "
			"writeback; put the fabric into /dev/shm or /run",
			dcm_segment_shown(directory.path));
	return 0;
}

/* Cuts @directory to the mount point that it is on. */
static void to_mount_point(struct directory *directory)
{
	struct directory above = *directory;
	struct stat st, up;

	while (stat(directory->path, &st) == 0 && strcmp(directory->path, "/") != 0) {
		directory_of(directory->path, &above);
		if (stat(above.path, &up) < 0 || up.st_dev != st.st_dev)
			return;
		*directory = above;
	}
}

static int refuse_space(const struct dcm_segment *seg, int fd, uint64_t bytes,
			struct dcm_detail *why)
{
	unsigned long long available = 0;
	struct directory directory;
	struct statfs fs;

	if (fstatfs(fd, &fs) == 0)
		available = (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize;
	directory_of(seg->path, &directory);
	to_mount_point(&directory);
	return dcm_segment_refuse(
		why, -ENOSPC,
		"no room for the fabric %s: it needs %llu bytes, the file system at "
		"%s has %llu; enlarge it (a container's /dev/shm: --shm-size), or "
		"choose another place with DCM_FABRIC",
		dcm_segment_shown(seg->path), (unsigned long long)bytes, directory.path, available);
}

/*
 * In chunks: tmpfs gives back all of an interrupted call, so that a profiler's timer could keep one
 * call from ever ending.
 */
static int allocate(int fd, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes;) {
		uint64_t chunk = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;

		if (fallocate(fd, 0, (off_t)at, (off_t)chunk) == 0)
			at += chunk;
		else if (errno == EOPNOTSUPP) /* ramfs: has no bounds either */
			return ftruncate(fd, (off_t)bytes) == 0 ? 0 : -errno;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int preallocate(const struct dcm_segment *seg, int fd, uint64_t bytes,
		       struct dcm_detail *why)
{
	struct rlimit limit;
	struct statfs fs;
	int r;

	/* Past this limit the kernel would send SIGXFSZ, which ends the program. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes)
		return dcm_segment_refuse(why, -EFBIG,
					  "the fabric needs a file of %llu bytes, this process may "
					  "write %llu; raise the limit (ulimit -f)",
					  (unsigned long long)bytes,
					  (unsigned long long)limit.rlim_cur);
	/* Asked first, so that a full file system is not filled to the brim for a moment. */
	if (fstatfs(fd, &fs) == 0 && fs.f_blocks > 0 &&
	    (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize < bytes)
		return refuse_space(seg, fd, bytes, why);
	r = allocate(fd, bytes);
	if (r == -ENOSPC)
		return refuse_space(seg, fd, bytes, why);
	if (r < 0)
		return dcm_segment_refuse(why, r, "cannot allocate the %llu bytes of %s: %s",
					  (unsigned long long)bytes, dcm_segment_shown(seg->path),
					  dcm_segment_error(-r));
	return 0;
}

static void make_uuid(uint64_t uuid[2])
{
	struct timespec now;

	if (getrandom(uuid, 16, GRND_NONBLOCK) == 16)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	uuid[0] = (uint64_t)now.tv_sec << 32 | (uint64_t)now.tv_nsec;
	uuid[1] = (uint64_t)getpid();
}

static int write_header(const struct dcm_segment *seg, int fd,
			const struct dcm_segment_options *options, uint64_t bytes)
{
	static const uint64_t magic = DCM_MAGIC;
	struct dcm_header header = {
		.layout = DCM_LAYOUT,
		.fingerprint = dcm_layout_fingerprint(),
		.bytes = bytes,
		.library_version = options->library_version,
		.hash = DCM_HASH_XXH3,
		.capacity = options->capacity,
		.lock_inode = seg->lock_inode,
		.user_share = dcm_access_user_share(dcm_access_of(options)),
	};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	header.created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	dcm_segment_boot_id(header.boot_id);
	make_uuid(header.uuid);
	/* The tables are zero, which is FREE everywhere. */
	if (pwrite(fd, &header, sizeof header, 0) != (ssize_t)sizeof header)
		return -EIO;
	return pwrite(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic ? 0 : -EIO;
}

/*
 * A file without a name where the file system has that, so that nothing is left if we die; else
 * PATH.tmp, which the next maker removes: the gate, held exclusive, makes it the only one.
 */
static int open_unnamed(const struct dcm_segment *seg, const char *temporary, bool *named)
{
	struct directory directory;
	int fd;

	directory_of(seg->path, &directory);
	*named = false;
	fd = -1;
	/* Without /proc it could not be given its name. */
	if (access("/proc/thread-self/fd", X_OK) == 0)
		fd = open(directory.path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		*named = true;
		unlink(temporary);
		fd = open(temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	return fd;
}

static int give_name(const struct dcm_segment *seg, int fd, const char *temporary, bool named)
{
	char unnamed[40];

	/* Dying before the link leaves no segment, or PATH.tmp; after it, a whole one. */
	if (named)
		return link(temporary, seg->path) == 0 ? 0 : -errno;
	snprintf(unnamed, sizeof unnamed, "/proc/thread-self/fd/%d", fd);
	return linkat(AT_FDCWD, unnamed, AT_FDCWD, seg->path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* To the new segment; and to the lock file, which may be older and let in fewer. */
static int give_access(const struct dcm_segment *seg, int fd, const struct dcm_access *access,
		       struct dcm_detail *why)
{
	int r = dcm_access_give(fd, seg->path, access, why);
	struct stat st;

	if (r < 0 || fstat(seg->lock_fd, &st) < 0 || (st.st_mode & 07777) == access->mode)
		return r;
	return dcm_access_give(seg->lock_fd, "its lock file", access, why);
}

/* Under the gate, exclusive; what is at the path was judged vacant. */
static int make(const struct dcm_segment *seg, const struct dcm_segment_options *options,
		struct dcm_detail *why)
{
	const struct dcm_access *access = dcm_access_of(options);
	char temporary[sizeof seg->path + 8];
	struct dcm_places places;
	bool named;
	int fd, r;

	if (!dcm_layout_places(&options->capacity, &places))
		return dcm_segment_refuse(why, -EINVAL,
					  "a capacity (DCM_MAX_...) is out of its bounds");
	snprintf(temporary, sizeof temporary, "%s.tmp", seg->path);
	fd = open_unnamed(seg, temporary, &named);
	if (fd < 0)
		return dcm_segment_refuse(why, -errno, "cannot make %s: %s",
					  dcm_segment_shown(seg->path), dcm_segment_error(errno));
	r = give_access(seg, fd, access, why);
	if (r == 0)
		r = preallocate(seg, fd, places.bytes, why);
	if (r == 0) {
		r = write_header(seg, fd, options, places.bytes);
		/* Dying here leaves no segment: the next who comes makes it. */
		if (r == 0 && unlink(seg->path) < 0 && errno != ENOENT)
			r = -errno;
		if (r == 0)
			r = give_name(seg, fd, temporary, named);
		if (r < 0)
			dcm_segment_refuse(why, r, "cannot make %s: %s",
					   dcm_segment_shown(seg->path), dcm_segment_error(-r));
	}
	if (named)
		unlink(temporary);
	close(fd);
	return r == -EEXIST ? -EAGAIN : r;
}

static int adopt_linked(struct dcm_segment *seg, const struct dcm_segment_options *options,
			struct dcm_detail *why)
{
	return dcm_segment_lock_file_linked(seg) ? dcm_segment_adopt(seg, options, why) : -EAGAIN;
}

/* One try with the gate. Return: 0 with the gate shared; -EAGAIN; or a refusal. */
static int attach_once(struct dcm_segment *seg, const struct dcm_segment_options *options,
		       struct dcm_detail *why)
{
	int r = dcm_segment_gate(seg, DCM_GATE_SHARED);

	if (r == -EAGAIN)
		return r;
	if (r < 0)
		return dcm_segment_refuse(why, r, "cannot lock %s.lock: %s",
					  dcm_segment_shown(seg->path), dcm_segment_error(-r));
	r = adopt_linked(seg, options, why);
	if (r == 0)
		return 0;
	if (r == DCM_VACANT) {
		r = dcm_segment_gate(seg, DCM_GATE_EXCLUSIVE);
		/* Another may have been faster: everything is looked at again. */
		if (r == 0)
			r = adopt_linked(seg, options, why);
		if (r == DCM_VACANT) {
			/* What was made is new: not to be made anew once more. */
			struct dcm_segment_options made = *options;

			made.anew = false;
			r = make(seg, options, why);
			if (r == 0)
				r = dcm_segment_adopt(seg, &made, why);
		}
		if (r == 0)
			r = dcm_segment_gate(seg, DCM_GATE_SHARED);
	}
	if (r != 0)
		dcm_segment_gate(seg, DCM_GATE_OPEN);
	return r == DCM_VACANT ? -EAGAIN : r;
}

static int time_out(const struct dcm_segment *seg, struct dcm_detail *why)
{
	pid_t pid = dcm_segment_gate_holder(seg);
	char who[32] = "a process";

	if (pid > 0)
		snprintf(who, sizeof who, "process %d", pid);
	return dcm_segment_refuse(
		why, -ETIMEDOUT,
		"%s held %s.lock for %d s while it attached or made the fabric; is "
		"it stopped? continue it or end it",
		who, dcm_segment_shown(seg->path), (int)(GATE_WAIT_NS / 1000000000));
}

static int attach(struct dcm_segment *seg, const struct dcm_segment_options *options,
		  struct dcm_detail *why)
{
	int64_t deadline = dcm_park_now() + GATE_WAIT_NS;
	long sleep_ns = SLEEP_NS_MIN;
	int r;

	for (;;) {
		if (seg->lock_fd >= 0 && !dcm_segment_lock_file_linked(seg))
			dcm_segment_lock_file_close(seg);
		r = seg->lock_fd >= 0 ? 0 : dcm_segment_lock_file_open(seg, options, why);
		if (r == 0)
			r = attach_once(seg, options, why);
		if (r != -EAGAIN)
			return r;
		if (dcm_park_now() >= deadline)
			return time_out(seg, why);
		nanosleep(&(struct timespec){ .tv_nsec = sleep_ns }, NULL);
		sleep_ns = sleep_ns * 2 < SLEEP_NS_MAX ? sleep_ns * 2 : SLEEP_NS_MAX;
	}
}

static int look(struct dcm_segment *seg, const struct dcm_segment_options *options,
		struct dcm_detail *why)
{
	struct dcm_detail ignored;
	int r;

	/* Who is alive can be told better with it, but it can be done without. */
	dcm_segment_lock_file_open(seg, options, &ignored);
	r = dcm_segment_adopt(seg, options, why);
	return r == DCM_VACANT ? -ENOENT : r;
}

int dcm_segment_open(struct dcm_segment *seg, const struct dcm_segment_options *options,
		     struct dcm_detail *why)
{
	bool by_name = dcm_access_by_name(options);
	int r;

	*seg = (struct dcm_segment){ .lock_fd = -1 };
	why->text[0] = '\0';
	r = dcm_segment_path(options->fabric, seg->path, sizeof seg->path, why);
	if (r == 0 && by_name && dcm_access_shared(dcm_access_of(options)->mode))
		r = dcm_segment_refuse(why, -EINVAL,
				       "DCM_MODE=%04o lets other users in, and a name is a place of "
				       "this user's own: DCM_FABRIC must be a path that they can "
				       "reach, such as /dev/shm/NAME",
				       dcm_access_of(options)->mode);
	if (r == 0 && options->read_only) {
		r = look(seg, options, why);
	} else if (r == 0) {
		r = prepare_directory(seg, by_name, why);
		if (r == 0)
			r = attach(seg, options, why);
	}
	if (r < 0)
		dcm_segment_close(seg);
	else
		why->text[0] = '\0';
	return r;
}
