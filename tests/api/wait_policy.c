/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Wait policies: what is accepted and refused, that one that spins never sleeps in the kernel and
 * is ended by whatever ends a call, that one that sleeps sleeps, and that all of them come on where
 * both sides share one processor.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.WaitPolicy"

static const char *const names[] = { "ADAPTIVE", "SPIN", "SLEEP" };

static void before_init(void)
{
	is_rc(rcOk, DcmSetWaitPolicy(INVALID_HANDLE, DCM_WAIT_ADAPTIVE, -1),
	      "the process's policy, before DcmInit");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(INVALID_HANDLE, 3, -1), "a policy that is none");
	setenv("DCM_WAIT", "now", 1);
	is_rc(rcInvalidArgument, DcmInit(), "DCM_WAIT=now");
	setenv("DCM_WAIT", "SLEEP", 1);
	is_rc(rcInvalidArgument, DcmInit(), "DCM_WAIT=SLEEP, in capitals");
	for (int i = 0; i < 4; i++) {
		static const char *const words[] = { "adaptive", "spin", "sleep", "" };

		setenv("DCM_WAIT", words[i], 1);
		is_rc(rcOk, DcmInit(), "DCM_WAIT=%s", words[i]);
		DcmFini();
	}
	unsetenv("DCM_WAIT");
}

static void arguments(void)
{
	Handle user = new_identity(), copy;
	struct pair pair;

	pair_open(&pair);
	for (uint32_t policy = 0; policy < 3; policy++) {
		is_rc(rcOk, DcmSetWaitPolicy(pair.session, policy, -1), "%s for a session",
		      names[policy]);
		is_rc(rcOk, DcmSetWaitPolicy(pair.listener, policy, policy * 1000),
		      "%s for a listener, with a time", names[policy]);
	}
	is_rc(rcOk, DcmSetWaitPolicy(pair.session, DCM_WAIT_SLEEP, INT64_MIN), "the least time");
	is_rc(rcOk, DcmSetWaitPolicy(pair.session, DCM_WAIT_ADAPTIVE, INT64_MAX), "the most");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(pair.session, UINT32_MAX, -1),
	      "a policy that is none, for a session");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(pair.callable, DCM_WAIT_SPIN, -1),
	      "a callable handle");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(user, DCM_WAIT_SPIN, -1), "a user object");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(pair.publication, DCM_WAIT_SPIN, -1),
	      "a publication");
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(0, DCM_WAIT_SPIN, -1), "no handle");
	must(KnHandleCopy(pair.session, OCAP_IPC_CALL, INVALID_HANDLE, &copy));
	is_rc(rcOk, DcmSetWaitPolicy(copy, DCM_WAIT_SLEEP, -1), "a copy of a session");
	must(KnHandleClose(copy));
	is_rc(rcInvalidArgument, DcmSetWaitPolicy(copy, DCM_WAIT_SLEEP, -1), "a closed one");
	must(KnHandleClose(user));
	pair_close(&pair);
}

/* A call in a thread of its own, and how often that thread has slept in it. */
struct waiter {
	struct task task;
	Handle listener, session;
	int64_t timeout_ns;
	_Atomic int begun;
	Retcode rc;
	long slept;
};

static void wait_in(void *arg)
{
	struct waiter *w = arg;
	struct rusage before, after;
	DcmRequest request;
	DcmMessage message;

	if (w->listener == INVALID_HANDLE)
		message = must_loan(w->session, 8);
	getrusage(RUSAGE_THREAD, &before);
	atomic_store(&w->begun, 1);
	w->rc = w->listener == INVALID_HANDLE ? DcmCall(w->session, &message, w->timeout_ns, NULL)
					      : DcmReceive(w->listener, w->timeout_ns, &request);
	getrusage(RUSAGE_THREAD, &after);
	w->slept = after.ru_nvcsw - before.ru_nvcsw;
	if (w->listener != INVALID_HANDLE && w->rc == rcOk)
		must(DcmRelease(&request.message));
}

/* Started, and probably waiting by now. */
static void start(struct waiter *w, Handle listener, Handle session, int64_t timeout_ns)
{
	w->listener = listener;
	w->session = session;
	w->timeout_ns = timeout_ns;
	atomic_store(&w->begun, 0);
	task_start(&w->task, wait_in, w);
	while (!atomic_load(&w->begun))
		sched_yield();
	pause_ms(20);
}

static void send_one(Handle session)
{
	DcmMessage message = must_loan(session, 8);

	must(DcmSend(session, &message, FOREVER_NS));
}

/* A thread may sleep for other reasons, for a page of memory say: not always, though. */
static void spin_never_sleeps(struct pair *pair)
{
	struct waiter w = { .slept = 1 };

	must(DcmSetWaitPolicy(pair->listener, DCM_WAIT_SPIN, -1));
	for (int tries = 0; tries < 10 && w.slept != 0; tries++) {
		start(&w, pair->listener, INVALID_HANDLE, FOREVER_NS);
		send_one(pair->session);
		task_join(&w.task);
	}
	is_rc(rcOk, w.rc, "one that spins receives");
	is_int(0, w.slept, "and has not slept in the kernel");
	w.slept = 1;
	for (int tries = 0; tries < 10 && w.slept != 0; tries++) {
		start(&w, pair->listener, INVALID_HANDLE, 10 * MS_NS);
		task_join(&w.task);
	}
	is_rc(rcTimeout, w.rc, "its time runs out");
	is_int(0, w.slept, "without a sleep");
}

