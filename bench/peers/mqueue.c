/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mqueue - POSIX message queues, one into each server and one back to each client
 *
 * Every byte is copied in and out by the kernel. Of as many messages, and as large ones, as an
 * ordinary user may have (fs.mqueue.msg_max and msgsize_max: 10 of 8 KiB unless the machine is set
 * up otherwise; of larger ones it cannot have any). A frame of 8 bytes says who asks. Producers
 * share the queue of their server; a publication is sent to one queue for each subscriber.
 * Spinning: the same calls that do not block, in a loop; there is no other.
 *
 * The queues are inherited and have no name any more when the measurement begins: nothing stays,
 * whatever happens. So connecting is not measured. Nobody learns of a death: no PEER_DEATH.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/peers/peer.h"

enum { FRAME = 8, LARGEST = 8192 - FRAME };

/* The data is aligned, with its frame in front of it. */
struct own {
	unsigned char *in, *out;
};

struct queues {
	mqd_t server[256], client[256];
};

static long limit(const char *path)
{
	FILE *file = fopen(path, "re");
	long value = 0;

	if (file == NULL || fscanf(file, "%ld", &value) != 1)
		value = 0;
	if (file != NULL)
		fclose(file);
	return value;
}

static mqd_t make(const struct peer_job *job)
{
	struct mq_attr attributes = { .mq_maxmsg = limit("/proc/sys/fs/mqueue/msg_max"),
				      .mq_msgsize = (long)job->size + FRAME };
	char name[32];
	mqd_t queue;

	snprintf(name, sizeof(name), "/dcm-bench-%d", (int)getpid());
	queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL | (job->wait == PEER_SPIN ? O_NONBLOCK : 0),
			0600, &attributes);
	if (queue == (mqd_t)-1 && (errno == EMFILE || errno == ENOSPC))
		peer_cannot("more queues than this user may have");
	if (queue == (mqd_t)-1)
		peer_fail("mq_open: %s", strerror(errno));
	mq_unlink(name);
	return queue;
}

static void prepare(struct peer_job *job)
{
	struct queues *all = peer_memory(sizeof(*all));

	for (uint32_t i = 0; i < job->servers; i++)
		all->server[i] = make(job);
	for (uint32_t i = 0; i < job->clients && job->what == PEER_CALL; i++)
		all->client[i] = make(job);
	job->shared = all;
}

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));

	o->in = (unsigned char *)peer_memory(64 + e->job->size) + 64 - FRAME;
	o->out = (unsigned char *)peer_memory(64 + e->job->size) + 64 - FRAME;
	e->own = o;
}

static void nothing(struct peer_end *e)
{
	(void)e;
}

static void put(mqd_t queue, const unsigned char *from, size_t size)
{
	while (mq_send(queue, (const char *)from, FRAME + size, 0) != 0)
		if (errno != EAGAIN && errno != EINTR)
			peer_fail("mq_send: %s", strerror(errno));
}

static void get(const struct peer_end *e, mqd_t queue, struct peer_message *m)
{
	unsigned char *in = ((struct own *)e->own)->in;
	ssize_t got;

	while ((got = mq_receive(queue, (char *)in, FRAME + e->job->size, NULL)) < 0)
		if (errno != EAGAIN && errno != EINTR)
			peer_fail("mq_receive: %s", strerror(errno));
	m->data = in + FRAME;
	m->size = (size_t)got - FRAME;
	memcpy(&m->own[0], in, FRAME);
}

static void take(struct peer_end *e, struct peer_message *m)
{
	const struct queues *all = e->job->shared;

	get(e, all->server[e->number], m);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	uint64_t from = e->number;

	memcpy(((struct own *)e->own)->out, &from, FRAME);
	m->data = ((struct own *)e->own)->out + FRAME;
	m->size = size;
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	loan(e, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	const struct queues *all = e->job->shared;

	put(all->client[request->own[0]], ((struct own *)e->own)->out, reply->size);
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	const struct queues *all = e->job->shared;

	put(all->server[e->job->servers > 1 ? e->number : 0], ((struct own *)e->own)->out, m->size);
	get(e, all->client[e->number], reply);
	return true;
}

static void send_one(struct peer_end *e, struct peer_message *m, bool more)
{
	const struct queues *all = e->job->shared;
	uint32_t first = e->job->what != PEER_FAN && e->job->servers > 1 ? e->number : 0;
	uint32_t count = e->job->what == PEER_FAN ? e->job->servers : 1;

	(void)more;
	for (uint32_t i = 0; i < count; i++)
		put(all->server[first + i], ((struct own *)e->own)->out, m->size);
}

const struct peer peer = {
	.name = "mqueue",
	.what = "POSIX message queues, as large as an ordinary user may have them",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN,
	.waits = PEER_SPIN | PEER_SLEEP,
	.largest = LARGEST,
	.prepare = prepare,
	.begin = begin,
	.serve = nothing,
	.take = take,
	.room = room,
	.answer = answer,
	.open = nothing,
	.loan = loan,
	.call = call,
	.send = send_one,
};
