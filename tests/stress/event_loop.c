/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread in one epoll_wait() serves 1,000 clients over one listener, 10 publications, 10
 * subscriptions and a timer; the program has no other thread. No call and no event is lost. Idle
 * afterwards, the thread is not woken at all, and the library's thread at most once a second.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/lib_loop.h"
#include "tests/tap.h"

/* In prove-it, where the scale is 4, a million. */
enum { CALLS = 250000, TICK_MS = 10, BATCH = 64, IDLE_MS = 10000, IDLE_MS_SHORT = 2000 };

/* What a descriptor of the loop is of. */
struct watched {
	void (*ready)(struct watched *w);
	uint64_t handle;
	unsigned int number;
	int fd;
};

static struct loop_shared *shared;
static struct watched publications[LOOP_PUBLICATIONS], subscriptions[LOOP_SUBSCRIPTIONS];
static struct watched calls, timer;
static Handle callable;
static int loop;
static unsigned int threads_before; /* this one; a sanitizer may have its own */
static uint64_t accepted, received, returns, ticks, notices;
static uint32_t known[LOOP_SUBSCRIPTIONS]; /* endpoints that are published, as far as was read */

static void watch(struct watched *w, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = w };

	w->fd = fd;
	if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		sysbail("epoll_ctl");
}

static void watch_handle(struct watched *w, uint64_t handle)
{
	int fd = -1;

	w->handle = handle;
	wanted(rcOk, DcmGetFd(handle, &fd), "a descriptor");
	watch(w, fd);
}

/* In each of these a batch, no more: what is left keeps the descriptor readable. */

static void accept_clients(struct watched *w)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		DcmHandle request;
		Retcode rc = DcmListen(w->handle, 0, NULL, NULL, &request);

		if (rc == rcTimeout || !wanted(rcOk, rc, "listening"))
			return;
		wanted(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "accepting");
		wanted(rcOk, DcmCloseHandle(request), "closing a request");
		accepted++;
	}
}

static void answer(DcmRequest *request)
{
	uint64_t question = 0, said;
	DcmMessage reply;

	if (request->message.size == sizeof question)
		memcpy(&question, request->message.data, sizeof question);
	if (!wanted(rcOk, DcmLoanReply(request, sizeof said, &reply), "a reply's room"))
		return;
	said = loop_answer(question);
	memcpy(reply.data, &said, sizeof said);
	wanted(rcOk, DcmReply(request, &reply), "replying");
	received++;
}

static void serve_calls(struct watched *w)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		DcmRequest request;
		Retcode rc = DcmReceive(w->handle, 0, &request);

		if (rc == rcTimeout || !wanted(rcOk, rc, "receiving"))
			return;
		answer(&request);
	}
}

static void read_notices(struct watched *w)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		DcmPubStatus status;
		Retcode rc = DcmReadPubQueue(w->handle, 0, &status, NULL, NULL, NULL);

		if (rc == rcTimeout || !wanted(rcOk, rc, "reading"))
			return;
		known[w->number] += status == DCM_PUBLISHED ? 1 : UINT32_MAX;
		notices++;
	}
}

static void tick(struct watched *w)
{
	uint64_t count = 0;

	if (read(w->fd, &count, sizeof count) == sizeof count)
		ticks += count;
}

static void set_timer(long first_ms, long every_ms)
{
	struct itimerspec when = {
		.it_value = { first_ms / 1000, first_ms % 1000 * 1000000 },
		.it_interval = { every_ms / 1000, every_ms % 1000 * 1000000 },
	};

	timerfd_settime(timer.fd, 0, &when, NULL);
}

