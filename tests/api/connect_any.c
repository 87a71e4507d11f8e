/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* One-call connect: who is asked, what ends it, and that nothing is left of it. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "shm/registry.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.ConnectAny"

/* A call of DcmConnectAnyEx() in a thread of its own. */
struct call {
	const char *name, *server_name;
	Handle server, client;
	DcmTimeout find, connect;
	Retcode rc;
	Handle session;
	char detail[256];
	struct task task;
};

static const struct call any_server = { .server = INVALID_HANDLE,
					.client = INVALID_HANDLE,
					.find = INFINITE_TIMEOUT,
					.connect = INFINITE_TIMEOUT };

static struct call call_of(const char *name, const char *server_name)
{
	struct call call = any_server;

	call.name = name;
	call.server_name = server_name;
	return call;
}

static void make(void *arg)
{
	struct call *c = arg;

	c->rc = DcmConnectAnyEx(TYPE, c->name, c->server_name, c->server, c->client, c->find,
				c->connect, &c->session);
	snprintf(c->detail, sizeof(c->detail), "%s", DcmLastDetail());
}

static void begin(struct call *call)
{
	task_start(&call->task, make, call);
	if (!task_asleep(&call->task))
		ok(0, "it does not wait: %s %s", RetcodeName(call->rc), call->detail);
}

static int ends(struct call *call, Retcode wanted, const char *why)
{
	bool good;

	task_join(&call->task);
	good = call->rc == wanted && (wanted == rcOk) == (call->session != INVALID_HANDLE) &&
	       (wanted == rcOk || call->detail[0] != '\0');
	ok(good, "%s: %s", why, RetcodeName(wanted));
	if (!good)
		diag("  seen: %s, session %#llx, detail: %s", RetcodeName(call->rc),
		     (unsigned long long)call->session, call->detail);
	if (call->rc == rcOk)
		must(KnHandleClose(call->session));
	return good;
}

struct server {
	struct peer peer;
	uint64_t publication, callable, request;
};

static struct server serve(const char *process, const char *name)
{
	struct server s = { .peer = peer_attached(process) };

	s.callable = peer_must(&s.peer, PEER_CALLABLE).handle;
	s.publication = peer_must(&s.peer, PEER_PUBLISH, .type = TYPE, .name = name).handle;
	return s;
}

static struct peer_answer take(struct server *s)
{
	struct peer_answer a = peer_must(&s->peer, PEER_LISTEN, .handle = s->publication,
					 .timeout = INFINITE_TIMEOUT);

	s->request = a.handle;
	peer_must(&s->peer, PEER_KCLOSE, .handle = a.other);
	return a;
}

static void decide(struct server *s, bool accept)
{
	if (accept)
		peer_must(&s->peer, PEER_ACCEPT, .handle = s->request, .other = s->callable);
	peer_must(&s->peer, PEER_CLOSE, .handle = s->request);
}

static int was_not_asked(struct server *s, const char *why)
{
	struct peer_answer a = peer_do(&s->peer, PEER_LISTEN, .handle = s->publication);

	return is_answer(rcTimeout, &a, "%s", why);
}

static uint32_t in_use(const struct dcm_table *table)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < table->count; i++)
		count += dcm_word_state(dcm_load(dcm_slot_word(table, i), seq)) != DCM_FREE;
	return count;
}

static bool nothing_left(void *arg)
{
	const struct inside *inside = arg;

	return in_use(&inside->seg.subscription) == 0 && in_use(&inside->seg.connection) == 0;
}

static void leaves_nothing(const struct holdings *before, const char *why)
{
	struct inside inside = inside_open();

	ok(until(nothing_left, &inside), "no subscription and no connection is left: %s", why);
	inside_close(&inside);
	holdings_are(before, why);
}

