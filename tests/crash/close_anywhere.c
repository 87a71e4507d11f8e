/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request that is closed, by its handle or by the last DcmFini(), at each step of the DcmAccept()
 * that uses it: the answer is one that the contract has for it, never "accepted before", and the
 * client hears the same as the server.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>

#include "shm/atomics.h"
#include "tests/tap.h"

#define TYPE "test.CloseAnywhere"

enum { WAIT_MS = 20 * 1000 };

/* At the access of number @at of this thread, counted from 0, @act is done. */
static _Thread_local struct {
	uint32_t seen, at;
	void (*act)(void *arg);
	void *arg;
} plan_of;

static void step(void)
{
	void (*act)(void *arg) = plan_of.act;

	if (act == NULL || plan_of.seen++ != plan_of.at)
		return;
	plan_of.act = NULL; /* its own accesses are no places */
	act(plan_of.arg);
}

static uint64_t step_load(const volatile void *word, unsigned bytes, enum dcm_order order)
{
	(void)order;
	step();
	return bytes == 4 ? *(const volatile dcm_atomic32 *)word
			  : *(const volatile dcm_atomic64 *)word;
}

static void step_store(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order)
{
	(void)order;
	step();
	if (bytes == 4)
		*(volatile dcm_atomic32 *)word = (uint32_t)value;
	else
		*(volatile dcm_atomic64 *)word = value;
}

static bool step_cas(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired)
{
	uint32_t narrow = (uint32_t)*expected;
	bool done;

	step();
	if (bytes == 8)
		return atomic_compare_exchange_strong((volatile dcm_atomic64 *)word, expected,
						      desired);
	done = atomic_compare_exchange_strong((volatile dcm_atomic32 *)word, &narrow,
					      (uint32_t)desired);
	*expected = narrow;
	return done;
}

static uint64_t step_rmw(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand)
{
	volatile dcm_atomic64 *wide = word;
	volatile dcm_atomic32 *narrow = word;
	uint32_t low = (uint32_t)operand;

	step();
	switch (op) {
	case DCM_RMW_SWAP:
		return bytes == 8 ? atomic_exchange(wide, operand) : atomic_exchange(narrow, low);
	case DCM_RMW_ADD:
		return bytes == 8 ? atomic_fetch_add(wide, operand) : atomic_fetch_add(narrow, low);
	case DCM_RMW_OR:
		return bytes == 8 ? atomic_fetch_or(wide, operand) : atomic_fetch_or(narrow, low);
	default:
		return bytes == 8 ? atomic_fetch_and(wide, operand) : atomic_fetch_and(narrow, low);
	}
}

static const struct dcm_hooks stepping = {
	.load = step_load, .store = step_store, .cas = step_cas, .rmw = step_rmw
};

struct parties {
	DcmHandle publication, connection, request;
	Handle listener, callable;
};

static void must(Retcode rc, const char *what)
{
	if (rc != rcOk)
		die("%s: %s (%s)", what, RetcodeName(rc), DcmLastDetail());
}

/* A request of this process to itself, taken. */
static void begin(struct parties *p)
{
	Handle session;

	must(DcmInit(), "DcmInit");
	must(KnHandleCreateListener(&p->listener), "KnHandleCreateListener");
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, p->listener, 1,
					&p->callable),
	     "KnHandleCreateUserObjectEx");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "e", &p->publication),
	     "DcmPublishEndpoint");
	must(DcmCreateConnection(TYPE, "e", INVALID_HANDLE, INVALID_HANDLE, &p->connection),
	     "DcmCreateConnection");
	if (DcmConnect(p->connection, 0, &session) != rcTimeout)
		die("DcmConnect did not wait");
	must(DcmListen(p->publication, WAIT_MS, NULL, NULL, &p->request), "DcmListen");
}

static void end(struct parties *p)
{
	KnHandleClose(p->callable);
	KnHandleClose(p->listener);
	DcmFini();
}

static void close_request(void *arg)
{
	must(DcmCloseHandle(((struct parties *)arg)->request), "DcmCloseHandle");
}

static void finish(void *arg)
{
	(void)arg;
	DcmFini();
}

/* One DcmAccept with the act at a step. Return: whether it came to that step. */
static bool accept_at(uint32_t at, void (*act)(void *arg), const char *what)
{
	struct parties p;
	Handle session = INVALID_HANDLE;
	Retcode accepted, connected;
	bool came;

	begin(&p);
	plan_of.seen = 0;
	plan_of.at = at;
	plan_of.arg = &p;
	plan_of.act = act;
	accepted = DcmAccept(p.request, p.callable, INVALID_HANDLE);
	came = plan_of.act == NULL;
	plan_of.act = NULL;
	if (accepted != rcOk && accepted != rcNotConnected && accepted != rcInvalidArgument)
		ok(0, "%s at step %u: %s (%s)", what, at, RetcodeName(accepted), DcmLastDetail());
	if (act == close_request) {
		connected = DcmConnect(p.connection, WAIT_MS, &session);
		if (connected != (accepted == rcOk ? rcOk : rcNotConnected))
			ok(0, "%s at step %u: the server has %s, the client %s", what, at,
			   RetcodeName(accepted), RetcodeName(connected));
		if (connected == rcOk)
			KnHandleClose(session);
	}
	end(&p);
	return came;
}

static void accept_everywhere(void (*act)(void *arg), const char *what)
{
	unsigned long failed = tap_failed();
	uint32_t at = 0;

	while (accept_at(at, act, what) && tap_failed() - failed < 10)
		at++;
	ok(at > 10 && tap_failed() == failed, "%s at each of %u steps of DcmAccept", what, at);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	dcm_hooks = &stepping;
	accept_everywhere(close_request, "the request closed");
	accept_everywhere(finish, "the last DcmFini");
	dcm_hooks = NULL;
	return tap_failed() != 0;
}
