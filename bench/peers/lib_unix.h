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

void unix_serve(struct unix_server *s, const struct peer_end *e, int type);
void unix_stop(struct unix_server *s);

/* unix_turn() - the link to read next; with several clients, without blocking */
struct unix_link *unix_turn(struct unix_server *s);
/* unix_next() - the link whose turn it is has had it */
void unix_next(struct unix_server *s);
/* unix_gone() - the client of @link is */
void unix_gone(struct unix_link *link);

/* unix_connect() - to server @number, nonblocking if the job spins */
int unix_connect(const struct peer_job *job, uint32_t number, int type);

/*
 * A service appears: its socket listens already when it gets its name, so who is told of the name
 * can connect. The waiting client has a watch on the directory. Each returns a descriptor.
 */
int unix_announce(const struct peer_job *job, int type);
void unix_withdraw(const struct peer_job *job, int fd);
int unix_watch(const struct peer_job *job);
void unix_told(int fd);

#endif
