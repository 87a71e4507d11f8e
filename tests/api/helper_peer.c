/* SPDX-License-Identifier: BSD-2-Clause */
/* A process that does what it is told over descriptor 3: tests/api/lib_peer.h */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"

enum { COMMANDS = 3, PLACES = 512, GROUP_MOST = 16 };

static char places[GROUP_MOST]; /* whose addresses are the contexts of a group */

/* What the peer was told to keep. */
static DcmRequest requests[PLACES];
static DcmMessage messages[PLACES];

static int64_t ns(uint32_t ms)
{
	return ms == INFINITE_TIMEOUT ? FOREVER_NS : ms * MS_NS;
}

static unsigned int place_of_message(void)
{
	for (unsigned int i = 0; i < PLACES; i++)
		if (messages[i].data == NULL)
			return i;
	exit(3);
}

static unsigned int place_of_request(void)
{
	for (unsigned int i = 0; i < PLACES; i++)
		if (requests[i].message.data == NULL)
			return i;
	exit(3);
}

static Handle or_invalid(uint64_t handle)
{
	return handle == 0 ? INVALID_HANDLE : handle;
}

static Handle or_own(uint64_t handle)
{
	return handle == 0 ? KosTaskGetHandle(KosTaskGetSelf()) : handle;
}

static Retcode do_serving(const struct peer_wire *q, struct peer_answer *a)
{
	const struct peer_ask *ask = &q->ask;
	Retcode rc;

	switch (ask->op) {
	case PEER_PUBLISH:
		return DcmPublishEndpoint(or_own(ask->handle), q->has_type ? q->type : NULL,
					  q->has_name ? q->name : NULL, &a->handle);
	case PEER_LISTEN:
		rc = DcmListen(ask->handle, ask->timeout, &a->other, a->name, &a->handle);
		if (rc == rcOk)
			rc = KnHandleGetSidByHandle(a->other, &a->sid);
		return rc;
	case PEER_CALLABLE:
		rc = KnHandleCreateListener(&a->other);
		if (rc != rcOk)
			return rc;
		return KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
						  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
						  a->other, (uint32_t)ask->other, &a->handle);
	case PEER_ACCEPT:
		return DcmAccept(ask->handle, ask->other, INVALID_HANDLE);
	default:
		return rcFail;
	}
}

static Retcode do_asking(const struct peer_wire *q, struct peer_answer *a)
{
	const struct peer_ask *ask = &q->ask;
	DcmPubStatus status = 0;
	Retcode rc;

	switch (ask->op) {
	case PEER_SUBSCRIBE:
		return DcmSetSubscription(q->type, q->has_name ? q->name : NULL, NULL,
					  or_invalid(ask->other), &a->handle);
	case PEER_READ:
		rc = DcmReadPubQueue(ask->handle, ask->timeout, &status, &a->handle, a->type,
				     a->name);
		if (rc == rcOk)
			rc = KnHandleGetSidByHandle(a->handle, &a->sid);
		a->other = status;
		return rc;
	case PEER_CREATE:
		return DcmCreateConnection(q->type, q->name, or_invalid(ask->other),
					   or_invalid(ask->handle), &a->handle);
	case PEER_CONNECT:
		return DcmConnect(ask->handle, ask->timeout, &a->handle);
	case PEER_CONNECT_ANY:
		return DcmConnectAnyEx(q->type, q->has_name ? q->name : NULL, NULL, INVALID_HANDLE,
				       or_invalid(ask->handle), ask->timeout, INFINITE_TIMEOUT,
				       &a->handle);
	default:
		return rcFail;
	}
}

/* Interfaces as words; the places of the words. */
static size_t split(char *words, const char **out, size_t most)
{
	size_t count = 0;

	for (char *rest, *word = strtok_r(words, " ", &rest); word != NULL && count < most;
	     word = strtok_r(NULL, " ", &rest))
		out[count++] = word;
	return count;
}

