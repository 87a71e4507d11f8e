/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* asan: no (a limit of address space) */
/* At a limit of descriptors, memory or file size a call fails by name, leaks nothing, and works after. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Limits"

static const struct limit {
	const char *name;
	int resource;
	uint64_t room; /* beyond what is in use; ignored for sizes of files */
} limits[] = {
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE, 0 },
	{ "RLIMIT_AS", RLIMIT_AS, 1 << 20 },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE, 1 << 20 },
};

static uint64_t used_address_space(struct peer *peer)
{
	char path[64];
	unsigned long pages = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)peer->pid);
	file = fopen(path, "re");
	if (file == NULL || fscanf(file, "%lu", &pages) != 1)
		die("%s cannot be read", path);
	fclose(file);
	return (uint64_t)pages * 4096;
}

static void set_limit(struct peer *peer, const struct limit *limit)
{
	uint64_t used = 0;

	if (limit->resource == RLIMIT_AS)
		used = used_address_space(peer);
	peer_must(peer, PEER_LIMIT, .other = (uint64_t)limit->resource, .size = used + limit->room);
}

static void lift(struct peer *peer, const struct limit *limit)
{
	peer_must(peer, PEER_LIMIT, .other = (uint64_t)limit->resource, .size = RLIM_INFINITY);
}

static void fails(const struct peer_answer *a, const char *what, const struct limit *limit)
{
	ok(a->rc == rcQuotaExceeded || a->rc == rcOutOfMemory, "%s at %s: %s, %s", what,
	   limit->name, RetcodeName(a->rc), a->detail);
}

struct scene {
	struct peer server, client;
	struct peer_answer callable;
	uint64_t publication, connection;
};

static uint64_t asked(struct scene *s)
{
	peer_post(&s->client, PEER_CONNECT, .handle = s->connection, .timeout = 20000);
	return peer_must(&s->server, PEER_LISTEN, .handle = s->publication, .timeout = 20000)
		.handle;
}

static void begin(struct scene *s)
{
	s->server = peer_attached("server");
	s->client = peer_attached("client");
	s->callable = peer_must(&s->server, PEER_CALLABLE, .other = 1);
	s->publication = peer_must(&s->server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
	s->connection = peer_must(&s->client, PEER_CREATE, .type = TYPE, .name = "n").handle;
}

static void works(struct scene *s, uint64_t session, const char *what)
{
	struct peer_answer a;

	peer_post(&s->server, PEER_RECEIVE, .handle = s->callable.other, .timeout = 20000);
	peer_post(&s->client, PEER_CALL, .handle = session, .size = 1000, .seed = 3,
		  .timeout = 20000);
	a = peer_wait(&s->server);
	peer_do(&s->server, PEER_REPLY, .other = a.other);
	a = peer_wait(&s->client);
	is_answer(rcOk, &a, "%s", what);
}

/* One result: no more is held than before. */
static void holds(struct peer *peer, const struct peer_answer *before, const char *what)
{
	struct peer_answer now;

	for (int i = 0; i < 2000; i++) {
		now = peer_must(peer, PEER_HOLDS);
		if (now.other <= before->other && now.size <= before->size)
			break;
		pause_ms(1);
	}
	ok(now.other <= before->other && now.size <= before->size,
	   "%s: %d descriptors, %d mappings, as before", what, (int)now.other, (int)now.size);
}

static void test_accept(const struct limit *limit)
{
	struct peer_answer before, a;
	struct scene s;
	uint64_t request;

	begin(&s);
	request = asked(&s);
	before = peer_must(&s.server, PEER_HOLDS);
	set_limit(&s.server, limit);
	a = peer_do(&s.server, PEER_ACCEPT, .handle = request, .other = s.callable.handle);
	fails(&a, "DcmAccept", limit);
	lift(&s.server, limit);
	holds(&s.server, &before, "what failed left nothing");
	a = peer_do(&s.server, PEER_ACCEPT, .handle = request, .other = s.callable.handle);
	if (is_answer(rcOk, &a, "without the limit the same request is accepted"))
		works(&s, peer_wait(&s.client).handle, "and the session works");
	peer_kill(&s.server);
	peer_kill(&s.client);
}

static void test_connect(const struct limit *limit)
{
	struct peer_answer before, a;
	struct scene s;
	uint64_t request;

	begin(&s);
	before = peer_must(&s.client, PEER_HOLDS);
	set_limit(&s.client, limit);
	request = asked(&s);
	peer_must(&s.server, PEER_ACCEPT, .handle = request, .other = s.callable.handle);
	a = peer_wait(&s.client);
	fails(&a, "DcmConnect", limit);
	lift(&s.client, limit);
	holds(&s.client, &before, "what failed left nothing");
	request = asked(&s);
	peer_must(&s.server, PEER_ACCEPT, .handle = request, .other = s.callable.handle);
	a = peer_wait(&s.client);
	if (is_answer(rcOk, &a, "without the limit it asks anew"))
		works(&s, a.handle, "and the session works");
	peer_kill(&s.server);
	peer_kill(&s.client);
}

static void test_init(const struct limit *limit)
{
	struct peer peer = peer_start("comer");
	struct peer_answer before = peer_must(&peer, PEER_HOLDS), a;

	set_limit(&peer, limit);
	a = peer_do(&peer, PEER_INIT);
	fails(&a, "DcmInit", limit);
	lift(&peer, limit);
	holds(&peer, &before, "what failed left nothing");
	a = peer_do(&peer, PEER_INIT);
	is_answer(rcOk, &a, "without the limit it attaches");
	peer_must(&peer, PEER_FINI);
	is_int(0, peer_end(&peer), "and ends in order");
}

int main(void)
{
	struct peer first;

	plan_lazy();
	tap_fabric_dir();
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", tap_fabric_dir(), limits[i].name);
		setenv("DCM_FABRIC", path, 1);
		test_init(&limits[i]);
		/* The fabric is there then: attaching makes no file. */
		first = peer_attached("first");
		test_accept(&limits[i]);
		if (limits[i].resource != RLIMIT_FSIZE)
			test_connect(&limits[i]);
		peer_kill(&first);
	}
	return 0;
}