static void test_found(void)
{
	struct server first = serve("first", "one"), second;
	Handle client = new_identity();
	struct call any = any_server, later = call_of("two", NULL);
	struct call named = call_of(NULL, "second"), as = any_server;

	begin(&any);
	take(&first);
	decide(&first, true);
	ends(&any, rcOk, "what is there is asked");
	begin(&later);
	was_not_asked(&first, "another endpoint's server is not asked");
	second = serve("second", "two");
	take(&second);
	decide(&second, true);
	ends(&later, rcOk, "what comes later is asked then");
	begin(&named);
	take(&second);
	was_not_asked(&first, "another process is not asked");
	decide(&second, true);
	ends(&named, rcOk, "by the server's name");
	peer_end(&second.peer);
	as.client = client;
	begin(&as);
	is_hex(sid_of(client), take(&first).sid, "the client is who it says");
	decide(&first, true);
	ends(&as, rcOk, "as another client");
	must(KnHandleClose(client));
	peer_end(&first.peer);
}

static void test_refused(void)
{
	struct server servers[2] = { serve("refuser", "x"), serve("willing", "x") };
	struct call call = call_of(NULL, "refuser");
	DcmHandle subscription;
	Handle server;
	struct call by_handle = any_server;

	begin(&call);
	take(&servers[0]);
	decide(&servers[0], false);
	ends(&call, rcNotConnected, "refused");
	was_not_asked(&servers[1], "no other server is asked then");
	must(DcmSetSubscription(TYPE, NULL, "willing", INVALID_HANDLE, &subscription));
	must(DcmReadPubQueue(subscription, INFINITE_TIMEOUT, NULL, &server, NULL, NULL));
	must(DcmCloseHandle(subscription));
	by_handle.server = server;
	begin(&by_handle);
	take(&servers[1]);
	was_not_asked(&servers[0], "the server that the handle does not name is not asked");
	decide(&servers[1], true);
	ends(&by_handle, rcOk, "by the server's handle");
	peer_kill(&servers[1].peer);
	by_handle.find = 0;
	make(&by_handle);
	is_int(rcTimeout, by_handle.rc, "the dead are not found: %s", by_handle.detail);
	must(KnHandleClose(server));
	peer_end(&servers[0].peer);
}

static void test_timeouts(void)
{
	struct call call = any_server;
	struct server server;

	call.find = 0;
	make(&call);
	ok(call.rc == rcTimeout && call.session == INVALID_HANDLE &&
		   strstr(call.detail, "found") != NULL,
	   "nothing is there, no time to wait: %s", call.detail);
	call.find = 20;
	make(&call);
	ok(call.rc == rcTimeout && strstr(call.detail, "found") != NULL,
	   "nothing comes in time: %s", call.detail);
	server = serve("slow", "x");
	call.find = 0;
	call.connect = 20;
	make(&call);
	ok(call.rc == rcTimeout && strstr(call.detail, "decide") != NULL,
	   "found at once, not decided in time: %s", call.detail);
	was_not_asked(&server, "the request is withdrawn");
	call.connect = 0;
	make(&call);
	is_int(rcTimeout, call.rc, "no time to decide");
	was_not_asked(&server, "that request is withdrawn, too");
	peer_end(&server.peer);
}

enum { PUBLISHED, ASKED, TAKEN, ACCEPTED, STEPS };

/* The next one is there, and is asked. */
static void heir_serves(struct call *call, const char *why)
{
	struct server heir = serve("heir", "y");

	take(&heir);
	decide(&heir, true);
	ends(call, rcOk, why);
	peer_end(&heir.peer);
}

/* Either side killed behind each step of the other's. */
static void test_server_killed(int step)
{
	static const char *const whys[] = { "killed before it was found: the next one is asked",
					    "killed when asked: the next one is asked",
					    "killed when taken: the next one is asked" };
	struct server server = serve("mortal", "x");
	struct call call = any_server;

	if (step == ACCEPTED)
		call.find = 0;
	if (step > PUBLISHED)
		begin(&call);
	if (step > ASKED)
		take(&server);
	if (step > TAKEN)
		peer_must(&server.peer, PEER_ACCEPT, .handle = server.request,
			  .other = server.callable);
	peer_kill(&server.peer);
	if (step == PUBLISHED)
		begin(&call);
	if (step < ACCEPTED) {
		heir_serves(&call, whys[step]);
		return;
	}
	task_join(&call.task);
	ok(call.rc == rcOk || call.rc == rcTimeout, "killed behind accepting: %s",
	   RetcodeName(call.rc));
	if (call.rc == rcOk)
		must(KnHandleClose(call.session));
}

