/* SPDX-License-Identifier: BSD-2-Clause */
#define _DEFAULT_SOURCE
#include "tests/unit/lib_teller.h"

#include <dcm/dcm_api.h>
#include <unistd.h>

static dcm_atomic32 looks_closed;

static void note(struct teller *t)
{
	dcm_add(&t->looks, 1u);
	if (dcm_load(&t->closed, relaxed) != 0)
		dcm_add(&looks_closed, 1u);
}

static uint32_t look(struct dcm_object *object, uint64_t *stamp)
{
	struct teller *t = (struct teller *)object;
	uint64_t state = dcm_load(&t->state, seq);

	note(t);
	/* Now and then somebody changes it just behind the look. */
	if (dcm_load(&t->looks, relaxed) % 16 == 0)
		usleep(50);
	*stamp = state >> 32;
	return (uint32_t)state;
}

static dcm_atomic32 *bell(struct dcm_object *object)
{
	struct teller *t = (struct teller *)object;

	if (dcm_load(&t->closed, relaxed) != 0)
		dcm_add(&looks_closed, 1u);
	return &t->bell;
}

static const struct dcm_source_type events = {
	.events = TELLER_STATE | TELLER_OTHER | DCM_BLOCKING_CALL_INTERRUPTED,
	.readable = TELLER_STATE,
	.look = look,
	.bell = bell,
};

static struct dcm_source *source_of(struct dcm_object *object)
{
	return &((struct teller *)object)->source;
}

static void close_teller(struct dcm_object *object)
{
	dcm_source_close(source_of(object));
	dcm_store(&((struct teller *)object)->closed, 1u, relaxed);
}

static const struct dcm_object_type type = {
	.kind = DCM_KIND_SUBSCRIPTION,
	.space = DCM_SPACE_DCM,
	.close = close_teller,
	.source = source_of,
};

struct teller *teller_new(void)
{
	struct teller *t = (struct teller *)dcm_object_new(&type, sizeof(*t));

	if (t == NULL)
		return NULL;
	dcm_source_init(&t->source, &events, &t->object);
	if (dcm_handle_insert(&t->object) != 0)
		return NULL;
	return t;
}

void teller_change(struct teller *t, uint32_t now)
{
	uint64_t state = dcm_load(&t->state, seq);

	while (!dcm_cas(&t->state, &state, ((state >> 32) + 1) << 32 | now))
		;
}

bool teller_ring(struct teller *t, void (*kick)(void))
{
	uint32_t token = dcm_load(&t->bell, seq), rung = token | 1;

	if (token == 0)
		return false;
	if (token != rung)
		dcm_cas(&t->bell, &token, rung);
	if (kick != NULL)
		kick();
	dcm_cas(&t->bell, &rung, 0u);
	return true;
}

unsigned teller_looks_closed(void)
{
	return dcm_load(&looks_closed, relaxed);
}
