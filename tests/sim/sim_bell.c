/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario bell: owners that arm their bells, look, and sleep in their keepers; ringers that change
 * what the owners look at, and ring. There is no look once a second: whom nobody tells sleeps on.
 *
 * One of four in each run:
 *   bare    ringers change a word each and ring in one of the fabric's ways; another thread of the
 *           owner's arms and looks now and then, as a call does that found nothing. Of whatever
 *           a ringer has come to the end of telling, the owner knows: also while others are stopped
 *           or dead in the middle of theirs.
 *   hands   one listener's slot, which two owners have in turns, and ringers who do not know whose it
 *           is. Of whatever a ringer has come to the end of telling, whoever has the slot knows.
 *   fabric  a server with an endpoint, clients with requests and sessions, a subscriber, killed
 *           anywhere and reaped by others that are killed too. Nobody sleeps when all is quiet
 *           though there is what he looks for.
 *   notice  the same, and no death is ever proved: what level 1 does must do.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/known.h"
#include "shm/bell.h"
#include "shm/channel.h"
#include "shm/listener.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_reaper.h"

enum { OWNERS = 2, RINGERS = 3, ROUNDS = 3, CLIENTS = 2, ASKS = 3, ENDPOINTS = 2, HASH = 1 };
enum { CONNECTIONS = 4, TENANCIES = 3 };
enum mode { BARE, HANDS, FABRIC, NOTICE, MODES };
enum way { BY_BELL, BY_LISTENER, BY_ANSWER, WAYS };

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = ENDPOINTS,
	.subscriptions = 1,
	.connections = CONNECTIONS,
	.listeners = OWNERS,
	.ring_shift = 1,
};

/* As much of a source as there is of it here: a bell, the token, and a look. */
struct owner {
	unsigned process;
	pthread_mutex_t lock;
	uint32_t token, arms;		   /* under lock */
	bool (*look)(struct owner *owner); /* false: it has seen enough, and ends */
	dcm_atomic32 *bell; /* null: none, it looks when it is asked to look at all */
	/* bare */
	struct dcm_ref listener;
	struct dcm_channel channel;
	uint32_t seen[RINGERS], told[RINGERS];
	dcm_atomic32 states[RINGERS];
	bool holds; /* hands: the slot */
	/* fabric */
	struct dcm_ref ref; /* of a request, an endpoint, a subscription; generation 0: none now */
	struct dcm_known *known;
	unsigned left; /* requests to make, lives of an endpoint to come */
	uint64_t listed[CONNECTIONS];
};

static enum mode mode;
static enum way way;
static struct owner owners[OWNERS], clients[CLIENTS], server, subscriber;
static struct dcm_channel_header headers[OWNERS];
static dcm_atomic32 posted[RINGERS]; /* hands */
static uint32_t posted_told[RINGERS];
static unsigned ringers[RINGERS], noticed[SIM_PROCESSES];

static uint32_t index_of(const void *owner)
{
	return sim_world_ref(((const struct owner *)owner)->process).index;
}

/* Each process counts its own tokens, from a number on that no other begins with. */
static uint32_t arm(struct owner *o)
{
	uint32_t first = DCM__BROKEN(tokens_of_its_own) ? 0 : (o->process + 1) << 16;

	dcm_bell_start(first + 2 * o->arms++);
	return dcm_bell_arm(o->bell);
}

/* As dcm_source_check(). */
static bool check(struct owner *o)
{
	bool more;

	pthread_mutex_lock(&o->lock);
	if (o->bell != NULL)
		o->token = arm(o);
	more = o->look(o);
	pthread_mutex_unlock(&o->lock);
	return more;
}

static bool is_due(struct owner *o, uint32_t asked)
{
	bool due;

	pthread_mutex_lock(&o->lock);
	due = (asked & DCM_KICK_SOURCES) != 0 ||
	      (o->bell != NULL && dcm_bell_rung(o->bell, o->token));
	pthread_mutex_unlock(&o->lock);
	return due;
}

