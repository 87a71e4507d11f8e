/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/rendezvous.h"

#include "shm/bell.h"
#include "shm/catalog.h"
#include "shm/index.h"
#include "shm/park.h"
#include "shm/process.h"
#include "shm/quota.h"
#include "shm/target.h"

/* Was it sent to this use of the slot, or, if a reaper has it now, to the one before? */
static bool is_for(uint64_t target, struct dcm_ref endpoint)
{
	return dcm_target_is_sent(target) && dcm_target_endpoint(target).index == endpoint.index &&
	       dcm_target_endpoint(target).generation <= endpoint.generation;
}

static uint32_t client_of(const void *connection)
{
	/* relaxed: behind the token, shm/bell.h. */
	return dcm_load(&((const struct dcm_connection *)connection)->client, relaxed);
}

/* Tell the other side: it looks at the state again. */
static void wake_client(const struct dcm_segment *seg, struct dcm_connection *c)
{
	dcm_park_wake_all(&c->ec);
	DCM_LINE(client_is_rung) dcm_bell_ring(seg, &c->bell, client_of, c);
}

void dcm_rendezvous_tell_server(const struct dcm_segment *seg, uint32_t index, uint32_t server)
{
	dcm_atomic64 *marked = dcm_marked_at(seg, server);

	if (marked == NULL || index >= seg->connection.count)
		return;
	/* Before the kick: the keeper takes marks behind its key. */
	DCM_LINE(server_is_marked) dcm_index_set(marked, index);
	dcm_process_kick_for(seg, server, DCM_KICK_MARKED);
}

bool dcm_rendezvous_marked(const struct dcm_segment *seg, uint32_t self, uint32_t *cursor,
			   uint32_t *index)
{
	dcm_atomic64 *marked = dcm_marked_at(seg, self);

	if (marked == NULL || !dcm_index_next(marked, seg->connection.count, cursor, index))
		return false;
	/* Before the look at what was marked: what is new behind it marks again. */
	dcm_index_clear(marked, *index);
	return true;
}

static void fill(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t self,
		 const struct dcm_request_key *key, uint64_t ticket)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);
	uint32_t uid = dcm_load(&dcm_process_at(seg, self)->uid, relaxed);

	/* release: readers load with acquire between two equal loads of the state word. */
	dcm_store(&c->target, dcm_target_parked(ref), release);
	dcm_store(&c->ticket, ticket, release);
	dcm_store(&c->client, self, release);
	dcm_store(&c->client_uid, uid, release);
	dcm_store(&c->server, UINT32_MAX, release);
	dcm_store(&c->listener, UINT32_MAX, release);
	dcm_store(&c->type_hash, key->type_hash, release);
	dcm_store(&c->name_hash, key->name_hash, release);
	dcm_store(&c->client_sid, key->client_sid, release);
	dcm_store(&c->server_sid, key->server_sid, release);
	dcm_store(&c->gift_key, key->gift.key, release);
	dcm_store(&c->gift, key->gift.at, release);
	dcm_store(&c->socket, key->socket, release);
	dcm_store(&c->transfer, key->transfer, release);
	dcm_store(&c->sent, 0u, release);
	dcm_store(&c->opened_ns, 0ull, release);
	dcm_store(&c->bell, 0u, release);
	dcm_store(&c->declined, 0u, release);
	dcm_name_store(&c->type, key->type);
	dcm_name_store(&c->name, key->name);
}

static bool same_words(const struct dcm_name *a, const struct dcm_name *b)
{
	for (uint32_t i = 0; i < DCM_NAME_WORDS; i++)
		if (dcm_load(&a->words[i], acquire) != dcm_load(&b->words[i], acquire))
			return false;
	return true;
}

/* Does what the two slots say match; true means nothing unless both words still stand. */
static bool matches(const struct dcm_segment *seg, const struct dcm_connection *c, uint32_t endpoint)
{
	const struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint);
	const struct dcm_endpoint_names *names = dcm_endpoint_names_at(seg, endpoint);
	uint64_t sid = dcm_load(&c->server_sid, acquire);

	return dcm_load(&e->type_hash, acquire) == dcm_load(&c->type_hash, acquire) &&
	       dcm_load(&e->name_hash, acquire) == dcm_load(&c->name_hash, acquire) &&
	       (sid == 0 || sid == dcm_load(&e->sid, acquire)) &&
	       same_words(&names->type, &c->type) && same_words(&names->name, &c->name);
}

enum sent { SENT_NOT, SENT, SENT_TO_THE_GONE };

