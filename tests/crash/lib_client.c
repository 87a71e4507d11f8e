/* SPDX-License-Identifier: BSD-2-Clause */
/* What a client does, each with what must have been before it. */
#include <dcm/fabric.h>
#include <string.h>

#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

static DcmHandle publication, subscription, connection;
static Handle session, copy, user, deep;
static DcmMessage message, reply;
static uint64_t call;

static DcmHandle publish_as(const char *name)
{
	DcmHandle handle = 0;

	expect(rcQuotaExceeded,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, name, &handle),
	       "DcmPublishEndpoint");
	return handle;
}

static void subscribe(void)
{
	expect(rcOk, DcmSetSubscription(VICTIM_TYPE, NULL, NULL, INVALID_HANDLE, &subscription),
	       "DcmSetSubscription");
}

static void create_connection(const char *name)
{
	expect(rcOk,
	       DcmCreateConnection(VICTIM_TYPE, name, INVALID_HANDLE, INVALID_HANDLE, &connection),
	       "DcmCreateConnection");
}

static void do_nothing(void)
{
}

static void publish(void)
{
	publication = publish_as("own");
}

static void unpublish(void)
{
	expect(rcOk, DcmCloseHandle(publication), "DcmCloseHandle");
}

static void read_queue(void)
{
	while (expect(rcTimeout, DcmReadPubQueue(subscription, 0, NULL, NULL, NULL, NULL),
		      "DcmReadPubQueue"))
		;
}

/* More than its ring of two holds. */
static void overflow(void)
{
	DcmHandle one;

	subscribe();
	read_queue();
	one = publish_as("one");
	publish_as("two");
	expect(rcOk, DcmCloseHandle(one), "DcmCloseHandle");
	publish_as("three");
}

static void close_subscription(void)
{
	expect(rcOk, DcmCloseHandle(subscription), "DcmCloseHandle");
}

static void ask(const char *name, DcmTimeout timeout, Retcode due)
{
	create_connection(name);
	expect(due, DcmConnect(connection, timeout, &session), "DcmConnect");
}

static void ask_nobody(void)
{
	ask("nobody", 0, rcTimeout);
}

/* While it looks, one step is as the other: those of a refusal and an acceptance do. */
static void look_for_nothing(void)
{
	expect(rcOk, DcmSetWaitPolicy(INVALID_HANDLE, DCM_WAIT_SLEEP, -1), "DcmSetWaitPolicy");
}

static void ask_who_ignores(void)
{
	ask("ignored", 1, rcTimeout);
}

static void ask_who_refuses(void)
{
	ask("refuse", INFINITE_TIMEOUT, rcNotConnected);
}

static void ask_who_accepts(void)
{
	ask("offer", INFINITE_TIMEOUT, rcOk);
}

static void withdraw(void)
{
	expect(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
}

static void publish_what_was_asked_for(void)
{
	publish_as("nobody");
}

static void loan(void)
{
	expect(rcOk, DcmLoan(session, 100, -1, &message), "DcmLoan");
}

static void loan_much(void)
{
	expect(rcOk, DcmLoan(session, 200000, -1, &message), "DcmLoan");
	expect(rcOk, DcmRelease(&message), "DcmRelease");
}

static void prepare_loan(void)
{
	ask_who_accepts();
	loan();
	memset(message.data, 1, message.size);
}

static void do_call(void)
{
	expect(rcOk, DcmCall(session, &message, -1, &reply), "DcmCall");
}

/* Given up at once, and once more when the answer may be on its way. */
static void give_up(void)
{
	expect(rcTimeout, DcmCall(session, &message, 0, NULL), "DcmCall");
	loan();
	expect(rcTimeout, DcmCall(session, &message, 20000, NULL), "DcmCall");
}

static void send_one(void)
{
	expect(rcOk, DcmSend(session, &message, -1), "DcmSend");
}

static void start(void)
{
	expect(rcOk, DcmStart(session, &message, -1, &call), "DcmStart");
}

static void prepare_started(void)
{
	prepare_loan();
	start();
}

static void finish(void)
{
	expect(rcOk, DcmFinish(session, call, -1, NULL, &reply), "DcmFinish");
}

static void finish_any(void)
{
	expect(rcOk, DcmFinish(session, DCM_ANY_CALL, -1, &call, &reply), "DcmFinish");
}

static void prepare_reply(void)
{
	prepare_loan();
	do_call();
}

static void release_reply(void)
{
	expect(rcOk, DcmRelease(&reply), "DcmRelease");
}

static void release_unsent(void)
{
	expect(rcOk, DcmRelease(&message), "DcmRelease");
}

static void close_session(void)
{
	expect(rcOk, KnHandleClose(session), "KnHandleClose");
}

static void copy_session(void)
{
	expect(rcOk, KnHandleCopy(session, OCAP_IPC_CALL, INVALID_HANDLE, &copy), "KnHandleCopy");
	expect(rcOk, DcmLoan(copy, 8, -1, &message), "DcmLoan through a copy");
	expect(rcOk, DcmCall(copy, &message, -1, &reply), "DcmCall through a copy");
	expect(rcOk, DcmRelease(&reply), "DcmRelease");
}

static void prepare_copy(void)
{
	prepare_started();
	expect(rcOk, KnHandleCopy(session, OCAP_IPC_CALL, INVALID_HANDLE, &copy), "KnHandleCopy");
}

static void close_both(void)
{
	close_session();
	expect(rcOk, KnHandleClose(copy), "closing a copy");
}

static void revoke_session(void)
{
	expect(rcOk, KnHandleRevoke(session), "KnHandleRevoke");
	if (DcmLoan(copy, 8, -1, &message) != rcHandleRevoked)
		ok(0, "a copy of what was revoked is of use");
}

/* By two handles, one below the other's copy; of an interface whose notices the bystander does not
   read, since it wants the server's SID. */
static void show_itself(void)
{
	const uint32_t rights = OCAP_HANDLE_TRANSFER | OCAP_HANDLE_GET_SID | OCAP_HANDLE_COPY;

	expect(rcOk, KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, rights, NULL, &user),
	       "KnHandleCreateUserObject");
	expect(rcOk, KnHandleCopy(user, rights, INVALID_HANDLE, &copy), "KnHandleCopy");
	expect(rcOk, KnHandleCopy(copy, rights, INVALID_HANDLE, &deep), "KnHandleCopy");
	expect(rcOk, DcmPublishEndpoint(user, "crash.Shown", "own", &publication),
	       "DcmPublishEndpoint");
	expect(rcOk, DcmCreateConnection(VICTIM_TYPE, "nobody", INVALID_HANDLE, deep, &connection),
	       "DcmCreateConnection");
	expect(rcTimeout, DcmConnect(connection, 0, &session), "DcmConnect");
}

