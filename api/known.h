/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * known - what one subscription has announced, and the notices that follow from what it sees now
 *
 * Private memory, sized by matches: nobody else can damage it, and it dies with the process. A
 * notice is the difference between the registry and this set, so for one publication PUBLISHED and
 * UNPUBLISHED alternate whatever hints come, in whatever order, however often.
 *
 * Not for two threads at once: the caller holds the subscription's lock.
 */
#ifndef DCM_API_KNOWN_H
#define DCM_API_KNOWN_H

#include "shm/registry.h"

struct dcm_notice {
	bool published; /* else withdrawn */
	struct dcm_ref endpoint, process;
	uint64_t sid;
	struct dcm_gift gift;
	char *name, *server; /* of the endpoint, of its server; in the notice's own memory */
};

struct dcm_known;

/*
 * dcm_known_create() - an empty set
 * @type_hash: of the interface; @name, @server: null for any; @sid: 0 for any
 * Return: the set, or null: out of memory.
 */
struct dcm_known *dcm_known_create(uint64_t type_hash, const char *type, const char *name,
				   const char *server, uint64_t sid);
void dcm_known_destroy(struct dcm_known *known);

/*
 * dcm_known_read() - the next notice of @subscription
 * Takes hints from the segment until one of them makes a difference.
 * Return: 0 with *@out set, to be freed with dcm_notice_free(); -EAGAIN nothing now; -ENOMEM (then
 * nothing is lost: the next call looks at everything again).
 */
int dcm_known_read(struct dcm_known *known, const struct dcm_segment *seg,
		   struct dcm_ref subscription, struct dcm_notice **out);
/*
 * dcm_known_look() - can a notice be read; those that hints lead to are made, up to a bound
 * @made: set to how many were ever made: it differs when there is a new one
 */
bool dcm_known_look(struct dcm_known *known, const struct dcm_segment *seg,
		    struct dcm_ref subscription, uint64_t *made);
/*
 * dcm_known_waiting() - behind dcm_known_look(): how many notices can be read for now
 * While a look at everything is not over: no fewer than that, and no more than the table holds besides.
 */
uint32_t dcm_known_waiting(const struct dcm_known *known, const struct dcm_segment *seg);
void dcm_notice_free(struct dcm_notice *notice);
/*
 * What dcm_known_read() is made of, for who reads hints for several sets at once:
 * dcm_known_update()   - make what is announced of endpoint slot @index equal to what is there
 * dcm_known_update_gone(), dcm_known_update_new() - the same of all slots, in two steps: what is
 *                        gone, in all sets, then what is new; so nothing is new beside what is gone
 * dcm_known_take()     - the oldest notice that follows from these looks; null: there is none
 * Return: 0; -ENOMEM: something new was left out, and is to be looked for again.
 */
int dcm_known_update(struct dcm_known *known, const struct dcm_segment *seg, uint32_t index);
void dcm_known_update_gone(struct dcm_known *known, const struct dcm_segment *seg);
int dcm_known_update_new(struct dcm_known *known, const struct dcm_segment *seg);
struct dcm_notice *dcm_known_take(struct dcm_known *known);

/* dcm_known_unread() - the notice is the next one again */
void dcm_known_unread(struct dcm_known *known, struct dcm_notice *notice);

/* dcm_known_each() - call @visit on every publication announced and not withdrawn */
void dcm_known_each(const struct dcm_known *known,
		    void (*visit)(const struct dcm_notice *notice, void *arg), void *arg);

#endif