/* As a keeper with one source that is active. */
static void keeper(void *arg)
{
	struct owner *o = arg;
	struct dcm_process *self = dcm_process_at(&sim_world, sim_world_ref(o->process).index);
	uint32_t asked = DCM_KICK_SOURCES;

	for (;;) {
		uint32_t key = dcm_park_prepare(&self->control);

		asked |= dcm_swap(&self->asked, 0u);
		if (is_due(o, asked) && !check(o))
			return;
		asked = 0;
		dcm_park_sleep(&self->control, key, NULL, DCM_FOREVER);
	}
}

/* Bare. */

static bool see_states(struct owner *o)
{
	uint32_t cursor = 0, index;

	/* As a server looks: where a ready bit was, and nowhere else. */
	while (way == BY_LISTENER && dcm_listener_next(&sim_world, o->listener, &cursor, &index))
		o->seen[index] = dcm_load(&o->states[index], seq);
	for (unsigned i = 0; way != BY_LISTENER && i < RINGERS; i++)
		o->seen[i] = dcm_load(&o->states[i], seq);
	return true;
}

static void other_thread(void *arg)
{
	for (uint32_t i = sim_random(3); i > 0; i--)
		check(arg);
}

static void tell(struct owner *o, unsigned ringer)
{
	if (way == BY_BELL)
		dcm_bell_ring(&sim_world, o->bell, index_of, o);
	else if (way == BY_LISTENER)
		dcm_listener_signal(&sim_world, o->listener.index, ringer);
	else
		dcm_channel_answer(&o->channel,
				   (struct dcm_call){ .index = ringer, .generation = 1 },
				   DCM_CALL_ASYNC, NULL);
}

static void ringer(void *arg)
{
	unsigned self = (unsigned)((unsigned *)arg - ringers);

	for (uint32_t round = 1; round <= ROUNDS; round++)
		for (unsigned i = 0; i < OWNERS; i++) {
			dcm_store(&owners[i].states[self], round, seq);
			tell(&owners[i], self);
			owners[i].told[self] = round;
		}
}

static void start_owner(struct owner *o, unsigned number)
{
	uint32_t index;

	o->process = sim_world_process("owner", SIM_KILLABLE | SIM_STOPPABLE | SIM_SERVANT);
	o->look = see_states;
	index = sim_world_ref(o->process).index;
	sim_direct(true);
	dcm_listener_open(&sim_world, index, &o->listener);
	sim_direct(false);
	memset(&headers[number], 0, offsetof(struct dcm_channel_header, done));
	o->channel = (struct dcm_channel){ .shared = &headers[number],
					   .seg = &sim_world,
					   .client = index };
	if (way == BY_ANSWER)
		o->bell = &headers[number].bell;
	else
		o->bell = &dcm_listener_at(&sim_world, o->listener.index)->bell;
	sim_thread(o->process, "owner", keeper, o);
	sim_thread(o->process, "other", other_thread, o);
}

static void start_ringers(void (*body)(void *))
{
	static const char *const names[RINGERS] = { "ringer 0", "ringer 1", "ringer 2" };

	for (unsigned i = 0; i < RINGERS; i++) {
		ringers[i] = sim_world_process("ringer", SIM_KILLABLE | SIM_STOPPABLE);
		sim_thread(ringers[i], names[i], body, &ringers[i]);
	}
}

static void start_bare(void)
{
	way = sim_random(WAYS);
	for (unsigned i = 0; i < OWNERS; i++)
		start_owner(&owners[i], i);
	start_ringers(ringer);
}

static void check_bare(void)
{
	for (unsigned i = 0; i < OWNERS; i++)
		for (unsigned r = 0; r < RINGERS; r++)
			SIM_CHECK(sim_killed(owners[i].process) || sim_stopped(owners[i].process) ||
					  owners[i].seen[r] >= owners[i].told[r],
				  "owner %u sleeps, was told of %u by ringer %u, and has seen %u",
				  i, owners[i].told[r], r, owners[i].seen[r]);
}

