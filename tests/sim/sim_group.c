/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario group: servers that publish two interfaces as a group, and sleep for the requests of
 * both at the first of them, or one interface after the other and never both; subscribers to the
 * group, each with one ring for both interfaces, that sleep for it at their own slot; clients that
 * ask for either and are refused; all of them but one subscriber killed anywhere, and reaped by
 * others that are killed too.
 *
 * For each subscriber PUBLISHED and UNPUBLISHED of one server alternate, with the same endpoints;
 * what is PUBLISHED was there at one time; when all is quiet, what is told is what is live, no
 * request waits for a server that sleeps, and every slot and bit of the dead is back.
 */
#include <errno.h>
#include <string.h>

#include "api/group_known.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_reaper.h"
#include "tests/sim/sim_world.h"

enum { SERVERS = 2, SUBSCRIBERS = 2, CLIENTS = 2, INTERFACES = 2 };
enum { ENDPOINTS = 4, CONNECTIONS = 3, USES = 64, ROUNDS = 4, ASKS = 4 };

/* In two buckets. */
static const char *const types[INTERFACES] = { "a", "b" };
static const uint64_t hashes[INTERFACES] = { 1, 2 };

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = ENDPOINTS,
	.subscriptions = SUBSCRIBERS + 1,
	.connections = CONNECTIONS,
	.listeners = 1,
	.ring_shift = 1,
};

struct server {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_ref endpoints[INTERFACES];
};

struct subscriber {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_group_known *known;
	struct dcm_ref ref;
	bool active;
	struct {
		bool published;
		struct dcm_ref group[INTERFACES];
	} told[SIM_PROCESSES]; /* of each server */
};

struct client {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_ref ref;
};

/* When an endpoint was there at the most: steps before it began, and behind its end; 0: not yet. */
static struct {
	uint64_t begin, end;
	unsigned process;
} truth[ENDPOINTS][USES];

static struct server servers[SERVERS];
static struct subscriber subscribers[SUBSCRIBERS];
static struct client clients[CLIENTS];
static dcm_atomic32 stopping;

static bool reserve(struct server *s, unsigned which, uint32_t told_at)
{
	struct dcm_endpoint_key key = { .type = types[which],
					.name = "x",
					.type_hash = hashes[which],
					.name_hash = 7,
					.sid = 100 + s->process,
					.told_at = told_at };
	struct dcm_ref *out = &s->endpoints[which];

	if (!dcm_publication_reserve(&sim_world, sim_world_ref(s->process).index, &key, out))
		return false;
	SIM_CHECK(out->generation < USES, "scenario: more uses of a slot than expected");
	truth[out->index][out->generation].process = s->process;
	return true;
}

static void show(struct server *s, unsigned which)
{
	struct dcm_ref ref = s->endpoints[which];

	truth[ref.index][ref.generation].begin = sim_steps();
	dcm_publication_show(&sim_world, sim_world_ref(s->process).index, ref);
	sim_note("has published %s: endpoint[%u] generation %llu", types[which], ref.index,
		 (unsigned long long)ref.generation);
}

static void end(struct server *s, unsigned which)
{
	struct dcm_ref ref = s->endpoints[which];

	dcm_publication_end(&sim_world, sim_world_ref(s->process).index, ref);
	truth[ref.index][ref.generation].end = sim_steps();
}

/* Refuses all who ask; sometimes it sleeps until somebody does. */
static void listen(struct server *s)
{
	dcm_atomic32 *ec = &dcm_endpoint_at(&sim_world, s->endpoints[0].index)->ec;
	uint32_t self = sim_world_ref(s->process).index;

	for (unsigned patience = sim_random(12); patience > 0; patience--) {
		struct dcm_park_guard guard = { .poke.word = &s->poke };
		struct dcm_request_view view;
		struct dcm_ref ref;
		size_t which;
		uint32_t key;

		guard.poke.expected = dcm_load(&s->poke, acquire);
		key = dcm_park_prepare(ec);
		if (dcm_rendezvous_take_any(&sim_world, self, s->endpoints, INTERFACES, &which,
					    &ref, &view)) {
			sim_note("TAKES connection[%u], for %s", ref.index, types[which]);
			dcm_rendezvous_server_leaves(&sim_world, self, ref);
			continue;
		}
		if (dcm_load(&stopping, acquire) != 0)
			return;
		if (sim_random(3) != 0)
			dcm_park_sleep(ec, key, &guard, DCM_FOREVER);
	}
}

static void serve_group(struct server *s)
{
	if (!reserve(s, 0, 0))
		return;
	if (!reserve(s, 1, 1 + s->endpoints[0].index)) {
		dcm_publication_drop(&sim_world, s->endpoints[0]);
		return;
	}
	show(s, 0);
	show(s, 1);
	listen(s);
	end(s, 1);
	end(s, 0);
}

/* One after the other: it never has both. */
static void juggle(struct server *s)
{
	for (unsigned i = 0; i < 1 + sim_random(3); i++) {
		unsigned which = i % INTERFACES;

		if (!reserve(s, which, 0))
			return;
		show(s, which);
		end(s, which);
	}
}

