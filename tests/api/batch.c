/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Batches: what was sent is what was said to be, in its order, and what was not is still the
 * caller's, whatever ended it; what is received is all that is there, up to the capacity; what is
 * loaned is what there is room for, and of what is given back each is given back once.
 */
#include <string.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Batch"

enum { FULL = 256, MANY = 40, SENDERS = 3, RECEIVERS = 2, PER_SENDER = 2000, AT_ONCE = 16 };

static struct pair pair;

static void loan_many(Handle session, DcmMessage *messages, size_t count, int32_t first)
{
	for (size_t i = 0; i < count; i++) {
		messages[i] = must_loan(session, 8);
		messages[i].status = first + (int32_t)i;
		memcpy(messages[i].data, &messages[i].status, sizeof(messages[i].status));
	}
}

/* Those before @sent are gone, the others can be released, once. */
static void is_split(DcmMessage *messages, size_t count, size_t sent, const char *what)
{
	size_t bad = 0;

	for (size_t i = 0; i < count; i++) {
		if (i < sent)
			bad += messages[i].data != NULL;
		else
			bad += messages[i].data == NULL || DcmRelease(&messages[i]) != rcOk;
	}
	is_uint(0, bad, "%s: %zu of %zu are sent, the others are the caller's", what, sent, count);
}

/* All that is there; its length, or -1: out of order. */
static int receive_all(int32_t first, size_t capacity)
{
	DcmRequest requests[MANY];
	size_t count;
	int received = 0, bad = 0;

	while (DcmReceiveBatch(pair.listener, 0, requests, capacity, &count) == rcOk)
		for (size_t i = 0; i < count; i++) {
			bad += requests[i].message.status != first + received++ ||
			       memcmp(requests[i].message.data, &requests[i].message.status, 4) !=
				       0;
			must(DcmRelease(&requests[i].message));
		}
	return bad != 0 ? -1 : received;
}

static void test_arguments(void)
{
	DcmMessage message = must_loan(pair.session, 8);
	DcmRequest request;
	size_t count = 7;

	is_rc(rcOk, DcmSendBatch(pair.session, NULL, 0, 0, &count), "none to send");
	is_uint(0, count, "are sent");
	is_rc(rcInvalidArgument, DcmSendBatch(pair.session, NULL, 1, 0, &count), "null to send");
	is_rc(rcInvalidArgument, DcmSendBatch(pair.listener, &message, 1, 0, &count), "a listener");
	is_rc(rcOk, DcmSendBatch(pair.session, &message, 1, 0, NULL), "nobody asks how many");
	count = 7;
	is_rc(rcInvalidArgument, DcmReceiveBatch(pair.listener, 0, &request, 0, &count),
	      "room for none");
	is_uint(0, count, "and none is received");
	is_rc(rcInvalidArgument, DcmReceiveBatch(pair.listener, 0, NULL, 1, &count), "no room");
	is_rc(rcInvalidArgument, DcmReceiveBatch(pair.listener, 0, &request, 1, NULL), "no count");
	is_rc(rcInvalidArgument, DcmReceiveBatch(pair.session, 0, &request, 1, &count),
	      "a session");
	is_rc(rcOk, DcmReceiveBatch(pair.listener, FOREVER_NS, &request, 1, &count),
	      "what is there");
	is_uint(1, count, "is one");
	must(DcmRelease(&request.message));
	is_rc(rcTimeout, DcmReceiveBatch(pair.listener, 0, &request, 1, &count), "no other");
	is_rc(rcTimeout, DcmReceiveBatch(pair.listener, MS_NS, &request, 1, &count), "nor later");
	must(DcmInterruptCall(pair.listener));
	is_rc(rcIpcInterrupt, DcmReceiveBatch(pair.listener, FOREVER_NS, &request, 1, &count),
	      "interrupted");
	is_uint(0, count, "and none is received");
}

static void test_capacities(void)
{
	static const size_t capacities[] = { 1, 2, 7, MANY };
	DcmMessage messages[MANY];
	size_t sent;

	for (size_t i = 0; i < 4; i++) {
		loan_many(pair.session, messages, MANY, 100);
		is_rc(rcOk, DcmSendBatch(pair.session, messages, MANY, 0, &sent), "a batch");
		is_split(messages, MANY, sent, "a batch");
		is_int(MANY, receive_all(100, capacities[i]), "received %zu at a time",
		       capacities[i]);
	}
}

