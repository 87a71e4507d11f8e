/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* A full table is refused by name, size and setting; what the dead had in it makes room. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Full"

enum { SIZE = 4 }; /* a power of two, to which some are raised */

/* Takes one place in the table, in a way that a process can again and again. */
typedef struct peer_answer take_one(struct peer *peer, struct peer *server, int number);

static struct peer_answer publish(struct peer *peer, struct peer *server, int number)
{
	char name[16];

	(void)server;
	snprintf(name, sizeof(name), "n%d", number);
	return peer_do(peer, PEER_PUBLISH, .type = TYPE, .name = name);
}

static struct peer_answer subscribe(struct peer *peer, struct peer *server, int number)
{
	(void)server;
	(void)number;
	return peer_do(peer, PEER_SUBSCRIBE, .type = TYPE);
}

/* A request that waits, for nobody publishes what it asks for. */
static struct peer_answer ask(struct peer *peer, struct peer *server, int number)
{
	struct peer_answer a = peer_do(peer, PEER_CREATE, .type = TYPE, .name = "nobody");

	(void)server;
	(void)number;
	if (a.rc != rcOk)
		return a;
	a = peer_do(peer, PEER_CONNECT, .handle = a.handle);
	if (a.rc == rcTimeout)
		a.rc = rcOk;
	return a;
}

/* A listener has a place from the first request that is accepted for it. */
static struct peer_answer listen_too(struct peer *peer, struct peer *client, int number)
{
	char name[16];
	uint64_t connection, request, publication, callable;

	snprintf(name, sizeof(name), "l%d-%d", (int)peer->pid, number);
	publication = peer_must(peer, PEER_PUBLISH, .type = TYPE, .name = name).handle;
	callable = peer_must(peer, PEER_CALLABLE, .other = 1).handle;
	connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = name).handle;
	peer_do(client, PEER_CONNECT, .handle = connection);
	request = peer_must(peer, PEER_LISTEN, .handle = publication, .timeout = 20000).handle;
	return peer_do(peer, PEER_ACCEPT, .handle = request, .other = callable);
}

/* By a handle of its own, which no other that gives anything is below or above. */
static struct peer_answer show(struct peer *peer, struct peer *server, int number)
{
	char name[16];
	uint64_t user = peer_must(peer, PEER_USER, .other = 0).handle;

	(void)server;
	snprintf(name, sizeof(name), "g%d", number);
	return peer_do(peer, PEER_PUBLISH, .type = TYPE, .name = name, .handle = user);
}

static const struct {
	const char *setting;
	take_one *take;
} tables[] = { { "DCM_MAX_ENDPOINTS", publish },
	       { "DCM_MAX_SUBSCRIPTIONS", subscribe },
	       { "DCM_MAX_CONNECTIONS", ask },
	       { "DCM_MAX_LISTENERS", listen_too },
	       { "DCM_MAX_GIFTS", show } };

static void is_refused(const struct peer_answer *a, const char *setting)
{
	char size[16];

	snprintf(size, sizeof(size), " %d ", SIZE);
	is_answer(rcQuotaExceeded, a, "%s=%d, and one more", setting, SIZE);
	ok(strstr(a->detail, size) != NULL && strstr(a->detail, setting) != NULL,
	   "the detail tells size and setting: %s", a->detail);
}

static void own_fabric(const char *setting)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", tap_fabric_dir(), setting);
	setenv("DCM_FABRIC", path, 1);
}

static void test_table(const char *setting, take_one *take)
{
	char size[16];
	struct peer living, dead, client;
	struct peer_answer a;
	int taken = 0;

	own_fabric(setting);
	snprintf(size, sizeof(size), "%d", SIZE);
	setenv(setting, size, 1);
	living = peer_attached("living");
	dead = peer_attached("dead");
	client = peer_attached("client");
	unsetenv(setting);
	for (int i = 0; i < SIZE; i++)
		taken += take(&dead, &client, i).rc == rcOk;
	is_int(SIZE, taken, "%s: all places are taken", setting);
	a = take(&living, &client, SIZE);
	is_refused(&a, setting);
	peer_kill(&dead);
	for (int i = 0; i < 2000; i++) {
		a = take(&living, &client, SIZE + 1 + i);
		if (a.rc != rcQuotaExceeded)
			break;
		pause_ms(1);
	}
	is_answer(rcOk, &a, "who had them is killed: there is room");
	peer_kill(&client);
	peer_kill(&living);
}

static void test_processes(void)
{
	struct peer peers[SIZE], more;
	struct peer_answer a;

	own_fabric("DCM_MAX_PROCESSES");
	setenv("DCM_MAX_PROCESSES", "4", 1);
	for (int i = 0; i < SIZE; i++)
		peers[i] = peer_attached("one");
	more = peer_start("more");
	a = peer_do(&more, PEER_INIT);
	is_answer(rcQuotaExceeded, &a, "DCM_MAX_PROCESSES=%d, and one more", SIZE);
	ok(strstr(a.detail, "DCM_MAX_PROCESSES") != NULL, "the detail tells the setting: %s",
	   a.detail);
	ok(strstr(a.detail, " 4 ") != NULL, "and the size");
	peer_kill(&peers[1]);
	a = peer_do(&more, PEER_INIT);
	is_answer(rcOk, &a, "one is killed: there is room");
	peer_kill(&peers[0]);
	peer_kill(&peers[2]);
	peer_kill(&peers[3]);
	peer_kill(&more);
	unsetenv("DCM_MAX_PROCESSES");
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		test_table(tables[i].setting, tables[i].take);
	test_processes();
	return 0;
}
