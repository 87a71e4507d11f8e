/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * DcmGetPeer: who is on the other side of a request, a connection and a session, on whose word; and
 * a fabric for several users, where it is the kernel's, whatever stands in shared memory.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/transfer.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

enum { STRANGER = 65531 }; /* a user other than root */

static DcmPeer who(uint64_t handle)
{
	DcmPeer peer = { .structSize = sizeof(peer) };

	must(DcmGetPeer(handle, &peer));
	return peer;
}

static int is_who(const DcmPeer *seen, int verified, const struct peer *process, unsigned int user,
		  const char *name, const char *what)
{
	bool good = seen->verified == (uint32_t)verified && seen->pid == (int32_t)process->pid &&
		    seen->uid == user && seen->gid == user && seen->reserved == 0 &&
		    strcmp(seen->name, name) == 0;

	ok(good, "%s is told, %s", what, verified ? "on the kernel's word" : "as it says itself");
	if (!good)
		diag("  verified %u, pid %d (%d), uid %u (%u), gid %u, name %s (%s)",
		     seen->verified, seen->pid, (int)process->pid, seen->uid, user, seen->gid,
		     seen->name, name);
	return good;
}

/* The same of what a peer was told. */
static int told(struct peer *peer, uint64_t handle, int verified, const struct peer *process,
		unsigned int user, const char *name, const char *what)
{
	struct peer_answer a = peer_must(peer, PEER_WHO, .handle = handle);
	DcmPeer seen = { .verified = (uint32_t)a.status,
			 .pid = (int32_t)a.other,
			 .uid = (uint32_t)a.size,
			 .gid = (uint32_t)a.sid };

	memcpy(seen.name, a.name, sizeof(seen.name));
	return is_who(&seen, verified, process, user, name, what);
}

/* A client of @pair's server, which is this process, up to its request. */
struct asking {
	struct peer client;
	uint64_t connection;
	DcmHandle request;
};

static struct asking ask_as(const struct pair *pair, const char *transfer, unsigned int user)
{
	struct asking a = { .client = peer_start("the client") };

	if (transfer != NULL)
		peer_must(&a.client, PEER_SETENV, .name = "DCM_TRANSFER", .type = transfer);
	if (user != geteuid())
		peer_must(&a.client, PEER_USER_IS, .handle = user);
	peer_must(&a.client, PEER_INIT);
	a.connection =
		peer_must(&a.client, PEER_CREATE, .type = PAIR_TYPE, .name = pair->name).handle;
	if (peer_do(&a.client, PEER_CONNECT, .handle = a.connection).rc != rcTimeout)
		die("connected to nobody");
	must(DcmListen(pair->publication, INFINITE_TIMEOUT, NULL, NULL, &a.request));
	return a;
}

static struct asking ask(const struct pair *pair, const char *transfer)
{
	return ask_as(pair, transfer, geteuid());
}

/* The session that it gets. */
static uint64_t connected(struct asking *a)
{
	return peer_must(&a->client, PEER_CONNECT, .handle = a->connection,
			 .timeout = INFINITE_TIMEOUT)
		.handle;
}

static void end(struct asking *a)
{
	must(DcmCloseHandle(a->request));
	peer_end(&a->client);
}

