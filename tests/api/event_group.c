/* SPDX-License-Identifier: BSD-2-Clause */
/* Events and descriptors of groups: of all endpoints, and of deaths; none for half a group. */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#define A "test.EventA"
#define B "test.EventB"
#define C "test.EventC"

enum { MEMBERS = 3 };

static const char *const types[MEMBERS] = { A, B, C };

static DcmHandle publish(void)
{
	static const DcmGroupEndpoint group[MEMBERS] = { { A, "x", NULL },
							 { B, "x", NULL },
							 { C, "x", NULL } };
	DcmHandle publication;

	must(DcmPublishGroupEndpoints(KosTaskGetHandle(KosTaskGetSelf()), group, MEMBERS,
				      &publication));
	return publication;
}

static DcmHandle subscribe(const char *server)
{
	DcmHandle subscription;

	must(DcmSetGroupSubscription(types, MEMBERS, server, INVALID_HANDLE, &subscription));
	return subscription;
}

/* A request that waits, of a client that may be killed. */
static uint64_t asks(struct peer *client, unsigned member)
{
	uint64_t connection =
		peer_must(client, PEER_CREATE, .type = types[member], .name = "x").handle;
	struct peer_answer a = peer_do(client, PEER_CONNECT, .handle = connection);

	is_answer(rcTimeout, &a, "a client asks for %s", types[member]);
	return connection;
}

static void takes(DcmHandle publication, Retcode wanted, const char *what)
{
	DcmHandle request;
	Retcode rc = DcmListenGroupPub(publication, 0, NULL, NULL, NULL, &request);

	is_rc(wanted, rc, "%s", what);
	if (rc == rcOk)
		must(DcmCloseHandle(request));
}

static void reads(DcmHandle subscription, DcmPubStatus wanted, const char *what)
{
	DcmPubStatus status = 0;
	Retcode rc = DcmReadGroupPubQueue(subscription, 0, 0, &status, NULL, NULL, NULL);

	is_rc(wanted == 0 ? rcTimeout : rcOk, rc, "%s", what);
	is_uint(wanted, status, "  which it is");
}

static void test_connected(void)
{
	Notice notice = new_notice();
	struct peer client = peer_attached("event client");
	DcmHandle publication = publish();
	int fd;

	must(DcmSubscribeToEvents(notice, publication, DCM_CLIENT_CONNECTED, 7));
	fd = fd_of(publication);
	event_is_not(notice, "nobody asks: no event");
	fd_is_silent(fd, "nor is the descriptor readable");
	for (unsigned i = 0; i < MEMBERS; i++) {
		asks(&client, i);
		event_comes(notice, 7, DCM_CLIENT_CONNECTED, "an event");
		fd_becomes_readable(fd, "the descriptor is readable");
		takes(publication, rcOk, "the request is there");
		takes(publication, rcTimeout, "it was one");
		fd_is_silent(fd, "the descriptor is silent");
	}
	event_is_not(notice, "no more events");
	asks(&client, 2);
	asks(&client, 1);
	event_comes(notice, 7, DCM_CLIENT_CONNECTED, "two requests: an event");
	takes(publication, rcOk, "one of them");
	fd_becomes_readable(fd, "the descriptor stays readable");
	peer_kill(&client);
	takes(publication, rcTimeout, "the other client was killed");
	fd_is_silent(fd, "and the descriptor is silent");
	must(DcmUnsubscribeFromEvents(notice, publication));
	must(DcmCloseHandle(publication));
	must(KnNoticeRelease(notice));
}

/* Requests that were parked before the group was published. */
static void test_connected_before(void)
{
	Notice notice = new_notice();
	struct peer client = peer_attached("early client");
	DcmHandle publication;

	asks(&client, 1);
	publication = publish();
	must(DcmSubscribeToEvents(notice, publication, DCM_CLIENT_CONNECTED, 8));
	event_comes(notice, 8, DCM_CLIENT_CONNECTED, "it asked before the group was published: an event at once");
	fd_becomes_readable(fd_of(publication), "and a descriptor that is readable");
	takes(publication, rcOk, "the request is there");
	peer_end(&client);
	must(DcmCloseHandle(publication));
	must(KnNoticeRelease(notice));
}

