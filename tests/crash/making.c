/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children), asan: no (its leak check is a tracer, too) */
/*
 * Who makes the fabric, or replaces one whose table is full of the dead, is killed before and after
 * each of its system calls. The next who comes finds or makes a whole one, and no file is left.
 */
#define _GNU_SOURCE
#include <dcm/dcm_api.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/check.h"
#include "tests/crash/lib_step.h"
#include "tests/tap.h"

enum { SYSCALL_STOP = SIGTRAP | 0x80, NO_TRACER = 3, BAD_MAX = 3, WAIT_MS = 60 * 1000 };

static const char *directory;

static pid_t fork_child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	return 0;
}

static int end_of(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static void be_traced(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(NO_TRACER);
	raise(SIGSTOP);
	_exit(DcmInit() == rcOk ? 0 : 1);
}

/* Let the victim come to its stop number @at, and kill it there. Return: whether it came there. */
static bool kill_at(unsigned at)
{
	pid_t pid = fork_child();
	int status, pass = 0;

	if (pid == 0)
		be_traced();
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return false;
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       (void *)(long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	while (at > 0) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)pass) < 0 ||
		    waitpid(pid, &status, 0) != pid)
			break;
		if (!WIFSTOPPED(status)) {
			ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
			   "the victim that nobody killed attached");
			return false;
		}
		at -= WSTOPSIG(status) == SYSCALL_STOP;
		pass = WSTOPSIG(status) == SYSCALL_STOP ? 0 : WSTOPSIG(status);
	}
	kill(pid, SIGKILL);
	end_of(pid);
	return true;
}

static void remove_files(void)
{
	char path[512];

	unlink(getenv("DCM_FABRIC"));
	snprintf(path, sizeof path, "%s.lock", getenv("DCM_FABRIC"));
	unlink(path);
}

static unsigned count_files(void)
{
	unsigned count = 0;
	struct dirent *entry;
	DIR *dir = opendir(directory);

	if (dir == NULL)
		sysbail("cannot read %s", directory);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* It attaches, and is killed. */
static void somebody_dies(void)
{
	pid_t pid = fork_child();

	if (pid == 0) {
		if (DcmInit() == rcOk)
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	if (!WIFSIGNALED(end_of(pid)))
		bail("cannot prepare the fabric");
}

static bool is_whole(struct dcm_segment *seg, uint32_t processes)
{
	struct dcm_check_result result;
	uint32_t in_use = 0;

	for (uint32_t i = 0; i < seg->process.count; i++)
		in_use += dcm_word_state(dcm_load(dcm_slot_word(&seg->process, i), acquire)) !=
			  DCM_FREE;
	dcm_check(seg, NULL, &result);
	return in_use == processes && result.damaged == 0 && result.dead == 0 &&
	       result.transition == 0;
}

/* It attaches, sees itself to be the only one soon, and leaves; 0, or what was wrong. */
static int attach_alone(void)
{
	struct dcm_segment_options options = { .fabric = getenv("DCM_FABRIC"), .read_only = true };
	struct dcm_segment seg;
	struct dcm_detail why;
	int left = WAIT_MS;

	if (DcmInit() != rcOk)
		return 1;
	if (dcm_segment_open(&seg, &options, &why) < 0)
		return 2;
	while (!is_whole(&seg, 1) && left-- > 0)
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	DcmFini();
	return left < 0 ? 3 : is_whole(&seg, 0) ? 0 : 4;
}

static bool somebody_comes(void)
{
	pid_t pid = fork_child();
	int status;

	if (pid == 0)
		_exit(attach_alone());
	status = end_of(pid);
	if (status != 0)
		diag("  the next one ended with %#x", status);
	return status == 0;
}

/* @full: what is there has places for @full processes, all of them dead. */
static void enumerate(const char *name, unsigned full)
{
	unsigned kills = 0, bad = 0, at;
	bool died = true;

	for (at = 1; died && bad < BAD_MAX; at = (unsigned)step_next(at)) {
		remove_files();
		for (unsigned i = 0; i < full; i++)
			somebody_dies();
		died = kill_at(at);
		kills += died;
		if (somebody_comes() && count_files() == 2)
			continue;
		diag("%s: killed at its stop %u", name, at);
		bad++;
	}
	ok(at > 20, "%s: the victim has system calls to die at", name);
	ok(bad == 0, "%s: the next finds a whole fabric, with nothing of the dead", name);
	tap_proof("kill enumeration", name, kills, "kill points", bad);
}

static bool may_trace(void)
{
	pid_t pid = fork_child();
	int status;

	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? NO_TRACER : 0);
	status = end_of(pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
	plan_lazy();
	directory = tap_fabric_dir();
	setenv("DCM_MAX_PROCESSES", "2", 1);
	setenv("DCM_MAX_ENDPOINTS", "4", 1);
	if (!may_trace()) {
		skip("no process may be traced here");
		return 0;
	}
	enumerate("DcmInit that makes the segment", 0);
	enumerate("DcmInit that finds one dead", 1);
	enumerate("DcmInit that replaces a table of the dead", 2);
	return 0;
}
