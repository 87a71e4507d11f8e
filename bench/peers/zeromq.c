/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * zeromq - ZeroMQ over ipc://, which is Unix stream sockets
 *
 * One context, one I/O thread, which runs where its process is pinned. There is no spinning: a
 * thread that looked all the time would take the processor from the I/O thread that it waits for.
 * A message is made in ZeroMQ's own memory and filled there, so the library copies nothing by
 * itself; the kernel copies in and out. It batches small messages as they come, and needs no hint.
 *
 * Calls: DEALER and DEALER for one client, DEALER and ROUTER for several (REQ and REP are these
 * with an empty part more). One-way: PUSH and PULL, up to 1,000 messages waiting at each end, then
 * it blocks. A publication: XPUB with ZMQ_XPUB_NODROP, which has heard of every subscriber before
 * it begins (PUB would lose messages).
 *
 * Of a death ZeroMQ says nothing to who waits for a reply, for it would connect again for ever.
 * Who wants to know has a monitor and asks both: so it is done here, and only with PEER_DEATH. That
 * a service appears is noticed by trying to connect, every 100 ms unless set otherwise. Here it is
 * every ms, the shortest time there is; waiting then costs a failing connect() every ms.
 */
#if __has_include(<zmq.h>)

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "bench/peers/peer.h"

enum { LONGEST = 300 };

struct own {
	void *context, *socket, *monitor;
	bool routes;
	zmq_msg_t in, out; /* what was last received; what is to be sent */
	bool holds;	   /* in is to be closed */
	char address[LONGEST];
};

static void need(bool good, const char *what)
{
	if (!good)
		peer_fail("%s: %s", what, zmq_strerror(zmq_errno()));
}

static void set(void *socket, int option, int value)
{
	need(zmq_setsockopt(socket, option, &value, sizeof(value)) == 0, "zmq_setsockopt");
}

static const char *address(struct own *o, const struct peer_job *job, const char *kind,
			   uint32_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "%s-%u", kind, number);
	snprintf(o->address, sizeof(o->address), "ipc://%s", peer_path(job, name));
	return o->address;
}

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));

	o->context = zmq_ctx_new();
	need(o->context != NULL, "zmq_ctx_new");
	/* One client at a time is not one client: DEALER would send to who has just gone. */
	o->routes = e->job->what == PEER_CONNECT ||
		    (e->job->what == PEER_CALL && e->job->clients > e->job->servers);
	e->own = o;
}

static void *new_socket(struct own *o, int type)
{
	void *socket = zmq_socket(o->context, type);

	need(socket != NULL, "zmq_socket");
	if (type != ZMQ_SUB && type != ZMQ_PULL)
		set(socket, ZMQ_LINGER, -1);
	return socket;
}

static void serve(struct peer_end *e)
{
	struct own *o = e->own;
	int type = o->routes ? ZMQ_ROUTER : ZMQ_DEALER;

	if (e->job->what == PEER_FAN)
		type = ZMQ_SUB;
	else if (e->job->what == PEER_SEND || e->job->what == PEER_MANY)
		type = ZMQ_PULL;
	o->socket = new_socket(o, type);
	if (type == ZMQ_SUB)
		need(zmq_setsockopt(o->socket, ZMQ_SUBSCRIBE, "", 0) == 0, "ZMQ_SUBSCRIBE");
	need(zmq_bind(o->socket, address(o, e->job, "server", e->number)) == 0, "zmq_bind");
}

/* Each subscriber says that it is one; then it will miss nothing. */
static void hear_all(struct own *o, uint32_t count)
{
	char subscription[8];

	while (count > 0)
		if (zmq_recv(o->socket, subscription, sizeof(subscription), 0) > 0)
			count--;
}

static void watch_link(struct own *o, int events)
{
	char name[64];

	snprintf(name, sizeof(name), "inproc://monitor-%d", (int)getpid());
	need(zmq_socket_monitor(o->socket, name, events) == 0, "zmq_socket_monitor");
	o->monitor = zmq_socket(o->context, ZMQ_PAIR);
	need(o->monitor != NULL && zmq_connect(o->monitor, name) == 0, "monitor");
}

static void open_link(struct peer_end *e)
{
	struct own *o = e->own;
	bool publishes = e->job->what == PEER_FAN;
	bool pushes = e->job->what == PEER_SEND || e->job->what == PEER_MANY;
	uint32_t count = publishes ? e->job->servers : 1;
	uint32_t first = !publishes && e->job->servers > 1 ? e->number : 0;

	o->socket = new_socket(o, publishes ? ZMQ_XPUB : pushes ? ZMQ_PUSH : ZMQ_DEALER);
	if (publishes) {
		set(o->socket, ZMQ_XPUB_NODROP, 1);
		set(o->socket, ZMQ_XPUB_VERBOSE, 1);
	}
	if (e->job->what == PEER_DEATH)
		watch_link(o, ZMQ_EVENT_DISCONNECTED);
	for (uint32_t i = 0; i < count; i++)
		need(zmq_connect(o->socket, address(o, e->job, "server", first + i)) == 0,
		     "zmq_connect");
	if (publishes)
		hear_all(o, count);
}

