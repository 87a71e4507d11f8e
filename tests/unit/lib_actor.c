/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/lib_actor.h"

#include "shm/catalog.h"
#include "shm/channel.h"
#include "shm/hash.h"
#include "shm/listener.h"
#include "shm/process.h"

const char *actor_type(unsigned i)
{
	static const char *const types[] = { "actor.A", "actor.B", "actor.C" };

	return types[i % ACTOR_NAMES];
}

const char *actor_name(unsigned i)
{
	static const char *const names[] = { "one", "two", "a name of more than eight bytes" };

	return names[i % ACTOR_NAMES];
}

void actor_begin(struct actor *a, struct world *w, uint64_t stream)
{
	*a = (struct actor){ .world = w,
			     .random = world_random(stream),
			     .self = world_process(w, "actor") };
}

/* One of those that it has (@there) or has not; null: none. */
static struct dcm_ref *pick(struct actor *a, struct dcm_ref *refs, bool there)
{
	uint32_t first = world_below(&a->random, ACTOR_HOLDS);

	for (uint32_t i = 0; i < ACTOR_HOLDS; i++) {
		struct dcm_ref *ref = &refs[(first + i) % ACTOR_HOLDS];

		if ((ref->generation != 0) == there)
			return ref;
	}
	return NULL;
}

static void forget(struct dcm_ref *ref)
{
	*ref = (struct dcm_ref){ 0, 0 };
}

static void publish(struct actor *a)
{
	struct dcm_endpoint_key key =
		world_endpoint(actor_type(world_below(&a->random, 3)),
			       actor_name(world_below(&a->random, 3)), a->self + 1);
	struct dcm_ref *ref = pick(a, a->publication, false);

	if (ref == NULL)
		return;
	if (dcm_publication_begin(&a->world->seg, a->self, &key, ref))
		a->published++;
	else
		forget(ref);
}

static void unpublish(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->publication, true);

	if (ref == NULL)
		return;
	dcm_publication_end(&a->world->seg, a->self, *ref);
	forget(ref);
}

static void subscribe(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->subscription, false);

	if (ref != NULL &&
	    !dcm_registry_subscribe(&a->world->seg, a->self,
				    dcm_hash(actor_type(world_below(&a->random, 3))), ref))
		forget(ref);
}

static void unsubscribe(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->subscription, true);

	if (ref == NULL)
		return;
	dcm_registry_unsubscribe(&a->world->seg, *ref, a->self, a->self);
	forget(ref);
}

static void read_hints(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->subscription, true);
	const struct dcm_segment *seg = &a->world->seg;
	struct dcm_endpoint_view view;
	uint32_t index, cursor = 0;
	enum dcm_hint hint;

	for (int i = 0; ref != NULL && i < 8; i++) {
		hint = dcm_registry_hint(seg, *ref, &index);
		if (hint == DCM_HINT_NONE)
			return;
		a->hints++;
		if (hint == DCM_HINT_ONE) {
			dcm_registry_look(seg, index, 0, &view);
			continue;
		}
		while (dcm_catalog_next(seg, dcm_hash(actor_type(world_below(&a->random, 3))), 0,
					&cursor, &index))
			dcm_registry_look(seg, index, dcm_hash(actor_type(0)), &view);
	}
}

static void ask(struct actor *a)
{
	struct dcm_request_key key = world_request(actor_type(world_below(&a->random, 3)),
						   actor_name(world_below(&a->random, 3)));
	struct dcm_ref *ref = pick(a, a->asked, false);

	if (world_below(&a->random, 4) == 0)
		key.server_sid = 1 + world_below(&a->random, 4);
	if (ref != NULL && !dcm_rendezvous_ask(&a->world->seg, a->self, &key, ref))
		forget(ref);
}

