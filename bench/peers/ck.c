/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ck - ck_ring in shared memory, and ck_ec to sleep
 *
 * Rings of one producer and one consumer, two for each pair that calls. Messages of up to 64 bytes
 * are the entries of the ring: written in place, copied out once. Of larger ones an entry is a slot
 * number and the message lies in its slot, read in place; there is one slot more than entries,
 * since an entry is free before what it named has been read. As many entries as the bare ring has.
 *
 * Spinning: the ring alone. Adaptive: ck_ec as it is by itself, of one producer, 100 looks and then
 * a futex. Sleeping: ck_ec with one look; of several producers, because its short way for one needs
 * the looks or finds out that it was not woken 2 ms later. A batch is told of once (ck_ring itself
 * stores its index for each). A full ring is waited for with a second ck_ec, which the consumer
 * raises four times in a round.
 *
 * Several producers call one server by a ring each, which it looks through, and one ck_ec. One-way
 * they share a ring (ck_ring_enqueue_mpsc): that is what ck has for it, and it is not safe between
 * processes: entries are committed in the order in which they were reserved, so a producer that is
 * killed between the two stops all others for good, and one that is preempted there lets them spin
 * for as long as it is away. Each copies its message in one go, so that this is short; of more than
 * 64 bytes it cannot be done in place, and is not done. A publication goes into one ring for each
 * subscriber and is told of once, for all sleep on one ck_ec.
 *
 * It has no names and nobody learns of a death: no PEER_CONNECT, PEER_APPEAR, PEER_DEATH.
 */
#define _GNU_SOURCE
#if __has_include(<ck_ec.h>)

#include <ck_ec.h>
#include <ck_ring.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/peers/lib_depth.h"

enum { SMALL = 64 };

struct line {
	_Alignas(64) uint64_t word[8];
};

struct slot {
	uint64_t number;
};

CK_RING_PROTOTYPE(line, line)
CK_RING_PROTOTYPE(slot, slot)

/* One direction between two. Behind it: its entries, and its slots. */
struct lane {
	_Alignas(128) struct ck_ring ring;
	_Alignas(128) struct ck_ec32 filled;
	_Alignas(128) struct ck_ec32 freed;
	_Alignas(128) unsigned char memory[];
};

/* As one side knows it. */
struct way {
	struct lane *lane;
	struct ck_ec32 *filled; /* several lanes may share one */
	void *entries;
	unsigned char *slots;
	uint64_t slot;	/* the producer's next */
	uint32_t taken; /* by the consumer */
};

struct own {
	struct way *there, *back;
	uint32_t ways, turn;
	bool spins, small, shared; /* shared: by several producers */
	size_t stride;
	uint32_t entries;
	struct ck_ec_mode mode;
	bool untold;	  /* of a batch */
	struct line *out; /* a message that goes into several rings, or one that is shared */
	struct line in;
};

static int get_time(const struct ck_ec_ops *ops, struct timespec *now)
{
	(void)ops;
	return clock_gettime(CLOCK_MONOTONIC, now);
}

static void wait_32(const struct ck_ec_wait_state *state, const uint32_t *word, uint32_t expected,
		    const struct timespec *deadline)
{
	(void)state;
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, deadline, NULL,
		FUTEX_BITSET_MATCH_ANY);
}

