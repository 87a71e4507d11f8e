/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Groups of a server: all or nothing, requests for any endpoint in order, deaths on both sides. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define A "test.GroupA"
#define B "test.GroupB"
#define C "test.GroupC"

enum { MEMBERS = 3, ROOM = 64 };

static const char *const types[MEMBERS] = { A, B, C };
static char contexts[MEMBERS];
static const DcmGroupEndpoint group[MEMBERS] = {
	{ A, "x", &contexts[0] },
	{ B, "x", &contexts[1] },
	{ C, "x", &contexts[2] },
};

static Handle self;

static DcmHandle publish_group(void)
{
	DcmHandle publication;

	must(DcmPublishGroupEndpoints(self, group, MEMBERS, &publication));
	return publication;
}

static DcmHandle prepare(const char *type)
{
	DcmHandle connection;

	must(DcmCreateConnection(type, "x", INVALID_HANDLE, INVALID_HANDLE, &connection));
	return connection;
}

static DcmHandle ask(unsigned member)
{
	DcmHandle connection = prepare(types[member]);
	Handle session;

	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("a request is decided at once: %s", DcmLastDetail());
	return connection;
}

static size_t published(void)
{
	size_t count;

	DcmEnumEndpoints(NULL, 0, NULL, &count);
	return count;
}

static void test_arguments(void)
{
	DcmGroupEndpoint bad[] = { { A, "x", NULL }, { B, "", NULL } };
	DcmGroupEndpoint nameless[] = { { A, "x", NULL }, { NULL, "x", NULL } };
	DcmHandle out, plain;
	Handle weak;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_GET_SID, NULL, &weak));
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(self, group, 0, &out), "no endpoint");
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(self, NULL, 1, &out), "no array");
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(self, group, 1, NULL), "no output");
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(self, bad, 2, &out), "an empty name");
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(self, nameless, 2, &out), "no interface");
	is_rc(rcNoCapability, DcmPublishGroupEndpoints(weak, group, 2, &out), "without the right");
	is_rc(rcInvalidArgument, DcmPublishGroupEndpoints(INVALID_HANDLE, group, 2, &out),
	      "no server");
	is_rc(rcQuotaExceeded, DcmPublishGroupEndpoints(self, group, SIZE_MAX / 2, &out),
	      "more than any fabric has");
	is_uint(0, published(), "none of that published anything");
	must(KnHandleClose(weak));

	out = publish_group();
	must(DcmPublishEndpoint(self, "test.Plain", "x", &plain));
	is_rc(rcInvalidArgument, DcmListen(out, 0, NULL, NULL, &weak), "DcmListen on a group");
	is_rc(rcInvalidArgument, DcmListenGroupPub(plain, 0, NULL, NULL, NULL, &weak),
	      "DcmListenGroupPub on a publication");
	is_rc(rcInvalidArgument, DcmReadGroupPubQueue(out, 0, 0, NULL, NULL, NULL, NULL),
	      "DcmReadGroupPubQueue on a group of endpoints");
	is_rc(rcInvalidArgument, DcmListenGroupPub(out, 0, NULL, NULL, NULL, NULL),
	      "no place for the request");
	is_rc(rcTimeout, DcmListenGroupPub(out, 0, NULL, NULL, NULL, &weak), "nobody asks");
	is_rc(rcOk, DcmCloseHandle(out), "a group is closed as any");
	is_rc(rcInvalidArgument, DcmListenGroupPub(out, 0, NULL, NULL, NULL, &weak), "closed");
	is_rc(rcInvalidArgument, DcmCloseHandle(out), "closed twice");
	must(DcmCloseHandle(plain));
}

