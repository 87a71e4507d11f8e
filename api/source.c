/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/source.h"

#include <dcm/dcm_api.h>
#include <stdlib.h>
#include <string.h>

#include "api/fork.h"
#include "api/keeper.h"
#include "api/notice.h"
#include "api/retcode.h"
#include "shm/bell.h"
#include "shm/park.h"

/* So many looks, and those who wait for the list's lock have a chance. */
enum { LOOKS_AT_ONCE = 32, ACTIVE_MIN = 64 };

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct dcm_source **active; /* those with states that somebody follows; stays */
static uint32_t active_room;
static dcm_atomic32 active_count; /* changed under list_lock */
static uint64_t serials;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void reset_one(struct dcm_object *object, void *unused)
{
	struct dcm_source *source = dcm_source_of(object);

	(void)unused;
	if (source != NULL)
		dcm_source_forked(source);
}

/* Other threads of the parent may have been anywhere in lists and entries: these are left alone. */
static void reset_in_child(void)
{
	pthread_mutex_init(&list_lock, NULL);
	active = NULL;
	active_room = 0;
	dcm_store(&active_count, 0u, relaxed);
	dcm_handle_each(UINT32_MAX, reset_one, NULL);
}

static void prepare(void)
{
	dcm_fork_register(reset_in_child);
}

void dcm_source_list_lock(void)
{
	pthread_mutex_lock(&list_lock);
}

void dcm_source_list_unlock(void)
{
	pthread_mutex_unlock(&list_lock);
}

void dcm_source_init(struct dcm_source *source, const struct dcm_source_type *type,
		     struct dcm_object *object)
{
	pthread_once(&once, prepare);
	memset(source, 0, sizeof(*source));
	source->type = type;
	source->object = object;
	source->light.fd = -1;
	TAILQ_INIT(&source->entries);
	pthread_mutex_init(&source->lock, NULL);
}

void dcm_source_forked(struct dcm_source *source)
{
	int fd = source->light.fd;
	bool closed = source->closed;

	if (source->type == NULL)
		return; /* not made yet */
	dcm_source_init(source, source->type, source->object);
	source->closed = closed;
	if (fd >= 0)
		dcm_light_discard(fd);
}

static dcm_atomic32 *bell_of(const struct dcm_source *source)
{
	return source->type->bell != NULL ? source->type->bell(source->object) : NULL;
}

static bool is_rung(const struct dcm_source *source)
{
	const dcm_atomic32 *bell = bell_of(source);

	/* relaxed: an older token is one look too many. */
	return bell != NULL && dcm_bell_rung(bell, dcm_load(&source->token, relaxed));
}

/* Under the lock: is there a state that nobody was told of, should it become true? */
static bool is_followed(const struct dcm_source *source)
{
	uint32_t states = source->type->events & ~DCM_BLOCKING_CALL_INTERRUPTED;
	const struct dcm_entry *e;

	if (source->light.fd >= 0 && !source->light.on)
		return true;
	/* relaxed: who has fetched it comes with dcm_source_delivered() behind that. */
	TAILQ_FOREACH(e, &source->entries, of_source)
		if ((e->mask & states & ~dcm_load(&e->fired, relaxed)) != 0)
			return true;
	return false;
}

/* Under the lock. Bits of the entry @taker come back instead of firing. */
static uint32_t tell(struct dcm_source *source, uint32_t events, uint64_t stamp, uint64_t taker)
{
	struct dcm_entry *e;
	uint32_t taken = 0;

	if ((events & source->type->readable) != 0)
		dcm_light_on(&source->light);
	TAILQ_FOREACH(e, &source->entries, of_source) {
		uint32_t bits = events & e->mask;

		if (bits == 0 || (e->seen && e->stamp == stamp))
			continue;
		e->seen = true;
		e->stamp = stamp;
		if (e->serial == taker)
			taken = bits;
		else
			dcm_notice_post(e, bits);
	}
	return taken;
}

