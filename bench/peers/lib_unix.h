/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unix - what the two kinds of Unix sockets have in common
 *
 * A server of one client blocks in the socket of that client, and accepts the next one when it is
 * gone: nothing asks the kernel which socket is ready. A server of several asks epoll, and reads
 * each socket that is ready without blocking.
 */
#ifndef DCM_BENCH_UNIX_H
#define DCM_BENCH_UNIX_H

#include <sys/epoll.h>

#include "bench/peers/peer.h"

enum { UNIX_READY = 64 };

struct unix_link {
	int fd; /* -1: not in use */
};

struct unix_server {
	int listener, epoll;
	bool spins, many;
	struct unix_link *links; /* one for each client */
	uint32_t count;
	struct epoll_event ready[UNIX_READY];
	int readies, at;
};

/* What an end of either kind has, at the beginning of its own. */
struct unix_end {
	int type;
	struct unix_server server;
	int *fds; /* a client's: one, or one for each subscriber */
	uint32_t count;
	int service;
};

void unix_begin(struct unix_end *u, const struct peer_end *e, int type);

/* unix_turn() - the link to read next; with several clients, without blocking */
struct unix_link *unix_turn(struct unix_server *s);
/* unix_next() - the link whose turn it is has had it */
void unix_next(struct unix_server *s);
/* unix_gone() - the client of @link is */
void unix_gone(struct unix_link *link);

/* Operations of a struct peer. A link that spins does not block. */
void unix_serve(struct peer_end *e);
void unix_open(struct peer_end *e);
void unix_close(struct peer_end *e);

/*
 * A service appears: its socket listens already when it gets its name, so who is told of the name
 * can connect. The waiting client has a watch on the directory.
 */
void unix_announce(struct peer_end *e);
void unix_withdraw(struct peer_end *e);
void unix_watch(struct peer_end *e);
void unix_told(struct peer_end *e);

#define UNIX_LINKS                                                                                 \
	.serve = unix_serve, .open = unix_open, .close = unix_close, .announce = unix_announce,    \
	.withdraw = unix_withdraw, .watch = unix_watch, .told = unix_told

#endif
