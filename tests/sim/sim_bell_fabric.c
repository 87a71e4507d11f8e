/* SPDX-License-Identifier: BSD-2-Clause */
/* Scenario bell, fabric and notice: a server, clients and a subscriber, of whom each is a keeper. */
#include <string.h>

#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "tests/sim/sim_bell.h"
#include "tests/sim/sim_reaper.h"

enum { CLIENTS = 2, ASKS = 3, HASH = 1 };

static struct owner clients[CLIENTS], server, subscriber;
static unsigned noticed[SIM_PROCESSES];

void sim_bell_fabric_setup(void)
{
	memset(clients, 0, sizeof clients);
	memset(&server, 0, sizeof server);
	memset(&subscriber, 0, sizeof subscriber);
	memset(noticed, 0, sizeof noticed);
}

/* A server, whose keeper does all that it does. */

static bool begin_publication(struct owner *s)
{
	const struct dcm_endpoint_key key = { .type = "t",
					      .name = "x",
					      .type_hash = HASH,
					      .name_hash = 7,
					      .sid = 100 + sim_bell_index_of(s) };

	if (s->left == 0 || !dcm_publication_begin(&sim_world, sim_bell_index_of(s), &key, &s->ref))
		return false;
	s->left--;
	s->bell = &dcm_endpoint_at(&sim_world, s->ref.index)->bell;
	s->token = sim_bell_arm(s);
	return true;
}

/* What clients left is let go of; now and then one is hung up on. */
static void tend(struct owner *s)
{
	for (uint32_t i = 0; i < CONNECTIONS; i++) {
		struct dcm_ref ref = { i, s->listed[i] };
		uint32_t state =
			ref.generation == 0 ? DCM_FREE : dcm_rendezvous_look(&sim_world, ref).state;

		if (state == DCM_CONNECTION_ENDED ||
		    (state == DCM_CONNECTION_OPEN && sim_random(4) == 0)) {
			dcm_rendezvous_server_leaves(&sim_world, sim_bell_index_of(s), ref);
			s->listed[i] = 0;
		}
	}
}

static void decide(struct owner *s, struct dcm_ref ref)
{
	struct dcm_offer offer = { .server = sim_bell_index_of(s) };

	if (sim_random(3) != 0 &&
	    dcm_rendezvous_accept(&sim_world, sim_bell_index_of(s), ref, &offer)) {
		s->listed[ref.index] = ref.generation;
		/* Its client may have opened it and left since. */
		dcm_process_kick_for(&sim_world, sim_bell_index_of(s), DCM_KICK_SOURCES);
		return;
	}
	dcm_rendezvous_server_leaves(&sim_world, sim_bell_index_of(s), ref);
}

static bool serve(struct owner *s)
{
	struct dcm_request_view view;
	struct dcm_ref ref;

	tend(s);
	if (s->ref.generation == 0 && !begin_publication(s))
		return true;
	while (dcm_rendezvous_take(&sim_world, sim_bell_index_of(s), s->ref, &ref, &view))
		decide(s, ref);
	if (sim_random(6) == 0) {
		dcm_publication_end(&sim_world, sim_bell_index_of(s), s->ref);
		s->ref.generation = 0;
		s->bell = NULL;
		dcm_process_kick_for(&sim_world, sim_bell_index_of(s), DCM_KICK_SOURCES);
	}
	return true;
}

/* A client: asks without waiting, hears of the decision, stays until the server hangs up or dies. */

static bool ask(struct owner *c)
{
	struct dcm_request_key key = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .client_sid = 1
	};

	if (c->left == 0 || !dcm_rendezvous_ask(&sim_world, sim_bell_index_of(c), &key, &c->ref))
		return false;
	c->left--;
	c->bell = &dcm_connection_at(&sim_world, c->ref.index)->bell;
	c->token = sim_bell_arm(c);
	return true;
}

static bool is_there(uint32_t server_index)
{
	struct dcm_ref ref = { server_index, dcm_process_generation(&sim_world, server_index) };

	return dcm_process_guard(&sim_world, ref, 0, NULL);
}

/* Is the request over, or the session? */
static bool is_over(struct owner *c)
{
	struct dcm_connection_look look = dcm_rendezvous_look(&sim_world, c->ref);

	if (look.state == DCM_CONNECTION_OPEN)
		look.server =
			dcm_load(&dcm_connection_at(&sim_world, c->ref.index)->server, acquire);
	return look.state == DCM_CONNECTION_REFUSED || look.state == DCM_CONNECTION_HUNGUP ||
	       (look.server != UINT32_MAX && !is_there(look.server));
}

