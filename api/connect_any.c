/* SPDX-License-Identifier: BSD-2-Clause */
/* connect_any - find a server and connect to it: what a program could do itself */
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/helpers/connect.h>
#include <errno.h>

#include "api/attach.h"
#include "api/connection.h"
#include "api/fork.h"
#include "api/retcode.h"
#include "api/subscription.h"
#include "api/wait.h"
#include "api/who.h"

/* What is looked for, and how long. */
struct search {
	const char *type;
	DcmHandle subscription;
	Handle client;
	int64_t find_deadline_ns;
	DcmTimeout connect_timeout;
	bool late;     /* the time to find is over */
	uint32_t left; /* then: so many notices were waiting, and no other is read */
};

/* Unlike DcmCloseHandle() it leaves the detail alone if the last DcmFini() was faster. */
static void close_quietly(DcmHandle handle, enum dcm_kind kind)
{
	dcm_handle_close(handle, 1u << kind);
}

/* Whole milliseconds until then, none lost. */
static DcmTimeout until(int64_t deadline_ns)
{
	int64_t ms;

	if (deadline_ns == DCM_FOREVER)
		return INFINITE_TIMEOUT;
	ms = (deadline_ns - dcm_park_now() + 999999) / 1000000;
	if (ms <= 0)
		return 0;
	return ms < INFINITE_TIMEOUT ? (DcmTimeout)ms : INFINITE_TIMEOUT - 1;
}

/*
 * The next notice. When time is up it is of what is there at that moment, not of what comes while
 * that is asked: one that comes and goes faster than it is asked would keep the call for ever.
 */
static Retcode read_next(struct search *search, DcmPubStatus *status, char name[DCM_NAME_SIZE],
			 Handle *server)
{
	DcmTimeout timeout = until(search->find_deadline_ns);

	if (timeout == 0 && !search->late) {
		search->late = true;
		search->left = dcm_subscription_waiting(search->subscription);
	}
	if (search->late && search->left-- == 0)
		return rcTimeout;
	return DcmReadPubQueue(search->subscription, timeout, status, server, NULL, name);
}

/* The next endpoint that was published. */
static Retcode find(struct search *search, char name[DCM_NAME_SIZE], Handle *server)
{
	DcmPubStatus status = DCM_UNPUBLISHED;
	Retcode rc;

	for (;;) {
		rc = read_next(search, &status, name, server);
		if (rc == rcTimeout)
			return dcm_fail(rc, "no server that publishes %s was found in time",
					search->type);
		if (rc != rcOk || status == DCM_PUBLISHED)
			return rc;
		KnHandleClose(*server);
	}
}

/*
 * *@gone: the endpoint or its server is gone, and has not decided. That may be so when the request is
 * made (it would wait for that very endpoint to come back, which it need not do), or later.
 */
static Retcode wait_for_decision(const struct search *search, DcmHandle connection, bool *gone,
				 Handle *session)
{
	Retcode rc = DcmConnect(connection, 0, session);

	*gone = rc != rcOk && dcm_connection_undecided(connection);
	if (*gone || rc != rcTimeout)
		return rc;
	rc = DcmConnect(connection, search->connect_timeout, session);
	*gone = rc != rcOk && dcm_connection_undecided(connection);
	if (rc == rcTimeout && !*gone)
		return dcm_fail(rc, "the server did not decide in time; the request is withdrawn");
	return rc;
}

/* *@gone: nobody has decided, nor will. That its server has revoked what it shows itself by is no
   reason not to ask: it publishes, and the caller never held that handle. */
static Retcode ask(const struct search *search, const char *name, Handle server, bool *gone,
		   Handle *session)
{
	DcmHandle connection;
	struct dcm_who who;
	Retcode rc;

	*gone = false;
	rc = dcm_who_found(server, &who)
		     ? dcm_connection_create(search->type, name, &who, search->client, &connection)
		     : dcm_fail(rcInvalidArgument, "another thread closed what this one found");
	if (rc != rcOk)
		return rc;
	rc = wait_for_decision(search, connection, gone, session);
	close_quietly(connection, DCM_KIND_CONNECTION);
	return rc;
}

static Retcode find_and_ask(struct search *search, Handle *session)
{
	bool gone = true;
	Retcode rc = rcOk;

	while (gone) {
		char name[DCM_NAME_SIZE];
		Handle server;

		rc = find(search, name, &server);
		if (rc != rcOk)
			return rc;
		rc = ask(search, name, server, &gone, session);
		KnHandleClose(server);
	}
	return rc;
}

/* Told now, and not when a server has been found at last. */
static Retcode check(Handle client, const Handle *session)
{
	struct dcm_who who;

	if (session == NULL)
		return dcm_fail(rcInvalidArgument, "outSessionHandle is null");
	if (client == INVALID_HANDLE)
		return rcOk;
	return dcm_who_is(client, OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, "clientHandle", &who);
}

Retcode DcmConnectAnyEx(const char *endpointType, const char *endpointName, const char *serverName,
			Handle serverHandle, Handle clientHandle, DcmTimeout findTimeout,
			DcmTimeout connectTimeout, Handle *outSessionHandle)
{
	struct search search = { .type = endpointType,
				 .client = clientHandle,
				 .connect_timeout = connectTimeout };
	Handle session = INVALID_HANDLE;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	rc = dcm_fabric_check();
	if (rc == rcOk)
		rc = check(clientHandle, outSessionHandle);
	if (rc != rcOk)
		return rc;
	*outSessionHandle = INVALID_HANDLE;
	search.find_deadline_ns = dcm_park_deadline(dcm_wait_ns(findTimeout));
	rc = DcmSetSubscription(endpointType, endpointName, serverName, serverHandle,
				&search.subscription);
	if (rc == rcOk) {
		rc = find_and_ask(&search, &session);
		close_quietly(search.subscription, DCM_KIND_SUBSCRIPTION);
	}
	*outSessionHandle = session;
	errno = saved;
	return rc;
}

Retcode DcmConnectAny(const char *endpointType, Handle *outSessionHandle)
{
	return DcmConnectAnyEx(endpointType, NULL, NULL, INVALID_HANDLE, INVALID_HANDLE,
			       INFINITE_TIMEOUT, INFINITE_TIMEOUT, outSessionHandle);
}