/* Under the lock, of one with states that is open. */
static void disarm(struct dcm_source *source)
{
	dcm_atomic32 *bell = bell_of(source);

	if (bell != NULL && dcm_load(&source->token, relaxed) != 0)
		dcm_bell_disarm(bell, dcm_load(&source->token, relaxed));
	dcm_store(&source->token, 0u, relaxed);
}

/* Under the lock, of one with states that is open. */
static uint32_t look(struct dcm_source *source, uint64_t taker)
{
	dcm_atomic32 *bell = bell_of(source);
	uint32_t events, taken = 0;
	uint64_t stamp = 0;

	if (is_followed(source)) {
		/* Armed first: what changes behind the look rings. */
		dcm_store(&source->token, bell != NULL ? dcm_bell_arm(bell) : 0u, relaxed);
		events = source->type->look(source->object, &stamp);
		taken = tell(source, events, stamp, taker);
	}
	/* Silent until there is something to tell again: a ring costs a wake of the keeper. */
	if (!is_followed(source))
		disarm(source);
	return taken;
}

/* Under the lock: would a change since the last look have rung, and has not? */
static bool is_silent(const struct dcm_source *source)
{
	return dcm_load(&source->token, relaxed) != 0 && !is_rung(source);
}

static uint32_t check(struct dcm_source *source, bool always, uint64_t taker)
{
	uint32_t taken = 0;

	pthread_mutex_lock(&source->lock);
	if (!source->closed && source->type->look != NULL && (always || !is_silent(source)))
		taken = look(source, taker);
	pthread_mutex_unlock(&source->lock);
	return taken;
}

void dcm_source_check(struct dcm_source *source)
{
	(void)check(source, true, 0);
}

uint32_t dcm_source_delivered(struct dcm_source *source, uint64_t serial)
{
	return check(source, false, serial);
}

void dcm_source_drain(struct dcm_source *source, uint32_t pulses)
{
	pthread_mutex_lock(&source->lock);
	/* Not of what came during the call, which may have looked before. */
	if (dcm_load(&source->pulses, relaxed) == pulses)
		dcm_light_off(&source->light);
	/* Behind the clearing: what was there before is seen here, what comes later rings. */
	if (!source->closed && source->type->look != NULL)
		(void)look(source, 0);
	pthread_mutex_unlock(&source->lock);
}

/* Under the lock. */
static void post(struct dcm_source *source, uint32_t events)
{
	struct dcm_entry *e;

	TAILQ_FOREACH(e, &source->entries, of_source)
		if ((events & e->mask) != 0)
			dcm_notice_post(e, events & e->mask);
}

void dcm_source_fire(struct dcm_source *source, uint32_t events)
{
	pthread_mutex_lock(&source->lock);
	dcm_add(&source->pulses, 1u);
	if (!source->closed)
		dcm_light_on(&source->light);
	post(source, events);
	pthread_mutex_unlock(&source->lock);
}

/* Under list_lock. False: no memory. */
static bool activate(struct dcm_source *source)
{
	uint32_t count = dcm_load(&active_count, relaxed);

	if (source->type->look == NULL || source->place != 0)
		return true;
	if (count == active_room) {
		uint32_t room = active_room == 0 ? ACTIVE_MIN : active_room * 2;
		struct dcm_source **grown = realloc(active, room * sizeof(*grown));

		if (grown == NULL)
			return false;
		active = grown;
		active_room = room;
	}
	active[count] = source;
	source->place = count + 1;
	dcm_store(&active_count, count + 1, relaxed);
	/* From now on the keeper looks around once a second. */
	dcm_keeper_blocked(1);
	return true;
}

/* Under list_lock: nobody follows it any more, or it is closed. */
static void deactivate(struct dcm_source *source)
{
	uint32_t last = dcm_load(&active_count, relaxed) - 1;

	if (source->place == 0)
		return;
	/* dcm_source_tend() walks down from the end: it may pass the moved one twice. */
	active[source->place - 1] = active[last];
	active[source->place - 1]->place = source->place;
	source->place = 0;
	dcm_store(&active_count, last, relaxed);
	dcm_keeper_blocked(-1);
}

