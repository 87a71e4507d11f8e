/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nobody asks the kernel to wake a thread where none sleeps: events are set and fetched, endpoints
 * are published to many subscribers, and both sides of a session call, reply and send, in processes
 * whose every system call is counted. asan: no, tsan: no (they make calls of their own)
 */
#define _GNU_SOURCE
#include <ck_pr.h>
#include <coresrv/handle/notice_api.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_trap.h"

#define USER (1u << 16)
#define TYPE "test.NoCalls"

enum { OBJECTS = 4, ROUNDS = 100 };
enum { SUBSCRIBERS_MAX = 64, PUBLICATIONS = 16, PAIRS = 1000 };
enum { WARM_UP = 100, TRIPS = 500, WINDOWS_LEAST = 100, OF_WINDOW = 5 };

/* How long both sides of a session may take to be let run at one time. */
#define TOGETHER_NS_MOST (30 * S_NS)

/* What the processes of one scene say to each other without a call. */
static struct board {
	_Atomic uint32_t ready, warm, trapped, over;
	_Atomic long first;	  /* number of the first system call that was made; -1: none */
	_Atomic uint32_t seconds; /* whole ones, that it took */
	_Atomic uint32_t served;
	_Atomic uint32_t quiet[2]; /* windows in which a side made no call */
	_Atomic uint32_t windows;  /* the number of the last, told before it begins; 0: not yet */
} * board;

static void spin_until(_Atomic uint32_t *word, uint32_t least)
{
	while (atomic_load(word) < least)
		ck_pr_stall();
}

static void sleep_until(_Atomic uint32_t *word, uint32_t least)
{
	while (atomic_load(word) < least)
		pause_ms(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * S_NS + now.tv_nsec;
}

static void begin_scene(void)
{
	*board = (struct board){ .first = -1 };
}

/* A child that exits with what @run returns. */
static pid_t child(int (*run)(const void *arg), const void *arg)
{
	void *volatile more; /* not left out by the compiler */
	pid_t pid = fork();

	if (pid == 0) {
		/* The C library's calls for more memory come now, not later. */
		mallopt(M_TOP_PAD, 8 << 20);
		mallopt(M_MMAP_THRESHOLD, 1 << 20);
		more = malloc((1 << 20) - 4096);
		free(more);
		_exit(run(arg));
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
								    : TRAP_FAILED;
}

/* One result: so many system calls at the most. */
static void has_made(int status, unsigned most, const char *what)
{
	if (status == TRAP_NONE)
		skip("no system call filter can be installed here");
	else if (!ok(status <= (int)most, "%s", what))
		diag("  made %d, and not %u, the first of them number %ld", status, most,
		     atomic_load(&board->first));
}

/* From here on this thread's calls count. Its keeper is at rest by then: what it still had to do may
   hold a lock for a moment that this thread wants, which is no needless call. */
static bool trap_now(void)
{
	return process_asleep(keeper_tid()) && trap_calls();
}

static int finish_trapped(void)
{
	if (trap_first() >= 0)
		atomic_store(&board->first, trap_first());
	return trap_status();
}

/* How many system calls are made by those who set events, and fetch what is there. */
static int set_and_fetch(const void *unused)
{
	EventDesc event[OBJECTS];
	Handle object[OBJECTS];
	size_t count, fetched = 0;
	Notice notice;

	(void)unused;
	must(KnNoticeCreate(&notice));
	for (size_t i = 0; i < OBJECTS; i++) {
		must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
					      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
					      &object[i]));
		must(KnNoticeSubscribeToObject(notice, object[i], USER, i));
	}
	/* Somebody has waited, and gone. */
	if (KnNoticeGetEvent(notice, 1, 1, event, &count) != rcTimeout)
		return TRAP_FAILED;
	if (!trap_calls())
		return TRAP_NONE;
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < OBJECTS; i++)
			KnNoticeSetObjectEvent(object[i], USER);
		if (KnNoticeGetEvent(notice, INFINITE_TIMEOUT, OBJECTS, event, &count) == rcOk)
			fetched += count;
	}
	return fetched == (size_t)OBJECTS * ROUNDS ? finish_trapped() : TRAP_FAILED;
}

static void test_events(void)
{
	char what[96];

	snprintf(what, sizeof(what), "%d events are set and fetched without a system call",
		 OBJECTS * ROUNDS);
	begin_scene();
	has_made(status_of(child(set_and_fetch, NULL)), 0, what);
}

struct fan {
	unsigned subscribers;
	bool waited; /* they have slept before, and gave up */
};

/* Notices that are there: of publications alone, or of withdrawals too. */
static unsigned published_of(DcmHandle subscription, DcmTimeout timeout)
{
	unsigned published = 0;
	DcmPubStatus status;

	while (DcmReadPubQueue(subscription, timeout, &status, NULL, NULL, NULL) == rcOk)
		published += status == DCM_PUBLISHED;
	return published;
}