/* The client looks at what became of a request. */
static void follow(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->asked, true);
	const struct dcm_segment *seg = &a->world->seg;
	struct dcm_offer offer;
	uint32_t state;

	if (ref == NULL)
		return;
	state = dcm_rendezvous_look(seg, *ref).state;
	if (state == DCM_CONNECTION_ACCEPTED && dcm_rendezvous_offer(seg, *ref, &offer)) {
		if (dcm_rendezvous_open(seg, a->self, *ref, offer.server, DCM_TRANSFER_GETFD))
			a->opened++;
		dcm_listener_signal(seg, offer.listener, ref->index);
		return;
	}
	if (state != DCM_CONNECTION_POSTED || world_below(&a->random, 4) == 0) {
		dcm_rendezvous_client_leaves(seg, a->self, *ref);
		forget(ref);
	}
}

static void take(struct actor *a)
{
	struct dcm_ref *publication = pick(a, a->publication, true);
	struct dcm_ref *ref = pick(a, a->taken, false);
	struct dcm_offer offer = {
		.listener = a->listener.index, .fd = 5, .inode = 6, .bytes = DCM_CHANNEL_BYTES_MIN
	};
	const struct dcm_segment *seg = &a->world->seg;
	struct dcm_request_view view;

	if (publication == NULL || ref == NULL ||
	    !dcm_rendezvous_take(seg, a->self, *publication, ref, &view)) {
		return;
	}
	if (world_below(&a->random, 3) != 0 && dcm_rendezvous_accept(seg, a->self, *ref, &offer))
		return;
	dcm_rendezvous_server_leaves(seg, a->self, *ref);
	forget(ref);
}

static void drop(struct actor *a)
{
	struct dcm_ref *ref = pick(a, a->taken, true);
	const struct dcm_segment *seg = &a->world->seg;
	uint32_t state;

	if (ref == NULL)
		return;
	state = dcm_rendezvous_look(seg, *ref).state;
	if ((state == DCM_CONNECTION_ACCEPTED || state == DCM_CONNECTION_OPEN) &&
	    world_below(&a->random, 3) != 0)
		return;
	dcm_rendezvous_server_leaves(seg, a->self, *ref);
	forget(ref);
}

static void listen(struct actor *a)
{
	const struct dcm_segment *seg = &a->world->seg;
	uint32_t cursor = world_below(&a->random, 100), index;

	if (a->listener.generation == 0) {
		if (!dcm_listener_open(seg, a->self, &a->listener))
			forget(&a->listener);
	} else if (world_below(&a->random, 4) == 0) {
		dcm_listener_shut(seg, a->listener, a->self, a->self);
		forget(&a->listener);
	} else {
		for (int i = 0; i < 8; i++)
			if (!dcm_listener_next(seg, a->listener, &cursor, &index))
				break;
	}
}

void actor_step(struct actor *a)
{
	static void (*const steps[])(struct actor *) = {
		publish, publish, unpublish, subscribe, unsubscribe, read_hints, read_hints, ask,
		ask,	 follow,  follow,    take,	take,	     drop,	 listen
	};

	steps[world_below(&a->random, sizeof steps / sizeof steps[0])](a);
	a->steps++;
}

void actor_end(struct actor *a)
{
	const struct dcm_segment *seg = &a->world->seg;

	for (int i = 0; i < ACTOR_HOLDS; i++) {
		if (a->asked[i].generation != 0)
			dcm_rendezvous_client_leaves(seg, a->self, a->asked[i]);
		if (a->taken[i].generation != 0)
			dcm_rendezvous_server_leaves(seg, a->self, a->taken[i]);
		if (a->publication[i].generation != 0)
			dcm_publication_end(seg, a->self, a->publication[i]);
		if (a->subscription[i].generation != 0)
			dcm_registry_unsubscribe(seg, a->subscription[i], a->self, a->self);
	}
	if (a->listener.generation != 0)
		dcm_listener_shut(seg, a->listener, a->self, a->self);
	dcm_slot_yield(&seg->process, world_ref(a->world, a->self));
}

void actor_die(struct actor *a)
{
	world_kill(a->world, a->self);
}