/* The whole way of one connection; @verified: by socket. */
static void test_way(const struct pair *pair, const char *transfer, int verified, unsigned int user)
{
	struct peer self = { .pid = getpid() };
	struct asking a = ask_as(pair, transfer, user);
	uint64_t session;
	DcmPeer seen;
	int way;

	note("DCM_TRANSFER=%s, user %u", transfer == NULL ? "" : transfer, user);
	seen = who(a.request);
	is_who(&seen, verified, &a.client, user, "the client", "who asks, before the accept,");
	seen = who(a.request);
	is_who(&seen, verified, &a.client, user, "the client", "who asks, once more,");
	told(&a.client, a.connection, 0, &self, geteuid(), "the server",
	     "whose decision a connection waits for");
	must(DcmAccept(a.request, pair->callable, INVALID_HANDLE));
	seen = who(a.request);
	is_who(&seen, verified, &a.client, user, "the client", "who asked, after the accept,");
	session = connected(&a);
	told(&a.client, session, verified, &self, geteuid(), "the server", "a session's server");
	told(&a.client, a.connection, verified, &self, geteuid(), "the server",
	     "a connection's server");
	way = verified ? 3 : getfd_is_denied() ? 2 : 1;
	is_int(way, peer_must(&a.client, PEER_INFO, .handle = session).status, "the channel came %s",
	       way == 3 ? "by socket" : way == 2 ? "by /proc" : "by pidfd_getfd");
	peer_kill(&a.client);
	seen = who(a.request);
	is_who(&seen, verified, &a.client, user, "the client", "who asked and is dead");
	must(DcmCloseHandle(a.request));
}

/* An accept that never asked who asks tells it afterwards all the same. */
static void test_afterwards(const struct pair *pair)
{
	struct asking a = ask(pair, "socket");
	DcmPeer seen;

	must(DcmAccept(a.request, pair->callable, INVALID_HANDLE));
	connected(&a);
	seen = who(a.request);
	is_who(&seen, 1, &a.client, geteuid(), "the client", "who was sent the channel");
	end(&a);
}

static void test_nobody(void)
{
	DcmPeer peer = { .structSize = sizeof(peer) };
	DcmHandle connection;
	Handle session;

	must(DcmCreateConnection("test.Nobody", "n", INVALID_HANDLE, INVALID_HANDLE, &connection));
	is_rc(rcNotConnected, DcmGetPeer(connection, &peer), "a connection that nobody asked with");
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	is_rc(rcNotConnected, DcmGetPeer(connection, &peer), "a parked request");
	must(DcmCloseHandle(connection));
}

/* With serverHandle the server is known before anything was sent, and told when it is dead. */
static void test_server(void)
{
	struct peer far = peer_attached("far");
	DcmHandle subscription, connection, request;
	DcmPeer seen = { .structSize = sizeof(seen) };
	Handle server, session;
	uint64_t publication, callable;

	must(DcmSetSubscription("test.Far", NULL, NULL, INVALID_HANDLE, &subscription));
	publication = peer_must(&far, PEER_PUBLISH, .type = "test.Far", .name = "n").handle;
	callable = peer_must(&far, PEER_CALLABLE).handle;
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, NULL));
	must(DcmCreateConnection("test.Far", "n", server, INVALID_HANDLE, &connection));
	seen = who(connection);
	is_who(&seen, 0, &far, geteuid(), "far", "the server of a prepared connection");
	if (DcmConnect(connection, 0, &session) != rcTimeout)
		die("connected to nobody");
	request = peer_must(&far, PEER_LISTEN, .handle = publication, .timeout = INFINITE_TIMEOUT)
			  .handle;
	peer_must(&far, PEER_ACCEPT, .handle = request, .other = callable);
	must(DcmConnect(connection, INFINITE_TIMEOUT, &session));
	peer_kill(&far);
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, NULL, NULL, NULL));
	seen = who(session);
	is_who(&seen, 0, &far, geteuid(), "far", "the server of a session, dead,");
	seen = who(connection);
	is_who(&seen, 0, &far, geteuid(), "far", "that of its connection");
	must(DcmCloseHandle(connection));
	must(DcmCreateConnection("test.Far", "n", server, INVALID_HANDLE, &connection));
	is_rc(rcNotConnected, DcmGetPeer(connection, &seen), "the dead server of a new connection");
	must(DcmCloseHandle(connection));
	must(KnHandleClose(session));
	must(KnHandleClose(server));
	must(DcmCloseHandle(subscription));
}

