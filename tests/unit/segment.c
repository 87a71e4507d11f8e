/* SPDX-License-Identifier: BSD-2-Clause */
/* The segment's file: real ones in a private directory, and everything that it may be instead. */
#define _GNU_SOURCE
#include "shm/segment.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tests/unit/lib_file.h"

static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

static void name_result(int result, const char *fabric, const char *what)
{
	char path[512] = "";

	is_int(result, dcm_segment_path(fabric, path, sizeof path, &file_why), "%s", what);
	if (result != 0)
		ok(file_why.text[0] != '\0', "  and says why: %s", file_why.text);
}

static void names(void)
{
	char path[512], other[512], longest[128];

	memset(longest, 'a', sizeof longest);
	longest[64] = '\0';
	name_result(0, longest, "a name of 64 characters");
	longest[64] = 'a';
	longest[65] = '\0';
	name_result(-EINVAL, longest, "a name of 65 characters");
	name_result(0, "aZ09._-", "a name of all kinds of characters");
	name_result(-EINVAL, ".hidden", "a name with a dot in front");
	name_result(-EINVAL, "a b", "a name with a space");
	name_result(-EINVAL, "\xc3\xa4", "a name with an umlaut");
	name_result(-EINVAL, "x.lock", "a name that would be a lock file's");
	name_result(-EINVAL, "/dev/shm/x.tmp", "a path that would be a temporary file's");
	name_result(-EINVAL, "/dev/shm/", "a directory");
	is_int(0, dcm_segment_path(NULL, path, sizeof path, &file_why), "no name");
	is_int(0, dcm_segment_path("", other, sizeof other, &file_why), "an empty name");
	is_string(path, other, "are the same");
	ok(strstr(path, "default") != NULL, "namely the default: %s", path);
	is_int(0, dcm_segment_path("/x/y", path, sizeof path, &file_why), "a path");
	is_string("/x/y", path, "is taken as it is");
	is_int(-ENAMETOOLONG, dcm_segment_path("/x/y", path, 4, &file_why),
	       "one that does not fit");
	is_int(0, dcm_segment_path("/x/y", path, 5, &file_why), "one that just fits");
}

static void view(void)
{
	struct dcm_capacity wrong = file_capacity;
	struct dcm_places places;
	struct dcm_segment seg;
	unsigned char *memory;

	ok(dcm_layout_places(&file_capacity, &places), "the small capacities are within bounds");
	memory = aligned_alloc(DCM_PAGE, places.bytes + DCM_PAGE);
	if (memory == NULL)
		sysbail("memory");
	ok(dcm_segment_view(&seg, memory, places.bytes, &file_capacity),
	   "a view of just enough memory");
	ok((unsigned char *)dcm_process_at(&seg, 7) + sizeof(struct dcm_process) <=
		   (unsigned char *)dcm_endpoint_at(&seg, 0),
	   "the tables do not overlap");
	ok(dcm_process_at(&seg, 8) == NULL, "there is no ninth process");
	ok(dcm_endpoint_names_at(&seg, 16) == NULL, "nor names of a seventeenth endpoint");
	ok((unsigned char *)&seg.listener.used[0] < memory + places.bytes, "all lies inside");
	ok(!dcm_segment_view(&seg, memory, places.bytes - 1, &file_capacity),
	   "not of one byte less");
	ok(!dcm_segment_view(&seg, memory + 8, places.bytes, &file_capacity),
	   "not off a cache line");
	wrong.processes = 0;
	ok(!dcm_segment_view(&seg, memory, places.bytes, &wrong), "not with no process");
	wrong.processes = DCM_PROCESSES_MAX + 1;
	ok(!dcm_segment_view(&seg, memory, places.bytes, &wrong), "nor with too many");
	free(memory);
}

static void fresh(void)
{
	const char *path = file_at("fresh");
	struct dcm_segment a, b;
	struct stat st;

	if (!is_int(0, file_open(&a, path), "a segment is made"))
		diag("  %s", file_why.text);
	is_int(0, file_open(&b, path), "and found by the next");
	ok(stat(path, &st) == 0, "the file is there");
	is_uint(0600, st.st_mode & 07777, "for its owner alone");
	is_uint(a.bytes, (uint64_t)st.st_size, "as long as it says");
	ok((uint64_t)st.st_blocks * 512 >= a.bytes, "and all of it preallocated");
	ok(!file_exists(path, ".tmp"), "there is no temporary file");
	is_uint(7, dcm_segment_header(&a)->library_version, "it has the maker's version");
	is_hex(dcm_segment_header(&a)->uuid[0], dcm_segment_header(&b)->uuid[0], "it is one");
	ok(memcmp(&a.capacity, &file_capacity, sizeof file_capacity) == 0,
	   "with the capacities asked for");
	dcm_store(&dcm_process_at(&a, 1)->control, 99u, seq);
	is_uint(99, dcm_load(&dcm_process_at(&b, 1)->control, seq), "stores reach the other");
	ok(dcm_segment_linked(&a), "it is linked");
	unlink(path);
	ok(!dcm_segment_linked(&a), "unlinked, it is not");
	file_write(path, "x", 1);
	ok(!dcm_segment_linked(&a), "nor when another file has its name");
	dcm_segment_settled(&a);
	dcm_segment_close(&a);
	dcm_segment_close(&b);
	dcm_segment_close(&b);
	ok(b.base == NULL && b.lock_fd == -1, "closing twice does no harm");
	file_clean(path);
}

