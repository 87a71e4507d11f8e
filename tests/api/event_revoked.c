/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A handle that is revoked: no subscription, no event, no descriptor by it, and who polls the one that
 * was got before is woken. Copies of a handle share the events of what they are of.
 */
#include "tests/api/lib_event.h"

#define USER (1u << 16)
#define RIGHTS                                                                                     \
	(OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT | OCAP_HANDLE_GET_SID)

static Handle copy_of(Handle handle, uint32_t rights)
{
	Handle copy;

	must(KnHandleCopy(handle, rights, INVALID_HANDLE, &copy));
	return copy;
}

static void test_copies(void)
{
	Notice notice = new_notice();
	Handle object, copy, mute;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, RIGHTS, NULL, &object));
	copy = copy_of(object, RIGHTS);
	mute = copy_of(object, OCAP_HANDLE_GET_SID);
	must(KnNoticeSubscribeToObject(notice, copy, USER | EVENT_OBJECT_DESTROYED, 1));
	must(KnNoticeSetObjectEvent(object, USER));
	event_comes(notice, 1, USER, "set by one handle, fetched by way of another");
	is_rc(rcNoCapability, KnNoticeSubscribeToObject(notice, mute, USER, 2),
	      "a copy without the right to be told");
	is_rc(rcNoCapability, KnNoticeSetObjectEvent(mute, USER), "or to tell");
	must(KnHandleClose(copy));
	must(KnHandleClose(mute));
	event_is_not(notice, "a handle is left: not destroyed");
	must(KnHandleClose(object));
	event_comes(notice, 1, EVENT_OBJECT_DESTROYED, "the last is closed: destroyed");
	must(KnNoticeRelease(notice));
}

static void test_revoked_object(void)
{
	Notice notice = new_notice();
	Handle object, copy;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, RIGHTS, NULL, &object));
	copy = copy_of(object, RIGHTS);
	must(KnHandleRevoke(object));
	is_rc(rcHandleRevoked, KnNoticeSubscribeToObject(notice, copy, USER, 1), "subscribe");
	is_rc(rcHandleRevoked, KnNoticeSetObjectEvent(copy, USER), "set");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(object, USER), "its own is closed");
	must(KnHandleClose(copy));
	must(KnNoticeRelease(notice));
}

/* What an entry tells is told to the holder of the handle that it was made with. */
static void test_revoked_entries(void)
{
	Notice notice = new_notice();
	Handle object, copy, deep;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, RIGHTS, NULL, &object));
	copy = copy_of(object, RIGHTS);
	deep = copy_of(copy, RIGHTS);
	must(KnNoticeSubscribeToObject(notice, object, USER | EVENT_OBJECT_DESTROYED, 1));
	must(KnNoticeSubscribeToObject(notice, deep, USER | EVENT_OBJECT_DESTROYED, 2));
	must(KnNoticeSubscribeToObject(notice, deep, USER << 1, 3));
	must(KnNoticeSetObjectEvent(object, USER << 1));
	must(KnHandleRevoke(copy));
	event_comes(notice, 3, USER << 1, "what fired before the revocation is fetched");
	must(KnNoticeSetObjectEvent(object, USER | USER << 1));
	event_comes(notice, 1, USER, "an event is told by the handle that is left");
	event_is_not(notice, "and not by the one that is revoked");
	must(KnHandleClose(deep));
	must(KnHandleClose(object));
	event_comes(notice, 1, EVENT_OBJECT_DESTROYED, "nor is the end");
	event_is_not(notice, "of the object");
	is_rc(rcResourceNotFound, KnNoticeUnsubscribeFromEvent(notice, 2), "the entry has ended");
	must(KnNoticeRelease(notice));
}

static void test_revoked_session(void)
{
	Notice notice = new_notice();
	struct pair pair;
	Handle copy, below;
	int fd, unused;

	pair_open(&pair);
	copy = copy_of(pair.session, OCAP_IPC_CALL | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT);
	below = copy_of(copy, OCAP_IPC_CALL | OCAP_HANDLE_GET_EVENT);
	fd = fd_of(below);
	is_int(fd, fd_of(pair.session), "copies of a session share the descriptor");
	fd_is_silent(fd, "nothing is finished");
	must(KnNoticeSubscribeToObject(notice, below, EVENT_OBJECT_DESTROYED, 1));
	must(KnHandleRevoke(copy));
	fd_becomes_readable(fd, "revoked: who polls is woken");
	is_rc(rcHandleRevoked, DcmFinish(below, DCM_ANY_CALL, 0, NULL, NULL), "and hears why");
	is_rc(rcHandleRevoked, DcmGetFd(below, &unused), "no descriptor by it");
	is_rc(rcHandleRevoked, KnNoticeSubscribeToObject(notice, below, EVENT_OBJECT_DESTROYED, 2),
	      "nor a subscription");
	is_rc(rcResourceNotFound, DcmFinish(pair.session, DCM_ANY_CALL, 0, NULL, NULL),
	      "the other handle has nothing started");
	fd_is_silent(fd, "and has cleared the descriptor");
	must(KnNoticeSubscribeToObject(notice, pair.session, EVENT_OBJECT_DESTROYED, 3));
	event_is_not(notice, "the session is there");
	must(KnHandleClose(below));
	must(KnHandleClose(pair.listener));
	event_comes(notice, 3, EVENT_OBJECT_DESTROYED, "until its server ends it");
	event_is_not(notice, "who subscribed by the revoked handle is told nothing");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
	must(KnNoticeRelease(notice));
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	test_copies();
	test_revoked_object();
	test_revoked_entries();
	test_revoked_session();
	DcmFini();
	return 0;
}
