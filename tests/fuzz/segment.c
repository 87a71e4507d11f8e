/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A segment that a hostile participant writes to, at any moment: what all others do in it ends,
 * stays inside the image, gives what can be, and grows nothing. The input is a program: operations
 * of two participants, and writes of the third between and during them. One kind of input in
 * sixteen is the header of a file to attach to instead, one ends with the check of the whole.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "api/group_known.h"
#include "shm/baton.h"
#include "shm/catalog.h"
#include "shm/check.h"
#include "shm/hash.h"
#include "shm/index.h"
#include "shm/listener.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "shm/ring.h"
#include "tests/fuzz/fuzz_attach.h"
#include "tests/fuzz/fuzz_image.h"
#include "tests/fuzz/fuzz_word.h"
#include "tests/unit/lib_world.h"

enum {
	PARTIES = 2,
	REFS = 4,
	OPERATIONS = 32,
	/* What the longest operation needs in tables of this size, several times over. */
	STEPS = 40000,
	STEPS_CHECK = 400000,
	/* What two known-sets hold of these tables, several times over. */
	MEMORY_MOST = 64 * 1024,
};

/* Kinds of input, by its first byte modulo 16; all others are a program and no more. */
enum { ATTACHING = 15, CHECKING = 14 };

static const struct dcm_capacity capacity = { .processes = 4,
					      .endpoints = 5,
					      .subscriptions = 3,
					      .connections = 5,
					      .listeners = 3,
					      .ring_shift = 2,
					      .gift_shift = 1 };
static const char *const types[] = { "fuzz.A", "fuzz.B" };
static const char *const names[] = { "one", "two" };

/* What a participant remembers, in memory of its own. */
struct party {
	uint32_t self;
	struct dcm_ref endpoint[REFS], connection[REFS], subscription, listener, gift;
	struct dcm_known *known;
	struct dcm_group_known *group; /* when the subscription is one of a group */
	uint32_t cursor;
};

static struct world w;
static struct party begun[PARTIES], parties[PARTIES];
static struct dcm_request_view request_view;
static struct dcm_endpoint_view endpoint_view;

static struct dcm_endpoint_key endpoint_key(unsigned which, uint32_t self)
{
	return world_endpoint(types[which & 1], names[which >> 1 & 1], 100 + self);
}

static struct dcm_request_key request_key(unsigned which)
{
	struct dcm_request_key key = world_request(types[which & 1], names[which >> 1 & 1]);

	key.server_sid = which & 4 ? 100 : 0;
	return key;
}

static struct dcm_known *known_of(unsigned which)
{
	const char *type = types[which & 1];

	return dcm_known_create(dcm_hash(type), type, which & 2 ? names[0] : NULL, NULL, 0);
}

static void is_name(const char name[256])
{
	FUZZ_CHECK(strnlen(name, 256) < 256);
}

/* Operations: of party @p, with numbers from the input. */

typedef void operation_fn(struct party *p, struct fuzz_input *in, unsigned n);

static void publish(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned which = fuzz_byte(in);
	struct dcm_endpoint_key key = endpoint_key(which, p->self);

	if (which & 0x80)
		key.gift = dcm_gift_name(p->gift, 1000 + which);
	key.told_at = which >> 4 & 7; /* a slot that there may not be */
	if (dcm_publication_begin(&w.seg, p->self, &key, &p->endpoint[n]))
		FUZZ_CHECK(p->endpoint[n].index < capacity.endpoints);
}

static void withdraw(struct party *p, struct fuzz_input *in, unsigned n)
{
	(void)in;
	dcm_publication_end(&w.seg, p->self, p->endpoint[n]);
}

static void subscribe_group(struct party *p)
{
	const uint64_t hashes[] = { dcm_hash(types[0]), dcm_hash(types[1]) };

	p->group = dcm_group_known_create(types, hashes, 2, NULL, 0);
	if (!dcm_registry_subscribe_to(&w.seg, p->self,
				       &(struct dcm_interest){ .type_hashes = hashes, .count = 2 },
				       &p->subscription))
		p->subscription.index = 0;
}

static void subscribe(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned which = fuzz_byte(in);

	(void)n;
	if (p->known != NULL || p->group != NULL)
		return;
	if (which & 4) {
		subscribe_group(p);
		return;
	}
	p->known = known_of(which);
	if (!dcm_registry_subscribe(&w.seg, p->self, dcm_hash(types[which & 1]), &p->subscription))
		p->subscription.index = 0;
}

static void forget(struct party *p)
{
	if (p->known != NULL)
		dcm_known_destroy(p->known);
	if (p->group != NULL)
		dcm_group_known_destroy(p->group);
	p->known = NULL;
	p->group = NULL;
}

