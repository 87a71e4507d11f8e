/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lib_blocked - a call that is known to be blocked, in a thread of its own
 */
#ifndef DCM_TESTS_API_LIB_BLOCKED_H
#define DCM_TESTS_API_LIB_BLOCKED_H

#include "tests/api/lib_api.h"

enum blocking {
	BLOCK_LOAN,	  /* the room is full */
	BLOCK_CALL,	  /* nobody answers */
	BLOCK_START,	  /* all calls are under way */
	BLOCK_SEND,	  /* likewise */
	BLOCK_FINISH,	  /* nobody answers */
	BLOCK_FINISH_ANY, /* likewise */
	BLOCK_RECEIVE,
	BLOCK_LISTEN,
	BLOCK_READ,
	BLOCK_CONNECT,
	BLOCK_GROUP_LISTEN,
	BLOCK_GROUP_READ,
	BLOCKING_COUNT,
	BLOCK_SESSIONS = BLOCK_RECEIVE, /* those before are on a session */
};

struct blocked {
	enum blocking what;
	uint64_t handle;
	int64_t timeout_ms; /* -1: for ever */
	uint64_t number;    /* of the call, for BLOCK_FINISH; what was received */
	DcmMessage message; /* what it is about, or got */
	DcmRequest request; /* what it got */
	Retcode rc;
	char detail[256];
	struct task task;
};

const char *blocking_name(enum blocking what);

/*
 * What a call of this kind blocks on: the listener or session of @pair; or a new object of a type that
 * begins with @type, that nobody else's matches: the caller closes it.
 */
uint64_t blocking_handle(enum blocking what, const char *type, const struct pair *pair);

/* Makes the call in this thread. */
Retcode blocked_make(struct blocked *blocked);
/* Makes it in another, and comes back when it sleeps. A call that does not block is a failed test. */
void blocked_start(struct blocked *blocked, enum blocking what, uint64_t handle);
/* The same with what is set in *@blocked already. */
void blocked_go(struct blocked *blocked);
/* Waits for its end; one result. */
int blocked_ends(struct blocked *blocked, Retcode wanted, const char *why);

/*
 * What makes a session block: all its room on loan, or all its calls under way. There is then one
 * loan left to start another call with.
 */
enum { SESSION_CALLS = 256 };
struct load {
	DcmMessage room[512];
	unsigned int rooms;
	DcmMessage spare;
	uint64_t calls[SESSION_CALLS];
};
void load_room(struct load *load, Handle session);
void load_calls(struct load *load, Handle session);
/* What blocking needs, if anything; and what the thread is given. */
void load_for(struct load *load, struct blocked *blocked);
/* Gives back loans that were not consumed. */
void load_drop(struct load *load);

#endif
