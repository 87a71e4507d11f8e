/* SPDX-License-Identifier: BSD-2-Clause */
/* rendezvous_take - which requests wait for an endpoint, and the oldest of them taken */
#include "shm/index.h"
#include "shm/process.h"
#include "shm/rendezvous.h"
#include "shm/target.h"

static void view_request(const struct dcm_segment *seg, struct dcm_connection *c,
			 struct dcm_request_view *view)
{
	uint32_t client = dcm_load(&c->client, acquire);
	struct dcm_process *process = dcm_process_at(seg, client);

	*view = (struct dcm_request_view){ .client = { client,
						       dcm_process_generation(seg, client) },
					   .client_sid = dcm_load(&c->client_sid, acquire),
					   .gift = { dcm_load(&c->gift_key, acquire),
						     dcm_load(&c->gift, acquire) } };
	if (process != NULL)
		dcm_name_load(view->client_name, &process->name);
}

static uint64_t ticket_of(struct dcm_connection *c, uint64_t *word)
{
	*word = dcm_load(&c->word, seq);
	return dcm_load(&c->ticket, acquire);
}

/* Was it sent to @endpoint, and its client is not known dead? */
static bool is_waiting(const struct dcm_segment *seg, struct dcm_connection *c, uint64_t word,
		       struct dcm_ref endpoint)
{
	return dcm_word_state(word) == DCM_CONNECTION_POSTED &&
	       dcm_load(&c->target, seq) == dcm_target_sent(endpoint) &&
	       dcm_process_alive(seg, dcm_word_owner(word));
}

bool dcm_rendezvous_waiting(const struct dcm_segment *seg, struct dcm_ref endpoint,
			    uint64_t *newest)
{
	struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint.index);
	const dcm_atomic64 *row = dcm_request_row(seg, dcm_load(&e->type_hash, relaxed));
	uint32_t cursor = 0, index;
	bool any = false;

	*newest = 0;
	while (dcm_index_next(row, seg->connection.count, &cursor, &index)) {
		struct dcm_connection *c = dcm_connection_at(seg, index);
		uint64_t word, ticket = ticket_of(c, &word);

		if (!is_waiting(seg, c, word, endpoint))
			continue;
		any = true;
		if (ticket > *newest)
			*newest = ticket;
	}
	return any;
}

/* A request that was seen waiting. */
struct candidate {
	struct dcm_ref ref; /* index UINT32_MAX: none */
	uint64_t ticket, word;
	dcm_atomic64 *row;
};

/* The oldest for @endpoint, if it is older than what *@best has. True: it is. */
static bool older(const struct dcm_segment *seg, struct dcm_ref endpoint, struct candidate *best)
{
	struct dcm_endpoint *e = dcm_endpoint_at(seg, endpoint.index);
	dcm_atomic64 *row = dcm_request_row(seg, dcm_load(&e->type_hash, relaxed));
	uint32_t cursor = 0, index;
	bool any = false;

	while (dcm_index_next(row, seg->connection.count, &cursor, &index)) {
		struct dcm_connection *c = dcm_connection_at(seg, index);
		uint64_t word, ticket = ticket_of(c, &word);

		if (ticket >= best->ticket || !is_waiting(seg, c, word, endpoint))
			continue;
		*best = (struct candidate){
			{ index, dcm_word_generation(word) }, ticket, word, row
		};
		any = true;
	}
	return any;
}

bool dcm_rendezvous_take_any(const struct dcm_segment *seg, uint32_t self,
			     const struct dcm_ref *endpoints, size_t count, size_t *which,
			     struct dcm_ref *out, struct dcm_request_view *view)
{
	/* Each round that ends without a catch means that somebody else took or withdrew one. */
	for (uint32_t round = 0; round <= seg->connection.count; round++) {
		struct candidate best = { .ref.index = UINT32_MAX, .ticket = UINT64_MAX };
		struct dcm_connection *c;

		for (size_t i = 0; i < count; i++)
			if (older(seg, endpoints[i], &best))
				*which = i;
		if (best.ref.index == UINT32_MAX)
			return false;
		*out = best.ref;
		c = dcm_connection_at(seg, best.ref.index);
		/* Before the step: once it is taken its client may leave, and its slot with it. */
		view_request(seg, c, view);
		if (!dcm_slot_step(&seg->connection, best.ref, dcm_word_owner(best.word),
				   DCM_CONNECTION_POSTED, self, DCM_CONNECTION_TAKEN))
			continue;
		dcm_store(&c->server, self, release);
		dcm_index_clear(best.row, best.ref.index);
		return true;
	}
	return false;
}

bool dcm_rendezvous_take(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint,
			 struct dcm_ref *out, struct dcm_request_view *view)
{
	size_t which;

	return dcm_rendezvous_take_any(seg, self, &endpoint, 1, &which, out, view);
}
