/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several threads of one process wait for a server that is killed. The kernel wakes one of them, and
 * a handler of the host's keeps that one before it has woken the others. They return all the same,
 * whoever has the dead one's slot by then. And several wait for one call or one request: that which
 * is woken for it is kept, and another takes it. asan: no, tsan: no (faults on purpose)
 *
 * A signal that is sent to a sleeper takes it out of its sleep too early. So the stacks that the
 * sleepers come back to are made inaccessible: the first instruction of whoever is woken is a fault,
 * and that handler keeps it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Baton"

enum { CALLERS = 4, PAGE = 4096, DEPTH = 64 * 1024, SIGNAL_STACK = 64 * 1024 };

struct caller {
	struct task task;
	Retcode (*wait)(struct caller *c);
	Handle handle;
	char *floor; /* what the calls of this thread have on the stack is below */
	_Alignas(16) char signal_stack[SIGNAL_STACK];
	Retcode rc;
};

static struct caller callers[CALLERS];
static _Thread_local struct caller *self;
static _Atomic(struct caller *) kept;
static atomic_bool let_go;

static void stack_of(struct caller *c, int protection)
{
	if (mprotect(c->floor - DEPTH, DEPTH, protection) < 0)
		abort();
}

static void on_fault(int number)
{
	struct caller *none = NULL;

	if (self == NULL) {
		signal(number, SIG_DFL);
		return;
	}
	if (atomic_compare_exchange_strong(&kept, &none, self))
		while (!atomic_load(&let_go))
			pause_ms(1);
	stack_of(self, PROT_READ | PROT_WRITE);
}

static void wait_in_gap(void *arg)
{
	struct caller *c = arg;
	stack_t own = { .ss_sp = c->signal_stack, .ss_size = SIGNAL_STACK }, before;
	/* All frames of the call are below its first byte, and nothing else is below its second page. */
	char gap[3 * PAGE];

	self = c;
	sigaltstack(&own, &before);
	c->floor = (char *)(((uintptr_t)gap + PAGE) & ~(uintptr_t)(PAGE - 1));
	c->rc = c->wait(c);
	sigaltstack(&before, NULL);
}

static Retcode call(struct caller *c)
{
	DcmMessage message = must_loan(c->handle, 64);

	memset(message.data, 0, message.size);
	return DcmCall(c->handle, &message, FOREVER_NS, &message);
}

static _Atomic unsigned got;

static Retcode receive(struct caller *c)
{
	DcmRequest request;
	Retcode rc = DcmReceive(c->handle, FOREVER_NS, &request);

	if (rc != rcOk)
		return rc;
	must_reply(&request, request.message.data, request.message.size, 0);
	atomic_fetch_add(&got, 1);
	return rc;
}

static Retcode take(struct caller *c)
{
	DcmHandle request;
	Retcode rc = DcmListen(c->handle, INFINITE_TIMEOUT, NULL, NULL, &request);

	if (rc != rcOk)
		return rc;
	must(DcmCloseHandle(request));
	atomic_fetch_add(&got, 1);
	return rc;
}

/* The server's session in this process. */
static Handle connect_to(struct peer *peer)
{
	struct peer_answer publication, callable, request;
	DcmHandle connection;
	Handle session;

	publication = peer_must(peer, PEER_PUBLISH, .type = TYPE, .name = "server");
	callable = peer_must(peer, PEER_CALLABLE, .other = 1);
	must(DcmCreateConnection(TYPE, "server", INVALID_HANDLE, INVALID_HANDLE, &connection));
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	request = peer_must(peer, PEER_LISTEN, .handle = publication.handle,
			    .timeout = INFINITE_TIMEOUT);
	peer_must(peer, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	must(DcmCloseHandle(connection));
	return session;
}

static bool somebody_is_kept(void *arg)
{
	(void)arg;
	return atomic_load(&kept) != NULL;
}

static bool slot_is_free(void *arg)
{
	return dcm_word_state(dcm_load((dcm_atomic64 *)arg, seq)) == DCM_FREE;
}

static bool somebody_got_it(void *arg)
{
	(void)arg;
	return atomic_load(&got) != 0;
}

static void start_callers(struct inside *inside, Retcode (*wait)(struct caller *c), Handle handle)
{
	uint32_t own = inside_slot(inside, getpid());

	atomic_store(&kept, NULL);
	atomic_store(&let_go, false);
	atomic_store(&got, 0);
	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i].wait = wait;
		callers[i].handle = handle;
		task_start(&callers[i].task, wait_in_gap, &callers[i]);
	}
	for (unsigned i = 0; i < CALLERS; i++)
		task_asleep(&callers[i].task);
	/* The keeper's first look at a server may wake them for nothing: have that behind us. */
	dcm_process_kick(&inside->seg, own);
	pause_ms(200);
	for (unsigned i = 0; i < CALLERS; i++)
		ok(task_asleep(&callers[i].task), "caller %u is blocked", i);
	for (unsigned i = 0; i < CALLERS; i++)
		stack_of(&callers[i], PROT_NONE);
}

