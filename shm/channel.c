/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/channel.h"

#include <errno.h>
#include <string.h>

#include "shm/bell.h"

#define CHANNEL_MAGIC 0x314e414843204d44ull /* "DM CHAN1" in memory */
#define CHANNEL_LAYOUT 2u

enum { STATE_MASK = 7, WAITER = 8, GENERATION_SHIFT = 4 };

static uint32_t fingerprint(void)
{
	static const uint32_t facts[] = {
		sizeof(struct dcm_channel_header),
		offsetof(struct dcm_channel_header, client_gone),
		offsetof(struct dcm_channel_header, bell),
		offsetof(struct dcm_channel_header, ring),
		offsetof(struct dcm_channel_header, call),
		sizeof(struct dcm_call),
		offsetof(struct dcm_call, offset),
		DCM_CHANNEL_ARENA,
	};
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
		hash = (hash ^ facts[i]) * 16777619u;
	return hash;
}

/* Two equal halves behind the front, in whole arena chunks. */
static uint64_t half_of(uint64_t bytes)
{
	return (bytes - DCM_CHANNEL_ARENA) / 2 / 65536 * 65536;
}

void dcm_channel_format(void *base, uint64_t bytes, uint64_t nonce)
{
	struct dcm_channel_header *h = base;

	/* The file is new, so all else is zero: calls idle, ring empty, nobody gone. */
	h->layout = CHANNEL_LAYOUT;
	h->fingerprint = fingerprint();
	h->bytes = bytes;
	h->nonce = nonce;
	h->half = half_of(bytes);
	h->magic = CHANNEL_MAGIC;
}

bool dcm_channel_view(struct dcm_channel *ch, void *base, uint64_t bytes, uint64_t nonce)
{
	const struct dcm_channel_header *h = base;

	if (bytes < DCM_CHANNEL_BYTES_MIN || bytes > DCM_CHANNEL_BYTES_MAX ||
	    h->magic != CHANNEL_MAGIC || h->layout != CHANNEL_LAYOUT ||
	    h->fingerprint != fingerprint() || h->bytes != bytes || h->nonce != nonce)
		return false;
	ch->shared = base;
	ch->bytes = bytes;
	ch->half = half_of(bytes);
	ch->requests = (unsigned char *)base + DCM_CHANNEL_ARENA;
	ch->replies = ch->requests + ch->half;
	return true;
}

static struct dcm_ring_view ring_of(struct dcm_channel *ch)
{
	return dcm_ring_view(&ch->shared->ring, DCM_CHANNEL_RING_SHIFT);
}

static uint32_t word_of(uint32_t generation, uint32_t state)
{
	return generation << GENERATION_SHIFT | state;
}

static bool parcel_valid(const struct dcm_channel *ch, const struct dcm_parcel *p)
{
	return DCM_ORDER(parcel_in_half, p->offset <= ch->half && p->size <= ch->half - p->offset,
			 true);
}

bool dcm_channel_post(struct dcm_channel *ch, uint32_t index, uint32_t generation,
		      const struct dcm_parcel *request)
{
	struct dcm_call *call = &ch->shared->call[index];

	/* relaxed: ordered by the word and by the ring cell, K1. */
	dcm_store(&call->offset, request->offset, relaxed);
	dcm_store(&call->size, request->size, relaxed);
	dcm_store(&call->status, (uint32_t)request->status, relaxed);
	dcm_store(&call->flags, request->flags, relaxed);
	dcm_store(&call->generation, generation, relaxed);
	/* release, K1. */
	dcm_store(&call->word, word_of(generation, DCM_CALL_POSTED), release);
	if (dcm_ring_push(ring_of(ch), index + 1) == DCM_RING_OK)
		return true;
	dcm_store(&call->word, word_of(generation, DCM_CALL_IDLE), relaxed);
	return false;
}

