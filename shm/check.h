/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check - every invariant of a segment, as code
 *
 * Walks all tables and tells what is wrong, through a callback. Works on a read-only mapping,
 * trusts nothing that it reads, is bounded by the private capacities, and takes nothing over.
 *
 *	struct dcm_check_options options = DCM_CHECK_LIVE(report, context);
 *	struct dcm_check_result result;
 *
 *	dcm_check(&seg, &options, &result);
 *	if (result.damaged == 0 && result.dead == 0) ...
 *
 * The segment may be in use meanwhile. A slot is judged between two equal loads of its state word,
 * and what looks wrong is looked at again after a pause, @confirm times: it is reported only if
 * the same is still wrong in the same use and state of the slot. What a process that was stopped
 * between two steps leaves for that time is told as what it looks like.
 */
#ifndef DCM_SHM_CHECK_H
#define DCM_SHM_CHECK_H

#include "shm/ring.h"
#include "shm/segment.h"

enum dcm_check_kind {
	DCM_CHECK_DAMAGED,    /* what no order of the protocols' steps can leave */
	DCM_CHECK_DEAD,	      /* belongs to the dead, and nobody has cleaned it up yet */
	DCM_CHECK_TRANSITION, /* between two steps of somebody who lives: not an error */
};

enum dcm_check_table {
	DCM_CHECK_HEADER,
	DCM_CHECK_PROCESS,
	DCM_CHECK_ENDPOINT,
	DCM_CHECK_SUBSCRIPTION,
	DCM_CHECK_CONNECTION,
	DCM_CHECK_LISTENER,
	DCM_CHECK_GIFT,
};

enum dcm_check_problem {
	/* Damaged. */
	DCM_PROBLEM_HEADER,	  /* not as it was when the segment was mapped */
	DCM_PROBLEM_STATE,	  /* a word that this table does not know */
	DCM_PROBLEM_OWNER,	  /* the owner cannot be the owner */
	DCM_PROBLEM_USED,	  /* bitmap of used slots */
	DCM_PROBLEM_INDEX_LACKS,  /* not found by its interface */
	DCM_PROBLEM_INDEX_STRAYS, /* found by another interface, or free */
	DCM_PROBLEM_NAME,
	DCM_PROBLEM_HASH,
	DCM_PROBLEM_FIELD, /* another field holds what cannot be */
	DCM_PROBLEM_RING,
	DCM_PROBLEM_GIFT,   /* what it is shown by is not its owner's */
	DCM_PROBLEM_TARGET, /* a request that waits for an endpoint that is gone */
	DCM_PROBLEM_ALIVE,  /* the alive word contradicts the slot */
	/* Of the dead. */
	DCM_PROBLEM_DYING,	/* a process that is dead by its alive word, not proved */
	DCM_PROBLEM_DIED,	/* a process that is proved dead */
	DCM_PROBLEM_OWNER_DEAD, /* the owner is dead, or its slot is free or taken apart */
	DCM_PROBLEM_PARTY_DEAD, /* the other party of a connection is */
	DCM_PROBLEM_REAPER,	/* taken apart by one that had no slot of its own */
	/* In transition. */
	DCM_PROBLEM_CLAIMED,
	DCM_PROBLEM_REAPED,
	DCM_PROBLEM_LEAVING, /* a process on its way out */
	DCM_PROBLEMS,
};

struct dcm_finding {
	enum dcm_check_kind kind;
	enum dcm_check_problem problem;
	enum dcm_check_table table;
	uint32_t slot;	  /* may be at or behind the table's end: a bit of a slot that is not */
	uint32_t bucket;  /* of the index; of endpoints by name: DCM_BUCKETS more; UINT32_MAX: none */
	uint64_t word;	  /* of the slot, when it was looked at */
	const char *text; /* half a sentence for people */
};

