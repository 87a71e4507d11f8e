/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Each right: what needs it, that it is missed where it is missing, and that it never comes back. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

enum {
	GENERAL = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_COPY | OCAP_HANDLE_GET_SID |
		  OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT,
};

static Handle user_with(uint32_t rights)
{
	Handle handle;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &handle));
	return handle;
}

static Handle copy_with(Handle handle, uint32_t rights)
{
	Handle copy;

	must(KnHandleCopy(handle, rights, INVALID_HANDLE, &copy));
	return copy;
}

static void lacks(Retcode rc, const char *right, const char *what)
{
	is_rc(rcNoCapability, rc, "%s without %s", what, right);
	ok(strstr(DcmLastDetail(), right) != NULL, "which the detail names: %s", DcmLastDetail());
}

/* A mask shrinks with each copy, by any of its bits, and never grows. */
static void test_masks_shrink(void)
{
	uint64_t state = tap_seed() | 1;
	unsigned wrong = 0;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t mask = (uint32_t)random_next(&state) & (0xffff0000u | GENERAL);
		uint32_t wanted = (uint32_t)random_next(&state) & (0xffff0000u | GENERAL);
		Handle handle = user_with(mask), copy = 0;
		Retcode due = (mask & OCAP_HANDLE_COPY) != 0 && (wanted & ~mask) == 0
				      ? rcOk
				      : rcNoCapability;
		Retcode rc = KnHandleCopy(handle, wanted, INVALID_HANDLE, &copy);
		Sid sid;

		wrong += rc != due || (rc == rcOk) != (copy != INVALID_HANDLE);
		if (rc == rcOk) {
			wrong += KnHandleGetSidByHandle(copy, &sid) !=
				 ((wanted & OCAP_HANDLE_GET_SID) != 0 ? rcOk : rcNoCapability);
			must(KnHandleClose(copy));
		}
		must(KnHandleClose(handle));
	}
	is_uint(0, wrong, "2000 masks: a copy has no right that the original lacks");
}

static void test_copy(void)
{
	Handle all = user_with(GENERAL), none = 7;

	lacks(KnHandleCopy(user_with(GENERAL & ~OCAP_HANDLE_COPY), 0, INVALID_HANDLE, &none),
	      "OCAP_HANDLE_COPY", "a copy");
	is_uint(INVALID_HANDLE, none, "gives no handle");
	lacks(KnHandleCopy(copy_with(all, GENERAL & ~OCAP_HANDLE_COPY), 0, INVALID_HANDLE, &none),
	      "OCAP_HANDLE_COPY", "a copy of a copy");
	is_rc(rcNoCapability, KnHandleCopy(all, GENERAL | OCAP_IPC_CALL, INVALID_HANDLE, &none),
	      "a copy with more rights");
	is_rc(rcInvalidArgument, KnHandleCopy(all, 1u << 7, INVALID_HANDLE, &none),
	      "a right that does not exist");
	is_rc(rcInvalidArgument, KnHandleCopy(all, 0, all, &none), "a badge that is none");
	is_rc(rcInvalidArgument, KnHandleCopy(all, 0, INVALID_HANDLE, NULL), "nowhere to put it");
	is_rc(rcInvalidArgument, KnHandleCopy(1, 0, INVALID_HANDLE, &none), "a copy of nothing");
}

static void test_identities(void)
{
	Handle all = user_with(GENERAL), sid_only = copy_with(all, OCAP_HANDLE_GET_SID);
	Handle transfer_only = copy_with(all, OCAP_HANDLE_TRANSFER);
	DcmHandle none;
	Sid sid;

	lacks(KnHandleGetSidByHandle(transfer_only, &sid), "OCAP_HANDLE_GET_SID", "the SID");
	lacks(DcmPublishEndpoint(sid_only, "t", "n", &none), "OCAP_HANDLE_TRANSFER",
	      "a publication");
	lacks(DcmPublishEndpoint(transfer_only, "t", "n", &none), "OCAP_HANDLE_GET_SID",
	      "a publication");
	lacks(DcmCreateConnection("t", "n", INVALID_HANDLE, sid_only, &none),
	      "OCAP_HANDLE_TRANSFER", "a client's identity");
	lacks(DcmCreateConnection("t", "n", transfer_only, INVALID_HANDLE, &none),
	      "OCAP_HANDLE_GET_SID", "a server's identity");
	lacks(DcmSetSubscription("t", NULL, NULL, transfer_only, &none), "OCAP_HANDLE_GET_SID",
	      "a filter");
	is_rc(rcOk, DcmSetSubscription("t", NULL, NULL, sid_only, &none), "a filter with it");
	must(DcmCloseHandle(none));
}

static void test_events(void)
{
	Handle all = user_with(GENERAL | 0xffff0000u);
	Handle get = copy_with(all, OCAP_HANDLE_GET_EVENT),
	       set = copy_with(all, OCAP_HANDLE_SET_EVENT);
	EventDesc event;
	Notice notice;
	size_t count;

	must(KnNoticeCreate(&notice));
	lacks(KnNoticeSubscribeToObject(notice, set, 1u << 20, 1), "OCAP_HANDLE_GET_EVENT",
	      "a subscription");
	must(KnNoticeSubscribeToObject(notice, get, 1u << 20, 1));
	lacks(KnNoticeSetObjectEvent(get, 1u << 20), "OCAP_HANDLE_SET_EVENT", "an event");
	is_rc(rcOk, KnNoticeSetObjectEvent(set, 1u << 20), "raised through another copy");
	is_rc(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count), "it is told");
	must(KnNoticeRelease(notice));
}