static Retcode do_group_publish(const struct peer_wire *q, struct peer_answer *a)
{
	char words[DCM_NAME_SIZE];
	const char *types[GROUP_MOST];
	DcmGroupEndpoint endpoints[GROUP_MOST];
	size_t count;

	memcpy(words, q->type, sizeof(words));
	count = split(words, types, GROUP_MOST);
	for (size_t i = 0; i < count; i++)
		endpoints[i] = (DcmGroupEndpoint){ types[i], q->name, &places[i] };
	return DcmPublishGroupEndpoints(or_own(q->ask.handle), endpoints, count, &a->handle);
}

static Retcode do_group_read(const struct peer_ask *ask, struct peer_answer *a)
{
	DcmGroupEndpointInfo seen[GROUP_MOST] = { { .endpointType = "" } };
	DcmPubStatus status = 0;
	Retcode rc = DcmReadGroupPubQueue(ask->handle, ask->timeout, GROUP_MOST, &status, &a->handle,
					  a->type, seen);
	size_t used = 0;

	if (rc != rcOk)
		return rc;
	for (size_t i = 0; i < GROUP_MOST && seen[i].endpointType[0] != '\0'; i++)
		used += (size_t)snprintf(a->name + used, sizeof(a->name) - used, "%s%s",
					 i == 0 ? "" : " ", seen[i].endpointName);
	a->other = status;
	return KnHandleGetSidByHandle(a->handle, &a->sid);
}

static Retcode do_group(const struct peer_wire *q, struct peer_answer *a)
{
	const struct peer_ask *ask = &q->ask;
	char words[DCM_NAME_SIZE];
	const char *types[GROUP_MOST];
	void *context;
	Retcode rc;

	switch (ask->op) {
	case PEER_GROUP_PUBLISH:
		return do_group_publish(q, a);
	case PEER_GROUP_LISTEN:
		rc = DcmListenGroupPub(ask->handle, ask->timeout, &a->other, a->name, &context,
				       &a->handle);
		if (rc != rcOk)
			return rc;
		a->size = (uint64_t)((char *)context - places) + 1;
		return KnHandleGetSidByHandle(a->other, &a->sid);
	case PEER_GROUP_SUBSCRIBE:
		memcpy(words, q->type, sizeof(words));
		return DcmSetGroupSubscription(types, split(words, types, GROUP_MOST), NULL,
					       or_invalid(ask->other), &a->handle);
	case PEER_GROUP_READ:
		return do_group_read(ask, a);
	default:
		return rcFail;
	}
}

static Retcode do_call(const struct peer_ask *ask, struct peer_answer *a)
{
	DcmMessage request, reply;
	bool same;
	Retcode rc = DcmLoan(ask->handle, ask->size, ns(ask->timeout), &request);

	if (rc != rcOk)
		return rc;
	pattern_fill(request.data, ask->size, ask->seed);
	rc = DcmCall(ask->handle, &request, ns(ask->timeout), &reply);
	if (rc != rcOk) {
		DcmRelease(&request);
		return rc;
	}
	same = reply.size == ask->size && pattern_is(reply.data, reply.size, ask->seed);
	a->size = reply.size;
	a->status = reply.status;
	if (ask->op == PEER_KEEP) {
		a->other = place_of_message();
		messages[a->other] = reply;
		return same ? rcOk : rcFail;
	}
	rc = DcmRelease(&reply);
	return same ? rc : rcFail;
}

static Retcode do_calling(const struct peer_ask *ask, struct peer_answer *a)
{
	switch (ask->op) {
	case PEER_LOAN:
		a->other = place_of_message();
		return DcmLoan(ask->handle, ask->size, ns(ask->timeout), &messages[a->other]);
	case PEER_SEND:
		return DcmSend(ask->handle, &messages[ask->other % PLACES], ns(ask->timeout));
	case PEER_CALL:
	case PEER_KEEP:
		return do_call(ask, a);
	default:
		return rcFail;
	}
}

