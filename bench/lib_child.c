/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/lib_child.h"

#include <errno.h>
#include <ftw.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/dcm-bench.h"

/* Nothing here takes so long. */
#define LOST_NS (INT64_C(30) * 1000 * 1000 * 1000)

static char directory[64];
static pid_t master;
static void (*end_hook)(void);
static volatile sig_atomic_t ended_by;

static void on_signal(int number)
{
	ended_by = number;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

void bench_at_end(void (*at_end)(void))
{
	end_hook = at_end;
}

static void clean_up(void)
{
	void (*hook)(void) = end_hook;

	if (getpid() != master)
		return;
	end_hook = NULL;
	if (hook != NULL)
		hook();
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *bench_begin(void)
{
	char fabric[96];

	snprintf(directory, sizeof(directory), "/dev/shm/dcm-bench-XXXXXX");
	if (mkdtemp(directory) == NULL)
		bench_fail("%s: %s", directory, strerror(errno));
	snprintf(fabric, sizeof(fabric), "%s/fabric", directory);
	setenv("DCM_FABRIC", fabric, 1);
	master = getpid();
	atexit(clean_up);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	return directory;
}

void bench_fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fputs("dcm-bench: ", stderr);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
	va_end(list);
	if (master != 0 && getpid() != master)
		_exit(EXIT_BAD);
	exit(EXIT_BAD);
}

int64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_nap(int64_t ns)
{
	nanosleep(&(struct timespec){ ns / 1000000000, ns % 1000000000 }, NULL);
}

void *bench_shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		bench_fail("%zu bytes of shared memory: %s", bytes, strerror(errno));
	return memory;
}

void bench_reside(size_t bytes)
{
	char *memory;

	if (bytes == 0)
		return;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		bench_fail("%zu bytes: %s", bytes, strerror(errno));
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < bytes; at += 4096)
		((volatile char *)memory)[at] = 1;
}

pid_t bench_child(void (*run)(void *arg), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(EXIT_BAD);
	signal(SIGINT, SIG_IGN); /* the parent says when */
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	run(arg);
	_exit(EXIT_GOOD);
}

void bench_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

void bench_check_ended(void)
{
	if (ended_by == 0)
		return;
	clean_up();
	signal(ended_by, SIG_DFL);
	raise(ended_by);
}

static void look_around(void)
{
	siginfo_t info = { 0 };

	bench_check_ended();
	/* Only those that ended by themselves: a victim's end is not seen here. */
	if (getpid() == master && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid != 0 && (info.si_code == CLD_EXITED || info.si_status != SIGKILL))
		bench_fail("process %d gave up", (int)info.si_pid);
}

bool bench_reach_within(_Atomic uint32_t *word, uint32_t value, int64_t ns)
{
	const struct timespec slice = { 0, 100 * 1000 * 1000 };
	int64_t until = bench_now() + ns;
	uint32_t seen;

	while ((seen = atomic_load(word)) < value) {
		if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, NULL, 0) == 0 ||
		    errno == EAGAIN)
			continue;
		look_around();
		if (bench_now() > until)
			return false;
	}
	return true;
}

void bench_reach(_Atomic uint32_t *word, uint32_t value)
{
	if (!bench_reach_within(word, value, LOST_NS))
		bench_fail("something does not happen");
}

void bench_raise(_Atomic uint32_t *word)
{
	atomic_fetch_add(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static bool sleeps(pid_t pid, pid_t tid)
{
	char path[64], text[512];
	const char *at;
	size_t bytes;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	file = fopen(path, "re");
	if (file == NULL)
		bench_fail("%s: %s", path, strerror(errno));
	bytes = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[bytes] = '\0';
	at = strrchr(text, ')');
	return at != NULL && at[1] == ' ' && at[2] == 'S';
}

void bench_asleep(pid_t pid, pid_t tid)
{
	int64_t until = bench_now() + LOST_NS;

	while (!sleeps(pid, tid)) {
		look_around();
		if (bench_now() > until)
			bench_fail("process %d does not sleep", (int)pid);
		bench_nap(200 * 1000);
	}
}
