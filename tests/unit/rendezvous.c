/* SPDX-License-Identifier: BSD-2-Clause */
/* Connections: each way that one can go, each death on the way, and many clients and servers. */
#define _GNU_SOURCE
#include "shm/rendezvous.h"

#include <string.h>

#include "shm/channel.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/reap.h"
#include "tests/tap.h"
#include "tests/unit/lib_world.h"

static const struct dcm_capacity small = { .processes = 16,
					   .endpoints = 12,
					   .subscriptions = 2,
					   .connections = 66,
					   .listeners = 2,
					   .ring_shift = 1 };

struct stage {
	struct world w;
	const struct dcm_segment *seg;
	uint32_t server, client, third;
	struct dcm_ref endpoint, taken, ref;
	struct dcm_request_view view;
};

static const struct dcm_offer offered = { .listener = 1,
					  .fd = 7,
					  .sent = 1,
					  .device = 8,
					  .inode = 9,
					  .bytes = DCM_CHANNEL_BYTES_MIN,
					  .nonce = 10 };

static void set_up(struct stage *s)
{
	memset(s, 0, sizeof *s);
	world_make(&s->w, &small);
	s->seg = &s->w.seg;
	s->server = world_process(&s->w, "server");
	s->client = world_process(&s->w, "client");
	s->third = world_process(&s->w, "third");
}

static bool publish(struct stage *s, uint32_t by, const char *name, uint64_t sid,
		    struct dcm_ref *out)
{
	struct dcm_endpoint_key key = world_endpoint("t.A", name, sid);

	return dcm_publication_begin(s->seg, by, &key, out);
}

static bool ask(struct stage *s, const char *name, uint64_t server_sid, struct dcm_ref *out)
{
	struct dcm_request_key key = world_request("t.A", name);

	key.server_sid = server_sid;
	return dcm_rendezvous_ask(s->seg, s->client, &key, out);
}

static bool take(struct stage *s, struct dcm_ref endpoint, struct dcm_ref *out)
{
	return dcm_rendezvous_take(s->seg, s->server, endpoint, out, &s->view);
}

static void is_state(struct stage *s, uint32_t wanted, const char *what)
{
	is_uint(wanted, dcm_rendezvous_look(s->seg, s->ref).state, "%s", what);
}

/* From nothing to OPEN and to the end, first by the client, then by the server. */
static void test_whole(struct stage *s)
{
	struct dcm_offer offer = { .fd = 0 };

	ok(ask(s, "one", 0, &s->ref), "asked");
	is_uint(UINT32_MAX, dcm_rendezvous_look(s->seg, s->ref).server, "parked: no server");
	ok(publish(s, s->server, "one", 5, &s->endpoint), "published");
	is_uint(s->server, dcm_rendezvous_look(s->seg, s->ref).server, "then it has one");
	ok(!dcm_rendezvous_offer(s->seg, s->ref, &offer), "no offer yet");
	ok(take(s, s->endpoint, &s->taken), "taken");
	ok(s->taken.index == s->ref.index && s->taken.generation == s->ref.generation, "that one");
	is_string("client", s->view.client_name, "of that client");
	ok(s->view.client.index == s->client && s->view.client_sid == 77, "and identity");
	is_state(s, DCM_CONNECTION_TAKEN, "TAKEN");
	ok(!take(s, s->endpoint, &s->taken), "once");
	ok(!dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, 1), "not open before");
	ok(dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered), "accepted");
	ok(!dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered), "once");
	ok(dcm_rendezvous_offer(s->seg, s->ref, &offer), "an offer");
	is_blob(&offered.fd, &offer.fd, sizeof offer - offsetof(struct dcm_offer, fd), "as made");
	ok(dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, DCM_TRANSFER_SOCKET), "open");
	is_state(s, DCM_CONNECTION_OPEN, "OPEN");
	world_clean(&s->w, "an open connection");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	is_state(s, DCM_CONNECTION_ENDED, "the client left: ENDED");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	is_state(s, DCM_CONNECTION_ENDED, "and cannot more");
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	is_state(s, DCM_FREE, "the server left: free");
	world_clean(&s->w, "ended");
}

static void open_one(struct stage *s)
{
	if (!ask(s, "one", 0, &s->ref) || !take(s, s->endpoint, &s->taken) ||
	    !dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered) ||
	    !dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, 1))
		ok(0, "a connection is opened");
}

