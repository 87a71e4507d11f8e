/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/notice.h"

#include <coresrv/handle/notice_api.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "api/fork.h"
#include "api/identity.h"
#include "api/retcode.h"

#define KINDS_NOTICE (1u << DCM_KIND_NOTICE)

/* So many events at once are taken off the queue. */
enum { TAKE_MAX = 32 };

static int now(const struct ck_ec_ops *ops, struct timespec *out)
{
	(void)ops;
	return clock_gettime(CLOCK_MONOTONIC, out);
}

/* With the deadline of the call: the shorter steps of ck_ec are for producers without atomics. */
static void wait_word(const struct ck_ec_wait_state *state, const uint32_t *word, uint32_t expected,
		      const struct timespec *step)
{
	(void)step;
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, state->data,
		NULL, FUTEX_BITSET_MATCH_ANY);
}

static void wake_word(const struct ck_ec_ops *ops, const uint32_t *word)
{
	(void)ops;
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, 0);
}

static const struct ck_ec_ops ops = { .gettime = now, .wait32 = wait_word, .wake32 = wake_word };
static const struct ck_ec_mode mode = { .ops = &ops };

static int keep_waiting(const struct ck_ec_wait_state *state, struct timespec *step)
{
	(void)state;
	(void)step;
	return 0;
}

static void close_notice(struct dcm_object *object)
{
	struct dcm_notice_object *notice = (struct dcm_notice_object *)object;

	dcm_source_list_lock();
	pthread_mutex_lock(&notice->lock);
	notice->closed = true;
	dcm_light_close(&notice->light);
	pthread_mutex_unlock(&notice->lock);
	while (notice->entries != NULL)
		dcm_source_unlink(notice->entries);
	dcm_source_list_unlock();
	ck_ec32_inc(&notice->ec, &mode);
}

/* The entries stay where they are: a thread that is not here may have been in them. */
static void forget_notice(struct dcm_object *object)
{
	struct dcm_notice_object *notice = (struct dcm_notice_object *)object;

	if (notice->light.fd >= 0)
		dcm_light_discard(notice->light.fd);
}

static const struct dcm_object_type notice_type = {
	.kind = DCM_KIND_NOTICE,
	.space = DCM_SPACE_NOTICE,
	.close = close_notice,
	.forget = forget_notice,
};

