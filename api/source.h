/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source - an object that can tell of something: to notices, and to event loops by a descriptor
 *
 * An object that can has a struct dcm_source, which its type's source op names. What it tells are
 * states (a request can be taken), which look() reads, and pulses (a call was interrupted), which
 * dcm_source_fire() brings.
 *
 * Notices are edges: an entry, one subscription of a notice, fires when what it asks for is true
 * at the beginning, and then with each new cause (look's stamp) and each pulse. Descriptors are
 * levels: written when a readable state becomes true, or for a pulse; cleared by the call that
 * finds nothing, which looks again behind the clearing. A pulse that came while that call went on is
 * not cleared: the call may have looked before it.
 *
 * A source with states that somebody follows is active: the keeper looks at it when its bell in
 * shared memory was rung (shm/bell.h), and once a second whatever the bell says, for ringers die
 * and are stopped. While it could tell nothing new, since its descriptor is written and all its
 * entries wait to be fetched, its bell is silent, and costs ringers a load.
 *
 * Locks, in this order: the list (one for the process: what is active, who is subscribed to what),
 * a source, then either a notice or whatever look() takes. So no dcm_source function is called with
 * a lock held that a look() takes, and a look() drops no count that may be the last.
 */
#ifndef DCM_API_SOURCE_H
#define DCM_API_SOURCE_H

#include <dcm/types.h>
#include <pthread.h>
#include <sys/queue.h>

#include "api/handle.h"
#include "api/light.h"
#include "shm/atomics.h"

struct dcm_notice_object;

/* A state of which no event tells: for the descriptor alone. */
#define DCM_SOURCE_READY (1u << 8)

struct dcm_source_type {
	uint32_t events; /* all that it can have, as event bits */
	uint32_t
		readable; /* the states whose truth makes the descriptor readable; 0: it has none */
	/*
	 * What is true of the object now, as event bits, and in *@stamp a number that differs when
	 * there is a new cause. Under the source's lock, on any thread, while the object is open.
	 * Null: it has no states.
	 */
	uint32_t (*look)(struct dcm_object *object, uint64_t *stamp);
	/* Its bell in shared memory, while the object is open; null, or giving null: it has none.
	   Behind a change of it goes a dcm_source_check(). */
	dcm_atomic32 *(*bell)(struct dcm_object *object);
};

TAILQ_HEAD(dcm_entries, dcm_entry);

struct dcm_source {
	const struct dcm_source_type *type;
	struct dcm_object *object;
	pthread_mutex_t lock;
	struct dcm_entries entries; /* in order; under lock, and the list's to change it */
	struct dcm_light light; /* under lock */
	bool closed;		/* under lock */
	dcm_atomic32 token;	/* of the bell, changed under lock; 0: it is not watched closely */
	dcm_atomic32 lit;	/* 1: there is a descriptor */
	dcm_atomic32 pulses;	/* counted under lock */
	uint32_t place; /* under the list's lock: 1 + place among the active; 0: it is not */
};

/* One subscription of a notice. */
struct dcm_entry {
	/* Set once: */
	uint64_t serial; /* none is used twice */
	uint32_t mask;
	uintptr_t id;
	uint64_t through; /* number of the handle that it was made with, and ends with if that is
			     revoked; 0: it does not */
	struct dcm_notice_object *notice;
	struct dcm_source
		*source; /* null when it has closed: what had fired may still be fetched */
	/* Under the list's lock, of_source under the source's too: */
	TAILQ_ENTRY(dcm_entry) of_source;
	struct dcm_entry *next_of_notice, *previous_of_notice;
	/* Under the source's lock: */
	bool seen; /* a state has fired, with this stamp */
	uint64_t stamp;
	/* Under the notice's lock; others read it: */
	dcm_atomic32 fired; /* bits that wait to be fetched; not 0: it is in the queue */
	struct dcm_entry *next_fired, *previous_fired;
};

/* dcm_source_init() - of a new object, before others see it; both stay as long as the source */
void dcm_source_init(struct dcm_source *source, const struct dcm_source_type *type,
		     struct dcm_object *object);

/*
 * dcm_source_close() - the object is being closed: no more events, subscriptions or descriptor
 * First in type->close, before the object takes apart what look() and bell() read. Comes back when
 * no other thread is in them. What has fired can still be fetched; who polls the descriptor wakes.
 */
void dcm_source_close(struct dcm_source *source);

/* dcm_source_end() - the same with a last pulse: who is told nothing of it has not been subscribed */
void dcm_source_end(struct dcm_source *source, uint32_t events);

/*
 * dcm_source_forked() - in a forked child: as new, and the descriptor closed
 * For type->forget; objects that survive a fork get it by themselves.
 */
void dcm_source_forked(struct dcm_source *source);

/*
 * dcm_source_subscribe() - have the notice told of these events; what is true now fires at once
 * @through: number of the handle that this is done with; 0: none that can be revoked
 * Return: rcOk; rcInvalidArgument a mask that is empty or has bits that never come, or object or
 * notice closed meanwhile; rcOutOfMemory.
 */
Retcode dcm_source_subscribe(struct dcm_source *source, struct dcm_notice_object *notice,
			     uint32_t mask, uintptr_t id, uint64_t through);

/* dcm_source_revoke() - a handle is revoked: entries made with it end, as with dcm_source_close() */
void dcm_source_revoke(struct dcm_source *source, uint64_t through);

/* dcm_source_unsubscribe() - take out all entries of @notice, fetched or not; false: none */
bool dcm_source_unsubscribe(struct dcm_source *source, struct dcm_notice_object *notice);

/*
 * dcm_source_fd() - the descriptor, made at the first call; it stays the library's
 * It is readable from the start when there was a pulse ever: that may be to come to a call yet.
 * Return: rcOk; rcInvalidArgument it has none, or is closed; rcQuotaExceeded, rcOutOfMemory.
 */
Retcode dcm_source_fd(struct dcm_source *source, int *out);

/* dcm_source_fire() - a pulse: to those who subscribed to it, and to the descriptor if any */
void dcm_source_fire(struct dcm_source *source, uint32_t events);

/* dcm_source_check() - look, and tell what is new: by whoever changed a state without a bell */
void dcm_source_check(struct dcm_source *source);

/*
 * dcm_source_delivered() - an entry was fetched: from now on its bell is watched again
 * Return: bits that became true before, and that the fetched event may as well carry.
 */
uint32_t dcm_source_delivered(struct dcm_source *source, uint64_t serial);

/* dcm_source_drain() - clear the descriptor, then look again: by way of dcm_source_drained() */
void dcm_source_drain(struct dcm_source *source, uint32_t pulses);

/* dcm_source_pulses() - by each call, before it looks: what dcm_source_drained() is to be given */
static inline uint32_t dcm_source_pulses(const struct dcm_source *source)
{
	return dcm_load(&source->pulses, acquire);
}

/* dcm_source_drained() - by each call that found nothing, before it says so: a load */
static inline void dcm_source_drained(struct dcm_source *source, uint32_t pulses)
{
	/* relaxed: whoever makes the descriptor looks behind that. */
	if (dcm_load(&source->lit, relaxed) != 0)
		dcm_source_drain(source, pulses);
}

/* dcm_source_lit() - is there a descriptor that tells of it */
static inline bool dcm_source_lit(const struct dcm_source *source)
{
	return dcm_load(&source->lit, relaxed) != 0;
}

/* dcm_source_tend() - by the keeper: look at the active sources whose bell was rung, or at @all */
void dcm_source_tend(bool all);

/* dcm_source_of() - the source behind an object, or null */
static inline struct dcm_source *dcm_source_of(struct dcm_object *object)
{
	return object->type->source != NULL ? object->type->source(object) : NULL;
}

/* The list's lock, for notices. */
void dcm_source_list_lock(void);
void dcm_source_list_unlock(void);
/* dcm_source_unlink() - under it: take an entry out of its source and its notice, and free it */
void dcm_source_unlink(struct dcm_entry *entry);

#endif
