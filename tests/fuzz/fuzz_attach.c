/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz_attach.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/segment_file.h"

enum { HEADER_WORDS = offsetof(struct dcm_header, ticket) / 8 };

static struct {
	struct dcm_segment seg; /* the path, and the lock file open */
	struct dcm_header header;
	int fd;
} file = { .fd = -1 };

struct dcm_header fuzz_attach_header(const struct dcm_capacity *capacity)
{
	struct dcm_places places;

	FUZZ_CHECK(dcm_layout_places(capacity, &places));
	return (struct dcm_header){ .magic = DCM_MAGIC,
				    .layout = DCM_LAYOUT,
				    .fingerprint = dcm_layout_fingerprint(),
				    .bytes = places.bytes,
				    .hash = DCM_HASH_XXH3,
				    .capacity = *capacity,
				    .user_share = FUZZ_USER_SHARE,
				    .ticket = 2 };
}

void fuzz_attach_in(const char *directory, const struct dcm_capacity *capacity)
{
	struct dcm_segment_options options = { .read_only = false };
	struct dcm_detail why;
	struct stat st;

	file.seg.lock_fd = -1;
	snprintf(file.seg.path, sizeof file.seg.path, "%s/fabric-%d", directory, getpid());
	file.fd = open(file.seg.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file.fd < 0 || dcm_segment_lock_file_open(&file.seg, &options, &why) < 0 ||
	    fstat(file.seg.lock_fd, &st) < 0)
		fuzz_fail("cannot make a file in %s", directory);
	file.header = fuzz_attach_header(capacity);
	file.header.lock_inode = st.st_ino;
}

static void is_inside(const struct dcm_segment *seg, const struct dcm_table *t)
{
	uint64_t start = (uint64_t)(t->slots - seg->base), used = dcm_bitmap_words(t->count) * 8ull;

	FUZZ_CHECK(t->count != 0 && start + t->stride * t->count <= seg->bytes);
	FUZZ_CHECK((uint64_t)((unsigned char *)t->used - seg->base) + used <= seg->bytes);
}

static void is_view(const struct dcm_segment *seg)
{
	is_inside(seg, &seg->process);
	is_inside(seg, &seg->endpoint);
	is_inside(seg, &seg->subscription);
	is_inside(seg, &seg->connection);
	is_inside(seg, &seg->listener);
	FUZZ_CHECK(seg->names.start + seg->names.stride * seg->endpoint.count <= seg->bytes);
	FUZZ_CHECK(seg->alive.start + seg->alive.stride * seg->process.count <= seg->bytes);
	FUZZ_CHECK(seg->bucket.start + seg->bucket.stride * DCM_BUCKETS <= seg->bytes);
}

static void adopt(bool read_only)
{
	struct dcm_segment_options options = { .read_only = read_only };
	struct dcm_segment seg = file.seg;
	struct dcm_detail why = { .text = "" };
	struct stat st;
	int r = dcm_segment_adopt(&seg, &options, &why);

	FUZZ_CHECK(memchr(why.text, 0, sizeof why.text) != NULL);
	FUZZ_CHECK(r <= 0 || r == DCM_VACANT);
	if (r != 0)
		return;
	FUZZ_CHECK(fstat(file.fd, &st) == 0 && (uint64_t)st.st_size >= seg.bytes);
	is_view(&seg);
	FUZZ_CHECK(seg.base[seg.bytes - 1] == 0);
	munmap(seg.base, seg.bytes);
}

void fuzz_attach(struct fuzz_input *in, void *memory, uint64_t memory_bytes)
{
	struct dcm_header h = file.header;
	uint64_t bytes = h.bytes;
	struct dcm_segment seg;
	unsigned how = fuzz_byte(in);

	/* Words of the header, then perhaps what the capacities then need, and a size. */
	for (unsigned i = 0; i < how % 8; i++) {
		unsigned kind = fuzz_byte(in) & 0x2f, word = fuzz_byte(in) % HEADER_WORDS;

		fuzz_scribble_read(in, kind, (uint64_t *)(void *)&h + word, file.header.bytes);
	}
	if (dcm_segment_view(&seg, memory, memory_bytes, &h.capacity))
		is_view(&seg);
	if (how & 8)
		bytes = h.bytes;
	else if (how & 16)
		bytes += fuzz_bytes(in, 2) - 32768;
	if (file.fd < 0 || ftruncate(file.fd, (off_t)(bytes & (UINT64_MAX >> 16))) < 0 ||
	    pwrite(file.fd, &h, offsetof(struct dcm_header, ticket), 0) < 0)
		return;
	adopt(how & 32);
}
