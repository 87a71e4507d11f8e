/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Notices: what fires, in which order, merged into what; arguments and rights; unsubscribing and
 * release, and what becomes of events whose object is closed. No DcmInit is needed for any of it.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <time.h>

#include "tests/api/lib_api.h"

#define USER(n)	     (1u << (16 + (n)))
#define EVENT_RIGHTS (OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT)

enum { MANY = 100 };

static Handle new_object(uint32_t rights)
{
	Handle handle;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &handle));
	return handle;
}

static Notice new_notice(void)
{
	Notice notice;

	must(KnNoticeCreate(&notice));
	return notice;
}

/* One event is there, and it is this one. */
static void is_next(Notice notice, uintptr_t id, uint32_t mask, const char *what)
{
	EventDesc event = { 0, 0 };
	size_t count = 7;

	is_rc(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count), "%s: an event", what);
	is_uint(1, count, "%s: one", what);
	is_uint(id, event.eventId, "%s: its id", what);
	is_hex(mask, event.eventMask, "%s: its mask", what);
}

static void is_nothing(Notice notice, const char *what)
{
	EventDesc event;
	size_t count = 7;

	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "%s: no event", what);
	is_uint(0, count, "%s: none", what);
}

static void test_arguments(void)
{
	Notice notice = new_notice();
	Handle object = new_object(EVENT_RIGHTS), mute = new_object(OCAP_HANDLE_GET_SID);
	EventDesc event;
	size_t count;

	is_rc(rcInvalidArgument, KnNoticeCreate(NULL), "create: no output");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(object, object, USER(0), 1),
	      "a handle is no notice");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, notice, USER(0), 1),
	      "a notice is no object");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, object, 0, 1), "an empty mask");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, object, 1u << 5 | USER(0), 1),
	      "a bit that does not exist");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, object, EVENT_BADGE_CLOSED, 1),
	      "a bit of other objects");
	is_rc(rcNoCapability, KnNoticeSubscribeToObject(notice, mute, USER(0), 1),
	      "no right to be told");
	is_rc(rcNoCapability, KnNoticeSetObjectEvent(mute, USER(0)), "no right to tell");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(object, 0), "nothing to raise");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(object, USER(0) | EVENT_OBJECT_DESTROYED),
	      "an event of the library's");
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(notice, USER(0)), "raise: a notice");
	is_rc(rcInvalidArgument,
	      KnNoticeSetObjectEvent(KosTaskGetHandle(KosTaskGetSelf()), USER(0)),
	      "raise: no user object");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(notice, 0, 0, &event, &count), "get: no room");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(notice, 0, 1, NULL, &count), "get: no events");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(notice, 0, 1, &event, NULL), "get: no count");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(object, 0, 1, &event, &count), "get: a handle");
	is_rc(rcResourceNotFound, KnNoticeUnsubscribeFromEvent(notice, 1), "unsubscribe: nothing");
	is_rc(rcInvalidArgument, KnNoticeUnsubscribeFromEvent(object, 1), "unsubscribe: a handle");
	is_rc(rcInvalidArgument, KnNoticeRelease(object), "release: a handle");
	is_rc(rcNotConnected, DcmSubscribeToEvents(notice, object, DCM_CLIENT_CONNECTED, 1),
	      "DCM events without DcmInit");
	is_rc(rcNotConnected, DcmUnsubscribeFromEvents(notice, object), "nor the way back");
	is_rc(rcOk, KnNoticeRelease(notice), "release");
	is_rc(rcInvalidArgument, KnNoticeRelease(notice), "once");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, object, USER(0), 1),
	      "a notice that is released");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(notice, 0, 1, &event, &count),
	      "events of one that is released");
	must(KnHandleClose(object));
	is_rc(rcInvalidArgument, KnNoticeSetObjectEvent(object, USER(0)),
	      "an object that is closed");
	must(KnHandleClose(mute));
}

static void test_merge(void)
{
	Notice notice = new_notice();
	Handle a = new_object(EVENT_RIGHTS), b = new_object(EVENT_RIGHTS);

	must(KnNoticeSetObjectEvent(a, USER(0)));
	must(KnNoticeSubscribeToObject(notice, a, USER(0) | USER(1), 10));
	must(KnNoticeSubscribeToObject(notice, b, USER(0) | USER(1), 20));
	is_nothing(notice, "what was raised before is over");
	must(KnNoticeSetObjectEvent(b, USER(1)));
	must(KnNoticeSetObjectEvent(a, USER(0)));
	must(KnNoticeSetObjectEvent(b, USER(0)));
	must(KnNoticeSetObjectEvent(a, USER(2)));
	is_next(notice, 20, USER(0) | USER(1), "the first to fire, with what came later");
	must(KnNoticeSetObjectEvent(b, USER(0)));
	is_next(notice, 10, USER(0), "the second, with what it asked for alone");
	is_next(notice, 20, USER(0), "the first again");
	is_nothing(notice, "all fetched");
	must(KnHandleClose(a));
	must(KnHandleClose(b));
	must(KnNoticeRelease(notice));
}

