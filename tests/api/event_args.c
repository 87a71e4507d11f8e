/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events of DCM handles: which handle has which; numbers of one space are refused in another; and
 * notices need no DcmInit() and outlive DcmFini().
 */
#include <coresrv/handle/notice_api.h>

#include "tests/api/lib_api.h"

#define TYPE "test.EventArgs"
#define ALL                                                                                        \
	(DCM_PUBLICATION_CHANGED | DCM_CLIENT_CONNECTED | DCM_BLOCKING_CALL_INTERRUPTED |          \
	 DCM_CLIENT_RELEASED_BY_SERVER)

static Notice notice;
static DcmHandle publication, subscription, connection;
static Handle identity;

static void is_event(uintptr_t id, uint32_t mask, const char *what)
{
	EventDesc event = { 0, 0 };
	size_t count;

	is_rc(rcOk, KnNoticeGetEvent(notice, 20 * 1000, 1, &event, &count), "%s", what);
	is_uint(id, event.eventId, "%s: its id", what);
	is_hex(mask, event.eventMask, "%s: its mask", what);
}

static void is_none(const char *what)
{
	EventDesc event;
	size_t count;

	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "%s", what);
}

/* The handle has its own event and interruption, and no other. */
static void test_masks(DcmHandle handle, uint32_t own, const char *what)
{
	static const uint32_t bits[] = { DCM_PUBLICATION_CHANGED, DCM_CLIENT_CONNECTED,
					 DCM_CLIENT_RELEASED_BY_SERVER, EVENT_OBJECT_DESTROYED,
					 1u << 20 };

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		Retcode wanted = bits[i] == own ? rcOk : rcInvalidArgument;

		is_rc(wanted, DcmSubscribeToEvents(notice, handle, bits[i], 1), "%s: 0x%x", what,
		      bits[i]);
		is_rc(wanted,
		      DcmSubscribeToEvents(notice, handle, bits[i] | DCM_BLOCKING_CALL_INTERRUPTED,
					   1),
		      "%s: 0x%x and interruption", what, bits[i]);
	}
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(notice, handle, 0, 1), "%s: none", what);
	is_rc(rcOk, DcmUnsubscribeFromEvents(notice, handle), "%s: unsubscribe", what);
	is_rc(rcResourceNotFound, DcmUnsubscribeFromEvents(notice, handle), "%s: once", what);
}

static void test_spaces(void)
{
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(identity, publication, ALL, 1),
	      "a handle is no notice");
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(publication, publication, ALL, 1),
	      "nor is a DCM handle");
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(notice, identity, ALL, 1),
	      "a handle is no DCM handle");
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(notice, notice, ALL, 1), "nor is a notice");
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(notice, DCM_INVALID_HANDLE, ALL, 1),
	      "nor is DCM_INVALID_HANDLE");
	is_rc(rcInvalidArgument,
	      KnNoticeSubscribeToObject(notice, publication, DCM_CLIENT_CONNECTED, 1),
	      "a DCM handle is no handle");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(publication, DCM_CLIENT_CONNECTED),
	      "nor can its events be set");
	is_rc(rcInvalidArgument, DcmUnsubscribeFromEvents(notice, identity),
	      "unsubscribe: a handle is no DCM handle");
	is_rc(rcInvalidArgument, DcmUnsubscribeFromEvents(identity, publication),
	      "unsubscribe: a handle is no notice");
}

static void test_interrupted(DcmHandle handle, const char *what)
{
	must(DcmSubscribeToEvents(notice, handle, DCM_BLOCKING_CALL_INTERRUPTED, 3));
	is_none(what);
	must(DcmInterruptBlockingCall(handle));
	is_event(3, DCM_BLOCKING_CALL_INTERRUPTED, what);
	must(DcmInterruptBlockingCall(handle));
	is_rc(rcOk, KnNoticeUnsubscribeFromEvent(notice, 3), "%s: unsubscribe by the id", what);
	is_none(what);
}

/* One receiver for handles of both spaces, told apart by id. */
static void test_together(void)
{
	EventDesc events[4];
	size_t count = 0;
	Handle object;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
				      &object));
	must(KnNoticeSubscribeToObject(notice, object, 1u << 16, 10));
	must(DcmSubscribeToEvents(notice, publication, DCM_BLOCKING_CALL_INTERRUPTED, 11));
	must(DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 12));
	must(KnNoticeSetObjectEvent(object, 1u << 16));
	must(DcmInterruptBlockingCall(publication));
	is_rc(rcOk, KnNoticeGetEvent(notice, 20 * 1000, 4, events, &count),
	      "one receiver for objects of every kind");
	is_uint(3, count, "each has its event");
	ok(count == 3 && events[0].eventId == 12 && events[1].eventId == 10 &&
		   events[2].eventId == 11,
	   "in the order in which they fired");
	must(DcmUnsubscribeFromEvents(notice, subscription));
	must(DcmUnsubscribeFromEvents(notice, publication));
	must(KnHandleClose(object));
	is_rc(rcIpcInterrupt, DcmListen(publication, 1000, NULL, NULL, &(DcmHandle){ 0 }),
	      "the interruption waits for a call");
	is_none("and there is no more");
}

static void test_closed(void)
{
	DcmHandle other;

	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &other));
	must(DcmSubscribeToEvents(notice, other, DCM_PUBLICATION_CHANGED, 4));
	must(DcmCloseHandle(other));
	is_event(4, DCM_PUBLICATION_CHANGED, "fired at once, and then it was closed");
	is_none("once");
	is_rc(rcInvalidArgument, DcmSubscribeToEvents(notice, other, DCM_PUBLICATION_CHANGED, 4),
	      "a closed handle");
	is_rc(rcInvalidArgument, DcmUnsubscribeFromEvents(notice, other), "nor the way back");
}

static void test_fini(void)
{
	must(DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 5));
	DcmFini();
	is_rc(rcNotConnected,
	      DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 5),
	      "after DcmFini");
	is_rc(rcNotConnected, DcmUnsubscribeFromEvents(notice, subscription), "nor the way back");
	is_event(5, DCM_PUBLICATION_CHANGED, "a notice outlives DcmFini, with what had fired");
	is_none("and that alone");
	must(DcmInit());
	is_rc(rcInvalidArgument,
	      DcmSubscribeToEvents(notice, subscription, DCM_PUBLICATION_CHANGED, 5),
	      "the handle is closed");
	DcmFini();
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	must(KnNoticeCreate(&notice));
	must(DcmInit());
	identity = new_identity();
	must(DcmPublishEndpoint(identity, TYPE, "e", &publication));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmCreateConnection(TYPE, "f", INVALID_HANDLE, INVALID_HANDLE, &connection));
	test_masks(publication, DCM_CLIENT_CONNECTED, "publication");
	test_masks(subscription, DCM_PUBLICATION_CHANGED, "subscription");
	test_masks(connection, DCM_CLIENT_RELEASED_BY_SERVER, "connection");
	test_spaces();
	test_interrupted(publication, "a publication is interrupted");
	test_interrupted(subscription, "a subscription is interrupted");
	test_interrupted(connection, "a connection is interrupted");
	test_together();
	test_closed();
	test_fini();
	must(KnNoticeRelease(notice));
	must(KnHandleClose(identity));
	return 0;
}
