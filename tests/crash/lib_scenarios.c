/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/crash/lib_scenarios.h"

#include "shm/gift.h"
#include "shm/hash.h"
#include "shm/listener.h"
#include "shm/publication.h"

struct dcm_segment world;
struct dcm_ref known_one;

struct dcm_endpoint_key endpoint_key(const char *name, uint64_t sid)
{
	return (struct dcm_endpoint_key){ .type = "crash.Type",
					  .name = name,
					  .type_hash = dcm_hash("crash.Type"),
					  .name_hash = dcm_hash(name),
					  .sid = sid };
}

struct dcm_request_key request_key(const char *name)
{
	return (struct dcm_request_key){ .type = "crash.Type",
					 .name = name,
					 .type_hash = dcm_hash("crash.Type"),
					 .name_hash = dcm_hash(name),
					 .client_sid = 7 };
}

/* What the victim does; the names say against what the bystander has prepared. */
static void publishes(void)
{
	struct dcm_endpoint_key one = endpoint_key("one", 11), two = endpoint_key("two", 12);
	struct dcm_ref a, b;

	dcm_publication_begin(&world, VICTIM, &one, &a);
	dcm_publication_begin(&world, VICTIM, &two, &b);
	dcm_publication_end(&world, VICTIM, a);
	dcm_publication_begin(&world, VICTIM, &one, &a);
	dcm_publication_end(&world, VICTIM, b);
}

static void withdraws(void)
{
	dcm_publication_end(&world, VICTIM, known_one);
}

static void subscribes(void)
{
	struct dcm_ref s;
	uint32_t index;

	dcm_registry_subscribe(&world, VICTIM, dcm_hash("crash.Type"), &s);
	dcm_registry_hint(&world, s, &index);
	dcm_registry_unsubscribe(&world, s, VICTIM, VICTIM);
	dcm_registry_subscribe(&world, VICTIM, dcm_hash("crash.Type"), &s);
}

static void serves_the_parked(void)
{
	struct dcm_endpoint_key key = endpoint_key("wanted", 13);
	struct dcm_offer offer = { .bytes = 1 << 20 };
	struct dcm_request_view view;
	struct dcm_ref endpoint, request;

	dcm_publication_begin(&world, VICTIM, &key, &endpoint);
	if (!dcm_rendezvous_take(&world, VICTIM, endpoint, &request, &view))
		return;
	dcm_rendezvous_accept(&world, VICTIM, request, &offer);
	dcm_rendezvous_server_leaves(&world, VICTIM, request);
	dcm_publication_end(&world, VICTIM, endpoint);
}

static void refuses_by_closing(void)
{
	struct dcm_endpoint_key key = endpoint_key("wanted", 13);
	struct dcm_ref endpoint;

	dcm_publication_begin(&world, VICTIM, &key, &endpoint);
	dcm_publication_end(&world, VICTIM, endpoint);
}

static void asks(void)
{
	struct dcm_request_key nobody = request_key("nobody"), offer = request_key("offered");
	struct dcm_ref a, b;

	dcm_rendezvous_ask(&world, VICTIM, &nobody, &a);
	dcm_rendezvous_ask(&world, VICTIM, &offer, &b);
	dcm_rendezvous_client_leaves(&world, VICTIM, a);
	dcm_rendezvous_client_leaves(&world, VICTIM, b);
	dcm_rendezvous_ask(&world, VICTIM, &offer, &b);
}

/* Both parties of one connection, from asked to open to left. */
static void talks_to_itself(void)
{
	struct dcm_endpoint_key key = endpoint_key("own", 14);
	struct dcm_request_key wish = request_key("own");
	struct dcm_offer offer = { .bytes = 1 << 20 };
	struct dcm_request_view view;
	struct dcm_ref endpoint, asks_ref, taken;

	dcm_publication_begin(&world, VICTIM, &key, &endpoint);
	dcm_rendezvous_ask(&world, VICTIM, &wish, &asks_ref);
	if (!dcm_rendezvous_take(&world, VICTIM, endpoint, &taken, &view))
		return;
	dcm_rendezvous_accept(&world, VICTIM, taken, &offer);
	dcm_rendezvous_open(&world, VICTIM, asks_ref, VICTIM, DCM_TRANSFER_GETFD);
	dcm_rendezvous_client_leaves(&world, VICTIM, asks_ref);
	dcm_rendezvous_server_leaves(&world, VICTIM, asks_ref);
	dcm_publication_end(&world, VICTIM, endpoint);
}

