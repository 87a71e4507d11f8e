/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/segment.h"
#include "shm/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATE_OFFSET (1 << 30)
#define SHOWN_BYTES 160

static struct dcm_table table(unsigned char *base, struct dcm_place place, uint32_t count,
			      struct dcm_place used)
{
	return (struct dcm_table){ .slots = base + place.start,
				   .stride = place.stride,
				   .count = count,
				   .used = (dcm_atomic64 *)(void *)(base + used.start) };
}

static dcm_atomic64 *index_rows(unsigned char *base, struct dcm_place place, uint64_t *row_words)
{
	*row_words = place.stride / sizeof(dcm_atomic64);
	return (dcm_atomic64 *)(void *)(base + place.start);
}

bool dcm_segment_view(struct dcm_segment *seg, void *memory, uint64_t bytes,
		      const struct dcm_capacity *capacity)
{
	struct dcm_capacity c = *capacity;
	unsigned char *base = memory;
	struct dcm_places at;

	if (!dcm_layout_places(&c, &at) || at.bytes > bytes || (uintptr_t)base % DCM_CACHELINE != 0)
		return false;
	*seg = (struct dcm_segment){
		.base = base,
		.bytes = bytes,
		.capacity = c,
		.process = table(base, at.process, c.processes, at.process_used),
		.endpoint = table(base, at.endpoint, c.endpoints, at.endpoint_used),
		.subscription = table(base, at.subscription, c.subscriptions, at.subscription_used),
		.connection = table(base, at.connection, c.connections, at.connection_used),
		.listener = table(base, at.listener, c.listeners, at.listener_used),
		.gift = table(base, at.gift, 1u << c.gift_shift, at.gift_used),
		.names = at.endpoint_names,
		.bucket = at.bucket,
		.alive = at.alive,
		.marked = at.marked,
		.user_share = 100,
		.lock_fd = -1,
	};
	seg->regions = dcm_regions(c.endpoints);
	seg->by_type.rows = index_rows(base, at.by_type, &seg->region_row);
	seg->by_type.regions = index_rows(base, at.by_type_regions, &seg->regions_row);
	seg->by_name.rows = index_rows(base, at.by_name, &seg->region_row);
	seg->by_name.regions = index_rows(base, at.by_name_regions, &seg->regions_row);
	seg->subscription_index = index_rows(base, at.subscription_index, &seg->subscription_row);
	seg->connection_index = index_rows(base, at.connection_index, &seg->connection_row);
	return true;
}

int dcm_segment_refuse(struct dcm_detail *why, int result, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);
	return result;
}

const char *dcm_segment_shown(const char *path)
{
	size_t length = strlen(path);

	return length > SHOWN_BYTES ? path + (length - SHOWN_BYTES) : path;
}

const char *dcm_segment_error(int error)
{
	const char *text = strerrordesc_np(error);

	return text != NULL ? text : "unknown error";
}

/* The file that seg->lock_fd was opened for. A program that closes all descriptors it does not
   know, as daemons do, leaves the number to any other file. */
static bool lock_fd_is_ours(const struct dcm_segment *seg)
{
	struct stat st;

	return seg->lock_fd >= 0 && fstat(seg->lock_fd, &st) == 0 &&
	       st.st_dev == seg->lock_device && st.st_ino == seg->lock_inode;
}