static void unsubscribe(struct party *p, struct fuzz_input *in, unsigned n)
{
	(void)in;
	(void)n;
	dcm_registry_unsubscribe(&w.seg, p->subscription, p->self, p->self);
	forget(p);
}

static void read_group(struct party *p)
{
	struct dcm_group_notice notice;

	if (dcm_group_known_next(p->group, &w.seg, p->subscription, &notice) != 0)
		return;
	for (unsigned i = 0; i < 2; i++) {
		FUZZ_CHECK(notice.endpoints[i]->endpoint.index < capacity.endpoints);
		FUZZ_CHECK(strlen(notice.endpoints[i]->name) < 256);
		FUZZ_CHECK(notice.endpoints[i]->sid == notice.endpoints[0]->sid);
	}
	dcm_group_known_told(p->group);
}

static void read_notices(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_notice *notice;

	(void)in;
	for (unsigned i = 0; i <= n && p->group != NULL; i++)
		read_group(p);
	for (unsigned i = 0; i <= n && p->known != NULL; i++) {
		if (dcm_known_read(p->known, &w.seg, p->subscription, &notice) != 0)
			return;
		FUZZ_CHECK(notice->endpoint.index < capacity.endpoints);
		FUZZ_CHECK(strlen(notice->name) < 256 && strlen(notice->server) < 256);
		dcm_notice_free(notice);
	}
}

static void take_hint(struct party *p, struct fuzz_input *in, unsigned n)
{
	uint32_t index;

	(void)in;
	if (dcm_registry_hint(&w.seg, p->subscription, &index) == DCM_HINT_ONE)
		FUZZ_CHECK(index < capacity.endpoints);
	if (n == 1)
		dcm_registry_resync(&w.seg, p->subscription);
}

static void look_around(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned which = fuzz_byte(in);
	uint64_t type_hash = which & 2 ? 0 : dcm_hash(types[which & 1]);
	uint32_t cursor = 0, index;

	(void)p;
	(void)n;
	while (dcm_catalog_next(&w.seg, dcm_hash(types[which & 1]), 0, &cursor, &index)) {
		FUZZ_CHECK(index < capacity.endpoints);
		if (!dcm_registry_look(&w.seg, index, type_hash, &endpoint_view))
			continue;
		FUZZ_CHECK(endpoint_view.process.index < capacity.processes);
		is_name(endpoint_view.type);
		is_name(endpoint_view.name);
		is_name(endpoint_view.server);
	}
}

static void ask(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_request_key key = request_key(fuzz_byte(in));

	if (dcm_rendezvous_ask(&w.seg, p->self, &key, &p->connection[n]))
		FUZZ_CHECK(p->connection[n].index < capacity.connections);
}

static void look_at_request(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_connection_look look = dcm_rendezvous_look(&w.seg, p->connection[n]);
	struct dcm_ref server = { look.server, dcm_process_generation(&w.seg, look.server) };
	struct dcm_park_word guard;
	struct dcm_offer offer;

	(void)in;
	if (dcm_process_guard(&w.seg, server, p->self, &guard))
		FUZZ_CHECK(server.index < capacity.processes);
	if (!dcm_rendezvous_offer(&w.seg, p->connection[n], &offer))
		return;
	/* As api/connect.c does, which has the kernel say what the descriptor is. */
	dcm_rendezvous_open(&w.seg, p->self, p->connection[n], look.server, DCM_TRANSFER_GETFD);
	dcm_listener_signal(&w.seg, offer.listener, p->connection[n].index);
}

static void take(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned how = fuzz_byte(in);
	struct dcm_ref *to = &p->connection[how % REFS];
	size_t which = n;

	if (how & 64) {
		if (!dcm_rendezvous_take_any(&w.seg, p->self, p->endpoint, REFS, &which, to,
					     &request_view))
			return;
	} else if (!dcm_rendezvous_take(&w.seg, p->self, p->endpoint[n], to, &request_view)) {
		return;
	}
	FUZZ_CHECK(which < REFS);
	FUZZ_CHECK(to->index < capacity.connections);
	is_name(request_view.client_name);
}

static void accept_request(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_offer offer = { .listener = p->listener.index, .fd = 7, .bytes = 1 << 20 };

	(void)in;
	dcm_rendezvous_accept(&w.seg, p->self, p->connection[n], &offer);
}

static void leave(struct party *p, struct fuzz_input *in, unsigned n)
{
	(void)in;
	dcm_rendezvous_client_leaves(&w.seg, p->self, p->connection[n]);
}

static void refuse(struct party *p, struct fuzz_input *in, unsigned n)
{
	(void)in;
	dcm_rendezvous_server_leaves(&w.seg, p->self, p->connection[n]);
}