static void revoke_shown(void)
{
	expect(rcOk, KnHandleRevoke(copy), "KnHandleRevoke");
	expect(rcOk, KnHandleRevoke(user), "KnHandleRevoke");
}

static void close_shown(void)
{
	expect(rcOk, KnHandleClose(deep), "KnHandleClose");
	expect(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
	expect(rcOk, KnHandleClose(user), "KnHandleClose");
	expect(rcOk, DcmCloseHandle(publication), "DcmCloseHandle");
}

static void revoke_shown_and_leave(void)
{
	revoke_shown();
	DcmFini();
}

const struct scenario client_scenarios[] = {
	{ "DcmPublishEndpoint", do_nothing, publish, false },
	{ "closing a publication", publish, unpublish, false },
	{ "publishing what is asked for", ask_nobody, publish_what_was_asked_for, false },
	{ "DcmSetSubscription", do_nothing, subscribe, false },
	{ "DcmReadPubQueue", subscribe, read_queue, false },
	{ "DcmReadPubQueue, overflow", overflow, read_queue, false },
	{ "closing a subscription", subscribe, close_subscription, false },
	{ "DcmConnect, parked", do_nothing, ask_nobody, false },
	{ "DcmConnect, timed out", look_for_nothing, ask_who_ignores, false },
	{ "DcmConnect, refused", do_nothing, ask_who_refuses, false },
	{ "DcmConnect, accepted", do_nothing, ask_who_accepts, false },
	{ "closing a parked connection", ask_nobody, withdraw, false },
	{ "closing a waiting connection", ask_who_ignores, withdraw, false },
	{ "closing an accepted connection", ask_who_accepts, withdraw, false },
	{ "DcmLoan", ask_who_accepts, loan, false },
	{ "DcmLoan, the channel grows", ask_who_accepts, loan_much, false },
	{ "DcmRelease of a loan", prepare_loan, release_unsent, false },
	{ "DcmCall", prepare_loan, do_call, false },
	{ "DcmCall, given up", prepare_loan, give_up, false },
	{ "DcmSend", prepare_loan, send_one, false },
	{ "DcmStart", prepare_loan, start, false },
	{ "DcmFinish", prepare_started, finish, false },
	{ "DcmFinish of any", prepare_started, finish_any, false },
	{ "DcmRelease of a reply", prepare_reply, release_reply, false },
	{ "a copy of a session", ask_who_accepts, copy_session, false },
	{ "closing a session and its copy", prepare_copy, close_both, false },
	{ "revoking a session and its copy", prepare_copy, revoke_session, false },
	{ "showing itself by handles of its own", do_nothing, show_itself, false },
	{ "revoking what was shown", show_itself, revoke_shown, false },
	{ "revoking what was shown, and DcmFini", show_itself, revoke_shown_and_leave, false },
	{ "closing what was shown", show_itself, close_shown, false },
	{ "closing a session", ask_who_accepts, close_session, false },
	{ "closing a session, call under way", prepare_started, close_session, false },
};

const size_t client_scenario_count = sizeof client_scenarios / sizeof client_scenarios[0];
