/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer - what a peer of the benchmark is: one file, one const struct peer named "peer"
 *
 * bench/peers/NAME.c (or .cpp) becomes the program NAME: that file and the driver, which parses the
 * job, forks and pins the processes, fills and checks what is sent, takes the times and prints the
 * result. All that a peer does is to move messages. Written down in its file, at the top: which of
 * its ways it was given and why that is its best honest one, and what the measurement does to it
 * that a user would not (in either direction).
 *
 * A library that may be absent is included under #if __has_include(<...>); #else there is one line,
 * PEER_ABSENT(name, what, package). What it is compiled and linked with stands in configure.py.
 *
 * One process is one end: a server or a client, with one thread of the driver's. Who sends one-way
 * messages or publishes is a client; who takes them, a server. All servers have served before the
 * first client opens.
 *
 *	every process:	begin, then as below, then close
 *	PEER_CALL	server: serve, { take, room, answer }	client: open, { loan, call, release }
 *	PEER_SEND	server: serve, { take, give_back }	client: open, { loan, send }
 *	PEER_MANY	the same with several clients and one server
 *	PEER_FAN	the same with one client and several servers: each takes every message. Between
 *			loan and send is time enough for them all to go to sleep
 *	PEER_CONNECT	server: serve, { take, room, answer }, and of its one client at a time the end
 *			client: { open, loan, call, release, close } many times in one process; what
 *			is measured is open up to the reply, and begin by itself
 *	PEER_APPEAR	server: { announce, withdraw }		client: watch, { told }
 *	PEER_DEATH	as PEER_CALL, but the server is killed in place of its answer: call returns
 *			false. (One that never learns of it is killed by the driver: "never".)
 *
 * A job has clients and servers: with PEER_CALL as many of both (pairs: client i calls server i)
 * or one server, whom all call. Messages of one client arrive in their order, none is lost: who has
 * no room lets the sender wait, in loan or send. The driver ends it all by a last message, so that
 * everybody comes to close; what a process leaves nevertheless, clean takes away.
 *
 * In place: loan and room give memory that the receiver reads where it was written, if the peer can
 * do that; else a buffer of the process's own, of job->size bytes, aligned for 64 bytes.
 */
#ifndef DCM_BENCH_PEER_H
#define DCM_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum peer_kind {
	PEER_LIMIT, /* what the bare machine does, with nothing that a user needs besides */
	PEER_SELF,  /* DCM */
	PEER_OTHER,
};

/* What it can do. */
enum {
	PEER_CALL = 1,
	PEER_SEND = 2,
	PEER_MANY = 4,
	PEER_FAN = 8,
	PEER_CONNECT = 16,
	PEER_APPEAR = 32,
	PEER_DEATH = 64,
};

/*
 * How an end waits, always the same on both sides. Spin: it never gives the processor away.
 * Adaptive: what the peer does by itself between the two: looks for a while, then sleeps; of several
 * such ways the one that its documentation proposes. Sleep: it blocks at once.
 */
enum peer_wait {
	PEER_SPIN = 1,
	PEER_ADAPTIVE = 2,
	PEER_SLEEP = 4,
};

struct peer_job {
	unsigned what; /* one of PEER_CALL... */
	enum peer_wait wait;
	size_t size;	/* bytes of each message, a multiple of 8 */
	uint32_t batch; /* PEER_SEND: so many belong together (see send) */
	uint32_t clients, servers;
	size_t footprint; /* bytes of messages under way, if the peer can be told; 0: its own */
	const char
		*directory; /* empty, in a tmpfs, of this run only; removed after it, with files */
	void *shared;	    /* the peer's: what prepare() made for all */
};

struct peer_end {
	const struct peer_job *job;
	uint32_t number; /* among the clients, or among the servers */
	bool serves;
	void *own; /* the peer's, from begin(), serve() or open() */
};

/* One message, of an end. The peer writes all of it that it needs. */
struct peer_message {
	void *data;
	size_t size;
	uint64_t own[16];
};

