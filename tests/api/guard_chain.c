/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (forks, and faults on purpose) */
/*
 * The guard of the segment among other SIGBUS: each goes where it would have gone without it, and
 * what the program sets later stays.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_sigbus.h"

#define TYPE "test.Guard"

static unsigned char *hole; /* a page that cannot be touched */
static volatile sig_atomic_t calls, code, masked, reentered;
static void *volatile place;
static sigjmp_buf out;

static void make_hole(void *at)
{
	int fd = memfd_create("hole", MFD_CLOEXEC);

	hole = mmap(at, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | (at != NULL ? MAP_FIXED : 0), fd,
		    0);
	if (fd < 0 || hole == MAP_FAILED)
		sysbail("a hole");
	close(fd);
}

static void touch(void)
{
	*(volatile unsigned char *)hole = 1;
}

static void set_action(void (*plain)(int), void (*info)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_flags = flags };

	if (info != NULL)
		action.sa_sigaction = info;
	else
		action.sa_handler = plain;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR1);
	if (sigaction(SIGBUS, &action, NULL) < 0)
		sysbail("sigaction");
}

/* The part of the present action's flags that the kernel acts on before any handler runs. */
static int flags_now(void)
{
	struct sigaction now;

	if (sigaction(SIGBUS, NULL, &now) < 0)
		sysbail("sigaction");
	return now.sa_flags & (SA_ONSTACK | SA_RESTART | SA_NODEFER);
}

static void note_mask(void)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	masked = sigismember(&now, SIGUSR1);
	reentered = !sigismember(&now, SIGBUS);
}

static void count_info(int number, siginfo_t *info, void *context)
{
	(void)number;
	note_mask();
	calls = calls + 1;
	code = info->si_code;
	place = context == NULL ? NULL : info->si_addr;
	if (info->si_code > 0)
		siglongjmp(out, 1);
}

static void count_plain(int number)
{
	(void)number;
	note_mask();
	calls = calls + 1;
}

static void to_handler(void)
{
	set_action(NULL, count_info, SA_SIGINFO | SA_NODEFER);
	must(DcmInit());
	must(DcmGuardSegment());
	is_hex(SA_NODEFER, (uint64_t)flags_now(), "the flags of the handler before");
	make_hole(NULL);
	if (sigsetjmp(out, 1) == 0)
		touch();
	ok(calls == 1 && code == BUS_ADRERR && place == hole,
	   "a fault elsewhere goes to the handler before, with all that it says");
	ok(masked == 1 && reentered == 1, "with the mask that it asked for");
	raise(SIGBUS);
	ok(calls == 2 && code == SI_TKILL, "and one that is sent");
	cut(0);
	ok(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n", &(DcmHandle){ 0 }) <=
			   rcOk &&
		   calls == 2,
	   "not one of the segment");
	DcmFini();
}

static void to_plain(void)
{
	set_action(count_plain, NULL, 0);
	must(DcmGuardSegment());
	raise(SIGBUS);
	ok(calls == 1 && masked == 1 && reentered == 0, "a plain handler");
}

static void to_one_call(void)
{
	set_action(count_plain, NULL, (int)SA_RESETHAND);
	must(DcmGuardSegment());
	raise(SIGBUS);
	ok(calls == 1, "a handler for one signal has that one");
	raise(SIGBUS);
}

static void ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	must(DcmGuardSegment());
	is_hex(SA_ONSTACK | SA_RESTART, (uint64_t)flags_now(),
	       "calls go on, and small stacks are spared");
	raise(SIGBUS);
}

static void ignored_fault(void)
{
	ignored();
	make_hole(NULL);
	touch();
}

static void default_fault(void)
{
	must(DcmInit());
	must(DcmGuardSegment());
	make_hole(NULL);
	touch();
}

static void default_sent(void)
{
	must(DcmInit());
	must(DcmGuardSegment());
	kill(getpid(), SIGBUS);
	for (;;)
		pause();
}

