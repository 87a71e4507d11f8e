/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * segment - the one file that all processes of a fabric map
 *
 * Two parts. The view (dcm_segment_view) turns a mapping and a private, checked copy of the
 * capacities into bounded tables; nothing that is read from the segment later can move them.
 * The file (dcm_segment_open, ...) finds, makes, checks, replaces and maps it.
 *
 *	struct dcm_segment seg;
 *	struct dcm_detail why;
 *	int r = dcm_segment_open(&seg, &options, &why);
 *	...
 *	dcm_segment_close(&seg);
 */
#ifndef DCM_SHM_SEGMENT_H
#define DCM_SHM_SEGMENT_H

#include "shm/layout.h"
#include "shm/slot.h"

/* An index of endpoints: shm/catalog.h. */
struct dcm_catalog {
	dcm_atomic64 *rows;    /* for each region, for each bucket */
	dcm_atomic64 *regions; /* for each kind */
};

struct dcm_segment {
	unsigned char *base;
	uint64_t bytes;
	struct dcm_capacity capacity; /* private copy */
	struct dcm_table process, endpoint, subscription, connection, listener, gift;
	struct dcm_place names, bucket, alive, marked;
	dcm_atomic64 *subscription_index, *connection_index;
	uint64_t subscription_row, connection_row; /* words from row to row */
	struct dcm_catalog by_type, by_name;
	uint32_t regions;
	uint64_t region_row, regions_row; /* words from row to row of a catalog */
	int lock_fd;						  /* -1: a view without a file */
	char path[512];
	uint64_t device, inode; /* of the file at @path, as mapped */
	uint64_t lock_device, lock_inode;
	bool shared;	     /* the file's mode lets other users attach */
	uint32_t user_share; /* percent, private copy */
};

/* One line for people on what went wrong: what was found, what to do. */
struct dcm_detail {
	char text[512];
};

/*
 * dcm_segment_view() - bounded tables over @bytes of mapped memory
 * Return: true, or false when the capacities are out of bounds or do not fit @bytes.
 */
bool dcm_segment_view(struct dcm_segment *seg, void *base, uint64_t bytes,
		      const struct dcm_capacity *capacity);

static inline struct dcm_header *dcm_segment_header(const struct dcm_segment *seg)
{
	return (struct dcm_header *)(void *)seg->base;
}

/* The slot at @index; null when there is none. */
static inline struct dcm_process *dcm_process_at(const struct dcm_segment *seg, uint32_t index)
{
	return dcm_slot(&seg->process, index);
}

/* In a row of alive words: where the calls of process @sleeper sleep, and where its keeper does. */
static inline uint32_t dcm_alive_calls(uint32_t sleeper)
{
	return 1 + sleeper;
}

static inline uint32_t dcm_alive_keeper(const struct dcm_segment *seg, uint32_t sleeper)
{
	return 1 + seg->process.count + sleeper;
}

/* Of the alive words of process @index the one at @place: 0, or one of the above. */
static inline dcm_atomic32 *dcm_alive_at(const struct dcm_segment *seg, uint32_t index,
					 uint32_t place)
{
	struct dcm_alive *row = (void *)(seg->base + seg->alive.start + seg->alive.stride * index);

	return index < seg->process.count && place < dcm_alive_words(seg->process.count)
		       ? &row[place].word
		       : NULL;
}

/* Connections that the keeper of process @index is to look at, a bit each; null: no such process. */
static inline dcm_atomic64 *dcm_marked_at(const struct dcm_segment *seg, uint32_t index)
{
	return index < seg->process.count
		       ? (void *)(seg->base + seg->marked.start + seg->marked.stride * index)
		       : NULL;
}

static inline struct dcm_endpoint *dcm_endpoint_at(const struct dcm_segment *seg, uint32_t index)
{
	return dcm_slot(&seg->endpoint, index);
}

static inline struct dcm_endpoint_names *dcm_endpoint_names_at(const struct dcm_segment *seg,
							       uint32_t index)
{
	return index < seg->endpoint.count
		       ? (void *)(seg->base + seg->names.start + seg->names.stride * index)
		       : NULL;
}

static inline struct dcm_subscription *dcm_subscription_at(const struct dcm_segment *seg,
							   uint32_t index)
{
	return dcm_slot(&seg->subscription, index);
}

static inline struct dcm_connection *dcm_connection_at(const struct dcm_segment *seg, uint32_t index)
{
	return dcm_slot(&seg->connection, index);
}

static inline struct dcm_listener *dcm_listener_at(const struct dcm_segment *seg, uint32_t index)
{
	return dcm_slot(&seg->listener, index);
}

static inline struct dcm_gift_slot *dcm_gift_at(const struct dcm_segment *seg, uint32_t index)
{
	return dcm_slot(&seg->gift, index);
}