static void opens_listeners(void)
{
	struct dcm_ref a, b;

	dcm_listener_open(&world, VICTIM, &a);
	dcm_listener_open(&world, VICTIM, &b);
	dcm_listener_signal(&world, b.index, 1);
	dcm_listener_shut(&world, a, VICTIM, VICTIM);
}

/* Two endpoints in two buckets, whose requests are told of at the first; another that is never shown. */
static void serves_a_group(void)
{
	struct dcm_endpoint_key first = endpoint_key("first", 17),
				second = endpoint_key("wanted", 17);
	struct dcm_request_view view;
	struct dcm_ref group[2], never, request;
	size_t which;

	first.type = "crash.Other";
	first.type_hash = dcm_hash(first.type);
	dcm_publication_reserve(&world, VICTIM, &first, &group[0]);
	second.told_at = 1 + group[0].index;
	dcm_publication_reserve(&world, VICTIM, &second, &group[1]);
	dcm_publication_show(&world, VICTIM, group[0]);
	dcm_publication_show(&world, VICTIM, group[1]);
	if (dcm_rendezvous_take_any(&world, VICTIM, group, 2, &which, &request, &view))
		dcm_rendezvous_server_leaves(&world, VICTIM, request);
	dcm_publication_end(&world, VICTIM, group[1]);
	dcm_publication_reserve(&world, VICTIM, &second, &never);
	dcm_publication_drop(&world, never);
	dcm_publication_end(&world, VICTIM, group[0]);
}

/* One subscription in two rows. */
static void follows_a_group(void)
{
	const uint64_t hashes[] = { dcm_hash("crash.Type"), dcm_hash("crash.Other") };
	struct dcm_ref s;
	uint32_t index;

	dcm_registry_subscribe_to(&world, VICTIM,
				  &(struct dcm_interest){ .type_hashes = hashes, .count = 2 }, &s);
	dcm_registry_hint(&world, s, &index);
	dcm_registry_unsubscribe(&world, s, VICTIM, VICTIM);
	dcm_registry_subscribe_to(&world, VICTIM,
				  &(struct dcm_interest){ .type_hashes = hashes, .count = 2 }, &s);
}

/* By two gifts, one of which it revokes, with what it shows by them still there. */
static void shows_itself(void)
{
	struct dcm_endpoint_key key = endpoint_key("one", 18);
	struct dcm_request_key wish = request_key("nobody");
	struct dcm_ref server, client, endpoint, asked_ref;

	dcm_gift_make(&world, VICTIM, 71, &server);
	key.gift = dcm_gift_name(server, 71);
	dcm_publication_begin(&world, VICTIM, &key, &endpoint);
	dcm_gift_make(&world, VICTIM, 72, &client);
	wish.gift = dcm_gift_name(client, 72);
	dcm_rendezvous_ask(&world, VICTIM, &wish, &asked_ref);
	dcm_gift_revoke(&world, VICTIM, server, 71);
	dcm_rendezvous_client_leaves(&world, VICTIM, asked_ref);
	dcm_gift_drop(&world, VICTIM, client);
	dcm_publication_end(&world, VICTIM, endpoint);
	dcm_gift_leave(&world, VICTIM);
}

const struct world_scenario world_scenarios[] = {
	{ "publishes", publishes },
	{ "withdraws", withdraws },
	{ "subscribes", subscribes },
	{ "serves the parked", serves_the_parked },
	{ "refuses by closing", refuses_by_closing },
	{ "asks", asks },
	{ "talks to itself", talks_to_itself },
	{ "opens listeners", opens_listeners },
	{ "serves a group", serves_a_group },
	{ "follows a group", follows_a_group },
	{ "shows itself", shows_itself },
};

const size_t world_scenario_count = sizeof world_scenarios / sizeof world_scenarios[0];