static void test_interrupted(void)
{
	DcmHandle handles[2] = { publish(), subscribe("nobody") };
	Notice notice = new_notice();

	for (int i = 0; i < 2; i++) {
		int fd = fd_of(handles[i]);

		must(DcmSubscribeToEvents(notice, handles[i], DCM_BLOCKING_CALL_INTERRUPTED, 9));
		must(DcmInterruptBlockingCall(handles[i]));
		event_comes(notice, 9, DCM_BLOCKING_CALL_INTERRUPTED, "interrupted: an event");
		fd_becomes_readable(fd, "and a descriptor that is readable");
		must(DcmCloseHandle(handles[i]));
	}
	event_is_not(notice, "closed: no event");
	must(KnNoticeRelease(notice));
}

static void test_changed(void)
{
	Notice notice = new_notice();
	struct peer server = peer_attached("event server");
	DcmHandle subscription = subscribe("event server"), late;
	uint64_t publications[MEMBERS];
	int fd;

	must(DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 3));
	fd = fd_of(subscription);
	for (unsigned i = 0; i < MEMBERS; i++) {
		event_is_not(notice, "not all of it is published: no event");
		fd_is_silent(fd, "nor is the descriptor readable");
		publications[i] =
			peer_must(&server, PEER_PUBLISH, .type = types[i], .name = "x").handle;
	}
	event_comes(notice, 3, DCM_PUBLICATION_CHANGED, "all is published: an event");
	fd_becomes_readable(fd, "the descriptor is readable");
	reads(subscription, DCM_PUBLISHED, "a notice is there");
	reads(subscription, 0, "it was one");
	fd_is_silent(fd, "the descriptor is silent");
	event_is_not(notice, "no more events");
	late = subscribe(NULL);
	must(DcmSubscribeToEvents(notice, late, DCM_PUBLICATION_CHANGED, 4));
	event_comes(notice, 4, DCM_PUBLICATION_CHANGED, "true already: an event at once");
	must(DcmCloseHandle(late));
	peer_must(&server, PEER_CLOSE, .handle = publications[1]);
	event_comes(notice, 3, DCM_PUBLICATION_CHANGED, "one of it is withdrawn: an event");
	fd_becomes_readable(fd, "the descriptor is readable");
	peer_must(&server, PEER_PUBLISH, .type = types[1], .name = "x");
	reads(subscription, DCM_UNPUBLISHED, "the withdrawal");
	event_comes(notice, 3, DCM_PUBLICATION_CHANGED,
		    "what is told behind it: an event of its own");
	reads(subscription, DCM_PUBLISHED, "all of it again");
	reads(subscription, 0, "no more");
	fd_is_silent(fd, "the descriptor is silent");
	peer_kill(&server);
	event_comes(notice, 3, DCM_PUBLICATION_CHANGED, "the server is killed: an event");
	fd_becomes_readable(fd, "the descriptor is readable");
	reads(subscription, DCM_UNPUBLISHED, "the withdrawal");
	reads(subscription, 0, "told once");
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
}

/* Killed with half of it published: nothing came. */
static void test_half(void)
{
	Notice notice = new_notice();
	struct peer server = peer_attached("half a server");
	DcmHandle subscription = subscribe(NULL);
	int fd = fd_of(subscription);

	must(DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 5));
	peer_must(&server, PEER_PUBLISH, .type = A, .name = "x");
	peer_must(&server, PEER_PUBLISH, .type = B, .name = "x");
	peer_kill(&server);
	server = peer_attached("the other half");
	peer_must(&server, PEER_PUBLISH, .type = C, .name = "x");
	event_is_not(notice, "two of the dead and one of the living are no group: no event");
	fd_is_silent(fd, "nor is the descriptor readable");
	peer_must(&server, PEER_PUBLISH, .type = A, .name = "x");
	peer_must(&server, PEER_PUBLISH, .type = B, .name = "x");
	event_comes(notice, 5, DCM_PUBLICATION_CHANGED, "all of the living: an event");
	peer_must(&server, PEER_FINI);
	reads(subscription, 0, "gone before it was read: nothing");
	fd_is_silent(fd, "and the descriptor is silent");
	peer_end(&server);
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
}

static void test_arguments(void)
{
	DcmHandle publication = publish(), subscription = subscribe(NULL);
	Notice notice = new_notice();

	is_rc(rcInvalidArgument,
	      DcmSubscribeToEvents(notice, publication, DCM_PUBLICATION_CHANGED, 1),
	      "an event that a group of endpoints never has");
	is_rc(rcInvalidArgument,
	      DcmSubscribeToEvents(notice, subscription, DCM_CLIENT_CONNECTED, 1),
	      "an event that a group subscription never has");
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	test_arguments();
	test_connected();
	test_connected_before();
	test_interrupted();
	test_changed();
	test_half();
	DcmFini();
	holdings_are(&before, "after all that");
	return 0;
}
