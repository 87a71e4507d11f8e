/* SPDX-License-Identifier: BSD-2-Clause */
/* The segment's file: real ones in a private directory, and everything that it may be instead. */
#define _GNU_SOURCE
#include "shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

#define GATE   (1 << 30)
#define NOBODY 65534

static const struct dcm_capacity small = { .processes = 8,
					   .endpoints = 16,
					   .subscriptions = 4,
					   .connections = 8,
					   .listeners = 4,
					   .ring_shift = 3 };

static struct dcm_detail why; /* of the last open */
static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

/* A path in the test's directory, in one of many buffers in turn. */
static const char *at(const char *name)
{
	static char paths[64][512];
	static unsigned turn;
	char *path = paths[turn++ % 64];

	snprintf(path, sizeof paths[0], "%s/%s", tap_fabric_dir(), name);
	return path;
}

static int open_at(struct dcm_segment *seg, const char *path)
{
	struct dcm_segment_options options = { .fabric = path,
					       .capacity = small,
					       .library_version = 7 };

	return dcm_segment_open(seg, &options, &why);
}

static int look_at(struct dcm_segment *seg, const char *path)
{
	struct dcm_segment_options options = { .fabric = path, .read_only = true };

	return dcm_segment_open(seg, &options, &why);
}

/* Opens and closes. */
static int try(const char *path)
{
	struct dcm_segment seg;
	int r = open_at(&seg, path);

	if (r == 0)
		dcm_segment_close(&seg);
	return r;
}

static void refused(int result, const char *word, const char *path, const char *what)
{
	is_int(result, try(path), "%s is refused", what);
	if (!ok(strstr(why.text, word) != NULL, "  and the detail says \"%s\"", word))
		diag("  it says: %s", why.text);
	note("%s", why.text);
}

static void clean(const char *path)
{
	static const char *const ends[] = { "", ".lock", ".tmp" };
	char name[600];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "%s%s", path, ends[i]);
		unlink(name);
	}
}

static bool exists(const char *path, const char *end)
{
	char name[600];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", path, end);
	return lstat(name, &st) == 0;
}

static void write_file(const char *path, const void *data, size_t bytes)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
		sysbail("%s", path);
	close(fd);
}

/* Changes a part of a file. */
static void poke(const char *path, size_t offset, const void *data, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
		sysbail("%s", path);
	close(fd);
}

static void poke32(const char *path, size_t offset, uint32_t value)
{
	poke(path, offset, &value, sizeof value);
}

static void peek(const char *path, struct dcm_header *header)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
		sysbail("%s", path);
	close(fd);
}

/* Runs in a child, where results count as here. */
static pid_t start(void (*work)(const char *), const char *argument)
{
	pid_t pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid == 0) {
		work(argument);
		_exit(0);
	}
	return pid;
}

static void finish(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		ok(0, "a child ended with status %#x", status);
}

static void in_child(void (*work)(const char *), const char *argument)
{
	finish(start(work, argument));
}

static void name_result(int result, const char *fabric, const char *what)
{
	char path[512] = "";

	is_int(result, dcm_segment_path(fabric, path, sizeof path, &why), "%s", what);
	if (result != 0)
		ok(why.text[0] != '\0', "  and says why: %s", why.text);
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
	is_int(0, dcm_segment_path(NULL, path, sizeof path, &why), "no name");
	is_int(0, dcm_segment_path("", other, sizeof other, &why), "an empty name");
	is_string(path, other, "are the same");
	ok(strstr(path, "default") != NULL, "namely the default: %s", path);
	is_int(0, dcm_segment_path("/x/y", path, sizeof path, &why), "a path");
	is_string("/x/y", path, "is taken as it is");
	is_int(-ENAMETOOLONG, dcm_segment_path("/x/y", path, 4, &why), "one that does not fit");
	is_int(0, dcm_segment_path("/x/y", path, 5, &why), "one that just fits");
}

