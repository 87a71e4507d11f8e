/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the segment's file is and who is in the way: lock bytes and the gate, other users, disks,
 * full and read-only file systems, limits of the process, no /proc.
 */
#define _GNU_SOURCE
#include "shm/segment.h"
#include "shm/segment_file.h"

#include <errno.h>
#include <fcntl.h>
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
#include "tests/unit/lib_file.h"

#define GATE   (1 << 30)
#define NOBODY 65534

static void see_locked(const char *path)
{
	struct dcm_segment seg;

	is_int(0, file_open(&seg, path), "another process attaches");
	is_int(1, dcm_segment_locked(&seg, 2), "it sees the byte");
	ok(!dcm_segment_locked_here(&seg, 2), "as another's");
	ok(!dcm_segment_lock(&seg, 2), "it cannot take it");
	ok(dcm_segment_lock(&seg, 3), "but the next");
}

static void see_free(const char *path)
{
	struct dcm_segment seg;

	is_int(0, file_open(&seg, path), "another process attaches");
	is_int(0, dcm_segment_locked(&seg, 2), "it sees nobody");
}

static void exit_at_once(const char *path)
{
	(void)path;
}

static void bytes(void)
{
	const char *path = file_at("bytes");
	struct dcm_segment seg, copy;
	unsigned fds;

	is_int(0, file_open(&seg, path), "a segment is made");
	is_int(0, dcm_segment_locked(&seg, 2), "a byte is free");
	ok(dcm_segment_lock(&seg, 2), "and taken");
	ok(!dcm_segment_lock(&seg, 2), "but not twice");
	is_int(1, dcm_segment_locked(&seg, 2), "it is seen by its holder");
	ok(dcm_segment_locked_here(&seg, 2), "as its own");
	file_in_child(see_locked, path);
	is_int(0, dcm_segment_locked(&seg, 3), "what the other took went with it");
	file_in_child(exit_at_once, path);
	is_int(1, dcm_segment_locked(&seg, 2), "a forked child's end does not drop ours");
	ok(!dcm_segment_lock(&seg, DCM_LOCK_BYTES), "there is no byte past the last");
	is_int(0, file_open(&copy, path), "a second copy of the library attaches");
	is_int(1, dcm_segment_locked(&copy, 2), "it sees the byte");
	fds = tap_count_fds();
	dcm_segment_close(&copy);
	is_uint(fds, tap_count_fds(), "when it closes, the lock file stays open");
	file_in_child(see_locked, path);
	is_int(0, file_open(&copy, path), "when it comes again");
	dcm_segment_close(&copy);
	is_uint(fds, tap_count_fds(), "it takes the open one");
	dcm_segment_unlock(&seg, 2);
	file_in_child(see_free, path);
	is_int(0, file_open(&copy, path), "it comes a last time");
	dcm_segment_close(&copy);
	is_uint(fds - 1, tap_count_fds(), "and now that no byte is held closes the file");
	dcm_segment_close(&seg);
	file_clean(path);
}

/* A program that closes every descriptor, as daemons do, and opens others. */
static void daemon_like(const char *path)
{
	struct dcm_segment seg;
	int other;

	is_int(0, file_open(&seg, path), "a daemon attaches");
	ok(dcm_segment_lock(&seg, 1), "and takes a byte");
	other = seg.lock_fd;
	if (dup2(STDERR_FILENO, other) < 0)
		sysbail("dup2");
	is_int(-EBADF, dcm_segment_locked(&seg, 1), "where the lock file was, is another file");
	ok(!dcm_segment_lock(&seg, 2), "which is not locked");
	is_int(DCM_SOMEBODY, dcm_segment_byte_holder(&seg), "and who holds a byte is not known");
	dcm_segment_close(&seg);
	ok(fcntl(other, F_GETFD) >= 0, "nor closed");
}

