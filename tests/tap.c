/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_BYTES = 2048, /* less than PIPE_BUF: a line is written whole or not at all */
	PATH_BYTES = 4096,
	FDS_MAX = 4096,
	SETTLE_MS = 2000, /* how long what is ending may take to be gone */
	WATCHDOG_S = 300,
};

/* Shared with all children forked after plan(). */
struct counts {
	_Atomic unsigned long run;
	_Atomic unsigned long failed;
};

static struct {
	struct counts *counts;
	pid_t owner;
	unsigned long planned; /* 0: lazy */
	pthread_once_t seeding;
	_Atomic int seeded;
	uint64_t seed;
	char dir[64];
	unsigned char fd_known[FDS_MAX]; /* open at plan() */
} tap = { .seeding = PTHREAD_ONCE_INIT };

static void close_test(void);

/* Prints prefix, the text as one line, and suffix, in one write. */
static void put(int fd, const char *prefix, const char *suffix, const char *format, va_list args)
{
	char line[LINE_BYTES];
	size_t room = sizeof(line) - strlen(suffix) - 2;
	size_t used = (size_t)snprintf(line, room, "%s", prefix);
	int more = vsnprintf(line + used, room - used, format, args);

	if (more > 0)
		used += (size_t)more < room - used ? (size_t)more : room - used - 1;
	for (size_t i = 0; i < used; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	used += (size_t)snprintf(line + used, sizeof(line) - used, "%s\n", suffix);
	while (write(fd, line, used) < 0 && errno == EINTR)
		;
}

static void put_with_error(int fd, const char *prefix, const char *format, va_list args)
{
	const char *text = strerrordesc_np(errno);
	char suffix[128];

	snprintf(suffix, sizeof(suffix), ": %s", text ? text : "unknown error");
	put(fd, prefix, suffix, format, args);
}

void diag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(STDERR_FILENO, "# ", "", format, args);
	va_end(args);
}

void sysdiag(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_with_error(STDERR_FILENO, "# ", format, args);
	va_end(args);
}

void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(STDOUT_FILENO, "# ", "", format, args);
	va_end(args);
}

void tap_proof(const char *technique, const char *subject, uint64_t count, const char *unit,
	       uint64_t violations)
{
	note("proof: %s: %s: %" PRIu64 " %s, %" PRIu64 " violations", technique, subject, count,
	     unit, violations);
}

void tap_mutant(const char *name, const char *killed_by, const char *why)
{
	if (killed_by)
		note("mutant: %s: killed by %s", name, killed_by);
	else
		note("mutant: %s: equivalent: %s", name, why);
}

void bail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(STDOUT_FILENO, "Bail out! ", "", format, args);
	va_end(args);
	_exit(255);
}

void sysbail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put_with_error(STDOUT_FILENO, "Bail out! ", format, args);
	va_end(args);
	_exit(255);
}

static int result(int success, const char *suffix, const char *format, va_list args)
{
	va_list again;

	if (!tap.counts)
		bail("a result came before plan()");
	va_copy(again, args);
	put(STDOUT_FILENO, success ? "ok - " : "not ok - ", suffix, format, args);
	if (!success)
		put(STDERR_FILENO, "# failed: ", "", format, again);
	va_end(again);
	atomic_fetch_add(&tap.counts->run, 1);
	if (!success)
		atomic_fetch_add(&tap.counts->failed, 1);
	return success != 0;
}

int ok(int success, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	success = result(success, "", format, args);
	va_end(args);
	return success;
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	result(0, "", format, args);
	va_end(args);
	if (getpid() == tap.owner)
		exit(1);
	_exit(1);
}

int is_bool(int wanted, int seen, const char *format, ...)
{
	va_list args;
	int success;

	va_start(args, format);
	success = result(!wanted == !seen, "", format, args);
	va_end(args);
	if (!success)
		diag("  wanted: %s, seen: %s", wanted ? "true" : "false", seen ? "true" : "false");
	return success;
}

int is_int(int64_t wanted, int64_t seen, const char *format, ...)
{
	va_list args;
	int success;

	va_start(args, format);
	success = result(wanted == seen, "", format, args);
	va_end(args);
	if (!success)
		diag("  wanted: %" PRId64 ", seen: %" PRId64, wanted, seen);
	return success;
}

int is_uint(uint64_t wanted, uint64_t seen, const char *format, ...)
{
	va_list args;
	int success;

	va_start(args, format);
	success = result(wanted == seen, "", format, args);
	va_end(args);
	if (!success)
		diag("  wanted: %" PRIu64 ", seen: %" PRIu64, wanted, seen);
	return success;
}

int is_hex(uint64_t wanted, uint64_t seen, const char *format, ...)
{
	va_list args;
	int success;

	va_start(args, format);
	success = result(wanted == seen, "", format, args);
	va_end(args);
	if (!success)
		diag("  wanted: %#" PRIx64 ", seen: %#" PRIx64, wanted, seen);
	return success;
}

