/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A forked child has none of its parent's notices, and its own are its own; neither's events reach
 * the other. tsan: no (forks with threads)
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_api.h"

#define USER (1u << 16)

static Notice notice;
static Handle object;
static _Atomic unsigned stop;

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void wait_for_event(void *arg)
{
	EventDesc event;
	size_t count;

	*(Retcode *)arg = KnNoticeGetEvent(notice, INFINITE_TIMEOUT, 1, &event, &count);
}

/* Its own notice on the object that it has from its parent, which is now its own as well. */
static void child_has_its_own(void)
{
	EventDesc event;
	size_t count;
	Notice mine;
	int fd;

	is_rc(rcOk, KnNoticeCreate(&mine), "child: a notice of its own");
	is_rc(rcOk, KnNoticeSubscribeToObject(mine, object, USER, 5), "child: subscribe");
	is_rc(rcOk, DcmGetFd(mine, &fd), "child: a descriptor");
	is_rc(rcTimeout, KnNoticeGetEvent(mine, 0, 1, &event, &count), "child: no event yet");
	is_rc(rcOk, KnNoticeSetObjectEvent(object, USER), "child: set an event");
	ok(is_readable(fd), "child: the descriptor is readable");
	is_rc(rcOk, KnNoticeGetEvent(mine, INFINITE_TIMEOUT, 1, &event, &count),
	      "child: the event");
	is_uint(5, event.eventId, "child: its id");
	is_rc(rcOk, KnHandleClose(object), "child: close the object");
	is_rc(rcOk, KnNoticeRelease(mine), "child: release");
}

static void child(int fd)
{
	EventDesc event;
	size_t count;
	int got;

	ok(!is_readable(fd), "child: the parent's descriptor is as it was");
	is_rc(rcInvalidArgument, KnNoticeGetEvent(notice, 0, 1, &event, &count),
	      "child: the parent's notice is none here");
	is_rc(rcInvalidArgument, KnNoticeSubscribeToObject(notice, object, USER, 1),
	      "child: nor can it be subscribed");
	is_rc(rcInvalidArgument, KnNoticeRelease(notice), "child: nor released");
	is_rc(rcInvalidArgument, DcmGetFd(notice, &got), "child: nor asked for a descriptor");
	ok(fcntl(fd, F_GETFD) < 0, "child: its descriptor is closed");
	child_has_its_own();
}

static void test_fork(void)
{
	struct task task = { 0 };
	Retcode rc = rcFail;
	EventDesc event;
	size_t count;
	int fd, status;
	pid_t pid;

	must(KnNoticeCreate(&notice));
	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
				      &object));
	must(KnNoticeSubscribeToObject(notice, object, USER, 1));
	must(DcmGetFd(notice, &fd));
	task_start(&task, wait_for_event, &rc);
	ok(task_asleep(&task), "a thread of the parent waits");
	pid = fork();
	if (pid == 0) {
		child(fd);
		_exit(0);
	}
	ok(waitpid(pid, &status, 0) == pid && status == 0, "the child is done");
	ok(task_asleep(&task), "the parent's thread still waits");
	ok(!is_readable(fd), "and its descriptor is as it was");
	must(KnNoticeSetObjectEvent(object, USER));
	task_join(&task);
	is_rc(rcOk, rc, "until its own event");
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "and that alone");
	must(KnNoticeRelease(notice));
	must(KnHandleClose(object));
}

/* Children that are made while other threads hold any of the locks there are. */
static void hammer(void *arg)
{
	EventDesc event[4];
	size_t count;
	Notice mine;

	(void)arg;
	while (!atomic_load(&stop)) {
		must(KnNoticeCreate(&mine));
		must(KnNoticeSubscribeToObject(mine, object, USER, 1));
		must(KnNoticeSetObjectEvent(object, USER));
		must(KnNoticeGetEvent(mine, INFINITE_TIMEOUT, 4, event, &count));
		must(KnNoticeRelease(mine));
	}
}

static void test_busy(void)
{
	uint64_t rounds = tap_scaled(100), good = 0;
	struct task task[2] = { { 0 } };

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
				      &object));
	for (unsigned i = 0; i < 2; i++)
		task_start(&task[i], hammer, NULL);
	for (uint64_t i = 0; i < rounds; i++) {
		EventDesc event;
		int status = -1;
		size_t count;
		Notice mine;
		pid_t pid = fork();

		if (pid == 0)
			_exit(KnNoticeCreate(&mine) != rcOk ||
			      KnNoticeSubscribeToObject(mine, object, USER, 9) != rcOk ||
			      KnNoticeSetObjectEvent(object, USER) != rcOk ||
			      KnNoticeGetEvent(mine, INFINITE_TIMEOUT, 1, &event, &count) != rcOk ||
			      event.eventId != 9 || KnNoticeRelease(mine) != rcOk);
		good += waitpid(pid, &status, 0) == pid && status == 0;
	}
	atomic_store(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		task_join(&task[i]);
	is_uint(rounds, good, "children of a busy parent have notices of their own");
	must(KnHandleClose(object));
}

int main(void)
{
	plan_lazy();
	test_fork();
	test_busy();
	return 0;
}
