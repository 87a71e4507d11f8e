/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A participant that does what its standard input says, a command a line (words separated by tabs), and answers each with
 * "rcOk" or another code:
 *
 *	init | fini
 *	publish TYPE NAME | subscribe TYPE | read
 *	listen | accept		on the last publication, with the last callable handle
 *	ask TYPE NAME		a connection, and DcmConnect() with timeout 0
 *	connect			DcmConnect() of the last connection again, 5 seconds
 */
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <stdio.h>
#include <string.h>

static DcmHandle publication, subscription, request, connection;
static Handle listener, callable, session;

static Retcode publish(const char *type, const char *name)
{
	return DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), type, name, &publication);
}

static Retcode accept_request(void)
{
	Retcode rc = KnHandleCreateListener(&listener);

	if (rc == rcOk)
		rc = KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
						OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
						listener, 1, &callable);
	if (rc == rcOk)
		rc = DcmAccept(request, callable, INVALID_HANDLE);
	return rc;
}

static Retcode ask(const char *type, const char *name)
{
	Retcode rc = DcmCreateConnection(type, name, INVALID_HANDLE, INVALID_HANDLE, &connection);

	return rc == rcOk ? DcmConnect(connection, 0, &session) : rc;
}

static Retcode run(const char *verb, const char *type, const char *name)
{
	DcmPubStatus status;

	if (strcmp(verb, "init") == 0)
		return DcmInit();
	if (strcmp(verb, "fini") == 0)
		return DcmFini(), rcOk;
	if (strcmp(verb, "publish") == 0)
		return publish(type, name);
	if (strcmp(verb, "subscribe") == 0)
		return DcmSetSubscription(type, NULL, NULL, INVALID_HANDLE, &subscription);
	if (strcmp(verb, "read") == 0)
		return DcmReadPubQueue(subscription, 5000, &status, NULL, NULL, NULL);
	if (strcmp(verb, "listen") == 0)
		return DcmListen(publication, 5000, NULL, NULL, &request);
	if (strcmp(verb, "accept") == 0)
		return accept_request();
	if (strcmp(verb, "ask") == 0)
		return ask(type, name);
	if (strcmp(verb, "connect") == 0)
		return DcmConnect(connection, 5000, &session);
	return rcFail;
}

int main(void)
{
	char line[1024], *verb, *type, *name;

	while (fgets(line, sizeof line, stdin) != NULL) {
		Retcode rc;

		verb = strtok(line, "\t\n");
		type = strtok(NULL, "\t\n");
		name = strtok(NULL, "\t\n");
		if (verb == NULL)
			continue;
		rc = run(verb, type, name);
		printf("%s%s%s\n", RetcodeName(rc), rc == rcOk ? "" : " ",
		       rc == rcOk ? "" : DcmLastDetail());
		fflush(stdout);
	}
	return 0;
}
