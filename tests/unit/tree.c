/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree of handles against a model of it: random copies, transfers, closes and revocations, by one
 * thread with every step compared, then by several with the sums compared. Prints its seed.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/tree.h"
#include "tests/tap.h"

enum { NODES = 40, TALLIES = 4, DEPTH = NODES, STEPS = 60000, THREADS = 4 };

/* An object with a node, as handles have it. */
struct handle {
	struct dcm_object object;
	struct dcm_node node;
	unsigned revoked;
};

struct badge {
	struct dcm_object object;
	struct dcm_tally tally;
	unsigned told;
};

static uint64_t seed;
static uint64_t random_of(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

static unsigned revoked_calls; /* atomic: of handles that were released since */

static void count_calls(struct dcm_object *object)
{
	__atomic_fetch_add(&revoked_calls, ((struct handle *)object)->revoked, __ATOMIC_RELAXED);
}

static const struct dcm_object_type handle_type = { .kind = DCM_KIND_USER,
						    .space = DCM_SPACE_HANDLE,
						    .release = count_calls };
static const struct dcm_object_type badge_type = { .kind = DCM_KIND_BADGE,
						   .space = DCM_SPACE_HANDLE };

static void revoke(struct dcm_object *object)
{
	__atomic_fetch_add(&((struct handle *)object)->revoked, 1, __ATOMIC_RELAXED);
}

static void none_left(struct dcm_object *object)
{
	__atomic_fetch_add(&((struct badge *)object)->told, 1, __ATOMIC_RELAXED);
}

static struct handle *handle_new(void)
{
	struct handle *handle = (struct handle *)dcm_object_new(&handle_type, sizeof *handle);

	if (handle == NULL)
		bail("no memory");
	handle->node.object = &handle->object;
	handle->node.revoke = revoke;
	return handle;
}

static struct badge *badge_new(void)
{
	struct badge *badge = (struct badge *)dcm_object_new(&badge_type, sizeof *badge);

	if (badge == NULL)
		bail("no memory");
	badge->tally.object = &badge->object;
	badge->tally.none_left = none_left;
	return badge;
}

/* The model: what each handle descends from, and the grants it lies in, the outer first. */
static struct {
	struct handle *handle; /* null: none here */
	bool in;
	int parent; /* -1: a root */
	unsigned grants[DEPTH], depth;
} model[NODES];
static struct badge *badges[TALLIES];
static unsigned told[TALLIES];
static unsigned badge_of[STEPS], grants; /* of each grant */

static bool lies_in(unsigned i, unsigned badge)
{
	for (unsigned g = 0; g < model[i].depth; g++)
		if (badge_of[model[i].grants[g]] == badge)
			return true;
	return false;
}

static bool has_nodes(unsigned badge)
{
	for (unsigned i = 0; i < NODES; i++)
		if (model[i].in && lies_in(i, badge))
			return true;
	return false;
}

static bool is_below(unsigned i, int top)
{
	int at = model[i].parent;

	while (at >= 0 && at != top)
		at = model[at].parent;
	return at == top;
}

static void forget(unsigned i)
{
	dcm_object_drop(&model[i].handle->object);
	model[i].handle = NULL;
}

static bool enter(unsigned i, int parent, int badge)
{
	struct handle *handle = handle_new();
	int r = dcm_tree_enter(&handle->node, parent >= 0 ? &model[parent].handle->node : NULL,
			       badge >= 0 ? &badges[badge]->tally : NULL);

	if (parent >= 0 && !model[parent].in) {
		dcm_object_drop(&handle->object);
		return r != 0;
	}
	model[i].handle = handle;
	model[i].in = true;
	model[i].parent = parent;
	model[i].depth = 0;
	if (parent >= 0) {
		model[i].depth = model[parent].depth;
		memcpy(model[i].grants, model[parent].grants, sizeof model[i].grants);
	}
	if (badge >= 0) {
		badge_of[grants] = (unsigned)badge;
		model[i].grants[model[i].depth++] = grants++;
		dcm_tree_confirm(&handle->node, &badges[badge]->tally);
	}
	return r == 0;
}

static bool leave(unsigned i)
{
	bool was_in = model[i].in;

	if (dcm_tree_leave(&model[i].handle->node) != was_in)
		return false;
	for (unsigned c = 0; was_in && c < NODES; c++)
		if (model[c].in && model[c].parent == (int)i)
			model[c].parent = model[i].parent;
	model[i].in = false;
	forget(i);
	return true;
}

static bool revoke_below(unsigned top, int badge, bool itself)
{
	bool meant[NODES], was_in = model[top].in, good = true;

	for (unsigned i = 0; i < NODES; i++)
		meant[i] = was_in && model[i].in &&
			   (is_below(i, (int)top) || (itself && i == top)) &&
			   (badge < 0 || lies_in(i, (unsigned)badge));
	if (dcm_tree_revoke(&model[top].handle->node, badge >= 0 ? &badges[badge]->tally : NULL,
			    itself) != was_in)
		return false;
	for (unsigned i = 0; i < NODES; i++)
		if (model[i].handle != NULL) {
			model[i].in = model[i].in && !meant[i];
			good = good && model[i].handle->revoked == (meant[i] ? 1u : 0u);
			model[i].handle->revoked = 0;
		}
	return good;
}

static bool as_the_model(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		const struct handle *handle = model[i].handle;

		if (handle == NULL)
			continue;
		if (handle->node.in != model[i].in)
			return false;
		if (model[i].in &&
		    handle->node.parent !=
			    (model[i].parent >= 0 ? &model[model[i].parent].handle->node : NULL))
			return false;
	}
	for (unsigned b = 0; b < TALLIES; b++)
		if (badges[b]->told != told[b] || (badges[b]->tally.grants != 0) != has_nodes(b))
			return false;
	return true;
}