struct dcm_check_options {
	unsigned confirm; /* look again so often */
	int64_t pause_ns; /* after such a pause */
	bool proof;	  /* also ask the kernel who is dead (dcm_process_dead) */
	uint64_t most;	  /* findings to report; then it stops. 0: all */
	void (*report)(void *context, const struct dcm_finding *finding); /* null: only count */
	void *context;
};

/* For a segment that others work in. */
#define DCM_CHECK_LIVE(report_, context_)                                                          \
	((struct dcm_check_options){ .confirm = 5,                                                 \
				     .pause_ns = 50 * 1000 * 1000,                                 \
				     .proof = true,                                                \
				     .most = 1000,                                                 \
				     .report = (report_),                                          \
				     .context = (context_) })

struct dcm_check_result {
	uint64_t damaged, dead, transition; /* findings of each kind */
	bool stopped;			    /* at options->most: there may be more */
};

/*
 * dcm_check() - check a whole segment
 * @options: null: one look, for a segment in which nobody works (proof included)
 * Threads:  any; nothing is written
 * Blocks:   confirm * pause_ns for each 256 suspects
 */
void dcm_check(const struct dcm_segment *seg, const struct dcm_check_options *options,
	       struct dcm_check_result *result);

/*
 * dcm_check_ring() - are cells and cursors as pushes and pops can leave them
 * @most: the largest value that may be in it
 * Return: false: damaged. A ring that moves under the look is given the benefit of the doubt.
 */
bool dcm_check_ring(struct dcm_ring_view ring, uint32_t most);

/*
 * The rows of the indices: buckets of interfaces; of endpoints, from DCM_BUCKETS on, of interfaces
 * and names.
 *
 * dcm_check_buckets()  - how many a table has; 0: it has no index
 * dcm_check_next_bit() - the next bit of that bucket that is set, as dcm_index_next()
 * dcm_check_bit()      - is that of @slot set; there may be no such slot
 * dcm_check_belongs()  - does what the slot says put it into that bucket
 * dcm_check_listed()   - is it wherever what it says puts it
 */
uint32_t dcm_check_buckets(enum dcm_check_table table);
bool dcm_check_next_bit(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
			uint32_t *cursor, uint32_t *slot);
bool dcm_check_bit(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
		   uint32_t slot);
bool dcm_check_belongs(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t bucket,
		       uint32_t slot);
bool dcm_check_listed(const struct dcm_segment *seg, enum dcm_check_table table, uint32_t slot);

/* What dcm_process_alive() cannot say: how a process is, by its slot and its alive word. */
enum dcm_fate {
	DCM_FATE_NONE,	    /* no such slot, or free */
	DCM_FATE_ATTACHING, /* CLAIMED */
	DCM_FATE_ALIVE,
	DCM_FATE_LEAVING, /* alive word 0 */
	DCM_FATE_DYING,	  /* marked by the kernel */
	DCM_FATE_REAPED,  /* being taken apart */
};
enum dcm_fate dcm_check_fate(const struct dcm_segment *seg, uint32_t index);

/*
 * dcm_check_target() - where a request in POSTED goes, from its target word (shm/rendezvous.h)
 * Return: true with *@endpoint set; false: it is parked, or the word means nothing.
 */
bool dcm_check_target(uint64_t target, struct dcm_ref *endpoint);
/* dcm_check_parked() - is that the target word of a parked request of this generation */
bool dcm_check_parked(uint64_t target, uint64_t generation);

/*
 * dcm_check_gift()      - what an endpoint or a request is shown by is a gift of its @owner, or none
 * dcm_check_gift_slot() - as its word says, with a key; revoked only behind the key
 */
bool dcm_check_gift(const struct dcm_segment *seg, const dcm_atomic32 *at, const dcm_atomic64 *key,
		    uint32_t owner);
bool dcm_check_gift_slot(const struct dcm_segment *seg, uint32_t slot, uint64_t word);

const char *dcm_check_table_name(enum dcm_check_table table); /* "endpoint" */

#endif