static bool open_it(struct owner *c)
{
	struct dcm_offer offer;

	return dcm_rendezvous_offer(&sim_world, c->ref, &offer) &&
	       dcm_rendezvous_open(&sim_world, sim_bell_index_of(c), c->ref, offer.server, 1);
}

static bool wait_for_server(struct owner *c)
{
	while (c->ref.generation != 0 || ask(c)) {
		open_it(c);
		if (!is_over(c) && sim_random(8) != 0)
			return true;
		dcm_rendezvous_client_leaves(&sim_world, sim_bell_index_of(c), c->ref);
		c->ref.generation = 0;
		c->bell = NULL;
	}
	return false;
}

static bool read_all(struct owner *s)
{
	struct dcm_notice *notice;

	while (dcm_known_read(s->known, &sim_world, s->ref, &notice) == 0)
		dcm_notice_free(notice);
	return true;
}

/* Level 1 alone, as every keeper's scan does it. */
static bool somebody_died(void *arg)
{
	(void)arg;
	for (unsigned p = 0; p < sim_process_count(); p++)
		if (sim_marked(p) && !noticed[p])
			return true;
	return false;
}

static void noticer(void *arg)
{
	(void)arg;
	for (;;) {
		sim_wait(somebody_died, NULL);
		for (unsigned p = 0; p < sim_process_count(); p++) {
			if (!sim_marked(p) || noticed[p])
				continue;
			noticed[p] = 1;
			dcm_reap_notice(&sim_world, sim_world_ref(p).index);
		}
	}
}

static void start_party(struct owner *o, const char *name, bool (*look)(struct owner *),
			unsigned flags)
{
	o->process = sim_world_process(name, flags | SIM_STOPPABLE | SIM_SERVANT);
	o->look = look;
	sim_thread(o->process, name, sim_bell_keeper, o);
}

void sim_bell_fabric_start(bool reaped)
{
	start_party(&server, "server", serve, SIM_KILLABLE);
	server.left = 2;
	for (unsigned i = 0; i < CLIENTS; i++) {
		start_party(&clients[i], "client", wait_for_server, SIM_KILLABLE);
		clients[i].left = ASKS;
	}
	start_party(&subscriber, "subscriber", read_all, 0);
	subscriber.known = dcm_known_create(HASH, "t", NULL, NULL, 0);
	sim_direct(true);
	dcm_registry_subscribe(&sim_world, sim_bell_index_of(&subscriber), HASH, &subscriber.ref);
	sim_direct(false);
	subscriber.bell = &dcm_subscription_at(&sim_world, subscriber.ref.index)->bell;
	if (reaped) {
		sim_reapers_start(3, NULL);
		return;
	}
	sim_thread(sim_world_process("noticer", SIM_STOPPABLE | SIM_SERVANT), "noticer", noticer,
		   NULL);
}

static void check_client(struct owner *c, unsigned number)
{
	struct dcm_connection_look look = dcm_rendezvous_look(&sim_world, c->ref);

	if (sim_killed(c->process) || c->ref.generation == 0)
		return;
	SIM_CHECK(!is_over(c), "client %u sleeps, and its request or session is over", number);
	SIM_CHECK(look.state != DCM_CONNECTION_ACCEPTED,
		  "client %u sleeps, and its request was accepted", number);
	SIM_CHECK(look.state != DCM_CONNECTION_POSTED || look.server == UINT32_MAX ||
			  sim_killed(server.process),
		  "client %u sleeps, and so does the server it was sent to", number);
}

static void check_live(const struct dcm_notice *notice, void *arg)
{
	++*(unsigned *)arg;
	SIM_CHECK(dcm_registry_is_live(&sim_world, notice->endpoint),
		  "the subscriber sleeps, and endpoint[%u] is gone", notice->endpoint.index);
}

static void check_subscriber(void)
{
	unsigned known = 0, live = 0;

	dcm_known_each(subscriber.known, check_live, &known);
	for (uint32_t i = 0; i < ENDPOINTS; i++) {
		uint64_t word = dcm_load(&dcm_endpoint_at(&sim_world, i)->word, seq);

		live += dcm_registry_is_live(&sim_world,
					     (struct dcm_ref){ i, dcm_word_generation(word) });
	}
	SIM_CHECK(known == live, "the subscriber sleeps and knows of %u, and %u are live", known,
		  live);
}

void sim_bell_fabric_check(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		check_client(&clients[i], i);
	check_subscriber();
}

void sim_bell_fabric_finish(void)
{
	if (subscriber.known != NULL)
		dcm_known_destroy(subscriber.known);
	subscriber.known = NULL;
}