static void test_arguments(const struct pair *pair)
{
	struct {
		DcmPeer peer;
		unsigned char more[8];
	} larger;
	DcmPeer peer = { .structSize = sizeof(peer) };
	const uint64_t bad[] = { 0,
				 INVALID_HANDLE,
				 pair->publication,
				 pair->listener,
				 pair->callable,
				 KosTaskGetHandle(KosTaskGetSelf()),
				 12345 };

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_rc(rcInvalidArgument, DcmGetPeer(bad[i], &peer), "handle %u that has no peer",
		      i);
	is_rc(rcInvalidArgument, DcmGetPeer(pair->session, NULL), "no structure");
	peer.structSize = sizeof(peer) - 1;
	is_rc(rcInvalidArgument, DcmGetPeer(pair->session, &peer), "structSize is too small");
	peer.structSize = 0;
	is_rc(rcInvalidArgument, DcmGetPeer(pair->session, &peer), "structSize is 0");
	peer.structSize = UINT32_MAX;
	is_rc(rcInvalidArgument, DcmGetPeer(pair->session, &peer), "structSize is not set");
	memset(&larger, 0xff, sizeof(larger));
	larger.peer.structSize = sizeof(larger);
	must(DcmGetPeer(pair->session, &larger.peer));
	is_blob((unsigned char[8]){ 0 }, larger.more, 8, "what a later version has is zero");
	is_uint(sizeof(larger), larger.peer.structSize, "structSize stays");
}

/* DCM handles need DcmInit(), sessions do not. */
static void test_fini(void)
{
	struct peer self = { .pid = getpid() };
	struct pair pair;
	DcmHandle connection;
	Handle session;
	DcmPeer seen;

	must(DcmInit());
	pair_open(&pair);
	must(DcmCreateConnection("test.Nobody", "n", INVALID_HANDLE, INVALID_HANDLE, &connection));
	session = pair.session;
	DcmFini();
	seen = who(session);
	is_who(&seen, 0, &self, geteuid(), "the server", "a session's server, after DcmFini,");
	is_rc(rcNotConnected, DcmGetPeer(connection, &seen), "a connection, after DcmFini");
	must(KnHandleClose(session));
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
}

/* A fabric of its own for each part. */
static void begin(const char *name, const char *mode)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", tap_fabric_dir(), name);
	setenv("DCM_FABRIC", path, 1);
	setenv("DCM_MODE", mode, 1);
}

static void test_private(void)
{
	struct pair pair;

	begin("private", "0600");
	must(DcmInit());
	pair_open(&pair);
	test_arguments(&pair);
	test_way(&pair, NULL, 0, geteuid());
	test_way(&pair, "socket", 1, geteuid());
	test_afterwards(&pair);
	test_nobody();
	test_server();
	pair_close(&pair);
	DcmFini();
	test_fini();
}

/* What a participant says of itself, or anybody of it, is not what is told. */
static void test_lies(const struct pair *pair, struct inside *inside)
{
	struct asking a = ask(pair, NULL);
	struct dcm_process *process = inside_process(inside, a.client.pid);
	DcmPeer seen;

	dcm_store(&process->uid, 0x7fffffffu, seq);
	dcm_store(&process->gid, 0x7ffffffeu, seq);
	seen = who(a.request);
	is_who(&seen, 1, &a.client, geteuid(), "the client", "who says it is another user");
	must(DcmAccept(a.request, pair->callable, INVALID_HANDLE));
	connected(&a);
	end(&a);
}

/* A process that says it is another one gets nothing. */
static void test_false_number(const struct pair *pair, struct inside *inside)
{
	struct asking a = ask(pair, NULL);
	struct dcm_process *process = inside_process(inside, a.client.pid);
	uint64_t inode = dcm_load(&process->pidfd_inode, seq), another = inode == 0 ? 0 : 1;
	DcmPeer seen;

	dcm_store(&process->pid, 1u, seq);
	dcm_store(&process->pidfd_inode, another, seq);
	seen = who(a.request);
	is_uint(0, seen.verified, "who says it is process 1 is not vouched for");
	is_rc(rcSecurityDisallow, DcmAccept(a.request, pair->callable, INVALID_HANDLE),
	      "nor given a channel");
	dcm_store(&process->pid, (uint32_t)a.client.pid, seq);
	dcm_store(&process->pidfd_inode, inode, seq);
	is_rc(rcOk, DcmAccept(a.request, pair->callable, INVALID_HANDLE),
	      "the request can still be accepted");
	connected(&a);
	end(&a);
}

