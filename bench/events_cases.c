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

#define TYPE	  "bench.Events"
#define USER	  (1u << 16)
#define ANSWER_NS (INT64_C(10) * 1000 * 1000 * 1000)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Notice notice;
static Handle object, listener, session;
static int fd;

static void lock_turn(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void object_begin(void)
{
	bench_need(rcOk,
		   KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
					    OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
					    &object),
		   "KnHandleCreateUserObject");
}

static void object_end(void)
{
	bench_need(rcOk, KnHandleClose(object), "KnHandleClose");
}

static void notice_begin(void)
{
	object_begin();
	bench_need(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	bench_need(rcOk, KnNoticeSubscribeToObject(notice, object, USER, 1),
		   "KnNoticeSubscribeToObject");
}

static void notice_end(void)
{
	bench_need(rcOk, KnNoticeRelease(notice), "KnNoticeRelease");
	object_end();
}

static void notice_fd_begin(void)
{
	int unused;

	notice_begin();
	bench_need(rcOk, DcmGetFd(notice, &unused), "DcmGetFd");
}

static void set_turn(void)
{
	bench_need(rcOk, KnNoticeSetObjectEvent(object, USER), "KnNoticeSetObjectEvent");
}

static void set_fetch_turn(void)
{
	EventDesc event;
	size_t count;

	set_turn();
	bench_need(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count), "KnNoticeGetEvent");
}

static void eventfd_begin(void)
{
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		bench_fail("no eventfd");
}

static void eventfd_turn(void)
{
	eventfd_t value;

	if (eventfd_write(fd, 1) != 0 || eventfd_read(fd, &value) != 0)
		bench_fail("the eventfd is not as it should be");
}

static void eventfd_end(void)
{
	close(fd);
}

/* A listener with a channel, for one without knows that nothing can come. */
static void accept_session(Handle callable, DcmHandle publication, DcmHandle connection)
{
	DcmHandle request;

	bench_need(rcTimeout, DcmConnect(connection, 0, &session), "DcmConnect, begun");
	bench_need(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		   "DcmListen");
	bench_need(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
	bench_need(rcOk, DcmCloseHandle(request), "DcmCloseHandle");
	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
}

static void receive_begin(void)
{
	DcmHandle publication, connection;
	Handle callable;

	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	bench_need(
		rcOk,
		DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "own", &publication),
		"DcmPublishEndpoint");
	bench_need(rcOk,
		   DcmCreateConnection(TYPE, "own", INVALID_HANDLE, INVALID_HANDLE, &connection),
		   "DcmCreateConnection");
	accept_session(callable, publication, connection);
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
	bench_need(rcOk, DcmCloseHandle(publication), "DcmCloseHandle");
	bench_need(rcOk, KnHandleClose(callable), "KnHandleClose");
}

static void receive_fd_begin(void)
{
	int unused;

	receive_begin();
	bench_need(rcOk, DcmGetFd(listener, &unused), "DcmGetFd");
}

static void receive_turn(void)
{
	DcmRequest request;

	bench_need(rcTimeout, DcmReceive(listener, 0, &request), "DcmReceive of nothing");
}

static void receive_end(void)
{
	bench_need(rcOk, KnHandleClose(session), "KnHandleClose");
	bench_need(rcOk, KnHandleClose(listener), "KnHandleClose");
}

static void call_begin(const char *name)
{
	DcmHandle connection;

	bench_need(rcOk,
		   DcmCreateConnection(TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
		   "DcmCreateConnection");
	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
}

static void call_sleeper_begin(void)
{
	call_begin("sleeper");
}

static void call_loop_begin(void)
{
	call_begin("loop");
}

static void call_turn(void)
{
	DcmMessage request, reply;

	bench_need(rcOk, DcmLoan(session, 64, 0, &request), "DcmLoan");
	bench_need(rcOk, DcmCall(session, &request, ANSWER_NS, &reply), "DcmCall");
	bench_need(rcOk, DcmRelease(&reply), "DcmRelease");
}

static void call_end(void)
{
	bench_need(rcOk, KnHandleClose(session), "KnHandleClose");
}

static void nothing(void)
{
}

const struct events_case events_cases[] = {
	{ "mutex", "a pthread mutex is locked and unlocked", 1000, nothing, lock_turn, nothing },
	{ "set", "KnNoticeSetObjectEvent, nobody is subscribed", 1000, object_begin, set_turn,
	  object_end },
	{ "set-again", "the same, an event of it waits already", 1000, notice_begin, set_turn,
	  notice_end },
	{ "set-fetch", "it is set, and KnNoticeGetEvent fetches it", 1000, notice_begin,
	  set_fetch_turn, notice_end },
	{ "eventfd", "an eventfd is written and read", 1000, eventfd_begin, eventfd_turn,
	  eventfd_end },
	{ "set-fetch-fd", "set and fetched, of a notice with a descriptor", 1000, notice_fd_begin,
	  set_fetch_turn, notice_end },
	{ "receive", "DcmReceive finds nothing", 1000, receive_begin, receive_turn, receive_end },
	{ "receive-fd", "the same, of a listener with a descriptor", 1000, receive_fd_begin,
	  receive_turn, receive_end },
	{ "call", "DcmCall to a server in DcmReceive, which spins first", 10, call_sleeper_begin,
	  call_turn, call_end },
	{ "call-loop", "DcmCall to a server asleep in epoll_wait", 10, call_loop_begin, call_turn,
	  call_end },
};
const uint32_t events_case_count = sizeof(events_cases) / sizeof(events_cases[0]);

static void answer(DcmRequest *request)
{
	DcmMessage reply;

	bench_need(rcOk, DcmLoanReply(request, request->message.size, &reply), "DcmLoanReply");
	bench_need(rcOk, DcmReply(request, &reply), "DcmReply");
}

static void accept_one(DcmHandle publication, Handle callable)
{
	DcmHandle request;

	bench_need(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		   "DcmListen");
	bench_need(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
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

void events_serve(void *arg)
{
	struct events_server *server = arg;
	DcmHandle publication;
	Handle callable;

	place_pin(server->place.far);
	bench_need(rcOk, DcmInit(), "the server's DcmInit");
	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	bench_need(rcOk,
		   DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, server->name,
				      &publication),
		   "DcmPublishEndpoint");
	bench_raise(server->ready);
	accept_one(publication, callable);
	if (server->loop)
		serve_in_loop(listener);
	else
		serve_sleeping(listener);
}