/* Hands. */

static bool see_posted(struct owner *o)
{
	uint32_t cursor = 0, index;

	while (dcm_listener_next(&sim_world, o->listener, &cursor, &index))
		;
	for (unsigned i = 0; i < RINGERS; i++)
		o->seen[i] = dcm_load(&posted[i], seq);
	return sim_random(3) != 0;
}

static bool is_vacant(void *arg)
{
	(void)arg;
	return dcm_word_state(dcm_load(&dcm_listener_at(&sim_world, 0)->word, seq)) == DCM_FREE;
}

static void tenant(void *arg)
{
	struct owner *o = arg;
	uint32_t self = index_of(o);

	for (unsigned lives = TENANCIES; lives > 0; lives--) {
		sim_wait(is_vacant, NULL);
		if (!dcm_listener_open(&sim_world, self, &o->listener))
			continue;
		o->bell = &dcm_listener_at(&sim_world, 0)->bell;
		o->holds = true;
		keeper(o);
		o->holds = false;
		dcm_bell_disarm(o->bell, o->token);
		dcm_listener_shut(&sim_world, o->listener, self, self);
		sim_changed();
	}
}

static uint32_t seen_before(const void *owner)
{
	return *(const uint32_t *)owner;
}

static void signal_slot(unsigned self)
{
	struct dcm_listener *listener = dcm_listener_at(&sim_world, 0);
	uint32_t before;

	if (!DCM__BROKEN(owner_behind_token)) {
		dcm_listener_signal(&sim_world, 0, self);
		return;
	}
	before = dcm_load(&listener->owner, relaxed);
	dcm_bell_ring(&sim_world, &listener->bell, seen_before, &before);
}

/* A ringer that has marked a bell is stopped there, more often than by chance. */
static void before_cas(const volatile void *word, uint64_t desired)
{
	if (mode == HANDS && word == &dcm_listener_at(&sim_world, 0)->bell && (desired & 1) != 0 &&
	    sim_running() && sim_random(3) == 0)
		sim_stop_within(sim_self(), 4, 400);
}

static void poster(void *arg)
{
	unsigned self = (unsigned)((unsigned *)arg - ringers);

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		dcm_store(&posted[self], round, seq);
		signal_slot(self);
		posted_told[self] = round;
	}
}

static void start_hands(void)
{
	for (unsigned i = 0; i < OWNERS; i++) {
		owners[i].process = sim_world_process("tenant", SIM_STOPPABLE | SIM_SERVANT);
		owners[i].look = see_posted;
		sim_thread(owners[i].process, i == 0 ? "tenant 0" : "tenant 1", tenant, &owners[i]);
	}
	start_ringers(poster);
}

static void check_hands(void)
{
	for (unsigned i = 0; i < OWNERS; i++)
		for (unsigned r = 0; r < RINGERS; r++)
			SIM_CHECK(!owners[i].holds || sim_stopped(owners[i].process) ||
					  owners[i].seen[r] >= posted_told[r],
				  "tenant %u sleeps, ringer %u has told of %u, and it has seen %u",
				  i, r, posted_told[r], owners[i].seen[r]);
}

/* Fabric, notice: a server, whose keeper does all that it does. */

static bool begin_publication(struct owner *s)
{
	const struct dcm_endpoint_key key = { .type = "t",
					      .name = "x",
					      .type_hash = HASH,
					      .name_hash = 7,
					      .sid = 100 + index_of(s) };

	if (s->left == 0 || !dcm_publication_begin(&sim_world, index_of(s), &key, &s->ref))
		return false;
	s->left--;
	s->bell = &dcm_endpoint_at(&sim_world, s->ref.index)->bell;
	s->token = arm(s);
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
			dcm_rendezvous_server_leaves(&sim_world, index_of(s), ref);
			s->listed[i] = 0;
		}
	}
}