/* One random operation. */
static bool step(void)
{
	unsigned i = (unsigned)random_of(&seed, NODES);
	int badge = (int)random_of(&seed, TALLIES * 8) - TALLIES * 7; /* mostly none */
	bool had[TALLIES], good;
	uint64_t what = random_of(&seed, 100);

	for (unsigned b = 0; b < TALLIES; b++)
		had[b] = has_nodes(b);
	if (model[i].handle == NULL) {
		unsigned parent = (unsigned)random_of(&seed, NODES);

		good = enter(i, model[parent].handle != NULL && what < 85 ? (int)parent : -1,
			     badge);
	} else if (what < 70 || !model[i].in) {
		good = leave(i);
	} else {
		/* The whole tree seldom, or there would never be much of it. */
		good = revoke_below(i, what < 95 ? abs(badge) % TALLIES : -1, what % 2 == 0);
	}
	for (unsigned b = 0; b < TALLIES; b++)
		told[b] += had[b] && !has_nodes(b);
	return good && as_the_model();
}

static void test_against_the_model(void)
{
	unsigned steps = STEPS, done = 0, made = 0;

	for (unsigned b = 0; b < TALLIES; b++)
		badges[b] = badge_new();
	while (done < steps && step())
		done++;
	is_uint(steps, done, "random steps, each as in the model");
	for (unsigned i = 0; i < NODES; i++)
		if (model[i].handle != NULL)
			leave(i);
	for (unsigned b = 0; b < TALLIES; b++) {
		made += told[b];
		is_uint(0, badges[b]->tally.grants, "badge %u: no grant is left", b);
		is_uint(1, badges[b]->object.count, "badge %u: nothing holds it", b);
		dcm_object_drop(&badges[b]->object);
	}
	ok(made > steps / 500, "badges heard %u times that none was left", made);
}

