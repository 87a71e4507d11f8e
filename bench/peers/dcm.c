/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DCM itself, by its public API, linked statically as the limits are.
 *
 * Calls: DcmLoan, DcmCall, DcmReceive, DcmLoanReply, DcmReply, DcmRelease, all in place. One-way:
 * DcmSend, DcmReceive and DcmRelease, one by one; of batches DcmLoanBatch, DcmSendBatch, and
 * DcmReceiveBatch and DcmReleaseBatch of as many. Before it waits for room, a client sends what it
 * has of a batch. A server is one process with one listener; each client has a session of its own. A
 * client connects by name, with DcmConnect to a server in DcmListen. It accepts all that it knows
 * will come before it receives; with PEER_CONNECT, one for each call, then receives.
 *
 * Fan-out and appearing are DCM's publications of endpoints: the subscribers are in
 * DcmReadPubQueue, and the number of the publication is the endpoint's name. The withdrawal of the
 * one before, which they are told of as well, comes before the pause and is not measured; what a
 * subscriber reads is the names, from which the payload is made up again (64 bytes in its cache).
 *
 * Fairness: for it, channels are as they are made by default, and so is the fabric, which nobody
 * else uses. Against it, all payload of a call lies in an arena that a real client would share
 * with other calls under way.
 */
#include <dcm/dcm.h>
#include <stdio.h>
#include <string.h>

#include "bench/lib_need.h"
#include "bench/peers/peer.h"

#define TYPE "bench.Peer"

/* A channel has 256 slots; a batch that leaves none for the next lets both sides wait. */
enum { BATCH_MOST = 64 };

struct own {
	Handle session, listener, callable;
	DcmHandle publication, connection, subscription;
	uint32_t to_accept;
	uint64_t *buffer; /* PEER_FAN */
	/* One-way messages: a client's that are loaned, of which @unsent are written; a server's that
	 * are received, of which those from @next on have not been taken. */
	DcmMessage loaned[BATCH_MOST];
	DcmRequest received[BATCH_MOST];
	size_t batch, rooms, unsent, count, next;
};

static void choose_wait(const struct peer_job *job)
{
	static const uint32_t policies[] = { [PEER_SPIN] = DCM_WAIT_SPIN,
					     [PEER_ADAPTIVE] = DCM_WAIT_ADAPTIVE,
					     [PEER_SLEEP] = DCM_WAIT_SLEEP };

	bench_need(rcOk, DcmSetWaitPolicy(INVALID_HANDLE, policies[job->wait], -1),
		   "DcmSetWaitPolicy");
}

static void begin(struct peer_end *e)
{
	struct own *own = peer_memory(sizeof(*own));

	own->buffer = peer_memory(e->job->size);
	own->batch = e->job->batch < BATCH_MOST ? e->job->batch : BATCH_MOST;
	own->publication = DCM_INVALID_HANDLE;
	own->session = INVALID_HANDLE;
	bench_need(rcOk, DcmInit(), "DcmInit");
	choose_wait(e->job);
	e->own = own;
}

static const char *name_of(uint32_t server)
{
	static char name[16];

	snprintf(name, sizeof(name), "%u", server);
	return name;
}

static void publish(struct own *own, const char *name)
{
	bench_need(rcOk,
		   DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, name,
				      &own->publication),
		   "DcmPublishEndpoint");
}

static void withdraw(struct peer_end *e)
{
	struct own *own = e->own;

	if (own->publication == DCM_INVALID_HANDLE)
		return;
	bench_need(rcOk, DcmCloseHandle(own->publication), "DcmCloseHandle");
	own->publication = DCM_INVALID_HANDLE;
}

static void announce(struct peer_end *e)
{
	publish(e->own, name_of(0));
}

static void watch(struct peer_end *e)
{
	struct own *own = e->own;

	bench_need(rcOk, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &own->subscription),
		   "DcmSetSubscription");
}

