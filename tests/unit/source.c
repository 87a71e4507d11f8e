/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sources: when an entry fires and when a descriptor is readable, with an object whose state, bell
 * and stamp are the test's own, and the test as its keeper.
 */
#include "api/source.h"

#include <coresrv/handle/notice_api.h>
#include <dcm/dcm_api.h>
#include <poll.h>
#include <unistd.h>

#include "api/notice.h"
#include "tests/tap.h"
#include "tests/unit/lib_teller.h"

#define KINDS (1u << DCM_KIND_SUBSCRIPTION)

static Notice notice;

static struct teller *begin(void)
{
	struct teller *t = teller_new();

	if (t == NULL || KnNoticeCreate(&notice) != rcOk)
		bail("no memory");
	return t;
}

static void end(struct teller *t)
{
	dcm_handle_close(t->object.number, KINDS);
	dcm_object_drop(&t->object);
	KnNoticeRelease(notice);
	is_uint(0, teller_looks_closed(), "nobody looked at what is closed");
}

static void subscribe(struct teller *t, uint32_t mask, uintptr_t id)
{
	struct dcm_notice_object *n = dcm_notice_find(notice);

	is_int(rcOk, dcm_source_subscribe(&t->source, n, mask, id, 0), "subscribe");
	dcm_object_drop(&n->object);
}

/* What is fetched now; 0: nothing. */
static uint32_t fetch(void)
{
	EventDesc event;
	size_t count;

	return KnNoticeGetEvent(notice, 0, 1, &event, &count) == rcOk ? event.eventMask : 0;
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN) != 0;
}

static void test_at_once(void)
{
	struct teller *t = begin();

	teller_change(t, TELLER_STATE);
	subscribe(t, TELLER_STATE, 1);
	is_hex(TELLER_STATE, fetch(), "what is true when subscribing fires");
	is_hex(0, fetch(), "once");
	subscribe(t, TELLER_STATE, 2);
	is_hex(TELLER_STATE, fetch(), "for the next entry too");
	is_hex(0, fetch(), "for that one only");
	end(t);
}

static void test_edges(void)
{
	struct teller *t = begin();
	unsigned looks;

	subscribe(t, TELLER_STATE, 1);
	is_hex(0, fetch(), "what is not true does not fire");
	teller_change(t, TELLER_STATE);
	looks = t->looks;
	dcm_source_tend(false);
	is_uint(looks, t->looks, "a bell that was not rung is passed over");
	is_hex(0, fetch(), "and nothing fires");
	dcm_source_tend(true);
	is_hex(TELLER_STATE, fetch(), "a lost ring is found by the look at all");
	dcm_source_tend(true);
	is_hex(0, fetch(), "the same cause does not fire again");
	teller_change(t, TELLER_STATE);
	ok(teller_ring(t, NULL), "the bell is armed");
	dcm_source_tend(false);
	is_hex(TELLER_STATE, fetch(), "a rung bell fires");
	teller_change(t, 0);
	ok(teller_ring(t, NULL), "the bell is armed again");
	dcm_source_tend(false);
	is_hex(0, fetch(), "what became false does not fire");
	end(t);
}

static void test_between_two_waits(void)
{
	struct teller *t = begin();

	subscribe(t, TELLER_STATE | TELLER_OTHER, 1);
	teller_change(t, TELLER_STATE);
	teller_ring(t, NULL);
	dcm_source_tend(false);
	teller_change(t, TELLER_STATE);
	teller_ring(t, NULL);
	dcm_source_tend(false);
	is_hex(TELLER_STATE, fetch(), "two causes before the fetch are one event");
	is_hex(0, fetch(), "one");
	teller_change(t, TELLER_STATE);
	teller_ring(t, NULL);
	dcm_source_tend(false);
	teller_change(t, TELLER_STATE | TELLER_OTHER);
	teller_ring(t, NULL);
	is_hex(TELLER_STATE | TELLER_OTHER, fetch(), "what came behind the firing is in the mask");
	dcm_source_tend(false);
	is_hex(0, fetch(), "and does not fire again");
	teller_change(t, TELLER_OTHER);
	ok(teller_ring(t, NULL), "the bell is armed");
	dcm_source_tend(false);
	is_hex(TELLER_OTHER, fetch(), "what comes after the fetch fires");
	end(t);
}

