/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * channel - calls between one client process and one server process over one sealed memfd
 *
 *   [0]      header: written before the file is handed over, never after
 *   [4096]   flags and event counts, each written by one side or both, a line each
 *            the ring of posted calls
 *            call slots: reply line, request line
 *   [arena]  the client's half: requests      [arena + half]  the server's half: replies
 *
 * A call slot's word is generation:28 | waiter:1 | state:3, and a futex:
 *
 *   client:  IDLE -> POSTED ----------------------> collects ANSWERED / FAILED -> IDLE
 *                      \-> ABANDONED (gave up)
 *   server:          POSTED or ABANDONED -> ANSWERED / FAILED
 *
 * Who hands out which room is private to each side (shm/arena.h); the word alone says whose turn it
 * is: request room is the client's again when the word says ANSWERED or FAILED, reply room is the
 * server's again when the word no longer says ANSWERED of that generation. So neither side's death
 * leaves anything to repair: the survivor unmaps.
 *
 *            post  wait/abandon/collect   take  answer      (per slot; - = any threads at once)
 *   client    -    one thread a slot
 *   server                                 -    one thread a call
 *
 * Edges: K1 request: fields, then word POSTED and ring cell (release or RMW) -> take's acquire;
 *        K2 answer: reply fields, then the step of the word -> the client's seq load (seq, for the
 *           client may look behind a prepare of room or done, as shm/park.h wants it);
 *        K4 hang-up: server: store server_gone, then empty the ring; client: put the call in the
 *           ring, then look at server_gone (Dekker, all seq): no call waits for the gone. Why it is
 *           gone is in that one store, so whoever finds a call FAILED by a hang-up finds the reason;
 *        K3 reply room back: the client's last read, then word IDLE (release) -> reclaim's acquire.
 */
#ifndef DCM_SHM_CHANNEL_H
#define DCM_SHM_CHANNEL_H

#include "shm/park.h"
#include "shm/ring.h"
#include "shm/segment.h"

enum {
	DCM_CHANNEL_RING_SHIFT = 8,
	DCM_CHANNEL_CALLS = 1 << DCM_CHANNEL_RING_SHIFT,
	DCM_CHANNEL_ARENA = 65536,	    /* offset of the client's half */
	DCM_CHANNEL_COMMITTED = 65536,	    /* at the start: the front; loans commit their own room */
};

#define DCM_CHANNEL_BYTES_DEFAULT (64ull << 20)
#define DCM_CHANNEL_BYTES_MIN (1ull << 20)
#define DCM_CHANNEL_BYTES_MAX (1ull << 40)

enum dcm_call_state {
	DCM_CALL_IDLE = 0,
	DCM_CALL_POSTED,
	DCM_CALL_ANSWERED,
	DCM_CALL_FAILED,
	DCM_CALL_ABANDONED,
};

/* What the server says of itself; once it is not 0, it takes no more calls. */
enum dcm_server_says {
	DCM_SERVER_THERE = 0,
	DCM_SERVER_GONE,    /* it has hung up */
	DCM_SERVER_REVOKED, /* the same, for it has revoked what it gave the client */
};

/* Flags of a request, beside those of the public API. */
#define DCM_CALL_ONE_WAY 1u /* = DCM_REQUEST_ONE_WAY */
#define DCM_CALL_ASYNC 2u   /* the client waits for any of several: bump its event count */

struct dcm_call {
	alignas(DCM_CACHELINE) dcm_atomic32 word;
	dcm_atomic32 reply_status;
	dcm_atomic64 reply_offset; /* in the server's half */
	dcm_atomic64 reply_size;
	alignas(DCM_CACHELINE) dcm_atomic64 offset; /* in the client's half */
	dcm_atomic64 size;
	dcm_atomic32 status;
	dcm_atomic32 flags;
	dcm_atomic32 generation;
	dcm_atomic32 reserved;
};

struct dcm_channel_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t fingerprint;
	uint64_t bytes;
	uint64_t nonce;
	uint64_t half; /* bytes of each side's half */
	alignas(DCM_PAGE) dcm_atomic32 client_gone;
	dcm_atomic64 client_committed; /* bytes of its half, as it last said: for people */
	alignas(DCM_CACHELINE) dcm_atomic32 server_gone; /* enum dcm_server_says */
	dcm_atomic64 server_committed;
	alignas(DCM_CACHELINE) dcm_atomic32 room; /* event count: a call slot or room came free */
	alignas(DCM_CACHELINE) dcm_atomic32 done; /* event count: an async call was answered */
	dcm_atomic32 bell; /* shm/bell.h: the same, and the server hung up */
	struct dcm_ring ring;
	alignas(DCM_CACHELINE) dcm_atomic64 cells[DCM_CHANNEL_CALLS];
	struct dcm_call call[DCM_CHANNEL_CALLS];
};