static void server(void *arg)
{
	struct server *s = arg;

	for (unsigned round = 0; round < ROUNDS && dcm_load(&stopping, acquire) == 0; round++)
		if (sim_random(3) == 0)
			juggle(s);
		else
			serve_group(s);
}

static bool same(struct dcm_ref a, struct dcm_ref b)
{
	return a.index == b.index && a.generation == b.generation;
}

static void check_published(const struct dcm_notice *const *group, unsigned process)
{
	uint64_t begin = 0, end_of_first = UINT64_MAX;

	for (unsigned i = 0; i < INTERFACES; i++) {
		struct dcm_ref ref = group[i]->endpoint;

		SIM_CHECK(truth[ref.index][ref.generation].process == process,
			  "endpoint[%u] generation %llu is another server's", ref.index,
			  (unsigned long long)ref.generation);
		if (truth[ref.index][ref.generation].begin > begin)
			begin = truth[ref.index][ref.generation].begin;
		if (truth[ref.index][ref.generation].end != 0 &&
		    truth[ref.index][ref.generation].end < end_of_first)
			end_of_first = truth[ref.index][ref.generation].end;
	}
	SIM_CHECK(begin <= end_of_first, "PUBLISHED, and one had gone before the other came");
}

static void check_notice(struct subscriber *s, const struct dcm_group_notice *n)
{
	unsigned process = (unsigned)(n->endpoints[0]->sid - 100);

	SIM_CHECK(process < SIM_PROCESSES, "a notice of nobody's");
	sim_note("READS %s of process %u", n->published ? "PUBLISHED" : "UNPUBLISHED", process);
	SIM_CHECK(s->told[process].published != n->published, "process %u is %s twice", process,
		  n->published ? "PUBLISHED" : "UNPUBLISHED");
	s->told[process].published = n->published;
	if (n->published)
		check_published(n->endpoints, process);
	for (unsigned i = 0; i < INTERFACES; i++) {
		SIM_CHECK(n->published ||
				  same(s->told[process].group[i], n->endpoints[i]->endpoint),
			  "UNPUBLISHED with other endpoints than PUBLISHED");
		s->told[process].group[i] = n->endpoints[i]->endpoint;
	}
}

/* Read until nothing is there, as DcmReadGroupPubQueue does; then sleep. False: told to leave. */
static bool read_and_sleep(struct subscriber *s)
{
	dcm_atomic32 *ec = &dcm_subscription_at(&sim_world, s->ref.index)->ec;
	struct dcm_park_guard guard = { .poke.word = &s->poke };
	struct dcm_group_notice notice;
	uint32_t key;
	int result;

	guard.poke.expected = dcm_load(&s->poke, acquire);
	if (dcm_load(&stopping, acquire) != 0)
		return false;
	key = dcm_park_prepare(ec);
	result = dcm_group_known_next(s->known, &sim_world, s->ref, &notice);
	if (result == 0) {
		check_notice(s, &notice);
		dcm_group_known_told(s->known);
		return sim_random(16) != 0;
	}
	SIM_CHECK(result == -EAGAIN, "dcm_group_known_next: %d", result);
	dcm_park_sleep(ec, key, &guard, DCM_FOREVER);
	return true;
}

static void subscriber(void *arg)
{
	struct subscriber *s = arg;
	uint32_t self = sim_world_ref(s->process).index;

	while (dcm_load(&stopping, acquire) == 0) {
		memset(s->told, 0, sizeof s->told);
		s->known = dcm_group_known_create(types, hashes, INTERFACES, NULL, 0);
		SIM_CHECK(dcm_registry_subscribe_to(&sim_world, self,
						    &(struct dcm_interest){ .type_hashes = hashes,
									    .count = INTERFACES },
						    &s->ref),
			  "no subscription");
		s->active = true;
		while (read_and_sleep(s))
			;
		s->active = false;
		SIM_CHECK(dcm_registry_unsubscribe(&sim_world, s->ref, self, self),
			  "somebody else unsubscribed");
		dcm_group_known_destroy(s->known);
		s->known = NULL;
	}
}

/* One look; false: this connection is over for the client. */
static bool judge(struct client *c, struct dcm_park_guard *guard)
{
	struct dcm_connection_look look = dcm_rendezvous_look(&sim_world, c->ref);
	struct dcm_ref by;

	SIM_CHECK(look.state != DCM_FREE && look.state != DCM_REAP && look.state != DCM_CLAIMED,
		  "connection[%u] was taken from its client", c->ref.index);
	if (look.state == DCM_CONNECTION_REFUSED)
		return false;
	if (look.server == UINT32_MAX)
		return true;
	by = (struct dcm_ref){ look.server, dcm_process_generation(&sim_world, look.server) };
	return dcm_process_guard(&sim_world, by, sim_world_ref(c->process).index, &guard->alive[0]);
}