static void view(void)
{
	struct dcm_capacity wrong = small;
	struct dcm_places places;
	struct dcm_segment seg;
	unsigned char *memory;

	ok(dcm_layout_places(&small, &places), "the small capacities are within bounds");
	memory = aligned_alloc(DCM_PAGE, places.bytes + DCM_PAGE);
	if (memory == NULL)
		sysbail("memory");
	ok(dcm_segment_view(&seg, memory, places.bytes, &small), "a view of just enough memory");
	ok((unsigned char *)dcm_process_at(&seg, 7) + sizeof(struct dcm_process) <=
		   (unsigned char *)dcm_endpoint_at(&seg, 0),
	   "the tables do not overlap");
	ok(dcm_process_at(&seg, 8) == NULL, "there is no ninth process");
	ok(dcm_endpoint_names_at(&seg, 16) == NULL, "nor names of a seventeenth endpoint");
	ok((unsigned char *)&seg.listener.used[0] < memory + places.bytes, "all lies inside");
	ok(!dcm_segment_view(&seg, memory, places.bytes - 1, &small), "not of one byte less");
	ok(!dcm_segment_view(&seg, memory + 8, places.bytes, &small), "not off a cache line");
	wrong.processes = 0;
	ok(!dcm_segment_view(&seg, memory, places.bytes, &wrong), "not with no process");
	wrong.processes = DCM_PROCESSES_MAX + 1;
	ok(!dcm_segment_view(&seg, memory, places.bytes, &wrong), "nor with too many");
	free(memory);
}

static void fresh(void)
{
	const char *path = at("fresh");
	struct dcm_segment a, b;
	struct stat st;

	if (!is_int(0, open_at(&a, path), "a segment is made"))
		diag("  %s", why.text);
	is_int(0, open_at(&b, path), "and found by the next");
	ok(stat(path, &st) == 0, "the file is there");
	is_uint(0600, st.st_mode & 07777, "for its owner alone");
	is_uint(a.bytes, (uint64_t)st.st_size, "as long as it says");
	ok((uint64_t)st.st_blocks * 512 >= a.bytes, "and all of it preallocated");
	ok(!exists(path, ".tmp"), "there is no temporary file");
	is_uint(7, dcm_segment_header(&a)->library_version, "it has the maker's version");
	is_hex(dcm_segment_header(&a)->uuid[0], dcm_segment_header(&b)->uuid[0], "it is one");
	ok(memcmp(&a.capacity, &small, sizeof small) == 0, "with the capacities asked for");
	dcm_store(&dcm_process_at(&a, 1)->control, 99u, seq);
	is_uint(99, dcm_load(&dcm_process_at(&b, 1)->control, seq), "stores reach the other");
	ok(dcm_segment_linked(&a), "it is linked");
	unlink(path);
	ok(!dcm_segment_linked(&a), "unlinked, it is not");
	write_file(path, "x", 1);
	ok(!dcm_segment_linked(&a), "nor when another file has its name");
	dcm_segment_settled(&a);
	dcm_segment_close(&a);
	dcm_segment_close(&b);
	dcm_segment_close(&b);
	ok(b.base == NULL && b.lock_fd == -1, "closing twice does no harm");
	clean(path);
}

static void other_files(void)
{
	const char *path = at("other");
	static unsigned char random[3 * DCM_PAGE];

	write_file(path, "", 0);
	refused(-EBADMSG, "is empty", path, "an empty file");
	write_file(path, "short", 5);
	refused(-EBADMSG, "too short", path, "a short file");
	for (unsigned i = 0; i < tap_scaled(50); i++) {
		size_t bytes = DCM_PAGE + draw(2 * DCM_PAGE);

		for (size_t b = 0; b < bytes; b++)
			random[b] = (unsigned char)draw(256);
		write_file(path, random, bytes);
		if (try(path) != -EBADMSG)
			ok(0, "random bytes are refused: %s", why.text);
	}
	refused(-EBADMSG, "not a DCM segment", path, "a file of random bytes");
	unlink(path);
	if (mkdir(path, 0700) < 0 || mkfifo(at("fifo"), 0600) < 0 || symlink("/x", at("link")) < 0)
		sysbail("files of other kinds");
	refused(-EBADMSG, "not a regular file", path, "a directory");
	rmdir(path);
	refused(-EBADMSG, "not a regular file", at("fifo"), "a fifo");
	refused(-EBADMSG, "symbolic link", at("link"), "a symbolic link");
	clean(path);
	clean(at("fifo"));
	clean(at("link"));
	refused(-ENOENT, "make it", at("none/x"), "a missing directory");
	refused(-ENOTDIR, "Not a directory", "/dev/null/x", "a directory that is none");
}

