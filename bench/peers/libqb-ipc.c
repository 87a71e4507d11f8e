/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libqb-ipc - libqb's client and server (qb_ipcc, qb_ipcs) with rings in shared memory
 *
 * The server is in libqb's own main loop, which polls the sockets that tell of messages. A request
 * is copied into the ring, and once more out of it, for libqb calls a function and wants it back
 * when that returns; a reply is copied in and out. There is no spinning. One-way messages and
 * publications (events) were not given to it: they are the same rings, which libqb-ring measures.
 *
 * A blocked client learns of a death when it looks up every 2 s: no shorter time can be set. The
 * directories that libqb makes in /dev/shm stay when both ends are killed: they are in names of the
 * run's own, if this process may have them (see lib_private).
 */
#if __has_include(<qb/qbipcs.h>)

#include <errno.h>
#include <glob.h>
#include <qb/qbdefs.h>
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/peers/lib_private.h"

enum {
	ASKS = sizeof(struct qb_ipc_request_header),
	ANSWERS = sizeof(struct qb_ipc_response_header),
};

/* A request that the loop has brought. */
struct request {
	qb_ipcs_connection_t *from;
	unsigned char *data;
};

/* Of the processes that are in the names of what is made. */
struct names {
	pid_t parent, server[256];
};

struct own {
	char name[64];
	size_t size;
	unsigned char *in, *out; /* with room for a header in front of the data */
	qb_ipcc_connection_t *link;
	qb_ipcs_service_t *service;
	struct request *requests; /* a queue: each client has one under way */
	uint32_t room, first, count;
};

/* The loop of a server; libqb's handlers have no other way to know it. */
static qb_loop_t *loop;

static int32_t add_job(enum qb_loop_priority priority, void *data, qb_loop_job_dispatch_fn run)
{
	return qb_loop_job_add(loop, priority, data, run);
}

static int32_t add_fd(enum qb_loop_priority priority, int32_t fd, int32_t events, void *data,
		      qb_ipcs_dispatch_fn_t run)
{
	return qb_loop_poll_add(loop, priority, fd, events, data, run);
}

static int32_t change_fd(enum qb_loop_priority priority, int32_t fd, int32_t events, void *data,
			 qb_ipcs_dispatch_fn_t run)
{
	return qb_loop_poll_mod(loop, priority, fd, events, data, run);
}

static int32_t drop_fd(int32_t fd)
{
	return qb_loop_poll_del(loop, fd);
}

static int32_t accept_all(qb_ipcs_connection_t *link, uid_t user, gid_t group)
{
	(void)link, (void)user, (void)group;
	return 0;
}

static int32_t process(qb_ipcs_connection_t *link, void *data, size_t size)
{
	struct own *o = qb_ipcs_connection_service_context_get(link);
	struct request *request = &o->requests[(o->first + o->count) % o->room];

	if (o->count == o->room || size != ASKS + o->size)
		peer_fail("a request that is not expected");
	o->count++;
	request->from = link;
	memcpy(request->data, (unsigned char *)data + ASKS, o->size);
	qb_loop_stop(loop);
	return 0;
}

static void prepare(struct peer_job *job)
{
	struct names *names = peer_shared(sizeof(*names));

	private_names(job);
	names->parent = getpid();
	job->shared = names;
}

/* What servers that were killed have left. */
static void clean(struct peer_job *job)
{
	const struct names *names = job->shared;
	char pattern[64];
	glob_t found;

	for (uint32_t i = 0; i < job->servers; i++) {
		snprintf(pattern, sizeof(pattern), "/dev/shm/qb-%d-*/*", (int)names->server[i]);
		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t j = 0; j < found.gl_pathc; j++) {
			unlink(found.gl_pathv[j]);
			*strrchr(found.gl_pathv[j], '/') = '\0';
			rmdir(found.gl_pathv[j]); /* with the last of its files */
		}
		globfree(&found);
	}
}

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));
	uint32_t number = e->serves || e->job->servers > 1 ? e->number : 0;
	struct names *names = e->job->shared;

	o->size = e->job->size;
	o->in = (unsigned char *)peer_memory(64 + o->size) + 64;
	o->out = (unsigned char *)peer_memory(64 + o->size) + 64;
	snprintf(o->name, sizeof(o->name), "dcm-bench-%d-%u", (int)names->parent, number);
	if (e->serves) {
		names->server[number] = getpid();
		o->room = e->job->clients;
		o->requests = peer_memory(o->room * sizeof(*o->requests));
		for (uint32_t i = 0; i < o->room; i++)
			o->requests[i].data = peer_memory(o->size);
	}
	e->own = o;
}

