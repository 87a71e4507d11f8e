/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pipe - FIFOs of 1 MiB, one into each server and one back to each client
 *
 * A frame of 8 bytes stands in front of each message (see lib_stream); every byte is copied in and
 * out by the kernel. A batch is one write and one read. Producers share the pipe of their server,
 * since a write of up to PIPE_BUF (4,096) bytes is not mixed with others: larger messages of
 * several producers it cannot do. A publication is written to one pipe for each subscriber.
 * Spinning: the same calls that do not block, in a loop; there is no other.
 *
 * Connecting is nothing that pipes do (both ends come from one process, or both have to know two
 * names and who is alone with them), and so is appearing. A death is told: named pipes, so that
 * nobody else holds the end of who dies.
 *
 * Fairness: pages given away by vmsplice would save a copy, but nobody tells the sender when it may
 * write to them again; not used.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/peers/lib_stream.h"

enum { PIPE_BYTES = 1 << 20 };

struct own {
	struct stream_in in;
	struct stream_out out;
	int from;
	int *to; /* a client's: the servers; a server's: the clients */
	uint32_t count;
};

static const char *path_of(const struct peer_job *job, const char *kind, uint32_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "%s-%u", kind, number);
	return peer_path(job, name);
}

static void make(const struct peer_job *job, const char *kind, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const char *path = path_of(job, kind, i);

		if (mkfifo(path, 0600) != 0 && errno != EEXIST)
			peer_fail("%s: %s", path, strerror(errno));
	}
}

static void prepare(struct peer_job *job)
{
	size_t bytes = sizeof(struct stream_frame) + job->size;

	if (job->clients > job->servers && bytes > PIPE_BUF)
		peer_cannot("several writers of more than PIPE_BUF would mix their messages");
	make(job, "server", job->servers);
	make(job, "client", job->clients);
}

static int open_one(const struct peer_job *job, const char *kind, uint32_t number, int flags)
{
	const char *path = path_of(job, kind, number);
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		peer_fail("%s: %s", path, strerror(errno));
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* if this user may */
	fcntl(fd, F_SETFL, job->wait == PEER_SPIN ? O_NONBLOCK : 0);
	return fd;
}

static void begin(struct peer_end *e)
{
	const struct peer_job *job = e->job;
	struct own *o = peer_memory(sizeof(*o));

	signal(SIGPIPE, SIG_IGN);
	stream_begin_in(&o->in, job);
	stream_begin_out(&o->out, job, job->clients > job->servers ? PIPE_BUF : SIZE_MAX);
	o->count = 1;
	if (e->serves && job->servers == 1)
		o->count = job->clients;
	else if (!e->serves && job->what == PEER_FAN)
		o->count = job->servers;
	o->to = peer_memory(o->count * sizeof(*o->to));
	e->own = o;
}

/* Opened for reading and writing, each has both before the client is there. */
static void serve(struct peer_end *e)
{
	struct own *o = e->own;
	uint32_t first = e->job->servers > 1 && e->job->what != PEER_FAN ? e->number : 0;

	o->from = open_one(e->job, "server", e->number, O_RDWR);
	for (uint32_t i = 0; i < o->count; i++)
		o->to[i] = open_one(e->job, "client", first + i, O_RDWR);
}

static void open_pipes(struct peer_end *e)
{
	struct own *o = e->own;
	uint32_t first = e->job->servers > 1 && e->job->what != PEER_FAN ? e->number : 0;

	o->from = open_one(e->job, "client", e->number, O_RDONLY);
	for (uint32_t i = 0; i < o->count; i++)
		o->to[i] = open_one(e->job, "server", first + i, O_WRONLY);
}

/* False: all writers are gone. */
static bool next(struct own *o, struct peer_message *m)
{
	const struct stream_frame *frame;

	while ((frame = stream_whole(&o->in, m)) == NULL)
		if (stream_read(&o->in, o->from) == 0)
			return false;
	m->own[0] = frame->from;
	return true;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	if (!next(e->own, m))
		peer_fail("all writers are gone");
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	stream_loan(&((struct own *)e->own)->out, size, m);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	loan(e, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	stream_add(&o->out, reply, 0, false);
	stream_write(&o->out, o->to[o->count > 1 ? request->own[0] : 0]);
	stream_written(&o->out);
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;

	stream_add(&o->out, m, e->number, false);
	if (!stream_write(&o->out, o->to[0]))
		return false;
	stream_written(&o->out);
	return next(o, reply);
}

static void send_one(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;

	if (!stream_add(&o->out, m, e->number, more))
		return;
	for (uint32_t i = 0; i < o->count; i++)
		if (!stream_write(&o->out, o->to[i]))
			peer_fail("a receiver is gone");
	stream_written(&o->out);
}

const struct peer peer = {
	.name = "pipe",
	.what = "pipes of 1 MiB",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_DEATH,
	.waits = PEER_SPIN | PEER_SLEEP,
	.prepare = prepare,
	.begin = begin,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.open = open_pipes,
	.loan = loan,
	.call = call,
	.send = send_one,
};
