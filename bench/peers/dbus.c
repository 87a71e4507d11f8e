/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dbus - D-Bus: sd-bus, and a dbus-daemon of this run's own
 *
 * Calls of a method with one array of 64-bit numbers, which is written and read in the message. On
 * its way it is copied by the kernel four times, for everything goes through the daemon, which is
 * on no processor in particular. There is no spinning: the daemon sleeps anyway.
 * Neither one-way messages nor publications were given to it, which is not for that.
 *
 * To connect is to connect to the daemon and say hello, and to call the server by its name. A
 * service appears when it has its name: the client waits for NameOwnerChanged of just that one. Of
 * a death the daemon tells the client, whose call fails.
 */
#define _GNU_SOURCE
#if __has_include(<systemd/sd-bus.h>)

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "bench/peers/peer.h"

enum { UP_MS = 10 * 1000 };

#define DAEMON	  "/usr/bin/dbus-daemon"
#define SERVICE	  "bench.Service"
#define INTERFACE "bench.Peer"

struct own {
	sd_bus *bus;
	sd_bus_message *out, *in;
	char address[300], name[32];
	bool appeared;
};

static void need(int status, const char *what)
{
	if (status < 0)
		peer_fail("%s: %s", what, strerror(-status));
}

/* One bus of everybody, without limits that matter here. */
static void configure(const struct peer_job *job, const char *path)
{
	FILE *file = fopen(path, "we");

	if (file == NULL)
		peer_fail("%s: %s", path, strerror(errno));
	fprintf(file,
		"<busconfig><type>session</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>"
		"<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>"
		"<allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>"
		"<limit name=\"max_connections_per_user\">4096</limit>"
		"<limit name=\"max_completed_connections\">4096</limit></busconfig>\n",
		peer_path(job, "bus"));
	fclose(file);
}

static void prepare(struct peer_job *job)
{
	static char option[300];
	static const char *const command[] = { DAEMON,	      option,	    "--nofork",
					       "--nopidfile", "--nosyslog", NULL };
	const struct timespec ms = { 0, 1000 * 1000 };
	struct stat status;

	if (access(DAEMON, X_OK) != 0)
		peer_absent("dbus-daemon");
	unlink(peer_path(job, "bus")); /* of one that was killed */
	snprintf(option, sizeof(option), "--config-file=%s", peer_path(job, "bus.conf"));
	configure(job, peer_path(job, "bus.conf"));
	peer_daemon(command);
	for (int waited = 0; stat(peer_path(job, "bus"), &status) != 0; waited++) {
		if (waited == UP_MS)
			peer_fail("dbus-daemon does not come up");
		nanosleep(&ms, NULL);
	}
	for (int i = 0; i < 50; i++)
		nanosleep(&ms, NULL); /* the socket has a name before it listens */
}

static void connect_bus(struct own *o)
{
	need(sd_bus_new(&o->bus), "sd_bus_new");
	need(sd_bus_set_address(o->bus, o->address), "sd_bus_set_address");
	need(sd_bus_set_bus_client(o->bus, 1), "sd_bus_set_bus_client");
	need(sd_bus_start(o->bus), "sd_bus_start");
}

static void begin(struct peer_end *e)
{
	struct own *o = peer_memory(sizeof(*o));

	snprintf(o->address, sizeof(o->address), "unix:path=%s", peer_path(e->job, "bus"));
	snprintf(o->name, sizeof(o->name), SERVICE "%u",
		 e->serves || e->job->servers > 1 ? e->number : 0);
	if (e->job->what == PEER_APPEAR)
		connect_bus(o);
	e->own = o;
}

static void serve(struct peer_end *e)
{
	struct own *o = e->own;

	connect_bus(o);
	need(sd_bus_request_name(o->bus, o->name, 0), "sd_bus_request_name");
}

static void open_bus(struct peer_end *e)
{
	connect_bus(e->own);
}

static void close_bus(struct peer_end *e)
{
	struct own *o = e->own;

	o->bus = sd_bus_flush_close_unref(o->bus);
}

static void read_body(sd_bus_message *message, struct peer_message *m)
{
	const void *data;

	need(sd_bus_message_read_array(message, 't', &data, &m->size), "sd_bus_message_read_array");
	m->data = (void *)(uintptr_t)data;
}

static void write_body(sd_bus_message *message, size_t size, struct peer_message *m)
{
	need(sd_bus_message_append_array_space(message, 't', size, &m->data),
	     "sd_bus_message_append_array_space");
	m->size = size;
}