struct peer {
	const char *name;    /* that of the file */
	const char *what;    /* one line: of which kind, in which configuration */
	const char *package; /* Debian's, that it needs; null: nothing besides the C library */
	enum peer_kind kind;
	unsigned can;	/* PEER_CALL... */
	unsigned waits; /* PEER_SPIN... */
	size_t largest; /* of a message, bytes; 0: any */
	uint32_t most;	/* clients of one server, or servers of PEER_FAN; 0: any number */

	/* In the parent, before all and after all. Each may be null. */
	void (*prepare)(struct peer_job *job);
	void (*clean)(struct peer_job *job);

	/* What a process does once before it can open or serve; may be null. */
	void (*begin)(struct peer_end *e);
	/* Undoes serve() or open(), and with PEER_CONNECT is followed by open(); may be null. */
	void (*close)(struct peer_end *e);

	/* A server. Clients may open when serve() has returned. */
	void (*serve)(struct peer_end *e);
	/* Waits for the next message. */
	void (*take)(struct peer_end *e, struct peer_message *m);
	/* Memory for the reply to @request, which is still readable, up to answer(). */
	void (*room)(struct peer_end *e, struct peer_message *request, size_t size,
		     struct peer_message *reply);
	void (*answer)(struct peer_end *e, struct peer_message *request,
		       struct peer_message *reply);
	/* A taken message that is not answered has been read; may be null. */
	void (*give_back)(struct peer_end *e, struct peer_message *m);

	/* A client. */
	void (*open)(struct peer_end *e);
	/* Memory for a message; waits for room. */
	void (*loan)(struct peer_end *e, size_t size, struct peer_message *m);
	/* Sends @m and waits for the reply. False: the server is gone (only PEER_DEATH needs it). */
	bool (*call)(struct peer_end *e, struct peer_message *m, struct peer_message *reply);
	/* The reply has been read; may be null. */
	void (*release)(struct peer_end *e, struct peer_message *reply);
	/* @more: this one need not be told of before the next, which belongs to the same batch and
	 * comes at once. A peer that has no batches ignores it. */
	void (*send)(struct peer_end *e, struct peer_message *m, bool more);

	/* PEER_APPEAR: a service of one name, known to both. */
	void (*announce)(struct peer_end *e);
	void (*withdraw)(struct peer_end *e);
	/* The client wants to be told from now on; nothing is announced yet. */
	void (*watch)(struct peer_end *e);
	/* Waits until the service is there (its going away it may take in silence). */
	void (*told)(struct peer_end *e);
};

extern const struct peer peer;

/* Nothing but this can be asked of it. */
#define PEER_ABSENT(its_name, its_what, its_package)                                               \
	const struct peer peer = { .name = its_name,                                               \
				   .what = its_what,                                               \
				   .package = its_package,                                         \
				   .kind = PEER_OTHER }

/* peer_fail() - say it, and end this run */
void peer_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* peer_absent() - in prepare(): @package, of whose programs one is needed, is not installed */
void peer_absent(const char *package) __attribute__((noreturn));

/* peer_cannot() - in prepare(): the job is not one that it can do, which can and most do not say */
void peer_cannot(const char *why) __attribute__((noreturn));

/* peer_shared() - in prepare(): zeroed memory, in place, that all processes will share */
void *peer_shared(size_t bytes);

/* peer_memory() - zeroed memory of this process, aligned for 64 bytes, written once; never null */
void *peer_memory(size_t bytes);

/* peer_path() - job->directory/@name; of this process, each call overwrites */
const char *peer_path(const struct peer_job *job, const char *name);

/* peer_daemon() - in prepare(): starts a program that all need; the driver ends it after clean().
 * On no processor in particular, its output to nowhere, as root or not as this process is. */
void peer_daemon(const char *const argv[]);

/* peer_now() - CLOCK_MONOTONIC, ns */
int64_t peer_now(void);

#ifdef __cplusplus
}
#endif

#endif