static void test_kept(struct inside *inside, bool newcomer)
{
	struct peer server = peer_attached("server"), other;
	dcm_atomic64 *slot = &inside_process(inside, server.pid)->word;
	Handle session = connect_to(&server);
	struct caller *one;

	start_callers(inside, call, session);
	peer_kill(&server);
	ok(until(somebody_is_kept, NULL), "the server is killed, and a caller kept by a handler");
	one = atomic_load(&kept);
	ok(until(slot_is_free, slot), "the others reap the server");
	if (newcomer) {
		other = peer_attached("newcomer");
		ok(&inside_process(inside, other.pid)->word == slot, "somebody new has its slot");
	}
	for (unsigned i = 0; i < CALLERS; i++) {
		if (&callers[i] == one)
			continue;
		task_join(&callers[i].task);
		is_rc(rcNotConnected, callers[i].rc, "caller %u returns, with one kept", i);
	}
	atomic_store(&let_go, true);
	task_join(&one->task);
	is_rc(rcNotConnected, one->rc, "the kept one returns when it is let go");
	must(KnHandleClose(session));
	if (newcomer)
		peer_kill(&other);
}

static void one_is_kept(const char *what)
{
	ok(until(somebody_is_kept, NULL), "one is woken for %s, and kept by a handler", what);
	ok(until(somebody_got_it, NULL), "another takes %s", what);
	atomic_store(&let_go, true);
}

static void check_ended(void)
{
	unsigned left = 0;

	for (unsigned i = 0; i < CALLERS; i++) {
		task_join(&callers[i].task);
		left += callers[i].rc == rcNotConnected;
	}
	is_uint(CALLERS - 1, left, "the others return at the end");
	is_uint(1, atomic_load(&got), "it was taken once");
}

static void test_woken_for_one(struct inside *inside)
{
	struct peer client = peer_attached("client");
	struct peer_answer connection =
		peer_must(&client, PEER_CREATE, .type = TYPE, .name = "here");
	Handle callable, listener, session;
	DcmHandle publication, request;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "here", &publication));
	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					&callable));
	peer_post(&client, PEER_CONNECT, .handle = connection.handle, .timeout = INFINITE_TIMEOUT);
	must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request));
	must(DcmAccept(request, callable, INVALID_HANDLE));
	must(DcmCloseHandle(request));
	session = peer_wait(&client).handle;
	start_callers(inside, receive, listener);
	peer_post(&client, PEER_CALL, .handle = session, .size = 64, .timeout = INFINITE_TIMEOUT);
	one_is_kept("a call");
	is_int(rcOk, peer_wait(&client).rc, "the call returns");
	must(KnHandleClose(listener));
	check_ended();
	start_callers(inside, take, publication);
	connection = peer_must(&client, PEER_CREATE, .type = TYPE, .name = "here");
	peer_post(&client, PEER_CONNECT, .handle = connection.handle, .timeout = INFINITE_TIMEOUT);
	one_is_kept("a request");
	is_int(rcNotConnected, peer_wait(&client).rc, "the request is refused");
	must(DcmCloseHandle(publication));
	check_ended();
	must(KnHandleClose(callable));
	peer_end(&client);
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };
	struct peer watchers[2];
	struct inside inside;

	plan_lazy();
	tap_fabric_dir();
	sigaction(SIGSEGV, &action, NULL);
	must(DcmInit());
	/* In the slots between this process and the server: its keeper watches these. */
	watchers[0] = peer_attached("watcher");
	watchers[1] = peer_attached("watcher");
	inside = inside_open();
	test_kept(&inside, false);
	test_kept(&inside, true);
	test_woken_for_one(&inside);
	inside_close(&inside);
	peer_kill(&watchers[0]);
	peer_kill(&watchers[1]);
	DcmFini();
	return 0;
}
