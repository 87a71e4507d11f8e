/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (forks with a library thread) */
/* A forked child is as before DcmInit, may call it, and does its parent no harm, however it ends. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_peer.h"

#define TYPE "test.Fork"

static struct pair pair;
static DcmHandle publication, subscription, group, groups;
static const char *const group_type = TYPE ".group";
static Sid parent_sid;

static void look_as_child(void)
{
	DcmMessage message;
	DcmHandle out;

	is_uint(0, mapping_count("/memfd:dcm-channel"), "no channel is mapped in the child");
	is_rc(rcNotConnected, DcmCloseHandle(publication), "the child is as before DcmInit");
	is_rc(rcInvalidArgument, DcmLoan(pair.session, 1, 0, &message), "the parent's session");
	is_rc(rcInvalidArgument, KnHandleClose(pair.session), "it cannot be closed there");
	ok(sid_of(KosTaskGetHandle(KosTaskGetSelf())) != parent_sid,
	   "the child has another identity");
	is_rc(rcOk, DcmInit(), "the child may call DcmInit");
	is_rc(rcInvalidArgument, DcmCloseHandle(publication), "the parent's DCM handle");
	is_rc(rcInvalidArgument, DcmListen(publication, 0, NULL, NULL, &out), "likewise");
	is_rc(rcInvalidArgument, DcmListenGroupPub(group, 0, NULL, NULL, NULL, &out),
	      "the parent's group");
	is_rc(rcInvalidArgument, DcmReadGroupPubQueue(groups, 0, 0, NULL, NULL, NULL, NULL),
	      "the parent's group subscription");
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "child", &out));
	pair_open(&pair);
	message = must_loan(pair.session, 5);
	memset(message.data, 1, 5);
	must(DcmSend(pair.session, &message, 0));
}

static void parent_is_well(const char *how)
{
	DcmMessage message = must_loan(pair.session, 5), reply;
	DcmRequest request;
	uint64_t call;

	memcpy(message.data, "well", 5);
	must(DcmStart(pair.session, &message, 0, &call));
	request = must_receive(pair.listener);
	must_reply(&request, request.message.data, 5, 0);
	must(DcmFinish(pair.session, call, FOREVER_NS, NULL, &reply));
	ok(memcmp(reply.data, "well", 5) == 0, "the parent's channel works: %s", how);
	must(DcmRelease(&reply));
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &(DcmHandle){ 0 }),
	      "its publication is there");
	is_rc(rcTimeout, DcmListenGroupPub(group, 0, NULL, NULL, NULL, &(DcmHandle){ 0 }),
	      "its group is there");
	is_rc(rcTimeout, DcmReadGroupPubQueue(groups, 0, 0, NULL, NULL, NULL, NULL),
	      "and is not told of as gone");
}

static void next_notice(DcmPubStatus wanted, const char *what)
{
	DcmPubStatus status = 0;

	must(DcmReadPubQueue(subscription, 60 * 1000, &status, NULL, NULL, NULL));
	is_uint(wanted, status, "%s", what);
}

static void test_child(pid_t (*make)(void), bool in_order, const char *how)
{
	int status = -1, go[2];
	char byte = 0;
	pid_t pid;

	/* The child waits until it was seen: what comes and goes unread may never be told. */
	if (pipe(go) < 0)
		sysbail("pipe");
	pid = make();
	if (pid == 0) {
		look_as_child();
		if (read(go[0], &byte, 1) != 1)
			_exit(2);
		if (in_order)
			DcmFini();
		_exit(0);
	}
	next_notice(DCM_PUBLISHED, "the child's endpoint was published");
	ok(write(go[1], &byte, 1) == 1, "the child goes on");
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ends: %s", how);
	close(go[0]);
	close(go[1]);
	next_notice(DCM_UNPUBLISHED, "and ended with it");
	parent_is_well(how);
}

static pid_t by_raw_fork(void)
{
	return _Fork();
}

/* Children that never call the library. */
static void test_idle_child(bool exec)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (exec)
			execlp("true", "true", (char *)NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	parent_is_well(exec ? "a child became another program" : "a child came and went");
}

/* A kernel that denies membarrier() from now on, to all threads: the process lives on. */
static void test_membarrier_denied(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		must(DcmInit());
		/* In the middle of a grace period of liburcu's is too late: api/handle.c. */
		process_asleep(keeper_tid());
		if (deny_system_call(SYS_membarrier, true) < 0)
			_exit(77);
		for (int i = 0; i < 500; i++) {
			DcmHandle out;

			must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &out));
			must(DcmCloseHandle(out));
			must(KnHandleClose(new_identity()));
		}
		DcmFini();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip("no seccomp filter can be set");
	else
		is_int(0, status, "a process to which membarrier() is denied lives on");
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	parent_sid = sid_of(KosTaskGetHandle(KosTaskGetSelf()));
	pair_open(&pair);
	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE ".parent", "n",
				&publication));
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmPublishGroupEndpoints(KosTaskGetHandle(KosTaskGetSelf()),
				      &(DcmGroupEndpoint){ TYPE ".group", "n", NULL }, 1, &group));
	must(DcmSetGroupSubscription(&group_type, 1, NULL, INVALID_HANDLE, &groups));
	must(DcmReadGroupPubQueue(groups, 0, 0, NULL, NULL, NULL, NULL));
	test_idle_child(false);
	test_idle_child(true);
	test_child(fork, false, "fork, no DcmFini");
	test_child(fork, true, "fork, DcmFini");
	test_child(by_raw_fork, false, "_Fork");
	test_membarrier_denied();
	parent_is_well("in the end");
	must(DcmCloseHandle(groups));
	must(DcmCloseHandle(group));
	must(DcmCloseHandle(subscription));
	must(DcmCloseHandle(publication));
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
