/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children) */
/*
 * A process that revokes what it has shown to others is killed at each step of that. Who was shown it
 * finds it revoked or not, and what it finds stays so when the dead one's places are another's; and
 * once KnHandleRevoke() was back it is revoked, whoever died since.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/crash/lib_step.h"
#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

#define TYPE "test.ShownAnywhere"

enum { GIVE = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY };
enum { WAIT_MS = 20 * 1000, LIVES = 3, SHOWN = 3 };

/* How far the giver and the holder are. */
static struct turns {
	_Atomic uint32_t seen, said;
} * turns;

static uint64_t dies_at;
static bool of_task; /* what it revokes */
static DcmHandle queue;

/* "a" by a copy, "b" by a copy of that, "c" by what is not revoked. */
static Handle show_all(Handle top)
{
	Handle copy, deep;
	DcmHandle publication;

	expect(rcOk, KnHandleCopy(top, GIVE, INVALID_HANDLE, &copy), "KnHandleCopy");
	expect(rcOk, KnHandleCopy(copy, GIVE, INVALID_HANDLE, &deep), "KnHandleCopy");
	expect(rcOk, DcmPublishEndpoint(copy, TYPE, "a", &publication), "publish a");
	expect(rcOk, DcmPublishEndpoint(deep, TYPE, "b", &publication), "publish b");
	return copy;
}

static void be_giver(void)
{
	Handle own = KosTaskGetHandle(KosTaskGetSelf()), other, copy;
	DcmHandle publication;

	expect(rcOk, DcmInit(), "the giver's DcmInit");
	expect(rcOk, KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, GIVE, NULL, &other),
	       "KnHandleCreateUserObject");
	expect(rcOk, DcmPublishEndpoint(of_task ? other : own, TYPE, "c", &publication),
	       "publish c");
	copy = show_all(own);
	while (atomic_load(&turns->seen) == 0)
		nap_us(100);
	step_arm(dies_at, false);
	expect(rcOk, KnHandleRevoke(of_task ? own : copy), "KnHandleRevoke");
	step_disarm();
	atomic_store(&turns->said, 1);
	for (;;)
		pause();
}

/* As many handles as the giver shows; by the first letter of the endpoint's name. */
static void read_all(Handle handles[SHOWN])
{
	for (unsigned i = 0; i < SHOWN; i++) {
		char name[DCM_NAME_SIZE];
		DcmPubStatus status;
		Handle handle;

		expect(rcOk, DcmReadPubQueue(queue, WAIT_MS, &status, &handle, NULL, name),
		       "DcmReadPubQueue");
		if (status != DCM_PUBLISHED || name[0] < 'a' || name[0] > 'c')
			die("a notice that was not due");
		handles[name[0] - 'a'] = handle;
	}
}

/* The ends of what was read. */
static void read_ends(void)
{
	Handle handles[SHOWN];

	for (unsigned i = 0; i < SHOWN; i++) {
		DcmPubStatus status;

		expect(rcOk, DcmReadPubQueue(queue, WAIT_MS, &status, &handles[i], NULL, NULL),
		       "DcmReadPubQueue");
		if (status != DCM_UNPUBLISHED)
			die("a publication of the dead goes on");
		KnHandleClose(handles[i]);
	}
}

static bool is_revoked(Handle handle)
{
	Retcode rc;
	Sid sid;

	rc = KnHandleGetSidByHandle(handle, &sid);
	if (rc != rcOk && rc != rcHandleRevoked)
		ok(0, "a handle that was shown: %s", RetcodeName(rc));
	return rc == rcHandleRevoked;
}

/* What holders find at the end, and whether the giver lived to say that it has revoked. */
static void judge(const Handle handles[SHOWN], bool said)
{
	bool a = is_revoked(handles[0]), b = is_revoked(handles[1]);

	if (said && (!a || !b))
		ok(0, "step %llu: KnHandleRevoke was back, and a handle is of use",
		   (unsigned long long)dies_at);
	if (is_revoked(handles[2]))
		ok(0, "step %llu: another handle is revoked", (unsigned long long)dies_at);
	if (a != is_revoked(handles[0]) || b != is_revoked(handles[1]))
		ok(0, "step %llu: a handle is now one thing, now another",
		   (unsigned long long)dies_at);
}

/* Until it is dead, or has said so and waits. */
static bool wait_for_giver(pid_t pid)
{
	int status;

	while (atomic_load(&turns->said) == 0)
		if (waitpid(pid, &status, WNOHANG) != 0)
			return false;
		else
			nap_us(100);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return true;
}

/* Return: whether it died at that step; what it left is judged. */
static bool kill_one(void)
{
	Handle handles[SHOWN];
	bool said, early = false;
	pid_t pid;

	atomic_store(&turns->seen, 0);
	atomic_store(&turns->said, 0);
	pid = victim_fork(be_giver);
	read_all(handles);
	for (unsigned i = 0; i < SHOWN; i++)
		if (is_revoked(handles[i]))
			ok(0, "step %llu: revoked before its time", (unsigned long long)dies_at);
	atomic_store(&turns->seen, 1);
	said = wait_for_giver(pid);
	/* Half of them look first when all places of the dead are free. */
	if (dies_at % 2 == 0)
		early = is_revoked(handles[1]);
	read_ends();
	judge(handles, said);
	if (early && !is_revoked(handles[1]))
		ok(0, "step %llu: the giver's end ended the revocation",
		   (unsigned long long)dies_at);
	for (unsigned i = 0; i < SHOWN; i++)
		KnHandleClose(handles[i]);
	return !said;
}

static void enumerate(const char *name)
{
	unsigned long failed = tap_failed();
	uint64_t kills = 0;
	unsigned lives = 0;

	for (dies_at = 1; lives < LIVES && tap_failed() - failed < 5; dies_at++) {
		bool died = kill_one();

		kills += died;
		lives = died ? 0 : lives + 1;
	}
	ok(kills > 2, "%s: the giver has %llu steps to die at", name, (unsigned long long)kills);
	victim_report(name, kills, tap_failed() - failed);
}

int main(void)
{
	plan_lazy();
	dcm_mutant = getenv("DCM_MUTANT"); /* the line to leave out: then this must fail */
	tap_fabric_dir();
	setenv("DCM_MAX_GIFTS", "8", 1);
	turns = mmap(NULL, sizeof *turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (turns == MAP_FAILED)
		sysbail("no shared memory");
	expect(rcOk, DcmInit(), "DcmInit");
	expect(rcOk, DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &queue),
	       "DcmSetSubscription");
	enumerate("revoking a handle that was shown");
	of_task = true;
	enumerate("revoking all that descends from the process's own");
	DcmFini();
	munmap(turns, sizeof *turns);
	return 0;
}
