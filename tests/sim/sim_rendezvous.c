/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario rendezvous: clients that ask for an endpoint, wait, open, and leave at any moment;
 * servers that publish it, take, accept, refuse, hang up, unpublish, and whose keepers tend what
 * clients left; all of them killed anywhere, and reaped by others that are killed too.
 *
 * Each request is taken once at the most, and by age; what a client opens is what it was offered;
 * when all is quiet, no request waits that somebody could serve, nobody sleeps on something that
 * has happened; in the end every slot is back.
 */
#include <stdio.h>
#include <string.h>

#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_reaper.h"

enum { SERVERS = 2, CLIENTS = 3, CONNECTIONS = 3, ENDPOINTS = 2, USES = 64, ASKS = 3, HASH = 1 };

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = ENDPOINTS,
	.subscriptions = 1,
	.connections = CONNECTIONS,
	.listeners = 1,
	.ring_shift = 1,
};

struct server {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_ref endpoint;
	/* Taken: listed before it is accepted, so that the keeper tends it. 0: none. */
	uint64_t listed[CONNECTIONS];
};

struct client {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_ref ref;
};

/* One use of a connection slot. */
struct request {
	uint64_t asked_at, known_at; /* steps: before it was asked, and when that was done */
	uint32_t endpoint;	     /* it was aimed at then; UINT32_MAX: none */
	unsigned client, taken;
};

static struct server servers[SERVERS];
static struct client clients[CLIENTS];
static struct request requests[CONNECTIONS][USES];
static dcm_atomic32 stopping;

static struct request *request_of(struct dcm_ref ref)
{
	SIM_CHECK(ref.generation < USES, "scenario: more uses of a slot than expected");
	return &requests[ref.index][ref.generation];
}

static uint64_t nonce_of(struct dcm_ref ref)
{
	return ref.generation * 100 + ref.index;
}

static struct dcm_connection_look peek(struct dcm_ref ref)
{
	struct dcm_connection_look look;

	sim_direct(true);
	look = dcm_rendezvous_look(&sim_world, ref);
	sim_direct(false);
	return look;
}

/* The endpoint that a request is aimed at; UINT32_MAX: parked, or its server is gone. */
static uint32_t aim_of(struct dcm_ref ref)
{
	uint64_t target;

	sim_direct(true);
	target = dcm_load(&dcm_connection_at(&sim_world, ref.index)->target, seq);
	sim_direct(false);
	return target >> 63 ? UINT32_MAX : (uint32_t)(target >> DCM_GENERATION_BITS);
}

/* By age, as far as the older one was there when the server began to look, at step @began. */
static void check_taken(const struct server *s, struct dcm_ref ref, uint64_t began)
{
	struct request *r = request_of(ref);

	sim_note("TAKES connection[%u] generation %llu", ref.index,
		 (unsigned long long)ref.generation);
	SIM_CHECK(r->taken++ == 0, "connection[%u] generation %llu was taken twice", ref.index,
		  (unsigned long long)ref.generation);
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		for (uint64_t use = 1; use < USES; use++) {
			struct request *old = &requests[i][use];
			struct dcm_ref at = { i, use };

			SIM_CHECK(old->known_at == 0 || r->asked_at == 0 ||
					  old->known_at >= began || old->known_at >= r->asked_at ||
					  old->endpoint != s->endpoint.index ||
					  sim_killed(old->client) ||
					  peek(at).state != DCM_CONNECTION_POSTED ||
					  aim_of(at) != s->endpoint.index,
				  "connection[%u] generation %llu was taken before an older one",
				  ref.index, (unsigned long long)ref.generation);
		}
}

static void serve_one(struct server *s, struct dcm_ref ref, uint64_t began)
{
	uint32_t self = sim_world_ref(s->process).index;
	struct dcm_offer offer = { .server = self, .nonce = nonce_of(ref), .fd = ref.index };

	check_taken(s, ref, began);
	if (sim_random(4) == 0) {
		dcm_rendezvous_server_leaves(&sim_world, self, ref);
		return;
	}
	/* Listed only when accepted: a keeper that sees ENDED gives the slot back, and accepting
	   writes to it. */
	if (DCM__BROKEN(listed_when_accepted))
		s->listed[ref.index] = ref.generation;
	if (!dcm_rendezvous_accept(&sim_world, self, ref, &offer)) {
		sim_note("the client of connection[%u] has left", ref.index);
		SIM_CHECK(peek(ref).state != DCM_FREE, "accept wrote to a slot that is another's");
		s->listed[ref.index] = 0;
		dcm_rendezvous_server_leaves(&sim_world, self, ref);
		return;
	}
	s->listed[ref.index] = ref.generation;
	/* Its client may have left in between, and have told too early. */
	dcm_rendezvous_tell_server(&sim_world, ref.index, self);
	if (sim_random(4) == 0)
		dcm_rendezvous_server_leaves(&sim_world, self, ref);
}