/* The ready bits of a listener that exists: one for each connection slot. */
static inline dcm_atomic64 *dcm_listener_ready(struct dcm_listener *listener)
{
	return (dcm_atomic64 *)(void *)(listener + 1);
}

/* Interfaces fall into buckets by hash; each has a wake word and a row in each index. */
static inline uint32_t dcm_bucket_of(uint64_t type_hash)
{
	return (uint32_t)(type_hash % DCM_BUCKETS);
}

static inline dcm_atomic32 *dcm_bucket_ec(const struct dcm_segment *seg, uint32_t bucket)
{
	struct dcm_bucket *b =
		(void *)(seg->base + seg->bucket.start + seg->bucket.stride * (bucket % DCM_BUCKETS));
	return &b->ec;
}

/*
 * Who may attach. What is made gets this mode, owner and group; what is there must have this owner
 * (or root), no wider mode, and if others than the owner may attach, this group.
 */
struct dcm_access {
	uint32_t mode; /* 0600, and 4 (inspect) or 6 (attach) for group and others */
	uint32_t owner, group; /* DCM_ANYONE: this process's, where one is made */
	uint32_t user_share;   /* percent of each table for one user; 0: 100, or 50 if shared */
};

#define DCM_ANYONE UINT32_MAX

/* What dcm_segment_open() needs to know; all from the settings of the process. */
struct dcm_segment_options {
	const char *fabric; /* name, or path when it holds a '/'; null or empty: "default" */
	struct dcm_capacity capacity; /* when it must be made */
	const struct dcm_access *access; /* null: this user alone */
	uint32_t library_version;
	bool anew; /* replace one of this layout too, if no process holds a lock byte in it */
	bool read_only; /* never makes, replaces or writes; takes no lock (dcm-shmdump) */
};

/*
 * dcm_segment_path() - the file that a fabric's name stands for
 * A path (with a '/') is taken as it is, a relative one from the current directory on. A name, of
 * up to 64 letters, digits and . _ -, is /run/user/UID/dcm/NAME where /run/user/UID is a
 * tmpfs, else /dev/shm/dcm-UID-NAME. Neither may end in .lock or .tmp: those are ours.
 * Return: 0; -EINVAL or -ENAMETOOLONG with *@why set.
 */
int dcm_segment_path(const char *fabric, char *path, size_t size, struct dcm_detail *why);

/*
 * dcm_segment_open() - map the fabric's segment, making it if it is not there
 *
 * Made whole or not at all: a new segment gets its name only when it is preallocated and filled.
 * One of another layout or boot that no process holds a lock byte in is replaced; anything else
 * that does not fit is refused and not touched.
 *
 * On success the caller holds the gate of the lock file shared: nobody can replace the segment
 * until dcm_segment_settled() says that the caller's own lock byte is taken.
 *
 * Blocks:   while another process makes the segment, 10 s at the most.
 * Return:   0; with *@why set: -EACCES (not permitted), -EROFS, -ENOSPC (file system full), -ENOMEM,
 *           -ENOENT (no such directory; with read_only: no such segment), -ENODEV (not a tmpfs),
 *           -EBADMSG (damaged, truncated, not a segment), -EPROTO (of another layout, in use),
 *           -ESTALE (its lock file was replaced), -ETIMEDOUT (another process holds the gate),
 *           -EINVAL, -ENAMETOOLONG, -EMFILE, -ENFILE or what else the kernel said.
 */
int dcm_segment_open(struct dcm_segment *seg, const struct dcm_segment_options *options,
		     struct dcm_detail *why);

/* dcm_segment_settled() - let go of the gate */
void dcm_segment_settled(struct dcm_segment *seg);

/*
 * dcm_segment_close() - unmap, close the lock file; what was claimed must be yielded before
 * The lock file stays open if this process still holds a byte of it: that is then another copy of
 * the library, which the close would rob of it.
 */
void dcm_segment_close(struct dcm_segment *seg);

/* dcm_segment_forked() - in a child after fork: the mapping is not there, the lock file is closed */
void dcm_segment_forked(struct dcm_segment *seg);

/* dcm_segment_linked() - true while the mapped file is still the one at its path */
bool dcm_segment_linked(const struct dcm_segment *seg);

/*
 * Lock bytes: byte i of the lock file belongs to process slot i. The kernel lets go of it at the
 * end of the process and at its execve, whatever else happens, in every namespace.
 *
 * dcm_segment_lock() - true when this call took byte @index; without a lock file always
 * dcm_segment_locked() - 1 somebody holds it (this process counts), 0 nobody, negative errno
 * dcm_segment_locked_here() - true when this process does, through whichever descriptor
 */
bool dcm_segment_lock(const struct dcm_segment *seg, uint32_t index);
void dcm_segment_unlock(const struct dcm_segment *seg, uint32_t index);
int dcm_segment_locked(const struct dcm_segment *seg, uint32_t index);
bool dcm_segment_locked_here(const struct dcm_segment *seg, uint32_t index);

#endif