/* Of a channel that is hot, and of another, whatever the time limit. */
static void test_all_channels(int64_t timeout_ns)
{
	Handle other = pair_connect(&pair);
	DcmRequest requests[MANY];
	DcmMessage messages[MANY];
	size_t count;

	for (int i = 0; i < 5; i++) {
		loan_many(pair.session, messages, 1, 0);
		must(DcmSend(pair.session, messages, 0));
		must(DcmReceive(pair.listener, FOREVER_NS, requests));
		must(DcmRelease(&requests[0].message));
	}
	loan_many(pair.session, messages, 4, 0);
	must(DcmSendBatch(pair.session, messages, 4, 0, &count));
	loan_many(other, messages, 4, 0);
	must(DcmSendBatch(other, messages, 4, 0, &count));
	must(DcmReceiveBatch(pair.listener, timeout_ns, requests, MANY, &count));
	is_uint(8, count, "all that is there, of two channels");
	must(DcmReleaseBatch(requests, count));
	while (count < 8 && DcmReceive(pair.listener, 0, requests) == rcOk)
		must(DcmRelease(&requests[0].message));
	must(KnHandleClose(other));
}

/* Calls among one-way messages, in one batch, each answered by itself. */
static void test_calls(void)
{
	DcmRequest requests[4];
	DcmMessage message, reply;
	uint64_t call;
	size_t count;

	for (int i = 0; i < 4; i++) {
		message = must_loan(pair.session, 8);
		if (i != 2)
			must(DcmSend(pair.session, &message, 0));
		else
			must(DcmStart(pair.session, &message, 0, &call));
	}
	is_rc(rcOk, DcmReceiveBatch(pair.listener, 0, requests, 4, &count),
	      "a call among messages");
	is_uint(4, count, "all four");
	for (size_t i = 0; i < count; i++) {
		is_bool(i != 2, (requests[i].flags & DCM_REQUEST_ONE_WAY) != 0, "number %zu", i);
		if (i == 2)
			must_reply(&requests[i], "reply", 6, 5);
		else
			must(DcmRelease(&requests[i].message));
	}
	is_rc(rcOk, DcmFinish(pair.session, call, FOREVER_NS, NULL, &reply), "the call ends");
	is_int(5, reply.status, "with its reply");
	must(DcmRelease(&reply));
}

/* One more than the channel can hold at once. */
static void test_full(void)
{
	DcmMessage messages[FULL + 2];
	size_t sent;

	loan_many(pair.session, messages, FULL + 2, 0);
	is_rc(rcQuotaExceeded, DcmSendBatch(pair.session, messages, FULL + 2, 0, &sent),
	      "more than there is room for");
	is_uint(FULL, sent, "as many as there is room for are sent");
	is_rc(rcTimeout, DcmSendBatch(pair.session, messages + sent, 2, MS_NS, &sent), "in time");
	is_uint(0, sent, "none more");
	must(DcmInterruptCall(pair.session));
	is_rc(rcIpcInterrupt, DcmSendBatch(pair.session, messages + FULL, 2, FOREVER_NS, &sent),
	      "interrupted");
	is_split(messages, FULL + 2, FULL, "a full channel");
	is_int(FULL, receive_all(0, MANY), "what was sent is received");
}

/* Not a loan, in the middle. */
static void test_bad_one(void)
{
	DcmMessage messages[5];
	size_t sent;

	loan_many(pair.session, messages, 5, 50);
	must(DcmRelease(&messages[3]));
	is_rc(rcInvalidArgument, DcmSendBatch(pair.session, messages, 5, 0, &sent),
	      "one that is released");
	is_uint(3, sent, "those before it are sent");
	ok(messages[4].data != NULL && DcmRelease(&messages[4]) == rcOk,
	   "what is behind it is kept");
	is_int(3, receive_all(50, MANY), "they are received");
	loan_many(pair.session, messages, 2, 60);
	messages[1].size = 1 << 20;
	is_rc(rcInvalidArgument, DcmSendBatch(pair.session, messages, 2, 0, &sent), "a larger one");
	messages[1].size = 8;
	is_split(messages, 2, 1, "the second is larger than its room");
	is_int(1, receive_all(60, MANY), "the first is received");
}

/* Each can be written to its end, and no two lie in one another. */
static int overlaps(const DcmMessage *messages, size_t count, size_t size)
{
	int bad = 0;

	for (size_t i = 0; i < count; i++)
		memset(messages[i].data, (int)i + 1, size);
	for (size_t i = 0; i < count; i++) {
		const unsigned char *data = messages[i].data;

		bad += messages[i].size != size || data[0] != i + 1 || data[size - 1] != i + 1;
	}
	return bad;
}