static Retcode echo(DcmRequest *request)
{
	DcmMessage reply;
	Retcode rc;

	if (request->flags & DCM_REQUEST_ONE_WAY)
		return DcmRelease(&request->message);
	rc = DcmLoanReply(request, request->message.size, &reply);
	if (rc != rcOk)
		return rc;
	memcpy(reply.data, request->message.data, request->message.size);
	reply.status = request->message.status;
	return DcmReply(request, &reply);
}

static Retcode do_receiving(const struct peer_ask *ask, struct peer_answer *a)
{
	DcmRequest request;
	Retcode rc;

	switch (ask->op) {
	case PEER_RECEIVE:
		rc = DcmReceive(ask->handle, ns(ask->timeout), &request);
		if (rc != rcOk)
			return rc;
		a->other = place_of_request();
		a->size = request.message.size;
		a->status = request.message.status;
		a->sid = request.riid;
		requests[a->other] = request;
		return rc;
	case PEER_REPLY:
		return echo(&requests[ask->other % PLACES]);
	case PEER_RELEASE:
		rc = DcmRelease(&requests[ask->other % PLACES].message);
		return rc == rcOk ? DcmRelease(&messages[ask->other % PLACES]) : rc;
	case PEER_ECHO:
		while ((rc = DcmReceive(ask->handle, FOREVER_NS, &request)) == rcOk)
			if (echo(&request) == rcQuotaExceeded)
				DcmRelease(&request.message);
		return rc;
	default:
		return rcFail;
	}
}

static Retcode set_limit(enum __rlimit_resource resource, uint64_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0)
		return rcFail;
	if (resource == RLIMIT_NOFILE && value < limit.rlim_max) {
		int lowest = dup(COMMANDS);

		close(lowest);
		value += (uint64_t)lowest;
	}
	limit.rlim_cur = value > limit.rlim_max ? limit.rlim_max : value;
	return setrlimit(resource, &limit) == 0 ? rcOk : rcFail;
}

static void dump(size_t bytes) __attribute__((noreturn));
static void dump(size_t bytes)
{
	unsigned char *memory = malloc(bytes);

	if (memory != NULL)
		memset(memory, 1, bytes);
	abort();
}

static bool leaving; /* the thread that sets it ends behind its answer */

static Retcode do_who(const struct peer_ask *ask, struct peer_answer *a)
{
	DcmPeer peer = { .structSize = sizeof(peer) };
	Retcode rc = DcmGetPeer(ask->handle, &peer);

	a->status = (int32_t)peer.verified;
	a->other = (uint64_t)peer.pid;
	a->size = peer.uid;
	a->sid = peer.gid;
	memcpy(a->name, peer.name, sizeof(a->name));
	return rc;
}

static Retcode do_info(const struct peer_ask *ask, struct peer_answer *a)
{
	DcmSessionInfo info = { .structSize = sizeof(info) };
	Retcode rc = DcmGetSessionInfo(ask->handle, &info);

	a->status = (int32_t)info.transfer;
	a->size = info.capacityBytes;
	a->sid = info.committedBytes;
	a->other = info.largestLoan;
	return rc;
}

static Retcode do_process(const struct peer_ask *ask, struct peer_answer *a)
{
	struct holdings now;
	unsigned int id = (unsigned int)ask->handle;

	switch (ask->op) {
	case PEER_DENY:
		return deny_with_error((long)ask->other, ask->size == 0 ? EPERM : (int)ask->size,
				       true) == 0
			       ? rcOk
			       : rcSecurityDisallow;
	case PEER_DENY_AT:
		return deny_open_at(true) == 0 ? rcOk : rcSecurityDisallow;
	case PEER_USER_IS:
		if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
			return rcSecurityDisallow;
		/* A change of user hides a process's descriptors, as a setuid program's are. */
		return prctl(PR_SET_DUMPABLE, 1) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0
			       ? rcOk
			       : rcFail;
	case PEER_OTHER_NET:
		return unshare(CLONE_NEWNET) == 0 ? rcOk : rcSecurityDisallow;
	case PEER_HOLDS:
		now = holdings_now();
		a->other = now.fds;
		a->size = now.mappings;
		a->sid = now.threads;
		return rcOk;
	case PEER_EXEC:
		execlp("sleep", "sleep", "600", (char *)NULL);
		return rcFail;
	case PEER_LIMIT:
		return set_limit((enum __rlimit_resource)ask->other, ask->size);
	case PEER_LEAVE:
		leaving = true;
		return rcOk;
	case PEER_DUMP:
		dump(ask->size);
	default:
		return rcFail;
	}
}

