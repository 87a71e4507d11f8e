/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "shm/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "shm/barrier.h"
#include "shm/bell.h"

#define CHANNEL_MAGIC  0x314e414843204d44ull /* "DM CHAN1" in memory */
#define CHANNEL_LAYOUT 3u

enum { STATE_MASK = 7, WAITER = 8, GENERATION_SHIFT = 4, FLAGS_SHIFT = 16 };

/* Of a stream, so many cells are made ready to be written before their turn. */
enum { CELLS_AHEAD = 6 };

/* Of a message that comes, so much is fetched before anybody asks for it. Of one way it is enough that
   the processor sees where the rest will be: nobody waits for it, and the next one comes behind it. */
enum { LINE = 64, FETCHED = 64 * LINE, FETCHED_ONE_WAY = 8 * LINE };

/* Generations of one slot: far fewer than the half of all, within which one is the later. */
enum { RETURNED_AT_LEAST_EACH = 1 << 24 };

static uint32_t fingerprint(void)
{
	static const uint32_t facts[] = {
		sizeof(struct dcm_channel_header),
		offsetof(struct dcm_channel_header, client_gone),
		offsetof(struct dcm_channel_header, much),
		offsetof(struct dcm_channel_header, bell),
		offsetof(struct dcm_channel_header, done),
		offsetof(struct dcm_channel_header, returned),
		offsetof(struct dcm_channel_header, cells),
		offsetof(struct dcm_channel_header, replies),
		sizeof(struct dcm_cell),
		sizeof(struct dcm_reply),
		DCM_CHANNEL_SMALL,
		DCM_CHANNEL_SMALL_ROOMS,
	};
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
		hash = (hash ^ facts[i]) * 16777619u;
	return hash;
}

/* Two equal halves behind the front: small rooms, and an arena of whole chunks. */
static uint64_t half_of(uint64_t bytes)
{
	return DCM_CHANNEL_SMALL_BYTES + (bytes - DCM_CHANNEL_COMMITTED) / 2 / 65536 * 65536;
}

/* A signal of the host's ends it: so often it is begun anew. */
enum { TRIES = 16 };

static int commit(int fd, uint64_t at, uint64_t bytes)
{
	int r = -EINTR;

	for (int i = 0; i < TRIES && r == -EINTR; i++)
		r = fallocate(fd, 0, (off_t)at, (off_t)bytes) == 0 ? 0 : -errno;
	return r;
}

int dcm_channel_commit(int fd, uint64_t bytes)
{
	int r = commit(fd, 0, DCM_CHANNEL_FRONT + DCM_CHANNEL_SMALL_BYTES);

	return r < 0 ? r : commit(fd, DCM_CHANNEL_FRONT + half_of(bytes), DCM_CHANNEL_SMALL_BYTES);
}

void dcm_channel_format(void *base, uint64_t bytes, uint64_t nonce)
{
	struct dcm_channel_header *h = base;

	/* The file is new, so all else is zero: nothing posted, nothing answered, nobody gone. */
	h->layout = CHANNEL_LAYOUT;
	h->fingerprint = fingerprint();
	h->bytes = bytes;
	h->nonce = nonce;
	h->half = half_of(bytes);
	h->barriers = dcm_barrier_joined();
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
	ch->requests = (unsigned char *)base + DCM_CHANNEL_FRONT;
	ch->replies = ch->requests + ch->half;
	ch->barriers = h->barriers == 1 && dcm_barrier_joined();
	atomic_init(&ch->next, 1);
	atomic_init(&ch->expected, 0);
	ch->streaming = false;
	ch->ended = 0;
	return true;
}

/* What is read is of no use, and may be written at that moment: for the page alone. */
__attribute__((noinline, no_sanitize("thread"))) static void touch(const volatile void *p)
{
	(void)*(const volatile unsigned char *)p;
}