Retcode KnNoticeCreate(Notice *outNotice)
{
	struct dcm_notice_object *notice;
	Retcode rc;

	dcm_fork_check();
	if (outNotice == NULL)
		return dcm_fail(rcInvalidArgument, "outNotice is null");
	*outNotice = INVALID_HANDLE;
	notice = (struct dcm_notice_object *)dcm_object_new(&notice_type, sizeof(*notice));
	if (notice == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a notice");
	pthread_mutex_init(&notice->lock, NULL);
	notice->light.fd = -1;
	ck_ec32_init(&notice->ec, 0);
	rc = dcm_number(&notice->object);
	if (rc == rcOk)
		*outNotice = notice->object.number;
	dcm_object_drop(&notice->object);
	return rc;
}

Retcode KnNoticeRelease(Notice notice)
{
	int saved = errno;
	bool closed;

	dcm_fork_check();
	closed = dcm_handle_close(notice, KINDS_NOTICE);
	errno = saved;
	return closed ? rcOk : dcm_fail(rcInvalidArgument, "not a notice, or released");
}

struct dcm_notice_object *dcm_notice_find(uint64_t number)
{
	struct dcm_object *object = dcm_handle_find(number, KINDS_NOTICE);

	if (object == NULL)
		(void)dcm_fail(rcInvalidArgument, "not a notice, or released");
	return (struct dcm_notice_object *)object;
}

void dcm_notice_link(struct dcm_entry *entry)
{
	struct dcm_notice_object *notice = entry->notice;

	entry->next_of_notice = notice->entries;
	if (entry->next_of_notice != NULL)
		entry->next_of_notice->previous_of_notice = entry;
	notice->entries = entry;
}

/* Under the lock: it has fired. */
static void enqueue(struct dcm_notice_object *notice, struct dcm_entry *entry)
{
	entry->next_fired = NULL;
	entry->previous_fired = notice->last_fired;
	if (notice->last_fired != NULL)
		notice->last_fired->next_fired = entry;
	else
		notice->first_fired = entry;
	notice->last_fired = entry;
	dcm_light_on(&notice->light);
}

/* Under the lock, with bits fired: they are fetched, or not wanted any more. */
static void dequeue(struct dcm_notice_object *notice, struct dcm_entry *entry)
{
	if (entry->previous_fired != NULL)
		entry->previous_fired->next_fired = entry->next_fired;
	else
		notice->first_fired = entry->next_fired;
	if (entry->next_fired != NULL)
		entry->next_fired->previous_fired = entry->previous_fired;
	else
		notice->last_fired = entry->previous_fired;
	dcm_store(&entry->fired, 0u, relaxed);
	if (notice->first_fired == NULL)
		dcm_light_off(&notice->light);
}

void dcm_notice_unlink(struct dcm_entry *entry)
{
	struct dcm_notice_object *notice = entry->notice;

	if (entry->previous_of_notice != NULL)
		entry->previous_of_notice->next_of_notice = entry->next_of_notice;
	else
		notice->entries = entry->next_of_notice;
	if (entry->next_of_notice != NULL)
		entry->next_of_notice->previous_of_notice = entry->previous_of_notice;
	pthread_mutex_lock(&notice->lock);
	if (dcm_load(&entry->fired, relaxed) != 0)
		dequeue(notice, entry);
	pthread_mutex_unlock(&notice->lock);
}

bool dcm_notice_unsubscribe(struct dcm_notice_object *notice, uintptr_t id)
{
	struct dcm_entry *entry, *next;
	bool found = false;

	dcm_source_list_lock();
	for (entry = notice->entries; entry != NULL; entry = next) {
		next = entry->next_of_notice;
		if (entry->id != id)
			continue;
		found = true;
		dcm_source_unlink(entry);
	}
	dcm_source_list_unlock();
	return found;
}

bool dcm_notice_orphan(struct dcm_entry *entry)
{
	struct dcm_notice_object *notice = entry->notice;
	bool fired;

	pthread_mutex_lock(&notice->lock);
	entry->source = NULL;
	fired = dcm_load(&entry->fired, relaxed) != 0;
	pthread_mutex_unlock(&notice->lock);
	return fired;
}

void dcm_notice_post(struct dcm_entry *entry, uint32_t bits)
{
	struct dcm_notice_object *notice = entry->notice;
	uint32_t before;
	bool wake;

	pthread_mutex_lock(&notice->lock);
	before = dcm_load(&entry->fired, relaxed);
	dcm_store(&entry->fired, before | bits, relaxed);
	if (before == 0)
		enqueue(notice, entry);
	wake = before == 0 && notice->waiting != 0;
	pthread_mutex_unlock(&notice->lock);
	/* The notice stays as long as its entry, which is in the caller's source. */
	if (wake)
		ck_ec32_inc(&notice->ec, &mode);
}

/* An event that was taken off the queue, and what may have more to say about it. */
struct taken {
	struct dcm_object *object; /* of the source, held; null: it has closed */
	struct dcm_source *source;
	uint64_t serial;
};

/* Under the lock. */
static size_t take(struct dcm_notice_object *notice, size_t count, EventDesc *events,
		   struct taken *taken)
{
	size_t n = 0;

	for (; n < count && notice->first_fired != NULL; n++) {
		struct dcm_entry *entry = notice->first_fired;

		events[n].eventId = entry->id;
		events[n].eventMask = dcm_load(&entry->fired, relaxed);
		taken[n] = (struct taken){ .source = entry->source, .serial = entry->serial };
		if (entry->source != NULL) {
			/* It has a count: dcm_notice_orphan() comes before the last drop. */
			taken[n].object = entry->source->object;
			dcm_object_hold(taken[n].object);
		}
		dequeue(notice, entry);
	}
	return n;
}

/* Entries that nothing is left of but their place in the list. */
static void bury_orphans(struct dcm_notice_object *notice)
{
	struct dcm_entry *entry, *next;

	dcm_source_list_lock();
	for (entry = notice->entries; entry != NULL; entry = next) {
		next = entry->next_of_notice;
		/* relaxed: nothing fires any more without a source. */
		if (entry->source == NULL && dcm_load(&entry->fired, relaxed) == 0)
			dcm_source_unlink(entry);
	}
	dcm_source_list_unlock();
}

/* Under no lock: what happened between the firing and now, and from here on. */
static void settle(struct dcm_notice_object *notice, size_t n, EventDesc *events,
		   struct taken *taken)
{
	bool orphans = false;

	for (size_t i = 0; i < n; i++) {
		orphans = orphans || taken[i].object == NULL;
		if (taken[i].object == NULL)
			continue;
		events[i].eventMask |= dcm_source_delivered(taken[i].source, taken[i].serial);
		dcm_object_drop(taken[i].object);
	}
	if (orphans)
		bury_orphans(notice);
}

/* Return: rcOk with at least one; rcTimeout: none; rcNotConnected: released. */
static Retcode fetch(struct dcm_notice_object *notice, size_t count, EventDesc *events, size_t *out,
		     uint32_t *key, bool wait)
{
	struct taken taken[TAKE_MAX];
	Retcode rc = rcOk;
	size_t n = 0;

	pthread_mutex_lock(&notice->lock);
	if (notice->closed) {
		rc = rcNotConnected;
	} else {
		n = take(notice, count < TAKE_MAX ? count : TAKE_MAX, events, taken);
		if (n == 0)
			rc = rcTimeout;
		if (n == 0 && wait) {
			notice->waiting++;
			*key = ck_ec32_value(&notice->ec);
		}
	}
	pthread_mutex_unlock(&notice->lock);
	settle(notice, n, events, taken);
	*out += n;
	return rc;
}

static bool wait_for_post(struct dcm_notice_object *notice, uint32_t key,
			  const struct timespec *deadline)
{
	bool in_time = ck_ec32_wait_pred(&notice->ec, &mode, key, keep_waiting,
					 (void *)(uintptr_t)deadline, deadline) == 0;

	pthread_mutex_lock(&notice->lock);
	notice->waiting--;
	pthread_mutex_unlock(&notice->lock);
	return in_time;
}

static Retcode get_events(struct dcm_notice_object *notice, uint64_t msec, size_t count,
			  EventDesc *events, size_t *out)
{
	struct timespec deadline, *until = NULL;
	bool wait = msec != 0;
	uint32_t key = 0;
	Retcode rc;

	if (wait && msec < INFINITE_TIMEOUT) {
		until = &deadline;
		clock_gettime(CLOCK_MONOTONIC, until);
		until->tv_sec += (time_t)(msec / 1000);
		until->tv_nsec += (long)(msec % 1000) * 1000000;
		if (until->tv_nsec >= 1000000000) {
			until->tv_nsec -= 1000000000;
			until->tv_sec++;
		}
	}
	while ((rc = fetch(notice, count, events, out, &key, wait)) == rcTimeout && wait)
		wait = wait_for_post(notice, key, until);
	/* The rest, without a sleep. */
	while (rc == rcOk && *out < count)
		if (fetch(notice, count - *out, events + *out, out, &key, false) != rcOk)
			break;
	return rc;
}

Retcode KnNoticeGetEvent(Notice notice, uint64_t msec, size_t countMax, EventDesc *events,
			 size_t *outCount)
{
	struct dcm_notice_object *found;
	int saved = errno;
	Retcode rc;

	dcm_fork_check();
	if (countMax == 0 || events == NULL || outCount == NULL)
		return dcm_fail(rcInvalidArgument, countMax == 0    ? "countMax is 0"
						   : events == NULL ? "events is null"
								    : "outCount is null");
	*outCount = 0;
	found = dcm_notice_find(notice);
	if (found == NULL)
		return rcInvalidArgument;
	rc = get_events(found, msec, countMax, events, outCount);
	dcm_object_drop(&found->object);
	if (rc == rcTimeout)
		(void)dcm_fail(rc, "no event within %llu ms", (unsigned long long)msec);
	else if (rc == rcNotConnected)
		(void)dcm_fail(rc, "the notice was released meanwhile");
	errno = saved;
	return rc;
}

Retcode dcm_notice_fd(struct dcm_notice_object *notice, int *out)
{
	Retcode rc = rcOk;
	int fd;

	pthread_mutex_lock(&notice->lock);
	*out = notice->light.fd;
	pthread_mutex_unlock(&notice->lock);
	if (*out >= 0)
		return rcOk;
	fd = dcm_light_make();
	if (fd < 0)
		return dcm_fail_errno(fd, "cannot make a descriptor");
	pthread_mutex_lock(&notice->lock);
	if (notice->closed)
		rc = dcm_fail(rcInvalidArgument, "the notice is released");
	if (rc == rcOk && notice->light.fd < 0) {
		notice->light.fd = fd;
		fd = -1;
		if (notice->first_fired != NULL)
			dcm_light_on(&notice->light);
	}
	*out = notice->light.fd;
	pthread_mutex_unlock(&notice->lock);
	if (fd >= 0)
		dcm_light_discard(fd);
	return rc;
}
