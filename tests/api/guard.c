/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (forks, and faults on purpose) */
/*
 * The guard of the segment: truncated under their feet, programs that asked for it live on, with
 * errors; others die, as the kernel has it; and every other SIGBUS goes where it went before.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Guard"

static const char *dir;
static char fabric[512];

/* Runs @act in a child that has nothing yet: no library, no handler. Its wait status. */
static int in_child(void (*act)(void))
{
	struct rlimit none = { 0, 0 };
	int status = -1;
	pid_t pid;

	unlink(fabric);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGBUS, SIG_DFL); /* a sanitizer has its own */
		act();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		sysbail("fork");
	return status;
}

static void lives(void (*act)(void), const char *what)
{
	int status = in_child(act);

	if (!ok(status == 0, "%s: the process lives", what))
		diag("  wait status 0x%x", (unsigned int)status);
}

static void dies(void (*act)(void), const char *what)
{
	int status = in_child(act);

	if (!ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "%s: dies of SIGBUS", what))
		diag("  wait status 0x%x", (unsigned int)status);
}

static off_t fabric_bytes(void)
{
	struct stat st;

	if (stat(fabric, &st) < 0)
		sysbail("%s", fabric);
	return st.st_size;
}

static void cut(off_t bytes)
{
	if (truncate(fabric, bytes) < 0)
		sysbail("%s", fabric);
}

static void unguarded(void)
{
	DcmHandle subscription;

	must(DcmInit());
	cut(0);
	DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription);
}

/* A segment lost: all blocked calls. */

struct scene {
	struct pair pair[BLOCKING_COUNT];
	struct blocked blocked[BLOCKING_COUNT];
	struct load load[BLOCKING_COUNT];
	DcmRequest request; /* received and unanswered */
	uint64_t call;	    /* of that */
	DcmHandle subscription, connection, publication;
};
static struct scene scene;
static bool guard_first;
static off_t left; /* bytes of the segment; LEFT_... */

enum { LEFT_HALF = -1, LEFT_ALL_BUT_A_PAGE = -2 };

static uint64_t handle_for(enum blocking what)
{
	uint64_t handle;

	switch (what) {
	case BLOCK_RECEIVE:
		return scene.pair[what].listener;
	case BLOCK_LISTEN:
		return scene.publication;
	case BLOCK_READ:
		return scene.subscription;
	case BLOCK_CONNECT:
		must(DcmCreateConnection(TYPE ".none", "n", INVALID_HANDLE, INVALID_HANDLE,
					 &handle));
		return scene.connection = handle;
	default:
		return scene.pair[what].session;
	}
}

static void receive_one(void)
{
	struct pair *pair = &scene.pair[BLOCK_RECEIVE];
	DcmMessage message = must_loan(pair->session, 6);

	memcpy(message.data, "before", 6);
	must(DcmStart(pair->session, &message, FOREVER_NS, &scene.call));
	scene.request = must_receive(pair->listener);
}

static void block_all(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		struct blocked *b = &scene.blocked[what];

		*b = (struct blocked){ .what = what, .handle = handle_for(what), .timeout_ms = -1 };
		load_for(&scene.load[what], b);
		blocked_go(b);
	}
}

static void set_scene(void)
{
	if (guard_first)
		is_rc(rcOk, DcmGuardSegment(), "a guard before DcmInit");
	must(DcmInit());
	if (!guard_first)
		is_rc(rcOk, DcmGuardSegment(), "a guard after DcmInit");
	is_rc(rcOk, DcmGuardSegment(), "twice is as good");
	for (enum blocking what = 0; what <= BLOCK_RECEIVE; what++)
		pair_open(&scene.pair[what]);
	must(DcmPublishEndpoint(new_identity(), TYPE, "n", &scene.publication));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &scene.subscription));
	must(DcmReadPubQueue(scene.subscription, 0, NULL, NULL, NULL, NULL));
	receive_one();
}