static void test_loans(void)
{
	static const size_t sizes[] = { 8, 64, 65, 5000 };
	DcmMessage messages[MANY];
	size_t count = 7, sent;

	is_rc(rcInvalidArgument, DcmLoanBatch(pair.session, 8, 0, messages, 0, &count), "none");
	is_uint(0, count, "and none is loaned");
	is_rc(rcInvalidArgument, DcmLoanBatch(pair.session, 8, 0, NULL, 1, &count), "no place");
	is_rc(rcInvalidArgument, DcmLoanBatch(pair.session, 8, 0, messages, 1, NULL), "no count");
	is_rc(rcInvalidArgument, DcmLoanBatch(pair.listener, 8, 0, messages, 1, &count),
	      "a listener");
	is_rc(rcInvalidArgument, DcmLoanBatch(pair.session, SIZE_MAX, 0, messages, 2, &count),
	      "more than there ever is");
	is_uint(0, count, "and none is loaned");
	for (size_t i = 0; i < 4; i++) {
		is_rc(rcOk, DcmLoanBatch(pair.session, sizes[i], 0, messages, MANY, &count),
		      "%d loans of %zu bytes", MANY, sizes[i]);
		is_uint(MANY, count, "there is room for all");
		is_int(0, overlaps(messages, MANY, sizes[i]), "each by itself");
		for (int k = 0; k < MANY; k++) {
			messages[k].status = k;
			memcpy(messages[k].data, &k, sizeof k);
		}
		must(DcmSendBatch(pair.session, messages, MANY, 0, &sent));
		is_int(MANY, receive_all(0, MANY), "they are sent, and received");
	}
}

/* Six of these are more than the half of the channel that is for requests. */
static void test_loans_fill(void)
{
	enum { LARGE = 12 << 20 };
	DcmMessage messages[MANY], more;
	size_t count, none;

	is_rc(rcOk, DcmLoanBatch(pair.session, LARGE, 0, messages, MANY, &count), "large loans");
	ok(count > 0 && count < MANY, "there is room for some: %zu", count);
	is_rc(rcQuotaExceeded, DcmLoanBatch(pair.session, LARGE, 0, &more, 1, &none), "no more");
	is_uint(0, none, "none");
	is_rc(rcTimeout, DcmLoanBatch(pair.session, LARGE, MS_NS, &more, 1, &none), "nor later");
	must(DcmInterruptCall(pair.session));
	is_rc(rcIpcInterrupt, DcmLoanBatch(pair.session, LARGE, FOREVER_NS, &more, 1, &none),
	      "interrupted");
	is_uint(0, none, "none");
	is_split(messages, count, 0, "large loans");
}

static size_t receive_many(DcmRequest *requests, size_t count)
{
	DcmMessage messages[MANY];
	size_t received;

	loan_many(pair.session, messages, count, 0);
	must(DcmSendBatch(pair.session, messages, count, 0, &received));
	must(DcmReceiveBatch(pair.listener, FOREVER_NS, requests, count, &received));
	return received;
}

static int still_has(const DcmRequest *requests, size_t count)
{
	int has = 0;

	for (size_t i = 0; i < count; i++)
		has += requests[i].message.data != NULL;
	return has;
}

static void test_releases(void)
{
	DcmRequest requests[MANY], again[MANY];
	DcmMessage question, reply;
	uint64_t call;

	is_rc(rcOk, DcmReleaseBatch(NULL, 0), "none");
	is_rc(rcInvalidArgument, DcmReleaseBatch(NULL, 1), "null");
	is_uint(MANY, receive_many(requests, MANY), "many are received");
	memcpy(again, requests, sizeof again);
	must(DcmRelease(&requests[5].message));
	requests[9] = requests[8];
	is_rc(rcInvalidArgument, DcmReleaseBatch(requests, MANY), "one of them twice");
	is_int(1, still_has(requests, MANY), "all others are released");
	is_rc(rcInvalidArgument, DcmReleaseBatch(again, MANY), "but once");
	is_int(MANY - 1, still_has(again, MANY), "what was left out is released by that");
	question = must_loan(pair.session, 8);
	must(DcmStart(pair.session, &question, 0, &call));
	must(DcmReceive(pair.listener, FOREVER_NS, &requests[0]));
	is_rc(rcOk, DcmReleaseBatch(requests, 1), "a call that is not answered");
	is_rc(rcNotConnected, DcmFinish(pair.session, call, FOREVER_NS, NULL, &reply),
	      "its caller is told");
}

struct sender {
	struct task task;
	Handle session;
	DcmMessage messages[FULL + 8];
	size_t sent;
	Retcode rc;
};

static void send_too_many(void *arg)
{
	struct sender *s = arg;

	s->rc = DcmSendBatch(s->session, s->messages, FULL + 8, FOREVER_NS, &s->sent);
}

static struct sender sender;

/* Blocked in the middle; @end is what ends it. */
static void test_ended(Handle session, void (*end)(Handle session), Retcode wanted,
		       const char *what)
{
	sender.session = session;
	loan_many(session, sender.messages, FULL + 8, 0);
	task_start(&sender.task, send_too_many, &sender);
	ok(task_asleep(&sender.task), "a batch is blocked");
	end(session);
	task_join(&sender.task);
	is_rc(wanted, sender.rc, "%s", what);
	is_split(sender.messages, FULL + 8, sender.sent, what);
}