static void client(void *arg)
{
	struct client *c = arg;
	uint32_t self = sim_world_ref(c->process).index;

	for (unsigned i = 0; i < ASKS && dcm_load(&stopping, acquire) == 0; i++) {
		unsigned which = sim_random(INTERFACES);
		const struct dcm_request_key key = { .type = types[which],
						     .name = "x",
						     .type_hash = hashes[which],
						     .name_hash = 7,
						     .client_sid = 1 };
		dcm_atomic32 *ec;

		if (!dcm_rendezvous_ask(&sim_world, self, &key, &c->ref))
			return;
		ec = &dcm_connection_at(&sim_world, c->ref.index)->ec;
		for (;;) {
			struct dcm_park_guard guard = { .poke.word = &c->poke };
			uint32_t seen;

			guard.poke.expected = dcm_load(&c->poke, acquire);
			if (dcm_load(&stopping, acquire) != 0 || sim_random(16) == 0)
				break;
			seen = dcm_park_prepare(ec);
			if (!judge(c, &guard))
				break;
			dcm_park_sleep(ec, seen, &guard, DCM_FOREVER);
		}
		dcm_rendezvous_client_leaves(&sim_world, self, c->ref);
	}
}

static void setup(void)
{
	memset(servers, 0, sizeof servers);
	memset(subscribers, 0, sizeof subscribers);
	memset(clients, 0, sizeof clients);
	memset(truth, 0, sizeof truth);
	memset(&stopping, 0, sizeof stopping);
	sim_world_make(&capacity);
	for (unsigned i = 0; i < SERVERS; i++) {
		servers[i].process = sim_world_process("server", SIM_KILLABLE | SIM_STOPPABLE);
		sim_thread(servers[i].process, i ? "server 1" : "server 0", server, &servers[i]);
	}
	for (unsigned i = 0; i < SUBSCRIBERS; i++) {
		subscribers[i].process =
			sim_world_process("subscriber", SIM_STOPPABLE | (i ? SIM_KILLABLE : 0));
		sim_thread(subscribers[i].process, i ? "subscr 1" : "subscr 0", subscriber,
			   &subscribers[i]);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i].process = sim_world_process("client", SIM_KILLABLE | SIM_STOPPABLE);
		sim_thread(clients[i].process, i ? "client 1" : "client 0", client, &clients[i]);
	}
	sim_reapers_start(3, NULL);
}

/* The live endpoint of that interface and process; generation 0: none. */
static struct dcm_ref live_of(unsigned process, unsigned which)
{
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		struct dcm_endpoint *e = dcm_endpoint_at(&sim_world, i);
		struct dcm_ref ref = { i, dcm_word_generation(dcm_load(&e->word, seq)) };

		if (dcm_registry_is_live(&sim_world, ref) &&
		    dcm_load(&e->type_hash, seq) == hashes[which] &&
		    dcm_load(&e->sid, seq) == 100 + process)
			return ref;
	}
	return (struct dcm_ref){ 0, 0 };
}

static void check_told(const struct subscriber *s, unsigned number)
{
	for (unsigned i = 0; i < SERVERS; i++) {
		unsigned p = servers[i].process;
		bool complete = true;

		for (unsigned k = 0; k < INTERFACES; k++) {
			struct dcm_ref ref = live_of(p, k);

			complete = complete && ref.generation != 0;
			SIM_CHECK(!s->told[p].published || same(ref, s->told[p].group[k]),
				  "subscriber %u was told of endpoints that are gone", number);
		}
		SIM_CHECK(complete == s->told[p].published, "subscriber %u: process %u is %s",
			  number, p,
			  complete ? "complete, and it was not told" : "not what it was told");
	}
}

/* A request that waits must have nobody who could serve it. */
static void check_connections(void)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct dcm_connection *c = dcm_connection_at(&sim_world, i);
		uint64_t word = dcm_load(&c->word, seq), hash = dcm_load(&c->type_hash, seq);

		if (dcm_word_state(word) == DCM_FREE)
			continue;
		SIM_CHECK(dcm_load(&stopping, seq) == 0, "connection[%u] is not given back", i);
		SIM_CHECK(dcm_word_state(word) == DCM_CONNECTION_POSTED,
			  "connection[%u] is left in state %u", i, dcm_word_state(word));
		for (unsigned s = 0; s < SERVERS; s++)
			SIM_CHECK(live_of(servers[s].process, hash == hashes[1]).generation == 0,
				  "connection[%u] waits, and server %u sleeps", i, s);
	}
}

static bool quiet(void)
{
	sim_world_check_quiet();
	check_connections();
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		if (subscribers[i].active && !sim_killed(subscribers[i].process))
			check_told(&subscribers[i], i);
	if (dcm_load(&stopping, seq) != 0)
		return false;
	dcm_store(&stopping, 1u, seq);
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		dcm_park_poke(&subscribers[i].poke);
	for (unsigned i = 0; i < CLIENTS; i++)
		dcm_park_poke(&clients[i].poke);
	for (unsigned i = 0; i < SERVERS; i++)
		dcm_park_poke(&servers[i].poke);
	return true;
}

static void finish(void)
{
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		if (subscribers[i].known != NULL)
			dcm_group_known_destroy(subscribers[i].known);
}

const struct sim_scenario sim_group = {
	.name = "group",
	.horizon = 1500,
	.kills_max = 4,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.finish = finish,
	.proved = sim_world_proved,
	.describe = sim_world_describe,
};