static int lock_control(const struct dcm_segment *seg, int command, short type, off_t start,
			off_t bytes, struct flock *out)
{
	*out = (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes
	};
	if (!lock_fd_is_ours(seg))
		return -EBADF;
	if (fcntl(seg->lock_fd, command, out) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/*
 * Who holds a lock in a range. F_GETLK does not see what this process holds itself; F_OFD_GETLK,
 * which asks in the name of the open file, does.
 */
static int find_lock(const struct dcm_segment *seg, int command, off_t start, off_t bytes,
		     struct flock *out)
{
	int r = lock_control(seg, command, F_WRLCK, start, bytes, out);

	if (r < 0)
		return r;
	return out->l_type != F_UNLCK;
}

static pid_t holder(int found, const struct flock *lock)
{
	if (found == 0)
		return DCM_NOBODY;
	/* 0: of a PID namespace that is not visible from here; -1: an open file description. What
	   the kernel does not tell is taken for somebody: nobody loses a segment by it. */
	return found > 0 && lock->l_pid > 0 ? lock->l_pid : DCM_SOMEBODY;
}

int dcm_segment_gate(const struct dcm_segment *seg, enum dcm_gate wanted)
{
	static const short types[] = { F_UNLCK, F_RDLCK, F_WRLCK };
	struct flock lock;

	return lock_control(seg, F_SETLK, types[wanted], GATE_OFFSET, 1, &lock);
}

pid_t dcm_segment_gate_holder(const struct dcm_segment *seg)
{
	struct flock lock;

	return holder(find_lock(seg, F_GETLK, GATE_OFFSET, 1, &lock), &lock);
}

pid_t dcm_segment_byte_holder(const struct dcm_segment *seg)
{
	struct flock lock;

	return holder(find_lock(seg, F_OFD_GETLK, 0, DCM_LOCK_BYTES, &lock), &lock);
}

void dcm_segment_settled(struct dcm_segment *seg)
{
	if (seg->lock_fd >= 0)
		dcm_segment_gate(seg, DCM_GATE_OPEN);
}

bool dcm_segment_lock(const struct dcm_segment *seg, uint32_t index)
{
	struct flock lock;

	if (seg->lock_fd < 0)
		return true;
	/* F_SETLK alone would grant a byte that another copy of the library in this process holds. */
	if (index >= DCM_LOCK_BYTES || dcm_segment_locked(seg, index) != 0)
		return false;
	return lock_control(seg, F_SETLK, F_WRLCK, (off_t)index, 1, &lock) == 0;
}

void dcm_segment_unlock(const struct dcm_segment *seg, uint32_t index)
{
	struct flock lock;

	if (index < DCM_LOCK_BYTES)
		lock_control(seg, F_SETLK, F_UNLCK, (off_t)index, 1, &lock);
}

int dcm_segment_locked(const struct dcm_segment *seg, uint32_t index)
{
	struct flock lock;

	if (index >= DCM_LOCK_BYTES)
		return -EINVAL;
	return find_lock(seg, F_OFD_GETLK, (off_t)index, 1, &lock);
}

bool dcm_segment_locked_here(const struct dcm_segment *seg, uint32_t index)
{
	struct flock lock;

	return index < DCM_LOCK_BYTES &&
	       find_lock(seg, F_OFD_GETLK, (off_t)index, 1, &lock) == 1 && lock.l_pid == getpid();
}

static bool is_at(const char *path, uint64_t device, uint64_t inode)
{
	struct stat st;

	return lstat(path, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static void lock_file_path(const struct dcm_segment *seg, char path[sizeof seg->path + 8])
{
	snprintf(path, sizeof seg->path + 8, "%s.lock", seg->path);
}

bool dcm_segment_linked(const struct dcm_segment *seg)
{
	return is_at(seg->path, seg->device, seg->inode);
}

bool dcm_segment_lock_file_linked(const struct dcm_segment *seg)
{
	char path[sizeof seg->path + 8];

	lock_file_path(seg, path);
	return is_at(path, seg->lock_device, seg->lock_inode);
}

/* A new lock file that nobody sees before it lets in whom it should, where that can be had. */
static int make_lock_file(const char *path, const struct dcm_access *access, struct dcm_detail *why)
{
	int flags = O_CLOEXEC | O_NOFOLLOW | O_RDWR;
	char directory[sizeof((struct dcm_segment *)0)->path + 8], unnamed[40];
	int fd, r;

	snprintf(directory, sizeof directory, "%s", path);
	strrchr(directory, '/')[1] = '\0';
	fd = open(directory, flags | O_TMPFILE, 0600);
	if (fd >= 0) {
		snprintf(unnamed, sizeof unnamed, "/proc/thread-self/fd/%d", fd);
		r = dcm_access_give(fd, path, access, why);
		if (r == 0 && linkat(AT_FDCWD, unnamed, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0)
			return fd;
		if (r == 0)
			r = -errno;
		close(fd);
		if (r != -ENOENT) /* without /proc it cannot be given its name */
			return r;
	}
	fd = open(path, flags | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	r = dcm_access_give(fd, path, access, why);
	if (r == 0)
		return fd;
	unlink(path);
	close(fd);
	return r;
}

/* Not with O_CREAT at once: fs.protected_regular would deny root the file of another user. */
static int open_or_make(const char *path, const struct dcm_segment_options *options,
			struct dcm_detail *why)
{
	int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd;

	do {
		fd = open(path, flags | (options->read_only ? O_RDONLY : O_RDWR));
		if (fd < 0)
			fd = -errno;
		if (fd == -ENOENT && !options->read_only)
			fd = make_lock_file(path, dcm_access_of(options), why);
	} while (fd == -EEXIST);
	return fd;
}

static int refuse_lock_file(const char *path, int error, struct dcm_detail *why)
{
	const char *advice = "";

	if (why->text[0] != '\0')
		return -error;
	if (error == EACCES && dcm_access_denied(path, why) < 0)
		return -EACCES;
	if (error == EACCES || error == EPERM || error == EROFS)
		advice = "; give this user the directory, or choose another with DCM_FABRIC";
	if (error == ELOOP)
		return dcm_segment_refuse(why, -EBADMSG, "%s is a symbolic link; remove it",
					  dcm_segment_shown(path));
	return dcm_segment_refuse(why, -error, "cannot open the lock file %s: %s%s",
				  dcm_segment_shown(path), dcm_segment_error(error), advice);
}

/* A lock file that had to stay open: see dcm_segment_lock_file_close(). */
static int left_open = -1;

static int take_left_open(const char *path)
{
	struct stat st;
	int fd = left_open;

	if (fd < 0 || fstat(fd, &st) < 0 || !is_at(path, st.st_dev, st.st_ino))
		return -1;
	left_open = -1;
	return fd;
}

int dcm_segment_lock_file_open(struct dcm_segment *seg, const struct dcm_segment_options *options,
			       struct dcm_detail *why)
{
	char path[sizeof seg->path + 8];
	struct stat st;
	int fd, r;

	lock_file_path(seg, path);
	why->text[0] = '\0';
	fd = take_left_open(path);
	if (fd < 0)
		fd = open_or_make(path, options, why);
	if (fd < 0)
		return refuse_lock_file(path, -fd, why);
	if (fstat(fd, &st) < 0) {
		int error = errno;

		close(fd);
		return refuse_lock_file(path, error, why);
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return dcm_segment_refuse(why, -EBADMSG, "%s is not a regular file; remove it",
					  dcm_segment_shown(path));
	}
	r = options->read_only ? 0 : dcm_access_check(path, &st, options, why);
	if (r < 0) {
		close(fd);
		return r;
	}
	seg->lock_fd = fd;
	seg->lock_device = st.st_dev;
	seg->lock_inode = st.st_ino;
	return 0;
}

/* A byte that this process holds now, after its own was given back, is another library copy's. */
static bool holds_a_byte(const struct dcm_segment *seg)
{
	pid_t self = getpid();
	off_t start = 0;
	struct flock lock;

	while (start < DCM_LOCK_BYTES &&
	       find_lock(seg, F_OFD_GETLK, start, DCM_LOCK_BYTES - start, &lock) == 1) {
		if (lock.l_pid == self)
			return true;
		start = lock.l_len == 0 ? DCM_LOCK_BYTES : lock.l_start + lock.l_len;
	}
	return false;
}

void dcm_segment_lock_file_close(struct dcm_segment *seg)
{
	if (lock_fd_is_ours(seg)) {
		/* Any close of the file, through whichever descriptor, drops all the process's
		   bytes. */
		if (holds_a_byte(seg))
			left_open = seg->lock_fd;
		else
			close(seg->lock_fd);
	}
	seg->lock_fd = -1;
}

void dcm_segment_close(struct dcm_segment *seg)
{
	if (seg->base != NULL && seg->path[0] != '\0')
		munmap(seg->base, seg->bytes);
	dcm_segment_forked(seg);
}

void dcm_segment_forked(struct dcm_segment *seg)
{
	if (seg->lock_fd >= 0) {
		dcm_segment_gate(seg, DCM_GATE_OPEN);
		dcm_segment_lock_file_close(seg);
	}
	*seg = (struct dcm_segment){ .lock_fd = -1 };
}
