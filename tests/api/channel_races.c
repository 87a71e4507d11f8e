/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A session or a listener is closed in the middle of what other threads do with it: each call ends
 * with a code that the contract names, and what was handed out stays mapped until it is released.
 */
#define _GNU_SOURCE
#include <string.h>

#include "tests/api/lib_api.h"

struct worker {
	struct pair *pair;
	_Atomic unsigned int *rounds;
	unsigned int wrong;
	Retcode last;
};

static bool is_an_end(Retcode rc)
{
	return rc == rcInvalidArgument || rc == rcNotConnected;
}

static void loan_until_closed(void *arg)
{
	struct worker *w = arg;
	DcmMessage message;

	for (;;) {
		w->last = DcmLoan(w->pair->session, 64, FOREVER_NS, &message);
		if (w->last != rcOk)
			break;
		memset(message.data, 1, 64);
		w->wrong += DcmRelease(&message) != rcOk;
		atomic_fetch_add(w->rounds, 1);
	}
	w->wrong += !is_an_end(w->last);
}

static void call_until_closed(void *arg)
{
	struct worker *w = arg;
	DcmMessage message, reply;

	for (;;) {
		w->last = DcmLoan(w->pair->session, 64, FOREVER_NS, &message);
		if (w->last != rcOk)
			break;
		memset(message.data, 1, 64);
		w->last = DcmCall(w->pair->session, &message, FOREVER_NS, &reply);
		if (w->last != rcOk) {
			w->wrong += message.data != NULL && w->last != rcInvalidArgument;
			w->wrong += DcmRelease(&message) != rcOk;
			break;
		}
		w->wrong += reply.size != 64 || ((unsigned char *)reply.data)[63] != 1;
		w->wrong += DcmRelease(&reply) != rcOk;
		atomic_fetch_add(w->rounds, 1);
	}
	w->wrong += !is_an_end(w->last);
}

static void serve_until_closed(void *arg)
{
	struct worker *w = arg;
	DcmRequest request;
	DcmMessage reply;

	while ((w->last = DcmReceive(w->pair->listener, FOREVER_NS, &request)) == rcOk) {
		Retcode rc = DcmLoanReply(&request, 64, &reply);

		if (rc != rcOk) {
			w->wrong += rc != rcNotConnected;
			w->wrong += DcmRelease(&request.message) != rcOk;
			continue;
		}
		memcpy(reply.data, request.message.data, 64);
		rc = DcmReply(&request, &reply);
		w->wrong += rc != rcOk && rc != rcNotConnected;
	}
	w->wrong += !is_an_end(w->last);
}

struct rounds_wait {
	_Atomic unsigned int rounds;
	unsigned int wanted;
};

static bool has_run(void *arg)
{
	struct rounds_wait *wait = arg;

	return atomic_load(&wait->rounds) >= wait->wanted;
}

enum { WORKERS = 3 };

static unsigned int race(void (*work)(void *arg), bool serve, bool close_listener, uint64_t *state)
{
	struct rounds_wait wait = { .wanted = (unsigned int)(random_next(state) % 200 + 1) };
	struct worker workers[WORKERS] = { { .wrong = 0 } };
	struct task tasks[WORKERS];
	unsigned int wrong = 0;
	struct pair pair;

	pair_open(&pair);
	for (int i = 0; i < WORKERS; i++) {
		bool server = serve && i == 0;

		workers[i] = (struct worker){ .pair = &pair, .rounds = &wait.rounds };
		task_start(&tasks[i], server ? serve_until_closed : work, &workers[i]);
	}
	if (!until(has_run, &wait))
		die("nothing runs");
	must(KnHandleClose(close_listener ? pair.listener : pair.session));
	for (int i = serve ? 1 : 0; i < WORKERS; i++)
		task_join(&tasks[i]);
	must(KnHandleClose(close_listener ? pair.session : pair.listener));
	if (serve)
		task_join(&tasks[0]);
	for (int i = 0; i < WORKERS; i++)
		wrong += workers[i].wrong;
	must(KnHandleClose(pair.callable));
	must(DcmCloseHandle(pair.publication));
	return wrong;
}

int main(void)
{
	unsigned int count, wrong = 0;
	struct holdings before;
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	must(DcmInit());
	count = (unsigned int)tap_scaled(300);
	for (unsigned int i = 0; i < count; i++)
		wrong += race(loan_until_closed, false, false, &state);
	is_uint(0, wrong, "%u sessions closed under threads that take loans", count);
	for (unsigned int i = 0; i < count; i++)
		wrong += race(call_until_closed, true, false, &state);
	is_uint(0, wrong, "%u sessions closed under threads that call", count);
	for (unsigned int i = 0; i < count; i++)
		wrong += race(call_until_closed, true, true, &state);
	is_uint(0, wrong, "%u listeners closed under threads that serve and call", count);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