/* Under list_lock. */
static void deactivate_unused(struct dcm_source *source)
{
	bool used;

	pthread_mutex_lock(&source->lock);
	used = !TAILQ_EMPTY(&source->entries) || source->light.fd >= 0;
	if (!used && !source->closed)
		disarm(source);
	pthread_mutex_unlock(&source->lock);
	if (!used)
		deactivate(source);
}

/* Under list_lock. */
static Retcode link_entry(struct dcm_source *source, struct dcm_entry *entry)
{
	Retcode rc = rcOk;

	if (entry->notice->closed)
		return dcm_fail(rcInvalidArgument, "the notice is released");
	if (!activate(source))
		return dcm_fail(rcOutOfMemory, "no memory for a subscription");
	pthread_mutex_lock(&source->lock);
	if (source->closed) {
		rc = dcm_fail(rcInvalidArgument, "the object is closed");
	} else {
		entry->serial = ++serials;
		TAILQ_INSERT_TAIL(&source->entries, entry, of_source);
		dcm_notice_link(entry);
		if (source->type->look != NULL)
			(void)look(source, 0);
	}
	pthread_mutex_unlock(&source->lock);
	if (rc != rcOk)
		deactivate_unused(source);
	return rc;
}

Retcode dcm_source_subscribe(struct dcm_source *source, struct dcm_notice_object *notice,
			     uint32_t mask, uintptr_t id, uint64_t through)
{
	struct dcm_entry *entry;
	Retcode rc;

	if (mask == 0)
		return dcm_fail(rcInvalidArgument, "the event mask is empty");
	if ((mask & ~source->type->events) != 0)
		return dcm_fail(rcInvalidArgument,
				"events 0x%x never come from this object: it has 0x%x",
				mask & ~source->type->events, source->type->events);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL)
		return dcm_fail(rcOutOfMemory, "no memory for a subscription");
	entry->mask = mask;
	entry->id = id;
	entry->through = through;
	entry->notice = notice;
	entry->source = source;
	pthread_mutex_lock(&list_lock);
	rc = link_entry(source, entry);
	pthread_mutex_unlock(&list_lock);
	if (rc != rcOk)
		free(entry);
	return rc;
}

static void take_out(struct dcm_source *source, struct dcm_entry *entry)
{
	pthread_mutex_lock(&source->lock);
	TAILQ_REMOVE(&source->entries, entry, of_source);
	pthread_mutex_unlock(&source->lock);
}

void dcm_source_unlink(struct dcm_entry *entry)
{
	struct dcm_source *source = entry->source;

	if (source != NULL) {
		take_out(source, entry);
		deactivate_unused(source);
	}
	dcm_notice_unlink(entry);
	free(entry);
}

bool dcm_source_unsubscribe(struct dcm_source *source, struct dcm_notice_object *notice)
{
	struct dcm_entry *entry, *next;
	bool found = false;

	pthread_mutex_lock(&list_lock);
	for (entry = TAILQ_FIRST(&source->entries); entry != NULL; entry = next) {
		next = TAILQ_NEXT(entry, of_source);
		if (entry->notice != notice)
			continue;
		found = true;
		dcm_source_unlink(entry);
	}
	pthread_mutex_unlock(&list_lock);
	return found;
}

/* Under list_lock: it fires no more; if it has, it ends when that is fetched. */
static void end_entry(struct dcm_source *source, struct dcm_entry *entry)
{
	take_out(source, entry);
	if (dcm_notice_orphan(entry))
		return;
	dcm_notice_unlink(entry);
	free(entry);
}