/*
 * Where the server of an endpoint waits for its requests: there, or at another of its group. If
 * that slot is another's by now, it is told for nothing: the request was refused with its endpoint.
 */
static struct dcm_endpoint *waited_for_at(const struct dcm_segment *seg, struct dcm_endpoint *e)
{
	uint32_t at = DCM_ORDER(group_is_told, dcm_load(&e->told_at, acquire), 0u);
	struct dcm_endpoint *other = at != 0 ? dcm_endpoint_at(seg, at - 1) : NULL;

	return other != NULL ? other : e;
}

/* Aim a parked request at an endpoint that matches. */
static enum sent send_to(const struct dcm_segment *seg, struct dcm_connection *c,
			 struct dcm_ref request, struct dcm_ref endpoint)
{
	struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint.index), *at;
	uint64_t expected = dcm_target_parked(request);

	/* The generation in the word keeps this off a later request in the same slot. */
	if (!dcm_cas(&c->target, &expected, dcm_target_sent(endpoint)))
		return dcm_target_is_sent(expected) ? SENT : SENT_NOT;
	/* seq, C2. */
	DCM_LINE(sender_looks_again)
	if (!dcm_registry_is_live(seg, endpoint))
		return SENT_TO_THE_GONE;
	at = waited_for_at(seg, e);
	dcm_park_wake_one(&at->ec);
	DCM_LINE(request_rings) dcm_bell_ring(seg, &at->bell, dcm_slot_owner, at);
	/* It may sleep without a guard, as one parked does. Dying before this line is the death of
	   its server or of itself: either is told by the reaper. */
	wake_client(seg, c);
	return SENT;
}

/* Find an endpoint for an own request. SENT_NOT: none is there, it stays parked. */
static enum sent find_endpoint(const struct dcm_segment *seg, struct dcm_connection *c,
			       struct dcm_ref request, uint64_t type_hash, uint64_t name_hash)
{
	uint32_t cursor = 0, index;
	enum sent sent;

	while (dcm_catalog_next(seg, type_hash, name_hash, &cursor, &index)) {
		dcm_atomic64 *slot = dcm_slot_word(&seg->endpoint, index);
		uint64_t word = dcm_load(slot, seq);
		struct dcm_ref endpoint = { index, dcm_word_generation(word) };

		if (!dcm_registry_may_be(seg, index, type_hash, name_hash) ||
		    !dcm_registry_is_live(seg, endpoint) || !matches(seg, c, index) ||
		    dcm_load(slot, seq) != word)
			continue;
		sent = send_to(seg, c, request, endpoint);
		if (sent != SENT_NOT)
			return sent;
	}
	return SENT_NOT;
}

/* Give back a request slot that its owner holds in @state. */
static bool drop(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t owner, uint32_t state,
		 uint32_t by)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);

	if (!dcm_slot_seize(&seg->connection, &ref, owner, state, by))
		return false;
	dcm_index_clear(dcm_request_row(seg, dcm_load(&c->type_hash, relaxed)), ref.index);
	dcm_slot_yield(&seg->connection, ref);
	return true;
}

bool dcm_rendezvous_ask(const struct dcm_segment *seg, uint32_t self,
			const struct dcm_request_key *key, struct dcm_ref *out)
{
	uint64_t ticket = dcm_add(&dcm_segment_header(seg)->ticket, 1ull);

	/* Sent to one that vanished meanwhile: ask anew, each time for a vanished endpoint. */
	for (uint32_t tries = 0; tries < seg->endpoint.count + 8; tries++) {
		struct dcm_connection *c;

		if (!dcm_quota_claim(seg, &seg->connection, self, out))
			return false;
		c = dcm_connection_at(seg, out->index);
		fill(seg, *out, self, key, ticket);
		dcm_index_set(dcm_request_row(seg, key->type_hash), out->index);
		/* seq, C1. */
		dcm_store(&c->word, dcm_word(out->generation, self, DCM_CONNECTION_POSTED),
			  DCM_ORDER(post_before_looking, seq, release));
		if (find_endpoint(seg, c, *out, key->type_hash, key->name_hash) != SENT_TO_THE_GONE)
			return true;
		if (!drop(seg, *out, self, DCM_CONNECTION_POSTED, self))
			return true; /* taken or refused after all: the state says which */
	}
	return false;
}