/* Random headers behind a true beginning: nothing may crash or lie outside. */
static void random_headers(void)
{
	const char *path = at("header");
	struct dcm_header good, bad;
	struct dcm_segment seg;
	unsigned wrong = 0;

	is_int(0, try(path), "a segment is made");
	peek(path, &good);
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
		poke(path, 0, &bad, sizeof bad);
		r = open_at(&seg, path);
		if (r == 0 ? seg.bytes != good.bytes : r != -EBADMSG)
			wrong++;
		if (r == 0)
			dcm_segment_close(&seg);
	}
	is_uint(0, wrong, "damaged headers are refused, or all lies inside");
	clean(path);
}

static void damaged(void)
{
	const char *path = at("damaged");
	struct dcm_header h;

	is_int(0, try(path), "a segment is made");
	peek(path, &h);
	if (truncate(path, (off_t)h.bytes - 1) < 0)
		sysbail("truncate");
	refused(-EBADMSG, "was truncated", path, "a truncated segment");
	if (truncate(path, (off_t)h.bytes + 1) < 0)
		sysbail("truncate");
	refused(-EBADMSG, "was extended", path, "an extended segment");
	if (truncate(path, (off_t)h.bytes) < 0)
		sysbail("truncate");
	is_int(0, try(path), "with its right size it is accepted");
	poke32(path, offsetof(struct dcm_header, capacity), 0);
	refused(-EBADMSG, "out of bounds", path, "one with no processes");
	poke32(path, offsetof(struct dcm_header, capacity), 64);
	refused(-EBADMSG, "its tables need", path, "one with more processes than its size allows");
	poke32(path, offsetof(struct dcm_header, capacity), 8);
	is_int(0, try(path), "put right, it is accepted");
	poke32(path, offsetof(struct dcm_header, compat), 0xffffffff);
	is_int(0, try(path), "and with unknown compatible features too");
	clean(path);
}

/* A child that attached, holds byte 3 and waits to be killed. */
static void use(const char *path)
{
	struct dcm_segment seg;
	int r = open_at(&seg, path);

	if (r == 0 && dcm_segment_lock(&seg, 3)) {
		dcm_segment_settled(&seg);
		raise(SIGSTOP);
	}
	_exit(1);
}

static pid_t start_user(const char *path)
{
	pid_t pid = start(use, path);
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
	const char *path = at("foreign");
	struct dcm_header before, after;
	char pid_text[32];
	pid_t user;

	is_int(0, try(path), "a segment is made");
	user = start_user(path);
	poke32(path, offset, 0xdeadbeef);
	peek(path, &before);
	refused(-EPROTO, word, path, what);
	snprintf(pid_text, sizeof pid_text, "process %d", user);
	ok(strstr(why.text, pid_text) != NULL, "  and the detail names the %s", pid_text);
	peek(path, &after);
	is_blob(&before, &after, sizeof after, "  and is not touched");
	end_user(user);
	if (!is_int(0, try(path), "when nobody uses it any more, it is replaced"))
		diag("  %s", why.text);
	peek(path, &after);
	ok(before.uuid[0] != after.uuid[0] && after.layout == DCM_LAYOUT, "  by a new one");
	clean(path);
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
	const char *path = at("locked");

	is_int(0, try(path), "a segment is made");
	unlink(at("locked.lock"));
	refused(-ESTALE, "lock file", path, "a segment whose lock file was removed");
	refused(-ESTALE, "remove it", path, "and once more, now that there is another lock file");
	poke32(path, 8, 99);
	refused(-ESTALE, "lock file", path, "one of another layout with another lock file");
	unlink(path);
	is_int(0, try(path), "when it was removed, a new one is made");
	unlink(at("locked.lock"));
	if (symlink("/x", at("locked.lock")) < 0)
		sysbail("symlink");
	refused(-EBADMSG, "symbolic link", path, "a lock file that is a symbolic link");
	unlink(at("locked.lock"));
	if (mkfifo(at("locked.lock"), 0600) < 0)
		sysbail("mkfifo");
	refused(-EBADMSG, "regular", path, "a lock file that is a fifo");
	clean(path);
}

