// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_find.h"
#include "dcm-files_stop.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A server that breaks so many sessions in a row, or refuses so often, is not asked again. */
#define FAILURES_MAX 3
#define PAUSE_NS     UINT64_C(100000000)
/* How often a server that does not decide is complained of. */
#define PATIENCE_MS 5000u
#define FOREVER	    UINT64_MAX

struct found {
	Handle handle;
	Sid sid;
	char server[DCM_NAME_SIZE];
	char endpoint[DCM_NAME_SIZE];
	unsigned int failures;
	uint64_t not_before_ns; /* after a failure: its end may just not be announced yet */
};

bool finder_open(struct finder *finder, const struct finder_options *options)
{
	Retcode rc = DcmInit();

	memset(finder, 0, sizeof(*finder));
	finder->options = options;
	if (rc != rcOk) {
		files_warn_code(rc, "no fabric");
		return false;
	}
	rc = DcmSetSubscription(FILES_TYPE, options->name, NULL, INVALID_HANDLE,
				&finder->subscription);
	if (rc != rcOk) {
		files_warn_code(rc, "servers cannot be looked for");
		DcmFini();
		return false;
	}
	files_stop_watch(finder->subscription, DcmInterruptBlockingCall);
	return true;
}

void finder_close(struct finder *finder)
{
	files_stop_unwatch(finder->subscription);
	DcmCloseHandle(finder->subscription);
	for (size_t i = 0; i < finder->count; i++)
		KnHandleClose(finder->servers[i].handle);
	free(finder->servers);
	DcmFini();
}

/* The same server may publish several endpoints. */
static struct found *find(struct finder *finder, Sid sid, const char *endpoint)
{
	for (size_t i = 0; i < finder->count; i++)
		if (finder->servers[i].sid == sid &&
		    (!endpoint || strcmp(finder->servers[i].endpoint, endpoint) == 0))
			return &finder->servers[i];
	return NULL;
}

/* Keeps the handle if it can. */
static bool add(struct finder *finder, const struct found *found)
{
	if (finder->count == finder->room) {
		size_t room = finder->room ? 2 * finder->room : 8;
		struct found *servers = realloc(finder->servers, room * sizeof(*servers));

		if (!servers)
			return false;
		finder->servers = servers;
		finder->room = room;
	}
	finder->servers[finder->count++] = *found;
	return true;
}

static void drop(struct finder *finder, struct found *found)
{
	if (found->sid == finder->connected)
		files_note("server %s \"%s\" has gone", found->server, found->endpoint);
	KnHandleClose(found->handle);
	*found = finder->servers[--finder->count];
}

/* For messages: whoever wrote it into shared memory may mean harm to a terminal. */
static void clean(char name[DCM_NAME_SIZE])
{
	name[DCM_NAME_SIZE - 1] = '\0';
	for (; *name != '\0'; name++)
		if ((unsigned char)*name < ' ' || *name == 0x7f)
			*name = '?';
}

Retcode finder_read(struct finder *finder, uint32_t timeout_ms)
{
	struct found seen = { .handle = INVALID_HANDLE };
	struct found *known;
	DcmPubStatus status;
	uint64_t now_ns;
	Retcode rc;

	rc = DcmReadPubQueue(finder->subscription, timeout_ms, &status, &seen.handle, seen.server,
			     seen.endpoint);
	now_ns = files_now_ns();
	if (rc != rcOk)
		return rc;
	clean(seen.server);
	clean(seen.endpoint);
	rc = KnHandleGetSidByHandle(seen.handle, &seen.sid);
	if (rc == rcOk) {
		files_event_at(now_ns, status == DCM_PUBLISHED ? "published" : "unpublished",
			       "%" PRIx64 " %s", seen.sid, seen.endpoint);
		known = find(finder, seen.sid, seen.endpoint);
		if (status == DCM_PUBLISHED && !known && add(finder, &seen))
			return rcOk;
		if (status == DCM_UNPUBLISHED && known)
			drop(finder, known);
	}
	KnHandleClose(seen.handle);
	return rc;
}

/* A server to be asked now; else null, and when one is to be asked again. */
static struct found *choose(struct finder *finder, uint64_t *wake_ns)
{
	uint64_t now_ns = files_now_ns();

	*wake_ns = FOREVER;
	for (size_t i = 0; i < finder->count; i++) {
		struct found *found = &finder->servers[i];

		if (found->failures >= FAILURES_MAX)
			continue;
		if (found->not_before_ns <= now_ns)
			return found;
		if (found->not_before_ns < *wake_ns)
			*wake_ns = found->not_before_ns;
	}
	return NULL;
}