/* It sleeps, but not for us. */
static int subscriber(const void *arg)
{
	const struct fan *fan = arg;
	DcmHandle subscription;
	unsigned published = 0;

	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	(void)published_of(subscription, 0);
	atomic_fetch_add(&board->ready, 1);
	sleep_until(&board->warm, 1);
	(void)published_of(subscription, fan->waited ? 1 : 0);
	atomic_fetch_add(&board->ready, 1);
	sleep_until(&board->over, 1);
	for (int tries = 0; published < PUBLICATIONS && tries < 1000; tries++) {
		published += published_of(subscription, 0);
		pause_ms(1);
	}
	atomic_fetch_add(&board->served, published == PUBLICATIONS);
	atomic_fetch_add(&board->ready, 1);
	DcmFini();
	return 0;
}

static void publish_all(DcmHandle *publications)
{
	for (int i = 0; i < PUBLICATIONS; i++) {
		char name[16] = { 'n', (char)('a' + i) };

		must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name,
					&publications[i]));
	}
}

static int publisher(const void *arg)
{
	const struct fan *fan = arg;
	DcmHandle publications[PUBLICATIONS];

	must(DcmInit());
	sleep_until(&board->ready, fan->subscribers);
	publish_all(publications);
	for (int i = 0; i < PUBLICATIONS; i++)
		must(DcmCloseHandle(publications[i]));
	atomic_store(&board->warm, 1);
	sleep_until(&board->ready, 2 * fan->subscribers);
	if (!trap_now()) {
		atomic_store(&board->over, 1);
		return TRAP_NONE;
	}
	publish_all(publications);
	atomic_store(&board->over, 1);
	spin_until(&board->ready, 3 * fan->subscribers);
	return finish_trapped();
}

static void test_publishing(unsigned subscribers, bool waited)
{
	const struct fan fan = { .subscribers = subscribers, .waited = waited };
	pid_t pids[SUBSCRIBERS_MAX];
	char what[128];
	int status;

	begin_scene();
	for (unsigned i = 0; i < subscribers; i++)
		pids[i] = child(subscriber, &fan);
	status = status_of(child(publisher, &fan));
	for (unsigned i = 0; i < subscribers; i++)
		(void)status_of(pids[i]);
	/* Who has slept leaves a mark that one needless wake takes away. */
	snprintf(what, sizeof(what), "%d endpoints are published to %u subscribers%s", PUBLICATIONS,
		 subscribers, waited ? " that have slept before: one wake" : ": no system call");
	has_made(status, waited ? 1 : 0, what);
	if (status != TRAP_NONE)
		is_uint(subscribers, atomic_load(&board->served), "which hear of all of them");
}

static void publish_and_withdraw(unsigned pairs)
{
	DcmHandle publication;

	for (unsigned i = 0; i < pairs; i++) {
		must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "passing",
					&publication));
		must(DcmCloseHandle(publication));
	}
}

/* What is closed is freed by the keeper, which comes by itself while there is more of it. */
static int one_who_comes_and_goes(const void *unused)
{
	int64_t since;

	(void)unused;
	must(DcmInit());
	publish_and_withdraw(WARM_UP);
	pause_ms(1);
	publish_and_withdraw(WARM_UP);
	if (!trap_calls())
		return TRAP_NONE;
	since = now_ns();
	publish_and_withdraw(PAIRS);
	atomic_store(&board->seconds, (uint32_t)((now_ns() - since) / S_NS));
	return finish_trapped();
}

static void test_coming_and_going(void)
{
	char what[96];
	int status;

	begin_scene();
	status = status_of(child(one_who_comes_and_goes, NULL));
	snprintf(what, sizeof(what), "%d endpoints are published and withdrawn: no system call",
		 PAIRS);
	/* Who comes so slowly that a second passes meanwhile may ask for it. */
	has_made(status, atomic_load(&board->seconds), what);
}

/* Both sides of a session. */
struct session_side {
	uint32_t policy;
	unsigned windows, trips; /* so many windows, at the least, of so many trips */
	bool until_quiet;	 /* and more, until each side has made no call in one of them */
};

/* Each side has a processor of its own, if there are two: where both are put on one, by chance and
   for as long as they run, they can only take turns. */
static void stay_on(unsigned which)
{
	cpu_set_t all, one;
	unsigned left;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		sysbail("sched_getaffinity");
	left = which % (unsigned)CPU_COUNT(&all);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all) || left-- != 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		if (sched_setaffinity(0, sizeof(one), &one) != 0)
			sysbail("sched_setaffinity");
		return;
	}
}

static void answer(Handle listener)
{
	DcmRequest request = must_receive(listener);

	if ((request.flags & DCM_REQUEST_ONE_WAY) != 0)
		must(DcmRelease(&request.message));
	else
		must_reply(&request, "8 bytes", 8, 0);
}

static Handle accept_one(void)
{
	DcmHandle publication, connection;
	Handle listener, callable;

	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					&callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "s", &publication));
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &connection));
	must(DcmAccept(connection, callable, INVALID_HANDLE));
	must(DcmCloseHandle(connection));
	return listener;
}

