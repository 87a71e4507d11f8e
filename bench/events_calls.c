/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many system calls each of what is measured makes: the thread that does it is traced, from one
 * mark to the next. The library's own is not.
 */
#define _GNU_SOURCE
#include <dcm/dcm.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/events.h"
#include "bench/lib_child.h"

enum { WARM = 20, TURNS = 100 };

/* A system call that nobody else makes. */
enum { MARK = SYS_getppid };

static void mark(void)
{
	(void)syscall(MARK);
}

void events_traced(struct events_thing *things)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(EXIT_SUCCESS); /* it is not permitted here */
	raise(SIGSTOP);
	for (uint32_t i = 0; i < events_case_count; i++) {
		const struct events_case *c = &events_cases[i];

		for (int turn = 0; turn < WARM; turn++)
			c->turn(&things[i]);
		mark();
		for (int turn = 0; turn < TURNS; turn++)
			c->turn(&things[i]);
		mark();
		c->end(&things[i]);
	}
	DcmFini();
	_exit(EXIT_SUCCESS);
}

/* Return: the number of the system call that it is about to make, or -1: it came from one, or was
   stopped by something else, which it then gets; -2: it has ended. */
static long next_call(pid_t pid, int *deliver)
{
	struct __ptrace_syscall_info info;
	int status;

	if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)*deliver) < 0)
		return -2;
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -2;
	bench_check_ended();
	if (!WIFSTOPPED(status))
		return -2;
	*deliver = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
	if (*deliver != 0 ||
	    ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return -1;
	return (long)info.entry.nr;
}

bool events_count_calls(pid_t pid, double *calls)
{
	void *options = (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	uint32_t marks = 0, count = 0;
	int status, deliver = 0;
	long call;

	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL, options) < 0)
		return false;
	while ((call = next_call(pid, &deliver)) != -2) {
		if (call == MARK) {
			if (++marks % 2 == 0 && marks <= 2 * events_case_count)
				calls[marks / 2 - 1] = (double)count / TURNS;
			count = 0;
		} else if (call >= 0) {
			count++;
		}
	}
	return marks == 2 * events_case_count;
}