/* Nothing is seen of a group that cannot be. */
static void test_all_or_nothing(void)
{
	DcmGroupEndpoint twice[] = { { A, "y", NULL }, { B, "y", NULL }, { A, "y", NULL } };
	DcmGroupEndpoint overlap[] = { { C, "y", NULL }, { B, "x", NULL } };
	static DcmGroupEndpoint many[ROOM];
	static char names[ROOM][16];
	DcmHandle subscription, first, plain, out;

	must(DcmSetSubscription(C, NULL, NULL, INVALID_HANDLE, &subscription));
	is_rc(rcAlreadyExists, DcmPublishGroupEndpoints(self, twice, 3, &out), "one of it twice");
	is_uint(0, published(), "nothing is published");
	first = publish_group();
	is_rc(rcAlreadyExists, DcmPublishGroupEndpoints(self, overlap, 2, &out),
	      "one of another group");
	is_rc(rcAlreadyExists, DcmPublishEndpoint(self, B, "x", &out), "one of a group, alone");
	is_uint(3, published(), "the first group stays");
	must(DcmCloseHandle(first));
	must(DcmPublishEndpoint(self, B, "x", &plain));
	is_rc(rcAlreadyExists, DcmPublishGroupEndpoints(self, overlap, 2, &out),
	      "one that is published alone");
	is_rc(rcAlreadyExists, DcmPublishGroupEndpoints(self, group, MEMBERS, &out), "likewise");
	for (size_t i = 0; i < ROOM; i++) {
		snprintf(names[i], sizeof(names[i]), "many %zu", i);
		many[i] = (DcmGroupEndpoint){ C, names[i], NULL };
	}
	is_rc(rcQuotaExceeded, DcmPublishGroupEndpoints(self, many, ROOM, &out), "no room for all");
	is_uint(1, published(), "nothing of these is left");
	is_rc(rcOk, DcmPublishGroupEndpoints(self, many, ROOM - 1, &out), "room for one fewer");
	is_uint(ROOM, published(), "all of them");
	must(DcmCloseHandle(plain));
	must(DcmCloseHandle(out));
	is_uint(0, published(), "closed");
	is_rc(rcOk, DcmPublishGroupEndpoints(self, overlap, 2, &out),
	      "what failed can be done later");
	must(DcmCloseHandle(out));
	for (int notices = 0;; notices++) {
		char name[DCM_NAME_SIZE];
		Retcode rc = DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, name);

		if (rc != rcOk) {
			is_int(0, notices, "what came and went unread, or never was, is not told");
			break;
		}
	}
	must(DcmCloseHandle(subscription));
}

static void test_all_is_seen_at_once_or_not(void)
{
	DcmHandle subscription, out;
	DcmGroupEndpoint twice[] = { { A, "y", NULL }, { B, "y", NULL }, { B, "y", NULL } };
	struct blocked reader;

	must(DcmSetSubscription(A, NULL, NULL, INVALID_HANDLE, &subscription));
	blocked_start(&reader, BLOCK_READ, subscription);
	is_rc(rcAlreadyExists, DcmPublishGroupEndpoints(self, twice, 3, &out), "it cannot be");
	ok(task_asleep(&reader.task), "a sleeping subscriber is not told of it");
	out = publish_group();
	blocked_ends(&reader, rcOk, "a group that can");
	must(DcmCloseHandle(out));
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	must(DcmCloseHandle(subscription));
}

/* First come, first served, whatever it is for. */
static void test_order(uint64_t *state)
{
	enum { REQUESTS = 200 };
	static DcmHandle connections[REQUESTS];
	static unsigned asked[REQUESTS];
	DcmHandle publication = DCM_INVALID_HANDLE, request;
	unsigned wrong = 0, before = REQUESTS / 4;
	void *context;

	for (unsigned i = 0; i < REQUESTS; i++) {
		asked[i] = (unsigned)(random_next(state) % MEMBERS);
		/* Some before it is published: they are parked. */
		if (i == before)
			publication = publish_group();
		connections[i] = ask(asked[i]);
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		must(DcmListenGroupPub(publication, 0, NULL, NULL, &context, &request));
		wrong += context != &contexts[asked[i]];
		must(DcmCloseHandle(request));
	}
	is_uint(0, wrong, "%d requests, in their order, with their contexts", REQUESTS);
	is_rc(rcTimeout, DcmListenGroupPub(publication, 0, NULL, NULL, &context, &request),
	      "no more");
	for (unsigned i = 0; i < REQUESTS; i++)
		must(DcmCloseHandle(connections[i]));
	must(DcmCloseHandle(publication));
}