static void test_ends(struct stage *s)
{
	open_one(s);
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	is_state(s, DCM_CONNECTION_HUNGUP, "the server left first: HUNGUP");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	is_state(s, DCM_FREE, "the client left: free");
	ask(s, "one", 0, &s->ref);
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	is_state(s, DCM_FREE, "withdrawn");
	ok(!take(s, s->endpoint, &s->taken), "and not taken");
	ask(s, "one", 0, &s->ref);
	take(s, s->endpoint, &s->taken);
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	ok(!dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered), "left while taken");
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	is_state(s, DCM_FREE, "free");
	ask(s, "one", 0, &s->ref);
	take(s, s->endpoint, &s->taken);
	dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered);
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	is_state(s, DCM_CONNECTION_REFUSED, "accepted, then not");
	ok(!dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, 1), "it cannot be opened");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	world_clean(&s->w, "all kinds of ends");
}

/* Whoever may sleep is told: its event count moves on when it was prepared. */
static uint32_t prepare_client(struct stage *s)
{
	return dcm_park_prepare(&dcm_connection_at(s->seg, s->ref.index)->ec);
}

static uint32_t prepare_keeper(struct stage *s)
{
	return dcm_park_prepare(&dcm_process_at(s->seg, s->server)->control);
}

static void told_client(struct stage *s, uint32_t key, const char *what)
{
	ok(dcm_load(&dcm_connection_at(s->seg, s->ref.index)->ec, seq) != key,
	   "the client is told of %s", what);
}

static void told_keeper(struct stage *s, uint32_t key, const char *what)
{
	ok(dcm_load(&dcm_process_at(s->seg, s->server)->control, seq) != key,
	   "the server's keeper is told of %s", what);
}

static void test_told(struct stage *s)
{
	struct dcm_ref endpoint;
	uint32_t key;

	ask(s, "told", 0, &s->ref);
	key = prepare_client(s);
	publish(s, s->server, "told", 5, &endpoint);
	told_client(s, key, "a server to wait for");
	key = prepare_client(s);
	dcm_publication_end(s->seg, s->server, endpoint);
	told_client(s, key, "the end of the publication");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	publish(s, s->server, "told", 5, &endpoint);
	key = dcm_park_prepare(&dcm_endpoint_at(s->seg, endpoint.index)->ec);
	ask(s, "told", 0, &s->ref);
	ok(dcm_load(&dcm_endpoint_at(s->seg, endpoint.index)->ec, seq) != key,
	   "the server is told of a request");
	take(s, endpoint, &s->taken);
	key = prepare_client(s);
	dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered);
	told_client(s, key, "the acceptance");
	key = prepare_keeper(s);
	dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, 1);
	ok(dcm_load(&dcm_process_at(s->seg, s->server)->control, seq) == key,
	   "the server's keeper is not told of the opening");
	key = prepare_client(s);
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	told_client(s, key, "the server's leaving");
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	dcm_publication_end(s->seg, s->server, endpoint);
	open_one(s);
	key = prepare_keeper(s);
	dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	told_keeper(s, key, "the client's leaving");
	dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	world_clean(&s->w, "all were told");
}

static void test_targets(struct stage *s)
{
	struct dcm_ref refs[3], other, endpoint;
	uint32_t good = 0;

	ask(s, "one", 6, &refs[0]);
	ok(!take(s, s->endpoint, &s->taken), "another server was asked for");
	publish(s, s->third, "one", 6, &other);
	is_uint(s->third, dcm_rendezvous_look(s->seg, refs[0]).server, "it comes, and has it");
	ask(s, "two", 0, &refs[1]);
	ok(!take(s, s->endpoint, &s->taken), "another name was asked for");
	dcm_publication_end(s->seg, s->third, other);
	is_uint(DCM_CONNECTION_REFUSED, dcm_rendezvous_look(s->seg, refs[0]).state,
		"its end refuses who waits for it");
	is_uint(DCM_CONNECTION_POSTED, dcm_rendezvous_look(s->seg, refs[1]).state, "not others");
	for (int i = 0; i < 2; i++)
		dcm_rendezvous_client_leaves(s->seg, s->client, refs[i]);
	/* First come, first served, also when they come before the publication. */
	for (int i = 0; i < 3; i++)
		ask(s, "later", 0, &refs[i]);
	dcm_rendezvous_client_leaves(s->seg, s->client, refs[0]);
	ask(s, "later", 0, &refs[0]); /* in the first slot, and last */
	publish(s, s->server, "later", 5, &endpoint);
	for (int i = 0; i < 3; i++)
		good += take(s, endpoint, &s->taken) && s->taken.index == refs[(i + 1) % 3].index;
	is_uint(3, good, "first come, first served");
	dcm_publication_end(s->seg, s->server, endpoint);
	for (int i = 0; i < 3; i++) {
		is_uint(DCM_CONNECTION_TAKEN, dcm_rendezvous_look(s->seg, refs[i]).state,
			"what is taken stays");
		dcm_rendezvous_server_leaves(s->seg, s->server, refs[i]);
		dcm_rendezvous_client_leaves(s->seg, s->client, refs[i]);
	}
	world_clean(&s->w, "targets");
}

