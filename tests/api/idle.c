/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting costs nothing: a thread that is blocked in a call, or waits for events, is not woken while
 * nothing comes, the library's at most once a second, and not at all once nobody waits for or
 * follows anything, nor for a channel that lies idle. Who is not woken makes no system call. tsan: no
 * (it has a thread of its own that wakes)
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_blocked.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define TYPE "test.Idle"

enum { IDLE_MS = 3000, LARGE = 15 << 20 };

/* How often a thread of this process has gone to sleep by itself. */
static long sleeps_of(int tid)
{
	char path[64], line[256];
	long sleeps = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		(void)sscanf(line, "voluntary_ctxt_switches: %ld", &sleeps);
	if (file != NULL)
		fclose(file);
	return sleeps;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Where the kernel cannot wait for several words at once, the library's thread looks at them in turn. */
static bool has_waitv(void)
{
	return syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == EINVAL;
}

static Notice notice;
static DcmHandle publication, subscription;
static int fd;

/* One call of each kind, each on an object of its own. */
static struct {
	struct blocked call;
	struct load load;
	struct pair pair; /* of those on a session or a listener */
	long sleeps;
} waiting[BLOCKING_COUNT];

static void wait_for_event(void *arg)
{
	EventDesc event;
	size_t count;

	*(Retcode *)arg = KnNoticeGetEvent(notice, INFINITE_TIMEOUT, 1, &event, &count);
}

static void poll_for_ever(void *arg)
{
	(void)arg;
	poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
}

static void set_up(void)
{
	must(DcmInit());
	must(KnNoticeCreate(&notice));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "idle", &publication));
	must(DcmSetSubscription(TYPE ".none", NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmSubscribeToEvents(notice, publication, DCM_CLIENT_CONNECTED, 1));
	must(DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 2));
	must(DcmGetFd(subscription, &fd));
}

static void block_all(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		struct blocked *call = &waiting[what].call;

		*call = (struct blocked){ .what = what, .timeout_ms = -1 };
		if (what <= BLOCK_RECEIVE)
			pair_open(&waiting[what].pair);
		call->handle = blocking_handle(what, TYPE, &waiting[what].pair);
		load_for(&waiting[what].load, call);
		blocked_go(call);
	}
}

static void count_blocked(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++)
		waiting[what].sleeps = sleeps_of(atomic_load(&waiting[what].call.task.tid));
}

static void blocked_have_slept(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++)
		is_int(waiting[what].sleeps, sleeps_of(atomic_load(&waiting[what].call.task.tid)),
		       "nor one that is blocked in %s", blocking_name(what));
}

static void unblock_all(void)
{
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++) {
		struct blocked *call = &waiting[what].call;

		must(what <= BLOCK_RECEIVE ? DcmInterruptCall(call->handle)
					   : DcmInterruptBlockingCall(call->handle));
		blocked_ends(call, rcIpcInterrupt, "interrupted");
		DcmRelease(&call->message);
		load_drop(&waiting[what].load);
		if (what <= BLOCK_RECEIVE)
			pair_close(&waiting[what].pair);
		else
			must(DcmCloseHandle(call->handle));
	}
}

/* Pages of a channel that are to go are all that its idle ends are looked at for. */
static void idle_channel(int keeper)
{
	const char *memory = "/memfd:dcm-channel";
	DcmMessage message;
	struct pair pair;
	int64_t since;
	size_t large;
	long before;

	pair_open(&pair);
	message = must_loan(pair.session, LARGE);
	memset(message.data, 1, LARGE);
	large = mapped_kib(memory);
	before = sleeps_of(keeper);
	since = now_ms();
	must(DcmRelease(&message));
	while (mapped_kib(memory) > large / 2 && now_ms() < since + 60 * 1000)
		pause_ms(100);
	if (has_waitv())
		ok(sleeps_of(keeper) - before <= (now_ms() - since) / 1000 + 2,
		   "while its memory goes back, it is woken once a second: %ld times in %lld ms",
		   sleeps_of(keeper) - before, (long long)(now_ms() - since));
	else
		skip("no futex_waitv: the library's thread looks around more often");
	pause_ms(2500);
	before = sleeps_of(keeper);
	pause_ms(IDLE_MS);
	if (has_waitv())
		is_int(before, sleeps_of(keeper), "then the channel does not wake it at all");
	else
		skip("no futex_waitv: the library's thread looks around more often");
	pair_close(&pair);
}

/* Until it has slept for longer than a second; or not at all, which is then found. */
static void come_to_rest(int tid)
{
	long before = -1;

	for (int i = 0; i < 20 && before != sleeps_of(tid); i++) {
		before = sleeps_of(tid);
		pause_ms(1500);
	}
}

int main(void)
{
	struct task waiter = { 0 }, poller = { 0 };
	Retcode rc = rcFail;
	int keeper;
	long before[3], after[3];
	int64_t since;

	plan_lazy();
	tap_fabric_dir();
	set_up();
	task_start(&waiter, wait_for_event, &rc);
	task_start(&poller, poll_for_ever, NULL);
	block_all();
	ok(task_asleep(&waiter), "a thread waits for events");
	keeper = keeper_tid();
	ok(keeper != 0, "the library's thread is there");
	/* By its first look the library's thread wakes once whoever may have been passed over. */
	pause_ms(1500);
	since = now_ms();
	before[0] = sleeps_of(atomic_load(&waiter.tid));
	before[1] = sleeps_of(atomic_load(&poller.tid));
	before[2] = sleeps_of(keeper);
	count_blocked();
	pause_ms(IDLE_MS);
	after[0] = sleeps_of(atomic_load(&waiter.tid));
	after[1] = sleeps_of(atomic_load(&poller.tid));
	after[2] = sleeps_of(keeper);
	is_int(before[0], after[0], "the thread was not woken in %d ms", IDLE_MS);
	is_int(before[1], after[1], "nor one that polls a descriptor");
	if (has_waitv())
		blocked_have_slept();
	else
		skip_block(BLOCKING_COUNT, "no futex_waitv: blocked calls look around");
	if (has_waitv())
		ok(after[2] - before[2] <= (now_ms() - since) / 1000 + 1,
		   "the library's at most once a second: %ld times", after[2] - before[2]);
	else
		skip("no futex_waitv: the library's thread looks around more often");
	unblock_all();
	must(DcmInterruptBlockingCall(subscription));
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
	task_join(&waiter);
	task_join(&poller);
	is_int(rcNotConnected, rc, "the wait ends with the notice");
	come_to_rest(keeper);
	before[2] = sleeps_of(keeper);
	pause_ms(IDLE_MS);
	if (has_waitv())
		is_int(before[2], sleeps_of(keeper), "nobody follows anything: it was not woken");
	else
		skip("no futex_waitv: the library's thread looks around more often");
	must(DcmCloseHandle(publication));
	idle_channel(keeper);
	DcmFini();
	return 0;
}