/* A listener sleeps for all of them. */
static void test_wakes(void)
{
	DcmHandle publication = publish_group(), connections[4], plain;
	struct blocked listeners[4];
	unsigned served = 0;

	for (unsigned i = 0; i < MEMBERS; i++) {
		blocked_start(&listeners[0], BLOCK_GROUP_LISTEN, publication);
		connections[0] = ask(i);
		blocked_ends(&listeners[0], rcOk, types[i]);
		must(DcmCloseHandle(listeners[0].number));
		must(DcmCloseHandle(connections[0]));
	}
	for (int i = 0; i < 4; i++)
		blocked_start(&listeners[i], BLOCK_GROUP_LISTEN, publication);
	for (unsigned i = 0; i < 3; i++)
		connections[i] = ask(i % MEMBERS);
	must(DcmPublishEndpoint(self, A, "other", &plain));
	while (served < 3) {
		served = 0;
		for (int i = 0; i < 4; i++)
			served += listeners[i].task.over != 0;
		pause_ms(1);
	}
	must(DcmCloseHandle(plain));
	connections[3] = ask(0);
	for (int i = 0; i < 4; i++) {
		blocked_ends(&listeners[i], rcOk, "each gets one");
		must(DcmCloseHandle(listeners[i].number));
	}
	for (int i = 0; i < 4; i++)
		must(DcmCloseHandle(connections[i]));
	must(DcmCloseHandle(publication));
}

static void test_close(void)
{
	DcmHandle publication = publish_group(), connections[MEMBERS];
	struct blocked listener, clients[MEMBERS];

	blocked_start(&listener, BLOCK_GROUP_LISTEN, publication);
	must(DcmCloseHandle(publication));
	blocked_ends(&listener, rcNotConnected, "the group is closed");
	publication = publish_group();
	for (unsigned i = 0; i < MEMBERS; i++) {
		connections[i] = prepare(types[i]);
		blocked_start(&clients[i], BLOCK_CONNECT, connections[i]);
	}
	must(DcmCloseHandle(publication));
	for (unsigned i = 0; i < MEMBERS; i++) {
		blocked_ends(&clients[i], rcNotConnected, "waiting as its group is closed");
		must(DcmCloseHandle(connections[i]));
	}
}

/* A server elsewhere. */
struct server {
	struct peer peer;
	uint64_t publication, callable, listener, request;
};

static struct server serve(void)
{
	struct server s = { .peer = peer_attached("group server") };
	struct peer_answer a = peer_must(&s.peer, PEER_CALLABLE);

	s.callable = a.handle;
	s.listener = a.other;
	s.publication =
		peer_must(&s.peer, PEER_GROUP_PUBLISH, .type = A " " B " " C, .name = "x").handle;
	return s;
}

static struct peer_answer take(struct server *s, const char *client)
{
	struct peer_answer a = peer_must(&s->peer, PEER_GROUP_LISTEN, .handle = s->publication,
					 .timeout = INFINITE_TIMEOUT);

	is_string(client, a.name, "who asks");
	s->request = a.handle;
	return a;
}