/* One that was never given is nobody's loss. */
static void test_unconfirmed(void)
{
	struct handle *top = handle_new(), *given = handle_new();
	struct badge *badge = badge_new();

	dcm_tree_enter(&top->node, NULL, NULL);
	is_int(0, dcm_tree_enter(&given->node, &top->node, &badge->tally), "in, under a badge");
	ok(dcm_tree_leave(&given->node), "and out again before it was given");
	is_uint(0, badge->told, "which the badge does not hear of");
	dcm_tree_enter(&given->node, &top->node, &badge->tally);
	dcm_tree_revoke(&top->node, NULL, false);
	is_uint(0, badge->told, "nor when it is revoked");
	dcm_tree_confirm(&given->node, &badge->tally);
	is_uint(1, badge->told, "until it turns out that it had been given");
	is_uint(1, badge->object.count, "no grant is left");
	ok(dcm_tree_enter(&given->node, &given->node, NULL) != 0, "nothing descends from who left");
	dcm_tree_leave(&top->node);
	dcm_object_drop(&top->object);
	dcm_object_drop(&given->object);
	dcm_object_drop(&badge->object);
}

/* Several threads: what one of them revokes is another's parent, or its grant. */
enum { SHARED = 16, ROUNDS = 20000 };
static struct handle *shared[SHARED];
static struct badge *common;
static pthread_mutex_t slot_lock[SHARED];
static unsigned entered, closed, revoked; /* atomic */

static void let_go(struct handle *handle)
{
	__atomic_fetch_add(dcm_tree_leave(&handle->node) ? &closed : &revoked, 1, __ATOMIC_RELAXED);
	dcm_object_drop(&handle->object);
}

static struct handle *hold(unsigned i)
{
	struct handle *handle;

	pthread_mutex_lock(&slot_lock[i]);
	handle = shared[i];
	if (handle != NULL)
		dcm_object_hold(&handle->object);
	pthread_mutex_unlock(&slot_lock[i]);
	return handle;
}

static void put(unsigned i, struct handle *handle)
{
	struct handle *old;

	pthread_mutex_lock(&slot_lock[i]);
	old = shared[i];
	shared[i] = handle;
	pthread_mutex_unlock(&slot_lock[i]);
	if (old != NULL)
		let_go(old);
}

static void copy_into(unsigned i, struct handle *parent, bool badged)
{
	struct handle *handle = handle_new();

	if (dcm_tree_enter(&handle->node, parent != NULL ? &parent->node : NULL,
			   badged ? &common->tally : NULL) != 0) {
		dcm_object_drop(&handle->object);
		return;
	}
	if (badged)
		dcm_tree_confirm(&handle->node, &common->tally);
	__atomic_fetch_add(&entered, 1, __ATOMIC_RELAXED);
	put(i, handle);
}

static void *work(void *arg)
{
	uint64_t state = *(uint64_t *)arg;

	for (unsigned n = (unsigned)tap_scaled(ROUNDS); n > 0; n--) {
		struct handle *other = hold((unsigned)random_of(&state, SHARED));
		unsigned i = (unsigned)random_of(&state, SHARED);
		uint64_t what = random_of(&state, 20);

		if (other == NULL || what < 12)
			copy_into(i, other, what % 3 == 0);
		else if (what < 16)
			put(i, NULL);
		else
			dcm_tree_revoke(&other->node, what == 16 ? NULL : &common->tally,
					what % 2 == 0);
		if (other != NULL)
			dcm_object_drop(&other->object);
	}
	return NULL;
}

static void test_threads(void)
{
	uint64_t states[THREADS];
	pthread_t threads[THREADS];

	common = badge_new();
	revoked_calls = 0;
	for (unsigned i = 0; i < SHARED; i++)
		pthread_mutex_init(&slot_lock[i], NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		states[i] = random_of(&seed, UINT32_MAX) + 1;
		if (pthread_create(&threads[i], NULL, work, &states[i]) != 0)
			bail("pthread_create");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < SHARED; i++)
		put(i, NULL);
	ok(revoked > 0 && closed > 0, "threads: %u handles closed, %u revoked", closed, revoked);
	is_uint(entered, closed + revoked, "which are all");
	is_uint(revoked, revoked_calls, "each of those was told once");
	is_uint(0, common->tally.grants, "no grant is left");
	is_uint(1, common->object.count, "nothing holds the badge");
	ok(common->told > 0, "which heard of it");
	dcm_object_drop(&common->object);
}

int main(void)
{
	plan_lazy();
	seed = tap_seed() | 1;
	test_unconfirmed();
	test_against_the_model();
	test_threads();
	dcm_handle_reclaim();
	return 0;
}