static void later_calls(void)
{
	DcmMessage message;
	DcmRequest request;
	DcmHandle out;
	Handle me = KosTaskGetHandle(KosTaskGetSelf());
	struct pair *pair = &scene.pair[0];

	is_rc(rcFail, DcmPublishEndpoint(me, TYPE, "later", &out), "later: DcmPublishEndpoint");
	is_rc(rcFail, DcmListen(scene.publication, 0, NULL, NULL, &out), "later: DcmListen");
	is_rc(rcFail, DcmAccept(1, 2, INVALID_HANDLE), "later: DcmAccept");
	is_rc(rcFail, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &out),
	      "later: DcmSetSubscription");
	is_rc(rcFail, DcmReadPubQueue(scene.subscription, 0, NULL, NULL, NULL, NULL),
	      "later: DcmReadPubQueue, no word of a withdrawal");
	is_rc(rcFail, DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, &out),
	      "later: DcmCreateConnection");
	is_rc(rcFail, DcmConnect(scene.connection, 0, &out), "later: DcmConnect");
	is_rc(rcFail, DcmReceive(pair->listener, 0, &request), "later: DcmReceive");
	is_rc(rcFail, DcmLoan(pair->session, 1, 0, &message), "later: DcmLoan");
	is_rc(rcFail, DcmInit(), "later: DcmInit");
	ok(strstr(DcmLastDetail(), "truncated") != NULL, "the detail says so: %s", DcmLastDetail());
}

/* Channels are files of their own. */
static void channels_live(void)
{
	struct pair *pair = &scene.pair[BLOCK_RECEIVE];
	DcmMessage reply;

	is_blob("before", scene.request.message.data, 6, "what was received can be read");
	is_rc(rcOk, DcmLoanReply(&scene.request, 5, &reply), "a reply to it can be loaned");
	memcpy(reply.data, "after", 5);
	is_rc(rcOk, DcmReply(&scene.request, &reply), "and sent");
	is_rc(rcOk, DcmFinish(pair->session, scene.call, 0, NULL, &reply), "it arrives");
	is_blob("after", reply.data, 5, "whole");
	is_rc(rcOk, DcmRelease(&reply), "and can be released");
}

static void leave_scene(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		load_drop(&scene.load[what]);
		must(DcmRelease(&scene.blocked[what].message));
	}
	for (enum blocking what = 0; what <= BLOCK_RECEIVE; what++)
		pair_close(&scene.pair[what]);
	is_rc(rcOk, DcmCloseHandle(scene.subscription), "DcmCloseHandle");
	DcmFini();
}

static void anew(void)
{
	struct pair pair;

	is_rc(rcFail, DcmInit(), "attach anew to what is left of the file");
	unlink(fabric);
	is_rc(rcOk, DcmInit(), "once it is removed");
	pair_open(&pair);
	pair_close(&pair);
	cut(0);
	is_rc(rcFail,
	      DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "n",
				 &pair.publication) == rcOk
		      ? DcmInit()
		      : rcFail,
	      "which is guarded, too");
	DcmFini();
}

static void lose_all(void)
{
	struct holdings before = holdings_now();

	set_scene();
	block_all();
	cut(left == LEFT_HALF		  ? fabric_bytes() / 2
	    : left == LEFT_ALL_BUT_A_PAGE ? fabric_bytes() - 4096
					  : left);
	/* Nobody touches anything but the keeper. */
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		blocked_ends(&scene.blocked[what], rcFail, "blocked as the segment went");
		ok(strstr(scene.blocked[what].detail, "truncated") != NULL, "its detail says so");
	}
	later_calls();
	channels_live();
	leave_scene();
	holdings_are(&before, "after DcmFini");
	anew();
}

static void peers(void)
{
	struct pair pair;

	must(DcmInit());
	must(DcmGuardSegment());
	pair_open(&pair);
	cut(0);
	/* The first to touch it is this thread. */
	ok(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &pair.publication) !=
		   rcNotConnected,
	   "the call that meets it comes back");
	is_rc(rcFail, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &pair.publication),
	      "the next one says what is wrong");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.listener));
	DcmFini();
}

/* A page that nobody has a reason to touch: the bitmap of one table's last slots, with the next's. */
static void lose_little(void)
{
	setenv("DCM_MAX_SUBSCRIPTIONS", "65536", 1);
	setenv("DCM_MAX_HINTS", "2", 1);
	lose_all();
}

/* While nothing is blocked and nobody calls, and then DcmFini is all that comes. */
static void only_fini(void)
{
	must(DcmGuardSegment());
	must(DcmInit());
	cut(0);
	DcmFini();
}

/* Other SIGBUS. */

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
	dir = tap_fabric_dir();
	snprintf(fabric, sizeof(fabric), "%s/fabric", dir);
	dies(unguarded, "truncated without a guard");
	lives(lose_all, "truncated, guarded after DcmInit");
	guard_first = true;
	lives(lose_all, "truncated, guarded before DcmInit");
	left = LEFT_HALF;
	lives(lose_all, "truncated to a half");
	left = LEFT_ALL_BUT_A_PAGE;
	lives(lose_little, "truncated by a page");
	lives(peers, "met by a calling thread");
	lives(only_fini, "met by DcmFini");
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
