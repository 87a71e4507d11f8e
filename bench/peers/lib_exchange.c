/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/peers/lib_exchange.h"

struct own {
	struct exchange *x;
	uint32_t there, back; /* the words as last seen, or as last written */
};

static size_t room_bytes(const struct peer_job *job)
{
	return (job->size + 127) / 128 * 128;
}

static size_t exchange_bytes(const struct peer_job *job)
{
	return sizeof(struct exchange) + 2 * room_bytes(job);
}

void exchange_prepare(struct peer_job *job)
{
	job->shared = peer_shared(job->clients * exchange_bytes(job));
}

/* Several subscribers share the one of their publisher. */
void exchange_begin(struct peer_end *e)
{
	struct own *own = peer_memory(sizeof(*own));
	size_t which = e->job->what == PEER_FAN ? 0 : e->number;

	own->x = (struct exchange *)(void *)((unsigned char *)e->job->shared +
					     which * exchange_bytes(e->job));
	e->own = own;
}

void exchange_nothing(struct peer_end *e)
{
	(void)e;
}

void exchange_loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	m->data = ((struct own *)e->own)->x->payload;
	m->size = size;
}

void exchange_room(struct peer_end *e, struct peer_message *request, size_t size,
		   struct peer_message *reply)
{
	(void)request;
	reply->data = ((struct own *)e->own)->x->payload + room_bytes(e->job);
	reply->size = size;
}

bool exchange_call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *own = e->own;

	exchange_tell(&own->x->there, 1);
	exchange_wait(own->x, &own->x->back, own->back++);
	exchange_room(e, m, m->size, reply);
	return true;
}

void exchange_send(struct peer_end *e, struct peer_message *m, bool more)
{
	(void)m, (void)more;
	exchange_tell(&((struct own *)e->own)->x->there, (int)e->job->servers);
}

void exchange_take(struct peer_end *e, struct peer_message *m)
{
	struct own *own = e->own;

	exchange_wait(own->x, &own->x->there, own->there++);
	exchange_loan(e, e->job->size, m);
}

void exchange_answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	(void)request, (void)reply;
	exchange_tell(&((struct own *)e->own)->x->back, 1);
}

void exchange_announce(struct peer_end *e)
{
	exchange_tell(&((struct own *)e->own)->x->there, 1);
}

void exchange_told(struct peer_end *e)
{
	struct own *own = e->own;

	exchange_wait(own->x, &own->x->there, own->there++);
}