static Retcode do_other(const struct peer_wire *q, struct peer_answer *a)
{
	const struct peer_ask *ask = &q->ask;

	switch (ask->op) {
	case PEER_INIT:
		return DcmInit();
	case PEER_FINI:
		DcmFini();
		return rcOk;
	case PEER_SETENV:
		return setenv(q->name, q->type, 1) == 0 ? rcOk : rcFail;
	case PEER_CLOSE:
		return DcmCloseHandle(ask->handle);
	case PEER_KCLOSE:
		return KnHandleClose(ask->handle);
	case PEER_USER:
		return KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
						ask->other != 0
							? (uint32_t)ask->other
							: OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID,
						NULL, &a->handle);
	case PEER_COPY:
		return KnHandleCopy(or_own(ask->handle), (uint32_t)ask->other, INVALID_HANDLE,
				    &a->handle);
	case PEER_REVOKE:
		return KnHandleRevoke(or_own(ask->handle));
	case PEER_SID:
		return KnHandleGetSidByHandle(or_own(ask->handle), &a->sid);
	case PEER_WHO:
		return do_who(ask, a);
	case PEER_INFO:
		return do_info(ask, a);
	default:
		return do_process(ask, a);
	}
}

static Retcode do_it(const struct peer_wire *q, struct peer_answer *a)
{
	switch (q->ask.op) {
	case PEER_PUBLISH:
	case PEER_LISTEN:
	case PEER_CALLABLE:
	case PEER_ACCEPT:
		return do_serving(q, a);
	case PEER_SUBSCRIBE:
	case PEER_READ:
	case PEER_CREATE:
	case PEER_CONNECT:
	case PEER_CONNECT_ANY:
		return do_asking(q, a);
	case PEER_GROUP_PUBLISH:
	case PEER_GROUP_LISTEN:
	case PEER_GROUP_SUBSCRIBE:
	case PEER_GROUP_READ:
		return do_group(q, a);
	case PEER_LOAN:
	case PEER_SEND:
	case PEER_CALL:
	case PEER_KEEP:
		return do_calling(&q->ask, a);
	case PEER_RECEIVE:
	case PEER_REPLY:
	case PEER_RELEASE:
	case PEER_ECHO:
		return do_receiving(&q->ask, a);
	default:
		return do_other(q, a);
	}
}

static void *obey(void *arg)
{
	struct peer_wire wire;

	while (recv(COMMANDS, &wire, sizeof(wire), 0) == sizeof(wire)) {
		struct peer_answer answer = { .rc = rcFail };

		answer.rc = do_it(&wire, &answer);
		snprintf(answer.detail, sizeof(answer.detail), "%s", DcmLastDetail());
		if (send(COMMANDS, &answer, sizeof(answer), MSG_NOSIGNAL) != sizeof(answer))
			exit(4);
		if (leaving)
			break;
	}
	if (leaving) {
		leaving = false;
		if (pthread_create(&(pthread_t){ 0 }, NULL, obey, NULL) != 0)
			exit(5);
		pthread_exit(NULL);
	}
	exit(0);
	return arg;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc > 1 && DcmSetProcessName(argv[1]) != rcOk)
		return 2;
	obey(NULL);
}
