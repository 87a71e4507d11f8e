/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * What ends a channel between two processes, and what does not: only the client's last descendant of
 * the session, its process, or the server's listener. DCM handles and DcmFini of either side do not.
 */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Over"

struct parties {
	struct peer client;
	uint64_t connection, session;
	DcmHandle publication, request;
	Handle listener, callable;
};

/* Connected; all DCM handles are still open. */
static struct parties connected(void)
{
	struct parties p = { .client = peer_attached("client") };

	must(KnHandleCreateListener(&p.listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, p.listener, 1,
					&p.callable));
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &p.publication));
	p.connection = peer_must(&p.client, PEER_CREATE, .type = TYPE, .name = "e").handle;
	peer_post(&p.client, PEER_CONNECT, .handle = p.connection, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(p.publication, INFINITE_TIMEOUT, NULL, NULL, &p.request));
	must(DcmAccept(p.request, p.callable, INVALID_HANDLE));
	p.session = peer_wait(&p.client).handle;
	return p;
}

static void call_works(struct parties *p, uint64_t session, const char *what)
{
	struct peer_answer answer;
	DcmRequest request;
	DcmMessage reply;

	peer_post(&p->client, PEER_CALL, .handle = session, .size = 64, .seed = 9,
		  .timeout = INFINITE_TIMEOUT);
	request = must_receive(p->listener);
	must(DcmLoanReply(&request, 64, &reply));
	memcpy(reply.data, request.message.data, 64);
	must(DcmReply(&request, &reply));
	answer = peer_wait(&p->client);
	is_answer(rcOk, &answer, "a call when %s", what);
}

static bool no_channel(void *arg)
{
	return mapping_count("/memfd:dcm-channel") <= *(unsigned int *)arg;
}

static bool holds_nothing(void *arg)
{
	return peer_do((struct peer *)arg, PEER_HOLDS).size == 0;
}

/* With copies: the last one alone counts, whichever it is. */
static void test_what_does_not(void)
{
	struct parties p = connected();
	unsigned int none = 0;
	uint64_t copy, deep;

	must(DcmCloseHandle(p.request));
	call_works(&p, p.session, "the request is closed");
	must(DcmCloseHandle(p.publication));
	call_works(&p, p.session, "the publication is closed");
	must(KnHandleClose(p.callable));
	call_works(&p, p.session, "the callable handle is closed");
	peer_must(&p.client, PEER_CLOSE, .handle = p.connection);
	call_works(&p, p.session, "the connection is closed");
	copy = peer_must(&p.client, PEER_COPY, .handle = p.session,
			 .other = OCAP_IPC_CALL | OCAP_HANDLE_COPY)
		       .handle;
	deep = peer_must(&p.client, PEER_COPY, .handle = copy, .other = OCAP_IPC_CALL).handle;
	peer_must(&p.client, PEER_KCLOSE, .handle = p.session);
	call_works(&p, copy, "the session's first handle is closed");
	peer_must(&p.client, PEER_FINI);
	call_works(&p, copy, "the client has left by DcmFini");
	DcmFini();
	call_works(&p, deep, "the server has left by DcmFini");
	peer_must(&p.client, PEER_KCLOSE, .handle = copy);
	call_works(&p, deep, "one copy is left");
	peer_must(&p.client, PEER_KCLOSE, .handle = deep);
	ok(until(no_channel, &none), "none is left: the server's memory for it is free");
	ok(until(holds_nothing, &p.client), "and so is the client's");
	must(KnHandleClose(p.listener));
	must(DcmInit());
	peer_end(&p.client);
}

static DcmRequest one_way(struct parties *p, uint64_t through, size_t size)
{
	uint64_t place = peer_must(&p->client, PEER_LOAN, .handle = through, .size = size).other;

	peer_must(&p->client, PEER_SEND, .handle = p->session, .other = place);
	return must_receive(p->listener);
}

/* A call of one that dies, or a message of one that closes all. */
static DcmRequest hold(struct parties *p, uint64_t through, bool dies)
{
	DcmRequest held;

	if (!dies) {
		held = one_way(p, through, 5000);
		peer_must(&p->client, PEER_KCLOSE, .handle = through);
		peer_must(&p->client, PEER_KCLOSE, .handle = p->session);
		return held;
	}
	peer_post(&p->client, PEER_CALL, .handle = through, .size = 5000, .seed = 4,
		  .timeout = INFINITE_TIMEOUT);
	held = must_receive(p->listener);
	peer_kill(&p->client);
	return held;
}

/* The requests that the server holds keep its memory, and nothing else of the client. */
static void test_held(bool dies)
{
	struct parties p = connected();
	uint64_t copy =
		peer_must(&p.client, PEER_COPY, .handle = p.session, .other = OCAP_IPC_CALL).handle;
	DcmRequest first = one_way(&p, copy, 8), held = hold(&p, copy, dies), none;
	unsigned int nothing = 0;
	DcmMessage reply;

	pause_ms(50);
	is_uint(5000, held.message.size, "a request, when its client %s",
		dies ? "is dead" : "has closed all");
	ok(!dies || pattern_is(held.message.data, 5000, 4), "is readable");
	if (dies && DcmLoanReply(&held, 8, &reply) == rcOk)
		is_rc(rcNotConnected, DcmReply(&held, &reply), "it is answered in vain");
	else
		is_rc(rcOk, DcmRelease(&held.message), "it is released");
	is_uint(1, mapping_count("/memfd:dcm-channel"), "another one is held");
	is_rc(rcOk, DcmRelease(&first.message), "until it is released");
	ok(until(no_channel, &nothing), "then the server's memory for it is free");
	is_rc(rcTimeout, DcmReceive(p.listener, 0, &none), "nothing else comes");
	must(DcmCloseHandle(p.request));
	must(DcmCloseHandle(p.publication));
	must(KnHandleClose(p.callable));
	must(KnHandleClose(p.listener));
	if (!dies)
		peer_end(&p.client);
}

/* The listener is the server's end of all its channels. */
static void test_listener(void)
{
	struct parties p = connected();
	uint64_t copy =
		peer_must(&p.client, PEER_COPY, .handle = p.session, .other = OCAP_IPC_CALL).handle;
	struct peer_answer answer;
	unsigned int none = 0;

	peer_post(&p.client, PEER_CALL, .handle = copy, .size = 8, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&p.client);
	must(KnHandleClose(p.listener));
	answer = peer_wait(&p.client);
	is_answer(rcNotConnected, &answer, "a call that is under way when the listener is closed");
	answer = peer_do(&p.client, PEER_CALL, .handle = p.session, .size = 8,
			 .timeout = INFINITE_TIMEOUT);
	is_answer(rcNotConnected, &answer, "a call later, through another handle");
	ok(until(no_channel, &none), "the server's memory is free");
	peer_must(&p.client, PEER_KCLOSE, .handle = copy);
	peer_must(&p.client, PEER_KCLOSE, .handle = p.session);
	must(DcmCloseHandle(p.request));
	must(DcmCloseHandle(p.publication));
	must(KnHandleClose(p.callable));
	peer_end(&p.client);
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	test_what_does_not();
	test_held(false);
	test_held(true);
	test_listener();
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