static_assert(sizeof(struct dcm_call) == 128, "channel layout 2");
static_assert(offsetof(struct dcm_channel_header, cells) ==
		      offsetof(struct dcm_channel_header, ring) + sizeof(struct dcm_ring),
	      "cells follow their ring");
static_assert(sizeof(struct dcm_channel_header) <= DCM_CHANNEL_ARENA, "before the arena");

/* A channel as this process sees it: sizes are private, checked once. */
struct dcm_channel {
	struct dcm_channel_header *shared;
	uint64_t bytes, half;
	unsigned char *requests, *replies; /* the halves */
	/* Of a server: the client's process, whose keeper the bell tells; null: nobody is told. */
	const struct dcm_segment *seg;
	uint32_t client;
};

/* A message on its way: where and how long in its sender's half, and what goes along. */
struct dcm_parcel {
	uint64_t offset, size;
	int32_t status;
	uint32_t flags;
};

/* dcm_channel_format() - by the server, before the memory is handed over; @bytes: whole MiB */
void dcm_channel_format(void *base, uint64_t bytes, uint64_t nonce);

/*
 * dcm_channel_view() - check the header of mapped memory and keep what it says
 * Return: true, or false: not a channel of this layout, these bytes and this nonce.
 */
bool dcm_channel_view(struct dcm_channel *ch, void *base, uint64_t bytes, uint64_t nonce);

/* Client side. @call is a slot index below DCM_CHANNEL_CALLS that the client's private books say
 * is free; @generation, 28 bits, is different each time the slot is used. */

/* dcm_channel_post() - hand a request over; false: the ring is full (the slot is as before) */
bool dcm_channel_post(struct dcm_channel *ch, uint32_t call, uint32_t generation,
		      const struct dcm_parcel *request);

/*
 * dcm_channel_state() - POSTED, or what came of the call; with the word for a sleep in *@word
 * A word of another generation was scribbled there: FAILED.
 */
enum dcm_call_state dcm_channel_state(struct dcm_channel *ch, uint32_t call, uint32_t generation,
				      uint32_t *word);

/* dcm_channel_wait() - mark the slot as slept on; false: the word changed, look again */
bool dcm_channel_wait(struct dcm_channel *ch, uint32_t call, uint32_t *word);

/* dcm_channel_abandon() - give the call up; false: too late, it is answered */
bool dcm_channel_abandon(struct dcm_channel *ch, uint32_t call);

/* dcm_channel_reply() - the reply of an ANSWERED call; false: what the server wrote is not valid */
bool dcm_channel_reply(struct dcm_channel *ch, uint32_t call, struct dcm_parcel *reply);

/* dcm_channel_collect() - the slot is IDLE: the reply's room goes back to the server */
void dcm_channel_collect(struct dcm_channel *ch, uint32_t call, uint32_t generation);

/* Server side. */

/*
 * dcm_channel_take() - the next posted call that nobody gave up
 * Return: DCM_RING_OK with *@call, *@generation, *@request checked against the sizes;
 * DCM_RING_EMPTY; -EBADMSG: the client wrote what cannot be (the call is failed, look on).
 */
int dcm_channel_take(struct dcm_channel *ch, uint32_t *call, uint32_t *generation,
		     struct dcm_parcel *request);

/* dcm_channel_more() - is there (probably) another posted call */
bool dcm_channel_more(struct dcm_channel *ch);

/*
 * dcm_channel_answer() - end a call; null @reply: FAILED (or, one way, done with)
 * Return: true: the client was still waiting; false: it had given up, or the call was ended before
 * (by a hang-up): the reply was not delivered.
 */
bool dcm_channel_answer(struct dcm_channel *ch, uint32_t call, uint32_t generation, uint32_t flags,
			const struct dcm_parcel *reply);

/* dcm_channel_returned() - has the client given back the reply of that call */
bool dcm_channel_returned(struct dcm_channel *ch, uint32_t call, uint32_t generation);

/*
 * dcm_channel_hang_up() - the server takes no more calls: those not answered fail, now and later
 * @why: DCM_SERVER_GONE or DCM_SERVER_REVOKED. Once for a channel.
 */
void dcm_channel_hang_up(struct dcm_channel *ch, enum dcm_server_says why);
/* dcm_channel_hung_up() - by the client, after it posted and before it sleeps */
bool dcm_channel_hung_up(struct dcm_channel *ch);
/* dcm_channel_revoked() - by the client: has it hung up for that reason? Also true after its death. */
static inline bool dcm_channel_revoked(const struct dcm_channel *ch)
{
	/* acquire: who sees FAILED, K2, sees what was stored before the hang-up failed it. */
	return dcm_load(&ch->shared->server_gone, acquire) == DCM_SERVER_REVOKED;
}

#endif