static void other_files(void)
{
	const char *path = file_at("other");
	static unsigned char random[3 * DCM_PAGE];

	file_write(path, "", 0);
	file_refused(-EBADMSG, "is empty", path, "an empty file");
	file_write(path, "short", 5);
	file_refused(-EBADMSG, "too short", path, "a short file");
	for (unsigned i = 0; i < tap_scaled(50); i++) {
		size_t bytes = DCM_PAGE + draw(2 * DCM_PAGE);

		for (size_t b = 0; b < bytes; b++)
			random[b] = (unsigned char)draw(256);
		file_write(path, random, bytes);
		if (file_try(path) != -EBADMSG)
			ok(0, "random bytes are refused: %s", file_why.text);
	}
	file_refused(-EBADMSG, "not a DCM segment", path, "a file of random bytes");
	unlink(path);
	if (mkdir(path, 0700) < 0 || mkfifo(file_at("fifo"), 0600) < 0 ||
	    symlink("/x", file_at("link")) < 0)
		sysbail("files of other kinds");
	file_refused(-EBADMSG, "not a regular file", path, "a directory");
	rmdir(path);
	file_refused(-EBADMSG, "not a regular file", file_at("fifo"), "a fifo");
	file_refused(-EBADMSG, "symbolic link", file_at("link"), "a symbolic link");
	file_clean(path);
	file_clean(file_at("fifo"));
	file_clean(file_at("link"));
	file_refused(-ENOENT, "make it", file_at("none/x"), "a missing directory");
	file_refused(-ENOTDIR, "Not a directory", "/dev/null/x", "a directory that is none");
}

/* Random headers behind a true beginning: nothing may crash or lie outside. */
static void random_headers(void)
{
	const char *path = file_at("header");
	struct dcm_header good, bad;
	struct dcm_segment seg;
	unsigned wrong = 0;

	is_int(0, file_try(path), "a segment is made");
	file_peek(path, &good);
	for (unsigned i = 0; i < tap_scaled(500); i++) {
		size_t from = offsetof(struct dcm_header, bytes);
		int r;

		memcpy(&bad, &good, sizeof bad);
		for (unsigned n = 1 + (unsigned)draw(3); n > 0; n--)
			((unsigned char *)&bad)[from + draw(80)] ^= (unsigned char)(1 + draw(255));
		bad.incompat = good.incompat;
		bad.hash = good.hash;
		memcpy(bad.boot_id, good.boot_id, sizeof bad.boot_id);
		bad.lock_inode = good.lock_inode;
		file_poke(path, 0, &bad, sizeof bad);
		r = file_open(&seg, path);
		if (r == 0 ? seg.bytes != good.bytes : r != -EBADMSG)
			wrong++;
		if (r == 0)
			dcm_segment_close(&seg);
	}
	is_uint(0, wrong, "damaged headers are refused, or all lies inside");
	file_clean(path);
}

static void damaged(void)
{
	const char *path = file_at("damaged");
	struct dcm_header h;

	is_int(0, file_try(path), "a segment is made");
	file_peek(path, &h);
	if (truncate(path, (off_t)h.bytes - 1) < 0)
		sysbail("truncate");
	file_refused(-EBADMSG, "was truncated", path, "a truncated segment");
	if (truncate(path, (off_t)h.bytes + 1) < 0)
		sysbail("truncate");
	file_refused(-EBADMSG, "was extended", path, "an extended segment");
	if (truncate(path, (off_t)h.bytes) < 0)
		sysbail("truncate");
	is_int(0, file_try(path), "with its right size it is accepted");
	file_poke32(path, offsetof(struct dcm_header, capacity), 0);
	file_refused(-EBADMSG, "out of bounds", path, "one with no processes");
	file_poke32(path, offsetof(struct dcm_header, capacity), 64);
	file_refused(-EBADMSG, "its tables need", path,
		     "one with more processes than its size allows");
	file_poke32(path, offsetof(struct dcm_header, capacity), 8);
	is_int(0, file_try(path), "put right, it is accepted");
	file_poke32(path, offsetof(struct dcm_header, compat), 0xffffffff);
	is_int(0, file_try(path), "and with unknown compatible features too");
	file_clean(path);
}