/* It has decided, and is gone before the client hears of it: what it decided stands. */
static void test_refused_and_gone(void)
{
	struct peer client = peer_attached("slow client");
	struct server server = serve("refuser", "x");
	struct peer_answer a;

	peer_post(&client, PEER_CONNECT_ANY, .type = TYPE, .timeout = 0);
	take(&server);
	peer_asleep(&client);
	kill(client.pid, SIGSTOP);
	decide(&server, false);
	peer_kill(&server.peer);
	kill(client.pid, SIGCONT);
	a = peer_wait(&client);
	is_answer(rcNotConnected, &a, "refused by a server that is gone since");
	peer_end(&client);
}

/* Withdrawn, and not refused: as long as no server has it in its hands. */
static void test_withdrawn(void)
{
	struct server server = serve("withdrawn", "x"), second;
	struct call call = any_server;

	begin(&call);
	peer_must(&server.peer, PEER_CLOSE, .handle = server.publication);
	heir_serves(&call, "withdrawn when asked: the next one is asked");
	server.publication =
		peer_must(&server.peer, PEER_PUBLISH, .type = TYPE, .name = "x").handle;
	second = serve("second", "y");
	call = any_server;
	call.find = 0;
	begin(&call);
	peer_must(&server.peer, PEER_CLOSE, .handle = server.publication);
	take(&second);
	decide(&second, true);
	ends(&call, rcOk, "no time to find: what was published at the start is asked in its turn");
	call = any_server;
	call.find = 0;
	begin(&call);
	peer_must(&second.peer, PEER_CLOSE, .handle = second.publication);
	task_join(&call.task);
	ok(call.rc == rcTimeout && strstr(call.detail, "found") != NULL,
	   "withdrawn when asked, and nothing else is there: %s", call.detail);
	peer_end(&second.peer);
	peer_end(&server.peer);
}

static void test_client_killed(int step)
{
	struct peer client = peer_attached("mortal client");
	struct server server;

	peer_post(&client, PEER_CONNECT_ANY, .type = TYPE, .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	if (step == PUBLISHED)
		peer_kill(&client);
	server = serve("server", "x");
	if (step > PUBLISHED)
		take(&server);
	if (step == ASKED)
		peer_kill(&client);
	if (step > ASKED)
		decide(&server, true);
	if (step == TAKEN)
		peer_kill(&client);
	if (step == ACCEPTED) {
		struct peer_answer a = peer_wait(&client);

		is_answer(rcOk, &a, "a client connects");
		peer_kill(&client);
	}
	if (step == ASKED)
		peer_must(&server.peer, PEER_CLOSE, .handle = server.request);
	was_not_asked(&server, "nothing is left of a client killed behind its step");
	peer_end(&server.peer);
}

/*
 * An endpoint that is gone before anybody takes the request was not found. Here one comes and goes
 * all the time: faster, now and then, than it is asked.
 */
struct flapping {
	atomic_bool stop;
	uint64_t random, flaps;
	struct task task;
};

static void flap(void *arg)
{
	struct flapping *f = arg;
	DcmHandle publication;

	for (; !f->stop; f->flaps++) {
		must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "flapping",
					&publication));
		for (uint64_t spins = random_next(&f->random) % 2000; spins > 0; spins--)
			atomic_signal_fence(memory_order_seq_cst);
		must(DcmCloseHandle(publication));
	}
}

