/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * One thread that waits for the descriptors of a publication, a listener, a subscription, a session,
 * a connection and two notices, by poll, epoll, edge-triggered epoll and io_uring: another process goes
 * on only when it has been served, so an event that is lost is a thread that stays where it is.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/stress/lib_stress.h"
#include "tests/stress/lib_waits.h"
#include "tests/tap.h"

#define HERE  "test.Waits.Here"
#define THERE "test.Waits.There"
#define NEWS  "test.Waits.News"

enum { ROUNDS = 400, STARTED = 4, PATIENCE_MS = 20 * 1000 };

enum { PUBLICATION, LISTENER, SUBSCRIPTION, SESSION, CONNECTION, NOTICE, OTHER_NOTICE };

static struct memory {
	uint32_t rounds;
	_Atomic uint32_t ready, over, end; /* the peer's threads that are over */
	_Atomic uint32_t asked, called, published, withdrawn;
} * shared;

/* The other process: a thread for each of what the loop is told of. */

static Handle listener, callable;
static DcmHandle publication;
static uint64_t seed;

/* Of two processors one is the loop's: sometimes it is asleep when something comes, sometimes not. */
static void nap(uint64_t *dice)
{
	if (draw(dice, 4) == 0)
		nap_us((long)draw(dice, 300));
}

/* Asks under both names, one of which is a notice's, and is refused each time. */
static void *asks(void *unused)
{
	static const char *const names[] = { "fd", "notice" };
	uint64_t dice = seed + 1;

	(void)unused;
	for (uint32_t i = 0; i < shared->rounds && !too_many_wrong(); i++) {
		DcmHandle connection = DCM_INVALID_HANDLE;
		Handle session;

		wanted(rcOk,
		       DcmCreateConnection(HERE, names[i % 2], INVALID_HANDLE, INVALID_HANDLE,
					   &connection),
		       "a connection");
		wanted(rcNotConnected, DcmConnect(connection, PATIENCE_MS, &session),
		       "request %u, by %s", i, names[i % 2]);
		wanted(rcOk, DcmCloseHandle(connection), "closing it");
		atomic_fetch_add(&shared->asked, 1);
		nap(&dice);
	}
	atomic_fetch_add(&shared->over, 1);
	return NULL;
}

static void *calls(void *unused)
{
	uint64_t dice = seed + 2;
	Handle session = INVALID_HANDLE;

	(void)unused;
	wanted(rcOk,
	       DcmConnectAnyEx(HERE, "calls", NULL, INVALID_HANDLE, INVALID_HANDLE, PATIENCE_MS,
			       PATIENCE_MS, &session),
	       "a session");
	for (uint32_t i = 0; i < shared->rounds && !too_many_wrong(); i++) {
		DcmMessage message;

		if (!wanted(rcOk, DcmLoan(session, 64, -1, &message), "a loan"))
			break;
		wanted(rcOk, DcmCall(session, &message, PATIENCE_MS * INT64_C(1000000), NULL),
		       "call %u", i);
		atomic_fetch_add(&shared->called, 1);
		nap(&dice);
	}
	wanted(rcOk, KnHandleClose(session), "closing the session");
	atomic_fetch_add(&shared->over, 1);
	return NULL;
}

/* Goes on when its news was read. */
static void *publishes(void *unused)
{
	uint64_t dice = seed + 3;

	(void)unused;
	for (uint32_t i = 1; i <= shared->rounds && !too_many_wrong(); i++) {
		DcmHandle news;

		wanted(rcOk,
		       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), NEWS, "n", &news),
		       "publishing");
		if (!nap_until(&shared->published, i, PATIENCE_MS))
			wrong("publication %u was not heard of", i);
		nap(&dice);
		wanted(rcOk, DcmCloseHandle(news), "withdrawing");
		if (!nap_until(&shared->withdrawn, i, PATIENCE_MS))
			wrong("withdrawal %u was not heard of", i);
		nap(&dice);
	}
	atomic_fetch_add(&shared->over, 1);
	return NULL;
}

