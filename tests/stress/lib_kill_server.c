/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers of the kill test, and the observers of what they publish. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "tests/stress/lib_kill.h"
#include "tests/stress/lib_kill_stamp.h"
#include "tests/tap.h"

static Handle listener, callable;
static _Atomic DcmHandle listening; /* the main publication, for the thread that accepts */

/* Some calls are never answered; and what cannot be answered is let go of. */
static void drop(DcmRequest *request, uint64_t call)
{
	history_mark(&kill_board->history, call, HISTORY_RELEASING);
	wanted(rcOk, DcmRelease(&request->message), "DcmRelease of a request");
}

static void answer(DcmRequest *request)
{
	bool one_way = (request->flags & DCM_REQUEST_ONE_WAY) != 0;
	size_t size = request->message.size;
	DcmMessage reply;
	uint64_t call;
	uint32_t marks;

	if (!kill_stamped(&request->message, KILL_ASKS, &call)) {
		wrong("server %u: a request of %zu bytes holds what nobody wrote", kill_index,
		      size);
		wanted(rcOk, DcmRelease(&request->message), "DcmRelease of a request");
		return;
	}
	marks = history_mark(&kill_board->history, call, HISTORY_RECEIVED);
	if ((marks & HISTORY_BEGUN) == 0 || (marks & HISTORY_RECEIVED) != 0 ||
	    one_way != ((marks & HISTORY_ONE_WAY) != 0))
		wrong("server %u: call %#llx, marks %#x, is received%s", kill_index,
		      (unsigned long long)call, marks,
		      (marks & HISTORY_RECEIVED) != 0 ? " twice" : "");
	if (one_way || kill_is_dropped(call) ||
	    !kill_ok(rcNotConnected, DcmLoanReply(request, size, &reply), "DcmLoanReply")) {
		drop(request, call);
		return;
	}
	kill_stamp(&reply, KILL_ANSWERS, call);
	reply.status = -request->message.status;
	history_mark(&kill_board->history, call, HISTORY_REPLYING);
	kill_ok(rcNotConnected, DcmReply(request, &reply), "DcmReply");
	atomic_fetch_add(&kill_self->done, 1);
}

static void *receive(void *arg)
{
	DcmRequest request;
	Retcode rc;

	(void)arg;
	while ((rc = DcmReceive(listener, -1, &request)) == rcOk)
		answer(&request);
	/* The listener was closed during the call or before it. */
	if (rc != rcNotConnected || !kill_leaving())
		wanted(kill_leaving() ? rcInvalidArgument : rcOk, rc, "worker %u: DcmReceive",
		       kill_index);
	return NULL;
}

static void *accept_all(void *arg)
{
	uint64_t my_dice = mix(kill_dice);
	DcmHandle request;
	Retcode rc;

	(void)arg;
	while (!kill_leaving()) {
		rc = DcmListen(listening, INFINITE_TIMEOUT, NULL, NULL, &request);
		if (rc == rcNotConnected || rc == rcInvalidArgument) {
			nap_us(50); /* withdrawn: another is on its way, or DcmFini was */
			continue;
		}
		if (!wanted(rcOk, rc, "worker %u: DcmListen", kill_index))
			break;
		if (draw(&my_dice, 10) != 0) {
			rc = DcmAccept(request, callable, INVALID_HANDLE);
			kill_ok(rcNotConnected, rc, "DcmAccept");
		}
		rc = DcmCloseHandle(request);
		if (rc != rcNotConnected || !kill_leaving())
			wanted(rcOk, rc, "closing a request");
	}
	return NULL;
}

/* The endpoint that clients ask for, perhaps after the old one was withdrawn under their requests. */
static void publish_main(struct kill_publication *p)
{
	char name[HISTORY_NAME];

	if (p->handle != 0)
		kill_withdraw(p);
	snprintf(name, sizeof name, "s%u", kill_index);
	kill_enter(0, "publishing into a table that stays full");
	while (!kill_publish(p, false, name))
		nap_us(1000);
	kill_leave(0);
	atomic_store(&listening, p->handle);
}

static void publish_and_withdraw(struct kill_publication *p, uint32_t number)
{
	char name[HISTORY_NAME];

	snprintf(name, sizeof name, "t%u.%u", kill_index, number);
	if (p->handle == 0)
		kill_publish(p, number % 2 != 0, name);
	else
		kill_withdraw(p);
}

static void toggle_until_told(void)
{
	struct kill_publication toggled[KILL_TOGGLED] = { 0 }, main_one = { 0 };

	publish_main(&main_one);
	while (!kill_leaving()) {
		uint32_t i = (uint32_t)draw(&kill_dice, KILL_TOGGLED);

		if (!kill_working()) {
			for (i = 0; i < KILL_TOGGLED; i++)
				if (toggled[i].handle != 0)
					kill_withdraw(&toggled[i]);
			kill_pause();
			continue;
		}
		if (kill_room())
			publish_and_withdraw(&toggled[i], i);
		if (kill_room() && draw(&kill_dice, 20) == 0)
			publish_main(&main_one);
		nap_us((long)draw(&kill_dice, 400));
	}
}

void kill_be_server(void)
{
	pthread_t threads[3];

	wanted(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	wanted(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
	threads[0] = start_thread(accept_all, NULL);
	threads[1] = start_thread(receive, NULL);
	threads[2] = start_thread(receive, NULL);
	toggle_until_told();
	DcmFini();
	KnHandleClose(callable);
	KnHandleClose(listener);
	for (unsigned i = 0; i < 3; i++)
		join_thread(threads[i]);
}

/* Observer: it reads, and lives on. What it was told is judged by its history. */

/* Return: whether there was one. */
static bool observe(DcmHandle subscription, DcmTimeout timeout)
{
	Retcode rc = kill_read(subscription, timeout);

	return rc != rcTimeout && wanted(rcOk, rc, "an observer's DcmReadPubQueue");
}

static DcmHandle subscribe(void)
{
	DcmHandle subscription = 0;

	kill_enter(0, "subscribing in a table that stays full");
	while (!kill_ok(rcQuotaExceeded,
			DcmSetSubscription(KILL_TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
			"an observer's DcmSetSubscription") &&
	       !too_many_wrong())
		nap_us(1000);
	kill_leave(0);
	kill_note(HISTORY_SUBSCRIBED, 0, NULL);
	return subscription;
}

void kill_be_observer(bool slow)
{
	DcmHandle mine = subscribe();

	while (!kill_leaving()) {
		uint32_t phase = atomic_load(&kill_board->phase);

		while (kill_room() && observe(mine, 0) && !too_many_wrong())
			;
		atomic_store(&kill_self->phase, phase);
		/* The slow one's ring overflows; and sometimes it begins anew. */
		if (slow && kill_working())
			nap_us((long)draw(&kill_dice, 4000));
		else if (kill_room())
			observe(mine, 5);
		else
			nap_us(1000);
		if (slow && kill_working() && kill_room() && draw(&kill_dice, 50) == 0) {
			kill_note(HISTORY_UNSUBSCRIBED, 0, NULL);
			wanted(rcOk, DcmCloseHandle(mine), "closing an observer's subscription");
			mine = subscribe();
		}
	}
	DcmFini();
}
