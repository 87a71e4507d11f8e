/* SPDX-License-Identifier: BSD-2-Clause */
/* What all workers of the kill test do alike; and the newcomers, who do little else. */
#define _GNU_SOURCE
#include "tests/stress/lib_kill.h"

#include <dcm/fabric.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/tap.h"

enum { INIT_MS = 60 * 1000 };

struct kill_board *kill_board;
struct kill_worker *kill_self;
uint32_t kill_index;
uint64_t kill_dice;

static const char *become;

void kill_enter(unsigned thread, const char *what)
{
	atomic_store(&kill_self->thread[thread].what, what);
	atomic_store(&kill_self->thread[thread].since_ms, now_ms());
}

void kill_leave(unsigned thread)
{
	atomic_store(&kill_self->thread[thread].since_ms, 0);
}

bool kill_working(void)
{
	return atomic_load(&kill_board->order) == KILL_WORK && !too_many_wrong();
}

bool kill_leaving(void)
{
	return atomic_load(&kill_board->order) == KILL_LEAVE || too_many_wrong();
}

bool kill_ok(Retcode other, Retcode seen, const char *what)
{
	if (seen == rcOk)
		return true;
	if (seen == rcQuotaExceeded)
		atomic_fetch_add(&kill_board->full, 1);
	if (seen == rcNotConnected)
		atomic_fetch_add(&kill_board->broken, 1);
	if (seen != other)
		wanted(rcOk, seen, "worker %u: %s", kill_index, what);
	return false;
}

void kill_pause(void)
{
	uint32_t phase = atomic_load(&kill_board->phase);

	atomic_store(&kill_self->phase, phase);
	while (atomic_load(&kill_board->phase) == phase)
		nap_us(200);
}

void kill_note(enum history_what what, uint64_t sid, const char *name)
{
	history_note(&kill_board->history, kill_index, what, sid, name);
}

bool kill_room(void)
{
	return history_room(&kill_board->history, kill_index);
}

void kill_attach(void)
{
	int64_t end = now_ms() + INIT_MS;
	Retcode rc;

	/* The slots of the dead come back, but perhaps not this instant. */
	kill_enter(0, "DcmInit");
	while ((rc = DcmInit()) == rcQuotaExceeded && now_ms() < end)
		nap_us(1000);
	kill_leave(0);
	if (!wanted(rcOk, rc, "worker %u: DcmInit", kill_index))
		_exit(1);
}

bool kill_publish(struct kill_publication *p, bool as_object, const char *name)
{
	Handle server = KosTaskGetHandle(KosTaskGetSelf());
	Retcode rc;

	if (as_object)
		wanted(rcOk,
		       KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
						OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID, NULL,
						&server),
		       "KnHandleCreateUserObject");
	wanted(rcOk, KnHandleGetSidByHandle(server, &p->sid), "the SID to publish under");
	snprintf(p->name, sizeof p->name, "%s", name);
	kill_note(HISTORY_PUBLISHING, p->sid, name);
	rc = DcmPublishEndpoint(server, KILL_TYPE, name, &p->handle);
	kill_note(rc == rcOk ? HISTORY_PUBLISHED : HISTORY_NOT_PUBLISHED, p->sid, name);
	if (!kill_ok(rcQuotaExceeded, rc, "DcmPublishEndpoint"))
		p->handle = 0;
	if (as_object)
		wanted(rcOk, KnHandleClose(server), "closing a published object");
	return p->handle != 0;
}

void kill_withdraw(struct kill_publication *p)
{
	kill_note(HISTORY_WITHDRAWING, p->sid, p->name);
	wanted(rcOk, DcmCloseHandle(p->handle), "unpublishing");
	kill_note(HISTORY_WITHDRAWN, p->sid, p->name);
	p->handle = 0;
}

Retcode kill_read(DcmHandle subscription, DcmTimeout timeout)
{
	uint64_t before = history_now(&kill_board->history);
	char name[DCM_NAME_SIZE];
	DcmPubStatus status = 0;
	Handle server;
	Sid sid = 0;
	Retcode rc = DcmReadPubQueue(subscription, timeout, &status, &server, NULL, name);

	if (rc == rcTimeout)
		kill_note(HISTORY_TOLD_ALL, before, NULL);
	if (rc != rcOk)
		return rc;
	wanted(rcOk, KnHandleGetSidByHandle(server, &sid), "a server's SID");
	kill_note(status == DCM_PUBLISHED ? HISTORY_TOLD_PUBLISHED : HISTORY_TOLD_UNPUBLISHED, sid,
		  name);
	wanted(rcOk, KnHandleClose(server), "closing a server's identity");
	atomic_fetch_add(&kill_self->done, 1);
	return rcOk;
}

