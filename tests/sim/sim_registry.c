/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scenario registry: publishers that publish and unpublish two names each, are killed, and
 * followed by others in the same process slot; subscribers that sleep, read, unsubscribe and
 * subscribe again, and are killed; three reapers, two of which are killed as well. Tables are
 * tiny, rings have two cells, two interfaces share the bucket.
 *
 * For each subscription and each use of an endpoint slot: PUBLISHED at most once, then withdrawn
 * at most once; a server's name never announced twice at a time; when all is quiet, what is
 * announced is what is live, and every slot and bit of the dead is back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/known.h"
#include "shm/hash.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_reaper.h"
#include "tests/sim/sim_world.h"

enum { SUBSCRIBERS = 2, PUBLISHERS = 3, ROUNDS = 3, ENDPOINTS = 3, USES = 64, LIVES = 3 };
enum { HASH = 1, OTHER_HASH = 1 + DCM_BUCKETS };

static const struct dcm_capacity capacity = {
	.processes = 12,
	.endpoints = ENDPOINTS,
	.subscriptions = SUBSCRIBERS + 1,
	.connections = 1,
	.listeners = 1,
	.ring_shift = 1,
};

struct subscriber {
	unsigned process;
	dcm_atomic32 poke;
	struct dcm_known *known;
	struct dcm_ref ref;
	const char *filter; /* name, or null */
	bool active;	    /* between subscribing and unsubscribing */
	/* What it was told, for each use of each endpoint slot. */
	uint8_t published[ENDPOINTS][USES], withdrawn[ENDPOINTS][USES];
};

static struct subscriber subscribers[SUBSCRIBERS];
static unsigned numbers[SIM_PROCESSES];
static dcm_atomic32 stopping;
static unsigned successors;

/* What was published, as far as the publisher lived to say so. */
static struct {
	const char *name;
	unsigned process;
} truth[ENDPOINTS][USES];

static bool announced(const struct subscriber *s, unsigned i, unsigned use)
{
	return s->published[i][use] != s->withdrawn[i][use];
}

static unsigned publish(unsigned self, const char *name, uint64_t hash, struct dcm_ref *out)
{
	struct dcm_endpoint_key key = { .type = hash == HASH ? "t" : "u",
					.name = name,
					.type_hash = hash,
					.name_hash = dcm_hash(name),
					.sid = 100 + self };

	if (!dcm_publication_begin(&sim_world, sim_world_ref(self).index, &key, out))
		return 0;
	SIM_CHECK(out->generation < USES, "scenario: more uses of a slot than expected");
	truth[out->index][out->generation].name = name;
	truth[out->index][out->generation].process = self;
	sim_note("has published %s: endpoint[%u] generation %llu", name, out->index,
		 (unsigned long long)out->generation);
	return 1;
}

static void publisher(void *arg)
{
	unsigned self = *(unsigned *)arg;
	uint32_t by = sim_world_ref(self).index;

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct dcm_ref x = { 0 }, y = { 0 };
		unsigned has_x = 0, has_y = 0;

		has_x = publish(self, "x", sim_random(4) == 0 ? OTHER_HASH : HASH, &x);
		if (sim_random(2) == 0)
			has_y = publish(self, "y", HASH, &y);
		if (has_x && (round + 1 < ROUNDS || sim_random(2) == 0))
			dcm_publication_end(&sim_world, by, x);
		if (has_y && (round + 1 < ROUNDS || sim_random(2) == 0))
			dcm_publication_end(&sim_world, by, y);
	}
}

static void start_publisher(void)
{
	unsigned p = sim_world_process("publisher", SIM_KILLABLE | SIM_STOPPABLE);

	numbers[p] = p;
	sim_thread(p, "publisher", publisher, &numbers[p]);
}

/* By a reaper: somebody new comes to where the dead was. */
static void replace(void)
{
	if (successors == 3 || sim_process_count() == SIM_PROCESSES || sim_random(2) == 0)
		return;
	successors++;
	start_publisher();
	if (sim_random(2) == 0)
		sim_kill_within(sim_process_count() - 1, 300);
}

static void check_notice(struct subscriber *s, const struct dcm_notice *n)
{
	uint32_t i = n->endpoint.index, use = (uint32_t)n->endpoint.generation;

	sim_note("READS %s of %s, endpoint[%u] generation %u",
		 n->published ? "PUBLISHED" : "WITHDRAWN", n->name, i, use);
	SIM_CHECK(i < ENDPOINTS && use < USES, "a notice of endpoint[%u]", i);
	if (!n->published) {
		SIM_CHECK(announced(s, i, use),
			  "endpoint[%u] generation %u withdrawn, not announced", i, use);
		s->withdrawn[i][use]++;
		return;
	}
	SIM_CHECK(s->published[i][use]++ == 0, "endpoint[%u] generation %u published twice", i,
		  use);
	SIM_CHECK(s->filter == NULL || strcmp(s->filter, n->name) == 0, "filter %s, got %s",
		  s->filter, n->name);
	for (unsigned k = 0; k < ENDPOINTS; k++)
		for (unsigned u = 0; u < USES; u++)
			SIM_CHECK(!announced(s, k, u) || (k == i && u == use) ||
					  truth[k][u].name == NULL || truth[i][use].name == NULL ||
					  truth[k][u].process != truth[i][use].process ||
					  truth[k][u].name != truth[i][use].name,
				  "endpoint[%u] generation %u announced before the end of "
				  "endpoint[%u] generation %u",
				  i, use, k, u);
}