static void blame(struct found *found)
{
	found->failures++;
	found->not_before_ns = files_now_ns() + found->failures * PAUSE_NS;
	if (found->failures == FAILURES_MAX)
		files_warn("server %s \"%s\" refused %d times; it is not asked again",
			   found->server, found->endpoint, FAILURES_MAX);
}

void finder_lost(struct finder *finder, bool was_of_use)
{
	struct found *found = find(finder, finder->connected, NULL);

	if (found) {
		if (was_of_use)
			found->failures = 0;
		blame(found);
	}
}

/* From nanoseconds to what DCM functions take; a deadline that has passed is 0. */
static DcmTimeout left_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = files_now_ns();
	uint64_t ms = (deadline_ns - now_ns + 999999) / 1000000;

	if (deadline_ns == FOREVER)
		return INFINITE_TIMEOUT;
	if (deadline_ns <= now_ns)
		return 0;
	return ms < INFINITE_TIMEOUT ? (DcmTimeout)ms : INFINITE_TIMEOUT - 1;
}

/* Asks one server, until it decides or the deadline comes. */
static Retcode ask_server(const struct found *found, uint64_t deadline_ns, Handle *session)
{
	DcmHandle connection;
	Retcode rc;

	rc = DcmCreateConnection(FILES_TYPE, found->endpoint, found->handle, INVALID_HANDLE,
				 &connection);
	if (rc != rcOk)
		return rc;
	files_stop_watch(connection, DcmInterruptBlockingCall);
	files_event("connect-begin", "%" PRIx64, found->sid);
	do {
		DcmTimeout left = left_ms(deadline_ns);

		if (files_stop_asked())
			rc = rcIpcInterrupt;
		else
			rc = DcmConnect(connection, left < PATIENCE_MS ? left : PATIENCE_MS,
					session);
		if (rc == rcTimeout && left > PATIENCE_MS)
			files_note("server %s \"%s\" does not answer; still waiting", found->server,
				   found->endpoint);
	} while (rc == rcTimeout && left_ms(deadline_ns) > 0);
	if (rc == rcOk)
		files_event("connect-end", "%" PRIx64, found->sid);
	files_stop_unwatch(connection);
	DcmCloseHandle(connection);
	return rc;
}

/* Reads what notices there are, then waits for one, until wake_ns. */
static Retcode wait_for_notice(struct finder *finder, uint64_t wake_ns, uint64_t deadline_ns)
{
	Retcode rc = finder_read(finder, left_ms(wake_ns < deadline_ns ? wake_ns : deadline_ns));

	if (rc == rcTimeout && wake_ns < deadline_ns)
		return rcOk;
	return rc == rcIpcInterrupt ? rcOk : rc;
}

static void say_waiting(const struct finder *finder)
{
	const char *name = finder->options->name;

	files_note("no server of %s%s%s%s; waiting for one (\"dcm-files serve DIR\" starts it)",
		   FILES_TYPE, name ? " \"" : "", name ? name : "", name ? "\"" : "");
	files_event("waiting", "-");
}

enum files_outcome finder_connect(struct finder *finder, Handle *session)
{
	uint32_t timeout_ms = finder->options->timeout_ms;
	uint64_t deadline_ns = FOREVER;
	bool said = false;
	Retcode rc = rcOk;

	if (timeout_ms != INFINITE_TIMEOUT)
		deadline_ns = files_now_ns() + timeout_ms * UINT64_C(1000000);
	while (rc == rcOk && !files_stop_asked()) {
		struct found *found;
		uint64_t wake_ns;

		while ((rc = finder_read(finder, 0)) == rcOk)
			;
		if (rc != rcTimeout && rc != rcIpcInterrupt)
			break;
		found = choose(finder, &wake_ns);
		if (found) {
			rc = ask_server(found, deadline_ns, session);
			if (rc == rcOk) {
				finder->connected = found->sid;
				files_session_begin(*session);
				return FILES_DONE;
			}
			if (rc == rcNotConnected)
				blame(found);
			if (rc == rcNotConnected || rc == rcIpcInterrupt)
				rc = rcOk;
			continue;
		}
		if (wake_ns == FOREVER && !said) {
			say_waiting(finder);
			said = true;
		}
		rc = wait_for_notice(finder, wake_ns, deadline_ns);
	}
	if (files_stop_asked())
		return FILES_STOPPED;
	if (rc == rcTimeout) {
		files_warn("no server within %g seconds", timeout_ms / 1000.0);
		return FILES_NO_SERVER;
	}
	files_warn_code(rc, "no server");
	return FILES_TROUBLE;
}
