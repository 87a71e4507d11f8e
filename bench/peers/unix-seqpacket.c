/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unix-seqpacket - AF_UNIX sockets that keep the bounds of messages
 *
 * One packet is one message, in one call each way; every byte is copied in and out by the kernel.
 * A server of one client blocks in its socket; of several, it asks epoll and then takes up to 16
 * messages from each that is ready. A publication is sent to one socket for each subscriber.
 * Spinning: the same calls that do not block, in a loop; there is no other.
 *
 * Why so: connected packets need no frame and no second call to find a message's length, and their
 * end is told. Larger messages would have to be cut; unix-stream has them. A datagram socket shared
 * by all producers would save epoll and lose the end of each.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bench/peers/lib_unix.h"

enum { BURST = 16, LARGEST = 1 << 17 };

struct own {
	struct unix_end links; /* first: lib_unix finds it there */
	char *in, *out;
	unsigned burst;
};

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));

	o->in = peer_memory(e->job->size);
	o->out = peer_memory(e->job->size);
	unix_begin(&o->links, e, SOCK_SEQPACKET);
	e->own = o;
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;
	struct unix_link *link;
	ssize_t got;

	for (;;) {
		link = unix_turn(&o->links.server);
		got = recv(link->fd, o->in, e->job->size, MSG_NOSIGNAL);
		if (got > 0)
			break;
		if (got < 0 && errno == EAGAIN)
			unix_next(&o->links.server);
		else
			unix_gone(link);
	}
	if (++o->burst % BURST == 0)
		unix_next(&o->links.server);
	m->data = o->in;
	m->size = (size_t)got;
	m->own[0] = (uint64_t)link->fd;
}

/* False: nobody is there to take it. */
static bool put(int fd, const void *data, size_t size)
{
	while (send(fd, data, size, MSG_NOSIGNAL) < 0)
		if (errno == EPIPE || errno == ECONNRESET)
			return false;
		else if (errno != EAGAIN && errno != EINTR)
			peer_fail("send: %s", strerror(errno));
	return true;
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	struct own *o = e->own;

	(void)request;
	reply->data = o->out;
	reply->size = size;
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	(void)e;
	put((int)request->own[0], reply->data, reply->size);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *o = e->own;

	m->data = o->out;
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;
	ssize_t got;

	if (!put(o->links.fds[0], m->data, m->size))
		return false;
	while ((got = recv(o->links.fds[0], o->in, e->job->size, MSG_NOSIGNAL)) <= 0)
		if (got == 0 || errno == ECONNRESET)
			return false;
		else if (errno != EAGAIN && errno != EINTR)
			peer_fail("recv: %s", strerror(errno));
	reply->data = o->in;
	reply->size = (size_t)got;
	return true;
}

static void send_one(struct peer_end *e, struct peer_message *m, bool more)
{
	struct own *o = e->own;

	(void)more;
	for (uint32_t i = 0; i < o->links.count; i++)
		if (!put(o->links.fds[i], m->data, m->size))
			peer_fail("a receiver is gone");
}

const struct peer peer = {
	.name = "unix-seqpacket",
	.what = "AF_UNIX SOCK_SEQPACKET, one packet a message",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SPIN | PEER_SLEEP,
	.largest = LARGEST,
	.begin = begin,
	.take = take,
	.room = room,
	.answer = answer,
	.loan = loan,
	.call = call,
	.send = send_one,
	UNIX_LINKS,
};
