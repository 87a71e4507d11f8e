/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is the file at the path a segment that this library can use? All that the file says is input: it
 * is read once into private memory, checked there and used from there. Each refusal says what was
 * found, what was expected and what to do.
 */
#define _GNU_SOURCE
#include "shm/segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define REMOVE "remove it if nobody needs it, or choose another DCM_FABRIC"

bool dcm_segment_in_memory(long file_system_type)
{
	return file_system_type == TMPFS_MAGIC || file_system_type == (long)RAMFS_MAGIC;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void dcm_segment_boot_id(uint8_t id[16])
{
	char text[64];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof text);
	unsigned digits = 0;

	if (fd >= 0)
		close(fd);
	memset(id, 0, 16);
	for (ssize_t i = 0; i < bytes && digits < 32; i++) {
		int value = digit(text[i]);

		if (value < 0)
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | value);
		digits++;
	}
	if (digits < 32)
		memset(id, 0, 16);
}

static bool other_boot(const struct dcm_header *header)
{
	static const uint8_t unknown[16];
	uint8_t now[16];

	dcm_segment_boot_id(now);
	return memcmp(now, unknown, 16) != 0 && memcmp(header->boot_id, unknown, 16) != 0 &&
	       memcmp(now, header->boot_id, 16) != 0;
}

/* Whether the segment is not of this layout or boot; what then says why. */
static bool foreign(const struct dcm_header *h, bool any_boot, char what[128])
{
	if (h->layout != DCM_LAYOUT)
		snprintf(what, 128, "has layout %u, this library has layout %u", h->layout,
			 DCM_LAYOUT);
	else if (h->fingerprint != dcm_layout_fingerprint())
		snprintf(what, 128, "has layout fingerprint %08x, this library has %08x",
			 h->fingerprint, dcm_layout_fingerprint());
	else if (h->hash != DCM_HASH_XXH3)
		snprintf(what, 128, "has name hash %u, this library has %u", h->hash,
			 DCM_HASH_XXH3);
	else if ((h->incompat & ~DCM_FEATURE_INCOMPAT_KNOWN) != 0)
		snprintf(what, 128, "needs features %#x that this library does not have",
			 h->incompat & ~DCM_FEATURE_INCOMPAT_KNOWN);
	else if (!any_boot && other_boot(h))
		snprintf(what, 128, "was made in another boot of the system");
	else
		return false;
	return true;
}

static int refuse_open(const char *path, int error, struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(path);

	if (error == ELOOP)
		return dcm_segment_refuse(why, -EBADMSG, "%s is a symbolic link; " REMOVE, shown);
	if (error == EISDIR || error == ENXIO)
		return dcm_segment_refuse(why, -EBADMSG, "%s is not a regular file; " REMOVE,
					  shown);
	if (error == EACCES && dcm_access_denied(path, why) < 0)
		return -EACCES;
	return dcm_segment_refuse(why, -error, "cannot open %s: %s", shown,
				  dcm_segment_error(error));
}

static int check_place(const char *path, int fd, struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(path);
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return dcm_segment_refuse(why, -errno, "cannot stat the file system of %s: %s",
					  shown, dcm_segment_error(errno));
	if (!dcm_segment_in_memory((long)fs.f_type))
		return dcm_segment_refuse(
			why, -ENODEV,
			"%s is on a disk file system, where stores would wait for "
			"writeback; put the fabric into /dev/shm or /run",
			shown);
	return 0;
}

/* From the file into @header. */
static int read_header(const char *path, int fd, const struct stat *st, struct dcm_header *header,
		       struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(path);
	ssize_t bytes;

	if (!S_ISREG(st->st_mode))
		return dcm_segment_refuse(why, -EBADMSG, "%s is not a regular file; " REMOVE,
					  shown);
	if (st->st_size == 0)
		return dcm_segment_refuse(why, -EBADMSG, "%s is empty; " REMOVE, shown);
	if (st->st_size < DCM_PAGE)
		return dcm_segment_refuse(
			why, -EBADMSG,
			"%s is too short for a segment (%lld bytes, at least %u); " REMOVE, shown,
			(long long)st->st_size, DCM_PAGE);
	bytes = pread(fd, header, sizeof *header, 0);
	if (bytes < 0)
		return dcm_segment_refuse(why, -errno, "cannot read %s: %s", shown,
					  dcm_segment_error(errno));
	if (bytes != (ssize_t)sizeof *header)
		return dcm_segment_refuse(why, -EBADMSG, "%s was truncated; " REMOVE, shown);
	if (header->magic != DCM_MAGIC)
		return dcm_segment_refuse(why, -EBADMSG,
					  "%s is not a DCM segment (magic %016llx); " REMOVE, shown,
					  (unsigned long long)header->magic);
	return 0;
}

