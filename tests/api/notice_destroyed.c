/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of an object that is subscribed to at that moment: who was subscribed is told of it, and
 * who is not told is told that there is nothing to subscribe to.
 */
#include <sched.h>

#include "tests/api/lib_event.h"

enum { ROUNDS = 3000, EVENTS = 64 };

static Handle object;
static _Atomic uint32_t begun, closed;

static void close_each(void *arg)
{
	const uint32_t *rounds = arg;

	for (uint32_t round = 1; round <= *rounds; round++) {
		while (begun < round)
			sched_yield();
		KnHandleClose(object);
		closed = round;
	}
}

/* Entries, until it says that the object is closed. Return: how many */
static size_t subscribe_on(Notice notice, uint32_t round)
{
	size_t entries = 0;

	while (KnNoticeSubscribeToObject(notice, object, EVENT_OBJECT_DESTROYED, round) == rcOk) {
		entries++;
		begun = round;
		if (entries % EVENTS == 0)
			sched_yield();
	}
	return entries;
}

static size_t fetch_all(Notice notice, uint32_t round)
{
	EventDesc event[EVENTS];
	size_t count, fetched = 0;

	while (KnNoticeGetEvent(notice, 0, EVENTS, event, &count) == rcOk)
		for (size_t i = 0; i < count; i++)
			fetched += event[i].eventId == round &&
				   event[i].eventMask == EVENT_OBJECT_DESTROYED;
	return fetched;
}

int main(void)
{
	uint32_t rounds = (uint32_t)tap_scaled(ROUNDS);
	Notice notice = new_notice();
	size_t all = 0, untold = 0;
	struct task task;

	plan_lazy();
	tap_watchdog(120);
	task_start(&task, close_each, &rounds);
	for (uint32_t round = 1; round <= rounds; round++) {
		size_t entries;

		must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_GET_EVENT, NULL,
					      &object));
		entries = subscribe_on(notice, round);
		while (closed < round)
			sched_yield();
		untold += entries - fetch_all(notice, round);
		all += entries;
	}
	task_join(&task);
	diag("%zu entries of %u objects", all, rounds);
	is_uint(0, untold, "each is told of the end of its object");
	must(KnNoticeRelease(notice));
	return 0;
}