static void see_locked(const char *path)
{
	struct dcm_segment seg;

	is_int(0, open_at(&seg, path), "another process attaches");
	is_int(1, dcm_segment_locked(&seg, 2), "it sees the byte");
	ok(!dcm_segment_locked_here(&seg, 2), "as another's");
	ok(!dcm_segment_lock(&seg, 2), "it cannot take it");
	ok(dcm_segment_lock(&seg, 3), "but the next");
}

static void see_free(const char *path)
{
	struct dcm_segment seg;

	is_int(0, open_at(&seg, path), "another process attaches");
	is_int(0, dcm_segment_locked(&seg, 2), "it sees nobody");
}

static void exit_at_once(const char *path)
{
	(void)path;
}

static void bytes(void)
{
	const char *path = at("bytes");
	struct dcm_segment seg, copy;
	unsigned fds;

	is_int(0, open_at(&seg, path), "a segment is made");
	is_int(0, dcm_segment_locked(&seg, 2), "a byte is free");
	ok(dcm_segment_lock(&seg, 2), "and taken");
	ok(!dcm_segment_lock(&seg, 2), "but not twice");
	is_int(1, dcm_segment_locked(&seg, 2), "it is seen by its holder");
	ok(dcm_segment_locked_here(&seg, 2), "as its own");
	in_child(see_locked, path);
	is_int(0, dcm_segment_locked(&seg, 3), "what the other took went with it");
	in_child(exit_at_once, path);
	is_int(1, dcm_segment_locked(&seg, 2), "a forked child's end does not drop ours");
	ok(!dcm_segment_lock(&seg, DCM_LOCK_BYTES), "there is no byte past the last");
	is_int(0, open_at(&copy, path), "a second copy of the library attaches");
	is_int(1, dcm_segment_locked(&copy, 2), "it sees the byte");
	fds = tap_count_fds();
	dcm_segment_close(&copy);
	is_uint(fds, tap_count_fds(), "when it closes, the lock file stays open");
	in_child(see_locked, path);
	is_int(0, open_at(&copy, path), "when it comes again");
	dcm_segment_close(&copy);
	is_uint(fds, tap_count_fds(), "it takes the open one");
	dcm_segment_unlock(&seg, 2);
	in_child(see_free, path);
	is_int(0, open_at(&copy, path), "it comes a last time");
	dcm_segment_close(&copy);
	is_uint(fds - 1, tap_count_fds(), "and now that no byte is held closes the file");
	dcm_segment_close(&seg);
	clean(path);
}

/* A program that closes every descriptor, as daemons do, and opens others. */
static void daemon_like(const char *path)
{
	struct dcm_segment seg;
	int other;

	is_int(0, open_at(&seg, path), "a daemon attaches");
	ok(dcm_segment_lock(&seg, 1), "and takes a byte");
	other = seg.lock_fd;
	if (dup2(STDERR_FILENO, other) < 0)
		sysbail("dup2");
	is_int(-EBADF, dcm_segment_locked(&seg, 1), "where the lock file was, is another file");
	ok(!dcm_segment_lock(&seg, 2), "which is not locked");
	dcm_segment_close(&seg);
	ok(fcntl(other, F_GETFD) >= 0, "nor closed");
}

