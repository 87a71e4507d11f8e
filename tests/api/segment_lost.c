/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A segment loses its name, or another takes it: those inside go on, those who come get a new one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Lost"

struct world {
	struct peer server, client;
	uint64_t publication, session, subscription;
	struct peer_answer callable;
};

static void open_world(struct world *w)
{
	uint64_t connection, request;

	w->server = peer_attached("server");
	w->client = peer_attached("client");
	w->callable = peer_must(&w->server, PEER_CALLABLE, .other = 1);
	w->publication = peer_must(&w->server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
	w->subscription = peer_must(&w->client, PEER_SUBSCRIBE, .type = TYPE).handle;
	peer_must(&w->client, PEER_READ, .handle = w->subscription, .timeout = 20000);
	connection = peer_must(&w->client, PEER_CREATE, .type = TYPE, .name = "n").handle;
	peer_post(&w->client, PEER_CONNECT, .handle = connection, .timeout = 20000);
	request = peer_must(&w->server, PEER_LISTEN, .handle = w->publication, .timeout = 20000)
			  .handle;
	peer_must(&w->server, PEER_ACCEPT, .handle = request, .other = w->callable.handle);
	peer_must(&w->server, PEER_CLOSE, .handle = request);
	w->session = peer_wait(&w->client).handle;
}

static void works(struct world *w, const char *what)
{
	struct peer_answer a;

	peer_post(&w->server, PEER_RECEIVE, .handle = w->callable.other, .timeout = 20000);
	peer_post(&w->client, PEER_CALL, .handle = w->session, .size = 1000, .timeout = 20000);
	peer_must(&w->server, PEER_REPLY, .other = peer_wait(&w->server).other);
	a = peer_wait(&w->client);
	is_answer(rcOk, &a, "%s", what);
}

/* The server is killed: its client is told, in whichever segment. */
static void close_world(struct world *w, const char *what)
{
	struct peer_answer a;

	peer_post(&w->client, PEER_READ, .handle = w->subscription, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&w->client);
	peer_kill(&w->server);
	a = peer_wait(&w->client);
	is_answer(rcOk, &a, "%s: its server is killed, its client told", what);
	is_uint(DCM_UNPUBLISHED, a.other, "that it is unpublished");
	peer_must(&w->client, PEER_FINI);
	is_int(0, peer_end(&w->client), "%s: the client ends in order", what);
}

static void test_unlinked(bool lock_too)
{
	struct world old, new;
	struct peer_answer a;
	char path[256], lock[272];
	DcmHandle subscription;

	snprintf(path, sizeof(path), "%s/fabric", tap_fabric_dir());
	snprintf(lock, sizeof(lock), "%s.lock", path);
	open_world(&old);
	ok(unlink(path) == 0 && (!lock_too || unlink(lock) == 0), "the segment%s lost",
	   lock_too ? " and its lock file are" : " is");
	works(&old, "those inside go on");
	a = peer_do(&old.client, PEER_INIT);
	is_answer(rcOk, &a, "another DcmInit of one inside");
	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	is_rc(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL),
	      "who comes now is in a new one");
	open_world(&new);
	is_rc(rcOk, DcmReadPubQueue(subscription, 20000, NULL, NULL, NULL, NULL),
	      "and meets who comes later");
	works(&old, "the old one works");
	works(&new, "the new one works");
	peer_must(&old.client, PEER_FINI);
	close_world(&old, "old");
	works(&new, "the new one still works");
	close_world(&new, "new");
	DcmFini();
	unlink(path);
	unlink(lock);
}

/* Something else lies where the segment was. */
static void test_replaced(void)
{
	static const char text[] =
		"this is no segment, and longer than its first sixty-four bytes are";
	char path[256], lock[272];
	struct world old;
	int fd;

	snprintf(path, sizeof(path), "%s/fabric", tap_fabric_dir());
	snprintf(lock, sizeof(lock), "%s.lock", path);
	open_world(&old);
	unlink(path);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, sizeof(text)) != (ssize_t)sizeof(text))
		sysbail("%s", path);
	close(fd);
	works(&old, "another file has the name: those inside go on");
	is_rc(rcFail, DcmInit(), "who comes is refused");
	ok(strstr(DcmLastDetail(), path) != NULL, "the detail names it: %s", DcmLastDetail());
	close_world(&old, "old");
	unlink(path);
	is_rc(rcOk, DcmInit(), "the file is removed: DcmInit makes a segment");
	DcmFini();
	unlink(path);
	unlink(lock);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	test_unlinked(false);
	test_unlinked(true);
	test_replaced();
	return 0;
}