/* Sizes: capacities within bounds, and three ways to know the file's size that agree. */
static int check_shape(const char *path, const struct stat *st, const struct dcm_header *h,
		       struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(path);
	struct dcm_places places;

	if (!dcm_layout_places(&h->capacity, &places))
		return dcm_segment_refuse(
			why, -EBADMSG, "%s is damaged (table sizes out of bounds); " REMOVE, shown);
	if (h->bytes != places.bytes)
		return dcm_segment_refuse(
			why, -EBADMSG,
			"%s is damaged (says %llu bytes, its tables need %llu); " REMOVE, shown,
			(unsigned long long)h->bytes, (unsigned long long)places.bytes);
	if (h->user_share < 1 || h->user_share > 100)
		return dcm_segment_refuse(why, -EBADMSG,
					  "%s is damaged (a user's share of %u percent); " REMOVE,
					  shown, h->user_share);
	if (DCM_ORDER(file_holds_tables, (uint64_t)st->st_size != h->bytes, false))
		return dcm_segment_refuse(
			why, -EBADMSG, "%s was %s (%lld bytes, should be %llu); " REMOVE, shown,
			(uint64_t)st->st_size < h->bytes ? "truncated" : "extended",
			(long long)st->st_size, (unsigned long long)h->bytes);
	return 0;
}

static int judge_foreign(const struct dcm_segment *seg, const char *what, struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(seg->path);
	pid_t pid = seg->lock_fd < 0 ? DCM_NOBODY : dcm_segment_byte_holder(seg);

	if (pid == DCM_NOBODY)
		return dcm_segment_refuse(why, DCM_VACANT, "%s %s", shown, what);
	if (pid == DCM_SOMEBODY)
		return dcm_segment_refuse(
			why, -EPROTO,
			"%s %s, and a process (of another PID namespace) uses it; "
			"end its users or choose another DCM_FABRIC",
			shown, what);
	return dcm_segment_refuse(why, -EPROTO,
				  "%s %s, and process %d uses it; end its users or choose another "
				  "DCM_FABRIC",
				  shown, what, pid);
}

static int map(struct dcm_segment *seg, int fd, const struct stat *st, const struct dcm_header *h,
	       bool read_only, struct dcm_detail *why)
{
	const char *shown = dcm_segment_shown(seg->path);
	int rights = read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	struct dcm_segment view;
	void *base = mmap(NULL, h->bytes, rights, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return dcm_segment_refuse(why, -errno, "cannot map the %llu bytes of %s: %s",
					  (unsigned long long)h->bytes, shown,
					  dcm_segment_error(errno));
	if (madvise(base, h->bytes, MADV_DONTFORK) < 0) {
		int error = errno;

		munmap(base, h->bytes);
		return dcm_segment_refuse(why, -error, "cannot keep %s from forked children: %s",
					  shown, dcm_segment_error(error));
	}
	if (!dcm_segment_view(&view, base, h->bytes, &h->capacity)) {
		munmap(base, h->bytes);
		return dcm_segment_refuse(why, -EBADMSG, "%s is damaged; " REMOVE, shown);
	}
	memcpy(view.path, seg->path, sizeof view.path);
	view.lock_fd = seg->lock_fd;
	view.lock_device = seg->lock_device;
	view.lock_inode = seg->lock_inode;
	view.device = st->st_dev;
	view.inode = st->st_ino;
	view.shared = dcm_access_shared(st->st_mode);
	view.user_share = h->user_share;
	*seg = view;
	return 0;
}

static int check_and_map(struct dcm_segment *seg, int fd, const struct dcm_segment_options *options,
			 struct dcm_detail *why)
{
	bool read_only = options->read_only;
	struct dcm_header header;
	char what[128];
	struct stat st;
	bool replaceable;
	int r;

	if (fstat(fd, &st) < 0)
		return refuse_open(seg->path, errno, why);
	r = S_ISREG(st.st_mode) && !read_only ? check_place(seg->path, fd, why) : 0;
	if (r == 0)
		r = read_header(seg->path, fd, &st, &header, why);
	if (r == 0 && !read_only)
		r = dcm_access_check(seg->path, &st, options, why);
	if (r < 0)
		return r;
	replaceable = foreign(&header, read_only, what);
	if (!replaceable && options->anew) {
		replaceable = true;
		snprintf(what, sizeof what, "is to be made anew");
	}
	if (replaceable && read_only)
		return dcm_segment_refuse(why, -EPROTO, "%s %s; use the tool of that version",
					  dcm_segment_shown(seg->path), what);
	r = replaceable ? 0 : check_shape(seg->path, &st, &header, why);
	if (r < 0)
		return r;
	/* Without this, bytes held in a lock file that was removed would be overlooked. */
	if (!read_only && header.lock_inode != seg->lock_inode)
		return dcm_segment_refuse(
			why, -ESTALE,
			"the lock file of %s was removed or replaced, so it cannot "
			"be known who uses the segment; end its users and remove it",
			dcm_segment_shown(seg->path));
	if (replaceable)
		return judge_foreign(seg, what, why);
	if (read_only && header.lock_inode != seg->lock_inode)
		dcm_segment_lock_file_close(seg);
	r = map(seg, fd, &st, &header, read_only, why);
	if (r < 0)
		return r;
	if (dcm_segment_linked(seg) || read_only)
		return 0;
	munmap(seg->base, seg->bytes);
	seg->base = NULL;
	return -EAGAIN;
}

int dcm_segment_adopt(struct dcm_segment *seg, const struct dcm_segment_options *options,
		      struct dcm_detail *why)
{
	int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int fd = open(seg->path, flags | (options->read_only ? O_RDONLY : O_RDWR));
	int r;

	if (fd < 0 && errno == ENOENT)
		return dcm_segment_refuse(why, DCM_VACANT, "there is no fabric at %s",
					  dcm_segment_shown(seg->path));
	if (fd < 0)
		return refuse_open(seg->path, errno, why);
	r = check_and_map(seg, fd, options, why);
	close(fd);
	return r;
}
