/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/api/lib_event.h"

#include <poll.h>

enum { PATIENCE_MS = 20000, SOON_MS = 20 };

Notice new_notice(void)
{
	Notice notice;

	must(KnNoticeCreate(&notice));
	return notice;
}

int event_comes(Notice notice, uintptr_t id, uint32_t mask, const char *what)
{
	EventDesc event = { 0, 0 };
	size_t count = 0;
	Retcode rc = KnNoticeGetEvent(notice, PATIENCE_MS, 1, &event, &count);
	int good = ok(rc == rcOk && count == 1 && event.eventId == id &&
			      (event.eventMask & mask) == mask,
		      "%s", what);

	if (!good)
		diag("  %s, %zu events, id %ju, mask %#x; wanted id %ju, mask %#x", RetcodeName(rc),
		     count, (uintmax_t)event.eventId, event.eventMask, (uintmax_t)id, mask);
	return good;
}

int event_is_not(Notice notice, const char *what)
{
	EventDesc event = { 0, 0 };
	size_t count = 0;
	Retcode rc = KnNoticeGetEvent(notice, SOON_MS, 1, &event, &count);
	int good = ok(rc == rcTimeout && count == 0, "%s", what);

	if (!good)
		diag("  %s, id %ju, mask %#x", RetcodeName(rc), (uintmax_t)event.eventId,
		     event.eventMask);
	return good;
}

int fd_of(uint64_t handle)
{
	int fd = -1;

	must(DcmGetFd(handle, &fd));
	return fd;
}

static bool readable(int fd, int ms)
{
	struct pollfd on = { .fd = fd, .events = POLLIN };

	return poll(&on, 1, ms) == 1 && (on.revents & POLLIN) != 0;
}

int fd_becomes_readable(int fd, const char *what)
{
	return ok(readable(fd, PATIENCE_MS), "%s", what);
}

int fd_is_silent(int fd, const char *what)
{
	return ok(!readable(fd, SOON_MS), "%s", what);
}