/* Read until nothing is there, as DcmReadPubQueue does; then sleep. False: told to leave. */
static bool read_and_sleep(struct subscriber *s)
{
	uint64_t name_hash = s->filter != NULL ? dcm_hash(s->filter) : 0;
	dcm_atomic32 *ec = dcm_registry_ec(&sim_world, HASH, name_hash);
	struct dcm_park_guard guard = { .poke.word = &s->poke };
	struct dcm_notice *notice;
	uint32_t key;
	int result;

	guard.poke.expected = dcm_load(&s->poke, acquire);
	if (dcm_load(&stopping, acquire) != 0)
		return false;
	key = dcm_park_prepare(ec);
	result = dcm_known_read(s->known, &sim_world, s->ref, &notice);
	if (result == 0) {
		check_notice(s, notice);
		dcm_notice_free(notice);
		return sim_random(16) != 0;
	}
	SIM_CHECK(result == -EAGAIN, "dcm_known_read: %d", result);
	dcm_park_sleep(ec, key, &guard, DCM_FOREVER);
	return true;
}

static void subscriber(void *arg)
{
	struct subscriber *s = arg;
	uint32_t self = sim_world_ref(s->process).index;
	uint64_t hash = HASH;

	for (unsigned life = 0; life < LIVES && dcm_load(&stopping, acquire) == 0; life++) {
		struct dcm_interest interest = { .type_hashes = &hash, .count = 1 };

		s->filter = sim_random(3) == 0 ? "x" : NULL;
		interest.name_hash = s->filter != NULL ? dcm_hash(s->filter) : 0;
		memset(s->published, 0, sizeof s->published);
		memset(s->withdrawn, 0, sizeof s->withdrawn);
		s->known = dcm_known_create(HASH, "t", s->filter, NULL, 0);
		SIM_CHECK(dcm_registry_subscribe_to(&sim_world, self, &interest, &s->ref),
			  "no subscription");
		s->active = true;
		while (read_and_sleep(s) ||
		       (life + 1 == LIVES && dcm_load(&stopping, acquire) == 0))
			;
		s->active = false;
		SIM_CHECK(dcm_registry_unsubscribe(&sim_world, s->ref, self, self),
			  "somebody else unsubscribed");
		dcm_known_destroy(s->known);
		s->known = NULL;
	}
}

static void setup(void)
{
	memset(subscribers, 0, sizeof subscribers);
	memset(truth, 0, sizeof truth);
	memset(&stopping, 0, sizeof stopping);
	successors = 0;
	sim_world_make(&capacity);
	for (unsigned i = 0; i < PUBLISHERS; i++)
		start_publisher();
	for (unsigned i = 0; i < SUBSCRIBERS; i++) {
		unsigned p =
			sim_world_process("subscriber", SIM_STOPPABLE | (i ? SIM_KILLABLE : 0));

		subscribers[i].process = p;
		sim_thread(p, i ? "subscr 1" : "subscr 0", subscriber, &subscribers[i]);
	}
	sim_reapers_start(3, replace);
}

static bool live_now(const struct subscriber *s, unsigned i, unsigned use)
{
	struct dcm_endpoint *e = dcm_endpoint_at(&sim_world, i);

	return dcm_registry_is_live(&sim_world, (struct dcm_ref){ i, use }) &&
	       dcm_load(&e->type_hash, seq) == HASH &&
	       (s->filter == NULL || dcm_hash(s->filter) == dcm_load(&e->name_hash, seq));
}

static void count_known(const struct dcm_notice *notice, void *arg)
{
	(void)notice;
	++*(unsigned *)arg;
}

static void check_announced(const struct subscriber *s, unsigned number)
{
	unsigned known = 0, told = 0;

	for (unsigned i = 0; i < ENDPOINTS; i++)
		for (unsigned use = 1; use < USES; use++) {
			SIM_CHECK(announced(s, i, use) == live_now(s, i, use),
				  "subscriber %u: endpoint[%u] generation %u is %s, and it was %s",
				  number, i, use, live_now(s, i, use) ? "live" : "not live",
				  announced(s, i, use) ? "told so" : "told otherwise");
			told += announced(s, i, use);
		}
	dcm_known_each(s->known, count_known, &known);
	SIM_CHECK(known == told, "subscriber %u holds %u, was told of %u", number, known, told);
}

static bool quiet(void)
{
	sim_world_check_quiet();
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		if (subscribers[i].active && !sim_killed(subscribers[i].process))
			check_announced(&subscribers[i], i);
	if (dcm_load(&stopping, seq) != 0)
		return false;
	dcm_store(&stopping, 1u, seq);
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		dcm_park_poke(&subscribers[i].poke);
	return true;
}

static void finish(void)
{
	for (unsigned i = 0; i < SUBSCRIBERS; i++)
		if (subscribers[i].known != NULL)
			dcm_known_destroy(subscribers[i].known);
}

const struct sim_scenario sim_registry = {
	.name = "registry",
	.horizon = 1200,
	.kills_max = 4,
	.stops_max = 2,
	.spurious_max = 2,
	.setup = setup,
	.quiet = quiet,
	.finish = finish,
	.proved = sim_world_proved,
	.describe = sim_world_describe,
};