static void see_no_map(const char *path)
{
	struct dcm_segment seg;
	unsigned char resident;
	pid_t pid;

	is_int(0, file_open(&seg, path), "a process attaches");
	pid = fork();
	if (pid == 0) {
		ok(mincore(seg.base, DCM_PAGE, &resident) < 0 && errno == ENOMEM,
		   "its forked child has no mapping");
		dcm_segment_forked(&seg);
		is_int(0, file_open(&seg, path), "but can attach itself");
		_exit(0);
	}
	file_finish(pid);
}

static void be_nobody(const char *path)
{
	struct dcm_segment seg;

	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		sysbail("setuid");
	is_int(0, file_open(&seg, path), "a user makes a segment: %s", file_why.text);
	dcm_segment_close(&seg);
	chmod(path, 0400);
	file_refused(-EACCES, "mode 0400", path, "a read-only segment");
	is_int(0, file_look(&seg, path), "but can be looked at");
	dcm_segment_close(&seg);
	file_clean(path);
	if (chmod(file_at("user"), 0500) < 0)
		sysbail("chmod");
	file_refused(-EACCES, "lock file", path, "a directory without the right to write");
	chmod(file_at("user"), 0700);
	file_refused(-EACCES, "roots.lock: it belongs to user 0", file_at("user/roots"),
		     "a lock file of another user");
	file_refused(-EACCES, "mode 0666", file_at("user/open"), "a segment that is open to all");
}

static void users(void)
{
	char lock[512];

	if (geteuid() != 0) {
		skip("not root: cannot be two users");
		return;
	}
	snprintf(lock, sizeof lock, "%s/user/open", tap_fabric_dir());
	if (chmod(tap_fabric_dir(), 0711) < 0 || mkdir(file_at("user"), 0700) < 0)
		sysbail("a directory");
	is_int(0, file_try(file_at("user/roots")), "root makes a segment");
	is_int(0, file_try(file_at("user/open")), "and another");
	chmod(file_at("user/open"), 0666);
	if (chown(file_at("user/open.lock"), NOBODY, NOBODY) == 0 &&
	    chown(file_at("user"), NOBODY, NOBODY) == 0) {
		file_in_child(be_nobody, file_at("user/mine"));
		chmod(file_at("user/open"), 0600);
		is_int(0, file_try(file_at("user/open")), "root may use a lock file of another");
	} else {
		skip("root of a user namespace with one user");
	}
	file_clean(file_at("user/roots"));
	file_clean(file_at("user/open"));
	file_clean(file_at("user/mine"));
	rmdir(file_at("user"));
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
	file_refused(-ENODEV, "disk file system", path, "a fabric on a disk");
	ok(!file_exists(path, "") && !file_exists(path, ".lock"), "nothing is made there");
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
	struct dcm_segment_options options = { .fabric = file_at("mnt/fabric"),
					       .capacity = DCM_CAPACITY_DEFAULT };
	struct dcm_segment seg;

	own_mounts();
	mount_or_die("tmpfs", directory, 0, "size=64k");
	is_int(-ENOSPC, dcm_segment_open(&seg, &options, &file_why),
	       "a tmpfs of 64 KiB is too small");
	note("%s", file_why.text);
	ok(strstr(file_why.text, directory) != NULL, "the detail names the mount");
	ok(strstr(file_why.text, "65536") || strstr(file_why.text, "61440"), "and what it has");
	ok(strstr(file_why.text, "--shm-size") != NULL, "and what to do");
	ok(!file_exists(options.fabric, "") && !file_exists(options.fabric, ".tmp"),
	   "nothing is left");
	mount_or_die(NULL, directory, MS_REMOUNT | MS_RDONLY, NULL);
	file_refused(-EROFS, "lock file", file_at("mnt/ro"), "a read-only file system");
}