/* Newcomer. */

static void read_a_little(void)
{
	DcmHandle subscription;

	if (!kill_ok(rcQuotaExceeded,
		     DcmSetSubscription(KILL_TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
		     "DcmSetSubscription"))
		return;
	kill_note(HISTORY_SUBSCRIBED, 0, NULL);
	while (kill_room() && kill_read(subscription, 0) == rcOk)
		;
	kill_note(HISTORY_UNSUBSCRIBED, 0, NULL);
	/* Or it is left to DcmFini. */
	if (draw(&kill_dice, 2) == 0)
		wanted(rcOk, DcmCloseHandle(subscription), "closing a subscription");
}

static void ask_a_little(void)
{
	Handle session = INVALID_HANDLE;
	DcmHandle connection;
	char name[HISTORY_NAME];
	Retcode rc;

	/* One that nobody publishes, too: the request is parked. */
	snprintf(name, sizeof name, "s%u", (unsigned)draw(&kill_dice, KILL_SERVERS + 1));
	wanted(rcOk,
	       DcmCreateConnection(KILL_TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
	       "DcmCreateConnection");
	kill_enter(0, "a newcomer's DcmConnect");
	rc = DcmConnect(connection, (DcmTimeout)draw(&kill_dice, 3), &session);
	kill_leave(0);
	if (rc != rcTimeout && rc != rcQuotaExceeded)
		kill_ok(rcNotConnected, rc, "DcmConnect");
	if (draw(&kill_dice, 2) == 0)
		wanted(rcOk, DcmCloseHandle(connection), "closing a connection");
	/* An open session keeps the process attached: DcmFini alone does not end it. */
	if (rc == rcOk)
		wanted(rcOk, KnHandleClose(session), "closing a newcomer's session");
}

static void come_and_go(void)
{
	struct kill_publication mine = { 0 };
	char name[HISTORY_NAME];

	kill_attach();
	snprintf(name, sizeof name, "n%u", kill_index);
	if (draw(&kill_dice, 2) == 0)
		kill_publish(&mine, false, name);
	if (draw(&kill_dice, 2) == 0)
		read_a_little();
	if (draw(&kill_dice, 2) == 0)
		ask_a_little();
	if (mine.handle != 0)
		kill_note(HISTORY_WITHDRAWING, mine.sid, mine.name);
	kill_enter(0, "DcmFini");
	DcmFini();
	kill_leave(0);
	if (mine.handle != 0)
		kill_note(HISTORY_WITHDRAWN, mine.sid, mine.name);
	atomic_fetch_add(&kill_self->done, 1);
}

void kill_be_newcomer(void)
{
	while (!kill_leaving()) {
		while (kill_working()) {
			if (kill_room())
				come_and_go();
			nap_us((long)draw(&kill_dice, 2000));
		}
		if (kill_leaving())
			break;
		kill_attach();
		kill_pause();
		DcmFini();
	}
}

/* Whatever this thread was doing: another program takes its place, without DcmFini. */
static void on_signal(int signal)
{
	(void)signal;
	execl(become, become, (char *)NULL);
	_exit(1);
}

void kill_work(struct kill_board *shared, uint32_t index, uint64_t seed, const char *gone)
{
	char name[32];

	kill_board = shared;
	kill_self = &shared->worker[index];
	kill_index = index;
	kill_dice = seed;
	become = gone;
	signal(SIGUSR1, on_signal);
	snprintf(name, sizeof name, "w%u", index);
	DcmSetProcessName(name);
	if (index >= KILL_FIRST_NEWCOMER && index < KILL_FIRST_OBSERVER) {
		kill_be_newcomer();
		_exit(0);
	}
	kill_attach();
	if (index < KILL_SERVERS)
		kill_be_server();
	else if (index < KILL_FIRST_NEWCOMER)
		kill_be_client();
	else
		kill_be_observer(index > KILL_FIRST_OBSERVER);
	_exit(0);
}
