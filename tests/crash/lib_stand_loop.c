/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bystander as a program of one thread around one epoll: no call of it ever blocks. Of what is
 * of one kind one half is told of by events, which come by the descriptor of their notice, the other
 * half by descriptors of their own.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/fabric.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

enum { TALKS = 8 };
/* Ids of events, and what the descriptors are of; TALK and more: of a talk. */
enum { NOTICE, LISTENER, NEWS, OFFER, REFUSE, BADGE, TALK };

/* One connection to a victim. */
struct talk {
	Handle server;
	DcmHandle connection;
	Handle session;
	uint64_t number; /* of the call under way; 0: none */
	bool busy;
};

static struct talk talks[TALKS];
static Handle listener, callable;
static DcmHandle subscription, offer, refuse;
static Notice notice;
static int loop;
static unsigned int talks_begun;
bool stand_news_by_fd;

/* False: the server has revoked the session already. */
static bool follow(uint64_t handle, uint64_t what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = what };
	int fd = -1;

	if (!expect(rcHandleRevoked, DcmGetFd(handle, &fd), "DcmGetFd"))
		return false;
	if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		sysbail("epoll_ctl");
	return true;
}

static void subscribe(DcmHandle handle, uint32_t event, uintptr_t id)
{
	expect(rcOk, DcmSubscribeToEvents(notice, handle, event, id), "DcmSubscribeToEvents");
}

static void end_talk(struct talk *t)
{
	if (t->session != INVALID_HANDLE)
		expect(rcOk, KnHandleClose(t->session), "closing a session");
	expect(rcOk, DcmCloseHandle(t->connection), "closing a connection");
	expect(rcOk, KnHandleClose(t->server), "closing the victim's identity");
	*t = (struct talk){ .busy = false };
	atomic_fetch_add(&stand->ended, 1);
}

/* One more call, with some messages before it. False: the server is gone. */
static bool call(struct talk *t)
{
	DcmMessage request;
	uint64_t started;

	for (;;) {
		t->number++;
		if (!stand_goes_on(DcmLoan(t->session, sizeof t->number, 0, &request), "DcmLoan"))
			return false;
		memcpy(request.data, &t->number, sizeof t->number);
		if (t->number % 4 != 0)
			return stand_goes_on(DcmStart(t->session, &request, 0, &started),
					     "DcmStart");
		if (!stand_goes_on(DcmSend(t->session, &request, 0), "DcmSend"))
			return false;
	}
}

static void session_ready(struct talk *t)
{
	DcmMessage reply;
	Retcode rc;

	while ((rc = DcmFinish(t->session, DCM_ANY_CALL, 0, NULL, &reply)) == rcOk) {
		if (reply.size != sizeof t->number ||
		    memcmp(reply.data, &t->number, sizeof t->number) != 0)
			ok(0, "the reply is not of its call");
		expect(rcOk, DcmRelease(&reply), "DcmRelease of a reply");
		atomic_fetch_add(&stand->answered, 1);
		if (!call(t))
			break;
	}
	if (rc == rcTimeout)
		return;
	stand_goes_on(rc, "DcmFinish");
	end_talk(t);
}

static void connect_further(struct talk *t)
{
	Retcode rc = DcmConnect(t->connection, 0, &t->session);

	if (rc == rcTimeout)
		return;
	if (!expect(rcNotConnected, rc, "the bystander's DcmConnect") || !call(t) ||
	    !follow(t->session, (uint64_t)(TALK + (t - talks))))
		end_talk(t);
}

static void begin_talk(Handle server)
{
	struct talk *t = talks;

	while (t->busy && t + 1 < talks + TALKS)
		t++;
	*t = (struct talk){ .server = server, .session = INVALID_HANDLE, .busy = true };
	expect(rcOk,
	       DcmCreateConnection(VICTIM_TYPE, "victim", server, INVALID_HANDLE, &t->connection),
	       "DcmCreateConnection");
	if (talks_begun++ % 2 == 0)
		follow(t->connection, (uint64_t)(TALK + (t - talks)));
	else
		subscribe(t->connection, DCM_CLIENT_RELEASED_BY_SERVER,
			  (uintptr_t)(TALK + (t - talks)));
	atomic_fetch_add(&stand->asking, 1);
	connect_further(t);
}