static void drop(struct own *o)
{
	if (o->holds)
		zmq_msg_close(&o->in);
	o->holds = false;
}

/* Messages not sent yet go out first, in the background. */
static void close_end(struct peer_end *e)
{
	struct own *o = e->own;

	drop(o);
	if (o->socket != NULL)
		zmq_close(o->socket);
	o->socket = NULL;
}

static bool receive(struct own *o, zmq_msg_t *message)
{
	int got;

	need(zmq_msg_init(message) == 0, "zmq_msg_init");
	while ((got = zmq_msg_recv(message, o->socket, 0)) < 0 && errno == EINTR)
		;
	need(got >= 0, "zmq_msg_recv");
	return true;
}

/* Who asks is the part in front of the request. */
static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;
	zmq_msg_t from;

	drop(o);
	if (o->routes) {
		receive(o, &from);
		m->own[0] = zmq_msg_size(&from);
		if (m->own[0] > sizeof(m->own) - sizeof(m->own[0]))
			peer_fail("a name of %zu bytes", zmq_msg_size(&from));
		memcpy(&m->own[1], zmq_msg_data(&from), zmq_msg_size(&from));
		zmq_msg_close(&from);
	}
	o->holds = receive(o, &o->in);
	m->data = zmq_msg_data(&o->in);
	m->size = zmq_msg_size(&o->in);
}

static void make(struct own *o, size_t size, struct peer_message *m)
{
	need(zmq_msg_init_size(&o->out, size) == 0, "zmq_msg_init_size");
	m->data = zmq_msg_data(&o->out);
	m->size = size;
}

static void put(struct own *o)
{
	while (zmq_msg_send(&o->out, o->socket, 0) < 0)
		need(errno == EINTR, "zmq_msg_send");
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	make(e->own, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	(void)reply;
	if (o->routes)
		need(zmq_send(o->socket, &request->own[1], request->own[0], ZMQ_SNDMORE) >= 0,
		     "zmq_send");
	put(o);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	make(e->own, size, m);
}

/* False: the link is gone, and there is no reply that came before. */
static bool await(const struct own *o)
{
	zmq_pollitem_t items[] = { { .socket = o->socket, .events = ZMQ_POLLIN },
				   { .socket = o->monitor, .events = ZMQ_POLLIN } };

	while (zmq_poll(items, 2, -1) < 0)
		need(errno == EINTR, "zmq_poll");
	return items[0].revents != 0;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;

	(void)m;
	drop(o);
	put(o);
	if (o->monitor != NULL && !await(o))
		return false;
	o->holds = receive(o, &o->in);
	reply->data = zmq_msg_data(&o->in);
	reply->size = zmq_msg_size(&o->in);
	return true;
}

static void send(struct peer_end *e, struct peer_message *m, bool more)
{
	(void)m, (void)more;
	put(e->own);
}

static void announce(struct peer_end *e)
{
	struct own *o = e->own;

	o->socket = new_socket(o, ZMQ_ROUTER);
	need(zmq_bind(o->socket, address(o, e->job, "service", 0)) == 0, "zmq_bind");
}

static void withdraw(struct peer_end *e)
{
	close_end(e);
}

static void watch(struct peer_end *e)
{
	struct own *o = e->own;

	o->socket = new_socket(o, ZMQ_DEALER);
	set(o->socket, ZMQ_RECONNECT_IVL, 1);
	set(o->socket, ZMQ_LINGER, 0);
	watch_link(o, ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
	need(zmq_connect(o->socket, address(o, e->job, "service", 0)) == 0, "zmq_connect");
}

/* Only what is waited for is asked of the monitor; an event has two parts. */
static void told(struct peer_end *e)
{
	struct own *o = e->own;
	char part[LONGEST];

	for (int parts = 0; parts < 2;)
		if (zmq_recv(o->monitor, part, sizeof(part), 0) >= 0)
			parts++;
		else
			need(errno == EINTR, "zmq_recv");
}

const struct peer peer = {
	.name = "zeromq",
	.what = "ZeroMQ over ipc://",
	.package = "libzmq3-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_SEND | PEER_MANY | PEER_FAN | PEER_CONNECT | PEER_APPEAR |
	       PEER_DEATH,
	.waits = PEER_SLEEP,
	.begin = begin,
	.close = close_end,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.open = open_link,
	.loan = loan,
	.call = call,
	.send = send,
	.announce = announce,
	.withdraw = withdraw,
	.watch = watch,
	.told = told,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("zeromq", "ZeroMQ over ipc://", "libzmq3-dev");

#endif
