/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * history - what each process did and was told, and whether that may be
 *
 * Everybody notes what he does before and after he does it, and what he was told, in memory that
 * all share: logs of publications and notices, one for each process, with the time of a clock that
 * all share; and a word for each call, in which caller and server leave their marks. Who notes may
 * die at any instruction: an event is there whole or not at all.
 *
 * At a quiet point the one who watches them takes the events in the order of the clock and sees
 * that every notice was right at its time.
 */
#ifndef DCM_TESTS_STRESS_LIB_HISTORY_H
#define DCM_TESTS_STRESS_LIB_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	HISTORY_WRITERS = 16,
	HISTORY_EVENTS = 1 << 14, /* of each writer, between two quiet points */
	HISTORY_CALLERS = 16,
	HISTORY_CALLS = 1 << 15, /* of each caller, likewise */
	HISTORY_NAME = 12,
};

enum history_what {
	/* A publisher, before and after; @sid and @name tell the publication. */
	HISTORY_PUBLISHING,
	HISTORY_PUBLISHED,
	HISTORY_NOT_PUBLISHED, /* no room */
	HISTORY_WITHDRAWING,
	HISTORY_WITHDRAWN,
	/* A reader, of one subscription at a time. */
	HISTORY_SUBSCRIBED,
	HISTORY_UNSUBSCRIBED,
	HISTORY_TOLD_PUBLISHED,
	HISTORY_TOLD_UNPUBLISHED,
	HISTORY_TOLD_ALL, /* read empty; @sid: the time before that read */
	/* Of a process, by the one who starts and ends it; @sid: its number as a writer. */
	HISTORY_BORN,
	HISTORY_DOOMED, /* it may die from now on */
};

struct history_event {
	uint64_t clock;
	uint64_t sid;
	uint32_t what;
	char name[HISTORY_NAME];
};

struct history_log {
	_Atomic uint64_t written, taken;
	struct history_event event[HISTORY_EVENTS];
};

/* Marks in the word of a call. */
enum {
	HISTORY_BEGUN = 1,
	HISTORY_REPLIED_TO = 2, /* the caller has the reply */
	HISTORY_FAILED = 4,	/* the caller was told that there is none, or gave up */
	HISTORY_ONE_WAY = 8,	/* sent: no more is due */
	HISTORY_RECEIVED = 16,
	HISTORY_REPLYING = 32,	/* the server is about to reply */
	HISTORY_RELEASING = 64, /* the server is about to drop it */
};

struct history_calls {
	_Atomic uint64_t next;	  /* number of the next call */
	_Atomic uint64_t base;	  /* of the first of the process that lives now */
	_Atomic uint64_t checked; /* those before are done with */
	_Atomic uint32_t word[HISTORY_CALLS];
};

struct history {
	_Atomic uint64_t clock;
	_Atomic uint32_t full; /* somebody needs a quiet point soon */
	struct history_log log[HISTORY_WRITERS];
	struct history_calls calls[HISTORY_CALLERS];
};

/* history_now() - a time of its own */
uint64_t history_now(struct history *h);

/* history_room() - is there room for some more events; if not, wait for a quiet point */
bool history_room(struct history *h, uint32_t writer);

/* history_note() - one event, at this time; one thread for each writer */
void history_note(struct history *h, uint32_t writer, enum history_what what, uint64_t sid,
		  const char *name);

/* history_call() - note that a call begins; false: wait for a quiet point */
bool history_call(struct history *h, uint32_t caller, uint32_t marks, uint64_t *call);

/* history_mark() - add marks to a call; the marks before, 0 for a call that is none */
uint32_t history_mark(struct history *h, uint64_t call, uint32_t marks);

/* The one who checks. All counts are since the beginning. */
struct history_seen {
	uint64_t notices, wrong_notices;
	uint64_t calls, wrong_calls;
};

/*
 * history_follow() - take all events that are there
 * Nobody may be about to note one of a publication.
 */
void history_follow(struct history *h, struct history_seen *seen);

/* history_settled() - does every reader know just what is published? @say: tell what it is not */
bool history_settled(bool say);

/* history_close_calls() - nobody is in a call: has each ended as it may? */
void history_close_calls(struct history *h, struct history_seen *seen);

/* history_forget() - the publications that are gone; @all: everything, all processes are dead */
void history_forget(struct history *h, bool all);

#endif