static void read_news(void)
{
	char name[DCM_NAME_SIZE];
	DcmPubStatus status;
	Handle server;
	Sid sid = 0;

	while (expect(rcTimeout, DcmReadPubQueue(subscription, 0, &status, &server, NULL, name),
		      "the bystander's DcmReadPubQueue")) {
		bool victim = status == DCM_PUBLISHED && strcmp(name, "victim") == 0;

		expect(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
		/* Before it is known to be known: the test waits for as many ends as beginnings. */
		if (victim)
			atomic_fetch_add(&stand->begun, 1);
		stand_note_told(status, sid, name);
		if (victim)
			begin_talk(server);
		else
			expect(rcOk, KnHandleClose(server), "closing a server's identity");
	}
}

static void listen_at(DcmHandle publication, bool open)
{
	DcmHandle request;

	while (expect(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request),
		      "the bystander's DcmListen")) {
		if (open)
			stand_accept(notice, BADGE, request, callable);
		expect(rcOk, DcmCloseHandle(request), "closing a request");
	}
}

static void receive_all(void)
{
	DcmRequest request;
	DcmMessage reply;

	while (expect(rcTimeout, DcmReceive(listener, 0, &request), "the bystander's DcmReceive")) {
		if (request.badgeContext != stand)
			ok(0, "a request without the context of its badge");
		if ((request.flags & DCM_REQUEST_ONE_WAY) != 0 ||
		    !expect(rcNotConnected, DcmLoanReply(&request, request.message.size, &reply),
			    "DcmLoanReply")) {
			expect(rcOk, DcmRelease(&request.message), "DcmRelease of a request");
			continue;
		}
		memcpy(reply.data, request.message.data, reply.size);
		expect(rcNotConnected, DcmReply(&request, &reply), "DcmReply");
	}
}

static void talk_ready(struct talk *t)
{
	if (t->busy && t->session == INVALID_HANDLE)
		connect_further(t);
	else if (t->busy)
		session_ready(t);
}

/* Told of it by an event or by a descriptor. */
static void ready(uint64_t what)
{
	if (what == LISTENER)
		receive_all();
	else if (what == NEWS)
		read_news();
	else if (what < TALK)
		listen_at(what == OFFER ? offer : refuse, what == OFFER);
	else
		talk_ready(&talks[what - TALK]);
}

static void events_ready(void)
{
	EventDesc event;
	size_t count;

	while (expect(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count),
		      "KnNoticeGetEvent"))
		if (event.eventId == BADGE)
			atomic_fetch_add(&stand->closed,
					 (event.eventMask & EVENT_BADGE_CLOSED) != 0);
		else
			ready(event.eventId);
}

static void open_all(void)
{
	static DcmHandle ignored;

	expect(rcOk, DcmInit(), "the bystander's DcmInit");
	expect(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	expect(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
	expect(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	follow(notice, NOTICE);
	follow(listener, LISTENER);
	stand_publish("offer", &offer);
	stand_publish("refuse", &refuse);
	stand_publish("ignored", &ignored);
	expect(rcOk, DcmSetSubscription(VICTIM_TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
	       "the bystander's DcmSetSubscription");
	if (stand_news_by_fd)
		follow(subscription, NEWS);
	else
		subscribe(subscription, DCM_PUBLICATION_CHANGED, NEWS);
	follow(offer, OFFER);
	subscribe(refuse, DCM_CLIENT_CONNECTED, REFUSE);
}

void stand_looper(void)
{
	loop = epoll_create1(EPOLL_CLOEXEC);
	open_all();
	atomic_store(&stand->ready, 1);
	for (;;) {
		struct epoll_event event;

		if (epoll_wait(loop, &event, 1, -1) != 1)
			continue;
		if (event.data.u64 == NOTICE)
			events_ready();
		else
			ready(event.data.u64);
	}
}
