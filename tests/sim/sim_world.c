/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/sim/sim_world.h"

#include <stdio.h>
#include <string.h>

#include "shm/catalog.h"
#include "shm/process.h"
#include "shm/registry.h"
#include "shm/rendezvous.h"
#include "tests/tap.h"

enum { WORLD_BYTES = 1024 * 1024 };

struct dcm_segment sim_world;

static alignas(DCM_PAGE) unsigned char memory[WORLD_BYTES];
static struct dcm_ref refs[SIM_PROCESSES];

void sim_world_make(const struct dcm_capacity *capacity)
{
	if (sim_world.base != NULL)
		memset(memory, 0, sim_world.bytes);
	if (!dcm_segment_view(&sim_world, memory, sizeof memory, capacity))
		bail("the segment of the simulation is too large");
	{
		struct dcm_places places;

		dcm_layout_places(capacity, &places);
		sim_world.bytes = places.bytes;
	}
	/* Names are long and guarded by their slots' words. */
	sim_plain(sim_world.base + sim_world.names.start, sim_world.names.stride,
		  sim_world.names.stride, capacity->endpoints);
	sim_plain(&dcm_process_at(&sim_world, 0)->name, sizeof(struct dcm_name),
		  sim_world.process.stride, capacity->processes);
	sim_plain(&dcm_connection_at(&sim_world, 0)->type, 2 * sizeof(struct dcm_name),
		  sim_world.connection.stride, capacity->connections);
}

unsigned sim_world_newcomer(const char *name, unsigned flags)
{
	unsigned number = sim_process(name, flags);
	struct dcm_ref *ref = &refs[number];
	struct dcm_process *p;

	sim_direct(true);
	if (!dcm_slot_claim(&sim_world.process, 0, ref))
		bail("the table of processes is too small");
	p = dcm_process_at(&sim_world, ref->index);
	dcm_name_store(&p->name, name);
	dcm_store(&p->tid, sim_world_tid(number), relaxed);
	dcm_store(&p->word, dcm_word(ref->generation, ref->index, DCM_CLAIMED), seq);
	sim_process_alive(number,
			  (struct sim_alive){ (void *)dcm_alive_at(&sim_world, ref->index, 0),
					      sizeof(struct dcm_alive),
					      dcm_alive_words(sim_world.process.count) });
	sim_direct(false);
	return number;
}

unsigned sim_world_process(const char *name, unsigned flags)
{
	unsigned number = sim_world_newcomer(name, flags);

	sim_direct(true);
	dcm_process_appear(&sim_world, refs[number], sim_world_tid(number));
	sim_direct(false);
	return number;
}

uint32_t sim_world_tid(unsigned process)
{
	return 1000 + process;
}

struct dcm_ref sim_world_ref(unsigned process)
{
	return refs[process];
}

bool sim_world_proved(uint32_t index, uint64_t generation)
{
	for (unsigned i = 0; i < sim_process_count(); i++)
		if (refs[i].index == index && refs[i].generation == generation)
			return sim_proved(i);
	return false;
}

/* "what[3].field" for a word of a table; false: it lies elsewhere. */
static bool describe_slot(const unsigned char *at, const struct dcm_table *t, const char *what,
			  char *text, size_t size)
{
	size_t offset;

	if (at < t->slots || at >= t->slots + t->stride * t->count)
		return false;
	offset = (size_t)(at - t->slots);
	snprintf(text, size, "%s[%zu]+%zu", what, offset / t->stride, offset % t->stride);
	if (offset % t->stride == 0)
		snprintf(text, size, "%s[%zu].word", what, offset / t->stride);
	return true;
}

static bool describe_index(const unsigned char *at, const dcm_atomic64 *rows, uint64_t row_words,
			   const char *what, char *text, size_t size)
{
	const unsigned char *start = (const unsigned char *)rows;

	if (at < start || at >= start + row_words * 8 * DCM_BUCKETS)
		return false;
	snprintf(text, size, "%s bits of bucket %zu", what, (size_t)(at - start) / 8 / row_words);
	return true;
}

bool sim_world_describe(const volatile void *word, char *text, size_t size)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)word;
	const struct dcm_segment *s = &sim_world;
	const unsigned char *buckets = s->base + s->bucket.start;
	const unsigned char *alive = s->base + s->alive.start;

	if (describe_slot(at, &s->process, "process", text, size) ||
	    describe_slot(at, &s->endpoint, "endpoint", text, size) ||
	    describe_slot(at, &s->subscription, "subscription", text, size) ||
	    describe_slot(at, &s->connection, "connection", text, size) ||
	    describe_slot(at, &s->listener, "listener", text, size) ||
	    describe_slot(at, &s->gift, "gift", text, size) ||
	    describe_index(at, s->by_type.rows, s->region_row, "endpoint", text, size) ||
	    describe_index(at, s->by_name.rows, s->region_row, "endpoint and name", text, size) ||
	    describe_index(at, s->by_type.regions, s->regions_row, "region", text, size) ||
	    describe_index(at, s->by_name.regions, s->regions_row, "region, name", text, size) ||
	    describe_index(at, s->subscription_index, s->subscription_row, "subscription", text,
			   size) ||
	    describe_index(at, s->connection_index, s->connection_row, "connection", text, size))
		return true;
	if (at >= alive && at < alive + s->alive.stride * s->process.count) {
		size_t offset = (size_t)(at - alive);

		snprintf(text, size, "alive[%zu][%zu]", offset / s->alive.stride,
			 offset % s->alive.stride / sizeof(struct dcm_alive));
		return true;
	}
	if (at >= buckets && at < buckets + s->bucket.stride * DCM_BUCKETS) {
		snprintf(text, size, "bucket[%zu].ec", (size_t)(at - buckets) / s->bucket.stride);
		return true;
	}
	if (at < s->base || at >= s->base + s->bytes)
		return false;
	snprintf(text, size, "segment+%zu", (size_t)(at - s->base));
	return true;
}