/* What the program sets later is its own. */

static struct sigaction before;

static void in_front(int number, siginfo_t *info, void *context)
{
	calls = calls + 1;
	before.sa_sigaction(number, info, context);
}

static void later_handler(void)
{
	struct sigaction action = { .sa_sigaction = in_front, .sa_flags = SA_SIGINFO }, now;

	must(DcmGuardSegment());
	must(DcmInit());
	sigaction(SIGBUS, &action, &before);
	is_rc(rcInvalidOperation, DcmGuardSegment(), "another handler in front of the guard");
	sigaction(SIGBUS, NULL, &now);
	ok(now.sa_sigaction == in_front, "it stays there");
	cut(0);
	DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &(DcmHandle){ 0 });
	ok(calls == 1, "has the signal first, and the guard has it from there");
	is_rc(rcFail, DcmInit(), "which works");
	DcmFini();
}

static void put_back(void)
{
	signal(SIGBUS, count_plain);
	must(DcmGuardSegment());
	signal(SIGBUS, SIG_DFL);
	is_rc(rcOk, DcmGuardSegment(), "the guard again, after SIG_DFL");
	signal(SIGBUS, count_plain);
	is_rc(rcOk, DcmGuardSegment(), "and after a handler that was there before");
	must(DcmInit());
	cut(0);
	DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &(DcmHandle){ 0 });
	is_rc(rcFail, DcmInit(), "it guards");
	raise(SIGBUS);
	ok(calls == 1, "and passes on");
	DcmFini();
}

/* A child has nothing at the segment's address, and may have something else there. */

static void *address_of_segment(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long start = 0;
	char line[4096];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strstr(line, fabric) != NULL && sscanf(line, "%lx-", &start) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return (void *)start;
}

static void childs_own(void)
{
	void *at;
	int status = -1;
	pid_t pid;

	must(DcmInit());
	must(DcmGuardSegment());
	at = address_of_segment();
	pid = fork();
	if (pid == 0) {
		make_hole(at);
		touch();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(at != NULL && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS,
	   "a child's own mapping where the parent has the segment is not guarded");
	pid = fork();
	if (pid == 0) {
		must(DcmInit());
		cut(0);
		DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &(DcmHandle){ 0 });
		is_rc(rcFail, DcmInit(), "a child that attaches is guarded, too");
		DcmFini();
		_exit(0);
	}
	ok(waitpid(pid, &status, 0) == pid && status == 0, "and lives");
	DcmFini();
}

static void broken_memory(void)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = BUS_MCEERR_AR };

	must(DcmInit());
	must(DcmGuardSegment());
	info.si_addr = address_of_segment();
	syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGBUS, &info);
	is_rc(rcFail, DcmInit(), "memory of the segment broke");
	DcmFini();
}

static void several(void *arg)
{
	*(Retcode *)arg = DcmGuardSegment();
}

static void at_once(void)
{
	struct task tasks[8];
	Retcode codes[8];

	for (int i = 0; i < 8; i++)
		task_start(&tasks[i], several, &codes[i]);
	for (int round = 0; round < 50; round++) {
		must(DcmInit());
		must(DcmGuardSegment());
		DcmFini();
	}
	for (int i = 0; i < 8; i++) {
		task_join(&tasks[i]);
		is_rc(rcOk, codes[i], "from several threads at once");
	}
	cut(0);
}

int main(void)
{
	plan_lazy();
	fabric_begin();
	lives(to_handler, "a handler before");
	lives(to_plain, "a plain one");
	dies(to_one_call, "a handler for one signal, the second");
	lives(ignored, "sent and ignored");
	dies(ignored_fault, "a fault of its own, ignored");
	dies(default_fault, "a fault of its own");
	dies(default_sent, "sent");
	lives(later_handler, "a later handler");
	lives(put_back, "set back");
	lives(childs_own, "children");
	lives(broken_memory, "broken memory");
	lives(at_once, "several threads");
	return 0;
}