static void test_full(struct stage *s)
{
	struct dcm_ref refs[66], nothing = { 66, 1 };
	uint32_t good = 0;

	for (int i = 0; i < 66; i++)
		good += ask(s, i % 2 ? "one" : "none", 0, &refs[i]);
	is_uint(66, good, "as many as there is room for");
	ok(!ask(s, "one", 0, &s->ref), "and no more");
	for (int i = 0; i < 66; i++)
		dcm_rendezvous_client_leaves(s->seg, s->client, refs[i]);
	dcm_rendezvous_client_leaves(s->seg, s->client, nothing);
	dcm_rendezvous_server_leaves(s->seg, s->client, nothing);
	is_uint(DCM_FREE, dcm_rendezvous_look(s->seg, nothing).state, "no such connection");
	world_clean(&s->w, "emptied");
}

/* Brings s->ref into @state; false: there is no such state here. */
static bool bring(struct stage *s, uint32_t state)
{
	if (!ask(s, "one", 0, &s->ref))
		return false;
	if (state == DCM_CONNECTION_POSTED)
		return true;
	take(s, s->endpoint, &s->taken);
	if (state == DCM_CONNECTION_ACCEPTED || state == DCM_CONNECTION_OPEN ||
	    state == DCM_CONNECTION_HUNGUP)
		dcm_rendezvous_accept(s->seg, s->server, s->ref, &offered);
	if (state == DCM_CONNECTION_OPEN || state == DCM_CONNECTION_HUNGUP)
		dcm_rendezvous_open(s->seg, s->client, s->ref, s->server, 1);
	if (state == DCM_CONNECTION_HUNGUP || state == DCM_CONNECTION_REFUSED)
		dcm_rendezvous_server_leaves(s->seg, s->server, s->ref);
	if (state == DCM_CONNECTION_ENDED)
		dcm_rendezvous_client_leaves(s->seg, s->client, s->ref);
	return dcm_rendezvous_look(s->seg, s->ref).state == state;
}

/* What is left of a connection in @state when one party, or first the one and then the other, is
   dead: the survivor has its turn, and the slot comes back. */
static void test_deaths(uint32_t state)
{
	static const char *const names[] = { "client", "server" };

	for (int first = 0; first < 2; first++) {
		struct stage s;
		uint32_t dead, left;

		set_up(&s);
		publish(&s, s.server, "one", 5, &s.endpoint);
		ok(bring(&s, state), "state %u", state);
		dead = first == 0 ? s.client : s.server;
		left = first == 0 ? s.server : s.client;
		world_kill(&s.w, dead);
		if (first == 0 && state == DCM_CONNECTION_POSTED)
			ok(!take(&s, s.endpoint, &s.taken), "a dead client's is not handed out");
		world_reap(&s.w, dead, s.third);
		world_clean(&s.w, "the %s died in state %u", names[first], state);
		if (first == 0)
			dcm_rendezvous_server_leaves(s.seg, left, s.ref);
		else
			dcm_rendezvous_client_leaves(s.seg, left, s.ref);
		is_state(&s, DCM_FREE, "the survivor left: free");
		world_clean(&s.w, "after it left");
		world_free(&s.w);
		set_up(&s);
		publish(&s, s.server, "one", 5, &s.endpoint);
		bring(&s, state);
		world_kill(&s.w, s.client);
		world_kill(&s.w, s.server);
		world_reap(&s.w, first == 0 ? s.client : s.server, s.third);
		world_reap(&s.w, first == 0 ? s.server : s.client, s.third);
		is_state(&s, DCM_FREE, "both are dead: free");
		world_clean(&s.w, "both died in state %u", state);
		world_free(&s.w);
	}
}

