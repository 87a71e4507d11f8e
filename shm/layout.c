/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/layout.h"

static bool in_bounds(uint32_t value, uint32_t least, uint32_t most)
{
	return value >= least && value <= most;
}

static bool capacity_valid(const struct dcm_capacity *c)
{
	return in_bounds(c->processes, 1, DCM_PROCESSES_MAX) &&
	       in_bounds(c->endpoints, 1, DCM_ENDPOINTS_MAX) &&
	       in_bounds(c->subscriptions, 1, DCM_SUBSCRIPTIONS_MAX) &&
	       in_bounds(c->connections, 1, DCM_CONNECTIONS_MAX) &&
	       in_bounds(c->listeners, 1, DCM_LISTENERS_MAX) &&
	       in_bounds(c->ring_shift, 1, DCM_RING_SHIFT_MAX) &&
	       c->gift_shift <= DCM_GIFT_SHIFT_MAX;
}

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

/* The next @count rows of @stride bytes, each row on lines of its own. */
static struct dcm_place put(uint64_t *end, uint64_t stride, uint64_t count)
{
	struct dcm_place place = { .start = *end, .stride = round_up(stride, DCM_CACHELINE) };

	*end = place.start + place.stride * count;
	return place;
}

static struct dcm_place put_bitmap(uint64_t *end, uint32_t bits, uint64_t rows)
{
	return put(end, (uint64_t)dcm_bitmap_words(bits) * sizeof(dcm_atomic64), rows);
}

/* Rows of words one behind the other: what is rarely written needs no line of its own. */
static struct dcm_place put_packed(uint64_t *end, uint32_t bits, uint64_t rows)
{
	struct dcm_place place = { .start = *end,
				   .stride = dcm_bitmap_words(bits) * sizeof(dcm_atomic64) };

	*end = round_up(place.start + place.stride * rows, DCM_CACHELINE);
	return place;
}

static void put_catalogs(uint64_t *end, uint32_t endpoints, struct dcm_places *out)
{
	uint32_t regions = dcm_regions(endpoints), kinds = regions * DCM_BUCKETS;
	uint32_t slots = endpoints < DCM_REGION ? endpoints : DCM_REGION;

	out->by_type = put_bitmap(end, slots, kinds);
	out->by_type_regions = put_packed(end, regions, kinds);
	out->by_name = put_bitmap(end, slots, kinds);
	out->by_name_regions = put_packed(end, regions, kinds);
}

bool dcm_layout_places(const struct dcm_capacity *c, struct dcm_places *out)
{
	uint64_t end = DCM_PAGE;

	if (!capacity_valid(c))
		return false;
	out->process = put(&end, sizeof(struct dcm_process), c->processes);
	out->alive = put(&end, sizeof(struct dcm_alive) * dcm_alive_words(c->processes), c->processes);
	out->endpoint = put(&end, sizeof(struct dcm_endpoint), c->endpoints);
	out->endpoint_names = put(&end, sizeof(struct dcm_endpoint_names), c->endpoints);
	out->subscription = put(&end,
				sizeof(struct dcm_subscription) +
					(sizeof(dcm_atomic64) << c->ring_shift),
				c->subscriptions);
	out->connection = put(&end, sizeof(struct dcm_connection), c->connections);
	out->listener = put(&end,
			    sizeof(struct dcm_listener) +
				    dcm_bitmap_words(c->connections) * sizeof(dcm_atomic64),
			    c->listeners);
	out->gift = (struct dcm_place){ end, sizeof(struct dcm_gift_slot) };
	end += round_up(out->gift.stride << c->gift_shift, DCM_CACHELINE);
	out->marked = put_bitmap(&end, c->connections, c->processes);
	out->bucket = put(&end, sizeof(struct dcm_bucket), DCM_BUCKETS);
	put_catalogs(&end, c->endpoints, out);
	out->subscription_index = put_bitmap(&end, c->subscriptions, DCM_BUCKETS);
	out->connection_index = put_bitmap(&end, c->connections, DCM_BUCKETS);
	out->process_used = put_bitmap(&end, c->processes, 1);
	out->endpoint_used = put_bitmap(&end, c->endpoints, 1);
	out->subscription_used = put_bitmap(&end, c->subscriptions, 1);
	out->connection_used = put_bitmap(&end, c->connections, 1);
	out->listener_used = put_bitmap(&end, c->listeners, 1);
	out->gift_used = put_bitmap(&end, 1u << c->gift_shift, 1);
	out->bytes = round_up(end, DCM_PAGE);
	return true;
}

uint32_t dcm_layout_fingerprint(void)
{
	static const uint32_t facts[] = {
		DCM_CACHELINE,
		DCM_BUCKETS,
		DCM_REGION,
		DCM_NAME_WORDS,
		sizeof(struct dcm_header),
		offsetof(struct dcm_header, ticket),
		offsetof(struct dcm_capacity, gift_shift),
		sizeof(struct dcm_process),
		sizeof(struct dcm_alive),
		offsetof(struct dcm_process, control),
		offsetof(struct dcm_process, asked),
		offsetof(struct dcm_process, name),
		sizeof(struct dcm_endpoint),
		offsetof(struct dcm_endpoint, gift),
		offsetof(struct dcm_endpoint, ec),
		offsetof(struct dcm_endpoint, bell),
		offsetof(struct dcm_endpoint, told_at),
		sizeof(struct dcm_endpoint_names),
		sizeof(struct dcm_subscription),
		offsetof(struct dcm_subscription, name_hash),
		offsetof(struct dcm_subscription, types),
		offsetof(struct dcm_subscription, bell),
		offsetof(struct dcm_subscription, buckets),
		offsetof(struct dcm_subscription, ring),
		sizeof(struct dcm_connection),
		offsetof(struct dcm_connection, bell),
		offsetof(struct dcm_connection, declined),
		offsetof(struct dcm_connection, type_hash),
		offsetof(struct dcm_connection, gift),
		offsetof(struct dcm_connection, fd),
		offsetof(struct dcm_connection, type),
		sizeof(struct dcm_listener),
		offsetof(struct dcm_listener, bell),
		sizeof(struct dcm_gift_slot),
		offsetof(struct dcm_gift_slot, revoked),
		offsetof(struct dcm_gift_slot, revocations),
	};
	uint32_t hash = 2166136261u; /* FNV-1a over the facts: a change must show, no more */

	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
		hash = (hash ^ facts[i]) * 16777619u;
	return hash;
}