void dcm_rendezvous_serve(const struct dcm_segment *seg, struct dcm_ref endpoint)
{
	struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint.index);
	const dcm_atomic64 *row = dcm_request_row(seg, dcm_load(&e->type_hash, relaxed));
	uint32_t cursor = 0, index;

	while (dcm_index_next(row, seg->connection.count, &cursor, &index)) {
		struct dcm_connection *c = dcm_connection_at(seg, index);
		uint64_t word = dcm_load(&c->word, seq);
		struct dcm_ref request = { index, dcm_word_generation(word) };

		if (dcm_word_state(word) == DCM_CONNECTION_POSTED &&
		    matches(seg, c, endpoint.index) &&
		    DCM_ORDER(match_stands, dcm_load(&c->word, seq) == word, true))
			send_to(seg, c, request, endpoint);
	}
}

void dcm_rendezvous_refuse_all(const struct dcm_segment *seg, struct dcm_ref endpoint)
{
	struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint.index);
	uint32_t cursor = 0, index;
	dcm_atomic64 *row;

	if (e == NULL)
		return;
	row = dcm_request_row(seg, dcm_load(&e->type_hash, relaxed));
	while (dcm_index_next(row, seg->connection.count, &cursor, &index)) {
		struct dcm_connection *c = dcm_connection_at(seg, index);
		uint64_t word = dcm_load(&c->word, seq);
		struct dcm_ref ref = { index, dcm_word_generation(word) };
		uint32_t client = dcm_word_owner(word), state = dcm_word_state(word);

		if (!is_for(dcm_load(&c->target, seq), endpoint))
			continue;
		if (state == DCM_CONNECTION_POSTED)
			dcm_slot_step(&seg->connection, ref, client, state, client,
				      DCM_CONNECTION_REFUSED);
		/* Also for one refused by somebody who died before this line. The bit stays: the
		   client clears it when it drops the request. */
		DCM_LINE(refused_are_woken) wake_client(seg, c);
	}
}

bool dcm_rendezvous_accept(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref,
			   const struct dcm_offer *offer)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);

	dcm_store(&c->listener, offer->listener, release);
	dcm_store(&c->fd, offer->fd, release);
	dcm_store(&c->sent, offer->sent, release);
	dcm_store(&c->device, offer->device, release);
	dcm_store(&c->inode, offer->inode, release);
	dcm_store(&c->bytes, offer->bytes, release);
	dcm_store(&c->nonce, offer->nonce, release);
	dcm_store(&c->opened_ns, (uint64_t)dcm_park_now(), release);
	if (!dcm_slot_step(&seg->connection, ref, self, DCM_CONNECTION_TAKEN, self,
			   DCM_CONNECTION_ACCEPTED))
		return false;
	/* Dying before this line: the client's guard, our alive word, ends its sleep. */
	wake_client(seg, c);
	return true;
}

bool dcm_rendezvous_offer(const struct dcm_segment *seg, struct dcm_ref ref, struct dcm_offer *offer)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);
	uint64_t word = c != NULL ? dcm_load(&c->word, seq) : 0;

	if (dcm_word_generation(word) != ref.generation ||
	    dcm_word_state(word) != DCM_CONNECTION_ACCEPTED)
		return false;
	*offer = (struct dcm_offer){ .server = dcm_word_owner(word),
				     .listener = dcm_load(&c->listener, acquire),
				     .fd = dcm_load(&c->fd, acquire),
				     .sent = dcm_load(&c->sent, acquire),
				     .device = dcm_load(&c->device, acquire),
				     .inode = dcm_load(&c->inode, acquire),
				     .bytes = dcm_load(&c->bytes, acquire),
				     .nonce = dcm_load(&c->nonce, acquire) };
	return dcm_load(&c->word, seq) == word;
}

bool dcm_rendezvous_open(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref,
			 uint32_t server, uint32_t transfer)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);

	dcm_store(&c->transfer, transfer, release);
	/* Nobody is told, for that costs as much as all of this: the first call will say it. */
	return dcm_slot_step(&seg->connection, ref, server, DCM_CONNECTION_ACCEPTED, self,
			     DCM_CONNECTION_OPEN);
}

