/* SPDX-License-Identifier: BSD-2-Clause */
/* The bystander, who is never killed, and the newcomer. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/fabric.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

enum { KNOWN_MAX = 32 };

static Handle listener, callable;
static Notice notice;
static _Atomic Handle victim; /* its identity, for the thread that connects; 0: none */

void nap_us(long us)
{
	nanosleep(&(struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 },
		  NULL);
}

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool expect(Retcode other, Retcode seen, const char *what)
{
	if (seen != rcOk && seen != other)
		ok(0, "%s: %s (%s)", what, RetcodeName(seen), DcmLastDetail());
	return seen == rcOk;
}

/* What it was told, by SID and name. */
static struct {
	Sid sid;
	char name[32];
} known[KNOWN_MAX];

void stand_note_told(DcmPubStatus status, Sid sid, const char *name)
{
	uint32_t count = atomic_load(&stand->known), i = 0;

	while (i < count && (known[i].sid != sid || strcmp(known[i].name, name) != 0))
		i++;
	if ((status == DCM_PUBLISHED) == (i < count) || count == KNOWN_MAX) {
		ok(0, "%s is told to be %s, which it %s", name,
		   status == DCM_PUBLISHED ? "published" : "withdrawn",
		   i < count ? "was" : "was not");
		return;
	}
	if (status == DCM_PUBLISHED) {
		known[count].sid = sid;
		strncpy(known[count].name, name, sizeof known[count].name - 1);
		atomic_store(&stand->known, count + 1);
	} else {
		known[i] = known[count - 1];
		atomic_store(&stand->known, count - 1);
	}
}