/* Two entries of one object with one id, and one with another; two notices. */
static void test_entries(void)
{
	Notice notice = new_notice(), other = new_notice();
	Handle object = new_object(EVENT_RIGHTS);

	must(KnNoticeSubscribeToObject(notice, object, USER(0), 1));
	must(KnNoticeSubscribeToObject(notice, object, USER(0) | USER(1), 1));
	must(KnNoticeSubscribeToObject(notice, object, USER(1), 2));
	must(KnNoticeSubscribeToObject(other, object, USER(1), 3));
	must(KnNoticeSetObjectEvent(object, USER(1)));
	is_next(other, 3, USER(1), "each notice");
	must(KnNoticeSetObjectEvent(object, USER(0)));
	is_rc(rcOk, KnNoticeUnsubscribeFromEvent(notice, 1), "unsubscribe an id");
	is_next(notice, 2, USER(1), "only the other id is left");
	is_nothing(notice, "of what had fired");
	must(KnNoticeSetObjectEvent(object, USER(0) | USER(1)));
	is_next(notice, 2, USER(1), "and of what fires");
	is_rc(rcResourceNotFound, KnNoticeUnsubscribeFromEvent(notice, 1), "there is no such id");
	must(KnNoticeRelease(other));
	must(KnNoticeSetObjectEvent(object, USER(1)));
	is_next(notice, 2, USER(1), "a notice does not need the other");
	must(KnNoticeRelease(notice));
	must(KnNoticeSetObjectEvent(object, USER(1)));
	must(KnHandleClose(object));
}

static void test_closed_object(void)
{
	Notice notice = new_notice();
	Handle a = new_object(EVENT_RIGHTS), b = new_object(EVENT_RIGHTS), c;

	must(KnNoticeSubscribeToObject(notice, a, USER(0), 1));
	must(KnNoticeSubscribeToObject(notice, a, USER(0) | EVENT_OBJECT_DESTROYED, 2));
	must(KnNoticeSubscribeToObject(notice, b, EVENT_OBJECT_DESTROYED, 3));
	must(KnNoticeSetObjectEvent(a, USER(0)));
	must(KnHandleClose(a));
	must(KnHandleClose(b));
	is_next(notice, 1, USER(0), "fired before the end");
	is_next(notice, 2, USER(0) | EVENT_OBJECT_DESTROYED, "and at the end");
	is_next(notice, 3, EVENT_OBJECT_DESTROYED, "only at the end");
	is_nothing(notice, "once");
	is_rc(rcResourceNotFound, KnNoticeUnsubscribeFromEvent(notice, 3), "its entry is gone");
	c = new_object(EVENT_RIGHTS);
	must(KnNoticeSubscribeToObject(notice, c, EVENT_OBJECT_DESTROYED, 4));
	must(KnHandleClose(c));
	is_rc(rcOk, KnNoticeUnsubscribeFromEvent(notice, 4), "what a closed object left");
	is_nothing(notice, "is not fetched then");
	c = new_object(EVENT_RIGHTS);
	must(KnNoticeSubscribeToObject(notice, c, EVENT_OBJECT_DESTROYED, 4));
	must(KnHandleClose(c));
	is_rc(rcOk, KnNoticeRelease(notice), "release with an event of what is closed");
}

static void test_many(void)
{
	Notice notice = new_notice();
	Handle object[MANY];
	EventDesc event[MANY + 1];
	size_t count;
	bool in_order = true;

	for (size_t i = 0; i < MANY; i++) {
		object[i] = new_object(EVENT_RIGHTS);
		must(KnNoticeSubscribeToObject(notice, object[i], USER(3), i));
	}
	for (size_t i = 0; i < MANY; i++)
		must(KnNoticeSetObjectEvent(object[MANY - 1 - i], USER(3)));
	is_rc(rcOk, KnNoticeGetEvent(notice, INFINITE_TIMEOUT, 40, event, &count), "some of many");
	is_uint(40, count, "as many as there is room for");
	is_rc(rcOk, KnNoticeGetEvent(notice, UINT64_MAX, MANY + 1, event + 40, &count), "the rest");
	is_uint(MANY - 40, count, "as many as there are");
	for (size_t i = 0; i < MANY; i++)
		in_order = in_order && event[i].eventId == MANY - 1 - i &&
			   event[i].eventMask == USER(3);
	ok(in_order, "in the order in which they fired");
	is_nothing(notice, "each once");
	for (size_t i = 0; i < MANY; i++)
		must(KnHandleClose(object[i]));
	must(KnNoticeRelease(notice));
}

static void test_timeout(void)
{
	Notice notice = new_notice();
	struct timespec before, after;
	EventDesc event;
	size_t count;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &before);
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 30, 1, &event, &count), "30 ms without an event");
	clock_gettime(CLOCK_MONOTONIC, &after);
	ns = (after.tv_sec - before.tv_sec) * S_NS + after.tv_nsec - before.tv_nsec;
	ok(ns >= 30 * MS_NS, "and not sooner: %lld ns", (long long)ns);
	must(KnNoticeRelease(notice));
}

int main(void)
{
	plan_lazy();
	test_arguments();
	test_merge();
	test_entries();
	test_closed_object();
	test_many();
	test_timeout();
	return 0;
}
