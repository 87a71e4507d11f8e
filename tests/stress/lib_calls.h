/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The plan of the calls test, which client and server both derive from the seed, and its server.
 *
 * A message carries its id in its status: lane << 24 | number of the call in that lane. What is to be
 * done with it, how long it and its reply are and what they hold follows from seed and id alone.
 */
#ifndef DCM_TESTS_STRESS_LIB_CALLS_H
#define DCM_TESTS_STRESS_LIB_CALLS_H

#include <dcm/channel.h>

#include "tests/stress/lib_stress.h"

#define CALLS_TYPE "test.Calls"
#define CALLS_NAME "calls"

enum {
	SHARERS = 16, /* threads over one session */
	OWNERS = 64,  /* clients with a session each */
	OWNER_PROCESSES = 8,
	LANES = SHARERS + OWNERS,
	CONTROL_LANE = LANES, /* not planned: see CONTROL_ */
	RECEIVERS = 4,
	TURNS_MAX = 12512, /* of a lane; whole blocks */
	BLOCK = 8,	  /* calls that are planned together */
	CHANNEL_BYTES = 16 << 20,
	LARGE = 1 << 20,
	RIID_SHARED = 7,
	RIID_OWN = 9,
	PATIENCE_MS = 2, /* of a caller that gives up */
};

enum op {
	OP_CALL,	/* DcmCall */
	OP_CALL_BLIND,	/* DcmCall without outReply */
	OP_STATUS_ONLY, /* the reply has no data */
	OP_START,	/* DcmStart, DcmFinish of that call */
	OP_START_LATE,	/* DcmFinish times out first */
	OP_ANY,		/* the whole block is started, then finished in any order */
	OP_SEND,	/* DcmSend */
	OP_GIVE_UP,	/* DcmCall with a short time; the server is late */
	OP_DROPPED,	/* the server releases the request unanswered */
	OPS,
};

/* Numbers of the control lane. */
enum {
	CONTROL_ECHO = 1, /* a status-only reply */
	CONTROL_LARGEST,  /* the largest reply that can be */
};

struct plan {
	enum op op;
	size_t request, reply; /* bytes */
	size_t slack;	       /* of the reply's loan beyond the reply */
	uint32_t late_ms;
};

/* In memory that all processes share. */
struct calls_board {
	_Atomic uint32_t ready, go, loaded, checked;
	struct {
		_Atomic uint32_t turn; /* where it is */
		_Atomic uint32_t op;
		_Atomic uint32_t given_up;
	} lane[LANES];
	_Atomic uint32_t ops[OPS];
	_Atomic uint32_t received[LANES][TURNS_MAX / 32];
	_Atomic uint32_t answered[LANES][TURNS_MAX / 32];
	/* Of the server. */
	_Atomic uint32_t in_vain; /* replies to callers that had given up */
	_Atomic uint32_t full;	  /* replies that had to wait for room */
	_Atomic uint32_t delayed; /* requests held back now */
};

uint32_t calls_id(uint32_t lane, uint32_t turn);
struct plan calls_plan(uint64_t seed, uint32_t id);
/* calls_content() - the seed of what a message of that id holds */
uint64_t calls_content(uint64_t seed, uint32_t id, bool reply);
/* calls_mark() - set the bit of an id; false: it was set before */
bool calls_mark(_Atomic uint32_t bits[LANES][TURNS_MAX / 32], uint32_t id);
bool calls_marked(_Atomic uint32_t bits[LANES][TURNS_MAX / 32], uint32_t id);
size_t calls_half(void);    /* bytes that one side of a channel can loan at once */
size_t calls_largest(void); /* the largest single loan */

/* The server runs in the calling process, from start to stop, which closes all that it opened. */
void calls_serve(struct calls_board *board, uint64_t seed);
void calls_stop(void);

#endif