static void see_no_map(const char *path)
{
	struct dcm_segment seg;
	unsigned char resident;
	pid_t pid;

	is_int(0, open_at(&seg, path), "a process attaches");
	pid = fork();
	if (pid == 0) {
		ok(mincore(seg.base, DCM_PAGE, &resident) < 0 && errno == ENOMEM,
		   "its forked child has no mapping");
		dcm_segment_forked(&seg);
		is_int(0, open_at(&seg, path), "but can attach itself");
		_exit(0);
	}
	finish(pid);
}

static void view_only(void)
{
	const char *path = at("looked");
	struct dcm_segment seg, user;

	is_int(-ENOENT, look_at(&seg, path), "there is nothing to look at: %s", why.text);
	ok(!exists(path, "") && !exists(path, ".lock"), "and nothing is made");
	is_int(0, open_at(&user, path), "a segment is made");
	if (!is_int(0, look_at(&seg, path), "it can be looked at"))
		diag("  %s", why.text);
	ok(mprotect(seg.base, DCM_PAGE, PROT_READ | PROT_WRITE) < 0, "not written");
	is_int(0, dcm_segment_locked(&seg, 2), "a byte is free");
	ok(dcm_segment_lock(&user, 2), "it is taken");
	is_int(1, dcm_segment_locked(&seg, 2), "which is seen");
	dcm_segment_unlock(&user, 2);
	dcm_segment_close(&seg);
	dcm_segment_close(&user);
	unlink(at("looked.lock"));
	is_int(0, look_at(&seg, path), "without a lock file too");
	is_int(-1, seg.lock_fd, "then there is none");
	ok(!exists(path, ".lock"), "and none is made");
	dcm_segment_close(&seg);
	write_file(at("looked.lock"), "", 0);
	is_int(0, look_at(&seg, path), "with a wrong one too");
	is_int(-1, seg.lock_fd, "it is not used");
	dcm_segment_close(&seg);
	poke32(path, 8, DCM_LAYOUT + 1);
	is_int(-EPROTO, look_at(&seg, path), "one of another layout cannot: %s", why.text);
	write_file(path, "x", 1);
	is_int(-EBADMSG, look_at(&seg, path), "nor something else: %s", why.text);
	clean(path);
}

static void be_nobody(const char *path)
{
	struct dcm_segment seg;

	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		sysbail("setuid");
	is_int(0, open_at(&seg, path), "a user makes a segment: %s", why.text);
	dcm_segment_close(&seg);
	chmod(path, 0400);
	refused(-EACCES, "mode 0400", path, "a read-only segment");
	is_int(0, look_at(&seg, path), "but can be looked at");
	dcm_segment_close(&seg);
	clean(path);
	if (chmod(at("user"), 0500) < 0)
		sysbail("chmod");
	refused(-EACCES, "lock file", path, "a directory without the right to write");
	chmod(at("user"), 0700);
	refused(-EACCES, "roots.lock: it belongs to user 0", at("user/roots"), "a lock file of another user");
	refused(-EACCES, "mode 0666", at("user/open"), "a segment that is open to all");
}

static void users(void)
{
	char lock[512];

	if (geteuid() != 0) {
		skip("not root: cannot be two users");
		return;
	}
	snprintf(lock, sizeof lock, "%s/user/open", tap_fabric_dir());
	if (chmod(tap_fabric_dir(), 0711) < 0 || mkdir(at("user"), 0700) < 0)
		sysbail("a directory");
	is_int(0, try(at("user/roots")), "root makes a segment");
	is_int(0, try(at("user/open")), "and another");
	chmod(at("user/open"), 0666);
	if (chown(at("user/open.lock"), NOBODY, NOBODY) == 0 &&
	    chown(at("user"), NOBODY, NOBODY) == 0) {
		in_child(be_nobody, at("user/mine"));
		chmod(at("user/open"), 0600);
		is_int(0, try(at("user/open")), "root may use a lock file of another");
	} else {
		skip("root of a user namespace with one user");
	}
	clean(at("user/roots"));
	clean(at("user/open"));
	clean(at("user/mine"));
	rmdir(at("user"));
}

