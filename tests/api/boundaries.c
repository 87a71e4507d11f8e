/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Participants in other user, PID and network namespaces, and of another user, meet in one fabric. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/api/lib_elsewhere.h"

#define TYPE "test.Boundary"

enum { NOBODY = 65534 };

static const struct place {
	const char *name;
	int namespaces;
	uid_t uid;
} places[] = {
	{ "another user namespace", CLONE_NEWUSER, 0 },
	{ "another PID namespace", CLONE_NEWPID, 0 },
	{ "another network namespace", CLONE_NEWNET, 0 },
	{ "other user and PID namespaces", CLONE_NEWUSER | CLONE_NEWPID, 0 },
};

static bool start(struct peer *peer, const struct place *place)
{
	if (!peer_start_elsewhere(peer, place->namespaces, place->uid)) {
		skip("no peer in %s: %s", place->name, strerrordesc_np(errno));
		return false;
	}
	peer_must(peer, PEER_INIT);
	return true;
}

static uint64_t serve(struct peer *server, struct peer_answer *callable)
{
	*callable = peer_must(server, PEER_CALLABLE, .other = 1);
	return peer_must(server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
}

/* The client's answer to its connect. */
static struct peer_answer meet(struct peer *server, struct peer *client,
			       struct peer_answer *callable, uint64_t publication)
{
	struct peer_answer request;
	uint64_t connection;

	connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = "n").handle;
	peer_post(client, PEER_CONNECT, .handle = connection, .timeout = 20000);
	request =
		peer_must(server, PEER_LISTEN, .handle = publication, .timeout = INFINITE_TIMEOUT);
	peer_must(server, PEER_ACCEPT, .handle = request.handle, .other = callable->handle);
	peer_must(server, PEER_CLOSE, .handle = request.handle);
	return peer_wait(client);
}

/*
 * Found, connected, called; then the server is killed, and its client told. With @unreachable the
 * client may be refused: no socket goes over to another network namespace, and an ordinary user's
 * comes with a user namespace, from which no other descriptors are to be had.
 */
static void test_pair(struct peer *server, struct peer *client, bool unreachable, const char *what)
{
	struct peer_answer callable, a;
	uint64_t subscription, publication = serve(server, &callable);

	subscription = peer_must(client, PEER_SUBSCRIBE, .type = TYPE).handle;
	a = peer_do(client, PEER_READ, .handle = subscription, .timeout = INFINITE_TIMEOUT);
	is_string("n", a.name, "%s: found", what);
	a = meet(server, client, &callable, publication);
	if (unreachable && a.rc == rcSecurityDisallow) {
		ok(strstr(a.detail, "socket: ") != NULL, "not to be reached, by name: %s",
		   a.detail);
		peer_kill(server);
		return;
	}
	if (!is_answer(rcOk, &a, "connected")) {
		peer_kill(server);
		return;
	}
	peer_post(server, PEER_RECEIVE, .handle = callable.other, .timeout = INFINITE_TIMEOUT);
	peer_post(client, PEER_CALL, .handle = a.handle, .size = 100000, .seed = 1,
		  .timeout = INFINITE_TIMEOUT);
	peer_must(server, PEER_REPLY, .other = peer_wait(server).other);
	a = peer_wait(client);
	is_answer(rcOk, &a, "called");
	peer_post(client, PEER_READ, .handle = subscription, .timeout = INFINITE_TIMEOUT);
	peer_kill(server);
	a = peer_wait(client);
	is_answer(rcOk, &a, "the server is killed, its client reads");
	is_uint(DCM_UNPUBLISHED, a.other, "that it is unpublished");
}

static void test_place(const struct place *place)
{
	bool net = (place->namespaces & CLONE_NEWNET) != 0 && geteuid() != 0;
	struct peer here, there;
	char what[128];

	if (!start(&there, place))
		return;
	here = peer_attached("here");
	snprintf(what, sizeof(what), "a server in %s", place->name);
	test_pair(&there, &here, net, what);
	peer_kill(&here);
	here = peer_attached("here");
	if (!start(&there, place))
		return;
	snprintf(what, sizeof(what), "a client in %s", place->name);
	test_pair(&here, &there, net, what);
	peer_kill(&there);
}

/* A user's fabric, which root may join; and root's, which a user may not. */
static void test_users(void)
{
	static const struct place nobody = { "another user", 0, NOBODY };
	struct peer user, root;
	char path[256];
	struct peer_answer a;

	if (geteuid() != 0) {
		skip("not root: cannot be two users");
		return;
	}
	snprintf(path, sizeof(path), "%s/shared", tap_fabric_dir());
	if (chmod(tap_fabric_dir(), 0711) < 0 || mkdir(path, 0700) < 0 ||
	    chown(path, NOBODY, NOBODY) < 0 ||
	    !peer_start_elsewhere(&user, nobody.namespaces, nobody.uid)) {
		skip("cannot be user %d: %s", NOBODY, strerrordesc_np(errno));
		rmdir(path);
		return;
	}
	root = peer_attached("root's");
	a = peer_do(&user, PEER_INIT);
	is_answer(rcSecurityDisallow, &a, "a user may not join root's fabric");
	peer_kill(&root);
	strcat(path, "/fabric");
	peer_must(&user, PEER_SETENV, .name = "DCM_FABRIC", .type = path);
	a = peer_do(&user, PEER_INIT);
	is_answer(rcOk, &a, "a user makes a fabric");
	root = peer_start("root");
	peer_must(&root, PEER_SETENV, .name = "DCM_FABRIC", .type = path);
	a = peer_do(&root, PEER_INIT);
	is_answer(rcOk, &a, "root joins it");
	test_pair(&user, &root, false, "a user's server and root's client");
	peer_end(&root);
	unlink(path);
	strcat(path, ".lock");
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		test_place(&places[i]);
	test_users();
	return 0;
}