/* From here on its calls count, when the other side has come as far. */
static bool trap_both(void)
{
	bool trapped = trap_now();

	if (!trapped)
		atomic_store(&board->over, 1);
	atomic_fetch_add(&board->trapped, 1);
	spin_until(&board->trapped, 2);
	return trapped && atomic_load(&board->over) == 0;
}

static int server(const void *arg)
{
	const struct session_side *side = arg;
	unsigned window = 0;
	Handle listener;

	must(DcmInit());
	stay_on(0);
	listener = accept_one();
	must(DcmSetWaitPolicy(listener, side->policy, -1));
	for (int i = 0; i < 2 * WARM_UP; i++)
		answer(listener);
	if (!trap_both())
		return TRAP_NONE;
	do {
		unsigned before = trap_count();

		for (unsigned i = 0; i < 2 * side->trips; i++)
			answer(listener);
		if (trap_count() == before)
			atomic_fetch_add(&board->quiet[0], 1);
	} while (++window != atomic_load(&board->windows));
	atomic_store(&board->served, 1);
	return finish_trapped();
}

/* There and back, and one that only goes there. */
static void trip(Handle session)
{
	DcmMessage message = must_loan(session, 8), reply;

	must(DcmCall(session, &message, FOREVER_NS, &reply));
	must(DcmRelease(&reply));
	message = must_loan(session, 8);
	must(DcmSend(session, &message, FOREVER_NS));
}

/* Is this window the last one? */
static bool is_last(const struct session_side *side, unsigned window, int64_t since_ns)
{
	bool quiet = atomic_load(&board->quiet[0]) != 0 && atomic_load(&board->quiet[1]) != 0;

	return window >= side->windows &&
	       (!side->until_quiet || quiet || since_ns >= TOGETHER_NS_MOST);
}

static int client(const void *arg)
{
	const struct session_side *side = arg;
	unsigned window = 0;
	int64_t since;
	Handle session;

	must(DcmInit());
	stay_on(1);
	must(DcmConnectAny(TYPE, &session));
	must(DcmSetWaitPolicy(session, side->policy, -1));
	since = now_ns();
	for (int i = 0; i < WARM_UP; i++)
		trip(session);
	if (!trap_both())
		return TRAP_NONE;
	do {
		unsigned before = trap_count();

		if (is_last(side, window + 1, now_ns() - since))
			atomic_store(&board->windows, window + 1);
		for (unsigned i = 0; i < side->trips; i++)
			trip(session);
		if (trap_count() == before)
			atomic_fetch_add(&board->quiet[1], 1);
	} while (++window != atomic_load(&board->windows));
	/* What it has sent is heard while it lives. */
	spin_until(&board->served, 1);
	atomic_store(&board->seconds, (uint32_t)((now_ns() - since) / S_NS));
	return finish_trapped();
}

/* Return: whether calls were counted. */
static bool run_session(const struct session_side *side, int status[2])
{
	pid_t pids[2];

	begin_scene();
	pids[0] = child(server, side);
	pids[1] = child(client, side);
	status[0] = status_of(pids[0]);
	status[1] = status_of(pids[1]);
	return status[0] != TRAP_NONE && status[1] != TRAP_NONE;
}

/*
 * A call that waits for a second asks the keeper for its look at what may be lost; and a keeper that
 * finds a side quiet for a second takes back under its lock what the other has let go of: whoever
 * comes back at that moment waits for the lock, wakes who waits behind it, and the keeper.
 */
enum { CALLS_A_SECOND = 4 };

static void test_spinning(void)
{
	const struct session_side side = { DCM_WAIT_SPIN, 1, TRIPS, false };
	int status[2];
	unsigned most;

	(void)run_session(&side, status);
	most = CALLS_A_SECOND * atomic_load(&board->seconds);
	has_made(status[0], most, "a server that spins answers and hears without a system call");
	has_made(status[1], most, "a client that spins calls and sends without a system call");
}

/* A side that is not let run for long enough falls asleep: not in each of many short times. */
static void test_adaptive(void)
{
	const struct session_side side = { DCM_WAIT_ADAPTIVE, WINDOWS_LEAST, OF_WINDOW, true };
	int status[2];
	cpu_set_t all;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		sysbail("sched_getaffinity");
	if (CPU_COUNT(&all) < 2) {
		skip_block(2, "one processor: who waits must sleep for the other to be awake");
		return;
	}
	if (!run_session(&side, status)) {
		skip_block(2, "no system call filter can be installed here");
		return;
	}
	ok(atomic_load(&board->quiet[0]) != 0,
	   "by the default policy a server makes none while its client is awake");
	ok(atomic_load(&board->quiet[1]) != 0, "nor does a client while its server is");
	note("%d and %d calls, none in %u and %u of %u times %d trips", status[0], status[1],
	     atomic_load(&board->quiet[0]), atomic_load(&board->quiet[1]),
	     atomic_load(&board->windows), OF_WINDOW);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED)
		sysbail("mmap");
	test_events();
	test_publishing(1, false);
	test_publishing(8, false);
	test_publishing(SUBSCRIBERS_MAX, false);
	test_publishing(1, true);
	test_publishing(8, true);
	test_coming_and_going();
	test_spinning();
	test_adaptive();
	return 0;
}
