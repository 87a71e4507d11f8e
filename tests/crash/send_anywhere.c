/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A one-way message that the server is done with before the DcmSend() that sends it comes back, at
 * each of its steps: who waits for the message's room gets it.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <stdlib.h>

#include "tests/crash/lib_steps.h"
#include "tests/tap.h"

struct parties {
	Handle listener, session;
	DcmMessage sent;
	size_t size;	  /* of it, and of all that fills the channel */
	DcmMessage small; /* sent by another thread: it makes the listener ready */
	struct beside waiter, sender;
	Retcode waited;
	DcmMessage got;
	unsigned received;
};

static void wait_for_room(void *arg)
{
	struct parties *p = arg;

	p->waited = DcmLoan(p->session, p->size, -1, &p->got);
}

static void send_small(void *arg)
{
	struct parties *p = arg;

	steps_must(DcmSend(p->session, &p->small, -1), "DcmSend");
}

/* All that can be received is, and the waiter has looked at what that left. */
static void receive(struct parties *p)
{
	DcmRequest request;

	while (DcmReceive(p->listener, 0, &request) == rcOk) {
		steps_must(DcmRelease(&request.message), "DcmRelease");
		p->received++;
	}
	beside_settle(&p->waiter);
}

static void send_and_receive(void *arg)
{
	struct parties *p = arg;

	beside_start(&p->sender, send_small, p);
	beside_settle(&p->sender);
	receive(p);
}

/* The largest loans until there is no room; one of them is to be sent. */
static unsigned fill(struct parties *p, DcmMessage *filling, unsigned most)
{
	unsigned count = 0;

	steps_must(DcmLoan(p->session, 1, 0, &p->small), "DcmLoan");
	while (DcmLoan(p->session, p->size, 0, &p->sent) == rcInvalidArgument)
		p->size /= 2;
	while (count < most && DcmLoan(p->session, p->size, 0, &filling[count]) == rcOk)
		count++;
	if (count == most)
		die("there is no end of room");
	return count;
}

static bool send_at(uint32_t at)
{
	struct parties p = { .size = 16 << 20 };
	DcmMessage filling[64];
	unsigned count;
	bool came;

	p.session = steps_connect("send", &p.listener);
	count = fill(&p, filling, 64);
	beside_start(&p.waiter, wait_for_room, &p);
	beside_settle(&p.waiter);
	steps_begin(at, send_and_receive, &p);
	steps_must(DcmSend(p.session, &p.sent, 0), "DcmSend");
	came = steps_end();
	if (came)
		beside_join(&p.sender);
	else
		send_small(&p);
	receive(&p);
	if (p.received != 2)
		ok(0, "step %u: %u messages were received", at, p.received);
	if (!beside_ends(&p.waiter)) {
		ok(0, "step %u: nobody wakes who waits for room", at);
		DcmInterruptCall(p.session);
	}
	beside_join(&p.waiter);
	if (p.waited == rcOk)
		DcmRelease(&p.got);
	while (count > 0)
		DcmRelease(&filling[--count]);
	KnHandleClose(p.session);
	KnHandleClose(p.listener);
	return came;
}

int main(void)
{
	uint32_t at = 0;

	plan_lazy();
	tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "2097152", 1);
	steps_install();
	steps_must(DcmInit(), "DcmInit");
	while (send_at(at) && tap_failed() == 0)
		at++;
	ok(at > 10 && tap_failed() == 0, "received at each of %u steps of DcmSend", at);
	DcmFini();
	return tap_failed() != 0;
}