/* A child that attached, holds byte 3 and waits to be killed. */
static void use(const char *path)
{
	struct dcm_segment seg;
	int r = file_open(&seg, path);

	if (r == 0 && dcm_segment_lock(&seg, 3)) {
		dcm_segment_settled(&seg);
		raise(SIGSTOP);
	}
	_exit(1);
}

static pid_t start_user(const char *path)
{
	pid_t pid = file_start(use, path);
	int status = 0;

	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		bail("a child could not attach");
	return pid;
}

static void end_user(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void foreign(size_t offset, const char *word, const char *what)
{
	const char *path = file_at("foreign");
	struct dcm_header before, after;
	char pid_text[32];
	pid_t user;

	is_int(0, file_try(path), "a segment is made");
	user = start_user(path);
	file_poke32(path, offset, 0xdeadbeef);
	file_peek(path, &before);
	file_refused(-EPROTO, word, path, what);
	snprintf(pid_text, sizeof pid_text, "process %d", user);
	ok(strstr(file_why.text, pid_text) != NULL, "  and the detail names the %s", pid_text);
	file_peek(path, &after);
	is_blob(&before, &after, sizeof after, "  and is not touched");
	end_user(user);
	if (!is_int(0, file_try(path), "when nobody uses it any more, it is replaced"))
		diag("  %s", file_why.text);
	file_peek(path, &after);
	ok(before.uuid[0] != after.uuid[0] && after.layout == DCM_LAYOUT, "  by a new one");
	file_clean(path);
}

static void foreigners(void)
{
	foreign(offsetof(struct dcm_header, layout), "layout 3735928559", "another layout in use");
	foreign(offsetof(struct dcm_header, fingerprint), "fingerprint",
		"another fingerprint in use");
	foreign(offsetof(struct dcm_header, hash), "name hash", "another hash in use");
	foreign(offsetof(struct dcm_header, incompat), "features", "unknown features in use");
	foreign(offsetof(struct dcm_header, boot_id), "another boot", "another boot in use");
}

static void lock_file(void)
{
	const char *path = file_at("locked");

	is_int(0, file_try(path), "a segment is made");
	unlink(file_at("locked.lock"));
	file_refused(-ESTALE, "lock file", path, "a segment whose lock file was removed");
	file_refused(-ESTALE, "remove it", path,
		     "and once more, now that there is another lock file");
	file_poke32(path, 8, 99);
	file_refused(-ESTALE, "lock file", path, "one of another layout with another lock file");
	unlink(path);
	is_int(0, file_try(path), "when it was removed, a new one is made");
	unlink(file_at("locked.lock"));
	if (symlink("/x", file_at("locked.lock")) < 0)
		sysbail("symlink");
	file_refused(-EBADMSG, "symbolic link", path, "a lock file that is a symbolic link");
	unlink(file_at("locked.lock"));
	if (mkfifo(file_at("locked.lock"), 0600) < 0)
		sysbail("mkfifo");
	file_refused(-EBADMSG, "regular", path, "a lock file that is a fifo");
	file_clean(path);
}

static void view_only(void)
{
	const char *path = file_at("looked");
	struct dcm_segment seg, user;

	is_int(-ENOENT, file_look(&seg, path), "there is nothing to look at: %s", file_why.text);
	ok(!file_exists(path, "") && !file_exists(path, ".lock"), "and nothing is made");
	is_int(0, file_open(&user, path), "a segment is made");
	if (!is_int(0, file_look(&seg, path), "it can be looked at"))
		diag("  %s", file_why.text);
	ok(mprotect(seg.base, DCM_PAGE, PROT_READ | PROT_WRITE) < 0, "not written");
	is_int(0, dcm_segment_locked(&seg, 2), "a byte is free");
	ok(dcm_segment_lock(&user, 2), "it is taken");
	is_int(1, dcm_segment_locked(&seg, 2), "which is seen");
	dcm_segment_unlock(&user, 2);
	dcm_segment_close(&seg);
	dcm_segment_close(&user);
	unlink(file_at("looked.lock"));
	is_int(0, file_look(&seg, path), "without a lock file too");
	is_int(-1, seg.lock_fd, "then there is none");
	ok(!file_exists(path, ".lock"), "and none is made");
	dcm_segment_close(&seg);
	file_write(file_at("looked.lock"), "", 0);
	is_int(0, file_look(&seg, path), "with a wrong one too");
	is_int(-1, seg.lock_fd, "it is not used");
	dcm_segment_close(&seg);
	file_poke32(path, 8, DCM_LAYOUT + 1);
	is_int(-EPROTO, file_look(&seg, path), "one of another layout cannot: %s", file_why.text);
	file_write(path, "x", 1);
	is_int(-EBADMSG, file_look(&seg, path), "nor something else: %s", file_why.text);
	file_clean(path);
}

int main(void)
{
	plan_lazy();
	seed = tap_seed();
	tap_fabric_dir();
	names();
	view();
	fresh();
	other_files();
	random_headers();
	damaged();
	foreigners();
	lock_file();
	view_only();
	return 0;
}
