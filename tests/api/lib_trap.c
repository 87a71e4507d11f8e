/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_trap.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Written by the handler alone, on the thread that made the call. */
static volatile sig_atomic_t calls, first = -1;

/*
 * trap_carry_out() - make a system call that is not trapped
 * The filter knows it by where it returns to.
 */
long trap_carry_out(long number, const long arg[6]);
extern const char trap_carried_out[];

#if defined(__x86_64__)
__asm__(".text\n"
	".globl trap_carry_out\n"
	".type trap_carry_out, @function\n"
	"trap_carry_out:\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %r11\n"
	"	movq 0(%r11), %rdi\n"
	"	movq 8(%r11), %rsi\n"
	"	movq 16(%r11), %rdx\n"
	"	movq 24(%r11), %r10\n"
	"	movq 32(%r11), %r8\n"
	"	movq 40(%r11), %r9\n"
	"	syscall\n"
	".globl trap_carried_out\n"
	"trap_carried_out:\n"
	"	ret\n");
#elif defined(__aarch64__)
__asm__(".text\n"
	".globl trap_carry_out\n"
	".type trap_carry_out, %function\n"
	"trap_carry_out:\n"
	"	mov x8, x0\n"
	"	mov x9, x1\n"
	"	ldp x0, x1, [x9]\n"
	"	ldp x2, x3, [x9, #16]\n"
	"	ldp x4, x5, [x9, #32]\n"
	"	svc #0\n"
	".globl trap_carried_out\n"
	"trap_carried_out:\n"
	"	ret\n");
#endif

/* The call that was trapped, made after all. */
static void carry_out(int number, ucontext_t *context)
{
#if defined(__x86_64__)
	greg_t *on = context->uc_mcontext.gregs;
	const long arg[6] = { on[REG_RDI], on[REG_RSI], on[REG_RDX],
			      on[REG_R10], on[REG_R8],	on[REG_R9] };

	on[REG_RAX] = trap_carry_out(number, arg);
#elif defined(__aarch64__)
	unsigned long long *on = context->uc_mcontext.regs;
	const long arg[6] = { (long)on[0], (long)on[1], (long)on[2],
			      (long)on[3], (long)on[4], (long)on[5] };

	on[0] = (unsigned long long)trap_carry_out(number, arg);
#else
#error "where a system call's arguments are in the context of a signal on this machine"
#endif
}

static void on_call(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	if (calls == 0)
		first = info->si_syscall;
	calls = calls + 1;
	carry_out(info->si_syscall, context);
}

bool trap_calls(void)
{
	const uint64_t through = (uintptr_t)trap_carried_out;
	struct sock_filter lines[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 5, 0),
		/* Both machines are little-endian. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)through, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(through >> 32), 1, 0),
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