static void wake_32(const struct ck_ec_ops *ops, const uint32_t *word)
{
	(void)ops;
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static const struct ck_ec_ops adaptive = { .gettime = get_time,
					   .wait32 = wait_32,
					   .wake32 = wake_32 },
			      sleeping = { .gettime = get_time,
					   .wait32 = wait_32,
					   .wake32 = wake_32,
					   .busy_loop_iter = 1 };

static size_t stride(const struct peer_job *job)
{
	return (job->size + 63) / 64 * 64;
}

static uint32_t entries(const struct peer_job *job)
{
	return depth_of(job, stride(job));
}

static size_t entry_bytes(const struct peer_job *job)
{
	return entries(job) * (job->size <= SMALL ? sizeof(struct line) : sizeof(struct slot));
}

static size_t lane_bytes(const struct peer_job *job)
{
	size_t bytes = sizeof(struct lane) + entry_bytes(job);

	if (job->size > SMALL)
		bytes += (entries(job) + 1) * stride(job);
	return (bytes + 127) / 128 * 128;
}

static struct lane *lane_at(const struct peer_job *job, size_t number)
{
	return (struct lane *)(void *)((unsigned char *)job->shared + number * lane_bytes(job));
}

static size_t pairs(const struct peer_job *job)
{
	return job->clients > job->servers ? job->clients : job->servers;
}

static void prepare(struct peer_job *job)
{
	if (job->clients > job->servers && job->what != PEER_CALL && job->size > SMALL)
		peer_cannot("what several producers send has to fit into an entry");
	job->shared = peer_shared(2 * pairs(job) * lane_bytes(job));
	for (size_t i = 0; i < 2 * pairs(job); i++) {
		ck_ring_init(&lane_at(job, i)->ring, entries(job));
		ck_ec_init(&lane_at(job, i)->filled, 0);
		ck_ec_init(&lane_at(job, i)->freed, 0);
	}
}

static struct way way_of(const struct peer_job *job, size_t lane, size_t told)
{
	struct lane *l = lane_at(job, lane);

	return (struct way){ .lane = l,
			     .filled = &lane_at(job, told)->filled,
			     .entries = l->memory,
			     .slots = l->memory + entry_bytes(job) };
}

static void begin(struct peer_end *e)
{
	const struct peer_job *job = e->job;
	struct own *o = peer_memory(sizeof(*o));
	/* Of a call between many and one, or of a publication, this is the one. */
	bool one = job->what == PEER_FAN ? !e->serves
					 : job->what == PEER_CALL && e->serves && job->servers == 1;
	bool told_once = job->what == PEER_FAN || (job->what == PEER_CALL && job->servers == 1);

	o->ways = one ? (uint32_t)pairs(job) : 1;
	o->shared = job->what == PEER_MANY;
	o->there = peer_memory(o->ways * sizeof(*o->there));
	o->back = peer_memory(o->ways * sizeof(*o->back));
	for (uint32_t i = 0; i < o->ways; i++) {
		size_t lane = one ? i : o->shared ? 0 : e->number;

		o->there[i] = way_of(job, lane, told_once ? 0 : lane);
		o->back[i] = way_of(job, pairs(job) + lane, pairs(job) + lane);
	}
	o->spins = job->wait == PEER_SPIN;
	o->small = job->size <= SMALL;
	o->stride = stride(job);
	o->entries = entries(job);
	o->mode.ops = job->wait == PEER_ADAPTIVE ? &adaptive : &sleeping;
	o->mode.single_producer = job->wait == PEER_ADAPTIVE && job->clients <= job->servers;
	o->out = peer_memory(o->stride);
	e->own = o;
}

static void nothing(struct peer_end *e)
{
	(void)e;
}

static void tell(struct own *o, struct way *w)
{
	o->untold = false;
	if (!o->spins)
		ck_ec_inc(w->filled, &o->mode);
}

/* An entry to write, or null: there is none free. */
static void *try_reserve(const struct own *o, struct way *w)
{
	if (o->small)
		return ck_ring_enqueue_reserve_spsc_line(&w->lane->ring, w->entries);
	return ck_ring_enqueue_reserve_spsc_slot(&w->lane->ring, w->entries);
}

static bool try_copy(const struct own *o, struct way *w)
{
	return ck_ring_enqueue_mpsc_line(&w->lane->ring, w->entries, o->out);
}

/* Sleeps until the ring was not as full as it was when @seen was read. */
static void wait_freed(struct own *o, struct way *w, uint32_t seen)
{
	if (o->untold)
		tell(o, w);
	if (!o->spins)
		ck_ec_wait(&w->lane->freed, &o->mode, seen, NULL);
}

static void reserve(struct own *o, struct way *w, size_t size, struct peer_message *m)
{
	uint32_t seen = 0;
	void *entry;

	while ((entry = try_reserve(o, w)) == NULL) {
		if (seen != 0)
			wait_freed(o, w, seen - 1);
		seen = ck_ec_value(&w->lane->freed) + 1;
	}
	m->data = entry;
	m->size = size;
	if (o->small)
		return;
	((struct slot *)entry)->number = w->slot;
	m->data = w->slots + w->slot * o->stride;
	w->slot = w->slot == o->entries ? 0 : w->slot + 1;
}

static void commit(struct own *o, struct way *w, bool more)
{
	ck_ring_enqueue_commit_spsc(&w->lane->ring);
	o->untold = true;
	if (!more)
		tell(o, w);
}

/* False: there is nothing. A message is valid up to the next. */
static bool try_take(struct own *o, struct way *w, size_t size, struct peer_message *m)
{
	struct slot slot;

	if (o->small) {
		if (!ck_ring_dequeue_spsc_line(&w->lane->ring, w->entries, &o->in))
			return false;
		m->data = &o->in;
	} else {
		if (!ck_ring_dequeue_spsc_slot(&w->lane->ring, w->entries, &slot))
			return false;
		m->data = w->slots + slot.number * o->stride;
	}
	m->size = size;
	if (!o->spins && ++w->taken % (o->entries / 4) == 0)
		ck_ec_inc(&w->lane->freed, &o->mode);
	return true;
}

static void await(struct own *o, struct way *ways, size_t size, struct peer_message *m)
{
	uint32_t seen = 0;
	bool looked = false;

	for (;; looked = true) {
		for (uint32_t i = 0; i < o->ways; i++) {
			if (++o->turn >= o->ways)
				o->turn = 0;
			if (try_take(o, &ways[o->turn], size, m)) {
				m->own[0] = o->turn;
				return;
			}
		}
		if (o->spins)
			continue;
		if (looked)
			ck_ec_wait(ways[0].filled, &o->mode, seen, NULL);
		seen = ck_ec_value(ways[0].filled);
	}
}

static void take(struct peer_end *e, struct peer_message *m)
{
	await(e->own, ((struct own *)e->own)->there, e->job->size, m);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	struct own *o = e->own;

	reserve(o, &o->back[request->own[0]], size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	(void)reply;
	commit(o, &o->back[request->own[0]], false);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *o = e->own;

	if (o->ways == 1 && !o->shared) {
		reserve(o, o->there, size, m);
		return;
	}
	m->data = o->out;
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;

	commit(o, o->there, false);
	await(o, o->back, m->size, reply);
	return true;
}

static void send_shared(struct own *o, bool more)
{
	uint32_t seen = 0;

	while (!try_copy(o, o->there)) {
		if (seen != 0)
			wait_freed(o, o->there, seen - 1);
		seen = ck_ec_value(&o->there->lane->freed) + 1;
	}
	o->untold = true;
	if (!more)
		tell(o, o->there);
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;
	struct peer_message one;

	if (o->shared) {
		send_shared(o, more);
		return;
	}
	if (o->ways == 1) {
		commit(o, o->there, more);
		return;
	}
	for (uint32_t i = 0; i < o->ways; i++) {
		reserve(o, &o->there[i], m->size, &one);
		memcpy(one.data, m->data, m->size);
		commit(o, &o->there[i], true);
	}
	tell(o, o->there);
}

const struct peer peer = {
	.name = "ck",
	.what = "ck_ring in shared memory, with ck_ec to sleep",
	.package = "libck-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN,
	.waits = PEER_SPIN | PEER_ADAPTIVE | PEER_SLEEP,
	.prepare = prepare,
	.begin = begin,
	.serve = nothing,
	.take = take,
	.room = room,
	.answer = answer,
	.open = nothing,
	.loan = loan,
	.call = call,
	.send = send,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("ck", "ck_ring in shared memory, with ck_ec to sleep", "libck-dev");

#endif
