/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* The number of a dead participant is another's at once: the dead one is reaped all the same. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/api/lib_elsewhere.h"

#define TYPE "test.Reuse"

enum { NUMBER = 20000 };

static bool start_again(struct peer *peer, struct peer_answer *first)
{
	if (!peer_start_as(peer, NUMBER))
		return false;
	*first = peer_do(peer, PEER_INIT);
	return true;
}

/* Nobody is attached meanwhile, so that who gets the number is the first who could tell. */
static void test_same_number(unsigned int between_ms)
{
	struct peer dead, again, third;
	struct peer_answer a;
	uint64_t handle;

	if (!start_again(&dead, &a)) {
		skip("no right to choose a process's number: %s", strerrordesc_np(errno));
		return;
	}
	peer_must(&dead, PEER_PUBLISH, .type = TYPE, .name = "dead");
	peer_kill(&dead);
	pause_ms(between_ms);
	if (!start_again(&again, &a))
		die("the number was given once, but not again");
	is_int(NUMBER, again.pid, "another process has the dead one's number");
	is_answer(rcOk, &a, "it attaches, %u ms later", between_ms);
	third = peer_start("third");
	a = peer_do(&third, PEER_INIT);
	is_answer(rcOk, &a, "the table has two places: the dead one's is free");
	handle = peer_must(&third, PEER_SUBSCRIBE, .type = TYPE).handle;
	a = peer_do(&third, PEER_READ, .handle = handle);
	is_answer(rcTimeout, &a, "what the dead one published is gone");
	peer_must(&again, PEER_PUBLISH, .type = TYPE, .name = "again");
	a = peer_do(&third, PEER_READ, .handle = handle, .timeout = INFINITE_TIMEOUT);
	is_string("again", a.name, "the living one's is seen");
	peer_kill(&again);
	peer_kill(&third);
}

/* A server dies between accept and connect; its number is a stranger's when the client looks. */
static void test_stranger(void)
{
	struct peer server, stranger;
	struct peer_answer a, callable;
	DcmHandle connection;
	uint64_t publication;
	Handle session;

	must(DcmInit());
	if (!start_again(&server, &a)) {
		skip("no right to choose a process's number: %s", strerrordesc_np(errno));
		return;
	}
	callable = peer_must(&server, PEER_CALLABLE, .other = 1);
	publication = peer_must(&server, PEER_PUBLISH, .type = TYPE, .name = "n").handle;
	must(DcmCreateConnection(TYPE, "n", INVALID_HANDLE, INVALID_HANDLE, &connection));
	is_rc(rcTimeout, DcmConnect(connection, 0, &session), "a client asks");
	a = peer_must(&server, PEER_LISTEN, .handle = publication, .timeout = INFINITE_TIMEOUT);
	peer_must(&server, PEER_ACCEPT, .handle = a.handle, .other = callable.handle);
	peer_kill(&server);
	if (!peer_start_as(&stranger, NUMBER))
		die("the number was given once, but not again");
	is_rc(rcNotConnected, DcmConnect(connection, INFINITE_TIMEOUT, &session),
	      "what the stranger has is not taken for the server's");
	must(DcmCloseHandle(connection));
	peer_kill(&stranger);
	DcmFini();
}

static void run(void)
{
	setenv("DCM_MAX_PROCESSES", "2", 1);
	test_same_number(0);
	test_same_number(50);
	test_stranger();
}

int main(void)
{
	plan_lazy();
	tap_fabric_dir();
	if (!as_process_one(run))
		skip("no PID namespace with its own /proc can be made");
	return 0;
}
