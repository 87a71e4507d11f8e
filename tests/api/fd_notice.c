/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The descriptor of a notice: readable while an event waits to be fetched, in poll and in both ways
 * of epoll, and gone with the notice. What has no descriptor says so.
 */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/api/lib_api.h"

#define USER (1u << 16)

enum { EVENTS = 200 };

static Handle new_object(void)
{
	Handle object;

	must(KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST,
				      OCAP_HANDLE_GET_EVENT | OCAP_HANDLE_SET_EVENT, NULL,
				      &object));
	return object;
}

static bool is_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

static void test_level(void)
{
	Handle a = new_object(), b = new_object();
	EventDesc event;
	size_t count;
	Notice notice;
	int fd, again;

	must(KnNoticeCreate(&notice));
	must(KnNoticeSubscribeToObject(notice, a, USER, 1));
	must(KnNoticeSubscribeToObject(notice, b, USER, 2));
	must(KnNoticeSetObjectEvent(a, USER));
	is_rc(rcOk, DcmGetFd(notice, &fd), "a descriptor");
	is_rc(rcOk, DcmGetFd(notice, &again), "asked for again");
	is_int(fd, again, "it is the same");
	ok((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "it ends with execve");
	ok(is_readable(fd), "an event was there before");
	must(KnNoticeSetObjectEvent(b, USER));
	must(KnNoticeGetEvent(notice, 0, 1, &event, &count));
	ok(is_readable(fd), "one of two is left");
	must(KnNoticeGetEvent(notice, 0, 1, &event, &count));
	ok(!is_readable(fd), "none is left");
	is_rc(rcTimeout, KnNoticeGetEvent(notice, 0, 1, &event, &count), "nor to be fetched");
	must(KnNoticeSetObjectEvent(b, USER));
	ok(is_readable(fd), "one more");
	must(KnNoticeUnsubscribeFromEvent(notice, 2));
	ok(!is_readable(fd), "unsubscribed with what it had fired");
	must(KnNoticeRelease(notice));
	must(KnHandleClose(a));
	must(KnHandleClose(b));
}

struct setter {
	struct task task;
	Handle object[2];
	_Atomic unsigned set[2]; /* so many events, before each */
};

static void set_events(void *arg)
{
	struct setter *s = arg;
	uint64_t events = tap_scaled(EVENTS);

	for (uint64_t i = 0; i < events; i++) {
		atomic_fetch_add(&s->set[i % 2], 1u);
		must(KnNoticeSetObjectEvent(s->object[i % 2], USER));
		if (i % 16 == 0)
			pause_ms(1);
	}
}

/* A loop that sleeps in epoll alone sees all that a setter has set. */
static void test_loop(uint32_t how, const char *what)
{
	uint64_t events = tap_scaled(EVENTS);
	struct epoll_event wanted = { .events = EPOLLIN | how }, woken;
	int loop = epoll_create1(EPOLL_CLOEXEC), fd;
	struct setter s = { .object = { new_object(), new_object() } };
	unsigned seen[2] = { 0, 0 };
	Notice notice;

	must(KnNoticeCreate(&notice));
	for (uintptr_t i = 0; i < 2; i++)
		must(KnNoticeSubscribeToObject(notice, s.object[i], USER, i));
	must(DcmGetFd(notice, &fd));
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &wanted);
	task_start(&s.task, set_events, &s);
	while (seen[0] + seen[1] < events) {
		EventDesc event;
		size_t count;

		if (epoll_wait(loop, &woken, 1, -1) != 1 && errno != EINTR)
			break;
		while (KnNoticeGetEvent(notice, 0, 1, &event, &count) == rcOk)
			seen[event.eventId] = atomic_load(&s.set[event.eventId]);
	}
	task_join(&s.task);
	is_uint(events, seen[0] + seen[1], "%s: every event is seen", what);
	must(KnNoticeRelease(notice));
	must(KnHandleClose(s.object[0]));
	must(KnHandleClose(s.object[1]));
	close(loop);
}

static void poll_for_ever(void *arg)
{
	struct pollfd *p = arg;

	if (poll(p, 1, -1) != 1)
		p->revents = 0;
}

static void test_release(void)
{
	struct task task = { 0 };
	struct pollfd p = { .events = POLLIN };
	Notice notice;

	must(KnNoticeCreate(&notice));
	must(DcmGetFd(notice, &p.fd));
	task_start(&task, poll_for_ever, &p);
	/* Almost surely it polls then; if not, it finds the descriptor closed. */
	pause_ms(50);
	must(KnNoticeRelease(notice));
	task_join(&task);
	ok((p.revents & (POLLIN | POLLNVAL)) != 0, "who polls it is woken by the release");
	is_rc(rcInvalidArgument, DcmGetFd(notice, &p.fd), "it is gone");
	is_int(-1, p.fd, "and no descriptor");
}

static void test_none(void)
{
	Handle object = new_object();
	Notice notice;
	int fd;

	must(KnNoticeCreate(&notice));
	is_rc(rcInvalidArgument, DcmGetFd(notice, NULL), "no output");
	is_rc(rcInvalidArgument, DcmGetFd(object, &fd), "a user object has none");
	is_rc(rcInvalidArgument, DcmGetFd(KosTaskGetHandle(KosTaskGetSelf()), &fd),
	      "nor has the process");
	is_rc(rcInvalidArgument, DcmGetFd(0, &fd), "nor what is no handle");
	is_rc(rcInvalidArgument, DcmGetFd(INVALID_HANDLE, &fd), "nor INVALID_HANDLE");
	must(KnHandleClose(object));
	is_rc(rcInvalidArgument, DcmGetFd(object, &fd), "nor what is closed");
	must(KnNoticeRelease(notice));
}

/* Every descriptor of the process taken: an error, and good again when one is free. */
static void test_no_room(void)
{
	int taken[256], fd, again = -1;
	size_t count = 0;
	Notice notice;
	struct holdings before = holdings_now();
	struct rlimit few = { .rlim_cur = 0 };

	getrlimit(RLIMIT_NOFILE, &few);
	few.rlim_cur = few.rlim_cur < 256 ? few.rlim_cur : 256;
	setrlimit(RLIMIT_NOFILE, &few);
	must(KnNoticeCreate(&notice));
	while (count < 256 && (taken[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	is_rc(rcQuotaExceeded, DcmGetFd(notice, &fd), "no descriptor is left");
	close(taken[--count]);
	is_rc(rcOk, DcmGetFd(notice, &fd), "one is");
	is_rc(rcOk, DcmGetFd(notice, &again), "which needs no other to be asked for again");
	is_int(fd, again, "it is the same");
	while (count > 0)
		close(taken[--count]);
	must(KnNoticeRelease(notice));
	holdings_are(&before, "descriptors");
}

int main(void)
{
	plan_lazy();
	test_level();
	test_loop(0, "level-triggered");
	test_loop(EPOLLET, "edge-triggered");
	test_release();
	test_none();
	test_no_room();
	return 0;
}
