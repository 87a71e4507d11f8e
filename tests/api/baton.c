/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several threads of one process wait for a server that is killed. The kernel wakes one of them, and
 * a handler of the host's keeps that one before it has woken the others. They return all the same,
 * whoever has the dead one's slot by then. asan: no, tsan: no (faults on purpose)
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
	Handle session;
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

static void call(void *arg)
{
	struct caller *c = arg;
	stack_t own = { .ss_sp = c->signal_stack, .ss_size = SIGNAL_STACK }, before;
	/* All frames of the call are below its first byte, and nothing else is below its second page. */
	char gap[3 * PAGE];
	DcmMessage message = must_loan(c->session, 64);

	self = c;
	sigaltstack(&own, &before);
	memset(message.data, 0, message.size);
	c->floor = (char *)(((uintptr_t)gap + PAGE) & ~(uintptr_t)(PAGE - 1));
	c->rc = DcmCall(c->session, &message, FOREVER_NS, &message);
	sigaltstack(&before, NULL);
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

static void start_callers(struct inside *inside, Handle session)
{
	uint32_t own =
		(uint32_t)(inside_process(inside, getpid()) - dcm_process_at(&inside->seg, 0));

	for (unsigned i = 0; i < CALLERS; i++) {
		callers[i].session = session;
		task_start(&callers[i].task, call, &callers[i]);
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

	atomic_store(&kept, NULL);
	atomic_store(&let_go, false);
	start_callers(inside, session);
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
	inside_close(&inside);
	peer_kill(&watchers[0]);
	peer_kill(&watchers[1]);
	DcmFini();
	return 0;
}
