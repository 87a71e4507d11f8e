/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DCM_PUBLICATION_CHANGED and DCM_CLIENT_CONNECTED: each comes when the contract says, also when the
 * cause is the death of another process, and at no other time.
 */
#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#define TYPE	  "test.Event"
#define CHANGED	  DCM_PUBLICATION_CHANGED
#define CONNECTED DCM_CLIENT_CONNECTED

static DcmHandle subscribe(const char *name, const char *server)
{
	DcmHandle subscription;

	must(DcmSetSubscription(TYPE, name, server, INVALID_HANDLE, &subscription));
	return subscription;
}

static void reads(DcmHandle subscription, DcmPubStatus wanted, const char *what)
{
	DcmPubStatus status = 0;

	is_rc(rcOk, DcmReadPubQueue(subscription, 0, &status, NULL, NULL, NULL), "%s", what);
	is_uint(wanted, status, "  which it is");
}

static void reads_nothing(DcmHandle subscription)
{
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL),
	      "nothing more to read");
}

static void test_changed(void)
{
	Notice notice = new_notice();
	DcmHandle subscription = subscribe("x", NULL);
	struct peer server = peer_attached("event-server");
	struct peer_answer x;

	must(DcmSubscribeToEvents(notice, subscription, CHANGED, 1));
	event_is_not(notice, "nothing is published: no event");
	peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "y");
	event_is_not(notice, "another name: no event");
	x = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "x");
	event_comes(notice, 1, CHANGED, "published: an event");
	event_is_not(notice, "once, though it was not read");
	reads(subscription, DCM_PUBLISHED, "a notice is there");
	reads_nothing(subscription);
	event_is_not(notice, "read: no event");
	peer_must(&server, PEER_CLOSE, .handle = x.handle);
	event_comes(notice, 1, CHANGED, "withdrawn: an event");
	x = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "x");
	event_comes(notice, 1, CHANGED, "published again, the withdrawal unread: an event");
	reads(subscription, DCM_UNPUBLISHED, "first the withdrawal");
	reads(subscription, DCM_PUBLISHED, "then the new one");
	reads_nothing(subscription);
	event_is_not(notice, "both read: no event");
	peer_kill(&server);
	event_comes(notice, 1, CHANGED, "the publisher is killed: an event");
	reads(subscription, DCM_UNPUBLISHED, "its endpoint is withdrawn");
	reads_nothing(subscription);
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
}

static void test_changed_filters(void)
{
	Notice notice = new_notice();
	DcmHandle by_server, late;
	struct peer server = peer_attached("event-other");

	by_server = subscribe(NULL, "event-mine");
	must(DcmSubscribeToEvents(notice, by_server, CHANGED, 2));
	peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "x");
	event_is_not(notice, "of another server: no event");
	late = subscribe(NULL, NULL);
	must(DcmSubscribeToEvents(notice, late, CHANGED, 3));
	event_comes(notice, 3, CHANGED, "published before: true already, so an event at once");
	reads(late, DCM_PUBLISHED, "and a notice is there");
	must(DcmUnsubscribeFromEvents(notice, late));
	peer_kill(&server);
	event_is_not(notice, "unsubscribed, and not of the server: no event");
	must(DcmCloseHandle(late));
	must(DcmCloseHandle(by_server));
	must(KnNoticeRelease(notice));
}

static DcmHandle publish(const char *name)
{
	DcmHandle publication;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name, &publication));
	return publication;
}

static struct peer_answer asks(struct peer *client, const char *name)
{
	struct peer_answer a = peer_must(client, PEER_CREATE, .type = TYPE, .name = name);
	struct peer_answer connect = peer_do(client, PEER_CONNECT, .handle = a.handle);

	is_answer(rcTimeout, &connect, "a client asks without waiting");
	return a;
}

static void takes(DcmHandle publication, Retcode wanted, const char *what)
{
	DcmHandle request;
	Retcode rc = DcmListen(publication, 0, NULL, NULL, &request);

	is_rc(wanted, rc, "%s", what);
	if (rc == rcOk)
		must(DcmCloseHandle(request));
}

static void test_connected(void)
{
	Notice notice = new_notice();
	DcmHandle publication = publish("p");
	struct peer one = peer_attached("event-one"), two = peer_attached("event-two");

	must(DcmSubscribeToEvents(notice, publication, CONNECTED, 7));
	event_is_not(notice, "nobody asks: no event");
	asks(&one, "q");
	event_is_not(notice, "asks for another name: no event");
	asks(&one, "p");
	event_comes(notice, 7, CONNECTED, "asks: an event");
	event_is_not(notice, "once, though it was not taken");
	asks(&two, "p");
	event_comes(notice, 7, CONNECTED, "another asks, the first not taken: an event");
	takes(publication, rcOk, "the first is taken");
	takes(publication, rcOk, "the second");
	takes(publication, rcTimeout, "there is no third");
	event_is_not(notice, "all taken: no event");
	asks(&one, "p");
	event_comes(notice, 7, CONNECTED, "asks again: an event");
	peer_kill(&one);
	takes(publication, rcTimeout, "of the dead nothing is taken");
	asks(&two, "p");
	event_comes(notice, 7, CONNECTED, "and the next that asks is an event");
	takes(publication, rcOk, "it is taken");
	peer_end(&two);
	must(DcmCloseHandle(publication));
	must(KnNoticeRelease(notice));
}

static void test_parked(void)
{
	Notice notice = new_notice();
	struct peer client = peer_attached("event-early");
	DcmHandle publication;

	asks(&client, "later");
	publication = publish("later");
	must(DcmSubscribeToEvents(notice, publication, CONNECTED, 8));
	event_comes(notice, 8, CONNECTED, "it asked before the publication: an event at once");
	takes(publication, rcOk, "and is taken");
	asks(&client, "later");
	event_comes(notice, 8, CONNECTED, "asks: an event");
	peer_kill(&client);
	must(DcmUnsubscribeFromEvents(notice, publication));
	must(DcmSubscribeToEvents(notice, publication, CONNECTED, 9));
	event_is_not(notice, "the client that waits is dead: nothing is true when subscribing");
	must(DcmCloseHandle(publication));
	must(KnNoticeRelease(notice));
}

static void test_interrupted(void)
{
	Notice notice = new_notice();
	DcmHandle publication = publish("i"), subscription = subscribe("none", NULL), request;
	uint32_t mask = DCM_BLOCKING_CALL_INTERRUPTED;

	must(DcmSubscribeToEvents(notice, publication, mask | CONNECTED, 20));
	must(DcmSubscribeToEvents(notice, subscription, mask, 21));
	event_is_not(notice, "nobody interrupts: no event");
	must(DcmInterruptBlockingCall(publication));
	event_comes(notice, 20, mask, "the publication's calls are interrupted: an event");
	must(DcmInterruptBlockingCall(subscription));
	event_comes(notice, 21, mask, "the subscription's");
	takes(publication, rcTimeout, "a call that does not block is not");
	is_rc(rcIpcInterrupt, DcmListen(publication, 20000, NULL, NULL, &request),
	      "the next that would block is");
	event_is_not(notice, "which is no event");
	must(DcmCloseHandle(publication));
	must(DcmCloseHandle(subscription));
	must(KnNoticeRelease(notice));
}

int main(void)
{
	plan_lazy();
	tap_watchdog(120);
	tap_fabric_dir();
	must(DcmInit());
	test_changed();
	test_changed_filters();
	test_connected();
	test_parked();
	test_interrupted();
	DcmFini();
	return 0;
}
