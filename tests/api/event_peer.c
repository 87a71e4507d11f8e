/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * The identity of a server tells of the end of its process, killed or out of the fabric, also to who
 * subscribes afterwards; never because a handle of it is closed here.
 */
#include "tests/api/lib_event.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.EventPeer"
#define GONE EVENT_OBJECT_DESTROYED

static DcmHandle subscription;

/* The server's identity, out of the next notice. */
static Handle next_identity(DcmPubStatus wanted)
{
	DcmPubStatus status = 0;
	Handle server;

	must(DcmReadPubQueue(subscription, 20 * 1000, &status, &server, NULL, NULL));
	is_uint(wanted, status, "a notice, with the identity of its server");
	return server;
}

static Handle identity_of(struct peer *server, const char *name)
{
	peer_must(server, PEER_PUBLISH, .type = TYPE, .name = name);
	return next_identity(DCM_PUBLISHED);
}

static void test_killed(void)
{
	struct peer server = peer_attached("killed"), other = peer_attached("other");
	Handle identity = identity_of(&server, "a"), another = identity_of(&other, "b"), late;
	Notice notice = new_notice();

	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, identity, 1u << 16, 1),
	      "it has no user's events");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(identity, 1u << 16), "nor can they be set");
	must(KnNoticeSubscribeToObject(notice, identity, GONE, 1));
	must(KnNoticeSubscribeToObject(notice, another, GONE, 2));
	event_is_not(notice, "both live: no event");
	peer_kill(&server);
	event_comes(notice, 1, GONE, "one is killed: an event");
	event_is_not(notice, "once, and not of the other");
	must(KnNoticeSubscribeToObject(notice, identity, GONE, 3));
	event_comes(notice, 3, GONE, "true already, so at once");
	late = next_identity(DCM_UNPUBLISHED);
	must(KnNoticeSubscribeToObject(notice, late, GONE, 4));
	event_comes(notice, 4, GONE, "also of the identity that comes with the withdrawal");
	must(KnHandleClose(another));
	event_is_not(notice, "closed here: no event");
	must(KnHandleClose(identity));
	must(KnHandleClose(late));
	peer_end(&other);
	must(KnNoticeRelease(notice));
}

static void test_left(void)
{
	struct peer server = peer_attached("leaves");
	Handle identity = identity_of(&server, "c");
	Notice notice = new_notice();

	must(KnNoticeSubscribeToObject(notice, identity, GONE, 1));
	event_is_not(notice, "it is there: no event");
	peer_end(&server);
	event_comes(notice, 1, GONE, "it has left: an event");
	must(KnHandleClose(identity));
	must(KnNoticeRelease(notice));
}

/* Out of the fabric nothing can be known: no event, and nothing of the fabric is touched. */
static void test_not_attached(void)
{
	struct peer server = peer_attached("unseen");
	Handle identity = identity_of(&server, "d");
	Notice notice = new_notice();

	must(KnNoticeSubscribeToObject(notice, identity, GONE, 1));
	DcmFini();
	peer_kill(&server);
	must(KnNoticeSubscribeToObject(notice, identity, GONE, 2));
	event_is_not(notice, "this process has left: no event");
	must(DcmInit());
	event_is_not(notice, "it is back, as another: no event");
	must(KnHandleClose(identity));
	must(KnNoticeRelease(notice));
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	test_killed();
	must(DcmCloseHandle(subscription));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	test_left();
	must(DcmCloseHandle(subscription));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	test_not_attached();
	DcmFini();
	return 0;
}