/*
 * Clients that ask, wait without any bound, and give up at random; servers that come and go, take,
 * accept and refuse, and are at times killed. Each wait ends, each request is decided once.
 */
enum { CLIENTS = 4, SERVERS = 2, REQUESTS = 3000, SERVED = 8 };

struct crowd {
	struct stage s;
	uint64_t requests;
	dcm_atomic32 clients_left;
	dcm_atomic64 opened, refused, hung_up, withdrawn, wrong, served, killed;
	/* Plain, one for each connection slot: written by the server before it accepts, read by the
	   client once it has the offer. */
	uint64_t note[66];
};

/* Sleeps until the server's decision, or gives up. Return: the state. */
static uint32_t await(struct crowd *c, uint32_t self, struct dcm_ref ref,
		      struct world_random *random)
{
	struct dcm_connection *slot = dcm_connection_at(c->s.seg, ref.index);
	bool patient = world_below(random, 4) != 0;

	for (;;) {
		uint32_t key = dcm_park_prepare(&slot->ec);
		struct dcm_connection_look look = dcm_rendezvous_look(c->s.seg, ref);
		struct dcm_ref server = { look.server,
					  dcm_process_generation(c->s.seg, look.server) };
		struct dcm_park_guard guard = { .poke.word = NULL };

		if (look.state != DCM_CONNECTION_POSTED && look.state != DCM_CONNECTION_TAKEN)
			return look.state;
		if (look.server != UINT32_MAX &&
		    !dcm_process_guard(c->s.seg, server, self, &guard.alive[0]))
			return look.state; /* as the library does: an error at once */
		if (!patient && world_below(random, 3) == 0)
			return look.state;
		dcm_park_sleep(&slot->ec, key, &guard,
			       patient ? DCM_FOREVER : dcm_park_deadline(1000 * 10));
	}
}

static void decide(struct crowd *c, uint32_t self, struct dcm_ref ref, uint64_t number,
		   uint32_t state)
{
	struct dcm_offer offer;

	if (state == DCM_CONNECTION_REFUSED) {
		dcm_add(&c->refused, 1ull);
	} else if (state != DCM_CONNECTION_ACCEPTED ||
		   !dcm_rendezvous_offer(c->s.seg, ref, &offer)) {
		dcm_add(&c->withdrawn, 1ull);
	} else {
		/* The nonce is the server's copy of our identity. */
		if (offer.nonce != number || c->note[ref.index] != number)
			dcm_add(&c->wrong, 1ull);
		if (dcm_rendezvous_open(c->s.seg, self, ref, offer.server, 1))
			dcm_add(&c->opened, 1ull);
		else
			dcm_add(&c->hung_up, 1ull);
	}
	dcm_rendezvous_client_leaves(c->s.seg, self, ref);
}

static void client(struct crowd *c, unsigned thread)
{
	struct world_random random = world_random(thread);
	uint32_t self = world_process(&c->s.w, "client");

	for (uint64_t i = 0; i < c->requests; i++) {
		struct dcm_request_key key =
			world_request("t.A", world_below(&random, 2) ? "one" : "two");
		struct dcm_ref ref;

		key.client_sid = (uint64_t)thread << 32 | i;
		if (!dcm_rendezvous_ask(c->s.seg, self, &key, &ref)) {
			dcm_add(&c->wrong, 1ull);
			continue;
		}
		decide(c, self, ref, key.client_sid, await(c, self, ref, &random));
	}
	dcm_add(&c->clients_left, UINT32_MAX); /* less one */
	dcm_slot_yield(&c->s.seg->process, world_ref(&c->s.w, self));
}

struct serving {
	uint32_t self;
	struct dcm_ref endpoint, taken[SERVED];
	unsigned next;
};