static void spin_is_ended(struct pair *pair)
{
	struct waiter w;

	start(&w, pair->listener, INVALID_HANDLE, FOREVER_NS);
	must(DcmInterruptCall(pair->listener));
	task_join(&w.task);
	is_rc(rcIpcInterrupt, w.rc, "an interruption ends it");
	must(DcmInterruptCall(pair->listener));
	start(&w, pair->listener, INVALID_HANDLE, FOREVER_NS);
	task_join(&w.task);
	is_rc(rcIpcInterrupt, w.rc, "one that came before, too");
	must(DcmSetWaitPolicy(pair->session, DCM_WAIT_SPIN, -1));
	start(&w, INVALID_HANDLE, pair->session, 10 * MS_NS);
	task_join(&w.task);
	is_rc(rcTimeout, w.rc, "a call that spins ends with its time");
	start(&w, INVALID_HANDLE, pair->session, FOREVER_NS);
	must(KnHandleClose(pair->session));
	task_join(&w.task);
	is_rc(rcNotConnected, w.rc, "with its session");
	pair->session = pair_connect(pair);
	must(DcmSetWaitPolicy(pair->session, DCM_WAIT_SPIN, -1));
	start(&w, INVALID_HANDLE, pair->session, FOREVER_NS);
	must(KnHandleRevoke(pair->session));
	task_join(&w.task);
	is_rc(rcHandleRevoked, w.rc, "and with its revocation");
	pair->session = pair_connect(pair);
}

/* What was called and not answered before the caller left. */
static void drop_all(struct pair *pair)
{
	DcmRequest request;

	while (DcmReceive(pair->listener, 0, &request) == rcOk)
		must(DcmRelease(&request.message));
}

/* It would for ever, had the policy not a time. */
static void spin_for_a_time(struct pair *pair)
{
	struct waiter w;

	must(DcmSetWaitPolicy(pair->listener, DCM_WAIT_SPIN, 1000));
	start(&w, pair->listener, INVALID_HANDLE, FOREVER_NS);
	ok(task_asleep(&w.task), "SPIN with a time sleeps when that is over");
	send_one(pair->session);
	task_join(&w.task);
	is_rc(rcOk, w.rc, "and is woken");
	ok(w.slept > 0, "as the kernel says as well");
}

static void sleepers(struct pair *pair, uint32_t policy)
{
	struct waiter w;

	must(DcmSetWaitPolicy(pair->listener, policy, -1));
	start(&w, pair->listener, INVALID_HANDLE, FOREVER_NS);
	ok(task_asleep(&w.task), "%s sleeps when nothing comes", names[policy]);
	send_one(pair->session);
	task_join(&w.task);
	is_rc(rcOk, w.rc, "and receives what comes");
	ok(w.slept > 0, "after a sleep");
}

/* A server's death, which wakes nobody that does not sleep. */
static void server_dies(void)
{
	struct peer server = peer_attached("server");
	struct peer_answer pub, callable, request;
	DcmHandle connection;
	struct waiter w;
	Handle session;

	callable = peer_must(&server, PEER_CALLABLE, .other = 1);
	pub = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "dies");
	peer_post(&server, PEER_LISTEN, .handle = pub.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmCreateConnection(TYPE, "dies", INVALID_HANDLE, INVALID_HANDLE, &connection));
	(void)DcmConnect(connection, 0, &session);
	request = peer_wait(&server);
	peer_must(&server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(DcmSetWaitPolicy(session, DCM_WAIT_SPIN, -1));
	start(&w, INVALID_HANDLE, session, FOREVER_NS);
	peer_kill(&server);
	task_join(&w.task);
	is_rc(rcNotConnected, w.rc, "a call that spins ends with its server's death");
	must(DcmCloseHandle(connection));
	must(KnHandleClose(session));
}

enum { CALLS = 500 };

static void serve(void *arg)
{
	struct pair *pair = arg;

	for (int i = 0; i < CALLS; i++) {
		DcmRequest request = must_receive(pair->listener);

		must_reply(&request, "8 bytes", 8, i);
	}
}

/* Client and server on one processor: each must come to its turn. */
static void one_processor(struct pair *pair, uint32_t policy, int64_t spin_ns)
{
	struct task server;
	cpu_set_t all, one;
	int good = 0;

	CPU_ZERO(&one);
	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		sysbail("sched_getaffinity");
	for (unsigned cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	must(DcmSetWaitPolicy(pair->listener, policy, spin_ns));
	must(DcmSetWaitPolicy(pair->session, policy, spin_ns));
	sched_setaffinity(0, sizeof(one), &one);
	task_start(&server, serve, pair);
	for (int i = 0; i < CALLS; i++) {
		DcmMessage message = must_loan(pair->session, 8), reply;

		must(DcmCall(pair->session, &message, FOREVER_NS, &reply));
		good += reply.status == i;
		must(DcmRelease(&reply));
	}
	task_join(&server);
	sched_setaffinity(0, sizeof(all), &all);
	is_int(CALLS, good, "%s, both sides on one processor: all calls come back", names[policy]);
}

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	before_init();
	must(DcmInit());
	arguments();
	server_dies();
	pair_open(&pair);
	spin_never_sleeps(&pair);
	spin_is_ended(&pair);
	drop_all(&pair);
	spin_for_a_time(&pair);
	sleepers(&pair, DCM_WAIT_ADAPTIVE);
	sleepers(&pair, DCM_WAIT_SLEEP);
	one_processor(&pair, DCM_WAIT_ADAPTIVE, -1);
	one_processor(&pair, DCM_WAIT_SLEEP, -1);
	one_processor(&pair, DCM_WAIT_SPIN, 20000);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
