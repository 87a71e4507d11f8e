/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unix-stream - AF_UNIX sockets without bounds between messages
 *
 * A frame of 8 bytes stands in front of each message (see lib_stream); every byte is copied in and
 * out by the kernel. A batch is one write and one read. A server of one client blocks in its
 * socket; of several, it asks epoll, and reads once from each that is ready. A publication is
 * written to one socket for each subscriber. Spinning: the same calls that do not block, in a loop;
 * there is no other.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/peers/lib_stream.h"
#include "bench/peers/lib_unix.h"

struct own {
	struct unix_server server;
	struct stream_in *ins; /* a server's: one for each link; a client's: one */
	struct stream_out out;
	int *fds; /* a client's: one, or one for each subscriber */
	uint32_t count;
	bool again; /* the link whose turn it is has been read in this turn */
	int service;
};

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));
	uint32_t ins = e->serves && e->job->what != PEER_FAN ? e->job->clients : 1;

	signal(SIGPIPE, SIG_IGN);
	o->ins = peer_memory(ins * sizeof(*o->ins));
	for (uint32_t i = 0; i < ins; i++)
		stream_begin_in(&o->ins[i], e->job);
	stream_begin_out(&o->out, e->job, SIZE_MAX);
	o->count = e->job->what == PEER_FAN ? e->job->servers : 1;
	o->fds = peer_memory(o->count * sizeof(*o->fds));
	e->own = o;
}

static void serve(struct peer_end *e)
{
	unix_serve(&((struct own *)e->own)->server, e, SOCK_STREAM);
}

static void open_link(struct peer_end *e)
{
	struct own *o = e->own;
	uint32_t first = e->job->what != PEER_FAN && e->job->servers > 1 ? e->number : 0;

	for (uint32_t i = 0; i < o->count; i++)
		o->fds[i] = unix_connect(e->job, first + i, SOCK_STREAM);
}

static void close_end(struct peer_end *e)
{
	struct own *o = e->own;

	if (e->job->what == PEER_APPEAR)
		return;
	if (e->serves) {
		unix_stop(&o->server);
		return;
	}
	for (uint32_t i = 0; i < o->count; i++)
		close(o->fds[i]);
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;

	for (;;) {
		struct unix_link *link = unix_turn(&o->server);
		struct stream_in *in = &o->ins[link - o->server.links];
		int read = -1;

		if (stream_whole(in, m) != NULL) {
			m->own[0] = (uint64_t)link->fd;
			return;
		}
		if (!o->again)
			read = stream_read(in, link->fd);
		if (read == 0)
			unix_gone(link);
		o->again = o->server.many && read > 0;
		if (read < 0)
			unix_next(&o->server);
	}
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	stream_loan(&((struct own *)e->own)->out, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	stream_add(&o->out, reply, 0, false);
	stream_write(&o->out, (int)request->own[0]);
	stream_written(&o->out);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	stream_loan(&((struct own *)e->own)->out, size, m);
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;

	stream_add(&o->out, m, 0, false);
	if (!stream_write(&o->out, o->fds[0]))
		return false;
	stream_written(&o->out);
	while (stream_whole(o->ins, reply) == NULL)
		if (stream_read(o->ins, o->fds[0]) == 0)
			return false;
	return true;
}

static void send_one(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;

	if (!stream_add(&o->out, m, 0, more))
		return;
	for (uint32_t i = 0; i < o->count; i++)
		if (!stream_write(&o->out, o->fds[i]))
			peer_fail("a receiver is gone");
	stream_written(&o->out);
}

static void announce(struct peer_end *e)
{
	((struct own *)e->own)->service = unix_announce(e->job, SOCK_STREAM);
}

static void withdraw(struct peer_end *e)
{
	unix_withdraw(e->job, ((struct own *)e->own)->service);
}

static void watch(struct peer_end *e)
{
	((struct own *)e->own)->service = unix_watch(e->job);
}

static void told(struct peer_end *e)
{
	unix_told(((struct own *)e->own)->service);
}

const struct peer peer = {
	.name = "unix-stream",
	.what = "AF_UNIX SOCK_STREAM",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SPIN | PEER_SLEEP,
	.begin = begin,
	.close = close_end,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.open = open_link,
	.loan = loan,
	.call = call,
	.send = send_one,
	.announce = announce,
	.withdraw = withdraw,
	.watch = watch,
	.told = told,
};
