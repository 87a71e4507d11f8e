/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lamport's ring in shared memory, with cached indices and payload in place: of messages that have
 * any order and number, the least that a queue between two processes costs.
 *
 * One ring for each direction. Each side keeps its own index and the other's as it last saw it, and
 * looks again only when the ring seems full or empty. A call is one message there and one back.
 * With a batch the producer stores its index once for all of them, and so does the consumer.
 *
 * Slots: as many as fit into the footprint, 4 MiB unless told, but 8 at least and 1,024 at most.
 * (256 KiB of small messages stay in the caches; more than a second-level cache between the two
 * lets the consumer read from the third level and not from the producer's core.)
 *
 * Fairness: it is no product. It has no names, no second producer, nobody learns of a death; a
 * stray store of either side is believed.
 */
#include <stdatomic.h>

#include "bench/peers/lib_futex.h"
#include "bench/peers/peer.h"

enum { SLOTS_LEAST = 8, SLOTS_MOST = 1024, FOOTPRINT = 4 << 20 };

struct ring {
	_Alignas(128) _Atomic uint64_t tail; /* of the producer */
	_Alignas(128) _Atomic uint64_t head; /* of the consumer */
	_Alignas(128) unsigned char slot[];
};

/* One direction, as one side knows it. */
struct side {
	struct ring *ring;
	uint64_t mine, told, other; /* own index, as the other was told it, the other's as seen */
	uint64_t slots;
	size_t stride;
};

struct own {
	struct side there, back;
	uint32_t batch;
};

static size_t stride(const struct peer_job *job)
{
	return (job->size + 63) / 64 * 64;
}

/* A power of two. */
static uint64_t slots(const struct peer_job *job)
{
	size_t bytes = job->footprint == 0 ? FOOTPRINT : job->footprint;
	uint64_t count = SLOTS_LEAST;

	while (count < SLOTS_MOST && 2 * count * stride(job) <= bytes)
		count *= 2;
	return count;
}

static size_t ring_bytes(const struct peer_job *job)
{
	return (sizeof(struct ring) + slots(job) * stride(job) + 127) / 128 * 128;
}

static void prepare(struct peer_job *job)
{
	job->shared = peer_shared(2 * job->clients * ring_bytes(job));
}

/* Client i and, of several servers, server i have the i-th pair of rings. */
static void begin(struct peer_end *e)
{
	struct own *own = peer_memory(sizeof(*own));
	unsigned char *pair = (unsigned char *)e->job->shared + 2 * e->number * ring_bytes(e->job);

	own->there = (struct side){ .ring = (struct ring *)(void *)pair,
				    .slots = slots(e->job),
				    .stride = stride(e->job) };
	own->back = own->there;
	own->back.ring = (struct ring *)(void *)(pair + ring_bytes(e->job));
	/* Half of the ring at most, or both would wait for the index of the other. */
	own->batch = e->job->batch < own->there.slots / 2 ? e->job->batch
							  : (uint32_t)own->there.slots / 2;
	e->own = own;
}

static void nothing(struct peer_end *e)
{
	(void)e;
}

static void at(const struct side *s, size_t size, struct peer_message *m)
{
	m->data = s->ring->slot + (s->mine & (s->slots - 1)) * s->stride;
	m->size = size;
}

static void produce(struct side *s, size_t size, struct peer_message *m)
{
	while (s->mine - s->other == s->slots)
		s->other = atomic_load_explicit(&s->ring->head, memory_order_acquire);
	at(s, size, m);
}

static void publish(struct side *s)
{
	s->told = ++s->mine;
	atomic_store_explicit(&s->ring->tail, s->mine, memory_order_release);
}

static void consume(struct side *s, size_t size, struct peer_message *m)
{
	while (s->mine == s->other)
		s->other = atomic_load_explicit(&s->ring->tail, memory_order_acquire);
	at(s, size, m);
}

static void free_one(struct side *s)
{
	atomic_store_explicit(&s->ring->head, ++s->mine, memory_order_release);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *own = e->own;

	produce(&own->there, size, m);
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *own = e->own;

	publish(&own->there);
	consume(&own->back, m->size, reply);
	return true;
}

static void release(struct peer_end *e, struct peer_message *reply)
{
	struct own *own = e->own;

	(void)reply;
	free_one(&own->back);
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *own = e->own;

	(void)m;
	if (more && own->there.mine + 1 - own->there.told < own->batch)
		own->there.mine++;
	else
		publish(&own->there);
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *own = e->own;

	consume(&own->there, e->job->size, m);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	struct own *own = e->own;

	(void)request;
	produce(&own->back, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *own = e->own;

	(void)request, (void)reply;
	publish(&own->back);
	free_one(&own->there);
}

static void give_back(struct peer_end *e, struct peer_message *m)
{
	struct side *s = &((struct own *)e->own)->there;

	(void)m;
	s->mine++;
	if (s->mine - s->told < ((struct own *)e->own)->batch)
		return;
	s->told = s->mine;
	atomic_store_explicit(&s->ring->head, s->mine, memory_order_release);
}

const struct peer peer = {
	.name = "ring",
	.what = "Lamport's ring with cached indices, one for each direction, payload in place",
	.kind = PEER_LIMIT,
	.can = PEER_CALL | PEER_SEND,
	.waits = PEER_SPIN,
	.prepare = prepare,
	.begin = begin,
	.serve = nothing,
	.open = nothing,
	.loan = loan,
	.call = call,
	.release = release,
	.send = send,
	.take = take,
	.room = room,
	.answer = answer,
	.give_back = give_back,
};
