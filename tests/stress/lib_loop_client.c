/* SPDX-License-Identifier: BSD-2-Clause */
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/stress/lib_loop.h"
#include "tests/tap.h"

struct client {
	DcmHandle connection;
	Handle session;
	int64_t began_us;
	uint64_t question;
};

static struct loop_shared *shared;
static unsigned int number;
static struct client clients[LOOP_EACH];
static _Atomic uint64_t asked, answered; /* of this process */
static int loop;

/* What this process publishes, one of each interface at the most. */
static pthread_mutex_t news_lock = PTHREAD_MUTEX_INITIALIZER;
static DcmHandle news[LOOP_SUBSCRIPTIONS];
static bool is_news[LOOP_SUBSCRIPTIONS];

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void change_news(uint64_t which)
{
	unsigned int i = (unsigned int)(which % LOOP_SUBSCRIPTIONS);
	char type[64], name[64];

	pthread_mutex_lock(&news_lock);
	if (is_news[i]) {
		wanted(rcOk, DcmCloseHandle(news[i]), "withdrawing");
		is_news[i] = false;
	} else {
		snprintf(type, sizeof type, LOOP_NEWS "%u", i);
		snprintf(name, sizeof name, "news-%u", number);
		is_news[i] = wanted(rcOk,
				    DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), type,
						       name, &news[i]),
				    "publishing");
	}
	pthread_mutex_unlock(&news_lock);
}

/* One more call of this process: may it be made? */
static bool next_call(struct client *c)
{
	uint64_t call = atomic_fetch_add(&asked, 1);

	if (call >= shared->calls || too_many_wrong())
		return false;
	if (call % LOOP_NEWS_EVERY == 0)
		change_news(call / LOOP_NEWS_EVERY);
	c->question = mix((uint64_t)number << 56 | call);
	c->began_us = now_us();
	return true;
}

static bool ask(struct client *c, DcmMessage *message)
{
	if (!wanted(rcOk, DcmLoan(c->session, sizeof c->question, -1, message), "a loan"))
		return false;
	memcpy(message->data, &c->question, sizeof c->question);
	return true;
}

static void heard(struct client *c, DcmMessage *reply)
{
	uint64_t answer = 0, took = (uint64_t)(now_us() - c->began_us);
	uint64_t longest = atomic_load(&shared->longest_us);

	if (reply->size == sizeof answer)
		memcpy(&answer, reply->data, sizeof answer);
	if (answer != loop_answer(c->question))
		wrong("an answer of %zu bytes that is not to the question", reply->size);
	wanted(rcOk, DcmRelease(reply), "releasing a reply");
	atomic_fetch_add(&shared->answered, 1);
	atomic_fetch_add(&answered, 1);
	while (took > longest && !atomic_compare_exchange_weak(&shared->longest_us, &longest, took))
		;
}

/* By one epoll. */

static void follow(uint64_t handle, struct client *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int fd = -1;

	if (wanted(rcOk, DcmGetFd(handle, &fd), "a descriptor") &&
	    epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0)
		sysbail("epoll_ctl");
}

static void start(struct client *c)
{
	DcmMessage message;
	uint64_t call;

	if (next_call(c) && ask(c, &message))
		wanted(rcOk, DcmStart(c->session, &message, -1, &call), "starting a call");
}

static void finish(struct client *c)
{
	DcmMessage reply;
	Retcode rc;

	while ((rc = DcmFinish(c->session, DCM_ANY_CALL, 0, NULL, &reply)) == rcOk) {
		heard(c, &reply);
		start(c);
	}
	if (rc != rcTimeout)
		wanted(rcResourceNotFound, rc, "finishing");
}