int is_string(const char *wanted, const char *seen, const char *format, ...)
{
	int same = wanted && seen ? strcmp(wanted, seen) == 0 : wanted == seen;
	va_list args;

	va_start(args, format);
	result(same, "", format, args);
	va_end(args);
	if (!same) {
		diag("  wanted: %s", wanted ? wanted : "(null)");
		diag("  seen:   %s", seen ? seen : "(null)");
	}
	return same;
}

int is_blob(const void *wanted, const void *seen, size_t bytes, const char *format, ...)
{
	const unsigned char *w = wanted, *s = seen;
	size_t at = 0;
	va_list args;

	while (at < bytes && w[at] == s[at])
		at++;
	va_start(args, format);
	result(at == bytes, "", format, args);
	va_end(args);
	if (at < bytes)
		diag("  at byte %zu of %zu wanted: %#x, seen: %#x", at, bytes, w[at], s[at]);
	return at == bytes;
}

static void skip_one(const char *format, va_list args)
{
	char reason[256];

	vsnprintf(reason, sizeof(reason), format, args);
	ok(1, "# SKIP %s", reason);
}

void skip(const char *reason, ...)
{
	va_list args;

	va_start(args, reason);
	skip_one(reason, args);
	va_end(args);
}

void skip_block(unsigned long count, const char *reason, ...)
{
	for (unsigned long i = 0; i < count; i++) {
		va_list args;

		va_start(args, reason);
		skip_one(reason, args);
		va_end(args);
	}
}

void skip_all(const char *format, ...)
{
	va_list args;

	if (tap.counts)
		bail("skip_all() came after plan()");
	va_start(args, format);
	put(STDOUT_FILENO, "1..0 # SKIP ", "", format, args);
	va_end(args);
	_exit(0);
}

unsigned long tap_failed(void)
{
	return tap.counts ? atomic_load(&tap.counts->failed) : 0;
}

/*
 * Kills the children that any thread of this process has. Only system calls, since the watchdog
 * runs it as a signal handler.
 */
static void kill_children(void)
{
	int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct dirent64) char entries[2048];
	ssize_t bytes;

	while ((bytes = getdents64(tasks, entries, sizeof(entries))) > 0) {
		for (ssize_t at = 0; at < bytes;) {
			struct dirent64 *entry = (struct dirent64 *)(void *)(entries + at);
			int task = openat(tasks, entry->d_name, O_RDONLY | O_DIRECTORY);
			int list = openat(task, "children", O_RDONLY);
			pid_t pid = 0;
			char c;

			while (read(list, &c, 1) == 1) {
				if (c >= '0' && c <= '9') {
					pid = pid * 10 + (c - '0');
				} else if (pid > 0) {
					kill(pid, SIGKILL);
					pid = 0;
				}
			}
			close(list);
			close(task);
			at += entry->d_reclen;
		}
	}
	close(tasks);
}

static void on_alarm(int signal)
{
	static const char text[] = "not ok - the watchdog ended this test, which still ran\n";

	(void)signal;
	if (getpid() == tap.owner) {
		if (write(STDOUT_FILENO, text, sizeof(text) - 1) > 0)
			kill_children();
		if (write(STDERR_FILENO, "# ", 2) == 2 &&
		    write(STDERR_FILENO, text, sizeof(text) - 1) > 0)
			kill_children();
	}
	_exit(124);
}

void tap_watchdog(unsigned int seconds)
{
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}

/*
 * Calls found for each open descriptor, but the one that it needs itself, and returns their number.
 */
static unsigned int each_fd(void (*found)(int fd))
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned int count = 0;

	if (!dir)
		sysbail("/proc/self/fd");
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		count++;
		if (found)
			found(fd);
	}
	closedir(dir);
	return count;
}

unsigned int tap_count_fds(void)
{
	return each_fd(NULL);
}

static void know_fd(int fd)
{
	if (fd < FDS_MAX)
		tap.fd_known[fd] = 1;
}

static unsigned int new_fds;

static void count_new_fd(int fd)
{
	if (fd < FDS_MAX && !tap.fd_known[fd])
		new_fds++;
}

static void report_new_fd(int fd)
{
	char link[32], target[256];
	ssize_t bytes;

	if (fd >= FDS_MAX || tap.fd_known[fd])
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	bytes = readlink(link, target, sizeof(target) - 1);
	target[bytes > 0 ? bytes : 0] = 0;
	diag("  descriptor %d is left open: %s", fd, target);
}

static unsigned int count_new_fds(void)
{
	new_fds = 0;
	each_fd(count_new_fd);
	return new_fds;
}

static int has_child(void)
{
	pid_t pid;

	do
		pid = waitpid(-1, NULL, WNOHANG | __WALL);
	while (pid > 0 || (pid < 0 && errno == EINTR));
	return pid == 0;
}