/* While all that could be told is told, the bell is silent. */
static void test_silence(void)
{
	struct teller *t = begin();
	unsigned looks;

	subscribe(t, TELLER_STATE, 1);
	teller_change(t, TELLER_STATE);
	teller_ring(t, NULL);
	dcm_source_tend(false);
	ok(!teller_ring(t, NULL), "no ring more");
	looks = t->looks;
	teller_change(t, TELLER_STATE);
	dcm_source_tend(false);
	dcm_source_tend(true);
	is_uint(looks, t->looks, "nor is it looked at");
	is_hex(TELLER_STATE, fetch(), "the event");
	is_hex(0, fetch(), "had it all");
	teller_change(t, TELLER_STATE);
	ok(teller_ring(t, NULL), "fetching has armed the bell");
	dcm_source_tend(false);
	is_hex(TELLER_STATE, fetch(), "so nothing is lost");
	end(t);
}

static void test_pulses(void)
{
	struct teller *t = begin();

	dcm_source_fire(&t->source, DCM_BLOCKING_CALL_INTERRUPTED);
	subscribe(t, TELLER_STATE | DCM_BLOCKING_CALL_INTERRUPTED, 1);
	subscribe(t, TELLER_STATE, 2);
	is_hex(0, fetch(), "a pulse is over");
	dcm_source_fire(&t->source, DCM_BLOCKING_CALL_INTERRUPTED);
	teller_change(t, TELLER_STATE);
	dcm_source_check(&t->source);
	is_hex(TELLER_STATE | DCM_BLOCKING_CALL_INTERRUPTED, fetch(), "pulse and state in one");
	is_hex(TELLER_STATE, fetch(), "the state alone");
	is_hex(0, fetch(), "no more");
	end(t);
}

static void test_descriptor(void)
{
	struct teller *t = begin();
	int fd, again, kept;
	uint32_t pulses;

	is_int(0, dcm_load(&t->bell, relaxed), "no bell before it is asked for");
	teller_change(t, TELLER_OTHER);
	is_int(rcOk, dcm_source_fd(&t->source, &fd), "a descriptor");
	ok(!is_readable(fd), "a state that nothing can be read in is no reason");
	teller_change(t, TELLER_STATE);
	ok(teller_ring(t, NULL), "the bell is armed");
	dcm_source_tend(false);
	ok(is_readable(fd), "readable");
	ok(!teller_ring(t, NULL), "from then on the bell is silent");
	is_int(rcOk, dcm_source_fd(&t->source, &again), "asked for again");
	is_int(fd, again, "it is the same");
	dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
	ok(is_readable(fd), "a call that found nothing, but now it would");
	teller_change(t, 0);
	ok(is_readable(fd), "it may be stale");
	dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
	ok(!is_readable(fd), "until a call has found nothing");
	teller_change(t, TELLER_STATE);
	ok(teller_ring(t, NULL), "the bell is armed again");
	dcm_source_tend(false);
	ok(is_readable(fd), "readable again");
	teller_change(t, 0);
	dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
	dcm_source_fire(&t->source, DCM_BLOCKING_CALL_INTERRUPTED);
	ok(is_readable(fd), "by a pulse");
	pulses = dcm_source_pulses(&t->source);
	dcm_source_fire(&t->source, DCM_BLOCKING_CALL_INTERRUPTED);
	dcm_source_drained(&t->source, pulses);
	ok(is_readable(fd), "one that came during the call is not cleared with it");
	dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
	ok(!is_readable(fd), "cleared");
	kept = dup(fd);
	dcm_handle_close(t->object.number, KINDS);
	ok(is_readable(kept), "who still polls it is woken by the close");
	is_int(rcInvalidArgument, dcm_source_fd(&t->source, &fd), "no descriptor any more");
	close(kept);
	end(t);
}

/* Nobody follows it: it costs nobody anything. */
static void test_unfollowed(void)
{
	struct dcm_notice_object *n;
	struct teller *t = begin();
	unsigned looks;

	subscribe(t, TELLER_STATE, 1);
	n = dcm_notice_find(notice);
	ok(dcm_source_unsubscribe(&t->source, n), "unsubscribe");
	ok(!teller_ring(t, NULL), "the bell is silent");
	ok(!dcm_source_unsubscribe(&t->source, n), "it was one");
	looks = t->looks;
	dcm_source_tend(true);
	is_uint(looks, t->looks, "it is not looked at");
	dcm_source_drained(&t->source, dcm_source_pulses(&t->source));
	is_uint(looks, t->looks, "nor by a call that found nothing");
	dcm_handle_close(t->object.number, KINDS);
	is_int(rcInvalidArgument, dcm_source_subscribe(&t->source, n, TELLER_STATE, 1, 0),
	       "what is closed is not subscribed to");
	dcm_object_drop(&n->object);
	end(t);
}

int main(void)
{
	plan_lazy();
	test_at_once();
	test_edges();
	test_between_two_waits();
	test_silence();
	test_pulses();
	test_descriptor();
	test_unfollowed();
	return 0;
}
