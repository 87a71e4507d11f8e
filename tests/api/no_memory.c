/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it brings its own malloc) */
/* asan: no (it brings its own malloc) */
/* Each allocation of a call fails in turn: the call says so, leaves nothing, and works after. */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/groups/pub.h>
#include <dcm/groups/subscr.h>
#include <stdlib.h>

#include "tests/api/lib_api.h"

#define TYPE "memory.Type"

enum { ALLOCATIONS_MAX = 64 };

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static _Thread_local unsigned until_failure; /* 1: the next one fails; 0: none does */

/* So that the C library's own calls come here, too. */
#define EXPORTED __attribute__((visibility("default")))

static bool fails_now(void)
{
	return until_failure != 0 && --until_failure == 0;
}

EXPORTED void *malloc(size_t bytes)
{
	return fails_now() ? NULL : __libc_malloc(bytes);
}

EXPORTED void *calloc(size_t count, size_t bytes)
{
	return fails_now() ? NULL : __libc_calloc(count, bytes);
}

EXPORTED void *realloc(void *old, size_t bytes)
{
	return fails_now() ? NULL : __libc_realloc(old, bytes);
}

/* What the calls need, and what they made. */
static struct scene {
	Notice notice;
	Handle badge, user, callable, session, made;
	DcmHandle publication, request, other;
	struct pair pair;
} scene;

static Retcode make_user(void)
{
	return KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_COPY, NULL,
					&scene.made);
}

static Retcode make_callable(void)
{
	return KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST, OCAP_IPC_CALL, NULL,
					  scene.pair.listener, 1, &scene.made);
}

static Retcode make_listener(void)
{
	return KnHandleCreateListener(&scene.made);
}

static Retcode make_badge(void)
{
	return KnHandleCreateBadge(scene.notice, 1, NULL, &scene.made);
}

static Retcode copy_user(void)
{
	return KnHandleCopy(scene.user, 0, scene.badge, &scene.made);
}

static Retcode copy_session(void)
{
	return KnHandleCopy(scene.pair.session, OCAP_IPC_CALL, scene.badge, &scene.made);
}

static void close_made(void)
{
	must(KnHandleClose(scene.made));
}

static Retcode make_notice(void)
{
	return KnNoticeCreate(&scene.made);
}

static void release_made(void)
{
	must(KnNoticeRelease(scene.made));
}

static Retcode publish_group(void)
{
	static const DcmGroupEndpoint group[] = { { TYPE, "a", NULL }, { TYPE, "b", NULL } };

	return DcmPublishGroupEndpoints(KosTaskGetHandle(KosTaskGetSelf()), group, 2, &scene.other);
}

static Retcode subscribe_to_group(void)
{
	static const char *const types[] = { TYPE, PAIR_TYPE };

	return DcmSetGroupSubscription(types, 2, "server", INVALID_HANDLE, &scene.other);
}

static Retcode create_connection(void)
{
	return DcmCreateConnection(TYPE, "a", INVALID_HANDLE, INVALID_HANDLE, &scene.other);
}

static void close_other(void)
{
	must(DcmCloseHandle(scene.other));
}

static Retcode listen_to_client(void)
{
	return DcmListen(scene.publication, 0, &scene.made, NULL, &scene.request);
}

static Retcode accept_client(void)
{
	return DcmAccept(scene.request, scene.callable, scene.badge);
}

static Retcode fetch_session(void)
{
	return DcmConnect(scene.other, INFINITE_TIMEOUT, &scene.session);
}

/* Fails at the first allocation, then at the second, until it needs no more. */
static void try_all(const char *what, Retcode (*call)(void), void (*undo)(void))
{
	unsigned failed = 0, wrong = 0;
	Retcode rc;

	for (unsigned n = 1; n <= ALLOCATIONS_MAX; n++) {
		bool reached;

		until_failure = n;
		rc = call();
		reached = until_failure == 0;
		until_failure = 0;
		if (rc == rcOk) {
			undo();
			if (!reached)
				break;
			continue;
		}
		failed++;
		wrong += rc != rcOutOfMemory;
	}
	ok(rc == rcOk && wrong == 0, "%s without memory: %u times rcOutOfMemory, %u something else",
	   what, failed, wrong);
}

static void test_handles(void)
{
	try_all("KnHandleCreateUserObject", make_user, close_made);
	try_all("KnHandleCreateUserObjectEx", make_callable, close_made);
	try_all("KnHandleCreateListener", make_listener, close_made);
	try_all("KnHandleCreateBadge", make_badge, close_made);
	try_all("KnHandleCopy of a user object", copy_user, close_made);
	try_all("KnHandleCopy of a session", copy_session, close_made);
	try_all("KnNoticeCreate", make_notice, release_made);
}

static void test_groups(void)
{
	try_all("DcmPublishGroupEndpoints", publish_group, close_other);
	try_all("DcmSetGroupSubscription", subscribe_to_group, close_other);
	try_all("DcmCreateConnection", create_connection, close_other);
}

/* A badge under which nothing was given in the end has nothing to tell. */
static void test_accept(void)
{
	unsigned failed = 0, wrong = 0, told = 0;
	Retcode rc = rcFail;
	EventDesc event;
	size_t count;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), TYPE, "a", &scene.publication));
	must(create_connection());
	is_rc(rcTimeout, DcmConnect(scene.other, 0, &scene.session), "asked");
	must(listen_to_client());
	close_made();
	while (KnNoticeGetEvent(scene.notice, 0, 1, &event, &count) == rcOk)
		;
	for (unsigned n = 1; rc != rcOk && n <= ALLOCATIONS_MAX; n++) {
		until_failure = n;
		rc = accept_client();
		until_failure = 0;
		failed += rc != rcOk;
		wrong += rc != rcOk && rc != rcOutOfMemory;
		told += KnNoticeGetEvent(scene.notice, 0, 1, &event, &count) == rcOk;
	}
	ok(rc == rcOk && failed != 0 && wrong == 0,
	   "DcmAccept without memory: %u times rcOutOfMemory", failed);
	ok(told == 0, "the badge has nothing to tell");
	until_failure = 1;
	rc = fetch_session();
	until_failure = 0;
	is_rc(rcOutOfMemory, rc, "DcmConnect, accepted, without memory");
	is_rc(rcOk, KnNoticeGetEvent(scene.notice, 20000, 1, &event, &count),
	      "the end of it is told");
	must(DcmCloseHandle(scene.request));
	close_other();
	must(DcmCloseHandle(scene.publication));
}

int main(void)
{
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	pair_open(&scene.pair);
	must(KnNoticeCreate(&scene.notice));
	must(KnHandleCreateBadge(scene.notice, 1, NULL, &scene.badge));
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_COPY, NULL, &scene.user));
	must(KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
					scene.pair.listener, 2, &scene.callable));
	test_handles();
	test_groups();
	test_accept();
	must(KnHandleClose(scene.callable));
	must(KnHandleClose(scene.user));
	must(KnHandleClose(scene.badge));
	must(KnNoticeRelease(scene.notice));
	pair_close(&scene.pair);
	DcmFini();
	holdings_are(&before, "after the end");
	return 0;
}