/*
 * Between DcmGetPeer and DcmAccept a participant puts another socket, and another process, into the
 * client's place: itself, so to say, and here it is this very process.
 */
static void test_swapped(const struct pair *pair, struct inside *inside)
{
	struct asking a = ask(pair, NULL);
	struct dcm_process *client = inside_process(inside, a.client.pid),
			   *self = inside_process(inside, getpid());
	struct dcm_ref ref = inside_connection(inside, DCM_CONNECTION_TAKEN);
	struct dcm_connection *c = dcm_connection_at(&inside->seg, ref.index);
	uint64_t name = 0, own = dcm_load(&c->socket, seq),
		 inode = dcm_load(&client->pidfd_inode, seq);
	int listener = dcm_transfer_listen(&name);
	DcmPeer seen = who(a.request);

	is_who(&seen, 1, &a.client, geteuid(), "the client", "who asks");
	dcm_store(&c->socket, name, seq);
	dcm_store(&client->pid, (uint32_t)getpid(), seq);
	dcm_store(&client->pidfd_inode, dcm_load(&self->pidfd_inode, seq), seq);
	is_rc(rcSecurityDisallow, DcmAccept(a.request, pair->callable, INVALID_HANDLE),
	      "another gets nothing in its place");
	dcm_store(&c->socket, 0ull, seq);
	is_rc(rcSecurityDisallow, DcmAccept(a.request, pair->callable, INVALID_HANDLE),
	      "a client without a socket gets nothing");
	dcm_store(&client->pid, (uint32_t)a.client.pid, seq);
	dcm_store(&client->pidfd_inode, inode, seq);
	dcm_store(&c->socket, own, seq);
	is_rc(rcOk, DcmAccept(a.request, pair->callable, INVALID_HANDLE), "the client does");
	connected(&a);
	close(listener);
	end(&a);
}

static void test_shared(void)
{
	static const char *const refused[] = { "getfd", "procfs" };
	struct inside inside;
	struct pair pair;

	begin("shared", "0666");
	for (int i = 0; i < 2; i++) {
		setenv("DCM_TRANSFER", refused[i], 1);
		is_rc(rcSecurityDisallow, DcmInit(), "DCM_TRANSFER=%s in a shared fabric",
		      refused[i]);
		note("%s", DcmLastDetail());
	}
	unsetenv("DCM_TRANSFER");
	must(DcmInit());
	inside = inside_open();
	pair_open(&pair);
	test_way(&pair, NULL, 1, geteuid());
	test_way(&pair, "auto", 1, geteuid());
	test_way(&pair, "socket", 1, geteuid());
	test_lies(&pair, &inside);
	test_false_number(&pair, &inside);
	test_swapped(&pair, &inside);
	if (can_be_user(STRANGER))
		test_way(&pair, NULL, 1, STRANGER);
	else
		skip("another user: only root can start its processes");
	pair_close(&pair);
	inside_close(&inside);
	DcmFini();
}

int main(void)
{
	DcmPeer peer = { .structSize = sizeof(peer) };
	struct holdings before;

	plan_lazy();
	if (chmod(tap_fabric_dir(), 01777) < 0)
		sysbail("chmod");
	before = holdings_now();
	must(DcmSetProcessName("the server"));
	is_rc(rcInvalidArgument, DcmGetPeer(0, &peer), "handle 0, before DcmInit");
	test_private();
	test_shared();
	holdings_are(&before, "after the end");
	return 0;
}