static void serve_once(struct crowd *c, struct serving *v, struct world_random *random)
{
	struct dcm_offer offer = offered;
	struct dcm_request_view view;
	struct dcm_ref *ref = &v->taken[v->next++ % SERVED];

	/* The oldest of those that it has goes. */
	if (ref->generation != 0)
		dcm_rendezvous_server_leaves(c->s.seg, v->self, *ref);
	ref->generation = 0;
	if (!dcm_rendezvous_take(c->s.seg, v->self, v->endpoint, ref, &view)) {
		ref->generation = 0;
		return;
	}
	dcm_add(&c->served, 1ull);
	offer.nonce = view.client_sid;
	offer.listener = 0;
	if (world_below(random, 4) != 0) {
		c->note[ref->index] = view.client_sid;
		dcm_rendezvous_accept(c->s.seg, v->self, *ref, &offer);
	}
}

static void stop_serving(struct crowd *c, struct serving *v)
{
	dcm_publication_end(c->s.seg, v->self, v->endpoint);
	for (int i = 0; i < SERVED; i++) {
		if (v->taken[i].generation != 0)
			dcm_rendezvous_server_leaves(c->s.seg, v->self, v->taken[i]);
		v->taken[i].generation = 0;
	}
}

/* It dies with all it has, and another comes in its place. */
static void be_killed(struct crowd *c, struct serving *v)
{
	uint32_t dead = v->self;

	*v = (struct serving){ .self = world_process(&c->s.w, "heir") };
	world_kill(&c->s.w, dead);
	world_reap(&c->s.w, dead, v->self);
	dcm_add(&c->killed, 1ull);
}

static void server(struct crowd *c, unsigned thread)
{
	struct world_random random = world_random(thread);
	struct serving v = { .self = world_process(&c->s.w, "server") };

	while (dcm_load(&c->clients_left, seq) != 0) {
		struct dcm_endpoint *slot;

		if (!publish(&c->s, v.self, world_below(&random, 2) ? "one" : "two", thread + 1,
			     &v.endpoint)) {
			dcm_add(&c->wrong, 1ull);
			break;
		}
		slot = dcm_endpoint_at(c->s.seg, v.endpoint.index);
		for (uint32_t i = world_below(&random, 40); i != 0; i--) {
			uint32_t key = dcm_park_prepare(&slot->ec);
			uint64_t before = dcm_load(&c->served, relaxed);

			serve_once(c, &v, &random);
			if (dcm_load(&c->served, relaxed) == before)
				dcm_park_sleep(&slot->ec, key, NULL, dcm_park_deadline(1000 * 50));
		}
		if (world_below(&random, 8) == 0)
			be_killed(c, &v);
		else
			stop_serving(c, &v);
	}
	dcm_slot_yield(&c->s.seg->process, world_ref(&c->s.w, v.self));
}

static void crowd_run(void *context, unsigned number)
{
	if (number < CLIENTS)
		client(context, number);
	else
		server(context, number);
}

static void test_crowd(void)
{
	static struct crowd c;
	uint64_t sum;

	set_up(&c.s);
	c.requests = tap_scaled(REQUESTS);
	dcm_store(&c.clients_left, CLIENTS, seq);
	world_threads(CLIENTS + SERVERS, crowd_run, &c);
	sum = dcm_load(&c.opened, seq) + dcm_load(&c.refused, seq) + dcm_load(&c.hung_up, seq) +
	      dcm_load(&c.withdrawn, seq);
	is_uint(c.requests * CLIENTS, sum, "each request came to an end");
	is_uint(0, dcm_load(&c.wrong, seq), "and each offer to the one who asked");
	note("%llu opened, %llu refused, %llu too late, %llu given up, %llu servers killed",
	     (unsigned long long)dcm_load(&c.opened, seq),
	     (unsigned long long)dcm_load(&c.refused, seq),
	     (unsigned long long)dcm_load(&c.hung_up, seq),
	     (unsigned long long)dcm_load(&c.withdrawn, seq),
	     (unsigned long long)dcm_load(&c.killed, seq));
	ok(dcm_load(&c.opened, seq) != 0, "some were opened");
	world_clean(&c.s.w, "nothing is left");
	world_free(&c.s.w);
}

int main(void)
{
	struct stage s;

	plan_lazy();
	set_up(&s);
	test_whole(&s);
	test_ends(&s);
	test_told(&s);
	test_targets(&s);
	test_full(&s);
	dcm_publication_end(s.seg, s.server, s.endpoint);
	world_clean(&s.w, "the end");
	world_free(&s.w);
	for (uint32_t state = DCM_CONNECTION_POSTED; state <= DCM_CONNECTION_HUNGUP; state++)
		test_deaths(state);
	test_crowd();
	return 0;
}
