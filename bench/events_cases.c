/* SPDX-License-Identifier: BSD-2-Clause */
/* What is measured: setting and fetching events, descriptors, and calls to who waits by one. */
#define _GNU_SOURCE
#include "bench/events.h"

#include <dcm/dcm.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/lib_need.h"

#define TYPE	  "bench.Events"
#define READ_TYPE "bench.Read"
#define USER	  (1u << 16)
#define ANSWER_NS (INT64_C(10) * 1000 * 1000 * 1000)

/* Of the reader, and how long it leaves them: what comes meanwhile fits into their rings. */
enum { SUBSCRIPTIONS = 8, UNREAD_NS = 1000 * 1000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *const server_names[EVENTS_SERVERS] = { "sleeper", "badge", "loop", "reader" };

static void lock_turn(struct events_thing *t)
{
	(void)t;
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void object_begin(struct events_thing *t)
{
	bench_need(rcOk,
		   KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
					    OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
					    &t->object),
		   "KnHandleCreateUserObject");
}

static void object_end(struct events_thing *t)
{
	bench_need(rcOk, KnHandleClose(t->object), "KnHandleClose");
}

static void notice_begin(struct events_thing *t)
{
	object_begin(t);
	bench_need(rcOk, KnNoticeCreate(&t->notice), "KnNoticeCreate");
	bench_need(rcOk, KnNoticeSubscribeToObject(t->notice, t->object, USER, 1),
		   "KnNoticeSubscribeToObject");
}

static void notice_end(struct events_thing *t)
{
	bench_need(rcOk, KnNoticeRelease(t->notice), "KnNoticeRelease");
	object_end(t);
}

static void notice_fd_begin(struct events_thing *t)
{
	int unused;

	notice_begin(t);
	bench_need(rcOk, DcmGetFd(t->notice, &unused), "DcmGetFd");
}

static void set_turn(struct events_thing *t)
{
	bench_need(rcOk, KnNoticeSetObjectEvent(t->object, USER), "KnNoticeSetObjectEvent");
}

static void set_fetch_turn(struct events_thing *t)
{
	EventDesc event;
	size_t count;

	set_turn(t);
	bench_need(rcOk, KnNoticeGetEvent(t->notice, 0, 1, &event, &count), "KnNoticeGetEvent");
}

static void eventfd_begin(struct events_thing *t)
{
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->fd < 0)
		bench_fail("no eventfd");
}

static void eventfd_turn(struct events_thing *t)
{
	eventfd_t value;

	if (eventfd_write(t->fd, 1) != 0 || eventfd_read(t->fd, &value) != 0)
		bench_fail("the eventfd is not as it should be");
}

static void eventfd_end(struct events_thing *t)
{
	close(t->fd);
}

/* A listener with a channel, for one without knows that nothing can come. */
static void accept_session(struct events_thing *t, Handle callable, DcmHandle publication,
			   DcmHandle connection)
{
	DcmHandle request;

	bench_need(rcTimeout, DcmConnect(connection, 0, &t->session), "DcmConnect, begun");
	bench_need(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		   "DcmListen");
	bench_need(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
	bench_need(rcOk, DcmCloseHandle(request), "DcmCloseHandle");
	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &t->session), "DcmConnect");
}

static void receive_begin(struct events_thing *t)
{
	DcmHandle publication, connection;
	Handle callable;

	bench_need(rcOk, KnHandleCreateListener(&t->listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					      t->listener, 1, &callable),
		   "KnHandleCreateUserObjectEx");
	bench_need(
		rcOk,
		DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "own", &publication),
		"DcmPublishEndpoint");
	bench_need(rcOk,
		   DcmCreateConnection(TYPE, "own", INVALID_HANDLE, INVALID_HANDLE, &connection),
		   "DcmCreateConnection");
	accept_session(t, callable, publication, connection);
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
	bench_need(rcOk, DcmCloseHandle(publication), "DcmCloseHandle");
	bench_need(rcOk, KnHandleClose(callable), "KnHandleClose");
}

