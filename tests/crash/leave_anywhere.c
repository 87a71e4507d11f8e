/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client that sends a message and closes its session, at each step of the DcmReceive() that is
 * to have it: the message is received.
 */
#define _GNU_SOURCE
#include <coresrv/handle/handle_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <dcm/fabric.h>
#include <stdlib.h>
#include <time.h>

#include "tests/crash/lib_steps.h"
#include "tests/tap.h"

static void leave(void *arg)
{
	steps_must(KnHandleClose(*(Handle *)arg), "KnHandleClose");
	/* Time for the keeper to see it; where it takes longer, the step has proved nothing. */
	nanosleep(&(struct timespec){ .tv_nsec = 5 * 1000 * 1000 }, NULL);
}

static bool receive_at(uint32_t at)
{
	DcmRequest request;
	DcmMessage message;
	Handle listener, session;
	Retcode rc;
	bool came;

	session = steps_connect("leave", &listener);
	steps_must(DcmLoan(session, 1, 0, &message), "DcmLoan");
	steps_must(DcmSend(session, &message, 0), "DcmSend");
	steps_begin(at, leave, &session);
	rc = DcmReceive(listener, STEPS_LONG_NS, &request);
	came = steps_end();
	if (rc != rcOk)
		ok(0, "step %u: %s (%s)", at, RetcodeName(rc), DcmLastDetail());
	else
		steps_must(DcmRelease(&request.message), "DcmRelease");
	if (!came)
		KnHandleClose(session);
	KnHandleClose(listener);
	return came;
}

int main(void)
{
	uint32_t at = 0;

	plan_lazy();
	tap_fabric_dir();
	setenv("DCM_MAX_CHANNEL_BYTES", "2097152", 1);
	steps_install();
	steps_must(DcmInit(), "DcmInit");
	while (receive_at(at) && tap_failed() == 0)
		at++;
	ok(at > 10 && tap_failed() == 0, "closed at each of %u steps of DcmReceive", at);
	DcmFini();
	return tap_failed() != 0;
}