static void test_elsewhere(void)
{
	struct server server = serve();
	struct peer client = peer_attached("group client");
	uint64_t sid = peer_must(&client, PEER_SID).sid;

	for (unsigned i = 0; i < MEMBERS; i++) {
		uint64_t connection =
			peer_must(&client, PEER_CREATE, .type = types[i], .name = "x").handle;
		struct peer_answer a;

		peer_post(&client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
		a = take(&server, "group client");
		is_uint(i + 1, a.size, "what it asks for");
		is_hex(sid, a.sid, "its identity");
		if (i != 1)
			peer_must(&server.peer, PEER_ACCEPT, .handle = a.handle,
				  .other = server.callable);
		peer_must(&server.peer, PEER_CLOSE, .handle = a.handle);
		a = peer_wait(&client);
		is_answer(i == 1 ? rcNotConnected : rcOk, &a,
			  i == 1 ? "refused, as any other" : "accepted, as any other");
		if (i != 1)
			peer_must(&client, PEER_KCLOSE, .handle = a.handle);
		peer_must(&client, PEER_CLOSE, .handle = connection);
	}
	is_int(0, peer_end(&client), "the client ends in order");
	is_int(0, peer_end(&server.peer), "the server ends in order");
}

enum { PUBLISHED, ASKED, TAKEN, ACCEPTED, STEPS };

/* All endpoints of a group go with its server, whatever it was doing. */
static void test_server_killed(int step, unsigned member)
{
	struct server server = serve();
	DcmHandle connection = prepare(types[member]), subscriptions[MEMBERS];
	struct blocked client;

	for (unsigned i = 0; i < MEMBERS; i++) {
		must(DcmSetSubscription(types[i], NULL, NULL, INVALID_HANDLE, &subscriptions[i]));
		must(DcmReadPubQueue(subscriptions[i], 0, NULL, NULL, NULL, NULL));
	}
	if (step >= ASKED)
		blocked_start(&client, BLOCK_CONNECT, connection);
	if (step >= TAKEN)
		take(&server, "group_pub.t");
	if (step == ACCEPTED)
		peer_must(&server.peer, PEER_ACCEPT, .handle = server.request,
			  .other = server.callable);
	peer_kill(&server.peer);
	if (step == ACCEPTED) {
		task_join(&client.task);
		ok(client.rc == rcOk || client.rc == rcNotConnected, "killed behind accepting: %s",
		   RetcodeName(client.rc));
		if (client.rc == rcOk)
			must(KnHandleClose(client.number));
	} else if (step >= ASKED) {
		blocked_ends(&client, rcNotConnected, "its server is killed");
	}
	for (unsigned i = 0; i < MEMBERS; i++) {
		DcmPubStatus status = 0;

		must(DcmReadPubQueue(subscriptions[i], 60 * 1000, &status, NULL, NULL, NULL));
		is_uint(DCM_UNPUBLISHED, status, "%s is gone", types[i]);
		must(DcmCloseHandle(subscriptions[i]));
	}
	must(DcmCloseHandle(connection));
}

/* Of a client that is gone nothing is handed out; it holds up nobody. */
static void test_client_killed(int step, unsigned member)
{
	struct peer client = peer_attached("mortal client");
	DcmHandle publication = publish_group(), request, own;
	uint64_t connection =
		peer_must(&client, PEER_CREATE, .type = types[member], .name = "x").handle;
	struct blocked listener;
	char name[DCM_NAME_SIZE];
	void *context = NULL;

	if (step >= ASKED)
		peer_post(&client, PEER_CONNECT, .handle = connection, .timeout = INFINITE_TIMEOUT);
	if (step >= ASKED)
		peer_asleep(&client);
	if (step >= TAKEN)
		must(DcmListenGroupPub(publication, 0, NULL, name, &context, &request));
	peer_kill(&client);
	if (step >= TAKEN) {
		ok(context == &contexts[member] && strcmp(name, "mortal client") == 0,
		   "it was taken");
		must(DcmCloseHandle(request));
	}
	is_rc(rcTimeout, DcmListenGroupPub(publication, 0, NULL, NULL, NULL, &request),
	      "the dead do not ask");
	blocked_start(&listener, BLOCK_GROUP_LISTEN, publication);
	own = ask((member + 1) % MEMBERS);
	blocked_ends(&listener, rcOk, "the living do");
	must(DcmCloseHandle(listener.number));
	must(DcmCloseHandle(own));
	must(DcmCloseHandle(publication));
}

/* Requests from several processes, listeners in several threads: each is served once. */
struct worker {
	DcmHandle publication;
	_Atomic unsigned *taken;
	struct task task;
};

static void work(void *arg)
{
	struct worker *w = arg;
	DcmHandle request;
	Retcode rc;

	while ((rc = DcmListenGroupPub(w->publication, INFINITE_TIMEOUT, NULL, NULL, NULL,
				       &request)) == rcOk) {
		++*w->taken;
		must(DcmCloseHandle(request));
	}
	if (rc != rcNotConnected)
		die("a listener ends with %s", RetcodeName(rc));
}

static void test_many_clients(void)
{
	enum { PEERS = 4, WORKERS = 3 };
	uint64_t rounds = tap_scaled(300);
	DcmHandle publication = publish_group();
	struct peer peers[PEERS];
	uint64_t connections[PEERS];
	struct worker workers[WORKERS];
	_Atomic unsigned taken = 0;
	unsigned wrong = 0;

	for (int i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .publication = publication, .taken = &taken };
		task_start(&workers[i].task, work, &workers[i]);
	}
	for (int i = 0; i < PEERS; i++) {
		peers[i] = peer_attached("busy client");
		connections[i] =
			peer_must(&peers[i], PEER_CREATE, .type = types[i % MEMBERS], .name = "x")
				.handle;
	}
	for (uint64_t round = 0; round < rounds; round++) {
		for (int i = 0; i < PEERS; i++)
			peer_post(&peers[i], PEER_CONNECT, .handle = connections[i],
				  .timeout = INFINITE_TIMEOUT);
		for (int i = 0; i < PEERS; i++)
			wrong += peer_wait(&peers[i]).rc != rcNotConnected;
	}
	is_uint(0, wrong, "every request is refused by a listener");
	is_uint(rounds * PEERS, taken, "each was taken once");
	must(DcmCloseHandle(publication));
	for (int i = 0; i < WORKERS; i++)
		task_join(&workers[i].task);
	for (int i = 0; i < PEERS; i++)
		peer_end(&peers[i]);
}

