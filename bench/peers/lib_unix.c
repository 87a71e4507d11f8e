/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/peers/lib_unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		peer_fail("%s: too long for a socket", path);
	strcpy(address.sun_path, path);
	return address;
}

/* The buffers are as large as an ordinary user may have them. */
static int new_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), bytes = 1 << 20;

	if (fd < 0)
		peer_fail("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return fd;
}

static int listen_at(const char *path, int type)
{
	struct sockaddr_un address = address_of(path);
	int fd = new_socket(type);

	unlink(path); /* of a server that was killed */
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4096) != 0)
		peer_fail("%s: %s", path, strerror(errno));
	return fd;
}

/* The path of server @number. */
static const char *path_of(const struct peer_job *job, uint32_t number)
{
	char name[32];

	snprintf(name, sizeof(name), "server-%u", number);
	return peer_path(job, name);
}

static int connect_to(const struct peer_job *job, uint32_t number, int type)
{
	const char *path = path_of(job, number);
	struct sockaddr_un address = address_of(path);
	int fd = new_socket(type);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		peer_fail("%s: %s", path, strerror(errno));
	if (job->wait == PEER_SPIN)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void ask_for(struct unix_server *s, int fd, struct unix_link *link)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = link };

	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		peer_fail("epoll_ctl: %s", strerror(errno));
}

void unix_begin(struct unix_end *u, const struct peer_end *e, int type)
{
	u->type = type;
	u->count = e->job->what == PEER_FAN ? e->job->servers : 1;
	u->fds = peer_memory(u->count * sizeof(*u->fds));
}

void unix_serve(struct peer_end *e)
{
	struct unix_end *u = e->own;
	struct unix_server *s = &u->server;

	s->listener = listen_at(path_of(e->job, e->number), u->type);
	s->spins = e->job->wait == PEER_SPIN;
	s->count = e->job->what == PEER_FAN ? 1 : e->job->clients / e->job->servers;
	s->many = s->count > 1;
	s->links = peer_memory(s->count * sizeof(*s->links));
	for (uint32_t i = 0; i < s->count; i++)
		s->links[i].fd = -1;
	s->epoll = -1;
	s->readies = s->at = 0;
	if (s->spins || s->many)
		fcntl(s->listener, F_SETFL, O_NONBLOCK);
	if (!s->many)
		return;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		peer_fail("epoll: %s", strerror(errno));
	ask_for(s, s->listener, NULL);
}

/* False: nobody is there who wants to be. */
static bool accept_one(struct unix_server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | (s->spins ? SOCK_NONBLOCK : 0));
	uint32_t free = 0;

	if (fd < 0)
		return false;
	while (free < s->count && s->links[free].fd >= 0)
		free++;
	if (free == s->count)
		peer_fail("one client more than there are");
	s->links[free].fd = fd;
	if (s->many) {
		fcntl(fd, F_SETFL, O_NONBLOCK);
		ask_for(s, fd, &s->links[free]);
	}
	return true;
}

struct unix_link *unix_turn(struct unix_server *s)
{
	if (!s->many) {
		while (s->links[0].fd < 0)
			accept_one(s);
		return &s->links[0];
	}
	for (;;) {
		for (; s->at < s->readies; s->at++) {
			struct unix_link *link = s->ready[s->at].data.ptr;

			if (link != NULL && link->fd >= 0)
				return link;
			if (link == NULL)
				accept_one(s);
		}
		s->at = 0;
		s->readies = epoll_wait(s->epoll, s->ready, UNIX_READY, s->spins ? 0 : -1);
	}
}

void unix_next(struct unix_server *s)
{
	s->at += s->many;
}

void unix_gone(struct unix_link *link)
{
	close(link->fd);
	link->fd = -1;
}

static void stop(struct unix_server *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->links[i].fd >= 0)
			unix_gone(&s->links[i]);
	close(s->listener);
	if (s->many)
		close(s->epoll);
}

void unix_open(struct peer_end *e)
{
	struct unix_end *u = e->own;
	uint32_t first = e->job->what != PEER_FAN && e->job->servers > 1 ? e->number : 0;

	for (uint32_t i = 0; i < u->count; i++)
		u->fds[i] = connect_to(e->job, first + i, u->type);
}

void unix_close(struct peer_end *e)
{
	struct unix_end *u = e->own;

	if (e->job->what == PEER_APPEAR)
		return;
	if (e->serves) {
		stop(&u->server);
		return;
	}
	for (uint32_t i = 0; i < u->count; i++)
		close(u->fds[i]);
}

void unix_announce(struct peer_end *e)
{
	struct unix_end *u = e->own;
	char hidden[108];

	snprintf(hidden, sizeof(hidden), "%s", peer_path(e->job, ".service"));
	u->service = listen_at(hidden, u->type);
	if (rename(hidden, peer_path(e->job, "service")) != 0)
		peer_fail("%s: %s", hidden, strerror(errno));
}

void unix_withdraw(struct peer_end *e)
{
	unlink(peer_path(e->job, "service"));
	close(((struct unix_end *)e->own)->service);
}

void unix_watch(struct peer_end *e)
{
	int fd = inotify_init1(IN_CLOEXEC | (e->job->wait == PEER_SPIN ? IN_NONBLOCK : 0));

	if (fd < 0 || inotify_add_watch(fd, e->job->directory, IN_MOVED_TO) < 0)
		peer_fail("inotify: %s", strerror(errno));
	((struct unix_end *)e->own)->service = fd;
}

void unix_told(struct peer_end *e)
{
	char events[4096] __attribute__((aligned(8)));

	while (read(((struct unix_end *)e->own)->service, events, sizeof(events)) <= 0)
		if (errno != EAGAIN && errno != EINTR)
			peer_fail("inotify: %s", strerror(errno));
}
