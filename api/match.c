/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/match.h"

#include <search.h>
#include <stdlib.h>
#include <sys/queue.h>

/* An endpoint that is published, or was told as part of a group that is not told of yet as gone. */
struct item {
	struct dcm_notice *notice; /* that announced it */
	TAILQ_ENTRY(item) link;	   /* of its row, unless it is gone */
	bool gone;
};

/* Of one interface at one server, in the order in which they came. */
TAILQ_HEAD(row, item);

struct server {
	uint64_t sid;
	TAILQ_ENTRY(server) link; /* of match->due */
	bool due;		  /* there is something to tell */
	bool told;		  /* PUBLISHED was the last thing told */
	size_t filled;		  /* rows that hold something */
	size_t lost;		  /* of @group, if it was told: those that are gone */
	struct item **group;	  /* one of each row: as told, or last proposed */
	struct row rows[];
};

struct dcm_match {
	size_t count;
	void *servers; /* tree by SID */
	TAILQ_HEAD(, server) due;
	uint64_t made; /* how often a server came to be due */
	const struct dcm_notice **view;
};

static int compare(const void *a, const void *b)
{
	uint64_t x = ((const struct server *)a)->sid, y = ((const struct server *)b)->sid;

	return (x > y) - (x < y);
}

struct dcm_match *dcm_match_create(size_t count)
{
	struct dcm_match *match = calloc(1, sizeof *match);

	if (match == NULL)
		return NULL;
	match->count = count;
	TAILQ_INIT(&match->due);
	match->view = calloc(count, sizeof *match->view);
	if (match->view != NULL)
		return match;
	free(match);
	return NULL;
}

static void free_item(struct item *item)
{
	dcm_notice_free(item->notice);
	free(item);
}

static void free_server(const struct dcm_match *match, struct server *server)
{
	struct item *item;

	for (size_t i = 0; i < match->count; i++) {
		if (server->told && server->group[i]->gone)
			free_item(server->group[i]);
		while ((item = TAILQ_FIRST(&server->rows[i])) != NULL) {
			TAILQ_REMOVE(&server->rows[i], item, link);
			free_item(item);
		}
	}
	free(server->group);
	free(server);
}

void dcm_match_destroy(struct dcm_match *match)
{
	while (match->servers != NULL) {
		struct server *server = *(struct server **)match->servers;

		tdelete(server, &match->servers, compare);
		free_server(match, server);
	}
	free(match->view);
	free(match);
}

static struct server *server_new(const struct dcm_match *match, uint64_t sid)
{
	struct server *server = calloc(1, sizeof *server + match->count * sizeof(struct row));

	if (server == NULL)
		return NULL;
	server->sid = sid;
	server->group = calloc(match->count, sizeof(struct item *));
	if (server->group == NULL) {
		free(server);
		return NULL;
	}
	for (size_t i = 0; i < match->count; i++)
		TAILQ_INIT(&server->rows[i]);
	return server;
}

static struct server *server_find(struct dcm_match *match, uint64_t sid)
{
	const struct server like = { .sid = sid };
	struct server *const *node = tfind(&like, &match->servers, compare);

	return node != NULL ? *node : NULL;
}

/* The one with that SID, made if need be; null: out of memory. */
static struct server *server_of(struct dcm_match *match, uint64_t sid)
{
	struct server *server = server_find(match, sid);

	if (server != NULL)
		return server;
	server = server_new(match, sid);
	if (server != NULL && tsearch(server, &match->servers, compare) == NULL) {
		free_server(match, server);
		return NULL;
	}
	return server;
}

/* After any change of the server: is there something to tell, and does anything need it still? */
static void settle(struct dcm_match *match, struct server *server)
{
	bool due = server->told ? server->lost != 0 : server->filled == match->count;

	match->made += due && !server->due;
	if (due && !server->due)
		TAILQ_INSERT_TAIL(&match->due, server, link);
	else if (!due && server->due)
		TAILQ_REMOVE(&match->due, server, link);
	server->due = due;
	if (server->told || server->filled != 0)
		return;
	tdelete(server, &match->servers, compare);
	free_server(match, server);
}

static bool published(struct dcm_match *match, size_t which, struct dcm_notice *notice)
{
	struct item *item = calloc(1, sizeof *item);
	struct server *server = item != NULL ? server_of(match, notice->sid) : NULL;

	if (server == NULL) {
		free(item);
		return false;
	}
	item->notice = notice;
	server->filled += TAILQ_EMPTY(&server->rows[which]);
	TAILQ_INSERT_TAIL(&server->rows[which], item, link);
	settle(match, server);
	return true;
}

static void withdrawn(struct dcm_match *match, size_t which, const struct dcm_notice *notice)
{
	struct server *server = server_find(match, notice->sid);
	struct item *item = server != NULL ? TAILQ_FIRST(&server->rows[which]) : NULL;

	while (item != NULL && (item->notice->endpoint.index != notice->endpoint.index ||
				item->notice->endpoint.generation != notice->endpoint.generation))
		item = TAILQ_NEXT(item, link);
	if (item == NULL)
		return;
	TAILQ_REMOVE(&server->rows[which], item, link);
	server->filled -= TAILQ_EMPTY(&server->rows[which]);
	if (server->told && server->group[which] == item) {
		item->gone = true;
		server->lost++;
	} else {
		free_item(item);
	}
	settle(match, server);
}

bool dcm_match_put(struct dcm_match *match, size_t which, struct dcm_notice *notice)
{
	if (notice->published)
		return published(match, which, notice);
	withdrawn(match, which, notice);
	dcm_notice_free(notice);
	return true;
}

const struct dcm_notice *const *dcm_match_next(struct dcm_match *match, bool *is_published)
{
	struct server *server = TAILQ_FIRST(&match->due);

	if (server == NULL)
		return NULL;
	*is_published = !server->told;
	for (size_t i = 0; i < match->count; i++) {
		if (!server->told)
			server->group[i] = TAILQ_FIRST(&server->rows[i]);
		match->view[i] = server->group[i]->notice;
	}
	return match->view;
}

void dcm_match_told(struct dcm_match *match)
{
	struct server *server = TAILQ_FIRST(&match->due);

	for (size_t i = 0; server->told && i < match->count; i++)
		if (server->group[i]->gone)
			free_item(server->group[i]);
	server->told = !server->told;
	server->lost = 0;
	/* What comes next of this server waits for its turn. */
	TAILQ_REMOVE(&match->due, server, link);
	server->due = false;
	settle(match, server);
}

uint64_t dcm_match_made(const struct dcm_match *match)
{
	return match->made;
}