/* Serves the calls that the loop has started, each after a while. */
static void *answers(void *unused)
{
	uint64_t dice = seed + 4;
	DcmRequest request;
	DcmMessage reply;
	Retcode rc;

	(void)unused;
	while ((rc = DcmReceive(listener, -1, &request)) == rcOk) {
		nap(&dice);
		if (draw(&dice, 8) == 0) {
			wanted(rcOk, DcmRelease(&request.message), "releasing a request");
			continue;
		}
		wanted(rcOk, DcmLoanReply(&request, 8, &reply), "a reply's room");
		wanted(rcOk, DcmReply(&request, &reply), "a reply");
	}
	wanted(rcNotConnected, rc, "receiving");
	return NULL;
}

/* Every other request of the loop's is refused. */
static void *decides(void *unused)
{
	uint64_t dice = seed + 5;
	DcmHandle request;
	Retcode rc;

	(void)unused;
	for (uint32_t i = 0;
	     (rc = DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request)) == rcOk; i++) {
		nap(&dice);
		if (i % 2 == 0)
			wanted(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "accepting");
		wanted(rcOk, DcmCloseHandle(request), "deciding");
	}
	wanted(rcNotConnected, rc, "listening");
	return NULL;
}

static Handle callable_on(Handle ear)
{
	Handle made = INVALID_HANDLE;

	wanted(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, ear, 1,
					  &made),
	       "a callable handle");
	return made;
}

static void other_process(void)
{
	void *(*const run[])(void *) = { asks, calls, publishes, answers, decides };
	enum { THREADS = sizeof run / sizeof run[0] };
	pthread_t threads[THREADS];

	wanted(rcOk, DcmInit(), "DcmInit");
	wanted(rcOk, KnHandleCreateListener(&listener), "a listener");
	callable = callable_on(listener);
	wanted(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), THERE, "t", &publication),
	       "publishing");
	for (unsigned int i = 0; i < THREADS; i++)
		threads[i] = start_thread(run[i], NULL);
	nap_until(&shared->end, 1, 10 * PATIENCE_MS);
	wanted(rcOk, DcmCloseHandle(publication), "unpublishing");
	wanted(rcOk, KnHandleClose(listener), "closing the listener");
	for (unsigned int i = 0; i < THREADS; i++)
		join_thread(threads[i]);
	wanted(rcOk, KnHandleClose(callable), "closing the callable handle");
	DcmFini();
}

/* The loop. */

static struct waits waits;
static bool drains; /* else it takes one thing each time */
static struct loop {
	DcmHandle asked, called, noticed, news, connection;
	Handle ear, callable, session;
	Notice notice, other_notice;
	uint32_t decided, finished, events;
	uint32_t started;
} me;

static void follow(unsigned int number, uint64_t handle)
{
	int fd = -1;

	if (wanted(rcOk, DcmGetFd(handle, &fd), "descriptor %u", number))
		waits_add(&waits, number, fd);
}

/* False: it is the last that a loop that drains takes, and there is none. */
static bool take_request(DcmHandle of, bool accepts)
{
	DcmHandle request;
	Retcode rc = DcmListen(of, 0, NULL, NULL, &request);

	if (rc == rcTimeout || !wanted(rcOk, rc, "listening"))
		return false;
	if (accepts)
		wanted(rcOk, DcmAccept(request, me.callable, INVALID_HANDLE), "accepting");
	wanted(rcOk, DcmCloseHandle(request), "deciding");
	return true;
}

static bool take_asked(void)
{
	return take_request(me.asked, false);
}

static bool take_call(void)
{
	DcmMessage reply;
	DcmRequest request;
	Retcode rc = DcmReceive(me.ear, 0, &request);

	if (rc == rcTimeout || !wanted(rcOk, rc, "receiving"))
		return false;
	wanted(rcOk, DcmLoanReply(&request, 8, &reply), "a reply's room");
	wanted(rcOk, DcmReply(&request, &reply), "replying");
	return true;
}