enum dcm_call_state dcm_channel_state(struct dcm_channel *ch, uint32_t index, uint32_t generation,
				      uint32_t *word)
{
	/* seq, pairs K2. */
	uint32_t seen = dcm_load(&ch->shared->call[index].word, seq);

	if (word != NULL)
		*word = seen;
	return seen >> GENERATION_SHIFT == generation ? (enum dcm_call_state)(seen & STATE_MASK)
						      : DCM_CALL_FAILED;
}

bool dcm_channel_wait(struct dcm_channel *ch, uint32_t index, uint32_t *word)
{
	if (*word & WAITER)
		return true;
	if (!dcm_cas(&ch->shared->call[index].word, word, *word | WAITER))
		return false;
	*word |= WAITER;
	return true;
}

bool dcm_channel_abandon(struct dcm_channel *ch, uint32_t index)
{
	dcm_atomic32 *word = &ch->shared->call[index].word;
	uint32_t seen = dcm_load(word, acquire);

	/* Only the server's answer changes the word under us, and only once. */
	for (int tries = 0; tries < 4 && (seen & STATE_MASK) == DCM_CALL_POSTED; tries++)
		if (dcm_cas(word, &seen,
			    (seen & ~(uint32_t)(STATE_MASK | WAITER)) | DCM_CALL_ABANDONED))
			return true;
	return false;
}

bool dcm_channel_reply(struct dcm_channel *ch, uint32_t index, struct dcm_parcel *reply)
{
	struct dcm_call *call = &ch->shared->call[index];

	/* relaxed: behind the acquire load that said ANSWERED, K2. */
	reply->offset = dcm_load(&call->reply_offset, relaxed);
	reply->size = dcm_load(&call->reply_size, relaxed);
	reply->status = (int32_t)dcm_load(&call->reply_status, relaxed);
	reply->flags = 0;
	return parcel_valid(ch, reply);
}

void dcm_channel_collect(struct dcm_channel *ch, uint32_t index, uint32_t generation)
{
	/* release, K3. */
	dcm_store(&ch->shared->call[index].word, word_of(generation, DCM_CALL_IDLE), release);
}

int dcm_channel_take(struct dcm_channel *ch, uint32_t *index, uint32_t *generation,
		     struct dcm_parcel *request)
{
	uint32_t value;

	/* A private bound: a client that posts and gives up for ever holds nobody here. */
	for (int calls = 0; calls < DCM_CHANNEL_CALLS; calls++) {
		struct dcm_call *call;
		uint32_t word;

		if (dcm_ring_pop(ring_of(ch), &value) != DCM_RING_OK)
			return DCM_RING_EMPTY;
		*index = value - 1;
		if (DCM_ORDER(call_in_table, *index >= DCM_CHANNEL_CALLS, false))
			return -EBADMSG;
		call = &ch->shared->call[*index];
		/* acquire, pairs K1. */
		word = dcm_load(&call->word, acquire);
		*generation = dcm_load(&call->generation, relaxed) & (UINT32_MAX >> GENERATION_SHIFT);
		*request = (struct dcm_parcel){ .offset = dcm_load(&call->offset, relaxed),
						.size = dcm_load(&call->size, relaxed),
						.status = (int32_t)dcm_load(&call->status, relaxed),
						.flags = dcm_load(&call->flags, relaxed) };
		if ((word & STATE_MASK) == DCM_CALL_POSTED && parcel_valid(ch, request))
			return DCM_RING_OK;
		DCM_LINE(abandoned_is_ended)
		dcm_channel_answer(ch, *index, *generation, request->flags, NULL);
		if ((word & STATE_MASK) != DCM_CALL_ABANDONED)
			return -EBADMSG;
	}
	return DCM_RING_EMPTY;
}

bool dcm_channel_more(struct dcm_channel *ch)
{
	return dcm_ring_depth(ring_of(ch)) != 0;
}

