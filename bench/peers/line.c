/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bare cache line: two processes write and read one line by turns.
 *
 * The ball is the first word of the payload itself, so that one transfer of one line brings both:
 * nothing that moves 64 bytes can do with less. More than a line does not fit.
 *
 * Fairness: it is no channel. A message that is not 56 bytes or less cannot be sent, one that comes
 * before the last was read would be lost, and who waits can do nothing else. So the driver's eight
 * words are seven here and the ball; the eighth is made up again by the reader.
 */
#include <stdatomic.h>

#include "bench/peers/lib_futex.h"
#include "bench/peers/peer.h"

enum { WORDS = 7 };

struct line {
	_Alignas(128) _Atomic uint64_t ball; /* odd: the server's turn */
	uint64_t word[WORDS];
};

struct own {
	struct line *line;
	uint64_t ball;
	_Alignas(64) uint64_t buffer[WORDS + 1];
};

static void prepare(struct peer_job *job)
{
	job->shared = peer_shared(sizeof(struct line));
}

static void begin(struct peer_end *e)
{
	struct own *own = peer_memory(sizeof(*own));

	own->line = e->job->shared;
	e->own = own;
}

static void nothing(struct peer_end *e)
{
	(void)e;
}

/* The words go through a buffer in the first-level cache. */
static void give(struct own *own)
{
	for (int i = 0; i < WORDS; i++)
		own->line->word[i] = own->buffer[i];
	atomic_store_explicit(&own->line->ball, ++own->ball, memory_order_release);
}

static void catch (struct own *own)
{
	own->ball++;
	while (atomic_load_explicit(&own->line->ball, memory_order_acquire) != own->ball)
		;
	for (int i = 0; i < WORDS; i++)
		own->buffer[i] = own->line->word[i];
	own->buffer[WORDS] = own->buffer[0] + WORDS;
}

static void lend(struct peer_end *e, size_t size, struct peer_message *m)
{
	m->data = ((struct own *)e->own)->buffer;
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	give(e->own);
	catch (e->own);
	*reply = *m;
	return true;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	catch (e->own);
	lend(e, e->job->size, m);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	lend(e, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	(void)request, (void)reply;
	give(e->own);
}

const struct peer peer = {
	.name = "line",
	.what = "one cache line is bounced, with the payload in it",
	.kind = PEER_LIMIT,
	.can = PEER_CALL,
	.waits = PEER_SPIN,
	.largest = (WORDS + 1) * sizeof(uint64_t),
	.most = 1,
	.prepare = prepare,
	.begin = begin,
	.serve = nothing,
	.open = nothing,
	.loan = lend,
	.call = call,
	.take = take,
	.room = room,
	.answer = answer,
};