/* Until told to stop, or out of patience: then the endpoint goes. */
static void listen(struct server *s)
{
	dcm_atomic32 *ec = &dcm_endpoint_at(&sim_world, s->endpoint.index)->ec;
	uint32_t self = sim_world_ref(s->process).index;

	for (unsigned patience = 3 + sim_random(20); patience > 0; patience--) {
		struct dcm_park_guard guard = { .poke.word = &s->poke };
		struct dcm_request_view view;
		struct dcm_ref ref;
		uint64_t began = sim_steps();
		uint32_t key;

		guard.poke.expected = dcm_load(&s->poke, acquire);
		key = dcm_park_prepare(ec);
		if (dcm_rendezvous_take(&sim_world, self, s->endpoint, &ref, &view)) {
			serve_one(s, ref, began);
			continue;
		}
		if (dcm_load(&stopping, acquire) != 0)
			return;
		dcm_park_sleep(ec, key, &guard, DCM_FOREVER);
	}
}

static void server(void *arg)
{
	struct server *s = arg;
	uint32_t self = sim_world_ref(s->process).index;
	const struct dcm_endpoint_key key = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .sid = 100 + self
	};

	while (dcm_load(&stopping, acquire) == 0) {
		if (!dcm_publication_begin(&sim_world, self, &key, &s->endpoint))
			return; /* both endpoints are taken */
		listen(s);
		dcm_publication_end(&sim_world, self, s->endpoint);
	}
	for (uint32_t i = 0; i < CONNECTIONS; i++)
		if (s->listed[i] != 0)
			dcm_rendezvous_server_leaves(&sim_world, self,
						     (struct dcm_ref){ i, s->listed[i] });
}

/* As the library's keeper: woken by kicks, it lets go of what clients have left and marked. */
static void server_keeper(void *arg)
{
	struct server *s = arg;
	uint32_t self = sim_world_ref(s->process).index;
	dcm_atomic32 *control = &dcm_process_at(&sim_world, self)->control;

	for (;;) {
		uint32_t key = dcm_park_prepare(control), cursor = 0, i;

		while (dcm_rendezvous_marked(&sim_world, self, &cursor, &i)) {
			struct dcm_ref ref = { i, s->listed[i] };

			if (ref.generation != 0 &&
			    dcm_rendezvous_look(&sim_world, ref).state == DCM_CONNECTION_ENDED) {
				/* Unless the slot is listed in a later use by now, as tend() has it. */
				if (s->listed[i] == ref.generation)
					s->listed[i] = 0;
				dcm_rendezvous_server_leaves(&sim_world, self, ref);
			}
		}
		dcm_park_sleep(control, key, NULL, DCM_FOREVER);
	}
}

static bool ask(struct client *c)
{
	const struct dcm_request_key key = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .client_sid = 1
	};
	uint64_t before = sim_steps();
	struct request *r;

	if (!dcm_rendezvous_ask(&sim_world, sim_world_ref(c->process).index, &key, &c->ref))
		return false;
	r = request_of(c->ref);
	r->client = c->process;
	r->asked_at = before;
	r->endpoint = aim_of(c->ref);
	r->known_at = sim_steps();
	sim_note("has asked: connection[%u] generation %llu", c->ref.index,
		 (unsigned long long)c->ref.generation);
	return true;
}

/* One look; false: this connection is over for the client. */
static bool judge(struct client *c, struct dcm_park_guard *guard)
{
	uint32_t self = sim_world_ref(c->process).index;
	struct dcm_connection_look look = dcm_rendezvous_look(&sim_world, c->ref);
	struct dcm_connection *at = dcm_connection_at(&sim_world, c->ref.index);
	struct dcm_offer offer;

	SIM_CHECK(look.state != DCM_FREE && look.state != DCM_REAP && look.state != DCM_CLAIMED,
		  "connection[%u] was taken from its client", c->ref.index);
	if (look.state == DCM_CONNECTION_REFUSED || look.state == DCM_CONNECTION_HUNGUP)
		return false;
	if (look.state == DCM_CONNECTION_OPEN)
		look.server = dcm_load(&at->server, acquire);
	if (look.server != UINT32_MAX) {
		struct dcm_ref server = { look.server,
					  dcm_process_generation(&sim_world, look.server) };

		if (!dcm_process_guard(&sim_world, server, self, &guard->alive[0]))
			return false;
	}
	if (look.state == DCM_CONNECTION_ACCEPTED) {
		if (dcm_rendezvous_offer(&sim_world, c->ref, &offer)) {
			SIM_CHECK(offer.nonce == nonce_of(c->ref) && offer.server == look.server,
				  "connection[%u] generation %llu: the offer is of another",
				  c->ref.index, (unsigned long long)c->ref.generation);
			if (!dcm_rendezvous_open(&sim_world, self, c->ref, offer.server, 1))
				return false;
		}
	}
	return true;
}