static void serve(struct peer_end *e)
{
	static struct qb_ipcs_service_handlers handlers = { .connection_accept = accept_all,
							    .msg_process = process };
	static struct qb_ipcs_poll_handlers polls = { .job_add = add_job,
						      .dispatch_add = add_fd,
						      .dispatch_mod = change_fd,
						      .dispatch_del = drop_fd };
	struct own *o = e->own;
	int status;

	loop = qb_loop_create();
	o->service = qb_ipcs_create(o->name, 0, QB_IPC_SHM, &handlers);
	qb_ipcs_service_context_set(o->service, o);
	qb_ipcs_poll_handlers_set(o->service, &polls);
	status = qb_ipcs_run(o->service);
	if (status != 0)
		peer_fail("qb_ipcs_run: %s", strerror(-status));
}

static void open_link(struct peer_end *e)
{
	struct own *o = e->own;

	o->link = qb_ipcc_connect(o->name, ANSWERS + o->size);
	if (o->link == NULL)
		peer_fail("qb_ipcc_connect: %s", strerror(errno));
}

static void close_end(struct peer_end *e)
{
	struct own *o = e->own;

	if (e->serves)
		qb_ipcs_destroy(o->service);
	else
		qb_ipcc_disconnect(o->link);
}

static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;

	while (o->count == 0)
		qb_loop_run(loop);
	m->data = o->requests[o->first].data;
	m->size = o->size;
	m->own[0] = (uint64_t)(uintptr_t)o->requests[o->first].from;
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	(void)request;
	reply->data = ((struct own *)e->own)->out;
	reply->size = size;
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;
	struct qb_ipc_response_header header = { .size = (int32_t)(ANSWERS + reply->size) };
	ssize_t put;

	o->first = (o->first + 1) % o->room;
	o->count--;
	memcpy(o->out - ANSWERS, &header, ANSWERS);
	do
		put = qb_ipcs_response_send((qb_ipcs_connection_t *)(uintptr_t)request->own[0],
					    o->out - ANSWERS, ANSWERS + reply->size);
	while (put == -EAGAIN);
	if (put < 0)
		peer_fail("qb_ipcs_response_send: %s", strerror((int)-put));
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	m->data = ((struct own *)e->own)->out;
	m->size = size;
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;
	struct qb_ipc_request_header header = { .id = QB_IPC_MSG_USER_START,
						.size = (int32_t)(ASKS + m->size) };
	struct iovec one = { o->out - ASKS, ASKS + m->size };
	ssize_t got;

	memcpy(o->out - ASKS, &header, ASKS);
	got = qb_ipcc_sendv_recv(o->link, &one, 1, o->in - ANSWERS, ANSWERS + o->size, -1);
	if (got < 0)
		return false;
	reply->data = o->in;
	reply->size = (size_t)got - ANSWERS;
	return true;
}

const struct peer peer = {
	.name = "libqb-ipc",
	.what = "libqb's client and server, rings in shared memory",
	.package = "libqb-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_CONNECT | PEER_DEATH,
	.waits = PEER_SLEEP,
	.prepare = prepare,
	.clean = clean,
	.begin = begin,
	.close = close_end,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.open = open_link,
	.loan = loan,
	.call = call,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("libqb-ipc", "libqb's client and server, rings in shared memory", "libqb-dev");

#endif