/* Is it that very call, not ended yet? */
static bool is_open(uint32_t word, uint32_t generation)
{
	uint32_t state = word & STATE_MASK;

	return word >> GENERATION_SHIFT == generation &&
	       (state == DCM_CALL_POSTED || state == DCM_CALL_ABANDONED);
}

/* From POSTED or ABANDONED to @state. Return: the word before, or 0: it was ended before. */
static uint32_t end_call(struct dcm_call *call, uint32_t generation, uint32_t state)
{
	uint32_t seen = dcm_load(&call->word, seq);

	/* The client changes it twice at the most: a waiter's bit, and giving up. */
	for (int tries = 0; tries < 4 && is_open(seen, generation); tries++)
		if (dcm_cas(&call->word, &seen, word_of(generation, state)))
			return seen;
	return 0;
}

/* It has the same client for as long as it lasts. */
static uint32_t client_of(const void *channel)
{
	return ((const struct dcm_channel *)channel)->client;
}

/* Whoever waits for any of several: asleep, or to be told by its keeper. */
static void tell_any(struct dcm_channel *ch)
{
	DCM_LINE(answer_wakes_any) dcm_park_wake_all(&ch->shared->done);
	if (ch->seg != NULL)
		DCM_LINE(answer_rings) dcm_bell_ring(ch->seg, &ch->shared->bell, client_of, ch);
}

bool dcm_channel_answer(struct dcm_channel *ch, uint32_t index, uint32_t generation, uint32_t flags,
			const struct dcm_parcel *reply)
{
	struct dcm_call *call = &ch->shared->call[index];
	uint32_t old;

	if (reply != NULL) {
		/* relaxed: ordered by the step, K2. */
		dcm_store(&call->reply_offset, reply->offset, relaxed);
		dcm_store(&call->reply_size, reply->size, relaxed);
		dcm_store(&call->reply_status, (uint32_t)reply->status, relaxed);
	}
	/* seq, K2. Dying before this line: the client's guard, our alive word, ends its wait. */
	old = end_call(call, generation, reply != NULL ? DCM_CALL_ANSWERED : DCM_CALL_FAILED);
	if (old & WAITER)
		DCM_LINE(answer_wakes) dcm_park_wake_word(&call->word);
	if (flags & DCM_CALL_ASYNC)
		tell_any(ch);
	if ((old & STATE_MASK) == DCM_CALL_ABANDONED || (flags & DCM_CALL_ONE_WAY))
		DCM_LINE(answer_makes_room) dcm_park_wake_all(&ch->shared->room);
	return (old & STATE_MASK) == DCM_CALL_POSTED;
}

bool dcm_channel_returned(struct dcm_channel *ch, uint32_t index, uint32_t generation)
{
	/* acquire, pairs K3. */
	return (dcm_load(&ch->shared->call[index].word, acquire) & ~(uint32_t)WAITER) !=
	       word_of(generation, DCM_CALL_ANSWERED);
}

static void fail(struct dcm_call *call)
{
	uint32_t generation = dcm_load(&call->word, seq) >> GENERATION_SHIFT;

	if (end_call(call, generation, DCM_CALL_FAILED) & WAITER)
		DCM_LINE(hang_up_wakes_caller) dcm_park_wake_word(&call->word);
}

void dcm_channel_hang_up(struct dcm_channel *ch, enum dcm_server_says why)
{
	uint32_t value;

	/* seq, K4. */
	dcm_store(&ch->shared->server_gone,
		  (uint32_t)DCM_ORDER(revoked_is_said, why, DCM_SERVER_GONE),
		  DCM_ORDER(gone_before_emptying, seq, release));
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		if (dcm_ring_pop(ring_of(ch), &value) != DCM_RING_OK)
			break;
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		fail(&ch->shared->call[i]);
	dcm_park_wake_all(&ch->shared->room);
	tell_any(ch);
}

bool dcm_channel_hung_up(struct dcm_channel *ch)
{
	return dcm_load(&ch->shared->server_gone, seq) != 0;
}