static void *read_all(void *arg)
{
	DcmHandle subscription = *(DcmHandle *)arg;
	char name[DCM_NAME_SIZE];
	DcmPubStatus status;
	Handle server;
	Sid sid = 0;

	for (;;) {
		if (!expect(rcOk,
			    DcmReadPubQueue(subscription, INFINITE_TIMEOUT, &status, &server, NULL,
					    name),
			    "the bystander's DcmReadPubQueue"))
			return NULL;
		expect(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
		if (status == DCM_PUBLISHED && strcmp(name, "victim") == 0) {
			atomic_fetch_add(&stand->begun, 1);
			stand_note_told(status, sid, name);
			atomic_store(&victim, server);
			continue;
		}
		stand_note_told(status, sid, name);
		expect(rcOk, KnHandleClose(server), "closing a server's identity");
	}
}

bool stand_goes_on(Retcode rc, const char *what)
{
	return rc != rcHandleRevoked && expect(rcNotConnected, rc, what);
}

/* Calls until it fails: its server is killed, or leaves, or revokes the session. */
static void call_over(Handle session)
{
	DcmMessage request, reply;
	bool going = true;

	for (uint64_t number = 1; going; number++) {
		if (!stand_goes_on(DcmLoan(session, sizeof number, -1, &request), "DcmLoan"))
			return;
		memcpy(request.data, &number, sizeof number);
		if (number % 4 == 0) {
			going = stand_goes_on(DcmSend(session, &request, -1), "DcmSend");
			continue;
		}
		going = stand_goes_on(DcmCall(session, &request, -1, &reply), "DcmCall");
		if (!going)
			return;
		if (reply.size != sizeof number || memcmp(reply.data, &number, sizeof number) != 0)
			ok(0, "the reply is not of its call");
		expect(rcOk, DcmRelease(&reply), "DcmRelease of a reply");
		atomic_fetch_add(&stand->answered, 1);
	}
}

static void *connect_all(void *arg)
{
	(void)arg;
	for (;;) {
		Handle server = atomic_exchange(&victim, 0), session;
		DcmHandle connection;

		if (server == 0) {
			nap_us(50);
			continue;
		}
		expect(rcOk,
		       DcmCreateConnection(VICTIM_TYPE, "victim", server, INVALID_HANDLE,
					   &connection),
		       "DcmCreateConnection");
		atomic_fetch_add(&stand->asking, 1);
		if (expect(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
			   "the bystander's DcmConnect")) {
			call_over(session);
			expect(rcOk, KnHandleClose(session), "closing a session");
		}
		expect(rcOk, DcmCloseHandle(connection), "closing a connection");
		expect(rcOk, KnHandleClose(server), "closing the victim's identity");
		atomic_fetch_add(&stand->ended, 1);
	}
	return NULL;
}

static void *receive_all(void *arg)
{
	DcmRequest request;
	DcmMessage reply;

	(void)arg;
	while (expect(rcOk, DcmReceive(listener, -1, &request), "the bystander's DcmReceive")) {
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
	return NULL;
}

void stand_accept(Notice notice_of, uintptr_t id, DcmHandle request, Handle with)
{
	Handle badge;

	expect(rcOk, KnHandleCreateBadge(notice_of, id, stand, &badge), "KnHandleCreateBadge");
	if (expect(rcNotConnected, DcmAccept(request, with, badge), "the bystander's DcmAccept"))
		atomic_fetch_add(&stand->given, 1);
	/* It lasts as long as what is given under it. */
	expect(rcOk, KnHandleClose(badge), "closing a badge");
}

static void *count_closed(void *arg)
{
	EventDesc event;
	size_t count;

	(void)arg;
	while (expect(rcOk, KnNoticeGetEvent(notice, INFINITE_TIMEOUT, 1, &event, &count),
		      "the bystander's KnNoticeGetEvent"))
		if ((event.eventMask & EVENT_BADGE_CLOSED) != 0)
			atomic_fetch_add(&stand->closed, 1);
	return NULL;
}

struct door {
	DcmHandle publication;
	bool open;
};

static void *listen_at(void *arg)
{
	struct door *door = arg;
	DcmHandle request;

	while (expect(rcOk, DcmListen(door->publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		      "the bystander's DcmListen")) {
		if (door->open)
			stand_accept(notice, 1, request, callable);
		expect(rcOk, DcmCloseHandle(request), "closing a request");
	}
	return NULL;
}

void stand_publish(const char *name, DcmHandle *out)
{
	expect(rcOk, DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, name, out),
	       "the bystander's DcmPublishEndpoint");
}

void stand_bystander(void)
{
	static struct door offer = { .open = true }, refuse;
	static DcmHandle subscription, ignored;
	pthread_t thread;

	expect(rcOk, DcmInit(), "the bystander's DcmInit");
	expect(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	expect(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	expect(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
	stand_publish("offer", &offer.publication);
	stand_publish("refuse", &refuse.publication);
	stand_publish("ignored", &ignored);
	expect(rcOk, DcmSetSubscription(VICTIM_TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
	       "the bystander's DcmSetSubscription");
	if (pthread_create(&thread, NULL, read_all, &subscription) != 0 ||
	    pthread_create(&thread, NULL, listen_at, &offer) != 0 ||
	    pthread_create(&thread, NULL, listen_at, &refuse) != 0 ||
	    pthread_create(&thread, NULL, receive_all, NULL) != 0 ||
	    pthread_create(&thread, NULL, count_closed, NULL) != 0)
		bail("no threads for the bystander");
	atomic_store(&stand->ready, 1);
	connect_all(NULL);
	_exit(1);
}

void stand_newcomer(void)
{
	DcmHandle connection, publication;
	DcmMessage request, reply;
	Handle session;

	expect(rcOk, DcmInit(), "a newcomer's DcmInit");
	stand_publish("newcomer", &publication);
	expect(rcOk,
	       DcmCreateConnection(VICTIM_TYPE, "offer", INVALID_HANDLE, INVALID_HANDLE,
				   &connection),
	       "a newcomer's DcmCreateConnection");
	if (expect(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session),
		   "a newcomer's DcmConnect") &&
	    expect(rcOk, DcmLoan(session, 8, -1, &request), "a newcomer's DcmLoan") &&
	    expect(rcOk, DcmCall(session, &request, -1, &reply), "a newcomer's DcmCall"))
		expect(rcOk, DcmRelease(&reply), "a newcomer's DcmRelease");
	expect(rcOk, KnHandleClose(session), "closing a newcomer's session");
	DcmFini();
	_exit(0);
}