/* Asks, or hears of the decision: then its descriptor goes with the handle. */
static void connect_further(struct client *c)
{
	Retcode rc = DcmConnect(c->connection, 0, &c->session);

	if (rc == rcTimeout || !wanted(rcOk, rc, "connecting"))
		return;
	wanted(rcOk, DcmCloseHandle(c->connection), "closing a connection");
	c->connection = DCM_INVALID_HANDLE;
	follow(c->session, c);
	atomic_fetch_add(&shared->connected, 1);
	atomic_fetch_add(&answered, 1);
}

/* Until @count more things were heard. */
static void run_loop(uint64_t count, void (*ready)(struct client *c))
{
	int64_t until = now_ms() + LOOP_PATIENCE_MS;
	uint64_t seen = 0;

	while (atomic_load(&answered) < count && !too_many_wrong()) {
		struct epoll_event events[64];
		int ready_count = epoll_wait(loop, events, 64, 1000);

		for (int i = 0; i < ready_count; i++)
			ready(events[i].data.ptr);
		if (atomic_load(&answered) != seen)
			until = now_ms() + LOOP_PATIENCE_MS;
		seen = atomic_load(&answered);
		if (now_ms() > until) {
			wrong("process %u heard of %llu of %llu and nothing more", number,
			      (unsigned long long)seen, (unsigned long long)count);
			return;
		}
	}
	atomic_store(&answered, 0);
}

static void call_by_loop(void)
{
	for (unsigned int i = 0; i < LOOP_EACH; i++)
		start(&clients[i]);
	run_loop(shared->calls, finish);
	/* The one that was not made for want of calls has left the last descriptors readable. */
	for (unsigned int i = 0; i < LOOP_EACH; i++)
		finish(&clients[i]);
}

/* By threads that block. */

static void *caller(void *arg)
{
	unsigned int first = (unsigned int)(uintptr_t)arg, at = first;

	for (;; at = at + LOOP_CALLERS < LOOP_EACH ? at + LOOP_CALLERS : first) {
		struct client *c = &clients[at];
		DcmMessage message;

		if (!next_call(c) || !ask(c, &message) ||
		    !wanted(rcOk, DcmCall(c->session, &message, -1, &message), "a call"))
			return NULL;
		heard(c, &message);
	}
}

static void call_by_threads(void)
{
	pthread_t threads[LOOP_CALLERS];

	for (uintptr_t i = 0; i < LOOP_CALLERS; i++)
		threads[i] = start_thread(caller, (void *)i);
	for (unsigned int i = 0; i < LOOP_CALLERS; i++)
		join_thread(threads[i]);
}

static void connect_all(void)
{
	char name[32];

	for (unsigned int i = 0; i < LOOP_EACH; i++) {
		snprintf(name, sizeof name, "loop-%u", i % LOOP_PUBLICATIONS);
		wanted(rcOk,
		       DcmCreateConnection(LOOP_TYPE, name, INVALID_HANDLE, INVALID_HANDLE,
					   &clients[i].connection),
		       "a connection");
		follow(clients[i].connection, &clients[i]);
		connect_further(&clients[i]);
	}
	run_loop(LOOP_EACH, connect_further);
}

void loop_client(struct loop_shared *memory, unsigned int of)
{
	shared = memory;
	number = of;
	loop = epoll_create1(EPOLL_CLOEXEC);
	if (!wanted(rcOk, DcmInit(), "DcmInit"))
		return;
	connect_all();
	nap_until(&shared->go, 1, LOOP_PATIENCE_MS);
	if (number % 2 == 0)
		call_by_loop();
	else
		call_by_threads();
	for (unsigned int i = 0; i < LOOP_SUBSCRIPTIONS; i++)
		atomic_fetch_add(&shared->live[i], is_news[i]);
	atomic_fetch_add(&shared->over, 1);
	/* No hurry: the server measures how little it is woken meanwhile. */
	while (atomic_load(&shared->end) == 0)
		nap_us(20000);
	for (unsigned int i = 0; i < LOOP_EACH; i++)
		wanted(rcOk, KnHandleClose(clients[i].session), "closing a session");
	DcmFini();
	close(loop);
}