struct dcm_connection_look dcm_rendezvous_look(const struct dcm_segment *seg, struct dcm_ref ref)
{
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);
	struct dcm_connection_look look = { .state = DCM_FREE, .server = UINT32_MAX };
	uint64_t word, target;

	if (c == NULL)
		return look;
	word = dcm_load(&c->word, seq);
	if (dcm_word_generation(word) != ref.generation)
		return look;
	look.state = dcm_word_state(word);
	target = dcm_load(&c->target, seq);
	/* acquire: who takes it says so before he refuses. */
	look.unseen = look.state == DCM_CONNECTION_REFUSED &&
		      dcm_load(&c->server, acquire) == UINT32_MAX;
	look.declined = look.state == DCM_CONNECTION_REFUSED &&
			dcm_load(&c->declined, acquire) != 0;
	if (look.state == DCM_CONNECTION_TAKEN || look.state == DCM_CONNECTION_ACCEPTED) {
		look.server = dcm_word_owner(word);
	} else if (look.state == DCM_CONNECTION_POSTED && dcm_target_is_sent(target)) {
		dcm_atomic64 *slot = dcm_slot_word(&seg->endpoint, dcm_target_endpoint(target).index);
		uint64_t endpoint = slot != NULL ? dcm_load(slot, seq) : 0;

		if (dcm_word_generation(endpoint) == dcm_target_endpoint(target).generation)
			look.server = dcm_word_owner(endpoint);
	}
	return look;
}

/*
 * One step of a party out of a connection, from the word as it was just read. @by is the party, or
 * its reaper. Return: true when there is nothing more to do for it, false: look again.
 */
typedef bool step_fn(const struct dcm_segment *seg, struct dcm_ref ref, uint64_t word,
		     uint32_t party, uint32_t by);

static bool client_step(const struct dcm_segment *seg, struct dcm_ref ref, uint64_t word,
			uint32_t client, uint32_t by)
{
	uint32_t state = dcm_word_state(word), owner = dcm_word_owner(word);
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);
	uint32_t server = owner;

	switch (state) {
	case DCM_CLAIMED:
	case DCM_CONNECTION_POSTED:
	case DCM_CONNECTION_REFUSED:
	case DCM_CONNECTION_HUNGUP:
		return owner != client || drop(seg, ref, owner, state, by);
	case DCM_CONNECTION_OPEN:
		if (owner != client)
			return true;
		server = dcm_load(&c->server, acquire);
		break;
	case DCM_CONNECTION_TAKEN:
	case DCM_CONNECTION_ACCEPTED:
		if (dcm_load(&c->client, acquire) != client)
			return true;
		break;
	case DCM_CONNECTION_ENDED:
		/* Perhaps the client died before it said so. */
		if (dcm_load(&c->client, acquire) == client)
			dcm_rendezvous_tell_server(seg, ref.index, owner);
		return true;
	default:
		return true;
	}
	if (!dcm_slot_step(&seg->connection, ref, owner, state, server, DCM_CONNECTION_ENDED))
		return false;
	/* Dying before this line: our reaper finds ENDED with our name on it, and kicks again. */
	DCM_LINE(leaving_client_kicks) dcm_rendezvous_tell_server(seg, ref.index, server);
	return true;
}

static bool server_step(const struct dcm_segment *seg, struct dcm_ref ref, uint64_t word,
			uint32_t server, uint32_t by)
{
	uint32_t state = dcm_word_state(word), owner = dcm_word_owner(word);
	struct dcm_connection *c = dcm_connection_at(seg, ref.index);
	uint32_t client = owner, next = DCM_CONNECTION_HUNGUP;

	switch (state) {
	case DCM_CONNECTION_ENDED:
		return owner != server || drop(seg, ref, owner, state, by);
	case DCM_CONNECTION_TAKEN:
	case DCM_CONNECTION_ACCEPTED:
		if (owner != server)
			return true;
		client = dcm_load(&c->client, acquire);
		next = DCM_CONNECTION_REFUSED;
		/* The slot is not given back without us. Dying before the step leaves it to the reaper,
		   whose refusal then is as good as ours. */
		if (by == server)
			dcm_store(&c->declined, 1u, release);
		break;
	case DCM_CONNECTION_OPEN:
		if (dcm_load(&c->server, acquire) != server)
			return true;
		break;
	case DCM_CONNECTION_REFUSED:
	case DCM_CONNECTION_HUNGUP:
		/* Perhaps the server died before it said so; and its client, who looked when the
		   endpoint was gone already, may sleep without a guard. */
		if (dcm_load(&c->server, acquire) == server)
			DCM_LINE(reaper_tells_refused) wake_client(seg, c);
		return true;
	default:
		return true;
	}
	if (!dcm_slot_step(&seg->connection, ref, owner, state, client, next))
		return false;
	/* Dying before this line: the client's guard, our alive word, ends its sleep. */
	DCM_LINE(leaving_server_wakes) wake_client(seg, c);
	return true;
}

/* States only move on, so a few looks see the end of it. */
enum { LOOKS = 16 };

