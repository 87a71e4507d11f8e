/* SPDX-License-Identifier: BSD-2-Clause */
/* What a server does, each with what must have been before it. */
#include <coresrv/handle/notice_api.h>
#include <string.h>

#include "tests/crash/lib_victim.h"
#include "tests/tap.h"

static DcmHandle publication, waiting;
static Handle listener, callable, badge;
static Notice notice;
static DcmRequest request;
static DcmMessage reply;

/* Private, without a step, until the first DcmAccept gives it a slot. */
static void create_listener(void)
{
	expect(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	expect(rcOk,
	       KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					  OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener, 1,
					  &callable),
	       "KnHandleCreateUserObjectEx");
}

/* The bystander comes and asks for it. */
static void publish(void)
{
	create_listener();
	expect(rcOk,
	       DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), VICTIM_TYPE, "victim",
				  &publication),
	       "DcmPublishEndpoint");
}

static void publish_and_be_asked(void)
{
	uint32_t before = atomic_load(&stand->asking);

	publish();
	while (atomic_load(&stand->asking) == before)
		nap_us(50);
}

static void listen_once(void)
{
	expect(rcOk, DcmListen(publication, INFINITE_TIMEOUT, NULL, NULL, &waiting), "DcmListen");
}

static void prepare_request(void)
{
	publish();
	listen_once();
}

static void accept_it(void)
{
	expect(rcOk, DcmAccept(waiting, callable, INVALID_HANDLE), "DcmAccept");
	expect(rcOk, DcmCloseHandle(waiting), "closing a request");
}

static void refuse_it(void)
{
	expect(rcOk, DcmCloseHandle(waiting), "closing a request");
}

static void withdraw(void)
{
	expect(rcOk, DcmCloseHandle(publication), "closing a publication");
}

static void prepare_channel(void)
{
	prepare_request();
	accept_it();
}

/* The bystander, which is to have it, does not come to fetch it: it goes on when the victim is dead. */
static void prepare_unfetched(void)
{
	prepare_request();
	stand_stop(true);
	accept_it();
}

static void receive_one(void)
{
	expect(rcOk, DcmReceive(listener, -1, &request), "DcmReceive");
}

static void prepare_call(void)
{
	prepare_channel();
	receive_one();
}

static void loan_reply(void)
{
	expect(rcOk, DcmLoanReply(&request, request.message.size, &reply), "DcmLoanReply");
	memcpy(reply.data, request.message.data, reply.size);
}

static void prepare_reply(void)
{
	prepare_call();
	loan_reply();
}

static void reply_it(void)
{
	expect(rcOk, DcmReply(&request, &reply), "DcmReply");
}

static void release_unanswered(void)
{
	expect(rcOk, DcmRelease(&request.message), "DcmRelease");
}

/* The fourth message of the bystander is one that is not answered. */
static void serve_some(void)
{
	for (int i = 0; i < 5; i++) {
		receive_one();
		if ((request.flags & DCM_REQUEST_ONE_WAY) != 0) {
			release_unanswered();
			continue;
		}
		loan_reply();
		reply_it();
	}
}

static void close_listener(void)
{
	expect(rcOk, KnHandleClose(callable), "closing a callable handle");
	expect(rcOk, KnHandleClose(listener), "closing a listener");
}

static void revoke(void)
{
	expect(rcOk, KnHandleRevoke(callable), "revoking a callable handle");
}

/* Under a badge, which its notice then tells of. */
static void give_under_badge(void)
{
	expect(rcOk, KnNoticeCreate(&notice), "KnNoticeCreate");
	expect(rcOk, KnHandleCreateBadge(notice, 1, NULL, &badge), "KnHandleCreateBadge");
	expect(rcOk, DcmAccept(waiting, callable, badge), "DcmAccept with a badge");
	expect(rcOk, DcmCloseHandle(waiting), "closing a request");
}

static void prepare_badge(void)
{
	prepare_request();
	give_under_badge();
	receive_one();
}

static void revoke_subtree(void)
{
	EventDesc event;
	size_t count;

	expect(rcOk, KnHandleRevokeSubtree(callable, badge), "revoking what a badge gave");
	expect(rcOk, KnNoticeGetEvent(notice, 0, 1, &event, &count), "the badge's event");
	expect(rcOk, KnHandleClose(badge), "closing a badge");
}

const struct scenario server_scenarios[] = {
	{ "DcmListen", publish_and_be_asked, listen_once, false },
	{ "DcmAccept, the listener's first", prepare_request, accept_it, false },
	{ "refusing a request", prepare_request, refuse_it, false },
	{ "closing a publication asked for", publish_and_be_asked, withdraw, false },
	{ "closing a publication, request taken", prepare_request, withdraw, false },
	{ "DcmReceive", prepare_channel, receive_one, false },
	{ "DcmLoanReply", prepare_call, loan_reply, false },
	{ "DcmReply", prepare_reply, reply_it, false },
	{ "releasing a request unanswered", prepare_call, release_unanswered, false },
	{ "serving calls and messages", prepare_channel, serve_some, false },
	{ "DcmAccept with a badge", prepare_request, give_under_badge, false },
	{ "revoking a session, call under way", prepare_call, revoke, false },
	{ "revoking a session that is not fetched yet", prepare_unfetched, revoke, false },
	{ "revoking what a badge gave", prepare_badge, revoke_subtree, false },
	{ "closing a listener, call under way", prepare_call, close_listener, false },
	{ "DcmFini of a server, call under way", prepare_call, DcmFini, false },
};

const size_t server_scenario_count = sizeof server_scenarios / sizeof server_scenarios[0];