static void decide(struct owner *s, struct dcm_ref ref)
{
	struct dcm_offer offer = { .server = index_of(s) };

	if (sim_random(3) != 0 && dcm_rendezvous_accept(&sim_world, index_of(s), ref, &offer)) {
		s->listed[ref.index] = ref.generation;
		/* Its client may have opened it and left since. */
		dcm_process_kick_for(&sim_world, index_of(s), DCM_KICK_SOURCES);
		return;
	}
	dcm_rendezvous_server_leaves(&sim_world, index_of(s), ref);
}

static bool serve(struct owner *s)
{
	struct dcm_request_view view;
	struct dcm_ref ref;

	tend(s);
	if (s->ref.generation == 0 && !begin_publication(s))
		return true;
	while (dcm_rendezvous_take(&sim_world, index_of(s), s->ref, &ref, &view))
		decide(s, ref);
	if (sim_random(6) == 0) {
		dcm_publication_end(&sim_world, index_of(s), s->ref);
		s->ref.generation = 0;
		s->bell = NULL;
		dcm_process_kick_for(&sim_world, index_of(s), DCM_KICK_SOURCES);
	}
	return true;
}

/* A client: asks without waiting, hears of the decision, stays until the server hangs up or dies. */

static bool ask(struct owner *c)
{
	struct dcm_request_key key = {
		.type = "t", .name = "x", .type_hash = HASH, .name_hash = 7, .client_sid = 1
	};

	if (c->left == 0 || !dcm_rendezvous_ask(&sim_world, index_of(c), &key, &c->ref))
		return false;
	c->left--;
	c->bell = &dcm_connection_at(&sim_world, c->ref.index)->bell;
	c->token = arm(c);
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
	       dcm_rendezvous_open(&sim_world, index_of(c), c->ref, offer.server, 1);
}

static bool wait_for_server(struct owner *c)
{
	while (c->ref.generation != 0 || ask(c)) {
		open_it(c);
		if (!is_over(c) && sim_random(8) != 0)
			return true;
		dcm_rendezvous_client_leaves(&sim_world, index_of(c), c->ref);
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
	sim_thread(o->process, name, keeper, o);
}

static void start_fabric(void)
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
	dcm_registry_subscribe(&sim_world, index_of(&subscriber), HASH, &subscriber.ref);
	sim_direct(false);
	subscriber.bell = &dcm_subscription_at(&sim_world, subscriber.ref.index)->bell;
	if (mode == FABRIC) {
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

static void setup(void)
{
	struct dcm_capacity one_slot = capacity;

	memset(owners, 0, sizeof owners);
	memset(clients, 0, sizeof clients);
	memset(&server, 0, sizeof server);
	memset(&subscriber, 0, sizeof subscriber);
	memset(noticed, 0, sizeof noticed);
	memset(posted, 0, sizeof posted);
	memset(posted_told, 0, sizeof posted_told);
	mode = sim_random(MODES);
	one_slot.listeners = mode == HANDS ? 1 : capacity.listeners;
	sim_world_make(&one_slot);
	if (mode == BARE)
		start_bare();
	else if (mode == HANDS)
		start_hands();
	else
		start_fabric();
}

static void stalled(void)
{
	if (mode == BARE)
		check_bare();
	if (mode == HANDS)
		check_hands();
}

static bool quiet(void)
{
	stalled();
	if (mode == BARE || mode == HANDS)
		return false;
	for (unsigned i = 0; i < CLIENTS; i++)
		check_client(&clients[i], i);
	check_subscriber();
	return false;
}

static void finish(void)
{
	if (subscriber.known != NULL)
		dcm_known_destroy(subscriber.known);
	subscriber.known = NULL;
}

const struct sim_scenario sim_bell = {
	.name = "bell",
	.horizon = 600,
	.kills_max = 3,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.stalled = stalled,
	.finish = finish,
	.before_cas = before_cas,
	.proved = sim_world_proved,
	.describe = sim_world_describe,
};