static void receive_fd_begin(struct events_thing *t)
{
	int unused;

	receive_begin(t);
	bench_need(rcOk, DcmGetFd(t->listener, &unused), "DcmGetFd");
}

static void receive_turn(struct events_thing *t)
{
	DcmRequest request;

	bench_need(rcTimeout, DcmReceive(t->listener, 0, &request), "DcmReceive of nothing");
}

static void receive_end(struct events_thing *t)
{
	bench_need(rcOk, KnHandleClose(t->session), "KnHandleClose");
	bench_need(rcOk, KnHandleClose(t->listener), "KnHandleClose");
}

static void call_begin(struct events_thing *t, enum events_waiting server)
{
	DcmHandle connection;

	bench_need(rcOk,
		   DcmCreateConnection(TYPE, server_names[server], INVALID_HANDLE, INVALID_HANDLE,
				       &connection),
		   "DcmCreateConnection");
	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &t->session), "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
}

static void call_sleeper_begin(struct events_thing *t)
{
	call_begin(t, EVENTS_SLEEPER);
}

/* With all that is checked on the way: a badge there, and a copy with no right but this here. */
static void call_badge_begin(struct events_thing *t)
{
	Handle whole;

	call_begin(t, EVENTS_BADGE);
	whole = t->session;
	bench_need(rcOk, KnHandleCopy(whole, OCAP_IPC_CALL, INVALID_HANDLE, &t->session),
		   "KnHandleCopy");
	bench_need(rcOk, KnHandleClose(whole), "KnHandleClose");
}

static void call_loop_begin(struct events_thing *t)
{
	call_begin(t, EVENTS_LOOP);
}

static void call_turn(struct events_thing *t)
{
	DcmMessage request, reply;

	bench_need(rcOk, DcmLoan(t->session, 64, 0, &request), "DcmLoan");
	bench_need(rcOk, DcmCall(t->session, &request, ANSWER_NS, &reply), "DcmCall");
	bench_need(rcOk, DcmRelease(&reply), "DcmRelease");
}

static void call_end(struct events_thing *t)
{
	bench_need(rcOk, KnHandleClose(t->session), "KnHandleClose");
}

/* Eight subscriptions of another process are told of each. */
static void publish_turn(struct events_thing *t)
{
	bench_need(rcOk,
		   DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), READ_TYPE, "passing",
				      &t->publication),
		   "DcmPublishEndpoint");
	bench_need(rcOk, DcmCloseHandle(t->publication), "DcmCloseHandle");
}

static void nothing(struct events_thing *t)
{
	(void)t;
}

enum {
	MUTEX,
	SET,
	SET_AGAIN,
	SET_FETCH,
	EVENTFD,
	SET_FETCH_FD,
	RECEIVE,
	RECEIVE_FD,
	CALL,
	CALL_BADGE,
	CALL_LOOP,
	PUBLISH,
	CASES
};

const struct events_case events_cases[] = {
	[MUTEX] = { "mutex", "a pthread mutex is locked and unlocked", 1000, MUTEX, nothing,
		    lock_turn, nothing },
	[SET] = { "set", "KnNoticeSetObjectEvent, nobody is subscribed", 1000, MUTEX, object_begin,
		  set_turn, object_end },
	[SET_AGAIN] = { "set-again", "subscribed, nobody waits, an event is there already", 1000,
			MUTEX, notice_begin, set_turn, notice_end },
	[SET_FETCH] = { "set-fetch", "nobody waits, and KnNoticeGetEvent fetches it", 1000, MUTEX,
			notice_begin, set_fetch_turn, notice_end },
	[EVENTFD] = { "eventfd", "an eventfd is written and read", 1000, MUTEX, eventfd_begin,
		      eventfd_turn, eventfd_end },
	[SET_FETCH_FD] = { "set-fetch-fd", "set and fetched, of a notice with a descriptor", 1000,
			   EVENTFD, notice_fd_begin, set_fetch_turn, notice_end },
	[RECEIVE] = { "receive", "DcmReceive finds nothing", 1000, MUTEX, receive_begin,
		      receive_turn, receive_end },
	[RECEIVE_FD] = { "receive-fd", "the same, of a listener with a descriptor", 1000, RECEIVE,
			 receive_fd_begin, receive_turn, receive_end },
	[CALL] = { "call", "DcmCall, 64 bytes, to a server in DcmReceive, which spins", 100, CALL,
		   call_sleeper_begin, call_turn, call_end },
	[CALL_BADGE] = { "call-badge", "the same with a badge, over a copy with fewer rights", 100,
			 CALL, call_badge_begin, call_turn, call_end },
	[CALL_LOOP] = { "call-loop", "DcmCall to a server asleep in epoll_wait", 10, CALL,
			call_loop_begin, call_turn, call_end },
	[PUBLISH] = { "publish", "published and withdrawn; 8 subscribed, who do not sleep", 50,
		      MUTEX, nothing, publish_turn, nothing },
};
const uint32_t events_case_count = CASES;

