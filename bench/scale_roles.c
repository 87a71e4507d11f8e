/* SPDX-License-Identifier: BSD-2-Clause */
/* scale_roles - who fills the tables, who serves, and who measures what it costs beside them */
#define _GNU_SOURCE
#include <dcm/dcm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/lib_need.h"
#include "bench/scale.h"

/* So many endpoints have one interface. */
enum { OF_ONE_INTERFACE = 100 };
/* More notices than a ring holds. */
enum { MORE_THAN_A_RING = 600 };

static Handle self(void)
{
	return KosTaskGetHandle(KosTaskGetSelf());
}

static DcmHandle publish(const char *type, const char *name)
{
	DcmHandle pub;

	bench_need(rcOk, DcmPublishEndpoint(self(), type, name, &pub), "DcmPublishEndpoint");
	return pub;
}

static void ready(struct scale_role *r, unsigned cpu)
{
	place_pin(cpu);
	bench_need(rcOk, DcmInit(), "DcmInit");
	bench_raise(&r->done);
}

/* The next thing that it is asked for. */
static void take(struct scale_role *r)
{
	static uint32_t taken;

	while (!bench_reach_within(&r->asked, taken + 1, 1000000000))
		bench_check_ended();
	taken++;
}

void scale_filler(void *arg)
{
	struct scale_role *r = arg;
	char type[32], name[32];
	uint64_t i = 0;

	ready(r, r->place.far);
	for (;;) {
		take(r);
		for (; i < r->n; i++) {
			snprintf(type, sizeof(type), "scale.T%llu",
				 (unsigned long long)i / OF_ONE_INTERFACE);
			snprintf(name, sizeof(name), "name%llu", (unsigned long long)i);
			publish(type, name);
		}
		bench_raise(&r->done);
	}
}

static Handle session(void)
{
	DcmHandle connection;
	Handle h;

	bench_need(rcOk,
		   DcmCreateConnection("scale.Server", "s", INVALID_HANDLE, INVALID_HANDLE,
				       &connection),
		   "DcmCreateConnection");
	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &h), "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
	return h;
}

void scale_holder(void *arg)
{
	struct scale_role *r = arg;
	uint64_t held = 0;

	ready(r, r->place.near);
	for (;;) {
		take(r);
		for (; held < r->n; held++)
			(void)session();
		bench_raise(&r->done);
	}
}

void scale_bystander(void *arg)
{
	struct scale_role *r = arg;

	ready(r, r->place.far);
	for (;;)
		pause();
}

/* Accepts on a thread of its own: those who call do not wait for those who come. */
static void *accept_all(void *arg)
{
	Handle callable, listener = *(Handle *)arg;
	DcmHandle pub = publish("scale.Server", "s"), connection;

	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	for (;;) {
		bench_need(rcOk, DcmListen(pub, INFINITE_TIMEOUT, NULL, NULL, &connection),
			   "DcmListen");
		bench_need(rcOk, DcmAccept(connection, callable, INVALID_HANDLE), "DcmAccept");
		DcmCloseHandle(connection);
	}
	return NULL;
}

void scale_server(void *arg)
{
	struct scale_role *r = arg;
	pthread_t thread;
	Handle listener;

	place_pin(r->place.far);
	bench_need(rcOk, DcmInit(), "DcmInit");
	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	if (pthread_create(&thread, NULL, accept_all, &listener) != 0)
		bench_fail("no thread");
	bench_raise(&r->done);
	for (;;) {
		DcmRequest request;
		DcmMessage reply;

		bench_need(rcOk, DcmReceive(listener, -1, &request), "DcmReceive");
		/* One who has its reply may have left before we hear that it has it. */
		if (DcmLoanReply(&request, 64, &reply) == rcOk)
			(void)DcmReply(&request, &reply);
		else
			(void)DcmRelease(&request.message);
	}
}

static void call(Handle h)
{
	DcmMessage request, reply;

	bench_need(rcOk, DcmLoan(h, 64, -1, &request), "DcmLoan");
	memset(request.data, 1, 64);
	bench_need(rcOk, DcmCall(h, &request, -1, &reply), "DcmCall");
	bench_need(rcOk, DcmRelease(&reply), "DcmRelease");
}

/* What one run does so often; the handles that it needs are there. */
struct work {
	enum scale_what what;
	uint64_t n;
	uint32_t turns; /* in a run */
	Handle session;
	DcmHandle subscription;
};

static DcmHandle subscribe(const char *type, const char *name)
{
	DcmHandle s;

	bench_need(rcOk, DcmSetSubscription(type, name, NULL, INVALID_HANDLE, &s),
		   "DcmSetSubscription");
	return s;
}