static void test_fini(void)
{
	struct blocked listener;

	blocked_start(&listener, BLOCK_GROUP_LISTEN, publish_group());
	DcmFini();
	blocked_ends(&listener, rcNotConnected, "DcmFini");
}

int main(void)
{
	struct holdings before;
	DcmHandle out;
	char room[8];
	uint64_t state;

	plan_lazy();
	tap_fabric_dir();
	state = tap_seed() | 1;
	snprintf(room, sizeof(room), "%d", ROOM);
	setenv("DCM_MAX_ENDPOINTS", room, 1);
	self = KosTaskGetHandle(KosTaskGetSelf());
	is_rc(rcNotConnected, DcmPublishGroupEndpoints(0, NULL, 0, NULL), "before DcmInit");
	is_rc(rcNotConnected, DcmListenGroupPub(0, 0, NULL, NULL, NULL, &out), "before DcmInit");
	before = holdings_now();
	must(DcmInit());
	test_arguments();
	test_all_or_nothing();
	test_all_is_seen_at_once_or_not();
	test_order(&state);
	test_wakes();
	test_close();
	test_elsewhere();
	for (int step = PUBLISHED; step < STEPS; step++) {
		test_server_killed(step, (unsigned)(random_next(&state) % MEMBERS));
		if (step < ACCEPTED)
			test_client_killed(step, (unsigned)(random_next(&state) % MEMBERS));
	}
	test_many_clients();
	test_fini();
	holdings_are(&before, "after the last DcmFini");
	return 0;
}
