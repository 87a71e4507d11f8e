/* SPDX-License-Identifier: BSD-2-Clause */
/* The victim, which does what keeps its callers waiting; and the callers. */
#define _GNU_SOURCE
#include "bench/death.h"

#include <dcm/dcm.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/lib_need.h"

static const char type[] = "bench.Death";

/* Each round has endpoints of its own, so that no round sees what an earlier one left. */
static const char *name_of(const struct death_stage *stage, uint32_t number)
{
	static char name[64];

	snprintf(name, sizeof(name), "%u.%u", atomic_load(&stage->round), number);
	return name;
}

static Handle own(void)
{
	return KosTaskGetHandle(KosTaskGetSelf());
}

static DcmHandle publish(const struct death_stage *stage, uint32_t number)
{
	DcmHandle publication;

	bench_need(rcOk, DcmPublishEndpoint(own(), type, name_of(stage, number), &publication),
		   "DcmPublishEndpoint");
	return publication;
}

static void accept_sessions(DcmHandle publication, uint32_t count)
{
	Handle listener, callable;

	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	for (uint32_t i = 0; i < count; i++) {
		DcmHandle request;

		bench_need(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request),
			   "the victim's DcmListen");
		bench_need(rcOk, DcmAccept(request, callable, INVALID_HANDLE), "DcmAccept");
		bench_need(rcOk, DcmCloseHandle(request), "DcmCloseHandle");
	}
}

static void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static void dcm_victim(struct death_stage *stage)
{
	DcmHandle publication = DCM_INVALID_HANDLE;

	bench_need(rcOk, DcmInit(), "the victim's DcmInit");
	/* Who is to go on elsewhere must find its own successor there: a name for each. */
	for (uint32_t i = stage->call == DEATH_LISTEN ? stage->callers : 1; i-- > 0;)
		publication = publish(stage, i);
	bench_raise(&stage->victims);
	if (stage->call == DEATH_CALL)
		accept_sessions(publication, stage->callers);
}

/* The keeper thread of the library without the library: a thread with a word on its robust list. */
static void *robust_thread(void *arg)
{
	static struct robust_list node;
	static struct robust_list_head head;
	struct death_stage *stage = arg;

	head = (struct robust_list_head){
		.list = { &node },
		.futex_offset = (long)((intptr_t)&stage->robust - (intptr_t)&node),
	};
	node.next = &head.list;
	atomic_store(&stage->robust, (uint32_t)syscall(SYS_gettid) | FUTEX_WAITERS);
	if (syscall(SYS_set_robust_list, &head, sizeof(head)) < 0)
		bench_fail("set_robust_list: %s", strerror(errno));
	bench_raise(&stage->victims);
	sleep_for_ever();
	return NULL;
}

void death_victim(void *arg)
{
	struct death_stage *stage = arg;
	pthread_t thread;

	place_pin(stage->place.far);
	bench_reside(stage->resident);
	if (stage->call != DEATH_RAW)
		dcm_victim(stage);
	else if (pthread_create(&thread, NULL, robust_thread, stage) != 0)
		bench_fail("the victim gets no thread");
	sleep_for_ever();
}

/* From here on nothing but the victim's end ends the call. */
static void about_to_block(struct death_stage *stage)
{
	bench_raise(&stage->blocked);
}

/* Nobody puts anything away, on the processor of all, before the last has returned. */
static int64_t has_returned(struct death_stage *stage)
{
	int64_t now = bench_now();

	bench_raise(&stage->returned);
	bench_reach(&stage->away, atomic_load(&stage->round));
	return now;
}