static void disk(void)
{
	const char *build = getenv("DCM_BUILD_DIR");
	char path[512], here[400];
	struct statfs fs;

	snprintf(here, sizeof here, "%s", build ? build : ".");
	if (statfs(here, &fs) < 0 || fs.f_type == TMPFS_MAGIC || fs.f_type == (long)RAMFS_MAGIC) {
		skip("%s is not on a disk", here);
		return;
	}
	snprintf(path, sizeof path, "%s/dcm-test-fabric", here);
	refused(-ENODEV, "disk file system", path, "a fabric on a disk");
	ok(!exists(path, "") && !exists(path, ".lock"), "nothing is made there");
}

static void mount_or_die(const char *type, const char *where, unsigned long flags, const char *data)
{
	if (mount("none", where, type, flags, data) < 0)
		sysbail("mount of %s on %s", type ? type : "(same)", where);
}

static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		sysbail("unshare");
	mount_or_die(NULL, "/", MS_REC | MS_PRIVATE, NULL);
}

static void full(const char *directory)
{
	struct dcm_segment_options options = { .fabric = at("mnt/fabric"),
					       .capacity = DCM_CAPACITY_DEFAULT };
	struct dcm_segment seg;

	own_mounts();
	mount_or_die("tmpfs", directory, 0, "size=64k");
	is_int(-ENOSPC, dcm_segment_open(&seg, &options, &why), "a tmpfs of 64 KiB is too small");
	note("%s", why.text);
	ok(strstr(why.text, directory) != NULL, "the detail names the mount");
	ok(strstr(why.text, "65536") || strstr(why.text, "61440"), "and what it has");
	ok(strstr(why.text, "--shm-size") != NULL, "and what to do");
	ok(!exists(options.fabric, "") && !exists(options.fabric, ".tmp"), "nothing is left");
	mount_or_die(NULL, directory, MS_REMOUNT | MS_RDONLY, NULL);
	refused(-EROFS, "lock file", at("mnt/ro"), "a read-only file system");
}

static void without_proc(const char *directory)
{
	const char *path = at("mnt/fabric");
	static const uint8_t unknown[16];
	struct dcm_header h;

	own_mounts();
	mount_or_die("tmpfs", directory, 0, "size=1m");
	mount_or_die("tmpfs", "/proc", 0, "size=64k");
	write_file(at("mnt/fabric.tmp"), "left by a dead maker", 20);
	is_int(0, try(path), "without /proc a segment is made: %s", why.text);
	ok(!exists(path, ".tmp"), "no temporary file is left");
	peek(path, &h);
	ok(memcmp(h.boot_id, unknown, 16) == 0, "its boot is unknown");
	is_int(0, try(path), "and it is found again");
	umount("/proc");
	is_int(0, try(path), "with /proc too");
}

static void on_ramfs(const char *directory)
{
	own_mounts();
	mount_or_die("ramfs", directory, 0, NULL);
	is_int(0, try(at("mnt/fabric")), "a segment is made on a ramfs: %s", why.text);
	is_int(0, try(at("mnt/fabric")), "and found again");
}

static void mounts(void)
{
	pid_t probe = geteuid() == 0 ? fork() : -1;
	int status = 1;

	if (probe == 0)
		_exit(unshare(CLONE_NEWNS) != 0);
	if (probe > 0)
		waitpid(probe, &status, 0);
	if (status != 0) {
		skip("not root, or no right to mount");
		return;
	}
	if (mkdir(at("mnt"), 0700) < 0)
		sysbail("a directory");
	in_child(full, at("mnt"));
	in_child(without_proc, at("mnt"));
	in_child(on_ramfs, at("mnt"));
	rmdir(at("mnt"));
}

