/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A handle that is revoked at each step of a call that uses it or makes a descendant of it: what was
 * made is revoked, or is not made, and nobody waits.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/handle/notice_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>

#include "tests/crash/lib_steps.h"
#include "tests/tap.h"

#define TYPE "test.RevokeAnywhere"

enum { WAIT_MS = 20 * 1000 };
enum { CALL_RIGHTS = OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY };

struct parties {
	DcmHandle publication, connection, request;
	Handle listener, callable, badge, session;
	Notice notice;
};

/* A request of this process to itself, taken. */
static void begin(struct parties *p)
{
	steps_must(KnNoticeCreate(&p->notice), "KnNoticeCreate");
	steps_must(KnHandleCreateBadge(p->notice, 1, NULL, &p->badge), "KnHandleCreateBadge");
	steps_must(KnHandleCreateListener(&p->listener), "KnHandleCreateListener");
	steps_must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, CALL_RIGHTS, NULL,
					      p->listener, 1, &p->callable),
		   "KnHandleCreateUserObjectEx");
	steps_must(
		DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &p->publication),
		"DcmPublishEndpoint");
	steps_must(DcmCreateConnection(TYPE, "e", INVALID_HANDLE, INVALID_HANDLE, &p->connection),
		   "DcmCreateConnection");
	if (DcmConnect(p->connection, 0, &p->session) != rcTimeout)
		die("DcmConnect did not wait");
	steps_must(DcmListen(p->publication, WAIT_MS, NULL, NULL, &p->request), "DcmListen");
}

static void end(struct parties *p)
{
	DcmCloseHandle(p->request);
	DcmCloseHandle(p->connection);
	DcmCloseHandle(p->publication);
	KnHandleClose(p->session);
	KnHandleClose(p->callable);
	KnHandleClose(p->badge);
	KnHandleClose(p->listener);
	KnNoticeRelease(p->notice);
}

static void revoke(void *arg)
{
	steps_must(KnHandleRevoke(((struct parties *)arg)->callable), "KnHandleRevoke");
}

static void revoke_subtree(void *arg)
{
	struct parties *p = arg;

	steps_must(KnHandleRevokeSubtree(p->callable, p->badge), "KnHandleRevokeSubtree");
}

/* How often the badge says that all is closed. */
static unsigned closings(const struct parties *p)
{
	unsigned count = 0;
	EventDesc event;
	size_t events;

	while (KnNoticeGetEvent(p->notice, 0, 1, &event, &events) == rcOk)
		count += (event.eventMask & EVENT_BADGE_CLOSED) != 0;
	return count;
}

static bool usable(Handle session)
{
	DcmMessage message;
	Retcode rc = DcmLoan(session, 1, 0, &message);

	if (rc == rcOk)
		DcmRelease(&message);
	return rc == rcOk;
}

/* Then it is taken up by the client, and is of use only if it was given behind the revocation. */
static bool accept_at(uint32_t at, void (*act)(void *arg), bool may_be_later)
{
	Retcode accepted, connected;
	struct parties p;
	bool came, use;
	unsigned told;

	begin(&p);
	steps_begin(at, act, &p);
	accepted = DcmAccept(p.request, p.callable, p.badge);
	came = steps_end();
	if (accepted != rcOk && accepted != rcNotConnected && accepted != rcInvalidArgument &&
	    accepted != rcHandleRevoked)
		ok(0, "step %u: DcmAccept: %s (%s)", at, RetcodeName(accepted), DcmLastDetail());
	DcmCloseHandle(p.request);
	connected = DcmConnect(p.connection, WAIT_MS, &p.session);
	use = connected == rcOk && usable(p.session);
	if (connected != rcOk && connected != rcNotConnected)
		ok(0, "step %u: DcmConnect: %s (%s)", at, RetcodeName(connected), DcmLastDetail());
	if (came && use && !may_be_later)
		ok(0, "step %u: the session of a revoked handle is of use", at);
	if (use && accepted != rcOk)
		ok(0, "step %u: there is a session that was not given: %s", at,
		   RetcodeName(accepted));
	told = closings(&p);
	if (told != (accepted == rcOk && !use ? 1u : 0u))
		ok(0, "step %u: DcmAccept says %s, the badge %u times that all is closed", at,
		   RetcodeName(accepted), told);
	end(&p);
	return came;
}