/* Messages that could not be sent for want of a right are still the caller's. */
static void test_calls(void)
{
	DcmMessage message, reply, none;
	struct pair pair;
	Handle idle, more;
	uint64_t call;
	Sid sid;

	pair_open(&pair);
	idle = copy_with(pair.session, OCAP_HANDLE_COPY | OCAP_HANDLE_GET_EVENT);
	message = must_loan(pair.session, 10);
	lacks(DcmLoan(idle, 1, 0, &none), "OCAP_IPC_CALL", "a loan");
	lacks(DcmCall(idle, &message, 0, &reply), "OCAP_IPC_CALL", "a call");
	ok(message.data != NULL, "the message is the caller's");
	lacks(DcmStart(idle, &message, 0, &call), "OCAP_IPC_CALL", "a call in two steps");
	ok(message.data != NULL, "the message is the caller's");
	lacks(DcmSend(idle, &message, 0), "OCAP_IPC_CALL", "a message");
	ok(message.data != NULL, "the message is the caller's");
	lacks(DcmFinish(idle, DCM_ANY_CALL, 0, NULL, &reply), "OCAP_IPC_CALL", "the second step");
	is_rc(rcNoCapability, KnHandleCopy(idle, OCAP_IPC_CALL, INVALID_HANDLE, &more),
	      "the right does not come back");
	is_rc(rcNoCapability, KnHandleGetSidByHandle(pair.session, &sid), "a session's SID");
	must(DcmRelease(&message));
	must(KnHandleClose(idle));
	is_rc(rcNoCapability, KnHandleCopy(pair.listener, 0, INVALID_HANDLE, &more),
	      "a listener's copy");
	pair_close(&pair);
}

static void test_accept(void)
{
	DcmHandle connection, request;
	struct pair pair;
	Handle session, without[2];

	pair_open(&pair);
	must(KnHandleClose(pair.callable));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, GENERAL | OCAP_IPC_CALL, NULL,
					pair.listener, 1, &pair.callable));
	without[0] = copy_with(pair.callable, GENERAL);
	without[1] = copy_with(pair.callable, OCAP_IPC_CALL);
	must(DcmCreateConnection(PAIR_TYPE, pair.name, INVALID_HANDLE, INVALID_HANDLE,
				 &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("it does not wait");
	must(DcmListen(pair.publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	lacks(DcmAccept(request, without[0], INVALID_HANDLE), "OCAP_IPC_CALL", "an accept");
	lacks(DcmAccept(request, without[1], INVALID_HANDLE), "OCAP_HANDLE_TRANSFER", "an accept");
	is_rc(rcOk, DcmAccept(request, pair.callable, INVALID_HANDLE), "an accept with both");
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(KnHandleClose(session));
	must(KnHandleClose(without[0]));
	must(KnHandleClose(without[1]));
	must(DcmCloseHandle(connection));
	must(DcmCloseHandle(request));
	pair_close(&pair);
}

/* What comes from another process identifies it, and lets nobody pose as it. */
static void test_peers(void)
{
	struct peer peer = peer_attached("somebody");
	struct peer_answer asked;
	DcmHandle publication, subscription, request, none;
	Handle server, client, copy;
	Sid sid;

	peer_must(&peer, PEER_PUBLISH, .type = "rights.Peer", .name = "p");
	must(DcmSetSubscription("rights.Peer", NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, NULL));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "rights.Own", "o",
				&publication));
	asked = peer_must(&peer, PEER_CREATE, .type = "rights.Own", .name = "o");
	peer_post(&peer, PEER_CONNECT, .handle = asked.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, &client, NULL, &request));
	is_rc(rcOk, KnHandleGetSidByHandle(server, &sid), "the server's SID");
	is_rc(rcOk, KnHandleGetSidByHandle(client, &sid), "the client's SID");
	lacks(DcmPublishEndpoint(server, "t", "n", &none), "OCAP_HANDLE_TRANSFER",
	      "a publication in the server's name");
	lacks(DcmPublishEndpoint(client, "t", "n", &none), "OCAP_HANDLE_TRANSFER",
	      "one in the client's name");
	lacks(DcmCreateConnection("t", "n", INVALID_HANDLE, client, &none), "OCAP_HANDLE_TRANSFER",
	      "a request in the client's name");
	lacks(KnHandleCopy(server, OCAP_HANDLE_GET_SID, INVALID_HANDLE, &copy), "OCAP_HANDLE_COPY",
	      "a copy of it");
	must(DcmCloseHandle(request));
	peer_wait(&peer);
	must(KnHandleClose(server));
	must(KnHandleClose(client));
	must(DcmCloseHandle(subscription));
	must(DcmCloseHandle(publication));
	peer_end(&peer);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	test_masks_shrink();
	test_copy();
	test_identities();
	test_events();
	test_calls();
	test_accept();
	test_peers();
	DcmFini();
	return 0;
}