static void leave(const struct dcm_segment *seg, struct dcm_ref ref, uint32_t self, step_fn *step)
{
	dcm_atomic64 *slot = dcm_slot_word(&seg->connection, ref.index);

	for (int looks = 0; slot != NULL && looks < LOOKS; looks++) {
		uint64_t word = dcm_load(slot, seq);

		if (dcm_word_generation(word) != ref.generation || step(seg, ref, word, self, self))
			return;
	}
}

void dcm_rendezvous_client_leaves(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref)
{
	leave(seg, ref, self, client_step);
}

void dcm_rendezvous_server_leaves(const struct dcm_segment *seg, uint32_t self, struct dcm_ref ref)
{
	leave(seg, ref, self, server_step);
}

/*
 * For the dead, from any state. What the party fields say is of the word's own use of the slot,
 * and that the dead one's slot is not free yet, checked behind both, makes it the dead one's
 * (dcm_process_owned).
 */
static bool reap_once(const struct dcm_segment *seg, struct dcm_connection *c, uint32_t index,
		      struct dcm_ref dead, uint32_t by)
{
	uint64_t word = dcm_load(&c->word, seq);
	struct dcm_ref ref = { index, dcm_word_generation(word) };
	uint32_t state = dcm_word_state(word);
	bool owns = dcm_word_owner(word) == dead.index;
	bool client = dcm_load(&c->client, acquire) == dead.index;
	bool server = dcm_load(&c->server, acquire) == dead.index;

	if (state == DCM_FREE || dcm_process_generation(seg, dead.index) != dead.generation)
		return true;
	if (state == DCM_REAP || state == DCM_CLAIMED)
		return !owns || drop(seg, ref, dead.index, state, by);
	if ((owns || server) && !server_step(seg, ref, word, dead.index, by))
		return false;
	if (dcm_load(&c->word, seq) != word)
		return false;
	return (!owns && !client) || client_step(seg, ref, word, dead.index, by);
}

void dcm_rendezvous_reap(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			 uint32_t by)
{
	struct dcm_connection *c = dcm_connection_at(seg, index);

	for (int looks = 0; c != NULL && looks < LOOKS; looks++)
		if (reap_once(seg, c, index, dead, by))
			return;
}

void dcm_rendezvous_tell_client(const struct dcm_segment *seg, uint32_t index)
{
	struct dcm_connection *c = dcm_connection_at(seg, index);

	if (c != NULL)
		wake_client(seg, c);
}

/* Who alone could serve a request, or was about to refuse it: is it the process at @dead? */
static bool waits_for(const struct dcm_segment *seg, struct dcm_connection *c, uint32_t dead)
{
	uint64_t target = dcm_load(&c->target, seq), sid = dcm_load(&c->server_sid, acquire);
	dcm_atomic64 *slot;

	if (!dcm_target_is_sent(target))
		return sid != 0 && dcm_process_made_sid(seg, dead, sid);
	slot = dcm_slot_word(&seg->endpoint, dcm_target_endpoint(target).index);
	return slot != NULL && dcm_word_owner(dcm_load(slot, seq)) == dead;
}

void dcm_rendezvous_notice(const struct dcm_segment *seg, uint32_t index, uint32_t dead)
{
	struct dcm_connection *c = dcm_connection_at(seg, index);
	uint64_t word = c != NULL ? dcm_load(&c->word, seq) : 0;
	uint32_t state = dcm_word_state(word), client, server;

	if (state < DCM_CONNECTION_POSTED || state == DCM_REAP)
		return;
	client = dcm_load(&c->client, acquire);
	/* One that has just taken it may not have said so. */
	server = state == DCM_CONNECTION_TAKEN || state == DCM_CONNECTION_ACCEPTED
			 ? dcm_word_owner(word)
			 : dcm_load(&c->server, acquire);
	/* Kicked, not rung: a session's bell is in memory that is not ours. */
	if (server == dead && state != DCM_CONNECTION_POSTED) {
		DCM_LINE(notice_tells_client) dcm_process_kick_for(seg, client, DCM_KICK_SOURCES);
	} else if (state == DCM_CONNECTION_POSTED || state == DCM_CONNECTION_REFUSED) {
		if (waits_for(seg, c, dead))
			DCM_LINE(notice_tells_waiting)
			dcm_process_kick_for(seg, client, DCM_KICK_SOURCES);
	} else if (client == dead) {
		dcm_rendezvous_tell_server(seg, index, server);
		dcm_process_kick_for(seg, server, DCM_KICK_SOURCES);
	}
}