static void answer(DcmRequest *request)
{
	DcmMessage reply;

	bench_need(rcOk, DcmLoanReply(request, request->message.size, &reply), "DcmLoanReply");
	bench_need(rcOk, DcmReply(request, &reply), "DcmReply");
}

static void accept_one(DcmHandle publication, Handle callable, Handle badge)
{
	DcmHandle request;

	bench_need(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		   "DcmListen");
	bench_need(rcOk, DcmAccept(request, callable, badge), "DcmAccept");
	bench_need(rcOk, DcmCloseHandle(request), "DcmCloseHandle");
}

static void serve_sleeping(Handle at)
{
	DcmRequest request;

	for (;;) {
		bench_need(rcOk, DcmReceive(at, -1, &request), "DcmReceive");
		answer(&request);
	}
}

static void serve_in_loop(Handle at)
{
	int loop = epoll_create1(EPOLL_CLOEXEC), ready;
	struct epoll_event event = { .events = EPOLLIN };
	DcmRequest request;

	bench_need(rcOk, DcmGetFd(at, &ready), "DcmGetFd");
	epoll_ctl(loop, EPOLL_CTL_ADD, ready, &event);
	while (epoll_wait(loop, &event, 1, -1) == 1)
		while (DcmReceive(at, 0, &request) == rcOk)
			answer(&request);
}

static void read_awake(_Atomic uint32_t *ready)
{
	DcmHandle all[SUBSCRIPTIONS];

	for (int i = 0; i < SUBSCRIPTIONS; i++)
		bench_need(rcOk, DcmSetSubscription(READ_TYPE, NULL, NULL, INVALID_HANDLE, &all[i]),
			   "DcmSetSubscription");
	bench_raise(ready);
	for (;; bench_nap(UNREAD_NS))
		for (int i = 0; i < SUBSCRIPTIONS; i++)
			while (DcmReadPubQueue(all[i], 0, NULL, NULL, NULL, NULL) == rcOk)
				;
}

static Handle new_badge(void)
{
	Handle badge;
	Notice notice;

	bench_need(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	bench_need(rcOk, KnHandleCreateBadge(notice, 1, NULL, &badge), "KnHandleCreateBadge");
	return badge;
}

void events_serve(void *arg)
{
	struct events_server *server = arg;
	Handle callable, listener;
	DcmHandle publication;

	place_pin(server->place.far);
	bench_need(rcOk, DcmInit(), "the server's DcmInit");
	if (server->waiting == EVENTS_READER)
		read_awake(server->ready);
	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	bench_need(rcOk,
		   DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE,
				      server_names[server->waiting], &publication),
		   "DcmPublishEndpoint");
	bench_raise(server->ready);
	accept_one(publication, callable,
		   server->waiting == EVENTS_BADGE ? new_badge() : INVALID_HANDLE);
	if (server->waiting == EVENTS_LOOP)
		serve_in_loop(listener);
	else
		serve_sleeping(listener);
}