/* As api/gift.c does with its own handles, and with what it was shown. */
static void use_gift(struct party *p, unsigned what, unsigned n)
{
	struct dcm_gift shown = what & 8 ? endpoint_view.gift : request_view.gift;

	switch (what & 7) {
	case 0:
		if (dcm_gift_make(&w.seg, p->self, 1000 + what, &p->gift))
			FUZZ_CHECK(p->gift.index < 1u << capacity.gift_shift);
		break;
	case 1:
		dcm_gift_revoke(&w.seg, p->self, p->gift, 1000 + what);
		break;
	case 2:
		dcm_gift_drop(&w.seg, p->self, p->gift);
		break;
	case 3:
		dcm_gift_leave(&w.seg, p->self);
		break;
	default:
		shown.at += n;
		FUZZ_CHECK(!dcm_gift_revoked(&w.seg, shown) || shown.key != 0);
	}
}

static void serve(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned what = fuzz_byte(in);

	if (what & 0x80)
		use_gift(p, what, n);
	else if (what & 1)
		dcm_rendezvous_serve(&w.seg, p->endpoint[n]);
	else
		dcm_rendezvous_refuse_all(&w.seg, p->endpoint[n]);
}

static void listen_on(struct party *p, struct fuzz_input *in, unsigned n)
{
	uint32_t index;

	(void)in;
	switch (n) {
	case 0:
		dcm_listener_open(&w.seg, p->self, &p->listener);
		FUZZ_CHECK(p->listener.index < capacity.listeners);
		break;
	case 1:
		dcm_listener_shut(&w.seg, p->listener, p->self, p->self);
		break;
	default:
		if (dcm_listener_next(&w.seg, p->listener, &p->cursor, &index))
			FUZZ_CHECK(index < capacity.connections);
	}
}

static void reap(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_ref dead = world_ref(&w, fuzz_byte(in) % capacity.processes);

	if (n == 0)
		dcm_reap_notice(&w.seg, dead.index);
	else if (dead.index != p->self)
		dcm_reap_process(&w.seg, dead, p->self);
}

static void scan(struct party *p, struct fuzz_input *in, unsigned n)
{
	unsigned dead = fuzz_byte(in);

	/* The kernel, rarely: what the slot says of a process is asked of it. */
	fuzz_deaths(dead, dead >= 0xf0);
	FUZZ_CHECK(dcm_reap_scan(&w.seg, p->self, n & 1) <= capacity.processes);
}

static void watch(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_hands hands = { .of = { 0 } };
	struct dcm_ref watched[DCM_WATCH], ref;

	if (n == 0)
		dcm_process_kick_watchers(&w.seg, p->self);
	for (unsigned i = dcm_process_next(&w.seg, p->self, watched); i-- > 0;)
		FUZZ_CHECK(watched[i].index < capacity.processes);
	ref = dcm_process_of_sid(&w.seg, fuzz_byte(in));
	FUZZ_CHECK(ref.index < capacity.processes);
	dcm_process_guard(&w.seg, ref, p->self, NULL);
	dcm_process_kick(&w.seg, ref.index);
	dcm_baton_look(&w.seg, p->self, &hands);
}

static void attach(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_process_self self = { .pid = INT_MAX, .sid_base = 1000, .name = "new" };
	struct dcm_ref ref;

	(void)p;
	(void)in;
	if (dcm_process_claim(&w.seg, &self, &ref) != 0)
		return;
	FUZZ_CHECK(ref.index < capacity.processes);
	if (n & 1)
		dcm_process_yield(&w.seg, ref);
}

static void use_ring(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_subscription *sub = dcm_subscription_at(&w.seg, n % capacity.subscriptions);
	struct dcm_ring_view ring = dcm_ring_view(&sub->ring, capacity.ring_shift);
	uint32_t value = 1;

	(void)p;
	if (fuzz_byte(in) & 1)
		dcm_ring_push(ring, 1 + n);
	else if (dcm_ring_pop(ring, &value) == DCM_RING_OK)
		FUZZ_CHECK(value != 0);
	FUZZ_CHECK(dcm_ring_depth(ring) <= 1u << capacity.ring_shift);
	dcm_check_ring(ring, capacity.endpoints);
}

static void finding(void *context, const struct dcm_finding *f)
{
	(void)context;
	FUZZ_CHECK(f->text != NULL && dcm_check_table_name(f->table)[0] != '?');
}

/* By the hostile one: a name without an end. */
static void fill_name(struct party *p, struct fuzz_input *in, unsigned n)
{
	struct dcm_name *name = &dcm_process_at(&w.seg, n % PARTIES)->name;

	if (n & 2)
		name = &dcm_endpoint_names_at(&w.seg, p->endpoint[0].index % capacity.endpoints)
				->name;
	for (unsigned i = 0; i < DCM_NAME_WORDS; i++) {
		struct fuzz_scribble s = { .at = &name->words[i], .bytes = 8 };

		s.value = 0x4141414141414141 + fuzz_byte(in);
		fuzz_scribble(&s);
	}
}

