/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/api/lib_blocked.h"

#include <stdio.h>
#include <string.h>

const char *blocking_name(enum blocking what)
{
	static const char *const names[BLOCKING_COUNT] = {
		[BLOCK_LOAN] = "DcmLoan",
		[BLOCK_CALL] = "DcmCall",
		[BLOCK_START] = "DcmStart",
		[BLOCK_SEND] = "DcmSend",
		[BLOCK_FINISH] = "DcmFinish",
		[BLOCK_FINISH_ANY] = "DcmFinish of any call",
		[BLOCK_RECEIVE] = "DcmReceive",
		[BLOCK_LISTEN] = "DcmListen",
		[BLOCK_READ] = "DcmReadPubQueue",
		[BLOCK_CONNECT] = "DcmConnect",
		[BLOCK_GROUP_LISTEN] = "DcmListenGroupPub",
		[BLOCK_GROUP_READ] = "DcmReadGroupPubQueue",
	};

	return names[what];
}

static uint64_t new_blocking_handle(enum blocking what, const char *type)
{
	char some[DCM_NAME_SIZE], none[DCM_NAME_SIZE], neither[DCM_NAME_SIZE];
	const DcmGroupEndpoint group[] = { { some, "a", NULL }, { some, "b", NULL } };
	const char *const types[] = { none, neither };
	uint64_t handle;

	snprintf(some, sizeof(some), "%s.some", type);
	snprintf(none, sizeof(none), "%s.none", type);
	snprintf(neither, sizeof(neither), "%s.neither", type);
	switch (what) {
	case BLOCK_LISTEN:
		must(DcmPublishEndpoint(new_identity(), some, "blocked", &handle));
		break;
	case BLOCK_READ:
		must(DcmSetSubscription(none, NULL, NULL, INVALID_HANDLE, &handle));
		break;
	case BLOCK_CONNECT:
		must(DcmCreateConnection(none, "n", INVALID_HANDLE, INVALID_HANDLE, &handle));
		break;
	case BLOCK_GROUP_LISTEN:
		must(DcmPublishGroupEndpoints(new_identity(), group, 2, &handle));
		break;
	default:
		must(DcmSetGroupSubscription(types, 2, NULL, INVALID_HANDLE, &handle));
		break;
	}
	return handle;
}

uint64_t blocking_handle(enum blocking what, const char *type, const struct pair *pair)
{
	if (what < BLOCK_SESSIONS)
		return pair->session;
	return what == BLOCK_RECEIVE ? pair->listener : new_blocking_handle(what, type);
}

Retcode blocked_make(struct blocked *b)
{
	int64_t ns = b->timeout_ms < 0 ? FOREVER_NS : b->timeout_ms * MS_NS;
	DcmTimeout ms = b->timeout_ms < 0 ? INFINITE_TIMEOUT : (DcmTimeout)b->timeout_ms;

	switch (b->what) {
	case BLOCK_LOAN:
		return DcmLoan(b->handle, 1, ns, &b->message);
	case BLOCK_CALL:
		return DcmCall(b->handle, &b->message, ns, &b->message);
	case BLOCK_START:
		return DcmStart(b->handle, &b->message, ns, &b->number);
	case BLOCK_SEND:
		return DcmSend(b->handle, &b->message, ns);
	case BLOCK_FINISH:
		return DcmFinish(b->handle, b->number, ns, NULL, &b->message);
	case BLOCK_FINISH_ANY:
		return DcmFinish(b->handle, DCM_ANY_CALL, ns, &b->number, &b->message);
	case BLOCK_RECEIVE:
		return DcmReceive(b->handle, ns, &b->request);
	case BLOCK_LISTEN:
		return DcmListen(b->handle, ms, NULL, NULL, &b->number);
	case BLOCK_READ:
		return DcmReadPubQueue(b->handle, ms, NULL, NULL, NULL, NULL);
	case BLOCK_CONNECT:
		return DcmConnect(b->handle, ms, &b->number);
	case BLOCK_GROUP_LISTEN:
		return DcmListenGroupPub(b->handle, ms, NULL, NULL, NULL, &b->number);
	case BLOCK_GROUP_READ:
		return DcmReadGroupPubQueue(b->handle, ms, 0, NULL, NULL, NULL, NULL);
	default:
		return rcFail;
	}
}

static void run(void *arg)
{
	struct blocked *b = arg;

	b->rc = blocked_make(b);
	snprintf(b->detail, sizeof(b->detail), "%s", DcmLastDetail());
}

void blocked_go(struct blocked *b)
{
	b->detail[0] = '\0';
	task_start(&b->task, run, b);
	/* One that ran out of time before it was seen asleep has slept. */
	if (!task_asleep(&b->task) && !(b->timeout_ms > 0 && b->rc == rcTimeout))
		ok(0, "%s does not block: %s %s", blocking_name(b->what), RetcodeName(b->rc),
		   b->detail);
}

void blocked_start(struct blocked *b, enum blocking what, uint64_t handle)
{
	*b = (struct blocked){ .what = what, .handle = handle, .timeout_ms = -1 };
	blocked_go(b);
}

int blocked_ends(struct blocked *b, Retcode wanted, const char *why)
{
	bool good;

	task_join(&b->task);
	good = b->rc == wanted && (wanted == rcOk || b->detail[0] != '\0');
	ok(good, "%s, %s: %s", blocking_name(b->what), why, RetcodeName(wanted));
	if (!good)
		diag("  seen: %s, detail: %s", RetcodeName(b->rc), b->detail);
	return good;
}

void load_room(struct load *load, Handle session)
{
	size_t size = (size_t)1 << 30;

	while (size > 0) {
		DcmMessage *message = &load->room[load->rooms];
		Retcode rc = DcmLoan(session, size, 0, message);

		if (rc == rcOk && ++load->rooms == sizeof(load->room) / sizeof(load->room[0]))
			die("the room has no end");
		if (rc != rcOk)
			size /= 2;
	}
}

void load_calls(struct load *load, Handle session)
{
	for (unsigned int i = 0; i < SESSION_CALLS; i++) {
		DcmMessage message = must_loan(session, 8);

		memset(message.data, 0, 8);
		must(DcmStart(session, &message, FOREVER_NS, &load->calls[i]));
	}
	load->spare = must_loan(session, 8);
}

void load_for(struct load *load, struct blocked *b)
{
	*load = (struct load){ .rooms = 0 };
	if (b->what == BLOCK_LOAN)
		load_room(load, b->handle);
	if (b->what == BLOCK_START || b->what == BLOCK_SEND) {
		load_calls(load, b->handle);
		b->message = load->spare;
		load->spare.data = NULL;
	}
	if (b->what == BLOCK_CALL)
		b->message = must_loan(b->handle, 8);
	if (b->what == BLOCK_FINISH || b->what == BLOCK_FINISH_ANY) {
		DcmMessage message = must_loan(b->handle, 8);

		must(DcmStart(b->handle, &message, FOREVER_NS, &b->number));
	}
}

void load_drop(struct load *load)
{
	for (unsigned int i = 0; i < load->rooms; i++)
		must(DcmRelease(&load->room[i]));
	must(DcmRelease(&load->spare));
	load->rooms = 0;
}