static void read_all(DcmHandle s, uint64_t wanted)
{
	uint64_t seen = 0;

	while (DcmReadPubQueue(s, 0, NULL, NULL, NULL, NULL) == rcOk)
		seen++;
	if (seen != wanted)
		bench_fail("%llu notices, not %llu", (unsigned long long)seen,
			   (unsigned long long)wanted);
}

static void look_up(const char *type, const char *name, uint64_t matches)
{
	DcmHandle s = subscribe(type, name);

	read_all(s, matches);
	bench_need(rcOk, DcmCloseHandle(s), "DcmCloseHandle");
}

static void request(void)
{
	DcmHandle connection;
	Handle none;

	bench_need(rcOk,
		   DcmCreateConnection("scale.Nobody", "n", INVALID_HANDLE, INVALID_HANDLE,
				       &connection),
		   "DcmCreateConnection");
	bench_need(rcTimeout, DcmConnect(connection, 0, &none), "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
}

static void connect_and_call(void)
{
	Handle h = session();

	call(h);
	bench_need(rcOk, KnHandleClose(h), "KnHandleClose");
}

static void turn(const struct work *w)
{
	switch (w->what) {
	case SCALE_PAIR:
		bench_need(rcOk, DcmCloseHandle(publish("scale.Pair", "p")), "DcmCloseHandle");
		break;
	case SCALE_SUBSCRIBE:
		look_up("scale.Server", NULL, 1);
		break;
	case SCALE_BY_NAME:
		look_up("scale.Many", "many0", 1);
		break;
	case SCALE_REQUEST:
		request();
		break;
	case SCALE_BACKFILL:
		look_up("scale.Many", NULL, w->n);
		break;
	case SCALE_RESYNC:
		read_all(w->subscription, 0);
		break;
	case SCALE_CONNECT:
	case SCALE_AMONG:
		connect_and_call();
		break;
	default:
		call(w->session);
		break;
	}
}

/* As many as there are to match, published by this process. */
static void have_many(uint64_t n)
{
	static DcmHandle *many;
	static uint64_t count;
	char name[32];

	if (n <= count && n != 0)
		return;
	many = realloc(many, n * sizeof(*many));
	if (many == NULL)
		bench_fail("no memory");
	for (; count < n; count++) {
		snprintf(name, sizeof(name), "many%llu", (unsigned long long)count);
		many[count] = publish("scale.Many", name);
	}
}

static void begin(struct work *w)
{
	static const uint32_t turns[] = {
		[SCALE_PAIR] = 200,    [SCALE_SUBSCRIBE] = 50, [SCALE_BY_NAME] = 50,
		[SCALE_REQUEST] = 100, [SCALE_BACKFILL] = 1,   [SCALE_RESYNC] = 1,
		[SCALE_CONNECT] = 5,   [SCALE_AMONG] = 5,      [SCALE_CALL] = 200,
	};

	w->turns = turns[w->what];
	if (w->what == SCALE_BY_NAME || w->what == SCALE_BACKFILL || w->what == SCALE_RESYNC)
		have_many(w->n);
	if (w->what == SCALE_CALL)
		w->session = session();
	if (w->what == SCALE_RESYNC) {
		w->subscription = subscribe("scale.Many", NULL);
		read_all(w->subscription, w->n);
	}
}

/* Between runs, untimed. */
static void unsettle(const struct work *w)
{
	if (w->what == SCALE_RESYNC)
		for (int i = 0; i < MORE_THAN_A_RING; i++)
			DcmCloseHandle(publish("scale.Many", "passing"));
	else
		turn(w); /* what it touches is in the cache */
}

static void end(const struct work *w)
{
	if (w->what == SCALE_CALL)
		KnHandleClose(w->session);
	if (w->what == SCALE_RESYNC)
		DcmCloseHandle(w->subscription);
}

void scale_measurer(void *arg)
{
	struct scale_role *r = arg;

	ready(r, r->place.near);
	for (;;) {
		struct work w;

		take(r);
		w = (struct work){ .what = r->what, .n = r->n };
		begin(&w);
		for (uint32_t run = 0; run < r->runs; run++) {
			int64_t began_ns;

			unsettle(&w);
			began_ns = bench_now();
			for (uint32_t i = 0; i < w.turns; i++)
				turn(&w);
			r->ns[run] = (bench_now() - began_ns) / w.turns;
		}
		end(&w);
		bench_raise(&r->done);
	}
}
