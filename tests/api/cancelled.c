/* SPDX-License-Identifier: BSD-2-Clause */
/* A thread that its host has cancelled comes back from DcmReceive with what it received. */
#include <pthread.h>

#include "tests/api/lib_api.h"

struct receiver {
	Handle listener;
	DcmRequest request;
	Retcode rc;
};

static void *receive(void *arg)
{
	struct receiver *receiver = arg;

	pthread_cancel(pthread_self());
	receiver->rc = DcmReceive(receiver->listener, 0, &receiver->request);
	pthread_testcancel();
	return NULL;
}

/* The first call of a channel, with which its descriptor is closed. */
static void test_first_call(struct pair *pair)
{
	struct receiver receiver = { .listener = pair->listener, .rc = rcFail };
	DcmMessage message = must_loan(pair->session, 4);
	pthread_t thread;
	void *result = NULL;
	uint64_t call;

	must(DcmStart(pair->session, &message, 0, &call));
	if (pthread_create(&thread, NULL, receive, &receiver) != 0)
		sysbail("pthread_create");
	pthread_join(thread, &result);
	ok(result == PTHREAD_CANCELED, "the thread was cancelled");
	if (!is_rc(rcOk, receiver.rc, "after DcmReceive"))
		return;
	must_reply(&receiver.request, "", 0, 0);
	is_rc(rcOk, DcmFinish(pair->session, call, FOREVER_NS, NULL, NULL), "the call is answered");
}

int main(void)
{
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	must(DcmInit());
	pair_open(&pair);
	test_first_call(&pair);
	pair_close(&pair);
	DcmFini();
	return 0;
}
