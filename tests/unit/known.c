/* SPDX-License-Identifier: BSD-2-Clause */
/* The notices of one subscription: a server that leaves and comes back is the same server. */
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

struct stage {
	struct world w;
	struct dcm_ref subscription;
	struct dcm_known *known;
};

static void set_up(struct stage *s)
{
	uint64_t type_hash = world_endpoint("t.A", "x", 5).type_hash;
	uint32_t reader;

	world_make(&s->w, &small);
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

	set_up(&s);
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

int main(void)
{
	plan_lazy();
	returns();
	return 0;
}