/* Of all that was done to it; it is long, so not each time. */
static void check(unsigned how)
{
	struct dcm_check_options options = { .confirm = how & 1,
					     .proof = how & 2,
					     .report = finding };
	struct dcm_check_result result;

	fuzz_call("check", STEPS_CHECK);
	dcm_check(&w.seg, &options, &result);
	fuzz_return();
}

static const struct {
	const char *name;
	operation_fn *run;
} operations[] = {
	{ "publish", publish },
	{ "withdraw", withdraw },
	{ "subscribe", subscribe },
	{ "unsubscribe", unsubscribe },
	{ "read notices", read_notices },
	{ "take a hint", take_hint },
	{ "look around", look_around },
	{ "ask", ask },
	{ "look at a request", look_at_request },
	{ "take", take },
	{ "accept", accept_request },
	{ "client leaves", leave },
	{ "server leaves", refuse },
	{ "serve", serve },
	{ "listen", listen_on },
	{ "reap", reap },
	{ "scan", scan },
	{ "watch", watch },
	{ "attach", attach },
	{ "use a ring", use_ring },
	{ "fill a name", fill_name },
};

enum { RUNS = sizeof operations / sizeof operations[0] };

static void one_operation(struct fuzz_input *in, unsigned op)
{
	unsigned how = fuzz_byte(in);
	struct party *p = &parties[how & 1];

	fuzz_call(operations[op % RUNS].name, STEPS);
	operations[op % RUNS].run(p, in, how >> 1 & (REFS - 1));
	fuzz_return();
}

static void scribble(struct fuzz_input *in, unsigned how)
{
	const uint64_t hashes[2] = { dcm_hash(types[0]), dcm_hash(types[1]) };
	uint64_t *at = fuzz_word(in, &w.seg, hashes), other = *fuzz_word(in, &w.seg, hashes);

	fuzz_scribble_read(in, how, at, other);
}

static void run_program(struct fuzz_input *in, unsigned how)
{
	unsigned sum = 0;

	/* One in eight of those that ask for it: they reach most, so most inputs come to ask. */
	for (size_t i = 0; i < in->left; i++)
		sum += in->at[i];
	memcpy(parties, begun, sizeof parties);
	for (unsigned i = 0; i < PARTIES; i++)
		parties[i].known = known_of(!i);
	for (unsigned i = 0; i < OPERATIONS && in->left != 0; i++) {
		unsigned op = fuzz_byte(in);

		if (op & 0x80)
			scribble(in, op);
		else
			one_operation(in, op);
	}
	if (how % 16 == CHECKING && sum % 8 == 0)
		check(how / 16);
	fuzz_memory(MEMORY_MOST);
	for (unsigned i = 0; i < PARTIES; i++)
		forget(&parties[i]);
}

static void settle(void)
{
	for (unsigned i = 0; i < PARTIES; i++) {
		struct party *p = &begun[i];
		struct dcm_endpoint_key key = endpoint_key(i, p->self);
		struct dcm_request_key wish = request_key(!i);

		dcm_publication_begin(&w.seg, p->self, &key, &p->endpoint[0]);
		dcm_registry_subscribe(&w.seg, p->self, dcm_hash(types[!i]), &p->subscription);
		dcm_listener_open(&w.seg, p->self, &p->listener);
		dcm_rendezvous_ask(&w.seg, p->self, &wish, &p->connection[0]);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *directory = getenv("DCM_FUZZ_DIR");
	struct dcm_places places;

	(void)argc;
	(void)argv;
	fuzz_setup();
	fuzz_begin();
	if (!dcm_layout_places(&capacity, &places))
		fuzz_fail("capacities out of bounds");
	w.bytes = places.bytes;
	w.memory = fuzz_pages(places.bytes);
	if (!dcm_segment_view(&w.seg, w.memory, w.bytes, &capacity))
		fuzz_fail("no view of a segment");
	w.seg.user_share = FUZZ_USER_SHARE;
	for (unsigned i = 0; i < PARTIES; i++)
		begun[i].self = world_process(&w, i ? "second" : "first");
	world_process(&w, "third");
	settle();
	*dcm_segment_header(&w.seg) = fuzz_attach_header(&capacity);
	fuzz_image_add(w.memory, NULL, w.bytes);
	if (directory != NULL)
		fuzz_attach_in(directory, &capacity);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct fuzz_input in = { data, bytes };
	unsigned how;

	fuzz_begin();
	how = fuzz_byte(&in);
	if (how % 16 == ATTACHING)
		fuzz_attach(&in, w.memory, w.bytes);
	else
		run_program(&in, how);
	fuzz_memory(0);
	return 0;
}