static void interrupt(Handle session)
{
	must(DcmInterruptCall(session));
}

static void revoke(Handle session)
{
	must(KnHandleRevoke(session));
}

static void close_it(Handle session)
{
	must(KnHandleClose(session));
}

static struct peer server;

static void kill_server(Handle session)
{
	(void)session;
	peer_kill(&server);
}

static Handle session_of_peer(void)
{
	struct peer_answer pub, callable, request;
	DcmHandle connection;
	Handle session;

	server = peer_attached("server");
	callable = peer_must(&server, PEER_CALLABLE, .other = 1);
	pub = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "dies");
	peer_post(&server, PEER_LISTEN, .handle = pub.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmCreateConnection(TYPE, "dies", INVALID_HANDLE, INVALID_HANDLE, &connection));
	(void)DcmConnect(connection, 0, &session);
	request = peer_wait(&server);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(DcmCloseHandle(connection));
	return session;
}

static void test_ends(void)
{
	Handle session = session_of_peer();

	test_ended(session, kill_server, rcNotConnected, "the server dies");
	must(KnHandleClose(session));
	test_ended(pair.session, interrupt, rcIpcInterrupt, "interrupted");
	is_int(FULL, receive_all(0, MANY), "what was sent is received");
	test_ended(pair_connect(&pair), close_it, rcNotConnected, "its session is closed");
	is_int(FULL, receive_all(0, MANY), "what was sent is received all the same");
	session = pair_connect(&pair);
	test_ended(session, revoke, rcHandleRevoked, "its session is revoked");
	(void)receive_all(0, MANY);
}

/* Many threads with batches on both sides. */
struct traffic {
	struct task task;
	Handle session;
	int32_t from;
};

static _Atomic int received, disorderly;
static _Atomic int32_t sum[SENDERS];

static void send_batches(void *arg)
{
	struct traffic *t = arg;
	DcmMessage messages[AT_ONCE];
	size_t sent;

	for (int32_t i = 0; i < PER_SENDER; i += AT_ONCE) {
		loan_many(t->session, messages, AT_ONCE, t->from + i);
		must(DcmSendBatch(t->session, messages, AT_ONCE, FOREVER_NS, &sent));
	}
}

/* Within a batch, of one sender: rising. */
static int falls(const int32_t *statuses, size_t count)
{
	int bad = 0;

	for (size_t i = 1; i < count; i++)
		for (size_t j = 0; j < i; j++)
			bad += statuses[j] / PER_SENDER == statuses[i] / PER_SENDER &&
			       statuses[j] >= statuses[i];
	return bad;
}

static void receive_batches(void *arg)
{
	DcmRequest requests[AT_ONCE];
	int32_t statuses[AT_ONCE];
	size_t count;

	(void)arg;
	while (atomic_load(&received) < SENDERS * PER_SENDER) {
		if (DcmReceiveBatch(pair.listener, 10 * MS_NS, requests, AT_ONCE, &count) != rcOk)
			continue;
		for (size_t i = 0; i < count; i++) {
			statuses[i] = requests[i].message.status;
			atomic_fetch_add(&sum[statuses[i] / PER_SENDER], statuses[i] % PER_SENDER);
		}
		must(DcmReleaseBatch(requests, count));
		atomic_fetch_add(&disorderly, falls(statuses, count));
		atomic_fetch_add(&received, (int)count);
	}
}

static void test_threads(void)
{
	struct traffic senders[SENDERS], receivers[RECEIVERS];
	int bad = 0;

	for (int i = 0; i < RECEIVERS; i++)
		task_start(&receivers[i].task, receive_batches, NULL);
	for (int i = 0; i < SENDERS; i++) {
		senders[i].session = pair.session;
		senders[i].from = i * PER_SENDER;
		task_start(&senders[i].task, send_batches, &senders[i]);
	}
	for (int i = 0; i < SENDERS; i++)
		task_join(&senders[i].task);
	for (int i = 0; i < RECEIVERS; i++)
		task_join(&receivers[i].task);
	for (int i = 0; i < SENDERS; i++)
		bad += sum[i] != PER_SENDER / 2 * (PER_SENDER - 1);
	is_int(SENDERS * PER_SENDER, received, "batches of many threads: each is received");
	is_int(0, bad, "once");
	is_int(0, disorderly, "and each sender's in their order");
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	pair_open(&pair);
	test_arguments();
	test_capacities();
	test_all_channels(0);
	test_all_channels(FOREVER_NS);
	test_calls();
	test_full();
	test_bad_one();
	test_loans();
	test_loans_fill();
	test_releases();
	test_ends();
	test_threads();
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