static void client(void *arg)
{
	struct client *c = arg;
	uint32_t self = sim_world_ref(c->process).index;

	for (unsigned i = 0; i < ASKS && dcm_load(&stopping, acquire) == 0 && ask(c); i++) {
		dcm_atomic32 *ec = &dcm_connection_at(&sim_world, c->ref.index)->ec;

		/* In its first look, while the server takes it, refuses it and dies. */
		if (sim_random(8) == 0)
			sim_stop_within(c->process, 8, 1500);
		while (dcm_load(&stopping, acquire) == 0 && sim_random(8) != 0) {
			struct dcm_park_guard guard = { .poke.word = &c->poke };
			uint32_t key;

			guard.poke.expected = dcm_load(&c->poke, acquire);
			if (dcm_load(&stopping, acquire) != 0)
				break;
			key = dcm_park_prepare(ec);
			if (!judge(c, &guard))
				break;
			dcm_park_sleep(ec, key, &guard, DCM_FOREVER);
		}
		dcm_rendezvous_client_leaves(&sim_world, self, c->ref);
	}
}

static void setup(void)
{
	memset(servers, 0, sizeof servers);
	memset(clients, 0, sizeof clients);
	memset(requests, 0, sizeof requests);
	memset(&stopping, 0, sizeof stopping);
	sim_world_make(&capacity);
	for (unsigned i = 0; i < SERVERS; i++) {
		unsigned p = sim_world_process("server", SIM_KILLABLE | SIM_STOPPABLE);

		servers[i].process = p;
		sim_thread(p, i ? "server 1" : "server 0", server, &servers[i]);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		static const char *const names[CLIENTS] = { "client 0", "client 1", "client 2" };
		unsigned p = sim_world_process("client", SIM_KILLABLE | SIM_STOPPABLE);

		clients[i].process = p;
		sim_thread(p, names[i], client, &clients[i]);
	}
	for (unsigned i = 0; i < SERVERS; i++) {
		sim_thread(servers[i].process, "keeper", server_keeper, &servers[i]);
		sim_thread_serves();
	}
	sim_reapers_start(3, NULL);
}

static bool endpoint_is_live(uint32_t index, uint64_t generation)
{
	return dcm_registry_is_live(&sim_world, (struct dcm_ref){ index, generation });
}

/* A request that waits must have nobody who could serve it. */
static void check_posted(uint32_t i, uint64_t target)
{
	bool parked = target >> 63;

	for (uint32_t e = 0; e < ENDPOINTS && parked; e++) {
		uint64_t word = dcm_load(dcm_slot_word(&sim_world.endpoint, e), seq);

		SIM_CHECK(!endpoint_is_live(e, dcm_word_generation(word)),
			  "connection[%u] is parked, and endpoint[%u] is live", i, e);
	}
	SIM_CHECK(parked, "connection[%u] waits for endpoint[%u], which %s", i,
		  (uint32_t)(target >> DCM_GENERATION_BITS),
		  endpoint_is_live((uint32_t)(target >> DCM_GENERATION_BITS),
				   target & ((1ull << DCM_GENERATION_BITS) - 1))
			  ? "sleeps"
			  : "is gone");
}

static void check_connections(void)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct dcm_connection *c = dcm_connection_at(&sim_world, i);
		uint64_t word = dcm_load(&c->word, seq);
		bool stopped = dcm_load(&stopping, seq) != 0;

		SIM_CHECK(!stopped || dcm_word_state(word) == DCM_FREE,
			  "connection[%u] is not given back: state %u of process[%u]", i,
			  dcm_word_state(word), dcm_word_owner(word));
		switch (dcm_word_state(word)) {
		case DCM_FREE:
		case DCM_CONNECTION_OPEN:
			break;
		case DCM_CONNECTION_POSTED:
			check_posted(i, dcm_load(&c->target, seq));
			break;
		default:
			sim_fail("connection[%u] is left in state %u by process[%u]", i,
				 dcm_word_state(word), dcm_word_owner(word));
		}
	}
}

/* A server that refuses a client may die before it says so. */
static void before_cas(const volatile void *word, uint64_t desired)
{
	(void)word;
	if (dcm_word_state(desired) == DCM_CONNECTION_REFUSED && sim_self() < SERVERS &&
	    sim_random(4) == 0)
		sim_kill_within(sim_self(), 3);
}

static bool quiet(void)
{
	sim_world_check_quiet();
	check_connections();
	if (dcm_load(&stopping, seq) != 0)
		return false;
	dcm_store(&stopping, 1u, seq);
	for (unsigned i = 0; i < CLIENTS; i++)
		dcm_park_poke(&clients[i].poke);
	for (unsigned i = 0; i < SERVERS; i++)
		dcm_park_poke(&servers[i].poke);
	return true;
}

const struct sim_scenario sim_rendezvous = {
	.name = "rendezvous",
	.horizon = 1200,
	.kills_max = 4,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.proved = sim_world_proved,
	.before_cas = before_cas,
	.describe = sim_world_describe,
};