static void without_proc(const char *directory)
{
	const char *path = file_at("mnt/fabric");
	static const uint8_t unknown[16];
	struct dcm_header h;

	own_mounts();
	mount_or_die("tmpfs", directory, 0, "size=1m");
	mount_or_die("tmpfs", "/proc", 0, "size=64k");
	file_write(file_at("mnt/fabric.tmp"), "left by a dead maker", 20);
	is_int(0, file_try(path), "without /proc a segment is made: %s", file_why.text);
	ok(!file_exists(path, ".tmp"), "no temporary file is left");
	file_peek(path, &h);
	ok(memcmp(h.boot_id, unknown, 16) == 0, "its boot is unknown");
	is_int(0, file_try(path), "and it is found again");
	umount("/proc");
	is_int(0, file_try(path), "with /proc too");
}

static void on_ramfs(const char *directory)
{
	own_mounts();
	mount_or_die("ramfs", directory, 0, NULL);
	is_int(0, file_try(file_at("mnt/fabric")), "a segment is made on a ramfs: %s",
	       file_why.text);
	is_int(0, file_try(file_at("mnt/fabric")), "and found again");
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
	if (mkdir(file_at("mnt"), 0700) < 0)
		sysbail("a directory");
	file_in_child(full, file_at("mnt"));
	file_in_child(without_proc, file_at("mnt"));
	file_in_child(on_ramfs, file_at("mnt"));
	rmdir(file_at("mnt"));
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
	r = file_try(path);
	setrlimit(RLIMIT_FSIZE, &before);
	is_int(-EFBIG, r, "a limit of file sizes is kept: %s", file_why.text);
	getrlimit(RLIMIT_NOFILE, &before);
	for (unsigned more = 0; more < 4; more++) {
		int next = dup(STDERR_FILENO);

		close(next);
		limit = (struct rlimit){ (rlim_t)next + more, before.rlim_max };
		setrlimit(RLIMIT_NOFILE, &limit);
		r = file_open(&seg, path);
		setrlimit(RLIMIT_NOFILE, &before);
		ok(more < 2 ? r == -EMFILE : r == -EMFILE || r == 0, "%u descriptors more: %d %s",
		   more, r, file_why.text);
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
	is_int(0, file_open(&seg, "./relative"), "a relative path: %s", file_why.text);
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
	pid = file_start(hold_gate, lock);
	waitpid(pid, &status, WUNTRACED);
	snprintf(who, sizeof who, "process %d", pid);
	file_refused(-ETIMEDOUT, who, path, "a gate held by a stopped process");
	kill(pid, SIGCONT);
	file_finish(pid);
	is_int(0, file_try(path), "when it let go, the segment is made");
	file_clean(path);
}

/* Attached, but no byte taken yet: a replacement would pull the segment from under it. */
static void wait_for_attacher(const char *path)
{
	struct dcm_header before, after;
	struct dcm_segment seg;
	pid_t pid;

	is_int(0, file_open(&seg, path), "a process attaches and holds the gate");
	pid = fork();
	if (pid == 0) {
		is_int(0, file_try(path), "another can attach");
		file_poke32(path, 8, 99);
		file_peek(path, &before);
		file_refused(-ETIMEDOUT, "attached", path, "replacing what is being attached to");
		file_peek(path, &after);
		is_blob(&before, &after, sizeof after, "  which is not touched");
		_exit(0);
	}
	file_finish(pid);
	dcm_segment_close(&seg);
	is_int(0, file_try(path), "afterwards it is replaced");
	file_clean(path);
}

int main(void)
{
	char gate[512], attacher[512];
	pid_t first, second;

	plan_lazy();
	snprintf(gate, sizeof gate, "%s/gate", tap_fabric_dir());
	snprintf(attacher, sizeof attacher, "%s/attacher", tap_fabric_dir());
	first = file_start(wait_at_gate, gate);
	second = file_start(wait_for_attacher, attacher);
	bytes();
	file_in_child(daemon_like, file_at("daemon"));
	file_in_child(see_no_map, file_at("forks"));
	users();
	disk();
	mounts();
	file_in_child(with_limits, file_at("limits"));
	file_in_child(relative, "");
	file_finish(first);
	file_finish(second);
	return 0;
}