static bool connect_at(uint32_t at, void (*act)(void *arg), bool may_be_later)
{
	struct parties p;
	Retcode connected;
	bool came;

	(void)may_be_later;
	begin(&p);
	steps_must(DcmAccept(p.request, p.callable, p.badge), "DcmAccept");
	steps_begin(at, act, &p);
	connected = DcmConnect(p.connection, WAIT_MS, &p.session);
	came = steps_end();
	if (connected != rcOk && connected != rcNotConnected)
		ok(0, "step %u: DcmConnect: %s (%s)", at, RetcodeName(connected), DcmLastDetail());
	if (came && connected == rcOk && usable(p.session))
		ok(0, "step %u: a revoked session is of use", at);
	if (came && closings(&p) != 1)
		ok(0, "step %u: the badge does not say once that all is closed", at);
	end(&p);
	return came;
}

/* Nobody answers: it ends by the revocation alone. */
static bool call_at(uint32_t at, void (*act)(void *arg), bool may_be_later)
{
	DcmMessage message, reply;
	DcmRequest request;
	struct parties p;
	Retcode rc;
	bool came;

	(void)may_be_later;
	begin(&p);
	steps_must(DcmAccept(p.request, p.callable, p.badge), "DcmAccept");
	steps_must(DcmConnect(p.connection, WAIT_MS, &p.session), "DcmConnect");
	steps_must(DcmLoan(p.session, 8, 0, &message), "DcmLoan");
	steps_begin(at, act, &p);
	rc = DcmCall(p.session, &message, 50 * 1000, &reply);
	came = steps_end();
	if (rc != (came ? rcHandleRevoked : rcTimeout) && !(came && rc == rcTimeout))
		ok(0, "step %u: DcmCall: %s (%s)", at, RetcodeName(rc), DcmLastDetail());
	if (message.data != NULL)
		ok(0, "step %u: the message is not consumed", at);
	if (came && DcmReceive(p.listener, 0, &request) != rcTimeout)
		ok(0, "step %u: a request of a revoked session is received", at);
	if (came && DcmLoan(p.session, 1, 0, &message) != rcHandleRevoked)
		ok(0, "step %u: a revoked session is of use", at);
	end(&p);
	return came;
}

static bool copy_at(uint32_t at, void (*act)(void *arg), bool may_be_later)
{
	Handle copy, deep = INVALID_HANDLE;
	struct parties p;
	Retcode rc;
	bool came;

	(void)may_be_later;
	begin(&p);
	steps_must(KnHandleCopy(p.callable, CALL_RIGHTS, p.badge, &copy), "KnHandleCopy");
	steps_begin(at, act, &p);
	rc = KnHandleCopy(copy, CALL_RIGHTS, p.badge, &deep);
	came = steps_end();
	if (rc != rcOk && rc != rcInvalidArgument && rc != rcHandleRevoked)
		ok(0, "step %u: KnHandleCopy: %s (%s)", at, RetcodeName(rc), DcmLastDetail());
	if (came && rc == rcOk && DcmAccept(p.request, deep, INVALID_HANDLE) != rcHandleRevoked)
		ok(0, "step %u: a copy of what was revoked is of use", at);
	if (came && closings(&p) == 0)
		ok(0, "step %u: the badge does not say that all is closed", at);
	KnHandleClose(copy);
	KnHandleClose(deep);
	end(&p);
	return came;
}

static void everywhere(bool (*one)(uint32_t at, void (*act)(void *arg), bool may_be_later),
		       void (*act)(void *arg), bool may_be_later, const char *what)
{
	unsigned long failed = tap_failed();
	uint32_t at = 0;

	while (one(at, act, may_be_later) && tap_failed() - failed < 10)
		at++;
	ok(at > 0 && tap_failed() == failed, "revoked at each of %u steps of %s", at, what);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	steps_install();
	steps_must(DcmInit(), "DcmInit");
	everywhere(accept_at, revoke, false, "DcmAccept");
	everywhere(accept_at, revoke_subtree, true, "DcmAccept, by the badge");
	everywhere(connect_at, revoke, false, "DcmConnect");
	everywhere(connect_at, revoke_subtree, false, "DcmConnect, by the badge");
	everywhere(call_at, revoke, false, "DcmCall");
	everywhere(copy_at, revoke, false, "KnHandleCopy");
	DcmFini();
	return tap_failed() != 0;
}