static DcmHandle connection_to(const char *name)
{
	DcmHandle connection;

	bench_need(rcOk,
		   DcmCreateConnection(type, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
		   "DcmCreateConnection");
	return connection;
}

static int64_t blocked_in_connect(struct death_stage *stage)
{
	DcmHandle connection = connection_to(name_of(stage, 0));
	int64_t returned;
	Handle session;
	Retcode rc;

	about_to_block(stage);
	rc = DcmConnect(connection, INFINITE_TIMEOUT, &session);
	returned = has_returned(stage);
	bench_need(rcNotConnected, rc, "DcmConnect to the dead");
	DcmCloseHandle(connection);
	return returned;
}

static int64_t blocked_in_call(struct death_stage *stage)
{
	DcmHandle connection = connection_to(name_of(stage, 0));
	DcmMessage message;
	int64_t returned;
	Handle session;
	Retcode rc;

	bench_need(rcOk, DcmConnect(connection, INFINITE_TIMEOUT, &session), "DcmConnect");
	DcmCloseHandle(connection);
	bench_need(rcOk, DcmLoan(session, 64, -1, &message), "DcmLoan");
	memset(message.data, 0, message.size);
	about_to_block(stage);
	rc = DcmCall(session, &message, -1, &message);
	returned = has_returned(stage);
	bench_need(rcNotConnected, rc, "DcmCall to the dead");
	KnHandleClose(session);
	return returned;
}

static int64_t blocked_in_read(struct death_stage *stage)
{
	DcmPubStatus status = 0;
	DcmHandle subscription;
	int64_t returned;
	Retcode rc;

	bench_need(rcOk,
		   DcmSetSubscription(type, name_of(stage, 0), NULL, INVALID_HANDLE, &subscription),
		   "DcmSetSubscription");
	rc = DcmReadPubQueue(subscription, INFINITE_TIMEOUT, &status, NULL, NULL, NULL);
	bench_need(rcOk, rc, "DcmReadPubQueue");
	about_to_block(stage);
	rc = DcmReadPubQueue(subscription, INFINITE_TIMEOUT, &status, NULL, NULL, NULL);
	returned = has_returned(stage);
	bench_need(rcOk, rc, "DcmReadPubQueue of the dead");
	if (status != DCM_UNPUBLISHED)
		bench_fail("DcmReadPubQueue: status %u", status);
	DcmCloseHandle(subscription);
	return returned;
}

/* A client that goes on elsewhere when its server dies. */
static void *faithless_client(void *arg)
{
	DcmHandle connection = *(DcmHandle *)arg;
	Handle session;

	bench_need(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
		   "DcmConnect to the dead");
	bench_need(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
		   "DcmConnect that the successor refuses");
	return NULL;
}

static int64_t blocked_in_listen(struct death_stage *stage, uint32_t number)
{
	DcmHandle connection = connection_to(name_of(stage, number));
	DcmHandle publication, request;
	pthread_t client;
	int64_t returned;
	Handle session;
	Retcode rc;

	/* Asked of the victim, before there is another to ask. */
	bench_need(rcTimeout, DcmConnect(connection, 0, &session), "DcmConnect without waiting");
	publication = publish(stage, number);
	if (pthread_create(&client, NULL, faithless_client, &connection) != 0)
		bench_fail("no thread for a client");
	about_to_block(stage);
	rc = DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &request);
	returned = has_returned(stage);
	bench_need(rcOk, rc, "the successor's DcmListen");
	DcmCloseHandle(request);
	pthread_join(client, NULL);
	DcmCloseHandle(connection);
	DcmCloseHandle(publication);
	return returned;
}

/* The kernel wakes one, and that one the others. */
static int64_t blocked_in_kernel(struct death_stage *stage)
{
	uint32_t word = atomic_load(&stage->robust);

	about_to_block(stage);
	while ((word & FUTEX_OWNER_DIED) == 0) {
		syscall(SYS_futex, &stage->robust, FUTEX_WAIT, word, NULL, NULL, 0);
		word = atomic_load(&stage->robust);
	}
	if (stage->callers > 1)
		syscall(SYS_futex, &stage->robust, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	return has_returned(stage);
}

static int64_t blocked(struct death_stage *stage, uint32_t number)
{
	switch (stage->call) {
	case DEATH_CALL:
		return blocked_in_call(stage);
	case DEATH_CONNECT:
		return blocked_in_connect(stage);
	case DEATH_LISTEN:
		return blocked_in_listen(stage, number);
	case DEATH_READ:
		return blocked_in_read(stage);
	default:
		return blocked_in_kernel(stage);
	}
}

void death_caller(void *arg)
{
	const struct death_caller_is *is = arg;
	struct death_stage *stage = is->stage;
	struct death_caller *self = &stage->caller[is->number];

	self->pid = getpid();
	bench_need(rcOk, DcmInit(), "a caller's DcmInit");
	bench_raise(&stage->back);
	for (uint32_t round = 1;; round++) {
		bench_reach(&stage->round, round);
		bench_reach(&stage->victims, round);
		self->returned_ns = blocked(stage, is->number);
		bench_raise(&stage->back);
	}
}