/* Is the last process that had slot @index still there? */
static bool lives(uint32_t index)
{
	bool alive = false;

	for (unsigned p = 0; p < sim_process_count(); p++)
		if (refs[p].index == index)
			alive = !sim_killed(p);
	return alive;
}

static void check_owners(const struct dcm_table *t, const char *what)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(t, i), seq);

		SIM_CHECK(dcm_word_state(word) == DCM_FREE || lives(dcm_word_owner(word)),
			  "%s %u, word %#llx, is left to the dead", what, i,
			  (unsigned long long)word);
	}
}

static void check_table(const struct dcm_table *t, const char *what)
{
	check_owners(t, what);
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(t, i), seq);
		bool used = dcm_load(&t->used[i / 64], seq) >> i % 64 & 1;

		SIM_CHECK(used == (dcm_word_state(word) != DCM_FREE), "used bit of %s %u is %d",
			  what, i, used);
	}
}

/* Is the slot in the row of that bucket, by what it says? A subscription may be in several. */
typedef bool in_row_fn(uint32_t slot, uint32_t bucket);

static bool endpoint_in(uint32_t slot, uint32_t bucket)
{
	return dcm_bucket_of(dcm_load(&dcm_endpoint_at(&sim_world, slot)->type_hash, seq)) ==
	       bucket;
}

static bool name_in(uint32_t slot, uint32_t bucket)
{
	const struct dcm_endpoint *e = dcm_endpoint_at(&sim_world, slot);

	return dcm_bucket_of(dcm_catalog_key(dcm_load(&e->type_hash, seq),
					     dcm_load(&e->name_hash, seq))) == bucket;
}

static bool subscription_in(uint32_t slot, uint32_t bucket)
{
	const dcm_atomic64 *buckets = dcm_subscription_at(&sim_world, slot)->buckets;

	return dcm_load(&buckets[bucket / 64], seq) >> bucket % 64 & 1;
}

static bool connection_in(uint32_t slot, uint32_t bucket)
{
	return dcm_bucket_of(dcm_load(&dcm_connection_at(&sim_world, slot)->type_hash, seq)) ==
	       bucket;
}

/* All bits of small tables. */
static void check_index(const struct dcm_table *t, dcm_atomic64 *rows, uint64_t row_words,
			uint32_t states, in_row_fn *in_row, const char *what)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t state = dcm_word_state(dcm_load(dcm_slot_word(t, i), seq));

		for (uint32_t b = 0; b < DCM_BUCKETS; b++) {
			const dcm_atomic64 *row = dcm_index_row(rows, row_words, b);
			bool set = dcm_load(&row[i / 64], seq) >> i % 64 & 1;
			bool wanted = (states >> state & 1) && in_row(i, b);

			SIM_CHECK(set == wanted, "%s bit %u of bucket %u is %d, state %u", what, i,
				  b, set, state);
		}
	}
}

void sim_world_check_owners(bool processes)
{
	if (processes)
		check_owners(&sim_world.process, "process");
	check_owners(&sim_world.endpoint, "endpoint");
	check_owners(&sim_world.subscription, "subscription");
	check_owners(&sim_world.connection, "connection");
	check_owners(&sim_world.listener, "listener");
	check_owners(&sim_world.gift, "gift");
}

void sim_world_check_quiet(void)
{
	struct dcm_segment *s = &sim_world;

	check_table(&s->process, "process");
	check_table(&s->endpoint, "endpoint");
	check_table(&s->subscription, "subscription");
	check_table(&s->connection, "connection");
	check_table(&s->listener, "listener");
	check_table(&s->gift, "gift");
	check_index(&s->endpoint, s->by_type.rows, s->region_row, 1u << DCM_ENDPOINT_LIVE,
		    endpoint_in, "endpoint");
	check_index(&s->endpoint, s->by_name.rows, s->region_row, 1u << DCM_ENDPOINT_LIVE, name_in,
		    "endpoint and name");
	check_index(&s->subscription, s->subscription_index, s->subscription_row,
		    1u << DCM_SUBSCRIPTION_ACTIVE, subscription_in, "subscription");
	check_index(&s->connection, s->connection_index, s->connection_row,
		    1u << DCM_CONNECTION_POSTED | 1u << DCM_CONNECTION_REFUSED, connection_in,
		    "connection");
}
