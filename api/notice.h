/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notice - what receives events: entries that have fired, in order, and threads that wait for one
 */
#ifndef DCM_API_NOTICE_H
#define DCM_API_NOTICE_H

#include <ck_ec.h>
#include <pthread.h>

#include "api/handle.h"
#include "api/light.h"
#include "api/source.h"

/* Behind DCM_KIND_NOTICE. */
struct dcm_notice_object {
	struct dcm_object object;
	struct dcm_entry *entries; /* all; under the list's lock (api/source.h) */
	pthread_mutex_t lock;
	struct dcm_entry *first_fired, *last_fired; /* under lock: the queue */
	struct dcm_light light; /* under lock; on while the queue is not empty */
	uint32_t waiting;	/* under lock: calls that sleep or are about to */
	bool closed;		/* under lock, and the list's to change it */
	struct ck_ec32 ec;	/* counts what those who sleep must see */
};

/* dcm_notice_find() - the notice behind a number, held; null, with the detail set: none */
struct dcm_notice_object *dcm_notice_find(uint64_t number);

/* dcm_notice_post() - bits of an entry fire; under its source's lock */
void dcm_notice_post(struct dcm_entry *entry, uint32_t bits);

/* dcm_notice_link(), dcm_notice_unlink() - an entry begins, or ends and is not fetched any more;
   under the list's lock */
void dcm_notice_link(struct dcm_entry *entry);
void dcm_notice_unlink(struct dcm_entry *entry);

/*
 * dcm_notice_orphan() - the entry's source is closed; under the list's lock
 * Return: false: nothing of it waits to be fetched, so it is the caller's to end; else it ends when
 * it is fetched.
 */
bool dcm_notice_orphan(struct dcm_entry *entry);

/* dcm_notice_unsubscribe() - end all entries with this id; false: there was none */
bool dcm_notice_unsubscribe(struct dcm_notice_object *notice, uintptr_t id);

/* dcm_notice_fd() - as dcm_source_fd() */
Retcode dcm_notice_fd(struct dcm_notice_object *notice, int *out);

#endif
