/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libqb-ring - libqb's ring buffer (qb_rb), two for each pair
 *
 * Of one producer and one consumer: no PEER_MANY; several clients that call are pairs. Chunks are
 * written and read in place. A ring holds about as much as the bare one. Spinning: without its
 * semaphore. Sleeping: its semaphore in shared memory, posted for each message. It has no way to
 * wait for room: a full ring is asked again after sched_yield(), sleeping or not.
 *
 * A publication is copied into one ring for each subscriber. Nobody learns of a death, and
 * connecting is what libqb-ipc is for.
 *
 * The rings are inherited and have no name any more when the measurement begins: nothing stays,
 * whatever happens.
 */
#if __has_include(<qb/qbrb.h>)

#include <errno.h>
#include <qb/qbrb.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/peers/lib_depth.h"

enum { CHUNK_HEADER = 16 };

struct rings {
	qb_ringbuffer_t *there[256], *back[256];
};

struct own {
	qb_ringbuffer_t **there, *back;
	uint32_t count; /* of there: more than one for a publisher */
	void *out;
};

static void forget(const char *name, const char *part)
{
	char path[128];

	snprintf(path, sizeof(path), "/dev/shm/qb-%s-%s", name, part);
	unlink(path);
}

static qb_ringbuffer_t *make(const struct peer_job *job)
{
	size_t each = job->size + CHUNK_HEADER;
	uint32_t flags = QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS;
	char name[64];
	qb_ringbuffer_t *ring;

	if (job->wait == PEER_SPIN)
		flags |= QB_RB_FLAG_NO_SEMAPHORE;
	snprintf(name, sizeof(name), "dcm-bench-%d", (int)getpid());
	ring = qb_rb_open(name, depth_of(job, each) * each, flags, 0);
	if (ring == NULL)
		peer_fail("qb_rb_open: %s", strerror(errno));
	forget(name, "header");
	forget(name, "data");
	return ring;
}

static void prepare(struct peer_job *job)
{
	struct rings *all = peer_memory(sizeof(*all));

	if (job->clients > job->servers)
		peer_cannot("a ring of libqb has one producer");
	for (uint32_t i = 0; i < job->clients || i < job->servers; i++) {
		all->there[i] = make(job);
		if (job->what == PEER_CALL)
			all->back[i] = make(job);
	}
	job->shared = all;
}

static void begin(struct peer_end *e)
{
	struct rings *all = e->job->shared;
	struct own *o = peer_memory(sizeof(*o));

	o->there = &all->there[e->number];
	o->back = all->back[e->number];
	o->count = e->job->what == PEER_FAN && !e->serves ? e->job->servers : 1;
	o->out = peer_memory(e->job->size);
	e->own = o;
}

static void nothing(struct peer_end *e)
{
	(void)e;
}

static void *room_in(const struct peer_job *job, qb_ringbuffer_t *ring, size_t size)
{
	void *chunk;

	while ((chunk = qb_rb_chunk_alloc(ring, size)) == NULL)
		if (job->wait != PEER_SPIN)
			sched_yield();
	return chunk;
}

static void commit(qb_ringbuffer_t *ring, size_t size)
{
	int status = qb_rb_chunk_commit(ring, size);

	if (status != 0)
		peer_fail("qb_rb_chunk_commit: %s", strerror(-status));
}

static void next(qb_ringbuffer_t *ring, struct peer_message *m)
{
	ssize_t got;

	while ((got = qb_rb_chunk_peek(ring, &m->data, -1)) <= 0)
		;
	m->size = (size_t)got;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	next(*((struct own *)e->own)->there, m);
}

static void give_back(struct peer_end *e, struct peer_message *m)
{
	(void)m;
	qb_rb_chunk_reclaim(*((struct own *)e->own)->there);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	reply->data = room_in(e->job, ((struct own *)e->own)->back, size);
	reply->size = size;
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	commit(((struct own *)e->own)->back, reply->size);
	give_back(e, request);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *o = e->own;

	m->data = o->count == 1 ? room_in(e->job, *o->there, size) : o->out;
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;

	commit(*o->there, m->size);
	next(o->back, reply);
	return true;
}

static void release(struct peer_end *e, struct peer_message *reply)
{
	(void)reply;
	qb_rb_chunk_reclaim(((struct own *)e->own)->back);
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;

	(void)more;
	for (uint32_t i = 0; i < o->count; i++) {
		if (o->count > 1)
			memcpy(room_in(e->job, o->there[i], m->size), m->data, m->size);
		commit(o->there[i], m->size);
	}
}

const struct peer peer = {
	.name = "libqb-ring",
	.what = "libqb's ring buffer, with its semaphore to sleep",
	.package = "libqb-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_FAN,
	.waits = PEER_SPIN | PEER_SLEEP,
	.prepare = prepare,
	.begin = begin,
	.serve = nothing,
	.take = take,
	.give_back = give_back,
	.room = room,
	.answer = answer,
	.open = nothing,
	.loan = loan,
	.call = call,
	.release = release,
	.send = send,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("libqb-ring", "libqb's ring buffer, with its semaphore to sleep", "libqb-dev");

#endif
