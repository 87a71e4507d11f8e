/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A system call that a filter denies, before DcmInit or after it, is done without: nothing is lost. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "tests/api/lib_peer.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#define TYPE "test.Denied"

/* When a process is no longer let: in its life, and the other side's. */
enum when { BEFORE_INIT, AFTER_INIT, IN_SESSION, WHENS };
static const char *const when_names[WHENS] = { "before DcmInit", "after DcmInit", "in a session" };

struct refusal {
	const char *name;
	long number;
	int error;
	enum when when;
};

static void deny(struct peer *peer, const struct refusal *r, enum when now)
{
	if (r->when == now)
		peer_must(peer, PEER_DENY, .other = (uint64_t)r->number,
			  .size = (uint64_t)r->error);
}

static struct peer start(const char *name, const struct refusal *r)
{
	struct peer peer = peer_start(name);

	deny(&peer, r, BEFORE_INIT);
	peer_must(&peer, PEER_INIT);
	deny(&peer, r, AFTER_INIT);
	return peer;
}

/* Handles come and go: what they were is freed, or kept where it cannot be. */
static void churn(struct peer *peer)
{
	for (int i = 0; i < 150; i++) {
		uint64_t handle = peer_must(peer, PEER_USER).handle;

		peer_must(peer, PEER_KCLOSE, .handle = handle);
	}
}

struct scene {
	struct peer server, client;
	uint64_t publication, listener, subscription, connection, session;
};

static void open_session(struct scene *s)
{
	struct peer_answer callable, request;

	callable = peer_must(&s->server, PEER_CALLABLE, .other = 1);
	s->listener = callable.other;
	s->publication = peer_must(&s->server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
	s->subscription = peer_must(&s->client, PEER_SUBSCRIBE, .type = TYPE).handle;
	peer_must(&s->client, PEER_READ, .handle = s->subscription, .timeout = INFINITE_TIMEOUT);
	s->connection = peer_must(&s->client, PEER_CREATE, .type = TYPE, .name = "n").handle;
	peer_post(&s->client, PEER_CONNECT, .handle = s->connection, .timeout = INFINITE_TIMEOUT);
	request = peer_must(&s->server, PEER_LISTEN, .handle = s->publication,
			    .timeout = INFINITE_TIMEOUT);
	peer_must(&s->server, PEER_ACCEPT, .handle = request.handle, .other = callable.handle);
	s->session = peer_wait(&s->client).handle;
}

static void test_refused(const struct refusal *r)
{
	struct scene s = { .server = start("server", r), .client = start("client", r) };
	struct peer_answer a;
	char what[128];

	snprintf(what, sizeof(what), "%s is %s, %s", r->name, strerrorname_np(r->error),
		 when_names[r->when]);
	open_session(&s);
	deny(&s.server, r, IN_SESSION);
	deny(&s.client, r, IN_SESSION);
	peer_post(&s.server, PEER_ECHO, .handle = s.listener);
	for (uint64_t i = 0; i < 3; i++) {
		a = peer_do(&s.client, PEER_CALL, .handle = s.session, .size = 5000, .seed = i,
			    .timeout = INFINITE_TIMEOUT);
		if (a.rc != rcOk)
			break;
	}
	is_answer(rcOk, &a, "%s: calls are answered", what);
	churn(&s.client);
	peer_post(&s.client, PEER_READ, .handle = s.subscription, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&s.client);
	peer_kill(&s.server);
	a = peer_wait(&s.client);
	is_answer(rcOk, &a, "a reader that sleeps is told of its server's death");
	is_uint(DCM_UNPUBLISHED, a.other, "that it is unpublished");
	a = peer_do(&s.client, PEER_CALL, .handle = s.session, .size = 1,
		    .timeout = INFINITE_TIMEOUT);
	is_answer(rcNotConnected, &a, "its session is over");
	peer_must(&s.client, PEER_FINI);
	is_int(0, peer_end(&s.client), "and it ends in order");
}

int main(void)
{
	static const struct {
		const char *name;
		long number;
	} calls[] = { { "membarrier", SYS_membarrier },
		      { "futex_waitv", SYS_futex_waitv },
		      { "pidfd_open", SYS_pidfd_open },
		      { "pidfd_getfd", SYS_pidfd_getfd } };

	plan_lazy();
	tap_fabric_dir();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (enum when when = BEFORE_INIT; when < WHENS; when++) {
			struct refusal r = { calls[i].name, calls[i].number, EPERM, when };

			test_refused(&r);
			r.error = ENOSYS;
			test_refused(&r);
		}
	}
	return 0;
}