void dcm_channel_settle(const struct dcm_channel *ch)
{
	const struct dcm_channel_header *h = ch->shared;

	touch(&h->client_gone);
	touch(h->cells);
	touch(ch->requests);
	touch(h->replies);
	touch(ch->replies);
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

/* Each line that is waited for alone takes as long as all of them: they are on their way here while
   the message is handed out. */
static void fetch(const unsigned char *half, const struct dcm_parcel *parcel, uint64_t most)
{
	for (uint64_t at = 0; at < most && at < parcel->size; at += LINE)
		__builtin_prefetch(half + parcel->offset + at);
}

static struct dcm_cell *cell_of(const struct dcm_channel *ch, uint32_t message)
{
	return &ch->shared->cells[message % DCM_CHANNEL_CALLS];
}

void dcm_channel_post(struct dcm_channel *ch, struct dcm_call call,
		      const struct dcm_parcel *request)
{
	uint32_t message = dcm_load(&ch->next, relaxed);
	struct dcm_cell *cell = cell_of(ch, message);
	bool waits = !ch->streaming || (request->flags & DCM_CALL_ONE_WAY) == 0;

	/* relaxed: ordered by the word, K1. */
	dcm_store(&cell->generation, call.generation, relaxed);
	dcm_store(&cell->call, call.index | request->flags << FLAGS_SHIFT, relaxed);
	dcm_store(&cell->status, (uint32_t)request->status, relaxed);
	dcm_store(&cell->offset, request->offset, relaxed);
	dcm_store(&cell->size, request->size, relaxed);
	/* seq, K1: before the caller's look at the listener; or release, K5. */
	dcm_store(&cell->word, message,
		  waits ? DCM_ORDER(message_before_looking, seq, release) : release);
	dcm_store(&ch->next, message + 1, relaxed);
	if (ch->streaming)
		dcm_channel_own(cell_of(ch, message + CELLS_AHEAD));
	ch->streaming = (request->flags & DCM_CALL_STREAM) != 0;
}

/* What a word says of that use of its slot. */
static enum dcm_call_state state_in(uint32_t word, uint32_t generation)
{
	return word >> GENERATION_SHIFT == generation ? (enum dcm_call_state)(word & STATE_MASK)
						      : DCM_CALL_POSTED;
}

enum dcm_call_state dcm_channel_state(struct dcm_channel *ch, struct dcm_call call, uint32_t *word)
{
	/* seq, pairs K2. */
	uint32_t seen = dcm_load(&ch->shared->replies[call.index].word, seq);
	enum dcm_call_state state = state_in(seen, call.generation);

	if (word != NULL)
		*word = seen;
	if (state == DCM_CALL_POSTED)
		/* Where the reply is if nothing else was asked of the server meanwhile. */
		__builtin_prefetch(ch->replies + (uint64_t)call.index * DCM_CHANNEL_SMALL);
	return state;
}

bool dcm_channel_ended(struct dcm_channel *ch, struct dcm_call call)
{
	/* seq, pairs K2. */
	bool ended = dcm_load(&ch->shared->done[call.index], seq) == call.generation;

	/* Lest what the slot's last call returned looks like the future, half a circle on. */
	if (ended && call.generation % RETURNED_AT_LEAST_EACH == 0)
		dcm_channel_return(ch, call);
	return ended;
}

bool dcm_channel_wait(struct dcm_channel *ch, struct dcm_call call, uint32_t *word)
{
	uint32_t marked = word_of(call.generation, DCM_CALL_POSTED) | WAITER;

	if (*word == marked)
		return true;
	if (!dcm_cas(&ch->shared->replies[call.index].word, word, marked))
		return false;
	*word = marked;
	return true;
}

static bool is_over(enum dcm_call_state state)
{
	return state != DCM_CALL_POSTED;
}

bool dcm_channel_abandon(struct dcm_channel *ch, struct dcm_call call)
{
	dcm_atomic32 *word = &ch->shared->replies[call.index].word;
	uint32_t seen = dcm_load(word, seq);

	/* Only the server's answer, once, and its hang-up change the word under us. */
	for (int tries = 0; tries < 4 && !is_over(state_in(seen, call.generation)); tries++)
		if (dcm_cas(word, &seen, word_of(call.generation, DCM_CALL_ABANDONED)))
			return true;
	return false;
}

bool dcm_channel_reply(struct dcm_channel *ch, struct dcm_call call, struct dcm_parcel *reply)
{
	struct dcm_reply *from = &ch->shared->replies[call.index];

	/* relaxed: behind the seq load that said ANSWERED, K2. */
	reply->offset = dcm_load(&from->offset, relaxed);
	reply->size = dcm_load(&from->size, relaxed);
	reply->status = (int32_t)dcm_load(&from->status, relaxed);
	reply->flags = 0;
	if (!parcel_valid(ch, reply))
		return false;
	fetch(ch->replies, reply, FETCHED);
	return true;
}

void dcm_channel_return(struct dcm_channel *ch, struct dcm_call call)
{
	/* release, K3. */
	dcm_store(&ch->shared->returned[call.index], call.generation, release);
}

/* Who sleeps for many slots has them, or as many as there will be. */
static void make_much(struct dcm_channel *ch)
{
	ch->ended = 0;
	dcm_park_wake_all(&ch->shared->much);
}

/* One message has ended. relaxed: who is not seen to sleep does not sleep for long. */
static void count_ended(struct dcm_channel *ch)
{
	if ((dcm_load(&ch->shared->much, relaxed) & 1) != 0 && ++ch->ended >= DCM_CHANNEL_MUCH)
		make_much(ch);
}

/* Has the client given it up before it was taken? A one-way message it never waits for. */
static bool given_up(struct dcm_channel *ch, struct dcm_call call, uint32_t flags)
{
	return (flags & DCM_CALL_ONE_WAY) == 0 &&
	       dcm_load(&ch->shared->replies[call.index].word, relaxed) ==
		       word_of(call.generation, DCM_CALL_ABANDONED);
}

int dcm_channel_take(struct dcm_channel *ch, struct dcm_call *call, struct dcm_parcel *request)
{
	/* A private bound: a client that posts and gives up for ever holds nobody here. */
	for (int calls = 0; calls < DCM_CHANNEL_CALLS; calls++) {
		uint32_t message = dcm_load(&ch->next, relaxed), where;
		struct dcm_cell *cell = cell_of(ch, message);
		bool valid;

		if (!dcm_channel_more(ch)) {
			if (ch->ended != 0)
				make_much(ch);
			return DCM_CHANNEL_EMPTY;
		}
		dcm_store(&ch->next, message + 1, relaxed);
		where = dcm_load(&cell->call, relaxed);
		call->index = where & ((1u << FLAGS_SHIFT) - 1);
		call->generation =
			dcm_load(&cell->generation, relaxed) & (UINT32_MAX >> GENERATION_SHIFT);
		*request = (struct dcm_parcel){ .offset = dcm_load(&cell->offset, relaxed),
						.size = dcm_load(&cell->size, relaxed),
						.status = (int32_t)dcm_load(&cell->status, relaxed),
						.flags = where >> FLAGS_SHIFT };
		ch->streaming = ch->barriers && (request->flags & DCM_CALL_STREAM) != 0;
		if (DCM_ORDER(call_in_table, call->index >= DCM_CHANNEL_CALLS, false))
			return -EBADMSG;
		valid = parcel_valid(ch, request);
		if (valid && !given_up(ch, *call, request->flags)) {
			dcm_store(&ch->expected, request->offset, relaxed);
			fetch(ch->requests, request,
			      (request->flags & DCM_CALL_ONE_WAY) != 0 ? FETCHED_ONE_WAY : FETCHED);
			return DCM_CHANNEL_TAKEN;
		}
		DCM_LINE(abandoned_is_ended)
		dcm_channel_answer(ch, *call, request->flags, NULL);
		if (!valid)
			return -EBADMSG;
	}
	return DCM_CHANNEL_EMPTY;
}

bool dcm_channel_more(struct dcm_channel *ch)
{
	uint32_t message = dcm_load(&ch->next, relaxed);
	uint64_t expected;

	/* seq, K1, and L2 of shm/listener.h: behind the ready bit that was cleared. */
	if (dcm_load(&cell_of(ch, message)->word, seq) == message)
		return true;
	expected = dcm_load(&ch->expected, relaxed);
	if (expected < DCM_CHANNEL_SMALL_BYTES)
		__builtin_prefetch(ch->requests + expected);
	return false;
}

/* It has the same client for as long as it lasts. */
static uint32_t client_of(const void *channel)
{
	return ((const struct dcm_channel *)channel)->client;
}

/* Whoever waits for any of several: asleep, or to be told by its keeper. */
static void tell_any(struct dcm_channel *ch)
{
	DCM_LINE(answer_wakes_any) dcm_park_wake_all(&ch->shared->any);
	if (ch->seg != NULL)
		DCM_LINE(answer_rings) dcm_bell_ring(ch->seg, &ch->shared->bell, client_of, ch);
}

static void make_room(struct dcm_channel *ch)
{
	DCM_LINE(answer_makes_room) dcm_park_wake_all(&ch->shared->room);
}

bool dcm_channel_answer(struct dcm_channel *ch, struct dcm_call call, uint32_t flags,
			const struct dcm_parcel *reply)
{
	struct dcm_reply *to = &ch->shared->replies[call.index];
	uint32_t old;

	if (flags & DCM_CALL_ONE_WAY) {
		/* seq, K2: before the look at who waits for room; or release, K5. */
		dcm_store(&ch->shared->done[call.index], call.generation,
			  flags & DCM_CALL_STREAM ? release
						  : DCM_ORDER(done_before_looking, seq, release));
		make_room(ch);
		count_ended(ch);
		return true;
	}
	if (reply != NULL) {
		/* relaxed: ordered by the swap, K2. */
		dcm_store(&to->offset, reply->offset, relaxed);
		dcm_store(&to->size, reply->size, relaxed);
		dcm_store(&to->status, (uint32_t)reply->status, relaxed);
	}
	/* seq, K2. Dying before this line: the client's guard, our alive word, ends its wait. */
	old = dcm_swap(&to->word, word_of(call.generation,
					  reply != NULL ? DCM_CALL_ANSWERED : DCM_CALL_FAILED));
	if (old & WAITER)
		DCM_LINE(answer_wakes) dcm_park_wake_word(&to->word);
	if (flags & DCM_CALL_ASYNC)
		tell_any(ch);
	if (old != word_of(call.generation, DCM_CALL_ABANDONED))
		return true;
	make_room(ch);
	return false;
}

bool dcm_channel_returned(struct dcm_channel *ch, struct dcm_call call)
{
	/* acquire, pairs K3. */
	uint32_t last = dcm_load(&ch->shared->returned[call.index], acquire);

	/* That one, or a later one, which was given up before it was taken; of 28 bits. */
	return (int32_t)((last - call.generation) << GENERATION_SHIFT) >= 0;
}

/* Whoever sleeps on the slot looks around: the mark goes, so that it does not sleep on. */
static void rouse(struct dcm_reply *reply)
{
	/* seq, K4. */
	if ((dcm_load(&reply->word, seq) & WAITER) != 0 &&
	    (dcm_and(&reply->word, ~(uint32_t)WAITER) & WAITER) != 0)
		DCM_LINE(hang_up_wakes_caller) dcm_park_wake_word(&reply->word);
}

void dcm_channel_hang_up(struct dcm_channel *ch, enum dcm_server_says why)
{
	/* seq, K4. */
	dcm_store(&ch->shared->server_gone,
		  (uint32_t)DCM_ORDER(revoked_is_said, why, DCM_SERVER_GONE),
		  DCM_ORDER(gone_before_rousing, seq, release));
	for (uint32_t i = 0; i < DCM_CHANNEL_CALLS; i++)
		rouse(&ch->shared->replies[i]);
	dcm_park_wake_all(&ch->shared->room);
	dcm_park_wake_all(&ch->shared->much);
	tell_any(ch);
}

bool dcm_channel_hung_up(struct dcm_channel *ch)
{
	return dcm_load(&ch->shared->server_gone, seq) != 0;
}