static bool take_news(void)
{
	DcmPubStatus status = 0;
	Retcode rc = DcmReadPubQueue(me.news, 0, &status, NULL, NULL, NULL);

	if (rc == rcTimeout || !wanted(rcOk, rc, "reading"))
		return false;
	atomic_fetch_add(status == DCM_PUBLISHED ? &shared->published : &shared->withdrawn, 1);
	return true;
}

static void start_one(void)
{
	DcmMessage message;
	uint64_t call;

	if (me.started >= shared->rounds ||
	    !wanted(rcOk, DcmLoan(me.session, 8, -1, &message), "a loan"))
		return;
	wanted(rcOk, DcmStart(me.session, &message, -1, &call), "a call");
	me.started++;
}

static bool take_reply(void)
{
	DcmMessage reply = { .data = NULL };
	Retcode rc = DcmFinish(me.session, DCM_ANY_CALL, 0, NULL, &reply);

	if (rc == rcTimeout || rc == rcResourceNotFound)
		return false;
	if (rc != rcNotConnected)
		wanted(rcOk, rc, "finishing");
	wanted(rcOk, DcmRelease(&reply), "releasing");
	me.finished++;
	start_one();
	return true;
}

static void ask(void)
{
	wanted(rcOk,
	       DcmCreateConnection(THERE, "t", INVALID_HANDLE, INVALID_HANDLE, &me.connection),
	       "a connection");
	follow(CONNECTION, me.connection);
}

/* Asks, or hears what became of that, and asks again. */
static bool take_decision(void)
{
	Handle session;
	Retcode rc = DcmConnect(me.connection, 0, &session);

	if (rc == rcTimeout)
		return false;
	me.decided++;
	if (rc == rcNotConnected)
		return me.decided < shared->rounds;
	if (!wanted(rcOk, rc, "connecting"))
		return false;
	wanted(rcOk, KnHandleClose(session), "closing a session");
	wanted(rcOk, DcmCloseHandle(me.connection), "closing a connection");
	ask();
	return me.decided < shared->rounds;
}

/* Of both notices: what is fetched is what is done then. */
static bool take_event(void)
{
	EventDesc event;
	size_t count;

	if (KnNoticeGetEvent(me.notice, 0, 1, &event, &count) != rcOk)
		return false;
	while (take_request(me.noticed, false))
		;
	return true;
}

static bool take_other_event(void)
{
	EventDesc event;
	size_t count;

	if (KnNoticeGetEvent(me.other_notice, 0, 1, &event, &count) != rcOk)
		return false;
	while (take_request(me.called, true))
		;
	return true;
}

/* A decision is one thing: to hear it and to ask again are two calls. */
static void serve(unsigned int ready)
{
	static bool (*const take[])(void) = { take_asked,      take_call,     take_news,
					      take_reply,      take_decision, take_event,
					      take_other_event };

	for (unsigned int i = 0; i < sizeof take / sizeof take[0]; i++)
		if ((ready >> i & 1) != 0)
			while (take[i]() && (drains || i == CONNECTION))
				;
}

static DcmHandle publish(const char *name)
{
	DcmHandle made = DCM_INVALID_HANDLE;

	wanted(rcOk, DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), HERE, name, &made),
	       "publishing");
	return made;
}

static Notice notice_of(DcmHandle handle)
{
	Notice made = 0;

	wanted(rcOk, KnNoticeCreate(&made), "a notice");
	wanted(rcOk, DcmSubscribeToEvents(made, handle, DCM_CLIENT_CONNECTED, 7), "its events");
	return made;
}

