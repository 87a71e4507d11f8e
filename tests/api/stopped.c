/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A participant is stopped for a while: it is not dead, nobody else waits, and it goes on after. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Stopped"

enum { WHILE_MS = 2500, OTHERS = 6 };

struct far {
	struct peer peer;
	uint64_t publication, listener, session;
};

static void stop(struct peer *peer)
{
	int status = 0;

	kill(peer->pid, SIGSTOP);
	if (waitpid(peer->pid, &status, WUNTRACED) != peer->pid || !WIFSTOPPED(status))
		die("peer %d does not stop", (int)peer->pid);
}

static void go_on(struct peer *peer)
{
	kill(peer->pid, SIGCONT);
}

/* A server of its own process with a session of the client's, which echoes from now on. */
static struct far far_start(struct peer *client, const char *name)
{
	struct far far = { .peer = peer_attached("server") };
	struct peer_answer callable = peer_must(&far.peer, PEER_CALLABLE, .other = 1);
	uint64_t connection, request;

	far.listener = callable.other;
	far.publication = peer_must(&far.peer, PEER_PUBLISH, .type = TYPE, .name = name).handle;
	connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = name).handle;
	peer_post(client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
	request = peer_must(&far.peer, PEER_LISTEN, .handle = far.publication,
			    .timeout = INFINITE_TIMEOUT)
			  .handle;
	peer_must(&far.peer, PEER_ACCEPT, .handle = request, .other = callable.handle);
	far.session = peer_wait(client).handle;
	peer_post(&far.peer, PEER_ECHO, .handle = far.listener);
	return far;
}

static struct peer_answer call(struct peer *client, uint64_t session, uint32_t timeout)
{
	return peer_do(client, PEER_CALL, .handle = session, .size = 1000, .seed = 5,
		       .timeout = timeout);
}

static void test_server(void)
{
	struct peer client = peer_attached("client");
	struct far stopped = far_start(&client, "stopped"), other = far_start(&client, "other");
	struct peer_answer a;

	stop(&stopped.peer);
	a = call(&client, stopped.session, 100);
	is_answer(rcTimeout, &a, "a call to a stopped server");
	a = call(&client, other.session, INFINITE_TIMEOUT);
	is_answer(rcOk, &a, "a call to another");
	peer_post(&client, PEER_CALL, .handle = stopped.session, .size = 1000, .seed = 6,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	pause_ms(WHILE_MS);
	ok(!peer_answered(&client), "a call without a timeout waits on");
	go_on(&stopped.peer);
	a = peer_wait(&client);
	is_answer(rcOk, &a, "the server goes on, and answers");
	stop(&stopped.peer);
	peer_post(&client, PEER_CALL, .handle = stopped.session, .size = 1000, .seed = 7,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	peer_kill(&stopped.peer);
	a = peer_wait(&client);
	is_answer(rcNotConnected, &a, "killed while it is stopped");
	peer_kill(&other.peer);
	peer_kill(&client);
}

/* A client that is stopped with a call under way holds up no other client. */
static void test_client(void)
{
	struct peer client = peer_attached("client"), second = peer_attached("second");
	struct far far = far_start(&client, "n");
	struct peer_answer a;
	uint64_t connection;

	connection = peer_must(&second, PEER_CREATE, .type = TYPE, .name = "n").handle;
	stop(&client);
	peer_post(&client, PEER_CALL, .handle = far.session, .size = 1000, .seed = 1,
		  .timeout = INFINITE_TIMEOUT);
	a = peer_do(&second, PEER_CONNECT, .handle = connection, .timeout = 200);
	is_answer(rcTimeout, &a, "the server is busy echoing: a second client waits");
	a = peer_do(&second, PEER_SUBSCRIBE, .type = TYPE);
	is_answer(rcOk, &a, "it may do anything else");
	a = peer_do(&second, PEER_READ, .handle = a.handle, .timeout = INFINITE_TIMEOUT);
	is_answer(rcOk, &a, "read notices, say");
	go_on(&client);
	a = peer_wait(&client);
	is_answer(rcOk, &a, "the client goes on, and its call is answered");
	peer_kill(&far.peer);
	peer_kill(&client);
	peer_kill(&second);
}

/* All who could watch a server are stopped, but one reader: it is told of the server's death. */
static void test_watchers(void)
{
	struct peer others[OTHERS], server = peer_attached("server"), reader;
	struct peer_answer a;
	uint64_t subscription;

	for (int i = 0; i < OTHERS; i++) {
		others[i] = peer_attached("watcher");
		if (i == OTHERS / 2)
			reader = peer_attached("reader");
	}
	peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "watched");
	subscription = peer_must(&reader, PEER_SUBSCRIBE, .type = TYPE).handle;
	a = peer_do(&reader, PEER_READ, .handle = subscription, .timeout = INFINITE_TIMEOUT);
	is_string("watched", a.name, "a server is seen");
	peer_post(&reader, PEER_READ, .handle = subscription, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&reader);
	for (int i = 0; i < OTHERS; i++)
		stop(&others[i]);
	peer_kill(&server);
	a = peer_wait(&reader);
	is_answer(rcOk, &a, "with %d watchers stopped, the reader is told", OTHERS);
	is_uint(DCM_UNPUBLISHED, a.other, "that the server died");
	pause_ms(WHILE_MS);
	for (int i = 0; i < OTHERS; i++)
		go_on(&others[i]);
	a = peer_do(&others[0], PEER_PUBLISH, .type = TYPE, .name = "next");
	is_answer(rcOk, &a, "a watcher goes on, and publishes");
	a = peer_do(&reader, PEER_READ, .handle = subscription, .timeout = INFINITE_TIMEOUT);
	is_string("next", a.name, "which is seen");
	for (int i = 0; i < OTHERS; i++) {
		a = peer_do(&others[i], PEER_FINI);
		is_int(0, peer_end(&others[i]), "a watcher ends in order");
	}
	peer_kill(&reader);
}

/* Who comes or goes waits for nobody's answer. */
static void test_come_and_go(void)
{
	struct peer others[OTHERS], newcomer = peer_start("newcomer");
	struct peer_answer a;

	for (int i = 0; i < OTHERS; i++) {
		others[i] = peer_attached("stopped");
		peer_must(&others[i], PEER_PUBLISH, .type = TYPE, .name = "stopped");
		peer_must(&others[i], PEER_SUBSCRIBE, .type = TYPE);
	}
	for (int i = 0; i < OTHERS; i++)
		stop(&others[i]);
	a = peer_do(&newcomer, PEER_INIT);
	is_answer(rcOk, &a, "DcmInit while all others are stopped");
	a = peer_do(&newcomer, PEER_PUBLISH, .type = TYPE, .name = "new");
	is_answer(rcOk, &a, "it publishes");
	a = peer_do(&newcomer, PEER_FINI);
	is_answer(rcOk, &a, "DcmFini while all others are stopped");
	peer_end(&newcomer);
	for (int i = 0; i < OTHERS; i++)
		peer_kill(&others[i]);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	test_server();
	test_client();
	test_watchers();
	test_come_and_go();
	return 0;
}