void dcm_source_revoke(struct dcm_source *source, uint64_t through)
{
	struct dcm_entry *entry, *next;
	bool found = false;

	pthread_mutex_lock(&list_lock);
	for (entry = TAILQ_FIRST(&source->entries); entry != NULL; entry = next) {
		next = TAILQ_NEXT(entry, of_source);
		if (entry->through != through)
			continue;
		found = true;
		end_entry(source, entry);
	}
	if (found)
		deactivate_unused(source);
	pthread_mutex_unlock(&list_lock);
}

void dcm_source_close(struct dcm_source *source)
{
	dcm_source_end(source, 0);
}

void dcm_source_end(struct dcm_source *source, uint32_t events)
{
	struct dcm_entry *entry;
	bool used;

	pthread_mutex_lock(&source->lock);
	if (!source->closed)
		disarm(source);
	source->closed = true;
	post(source, events);
	used = !TAILQ_EMPTY(&source->entries) || source->light.fd >= 0;
	dcm_store(&source->lit, 0u, relaxed);
	dcm_light_close(&source->light);
	pthread_mutex_unlock(&source->lock);
	if (!used)
		return; /* nor will it be */
	pthread_mutex_lock(&list_lock);
	while ((entry = TAILQ_FIRST(&source->entries)) != NULL)
		end_entry(source, entry);
	deactivate(source);
	pthread_mutex_unlock(&list_lock);
}

/* Under list_lock; takes @fd over. */
static Retcode light(struct dcm_source *source, int fd)
{
	Retcode rc = rcOk;

	if (!activate(source)) {
		dcm_light_discard(fd);
		return dcm_fail(rcOutOfMemory, "no memory for a descriptor");
	}
	pthread_mutex_lock(&source->lock);
	if (source->closed)
		rc = dcm_fail(rcInvalidArgument, "the object is closed");
	if (rc == rcOk && source->light.fd < 0) {
		source->light.fd = fd;
		fd = -1;
		/* relaxed: who does not know yet has found nothing before the look below. */
		dcm_store(&source->lit, 1u, relaxed);
		if (dcm_load(&source->pulses, relaxed) != 0)
			dcm_light_on(&source->light);
		if (source->type->look != NULL)
			(void)look(source, 0);
	}
	pthread_mutex_unlock(&source->lock);
	if (fd >= 0)
		dcm_light_discard(fd); /* closed meanwhile, or another thread was first */
	if (rc != rcOk)
		deactivate_unused(source);
	return rc;
}

Retcode dcm_source_fd(struct dcm_source *source, int *out)
{
	Retcode rc = rcOk;
	int fd;

	*out = -1;
	if (source->type->readable == 0)
		return dcm_fail(rcInvalidArgument, "an object of this kind has no descriptor");
	if (dcm_load(&source->lit, relaxed) == 0) {
		fd = dcm_light_make();
		if (fd < 0)
			return dcm_fail_errno(fd, "cannot make a descriptor");
		pthread_mutex_lock(&list_lock);
		rc = light(source, fd);
		pthread_mutex_unlock(&list_lock);
	}
	pthread_mutex_lock(&source->lock);
	if (rc == rcOk && source->closed)
		rc = dcm_fail(rcInvalidArgument, "the object is closed");
	*out = source->light.fd;
	pthread_mutex_unlock(&source->lock);
	return rc;
}

void dcm_source_tend(bool all)
{
	if (dcm_load(&active_count, relaxed) == 0)
		return;
	pthread_mutex_lock(&list_lock);
	/* Downwards: see deactivate(). What is added meanwhile was looked at then. */
	for (uint32_t i = dcm_load(&active_count, relaxed), looks = 0; i-- > 0;) {
		struct dcm_source *source = active[i];

		if (!all && !is_rung(source))
			continue;
		(void)check(source, true, 0);
		if (++looks % LOOKS_AT_ONCE != 0)
			continue;
		pthread_mutex_unlock(&list_lock);
		pthread_mutex_lock(&list_lock);
		if (i > dcm_load(&active_count, relaxed))
			i = dcm_load(&active_count, relaxed);
	}
	pthread_mutex_unlock(&list_lock);
}