/* The name of the next endpoint that appears. */
static void read_name(struct own *own, char *name)
{
	DcmPubStatus status;

	do
		bench_need(rcOk,
			   DcmReadPubQueue(own->subscription, INFINITE_TIMEOUT, &status, NULL, NULL,
					   name),
			   "DcmReadPubQueue");
	while (status != DCM_PUBLISHED);
}

static void told(struct peer_end *e)
{
	char name[DCM_NAME_SIZE];

	read_name(e->own, name);
}

static void serve(struct peer_end *e)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN) {
		watch(e);
		return;
	}
	bench_need(rcOk, KnHandleCreateListener(&own->listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					      own->listener, 1, &own->callable),
		   "KnHandleCreateUserObjectEx");
	own->to_accept = e->job->clients / e->job->servers;
	publish(own, name_of(e->number));
}

static void accept_one(struct own *own)
{
	DcmHandle request;

	bench_need(rcOk, DcmListen(own->publication, INFINITE_TIMEOUT, NULL, NULL, &request),
		   "DcmListen");
	bench_need(rcOk, DcmAccept(request, own->callable, INVALID_HANDLE), "DcmAccept");
	bench_need(rcOk, DcmCloseHandle(request), "DcmCloseHandle");
}

static void open_session(struct peer_end *e)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN)
		return;
	bench_need(rcOk,
		   DcmCreateConnection(TYPE, name_of(e->job->servers == 1 ? 0 : e->number),
				       INVALID_HANDLE, INVALID_HANDLE, &own->connection),
		   "DcmCreateConnection");
	bench_need(rcOk, DcmConnect(own->connection, INFINITE_TIMEOUT, &own->session),
		   "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(own->connection), "DcmCloseHandle");
}

static void close_session(struct peer_end *e)
{
	struct own *own = e->own;

	if (own->session != INVALID_HANDLE)
		bench_need(rcOk, KnHandleClose(own->session), "KnHandleClose");
	own->session = INVALID_HANDLE;
}

/* A message of ours is the program's: DcmMessage and DcmRequest have room in it. */
_Static_assert(sizeof(DcmRequest) <= sizeof(((struct peer_message *)0)->own),
	       "own is large enough");

static DcmRequest *own_request(struct peer_message *m)
{
	return (DcmRequest *)(void *)m->own;
}

static DcmMessage *own_message(struct peer_message *m)
{
	return (DcmMessage *)(void *)m->own;
}

static void show(struct peer_message *m, const DcmMessage *message)
{
	m->data = message->data;
	m->size = message->size;
}

static bool is_one_way(const struct peer_end *e)
{
	return e->job->what == PEER_SEND || e->job->what == PEER_MANY;
}

static void send_loaned(struct own *own)
{
	size_t sent;

	bench_need(rcOk, DcmSendBatch(own->session, own->loaned, own->unsent, -1, &sent),
		   "DcmSendBatch");
	own->rooms -= own->unsent;
	memmove(own->loaned, own->loaned + own->unsent, own->rooms * sizeof(own->loaned[0]));
	own->unsent = 0;
}

static Retcode loan_more(struct own *own, size_t size, int64_t timeout_ns)
{
	size_t count;
	Retcode seen = DcmLoanBatch(own->session, size, timeout_ns, own->loaned + own->rooms,
				    own->batch - own->rooms, &count);

	own->rooms += count;
	return seen;
}

/* The room that a client waits for may be that of messages which it has not sent. */
static void loan_of_batch(struct own *own, size_t size, struct peer_message *m)
{
	Retcode seen = rcOk;

	if (own->unsent == own->rooms)
		seen = loan_more(own, size, own->unsent > 0 ? 0 : -1);
	if (seen == rcQuotaExceeded) {
		send_loaned(own);
		seen = loan_more(own, size, -1);
	}
	bench_need(rcOk, seen, "DcmLoanBatch");
	show(m, &own->loaned[own->unsent]);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN) {
		withdraw(e);
		m->data = own->buffer;
		m->size = size;
		return;
	}
	if (is_one_way(e) && own->batch > 1) {
		loan_of_batch(own, size, m);
		return;
	}
	bench_need(rcOk, DcmLoan(own->session, size, -1, own_message(m)), "DcmLoan");
	show(m, own_message(m));
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *own = e->own;
	Retcode seen = DcmCall(own->session, own_message(m), -1, own_message(reply));

	if (seen == rcNotConnected && e->job->what == PEER_DEATH)
		return false;
	bench_need(rcOk, seen, "DcmCall");
	show(reply, own_message(reply));
	return true;
}