static void with_limits(const char *path)
{
	struct rlimit limit, before;
	struct dcm_segment seg;
	int r;

	signal(SIGXFSZ, SIG_DFL);
	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){ 4096, before.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	r = try(path);
	setrlimit(RLIMIT_FSIZE, &before);
	is_int(-EFBIG, r, "a limit of file sizes is kept: %s", why.text);
	getrlimit(RLIMIT_NOFILE, &before);
	for (unsigned more = 0; more < 4; more++) {
		int next = dup(STDERR_FILENO);

		close(next);
		limit = (struct rlimit){ (rlim_t)next + more, before.rlim_max };
		setrlimit(RLIMIT_NOFILE, &limit);
		r = open_at(&seg, path);
		setrlimit(RLIMIT_NOFILE, &before);
		ok(more < 2 ? r == -EMFILE : r == -EMFILE || r == 0, "%u descriptors more: %d %s",
		   more, r, why.text);
		if (r == 0)
			dcm_segment_close(&seg);
	}
}

static void relative(const char *path)
{
	struct dcm_segment seg;

	(void)path;
	if (chdir(tap_fabric_dir()) < 0)
		sysbail("chdir");
	is_int(0, open_at(&seg, "./relative"), "a relative path: %s", why.text);
	is_int('/', seg.path[0], "is made absolute");
	if (chdir("/") < 0)
		sysbail("chdir");
	ok(dcm_segment_linked(&seg), "and so is still there elsewhere");
}

/* The gate held exclusive by a process that does not go on. */
static void hold_gate(const char *lock_path)
{
	int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct flock lock = { .l_type = F_WRLCK, .l_start = GATE, .l_len = 1 };

	if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0)
		sysbail("the gate");
	raise(SIGSTOP);
}

static void wait_at_gate(const char *path)
{
	char who[32], lock[600];
	int status;
	pid_t pid;

	snprintf(lock, sizeof lock, "%s.lock", path);
	pid = start(hold_gate, lock);
	waitpid(pid, &status, WUNTRACED);
	snprintf(who, sizeof who, "process %d", pid);
	refused(-ETIMEDOUT, who, path, "a gate held by a stopped process");
	kill(pid, SIGCONT);
	finish(pid);
	is_int(0, try(path), "when it let go, the segment is made");
	clean(path);
}

/* Attached, but no byte taken yet: a replacement would pull the segment from under it. */
static void wait_for_attacher(const char *path)
{
	struct dcm_header before, after;
	struct dcm_segment seg;
	pid_t pid;

	is_int(0, open_at(&seg, path), "a process attaches and holds the gate");
	pid = fork();
	if (pid == 0) {
		is_int(0, try(path), "another can attach");
		poke32(path, 8, 99);
		peek(path, &before);
		refused(-ETIMEDOUT, "attached", path, "replacing what is being attached to");
		peek(path, &after);
		is_blob(&before, &after, sizeof after, "  which is not touched");
		_exit(0);
	}
	finish(pid);
	dcm_segment_close(&seg);
	is_int(0, try(path), "afterwards it is replaced");
	clean(path);
}

int main(void)
{
	char gate[512], attacher[512];
	pid_t first, second;

	plan_lazy();
	seed = tap_seed();
	snprintf(gate, sizeof gate, "%s/gate", tap_fabric_dir());
	snprintf(attacher, sizeof attacher, "%s/attacher", tap_fabric_dir());
	first = start(wait_at_gate, gate);
	second = start(wait_for_attacher, attacher);
	names();
	view();
	fresh();
	other_files();
	random_headers();
	damaged();
	foreigners();
	lock_file();
	bytes();
	in_child(daemon_like, at("daemon"));
	in_child(see_no_map, at("forks"));
	view_only();
	users();
	disk();
	mounts();
	in_child(with_limits, at("limits"));
	in_child(relative, "");
	finish(first);
	finish(second);
	return 0;
}
