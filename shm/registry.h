/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry - endpoints, who asked to be told of them, and the telling
 *
 *   endpoint      FREE -> CLAIMED -> LIVE -> REAP -> FREE
 *   subscription  FREE -> CLAIMED -> ACTIVE -> REAP -> FREE
 *
 * Publishing takes effect with the store of LIVE, unpublishing with the step from LIVE to REAP.
 * After either, the announcer puts the slot's number, no more, in the ring of every subscription
 * in the interface's bucket that could want it: "look there". What a subscriber announces is the difference between
 * what it sees there and what it has announced before (api/known.h), so a hint may come twice, late, from a
 * process that has died since, or be replaced by the level-triggered "look at everything".
 *
 * A subscription to a group of interfaces is one slot with one ring, in the rows of all their
 * buckets; its slot says which, so that whoever takes it apart finds them. It has a wake word of
 * its own: the buckets' are for those who have one interface. Those who want one name of it sleep
 * at the bucket of both, so that they are not woken with each name (dcm_registry_ec()).
 *
 * Edges: R1 publisher: store LIVE, then look at the subscription index;
 *        R2 subscriber: store ACTIVE, then look at the endpoint index. All seq (Dekker): the
 *           publisher sees the subscription or the subscriber sees the endpoint.
 *        R3 names: stored with release in CLAIMED, loaded with acquire between two equal loads of
 *           the state word.
 */
#ifndef DCM_SHM_REGISTRY_H
#define DCM_SHM_REGISTRY_H

#include "shm/gift.h"
#include "shm/segment.h"

enum { DCM_ENDPOINT_LIVE = 2 };
enum { DCM_SUBSCRIPTION_ACTIVE = 2 };

struct dcm_endpoint_key {
	const char *type, *name; /* 1 to 255 bytes */
	uint64_t type_hash, name_hash;
	uint64_t sid; /* the server's identity */
	struct dcm_gift gift;
	uint32_t told_at; /* 0; or 1 + the slot of this process's where it is told of requests */
};

/* A copy of what a live endpoint says. */
struct dcm_endpoint_view {
	struct dcm_ref endpoint;
	struct dcm_ref process; /* that published it */
	uint64_t type_hash, name_hash, sid;
	struct dcm_gift gift;
	char type[256], name[256], server[256];
};

/*
 * dcm_registry_reserve() - a slot with all that an endpoint says, and nobody sees it
 * Until it is shown, dcm_registry_remove() gives it back.
 * Return: true with *@out set, or false: the table is full.
 */
bool dcm_registry_reserve(const struct dcm_segment *seg, uint32_t self,
			  const struct dcm_endpoint_key *key, struct dcm_ref *out);

/* dcm_registry_show() - make what was reserved live, and tell the subscribers */
void dcm_registry_show(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint);

/*
 * dcm_registry_publish() - both at once
 * Progress: lock-free; bounded by the tables.
 * Return: as dcm_registry_reserve().
 */
bool dcm_registry_publish(const struct dcm_segment *seg, uint32_t self,
			  const struct dcm_endpoint_key *key, struct dcm_ref *out);

/*
 * dcm_registry_retire() - LIVE under @owner becomes REAP under @by, and the subscribers are told
 * Return: true if this call did it; *@endpoint is then what to go on to dcm_registry_remove() with.
 */
bool dcm_registry_retire(const struct dcm_segment *seg, struct dcm_ref *endpoint, uint32_t owner,
			 uint32_t by);

/* dcm_registry_remove() - the last steps of an endpoint in REAP that the caller owns */
void dcm_registry_remove(const struct dcm_segment *seg, struct dcm_ref endpoint);

/* dcm_registry_announce() - "look at endpoint @index" to everybody who is subscribed to it */
void dcm_registry_announce(const struct dcm_segment *seg, uint32_t index);

/* dcm_registry_ec() - where sleeps who has subscribed to an interface; @name_hash: 0, or one name */
dcm_atomic32 *dcm_registry_ec(const struct dcm_segment *seg, uint64_t type_hash, uint64_t name_hash);

/*
 * dcm_registry_look() - copy a live endpoint
 * @type_hash: only one of this interface; 0: any
 * An endpoint whose process is dead by its alive word is not live, though not yet reaped.
 * Return: true with *@view set, or false: nothing live of that interface is there.
 */
bool dcm_registry_look(const struct dcm_segment *seg, uint32_t index, uint64_t type_hash,
		       struct dcm_endpoint_view *view);

/* dcm_registry_fetch() - to be looked at soon: its lines are on their way */
void dcm_registry_fetch(const struct dcm_segment *seg, uint32_t index);

/*
 * dcm_registry_may_be() - a look at two words: could endpoint slot @index hold what is wanted
 * @name_hash: 0: any name
 * Return: false: what is visible there, if anything is, is of another interface or name.
 */
bool dcm_registry_may_be(const struct dcm_segment *seg, uint32_t index, uint64_t type_hash,
			 uint64_t name_hash);

/* dcm_registry_is_live() - is that very publication there now, and its process not known dead */
bool dcm_registry_is_live(const struct dcm_segment *seg, struct dcm_ref endpoint);

/* What a subscription wants hints about. They may come about more. */
struct dcm_interest {
	const uint64_t *type_hashes;
	size_t count;	    /* of interfaces; more than one: a group */
	uint64_t name_hash; /* 0: any name */
	uint64_t sid;	    /* of the server; 0: any */
};

/*
 * dcm_registry_subscribe_to() - a ring of hints, that begins with "look at everything"
 * Who sleeps for a group's does so at its own ec, others at dcm_registry_ec().
 * Return: true with *@out set, or false: the table is full.
 */
bool dcm_registry_subscribe_to(const struct dcm_segment *seg, uint32_t self,
			       const struct dcm_interest *interest, struct dcm_ref *out);

/* dcm_registry_subscribe() - to all of one interface */
bool dcm_registry_subscribe(const struct dcm_segment *seg, uint32_t self, uint64_t type_hash,
			    struct dcm_ref *out);

/* dcm_registry_unsubscribe() - by @owner or, when that is dead, by a reaper @by */
bool dcm_registry_unsubscribe(const struct dcm_segment *seg, struct dcm_ref subscription,
			      uint32_t owner, uint32_t by);

/* dcm_registry_unlist() - clear the bits of subscription slot @index, which the caller owns */
void dcm_registry_unlist(const struct dcm_segment *seg, uint32_t index);

/*
 * dcm_registry_hint() - what a subscription should look at next
 * Not for two threads at once on one subscription: the caller holds the subscription's own lock.
 * Return: DCM_HINT_NONE, DCM_HINT_ONE with *@index, or DCM_HINT_ALL: look at every endpoint that
 * dcm_catalog_next() gives, and at everything announced before.
 */
enum dcm_hint { DCM_HINT_NONE, DCM_HINT_ONE, DCM_HINT_ALL };
enum dcm_hint dcm_registry_hint(const struct dcm_segment *seg, struct dcm_ref subscription,
				uint32_t *index);

/* dcm_registry_resync() - make the subscription's next hint "look at everything" */
void dcm_registry_resync(const struct dcm_segment *seg, struct dcm_ref subscription);

#endif
