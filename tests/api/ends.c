/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* Threads end and the process lives: so does the participant. It dumps core: it dies when that ends. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Ends"

static struct peer_answer serve(struct peer *server, uint64_t *publication)
{
	*publication = peer_must(server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
	return peer_must(server, PEER_CALLABLE, .other = 1);
}

static struct peer_answer connect_to(struct peer *server, uint64_t publication,
				     struct peer_answer *callable, struct peer *client)
{
	uint64_t connection = peer_must(client, PEER_CREATE, .type = TYPE, .name = "n").handle;
	uint64_t request;

	peer_post(client, PEER_CONNECT, .handle = connection, .timeout = 20000);
	request = peer_must(server, PEER_LISTEN, .handle = publication, .timeout = INFINITE_TIMEOUT)
			  .handle;
	peer_must(server, PEER_ACCEPT, .handle = request, .other = callable->handle);
	peer_must(server, PEER_CLOSE, .handle = request);
	return peer_wait(client);
}

/* The first thread of a process is a zombie while others live. */
static bool first_thread_is_over(void *arg)
{
	const struct peer *peer = arg;
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)peer->pid, (int)peer->pid);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'Z';
}

static void leave(struct peer *peer)
{
	peer_must(peer, PEER_LEAVE);
	if (!until(first_thread_is_over, peer))
		die("the first thread of peer %d does not end", (int)peer->pid);
}

/* The thread that called DcmInit, main's, ends: what it began goes on, and new things begin. */
static void test_thread_ends(void)
{
	struct peer server = peer_attached("server"), client = peer_attached("client");
	struct peer_answer callable, before, after, a;
	uint64_t publication;

	callable = serve(&server, &publication);
	before = connect_to(&server, publication, &callable, &client);
	is_answer(rcOk, &before, "a session");
	leave(&server);
	leave(&client);
	after = connect_to(&server, publication, &callable, &client);
	is_answer(rcOk, &after, "another, when on both sides main's thread has ended");
	peer_post(&server, PEER_ECHO, .handle = callable.other);
	a = peer_do(&client, PEER_CALL, .handle = before.handle, .size = 10, .timeout = 20000);
	is_answer(rcOk, &a, "a call over the first");
	if (after.rc == rcOk) {
		a = peer_do(&client, PEER_CALL, .handle = after.handle, .size = 10,
			    .timeout = 20000);
		is_answer(rcOk, &a, "and over the second");
	}
	peer_post(&client, PEER_CALL, .handle = before.handle, .size = 10,
		  .timeout = INFINITE_TIMEOUT);
	peer_wait(&client);
	peer_kill(&server);
	a = peer_do(&client, PEER_CALL, .handle = before.handle, .size = 10,
		    .timeout = INFINITE_TIMEOUT);
	is_answer(rcNotConnected, &a, "the server's death is seen all the same");
	a = peer_do(&client, PEER_FINI);
	is_answer(rcOk, &a, "DcmFini by another thread than DcmInit");
	is_int(0, peer_end(&client), "the client ends in order");
}

/* A process whose first thread has ended makes the fabric, serves, and connects to itself. */
static void test_thread_ended_before(void)
{
	struct peer peer = peer_start("late"), client;
	struct peer_answer a, callable;
	uint64_t publication;
	char path[256];

	snprintf(path, sizeof(path), "%s/late", tap_fabric_dir());
	setenv("DCM_FABRIC", path, 1);
	peer_must(&peer, PEER_SETENV, .name = "DCM_FABRIC", .type = path);
	leave(&peer);
	a = peer_do(&peer, PEER_INIT);
	is_answer(rcOk, &a, "DcmInit where main's thread has ended");
	callable = serve(&peer, &publication);
	client = peer_attached("client");
	a = connect_to(&peer, publication, &callable, &client);
	is_answer(rcOk, &a, "it accepts");
	peer_must(&client, PEER_FINI);
	is_int(0, peer_end(&client), "its client ends in order");
	a = peer_do(&peer, PEER_FINI);
	is_answer(rcOk, &a, "it leaves");
	is_int(0, peer_end(&peer), "it ends in order");
}

/* Cores are written where nobody looks for them: the peer's directory is the fabric's. */
static bool cores_are_files(void)
{
	char pattern[256] = "|";
	FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

	if (file != NULL) {
		if (fgets(pattern, sizeof(pattern), file) == NULL)
			pattern[0] = '|';
		fclose(file);
	}
	return pattern[0] != '|' && strchr(pattern, '/') == NULL;
}

static void test_core_dump(void)
{
	struct peer server, client;
	struct peer_answer callable, session, a;
	char here[4096];
	uint64_t publication;
	int status = 0;

	if (!cores_are_files()) {
		skip("core_pattern does not write cores to the directory of the process");
		return;
	}
	if (getcwd(here, sizeof(here)) == NULL || chdir(tap_fabric_dir()) < 0)
		sysbail("the fabric's directory");
	server = peer_attached("server");
	if (chdir(here) < 0)
		sysbail("%s", here);
	client = peer_attached("client");
	callable = serve(&server, &publication);
	session = connect_to(&server, publication, &callable, &client);
	peer_post(&client, PEER_CALL, .handle = session.handle, .size = 10,
		  .timeout = INFINITE_TIMEOUT);
	peer_asleep(&client);
	peer_must(&server, PEER_LIMIT, .other = RLIMIT_CORE, .size = 64 << 20);
	peer_post(&server, PEER_DUMP, .size = 48 << 20);
	waitpid(server.pid, &status, 0);
	close(server.fd);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "a server ends with SIGABRT");
	note(WCOREDUMP(status) ? "with a core dump" : "without a core dump: it may not write one");
	a = peer_wait(&client);
	is_answer(rcNotConnected, &a, "its caller is told when the dump has ended");
	peer_kill(&client);
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	test_thread_ends();
	test_core_dump();
	test_thread_ended_before();
	return 0;
}
