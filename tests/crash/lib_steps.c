/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/crash/lib_steps.h"

#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shm/atomics.h"
#include "tests/tap.h"

static _Thread_local struct {
	uint32_t seen, at;
	void (*act)(void *arg);
	void *arg;
} steps;

static void step(void)
{
	void (*act)(void *arg) = steps.act;

	if (act == NULL || steps.seen++ != steps.at)
		return;
	steps.act = NULL; /* its own accesses are no places */
	act(steps.arg);
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

void steps_install(void)
{
	dcm_hooks = &stepping;
}

void steps_begin(uint32_t at, void (*act)(void *arg), void *arg)
{
	steps.seen = 0;
	steps.at = at;
	steps.arg = arg;
	steps.act = act;
}

bool steps_end(void)
{
	bool came = steps.act == NULL;

	steps.act = NULL;
	return came;
}

void steps_must(Retcode rc, const char *what)
{
	if (rc != rcOk)
		die("%s: %s (%s)", what, RetcodeName(rc), DcmLastDetail());
}

Handle steps_connect(const char *name, Handle *listener)
{
	DcmHandle publication, connection, request;
	Handle callable, session;

	steps_must(KnHandleCreateListener(listener), "KnHandleCreateListener");
	steps_must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, *listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	steps_must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "test.Steps", name,
				      &publication),
		   "DcmPublishEndpoint");
	steps_must(DcmCreateConnection("test.Steps", name, INVALID_HANDLE, INVALID_HANDLE,
				       &connection),
		   "DcmCreateConnection");
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("DcmConnect did not wait");
	steps_must(DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request), "DcmListen");
	steps_must(DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
	steps_must(DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
	DcmCloseHandle(request);
	DcmCloseHandle(connection);
	DcmCloseHandle(publication);
	KnHandleClose(callable);
	return session;
}

static void *beside_main(void *arg)
{
	struct beside *b = arg;

	atomic_store(&b->tid, (int)syscall(SYS_gettid));
	b->run(b->arg);
	atomic_store(&b->over, 1);
	return NULL;
}

void beside_start(struct beside *b, void (*run)(void *arg), void *arg)
{
	atomic_store(&b->tid, 0);
	atomic_store(&b->over, 0);
	b->run = run;
	b->arg = arg;
	if (pthread_create(&b->thread, NULL, beside_main, b) != 0)
		sysbail("pthread_create");
}

static bool sleeps(struct beside *b)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&b->tid));
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'S';
}

void beside_settle(struct beside *b)
{
	int times = 0;

	while (times < 3 && atomic_load(&b->over) == 0) {
		times = sleeps(b) ? times + 1 : 0;
		nanosleep(&(struct timespec){ .tv_nsec = 200 * 1000 }, NULL);
	}
}

bool beside_ends(struct beside *b)
{
	for (int i = 0; i < 20 * 1000 && atomic_load(&b->over) == 0; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL);
	return atomic_load(&b->over) != 0;
}

void beside_join(struct beside *b)
{
	pthread_join(b->thread, NULL);
}