static void release(struct peer_end *e, struct peer_message *m)
{
	(void)e;
	bench_need(rcOk, DcmRelease(own_message(m)), "DcmRelease");
}

/* The number as a name, in hexadecimal, and back: what the C library's functions for it touch would
   be measured along with the publication. */
static char *name_from(uint64_t number, char name[17])
{
	char *at = &name[16];

	*at = '\0';
	do
		*--at = "0123456789abcdef"[number % 16];
	while ((number /= 16) != 0);
	return at;
}

static uint64_t number_from(const char *name)
{
	uint64_t number = 0;

	for (; *name != '\0'; name++)
		number = number * 16 + (uint64_t)(*name <= '9' ? *name - '0' : *name - 'a' + 10);
	return number;
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN) {
		char name[17];

		publish(own, name_from(*own->buffer, name));
		return;
	}
	if (own->batch > 1) {
		if (++own->unsent == own->batch || !more)
			send_loaned(own);
		return;
	}
	bench_need(rcOk, DcmSend(own->session, own_message(m), -1), "DcmSend");
}

static void take_name(struct peer_end *e, struct peer_message *m)
{
	struct own *own = e->own;
	char name[DCM_NAME_SIZE];

	read_name(own, name);
	own->buffer[0] = number_from(name);
	for (size_t i = 1; i < e->job->size / sizeof(uint64_t); i++)
		own->buffer[i] = own->buffer[0] + i;
	m->data = own->buffer;
	m->size = e->job->size;
}

static void take_of_batch(struct own *own, struct peer_message *m)
{
	if (own->next == own->count) {
		own->next = 0;
		bench_need(
			rcOk,
			DcmReceiveBatch(own->listener, -1, own->received, own->batch, &own->count),
			"DcmReceiveBatch");
	}
	show(m, &own->received[own->next].message);
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN) {
		take_name(e, m);
		return;
	}
	while (own->to_accept > 0) {
		accept_one(own);
		own->to_accept--;
	}
	if (is_one_way(e) && own->batch > 1) {
		take_of_batch(own, m);
		return;
	}
	bench_need(rcOk, DcmReceive(own->listener, -1, own_request(m)), "DcmReceive");
	if (e->job->what == PEER_CONNECT)
		own->to_accept = 1;
	show(m, &own_request(m)->message);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)e;
	bench_need(rcOk, DcmLoanReply(own_request(request), size, own_message(reply)),
		   "DcmLoanReply");
	show(reply, own_message(reply));
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	Retcode seen = DcmReply(own_request(request), own_message(reply));

	/* A client that has its last reply already may have closed the session. One that has not
	 * would not get any, and say so. */
	(void)e;
	if (seen != rcNotConnected)
		bench_need(rcOk, seen, "DcmReply");
}

static void give_back(struct peer_end *e, struct peer_message *m)
{
	struct own *own = e->own;

	if (e->job->what == PEER_FAN)
		return;
	if (own->batch == 1)
		bench_need(rcOk, DcmRelease(&own_request(m)->message), "DcmRelease");
	else if (++own->next == own->count)
		bench_need(rcOk, DcmReleaseBatch(own->received, own->count), "DcmReleaseBatch");
}

const struct peer peer = {
	.name = "dcm",
	.what = "DCM for Linux: channels, publications and subscriptions by the public API",
	.kind = PEER_SELF,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SPIN | PEER_ADAPTIVE | PEER_SLEEP,
	.largest = 16 << 20,
	.begin = begin,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.give_back = give_back,
	.open = open_session,
	.close = close_session,
	.loan = loan,
	.call = call,
	.release = release,
	.send = send,
	.announce = announce,
	.withdraw = withdraw,
	.watch = watch,
	.told = told,
};