static void open_all(void)
{
	me = (struct loop){ .asked = publish("fd") };
	wanted(rcOk, KnHandleCreateListener(&me.ear), "a listener");
	me.callable = callable_on(me.ear);
	me.noticed = publish("notice");
	me.called = publish("calls");
	me.notice = notice_of(me.noticed);
	me.other_notice = notice_of(me.called);
	wanted(rcOk, DcmSetSubscription(NEWS, NULL, NULL, INVALID_HANDLE, &me.news), "news");
	follow(PUBLICATION, me.asked);
	follow(LISTENER, me.ear);
	follow(SUBSCRIPTION, me.news);
	follow(NOTICE, me.notice);
	follow(OTHER_NOTICE, me.other_notice);
	wanted(rcOk,
	       DcmConnectAnyEx(THERE, "t", NULL, INVALID_HANDLE, INVALID_HANDLE, PATIENCE_MS,
			       PATIENCE_MS, &me.session),
	       "a session");
	follow(SESSION, me.session);
	ask();
	while (take_decision())
		;
	for (unsigned int i = 0; i < STARTED; i++)
		start_one();
}

static void close_all(void)
{
	wanted(rcOk, KnHandleClose(me.session), "closing the session");
	wanted(rcOk, DcmCloseHandle(me.connection), "closing the connection");
	wanted(rcOk, DcmCloseHandle(me.news), "closing the subscription");
	wanted(rcOk, KnNoticeRelease(me.notice), "releasing");
	wanted(rcOk, KnNoticeRelease(me.other_notice), "releasing");
	wanted(rcOk, DcmCloseHandle(me.asked), "unpublishing");
	wanted(rcOk, DcmCloseHandle(me.noticed), "unpublishing");
	wanted(rcOk, DcmCloseHandle(me.called), "unpublishing");
	wanted(rcOk, KnHandleClose(me.callable), "closing the callable handle");
	wanted(rcOk, KnHandleClose(me.ear), "closing the listener");
}

static uint64_t progress(void)
{
	return (uint64_t)me.decided + me.finished + shared->asked + shared->called +
	       shared->published + shared->withdrawn + shared->over;
}

/* Nothing is looked at but what is readable. */
static bool all_is_served(void)
{
	int64_t end = now_ms() + PATIENCE_MS;
	uint64_t seen = 0;

	while (shared->over < 3 || me.decided < shared->rounds || me.finished < shared->rounds) {
		serve(waits_for(&waits, 100));
		if (progress() != seen)
			end = now_ms() + PATIENCE_MS;
		seen = progress();
		if (now_ms() > end)
			return false;
	}
	return true;
}

static void test_way(enum way way, bool to_the_last)
{
	const char *how = to_the_last ? "all there is each time" : "one thing each time";
	int status = -1;
	bool served;
	pid_t other;

	memset(shared, 0, sizeof *shared);
	shared->rounds = (uint32_t)tap_scaled(ROUNDS);
	drains = to_the_last;
	other = fork_child();
	if (other == 0) {
		other_process();
		_exit(tap_failed() != 0);
	}
	wanted(rcOk, DcmInit(), "DcmInit");
	if (!waits_open(&waits, way)) {
		skip("%s is not to be had", waits_name(way));
	} else {
		open_all();
		served = all_is_served();
		ok(served,
		   "%s, %s: %u requests, %u calls, %u + %u notices, %u replies, %u decisions",
		   waits_name(way), how, shared->asked, shared->called, shared->published,
		   shared->withdrawn, me.finished, me.decided);
		close_all();
		waits_close(&waits);
	}
	atomic_store(&shared->end, 1);
	waitpid(other, &status, 0);
	is_int(0, status, "  and the other process heard all it should");
	DcmFini();
}

int main(void)
{
	plan_lazy();
	tap_watchdog((unsigned int)(300 * (1 + tap_scale())));
	seed = tap_seed();
	tap_fabric_dir();
	shared = shared_memory(sizeof *shared);
	for (enum way way = 0; way < WAYS; way++)
		test_way(way, true);
	test_way(WAY_POLL, false);
	test_way(WAY_LEVEL, false);
	test_way(WAY_URING, false);
	return 0;
}
