/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A one-way message that the server is done with before the DcmSend() that sends it comes back, at
 * each of its steps: who waits for the message's room gets it.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <stdlib.h>

#include "tests/crash/lib_steps.h"
#include "tests/tap.h"

#define TYPE "test.SendAnywhere"

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

static void must(Retcode rc, const char *what)
{
	if (rc != rcOk)
		die("%s: %s (%s)", what, RetcodeName(rc), DcmLastDetail());
}

static void connect_parties(struct parties *p)
{
	DcmHandle publication, connection, request;
	Handle callable;

	must(KnHandleCreateListener(&p->listener), "KnHandleCreateListener");
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, p->listener, 1,
					&callable),
	     "KnHandleCreateUserObjectEx");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &publication),
	     "DcmPublishEndpoint");
	must(DcmCreateConnection(TYPE, "e", INVALID_HANDLE, INVALID_HANDLE, &connection),
	     "DcmCreateConnection");
	if (DcmConnect(connection, 0, &p->session) != rcTimeout)
		die("DcmConnect did not wait");
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request), "DcmListen");
	must(DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
	must(DcmConnect(connection, INFINITE_TIMEOUT, &p->session), "DcmConnect");
	DcmCloseHandle(request);
	DcmCloseHandle(connection);
	DcmCloseHandle(publication);
	KnHandleClose(callable);
}

static void wait_for_room(void *arg)
{
	struct parties *p = arg;

	p->waited = DcmLoan(p->session, p->size, -1, &p->got);
}

static void send_small(void *arg)
{
	struct parties *p = arg;

	must(DcmSend(p->session, &p->small, -1), "DcmSend");
}

/* All that can be received is, and the waiter has looked at what that left. */
static void receive(struct parties *p)
{
	DcmRequest request;

	while (DcmReceive(p->listener, 0, &request) == rcOk) {
		must(DcmRelease(&request.message), "DcmRelease");
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

	must(DcmLoan(p->session, 1, 0, &p->small), "DcmLoan");
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

	connect_parties(&p);
	count = fill(&p, filling, 64);
	beside_start(&p.waiter, wait_for_room, &p);
	beside_settle(&p.waiter);
	steps_begin(at, send_and_receive, &p);
	must(DcmSend(p.session, &p.sent, 0), "DcmSend");
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
	must(DcmInit(), "DcmInit");
	while (send_at(at) && tap_failed() == 0)
		at++;
	ok(at > 10 && tap_failed() == 0, "received at each of %u steps of DcmSend", at);
	DcmFini();
	return tap_failed() != 0;
}
