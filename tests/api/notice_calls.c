/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nobody asks the kernel to wake a thread where none waits: events are set and fetched, by a process
 * whose every system call is refused and counted. asan: no, tsan: no (they make calls of their own)
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_api.h"

#define USER (1u << 16)

enum { OBJECTS = 4, ROUNDS = 100 };

/* System calls of this process that a filter has refused. */
static volatile sig_atomic_t calls;

static void on_call(int number)
{
	(void)number;
	calls = calls + 1;
}

static bool refuse_calls(void)
{
	struct sock_filter lines[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(lines) / sizeof(lines[0]), .filter = lines };
	struct sigaction action = { .sa_handler = on_call };

	return sigaction(SIGSYS, &action, NULL) == 0 &&
	       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

enum { NO_FILTER = 100, NO_TRAP = 101, NOT_FETCHED = 102 };

/* In a child: how many system calls are made by those who set events, and fetch what is there. */
static int count_calls(void)
{
	EventDesc event[OBJECTS];
	Handle object[OBJECTS];
	size_t count, fetched = 0;
	Notice notice;

	must(KnNoticeCreate(&notice));
	for (size_t i = 0; i < OBJECTS; i++) {
		must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
					      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
					      &object[i]));
		must(KnNoticeSubscribeToObject(notice, object[i], USER, i));
	}
	/* Somebody has waited, and gone. */
	if (KnNoticeGetEvent(notice, 1, 1, event, &count) != rcTimeout)
		return NOT_FETCHED;
	if (!refuse_calls())
		return NO_FILTER;
	syscall(SYS_getppid);
	if (calls != 1)
		return NO_TRAP;
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < OBJECTS; i++)
			KnNoticeSetObjectEvent(object[i], USER);
		if (KnNoticeGetEvent(notice, INFINITE_TIMEOUT, OBJECTS, event, &count) == rcOk)
			fetched += count;
	}
	return fetched == (size_t)OBJECTS * ROUNDS ? (int)calls - 1 : NOT_FETCHED;
}

static void test_no_calls(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(count_calls());
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		status = 255 << 8;
	if (WEXITSTATUS(status) == NO_FILTER)
		skip("no system call filter can be installed here");
	else
		is_int(0, WEXITSTATUS(status),
		       "%d events are set and fetched without a system call", OBJECTS * ROUNDS);
}

int main(void)
{
	plan_lazy();
	test_no_calls();
	return 0;
}
