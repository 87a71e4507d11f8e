/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_trap.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Written by the handler alone, on the thread that made the call. */
static volatile sig_atomic_t calls, first = -1;

/* What the call that was trapped returns. */
static void refuse(ucontext_t *context)
{
#if defined(__x86_64__)
	context->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
#elif defined(__aarch64__)
	context->uc_mcontext.regs[0] = (unsigned long long)-ENOSYS;
#else
#error "where a system call's result is in the context of a signal on this machine"
#endif
}

static void on_call(int number, siginfo_t *info, void *context)
{
	(void)number;
	if (calls == 0)
		first = info->si_syscall;
	calls = calls + 1;
	refuse(context);
}

bool trap_calls(void)
{
	struct sock_filter lines[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(lines) / sizeof(lines[0]), .filter = lines };
	struct sigaction action = { .sa_sigaction = on_call, .sa_flags = SA_SIGINFO };

	if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return false;
	syscall(SYS_getppid);
	if (calls != 1 || first != SYS_getppid)
		return false;
	calls = 0;
	first = -1;
	return true;
}

unsigned int trap_count(void)
{
	return (unsigned int)calls;
}

long trap_first(void)
{
	return first;
}

int trap_status(void)
{
	return calls < TRAP_MOST ? (int)calls : TRAP_MOST;
}