static int leaves_nothing(void)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	int child = has_child();

	for (int ms = 0; ms < SETTLE_MS && (child || count_new_fds() > 0); ms += 10) {
		nanosleep(&pause, NULL);
		child = has_child();
	}
	if (child) {
		diag("  a child is still running; killed");
		kill_children();
	}
	each_fd(report_new_fd);
	return !child && count_new_fds() == 0;
}

const char *tap_fabric_dir(void)
{
	char fabric[sizeof(tap.dir) + 8];

	if (!tap.counts)
		bail("tap_fabric_dir() came before plan()");
	if (tap.dir[0])
		return tap.dir;
	snprintf(tap.dir, sizeof(tap.dir), "/dev/shm/dcm-test-XXXXXX");
	if (!mkdtemp(tap.dir))
		sysbail("a directory in /dev/shm");
	snprintf(fabric, sizeof(fabric), "%s/fabric", tap.dir);
	setenv("DCM_FABRIC", fabric, 1);
	return tap.dir;
}

static void remove_fabric_dir(void)
{
	DIR *dir = tap.dir[0] ? opendir(tap.dir) : NULL;
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
	if (rmdir(tap.dir) < 0)
		sysdiag("  %s stays", tap.dir);
}

static void close_test(void)
{
	unsigned long run;

	if (getpid() != tap.owner)
		return;
	ok(leaves_nothing(), "no descriptor and no child is left");
	run = atomic_load(&tap.counts->run);
	if (tap.planned > 0 && run != tap.planned + 1)
		ok(0, "%lu results were planned, %lu came", tap.planned, run - 1);
	remove_fabric_dir();
	note("%lu results, %lu failed", atomic_load(&tap.counts->run), tap_failed());
	dprintf(STDOUT_FILENO, "1..%lu\n", atomic_load(&tap.counts->run));
	if (tap_failed() > 0) {
		if (tap.seeded)
			diag("  again with: DCM_TEST_SEED=%" PRIu64, tap.seed);
		fflush(NULL);
		_exit(1);
	}
}

/* Who runs the tests is gone, or has enough of this one: it ends with all that it began. */
static void end_group(int signal_number)
{
	if (getpid() == tap.owner)
		kill(0, SIGKILL);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/*
 * Tests stop processes. When the one goes that would let the group of whoever runs the tests go on, say
 * the shell that began it in the background, the kernel sends SIGHUP and SIGCONT to all of that group if
 * one in it is stopped: so a test is a group of its own, and ends with who began it.
 */
static void be_a_group(void)
{
	if (getpgrp() != getpid() && setpgid(0, 0) < 0)
		sysbail("setpgid");
	signal(SIGHUP, end_group);
	signal(SIGINT, end_group);
	signal(SIGTERM, end_group);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
}

void plan_lazy(void)
{
	if (tap.counts)
		bail("a second plan()");
	tap.counts = mmap(NULL, sizeof(*tap.counts), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tap.counts == MAP_FAILED)
		sysbail("memory for the counts");
	tap.owner = getpid();
	be_a_group();
	each_fd(know_fd);
	tap_watchdog(tap_scale() > 1 ? (unsigned int)(WATCHDOG_S * tap_scale()) : WATCHDOG_S);
	atexit(close_test);
}

void plan(unsigned long count)
{
	plan_lazy();
	tap.planned = count;
}

static void take_seed(void)
{
	const char *text = getenv("DCM_TEST_SEED");

	if (text)
		tap.seed = strtoull(text, NULL, 0);
	else if (getrandom(&tap.seed, sizeof(tap.seed), 0) != sizeof(tap.seed))
		sysbail("getrandom");
	tap.seeded = 1;
	note("seed %" PRIu64, tap.seed);
}

uint64_t tap_seed(void)
{
	pthread_once(&tap.seeding, take_seed);
	return tap.seed;
}

double tap_scale(void)
{
	const char *text = getenv("DCM_TEST_SCALE");
	char *end = NULL;
	double scale;

	if (!text || !*text)
		return 1;
	scale = strtod(text, &end);
	if (*end || !(scale > 0) || scale > 1e6)
		bail("DCM_TEST_SCALE=%s is not a number above 0", text);
	return scale;
}

uint64_t tap_scaled(uint64_t count)
{
	double scaled = (double)count * tap_scale();

	return scaled < 1 ? 1 : (uint64_t)scaled;
}

const char *tap_helper(const char *name)
{
	static _Thread_local char path[PATH_BYTES];
	ssize_t bytes = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	if (bytes <= 0)
		sysbail("/proc/self/exe");
	path[bytes] = 0;
	slash = strrchr(path, '/');
	snprintf(slash + 1, sizeof(path) - (size_t)(slash + 1 - path), "helper_%s", name);
	if (access(path, X_OK) < 0)
		sysbail("%s", path);
	return path;
}