static void test_flapping(uint64_t seed)
{
	struct flapping flapping = { .random = seed };
	unsigned int wrong = 0;

	task_start(&flapping.task, flap, &flapping);
	for (uint64_t round = 0; round < tap_scaled(2000) && wrong == 0; round++) {
		struct call call = any_server;

		call.find = round % 64 == 0 ? 5 : 0;
		make(&call);
		wrong += call.rc != rcTimeout || strstr(call.detail, "found") == NULL;
		if (wrong != 0)
			diag("%s: %s", RetcodeName(call.rc), call.detail);
	}
	flapping.stop = true;
	task_join(&flapping.task);
	is_uint(0, wrong, "the search for an endpoint that comes and goes ends in its time");
	note("it came and went %llu times", (unsigned long long)flapping.flaps);
}

static void test_arguments(void)
{
	Handle session, user, callable, listener;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, 0, NULL, &user));
	must(KnHandleCreateListener(&listener));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL, NULL, listener, 1,
					&callable));
	is_rc(rcInvalidArgument, DcmConnectAny(TYPE, NULL), "no place for the handle");
	is_rc(rcInvalidArgument, DcmConnectAny(NULL, &session), "no interface");
	is_rc(rcInvalidArgument, DcmConnectAny("", &session), "an empty interface");
	is_rc(rcInvalidArgument,
	      DcmConnectAnyEx(TYPE, "\n", NULL, INVALID_HANDLE, INVALID_HANDLE, 0, 0, &session),
	      "an endpoint's name that is none");
	is_rc(rcInvalidArgument,
	      DcmConnectAnyEx(TYPE, NULL, "", INVALID_HANDLE, INVALID_HANDLE, 0, 0, &session),
	      "a server's name that is none");
	is_rc(rcInvalidArgument,
	      DcmConnectAnyEx(TYPE, NULL, NULL, listener, INVALID_HANDLE, 0, 0, &session),
	      "a server handle that is nobody's");
	is_rc(rcNoCapability,
	      DcmConnectAnyEx(TYPE, NULL, NULL, INVALID_HANDLE, user, 0, 0, &session),
	      "a client handle without the rights, before anything is found");
	is_rc(rcNoCapability,
	      DcmConnectAnyEx(TYPE, NULL, NULL, user, INVALID_HANDLE, 0, 0, &session),
	      "a server handle without the rights");
	must(KnHandleClose(callable));
	must(KnHandleClose(listener));
	must(KnHandleClose(user));
}

static void test_fini(const struct holdings *outside)
{
	struct call finding = call_of("never", NULL), asking = call_of("x", NULL);
	struct server server = serve("server", "x");

	begin(&finding);
	begin(&asking);
	DcmFini();
	ends(&finding, rcNotConnected, "DcmFini while it looks");
	ends(&asking, rcNotConnected, "DcmFini while it waits");
	was_not_asked(&server, "the request is withdrawn with it");
	peer_end(&server.peer);
	holdings_are(outside, "behind DcmFini");
}

int main(void)
{
	struct holdings outside, before;
	uint64_t seed;
	Handle session;

	plan_lazy();
	seed = tap_seed() | 1;
	tap_fabric_dir();
	is_rc(rcNotConnected, DcmConnectAny(TYPE, &session), "before DcmInit");
	is_rc(rcNotConnected, DcmConnectAny(NULL, NULL), "whatever else is wrong");
	KosTaskGetHandle(KosTaskGetSelf());
	outside = holdings_now();
	must(DcmInit());
	before = holdings_now();
	test_arguments();
	test_found();
	leaves_nothing(&before, "behind success");
	test_refused();
	test_timeouts();
	leaves_nothing(&before, "behind refusals and timeouts");
	for (int step = PUBLISHED; step < STEPS; step++) {
		test_server_killed(step);
		test_client_killed(step);
	}
	test_refused_and_gone();
	test_withdrawn();
	leaves_nothing(&before, "behind deaths");
	test_flapping(seed);
	leaves_nothing(&before, "behind one that flaps");
	test_fini(&outside);
	return 0;
}
