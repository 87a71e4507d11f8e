/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it puts handlers off for as long as it likes) */
/*
 * A program whose handlers run all the time: no wait of the library's ends by that, none is shorter,
 * and nothing that is done in several steps is left half done.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Signals"

enum { WAIT_MS = 60, ROUNDS = 40, EVERY_NS = 150 * 1000 };

static _Atomic uint64_t handled;
static timer_t timer;
static struct load load;

static void handle(int signal)
{
	(void)signal;
	atomic_fetch_add(&handled, 1u);
}

/* To any thread of the process that does not block it, and no call is begun anew. */
static void storm(void)
{
	struct sigaction action = { .sa_handler = handle };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec every = { { 0, EVERY_NS }, { 0, EVERY_NS } };

	sigaction(SIGUSR1, &action, NULL);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
	    timer_settime(timer, 0, &every, NULL) != 0)
		sysbail("a timer");
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * S_NS + now.tv_nsec;
}

/* In this thread, which the handler runs in. */
static void test_waits(enum blocking what)
{
	struct blocked b = { .what = what, .timeout_ms = WAIT_MS };
	uint64_t before = atomic_load(&handled);
	struct pair pair;
	int64_t began;
	Retcode rc;

	pair_open(&pair);
	b.handle = blocking_handle(what, TYPE, &pair);
	load_for(&load, &b);
	errno = 77;
	began = now_ns();
	rc = blocked_make(&b);
	ok(now_ns() - began >= WAIT_MS * MS_NS, "%s waits as long as it was told to",
	   blocking_name(what));
	is_rc(rcTimeout, rc, "and says so");
	is_int(77, errno, "and leaves errno alone");
	ok(atomic_load(&handled) > before, "with handlers run meanwhile");
	load_drop(&load);
	if (b.handle != pair.session && b.handle != pair.listener)
		must(DcmCloseHandle(b.handle));
	pair_close(&pair);
}

static bool is_good(Retcode rc, const char *what, unsigned int *wrong)
{
	if (rc == rcOk)
		return true;
	diag("%s: %s, %s", what, RetcodeName(rc), DcmLastDetail());
	++*wrong;
	return false;
}

static void test_notice(void)
{
	int64_t began = now_ns();
	EventDesc event;
	size_t count;
	Notice notice;

	must(KnNoticeCreate(&notice));
	is_rc(rcTimeout, KnNoticeGetEvent(notice, WAIT_MS, 1, &event, &count), "KnNoticeGetEvent");
	ok(now_ns() - began >= WAIT_MS * MS_NS, "waits as long as it was told to");
	must(KnNoticeRelease(notice));
}

/* From a DcmInit that makes the fabric to the DcmFini; both sides of the hand-over are here. */
static void test_life(const char *transfer)
{
	unsigned int rounds = (unsigned int)tap_scaled(ROUNDS), wrong = 0;
	uint64_t before = atomic_load(&handled);

	setenv("DCM_TRANSFER", transfer, 1);
	for (unsigned int i = 0; i < rounds; i++) {
		Retcode rc = DcmInit();
		DcmMessage message;
		DcmRequest request;
		struct pair pair;
		uint64_t call;

		if (!is_good(rc, "DcmInit", &wrong))
			break;
		pair_open(&pair);
		is_good(DcmLoan(pair.session, 3000000, FOREVER_NS, &message), "DcmLoan", &wrong);
		pattern_fill(message.data, message.size, i);
		is_good(DcmStart(pair.session, &message, FOREVER_NS, &call), "DcmStart", &wrong);
		request = must_receive(pair.listener);
		wrong += !pattern_is(request.message.data, request.message.size, i);
		must_reply(&request, request.message.data, 2000000, 0);
		is_good(DcmFinish(pair.session, call, FOREVER_NS, NULL, &message), "DcmFinish",
			&wrong);
		wrong += !pattern_is(message.data, message.size, i);
		is_good(DcmRelease(&message), "DcmRelease", &wrong);
		pair_close(&pair);
		DcmFini();
		if (i % 4 == 0)
			unlink(getenv("DCM_FABRIC"));
	}
	unsetenv("DCM_TRANSFER");
	is_uint(0, wrong, "%u lives, with hand-overs by %s", rounds, transfer);
	ok(atomic_load(&handled) > before + rounds, "with handlers run meanwhile");
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_watchdog(200);
	tap_fabric_dir();
	before = holdings_now();
	storm();
	must(DcmInit());
	for (enum blocking what = 0; what < BLOCKING_COUNT; what++)
		test_waits(what);
	test_notice();
	DcmFini();
	if (getfd_is_denied())
		skip("pidfd_getfd is denied");
	else
		test_life("getfd");
	test_life("procfs");
	test_life("socket");
	timer_delete(timer);
	holdings_are(&before, "after the end");
	return 0;
}
