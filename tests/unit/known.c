/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The notices of one subscription: a server that leaves and comes back is the same server, and what
 * changes while a long look at everything is read is told like all else.
 */
#include "api/known.h"

#include <stdio.h>
#include <string.h>

#include "tests/tap.h"
#include "tests/unit/lib_world.h"

static const struct dcm_capacity small = { .processes = 8,
					   .endpoints = 8,
					   .subscriptions = 2,
					   .connections = 2,
					   .listeners = 1,
					   .ring_shift = 4 };

enum { MANY = 700, READ_FIRST = 100 };

static const struct dcm_capacity large = { .processes = 8,
					   .endpoints = MANY + 8,
					   .subscriptions = 2,
					   .connections = 2,
					   .listeners = 1,
					   .ring_shift = 4 };

struct stage {
	struct world w;
	struct dcm_ref subscription;
	struct dcm_known *known;
};

static void set_up(struct stage *s, const struct dcm_capacity *capacity)
{
	uint64_t type_hash = world_endpoint("t.A", "x", 5).type_hash;
	uint32_t reader;

	world_make(&s->w, capacity);
	reader = world_process(&s->w, "reader");
	s->known = dcm_known_create(type_hash, "t.A", NULL, NULL, 0);
	if (s->known == NULL ||
	    !dcm_registry_subscribe(&s->w.seg, reader, type_hash, &s->subscription))
		bail("no subscription");
}

static struct dcm_ref publish(struct stage *s, uint32_t by, const char *name, uint64_t sid)
{
	struct dcm_endpoint_key key = world_endpoint("t.A", name, sid);
	struct dcm_ref out;

	if (!dcm_publication_begin(&s->w.seg, by, &key, &out))
		bail("no endpoint slot for %s", name);
	return out;
}

/* All that there is to read, as "+name -name". */
static const char *read_all(struct stage *s)
{
	static char text[256];
	struct dcm_notice *notice;
	size_t used = 0;

	text[0] = '\0';
	while (dcm_known_read(s->known, &s->w.seg, s->subscription, &notice) == 0) {
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%c%s",
					 used == 0 ? "" : " ", notice->published ? '+' : '-',
					 notice->name);
		dcm_notice_free(notice);
	}
	return text;
}

/* Its SID is the same after DcmFini and DcmInit; its process slot and the endpoint's are others. */
static void returns(void)
{
	struct stage s;
	struct dcm_ref x, y;
	uint32_t before, after, other;

	set_up(&s, &small);
	before = world_process(&s.w, "server");
	other = world_process(&s.w, "other");
	x = publish(&s, before, "x", 5);
	is_string("+x", read_all(&s), "its publication is told");
	/* A hint on the second slot, in front of that on the first. */
	y = publish(&s, before, "y", 5);
	dcm_publication_end(&s.w.seg, before, y);
	dcm_publication_end(&s.w.seg, before, x);
	after = world_process(&s.w, "server");
	publish(&s, other, "z", 6);
	is_uint(y.index, publish(&s, after, "x", 5).index, "back again, in the second slot");
	is_string("-x +x +z", read_all(&s), "the end of the first x is told before the second");
	dcm_known_destroy(s.known);
	world_free(&s.w);
}

/* Up to @most notices. Return: how many did not alternate with what was @told of the same before. */
static unsigned read_many(struct stage *s, unsigned most, bool told[MANY + 1])
{
	struct dcm_notice *notice;
	unsigned wrong = 0;

	while (most-- > 0 &&
	       dcm_known_read(s->known, &s->w.seg, s->subscription, &notice) == 0) {
		unsigned which = 0;

		wrong += sscanf(notice->name, "n%u", &which) != 1 || which > MANY ||
			 told[which] == notice->published;
		told[which] = notice->published;
		dcm_notice_free(notice);
	}
	return wrong;
}

static void changes_between_reads(void)
{
	/* Told by then, made and not read, and not looked at yet. */
	static const unsigned leave[] = { 10, 150, MANY - 1 };
	static bool told[MANY + 1];
	struct dcm_ref there[MANY];
	unsigned wrong = 0, known = 0;
	struct stage s;
	uint32_t server;
	char name[16];

	set_up(&s, &large);
	server = world_process(&s.w, "server");
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		there[i] = publish(&s, server, name, 5);
	}
	is_uint(0, read_many(&s, READ_FIRST, told), "some of very many are told");
	for (size_t i = 0; i < sizeof(leave) / sizeof(leave[0]); i++)
		dcm_publication_end(&s.w.seg, server, there[leave[i]]);
	snprintf(name, sizeof(name), "n%u", leave[1]);
	publish(&s, server, name, 5); /* again, in another slot */
	snprintf(name, sizeof(name), "n%d", MANY);
	publish(&s, server, name, 5);
	is_uint(0, read_many(&s, 10 * MANY, told), "and the rest, beginning before end");
	for (unsigned i = 0; i <= MANY; i++) {
		wrong += told[i] == (i == leave[0] || i == leave[2]);
		known += told[i];
	}
	is_uint(0, wrong, "what was told at the end is what is there");
	is_uint(MANY - 1, known, "all of it");
	dcm_known_destroy(s.known);
	world_free(&s.w);
}

int main(void)
{
	plan_lazy();
	returns();
	changes_between_reads();
	return 0;
}