static void open_all(void)
{
	char type[64], name[64];
	Handle listener;
	DcmHandle handle;

	loop = epoll_create1(EPOLL_CLOEXEC);
	wanted(rcOk, KnHandleCreateListener(&listener), "a listener");
	wanted(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "a callable handle");
	calls.ready = serve_calls;
	watch_handle(&calls, listener);
	for (unsigned int i = 0; i < LOOP_PUBLICATIONS; i++) {
		snprintf(name, sizeof name, "loop-%u", i);
		wanted(rcOk,
		       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), LOOP_TYPE, name,
					  &handle),
		       "publishing");
		publications[i].ready = accept_clients;
		watch_handle(&publications[i], handle);
	}
	for (unsigned int i = 0; i < LOOP_SUBSCRIPTIONS; i++) {
		snprintf(type, sizeof type, LOOP_NEWS "%u", i);
		wanted(rcOk, DcmSetSubscription(type, NULL, NULL, INVALID_HANDLE, &handle),
		       "subscribing");
		subscriptions[i].ready = read_notices;
		subscriptions[i].number = i;
		watch_handle(&subscriptions[i], handle);
	}
	timer.ready = tick;
	watch(&timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

static void close_all(void)
{
	for (unsigned int i = 0; i < LOOP_PUBLICATIONS; i++)
		wanted(rcOk, DcmCloseHandle(publications[i].handle), "unpublishing");
	for (unsigned int i = 0; i < LOOP_SUBSCRIPTIONS; i++)
		wanted(rcOk, DcmCloseHandle(subscriptions[i].handle), "unsubscribing");
	wanted(rcOk, KnHandleClose(callable), "closing the callable handle");
	wanted(rcOk, KnHandleClose(calls.handle), "closing the listener");
	close(timer.fd);
	close(loop);
}

static void turn(void)
{
	struct epoll_event events[32];
	int count = epoll_wait(loop, events, 32, -1);

	returns++;
	for (int i = 0; i < count; i++) {
		struct watched *w = events[i].data.ptr;

		w->ready(w);
	}
}

/* Until @word is at least @value. The timer alone ends the waits of a test that has lost something. */
static bool serve_until(_Atomic uint32_t *word, uint32_t value, const char *what)
{
	uint64_t seen = 0;
	int64_t end = now_ms() + LOOP_PATIENCE_MS;

	set_timer(TICK_MS, TICK_MS);
	while (atomic_load(word) < value && !too_many_wrong()) {
		turn();
		if (accepted + received != seen)
			end = now_ms() + LOOP_PATIENCE_MS;
		seen = accepted + received;
		if (now_ms() > end) {
			wrong("%s: %u of %u, and nothing moves: accepted %llu, received %llu", what,
			      atomic_load(word), value, (unsigned long long)accepted,
			      (unsigned long long)received);
			return false;
		}
	}
	return true;
}

/* The last news are read when there is nothing to do any more. */
static void settle(void)
{
	uint64_t before;

	set_timer(TICK_MS, 0);
	do {
		before = returns;
		set_timer(20 * TICK_MS, 0);
		do
			turn();
		while (ticks == 0);
		ticks = 0;
	} while (returns - before > 1);
}

/* How often a thread of this process has gone to sleep; @name: of the library's, null: this one. */
static uint64_t sleeps_of(const char *name)
{
	char path[300], line[256], comm[64] = "";
	unsigned long long sleeps = 0;
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		FILE *f;

		if (entry->d_name[0] == '.' ||
		    (name == NULL && atoi(entry->d_name) != (int)getpid()))
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		f = fopen(path, "r");
		while (f != NULL && fgets(line, sizeof line, f) != NULL) {
			sscanf(line, "Name:\t%63s", comm);
			if (name == NULL || strcmp(comm, name) == 0)
				sscanf(line, "voluntary_ctxt_switches: %llu", &sleeps);
		}
		if (f != NULL)
			fclose(f);
	}
	if (dir != NULL)
		closedir(dir);
	return sleeps;
}

static unsigned int threads(void)
{
	unsigned int count = 0;
	DIR *dir = opendir("/proc/self/task");

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return count - 2;
}

static void test_idle(long ms)
{
	uint64_t own, keeper, turns;

	if (TAP_TSAN)
		skip("ThreadSanitizer has threads of its own, and begins them when it likes");
	else
		is_uint(threads_before + 1, threads(),
			"the library has one thread, the program no more");
	own = sleeps_of(NULL);
	keeper = sleeps_of("dcm-keeper");
	turns = returns;
	set_timer(ms, 0);
	turn();
	own = sleeps_of(NULL) - own;
	keeper = sleeps_of("dcm-keeper") - keeper;
	note("idle for %ld ms: this thread slept %llu times, the library's %llu", ms,
	     (unsigned long long)own, (unsigned long long)keeper);
	is_uint(1, ticks, "idle: the timer alone has ended the wait");
	is_uint(1, returns - turns, "idle: one wait");
	/* To read /proc may be a sleep or two. */
	ok(own <= 4, "idle: this thread was not woken meanwhile");
	ok(keeper <= (uint64_t)ms / 1000 + 2, "idle: the library's at most once a second");
}

static void test_serving(uint64_t total)
{
	uint64_t before;
	int64_t began;

	serve_until(&shared->connected, LOOP_CLIENTS, "connecting");
	is_uint(LOOP_CLIENTS, accepted, "all clients are accepted");
	before = returns;
	began = now_ms();
	atomic_store(&shared->go, 1);
	serve_until(&shared->over, LOOP_PROCESSES, "calling");
	note("%llu calls in %lld ms, %llu returns of epoll_wait, the longest call %llu us, "
	     "%llu notices, %llu ticks",
	     (unsigned long long)received, (long long)(now_ms() - began),
	     (unsigned long long)(returns - before),
	     (unsigned long long)atomic_load(&shared->longest_us), (unsigned long long)notices,
	     (unsigned long long)ticks);
	is_uint(total, received, "all calls are received");
	is_uint(total, atomic_load(&shared->answered), "and all answers");
	ok(ticks > 0, "the timer was served beside them");
	ticks = 0;
	settle();
	for (unsigned int i = 0; i < LOOP_SUBSCRIPTIONS; i++)
		is_uint(atomic_load(&shared->live[i]), known[i],
			"subscription %u knows what is published", i);
}

int main(void)
{
	uint64_t each = tap_scaled(CALLS) / LOOP_PROCESSES;
	pid_t children[LOOP_PROCESSES];

	plan_lazy();
	tap_watchdog((unsigned int)(300 * (1 + tap_scale())));
	tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "1048576", 1);
	shared = shared_memory(sizeof *shared);
	shared->calls = each;
	for (unsigned int i = 0; i < LOOP_PROCESSES; i++) {
		children[i] = fork_child();
		if (children[i] == 0) {
			loop_client(shared, i);
			_exit(0);
		}
	}
	threads_before = threads();
	wanted(rcOk, DcmInit(), "DcmInit");
	open_all();
	test_serving(each * LOOP_PROCESSES);
	test_idle(tap_scale() >= 4 ? IDLE_MS : IDLE_MS_SHORT);
	atomic_store(&shared->end, 1);
	for (unsigned int i = 0; i < LOOP_PROCESSES; i++) {
		int status = -1;

		waitpid(children[i], &status, 0);
		is_int(0, status, "client process %u ends well", i);
	}
	close_all();
	DcmFini();
	return 0;
}
