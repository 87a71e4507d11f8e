/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm_check() of a segment that many work in, and some die in: it never calls that damage. */
#include "shm/check.h"

#include "tests/tap.h"
#include "tests/unit/lib_actor.h"

enum { ACTORS = 4, STEPS = 200000, CHECKS_LEAST = 3 };

static const struct dcm_capacity capacity = { .processes = 8,
					      .endpoints = 40,
					      .subscriptions = 12,
					      .connections = 30,
					      .listeners = 4,
					      .ring_shift = 2 };

struct scene {
	struct world w;
	bool deaths;
	uint64_t steps;
	dcm_atomic32 working;
	dcm_atomic64 checks, damaged, opened, reaped;
};

static void tell(void *context, const struct dcm_finding *f)
{
	(void)context;
	if (f->kind == DCM_CHECK_DAMAGED)
		diag("%s %u: %s (state %u, owner %u)", dcm_check_table_name(f->table), f->slot,
		     f->text, dcm_word_state(f->word), dcm_word_owner(f->word));
}

static void watch(struct scene *s)
{
	struct dcm_check_options options = { .confirm = 8,
					     .pause_ns = 20 * 1000 * 1000,
					     .report = tell };
	struct dcm_check_result result;
	bool last;

	do {
		last = dcm_load(&s->working, seq) == 0;
		dcm_check(&s->w.seg, &options, &result);
		dcm_add(&s->damaged, result.damaged);
		dcm_add(&s->checks, 1ull);
	} while (!last);
}

static void act(struct scene *s, unsigned number)
{
	struct actor a, next;

	actor_begin(&a, &s->w, number);
	/* At least for as long as a few checks take. */
	for (uint64_t i = 0; i < s->steps || dcm_load(&s->checks, seq) < CHECKS_LEAST; i++) {
		actor_step(&a);
		if (!s->deaths || i % 500 != 499)
			continue;
		actor_die(&a);
		actor_begin(&next, &s->w, number + 100 * i);
		world_reap(&s->w, a.self, next.self);
		dcm_add(&s->opened, a.opened);
		dcm_add(&s->reaped, 1ull);
		a = next;
	}
	dcm_add(&s->opened, a.opened);
	actor_end(&a);
	dcm_add(&s->working, UINT32_MAX); /* less one */
}

static void run(void *context, unsigned number)
{
	if (number == ACTORS)
		watch(context);
	else
		act(context, number);
}

static void test(bool deaths)
{
	struct scene s = { .deaths = deaths, .steps = tap_scaled(STEPS) };

	world_make(&s.w, &capacity);
	dcm_store(&s.working, ACTORS, relaxed);
	world_threads(ACTORS + 1, run, &s);
	is_uint(0, dcm_load(&s.damaged, seq), "no damage is seen while they work%s",
		deaths ? " and die" : "");
	world_clean(&s.w, "when they are done");
	note("%llu checks, %llu connections opened, %llu deaths",
	     (unsigned long long)dcm_load(&s.checks, seq),
	     (unsigned long long)dcm_load(&s.opened, seq),
	     (unsigned long long)dcm_load(&s.reaped, seq));
	ok(dcm_load(&s.opened, seq) != 0, "connections were opened");
	world_free(&s.w);
}

int main(void)
{
	plan_lazy();
	tap_seed();
	test(false);
	test(true);
	return 0;
}