/* Nothing is registered: what is for nobody else comes out of sd_bus_process(). */
static void take(struct peer_end *e, struct peer_message *m)
{
	struct own *o = e->own;
	sd_bus_message *message;
	int done;

	for (;;) {
		done = sd_bus_process(o->bus, &message);
		need(done, "sd_bus_process");
		if (message != NULL && sd_bus_message_is_method_call(message, INTERFACE, "Call"))
			break;
		sd_bus_message_unref(message);
		if (done == 0)
			need(sd_bus_wait(o->bus, UINT64_MAX), "sd_bus_wait");
	}
	o->in = message;
	read_body(message, m);
}

static void room(struct peer_end *e, struct peer_message *request, size_t size,
		 struct peer_message *reply)
{
	struct own *o = e->own;

	(void)request;
	need(sd_bus_message_new_method_return(o->in, &o->out), "sd_bus_message_new_method_return");
	write_body(o->out, size, reply);
}

static void answer(struct peer_end *e, struct peer_message *request, struct peer_message *reply)
{
	struct own *o = e->own;

	(void)request, (void)reply;
	need(sd_bus_send(o->bus, o->out, NULL), "sd_bus_send");
	sd_bus_message_unref(o->out);
	sd_bus_message_unref(o->in);
}

static void loan(struct peer_end *e, size_t size, struct peer_message *m)
{
	struct own *o = e->own;

	need(sd_bus_message_new_method_call(o->bus, &o->out, o->name, "/bench", INTERFACE, "Call"),
	     "sd_bus_message_new_method_call");
	write_body(o->out, size, m);
}

static bool call(struct peer_end *e, struct peer_message *m, struct peer_message *reply)
{
	struct own *o = e->own;
	int status = sd_bus_call(o->bus, o->out, UINT64_MAX, NULL, &o->in);

	(void)m;
	sd_bus_message_unref(o->out);
	if (status < 0)
		return false;
	read_body(o->in, reply);
	return true;
}

static void release(struct peer_end *e, struct peer_message *reply)
{
	(void)reply;
	sd_bus_message_unref(((struct own *)e->own)->in);
}

static void announce(struct peer_end *e)
{
	need(sd_bus_request_name(((struct own *)e->own)->bus, SERVICE, 0), "sd_bus_request_name");
}

static void withdraw(struct peer_end *e)
{
	need(sd_bus_release_name(((struct own *)e->own)->bus, SERVICE), "sd_bus_release_name");
}

static int on_owner(sd_bus_message *message, void *own, sd_bus_error *error)
{
	const char *name, *before, *now;

	(void)error;
	need(sd_bus_message_read(message, "sss", &name, &before, &now), "sd_bus_message_read");
	if (now[0] != '\0')
		((struct own *)own)->appeared = true;
	return 0;
}

static void watch(struct peer_end *e)
{
	struct own *o = e->own;

	need(sd_bus_add_match(o->bus, NULL,
			      "type='signal',sender='org.freedesktop.DBus',"
			      "member='NameOwnerChanged',arg0='" SERVICE "'",
			      on_owner, o),
	     "sd_bus_add_match");
}

static void told(struct peer_end *e)
{
	struct own *o = e->own;

	while (!o->appeared) {
		int done = sd_bus_process(o->bus, NULL);

		need(done, "sd_bus_process");
		if (done == 0)
			need(sd_bus_wait(o->bus, UINT64_MAX), "sd_bus_wait");
	}
	o->appeared = false;
}

const struct peer peer = {
	.name = "dbus",
	.what = "D-Bus: sd-bus with a dbus-daemon of its own",
	.package = "libsystemd-dev",
	.kind = PEER_OTHER,
	.can = PEER_CALL | PEER_CONNECT | PEER_APPEAR | PEER_DEATH,
	.waits = PEER_SLEEP,
	.prepare = prepare,
	.begin = begin,
	.close = close_bus,
	.serve = serve,
	.take = take,
	.room = room,
	.answer = answer,
	.open = open_bus,
	.loan = loan,
	.call = call,
	.release = release,
	.announce = announce,
	.withdraw = withdraw,
	.watch = watch,
	.told = told,
};

#else

#include "bench/peers/peer.h"

PEER_ABSENT("dbus", "D-Bus: sd-bus with a dbus-daemon of its own", "libsystemd-dev");

#endif
