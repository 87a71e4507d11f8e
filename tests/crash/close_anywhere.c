/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request that is closed, by its handle or by the last DcmFini(), at each step of the DcmAccept()
 * that uses it: the answer is one that the contract has for it, never "accepted before", the client
 * hears the same as the server, and a DcmInit() that comes next gets through.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>

#include "tests/crash/lib_steps.h"
#include "tests/tap.h"

#define TYPE "test.CloseAnywhere"

enum { WAIT_MS = 20 * 1000 };

struct parties {
	DcmHandle publication, connection, request;
	Handle listener, callable;
	struct beside beside;
};

/* A request of this process to itself, taken. */
static void begin(struct parties *p)
{
	Handle session;

	steps_must(DcmInit(), "DcmInit");
	steps_must(KnHandleCreateListener(&p->listener), "KnHandleCreateListener");
	steps_must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					      p->listener, 1, &p->callable),
		   "KnHandleCreateUserObjectEx");
	steps_must(
		DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &p->publication),
		"DcmPublishEndpoint");
	steps_must(DcmCreateConnection(TYPE, "e", INVALID_HANDLE, INVALID_HANDLE, &p->connection),
		   "DcmCreateConnection");
	if (DcmConnect(p->connection, 0, &session) != rcTimeout)
		die("DcmConnect did not wait");
	steps_must(DcmListen(p->publication, WAIT_MS, NULL, NULL, &p->request), "DcmListen");
}

static void end(struct parties *p)
{
	KnHandleClose(p->callable);
	KnHandleClose(p->listener);
	DcmFini();
}

static void close_request(void *arg)
{
	steps_must(DcmCloseHandle(((struct parties *)arg)->request), "DcmCloseHandle");
}

static void attach_anew(void *arg)
{
	(void)arg;
	DcmFini();
	steps_must(DcmInit(), "DcmInit");
}

/* As far as it comes while DcmAccept() stands still. */
static void start_anew(void *arg)
{
	struct parties *p = arg;

	beside_start(&p->beside, attach_anew, NULL);
	beside_settle(&p->beside);
}

/* What the client hears of it is what the server did. */
static void see_client(struct parties *p, Retcode accepted, uint32_t at)
{
	Handle session = INVALID_HANDLE;
	Retcode connected = DcmConnect(p->connection, WAIT_MS, &session);

	if (connected != (accepted == rcOk ? rcOk : rcNotConnected))
		ok(0, "closed at step %u: the server has %s, the client %s", at,
		   RetcodeName(accepted), RetcodeName(connected));
	if (connected == rcOk)
		KnHandleClose(session);
}

/* One DcmAccept with the act at a step. Return: whether it came to that step. */
static bool accept_at(uint32_t at, void (*act)(void *arg), const char *what)
{
	struct parties p;
	Retcode accepted;
	bool came;

	begin(&p);
	steps_begin(at, act, &p);
	accepted = DcmAccept(p.request, p.callable, INVALID_HANDLE);
	came = steps_end();
	if (accepted != rcOk && accepted != rcNotConnected && accepted != rcInvalidArgument)
		ok(0, "%s at step %u: %s (%s)", what, at, RetcodeName(accepted), DcmLastDetail());
	if (act == close_request)
		see_client(&p, accepted, at);
	else if (came && !beside_ends(&p.beside))
		die("%s at step %u: DcmInit hangs", what, at);
	if (came && act != close_request)
		beside_join(&p.beside);
	end(&p);
	return came;
}

static void accept_everywhere(void (*act)(void *arg), const char *what)
{
	unsigned long failed = tap_failed();
	uint32_t at = 0;

	while (accept_at(at, act, what) && tap_failed() - failed < 10)
		at++;
	ok(at > 10 && tap_failed() == failed, "%s at each of %u steps of DcmAccept", what, at);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	steps_install();
	accept_everywhere(close_request, "the request closed");
	accept_everywhere(start_anew, "the last DcmFini and another DcmInit");
	return tap_failed() != 0;
}
