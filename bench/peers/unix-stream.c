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

#include "bench/peers/lib_stream.h"
#include "bench/peers/lib_unix.h"

struct own {
	struct unix_end links; /* first: lib_unix finds it there */
	struct stream_in *ins; /* a server's: one for each link; a client's: one */
	struct stream_out out;
	bool again; /* the link whose turn it is has been read in this turn */
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
	unix_begin(&o->links, e, SOCK_STREAM);
	e->own = o;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;

	for (;;) {
		struct unix_link *link = unix_turn(&o->links.server);
		struct stream_in *in = &o->ins[link - o->links.server.links];
		int read = -1;

		if (stream_whole(in, m) != NULL) {
			m->own[0] = (uint64_t)link->fd;
			return;
		}
		if (!o->again)
			read = stream_read(in, link->fd);
		if (read == 0)
			unix_gone(link);
		o->again = o->links.server.many && read > 0;
		if (read < 0)
			unix_next(&o->links.server);
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
	if (!stream_write(&o->out, o->links.fds[0]))
		return false;
	stream_written(&o->out);
	while (stream_whole(o->ins, reply) == NULL)
		if (stream_read(o->ins, o->links.fds[0]) == 0)
			return false;
	return true;
}

static void send_one(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;

	if (!stream_add(&o->out, m, 0, more))
		return;
	for (uint32_t i = 0; i < o->links.count; i++)
		if (!stream_write(&o->out, o->links.fds[i]))
			peer_fail("a receiver is gone");
	stream_written(&o->out);
}

const struct peer peer = {
	.name = "unix-stream",
	.what = "AF_UNIX SOCK_STREAM",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SPIN | PEER_SLEEP,
	.begin = begin,
	.take = take,
	.room = room,
	.answer = answer,
	.loan = loan,
	.call = call,
	.send = send_one,
	UNIX_LINKS,
};
