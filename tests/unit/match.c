/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which servers have a group: against a model, with random notices. What is told of one server
 * alternates, names one endpoint of each interface that is (or was) there, and is complete once all
 * is read.
 */
#include <stdlib.h>
#include <string.h>

#include "api/match.h"
#include "tests/tap.h"

enum { INTERFACES_MOST = 4, SERVERS = 5, ENDPOINTS = 24 };

/* What was put in. */
struct endpoint {
	bool published;
	uint64_t generation;
	unsigned server, which;
	uint64_t since; /* order of coming */
};

/* What was read of one server. */
struct told {
	bool published;
	struct dcm_ref group[INTERFACES_MOST];
};

static struct endpoint endpoints[ENDPOINTS];
static struct told told[SERVERS];
static uint64_t random_state, clock_ticks;
static size_t interfaces;

static uint64_t random_below(uint64_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

static struct dcm_notice *notice_of(uint32_t index)
{
	const struct endpoint *e = &endpoints[index];
	struct dcm_notice *notice = calloc(1, sizeof(*notice));

	notice->published = e->published;
	notice->endpoint = (struct dcm_ref){ index, e->generation };
	notice->sid = 100 + e->server;
	return notice;
}

static void change(struct dcm_match *match, uint32_t index)
{
	struct endpoint *e = &endpoints[index];

	e->published = !e->published;
	if (e->published) {
		e->generation++;
		e->server = (unsigned)random_below(SERVERS);
		e->which = (unsigned)random_below(interfaces);
		e->since = ++clock_ticks;
	}
	if (!dcm_match_put(match, e->which, notice_of(index)))
		die("no memory");
}

/* The one of @which that the server has had for longest; ENDPOINTS: none. */
static uint32_t eldest(unsigned server, unsigned which)
{
	uint32_t best = ENDPOINTS;

	for (uint32_t i = 0; i < ENDPOINTS; i++)
		if (endpoints[i].published && endpoints[i].server == server &&
		    endpoints[i].which == which &&
		    (best == ENDPOINTS || endpoints[i].since < endpoints[best].since))
			best = i;
	return best;
}

static bool is_live(struct dcm_ref ref)
{
	return endpoints[ref.index].published && endpoints[ref.index].generation == ref.generation;
}

static unsigned check_published(struct told *t, unsigned server,
				const struct dcm_notice *const *group)
{
	unsigned wrong = t->published;

	for (unsigned i = 0; i < interfaces; i++) {
		uint32_t at = group[i]->endpoint.index;

		wrong += at != eldest(server, i) || !is_live(group[i]->endpoint) ||
			 group[i]->sid != 100 + server;
		t->group[i] = group[i]->endpoint;
	}
	t->published = true;
	return wrong;
}

static unsigned check_withdrawn(struct told *t, const struct dcm_notice *const *group)
{
	unsigned wrong = !t->published, gone = 0;

	for (unsigned i = 0; i < interfaces; i++) {
		wrong += group[i]->endpoint.index != t->group[i].index ||
			 group[i]->endpoint.generation != t->group[i].generation;
		gone += !is_live(group[i]->endpoint);
	}
	t->published = false;
	return wrong + (gone == 0);
}

/* One notice, or none. */
static bool read_one(struct dcm_match *match, unsigned *wrong)
{
	bool published;
	const struct dcm_notice *const *group = dcm_match_next(match, &published);
	unsigned server;

	if (group == NULL)
		return false;
	server = (unsigned)(group[0]->sid - 100);
	*wrong += published ? check_published(&told[server], server, group)
			    : check_withdrawn(&told[server], group);
	if (random_below(3) != 0)
		dcm_match_told(match);
	else if (published) /* it could not be handed out: the next one is the same */
		told[server].published = false;
	else
		told[server].published = true;
	return true;
}

/* What was told is what there is. */
static unsigned settled(void)
{
	unsigned wrong = 0;

	for (unsigned s = 0; s < SERVERS; s++) {
		bool complete = true;

		for (unsigned i = 0; i < interfaces; i++) {
			complete = complete && eldest(s, i) != ENDPOINTS;
			wrong += told[s].published && !is_live(told[s].group[i]);
		}
		wrong += told[s].published != complete;
	}
	return wrong;
}

static unsigned run(uint64_t steps)
{
	struct dcm_match *match = dcm_match_create(interfaces);
	unsigned wrong = 0;

	memset(endpoints, 0, sizeof(endpoints));
	memset(told, 0, sizeof(told));
	for (uint64_t i = 0; i < steps; i++) {
		change(match, (uint32_t)random_below(ENDPOINTS));
		for (uint64_t reads = random_below(3); reads > 0; reads--)
			read_one(match, &wrong);
		if (random_below(16) != 0)
			continue;
		while (read_one(match, &wrong))
			;
		wrong += settled();
	}
	/* Also with notices unread. */
	dcm_match_destroy(match);
	return wrong;
}

static void put(struct dcm_match *match, unsigned which, uint32_t index, bool published)
{
	struct dcm_notice *notice = calloc(1, sizeof(*notice));

	notice->published = published;
	notice->endpoint = (struct dcm_ref){ index, 1 };
	notice->sid = 7;
	dcm_match_put(match, which, notice);
}

static void test_by_hand(void)
{
	struct dcm_match *match = dcm_match_create(2);
	const struct dcm_notice *const *group;
	bool published;

	put(match, 0, 1, true);
	ok(dcm_match_next(match, &published) == NULL, "one of two interfaces");
	put(match, 1, 2, true);
	group = dcm_match_next(match, &published);
	ok(group != NULL && published && group[0]->endpoint.index == 1 &&
		   group[1]->endpoint.index == 2,
	   "both: PUBLISHED, in the order of the interfaces");
	put(match, 1, 2, false);
	ok(dcm_match_next(match, &published) == NULL, "gone again before it was told: nothing");
	put(match, 1, 3, true);
	put(match, 1, 4, true);
	group = dcm_match_next(match, &published);
	ok(published && group[1]->endpoint.index == 3, "of two of an interface, the first");
	dcm_match_told(match);
	ok(dcm_match_next(match, &published) == NULL, "told once");
	put(match, 1, 4, false);
	ok(dcm_match_next(match, &published) == NULL, "the other of an interface is no matter");
	put(match, 1, 5, true);
	put(match, 1, 3, false);
	group = dcm_match_next(match, &published);
	ok(!published && group[1]->endpoint.index == 3, "the first goes: UNPUBLISHED, as told");
	dcm_match_told(match);
	group = dcm_match_next(match, &published);
	ok(published && group[1]->endpoint.index == 5, "and PUBLISHED with the next");
	dcm_match_told(match);
	put(match, 0, 99, false);
	put(match, 0, 1, false);
	put(match, 1, 5, false);
	dcm_match_next(match, &published);
	ok(!published, "both go: UNPUBLISHED");
	dcm_match_told(match);
	ok(dcm_match_next(match, &published) == NULL, "once");
	dcm_match_destroy(match);
}

int main(void)
{
	uint64_t rounds;

	plan_lazy();
	random_state = tap_seed() | 1;
	test_by_hand();
	rounds = tap_scaled(200);
	for (interfaces = 1; interfaces <= INTERFACES_MOST; interfaces++) {
		unsigned wrong = 0;

		for (uint64_t i = 0; i < rounds; i++)
			wrong += run(1000);
		is_uint(0, wrong, "groups of %zu interfaces, %llu times 1000 notices", interfaces,
			(unsigned long long)rounds);
	}
	return 0;
}
