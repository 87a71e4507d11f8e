/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * channel - calls between one client process and one server process over one sealed memfd
 *
 *   [0]      header: written before the file is handed over, never after
 *   [4096]   flags and event counts, each written by one side or both, two lines each;
 *            done[] (server), returned[] (client)
 *            cells: the client's messages        (client)
 *            replies: what became of each call   (server; a waiter's mark: client)
 *   [front]  the client's half: requests         [front + half]  the server's half: replies
 *
 * A half begins with rooms of one line each, for small messages, which are committed from the start;
 * the rest is an arena (shm/arena.h). Who hands out which room is private to the side whose half it
 * is. A receiver expects the next small message where the last one of its kind was, and prefetches
 * that line while it looks at the flag.
 *
 * Messages. The client numbers what it sends: 1, 2, 3 ... without a gap, mod 2^32. Message n is
 * posted in cell n mod 256, by storing n in the cell's word behind everything else in it; the server
 * takes them in their order, so it looks at one word, that of the cell of the next. A cell is free
 * again when it was taken. Nobody says so, and nobody need: a message has a call slot, of which there
 * are as many as cells, from before it is posted until after it has ended. So who has a slot for
 * message n knows that one of the 256 before it has ended; that one was taken, and n - 256 before it.
 *
 * Calls. A call slot's use is told by a generation, 28 bits, which the client's books raise. The
 * word of replies[slot] is generation:28 | waiter:1 | state:3, and a futex. The generation in it is
 * that of the last use that anybody had something to say of: a word of another says POSTED.
 *
 *   client:  POSTED --------------> (sleeps: POSTED | WAITER) -> reads ANSWERED / FAILED
 *                  \-> ABANDONED (gave up)
 *   server:  POSTED or ABANDONED -> ANSWERED / FAILED            (a swap, once for each use)
 *
 * A one-way message has no reply; done[slot] = generation says that it has ended.
 *
 * Room. A request's room is the client's again when its call has ended. A reply's room is the
 * server's again when returned[slot] tells the generation of that call, or a later one, or when the
 * slot is posted anew. So neither side's death leaves anything to repair, at whatever line: the survivor unmaps.
 *
 *            post, abandon   wait          take, more   answer
 *   client   under a lock    one thread
 *            of its own      a slot
 *   server                                 under a      one thread
 *                                          lock         a call
 *
 * Edges: K1 request: what is in the cell and the room, then the cell's word -> take's load of it.
 *           Also Dekker (seq): the word, then the listener's bit (L1 of shm/listener.h).
 *        K2 answer: what is in the reply, then the swap of the word, or the store of done ->
 *           the client's seq load (seq, for the client may look behind a prepare of room or done,
 *           as shm/park.h wants it).
 *        K3 reply room back: the client's last read, then returned (release) -> the server's acquire.
 *        K4 hang-up: server: store server_gone, then clear the marks of who waits, and wake them;
 *           client: mark, then look at server_gone (Dekker, all seq): nobody sleeps for the gone.
 *           What was not answered by then is given up by its caller, whom the step from POSTED to
 *           ABANDONED tells whether an answer came after all. Why it is gone is in that one store.
 *        K5 a stream's messages and their ends: plain stores, see below.
 *
 * Streams. A store and a look behind it in order (K1, and of done K2) cost what it takes to own all
 * lines written before, a multiple of the message itself. A client that has sent message after
 * message one way, and found the listener's bit set and nobody asleep, says DCM_CALL_STREAM in one,
 * and may then post the next one without waiting; that one says so again, or the stream is over.
 * What the others do seldom makes up for it (K5):
 *   server: clear the listener's bit, look; if the last message taken said so: barrier, look again
 *           before the bit stays clear. Since it takes messages in order, it knows of the stream
 *           when a message that was not waited for can be there. So the client saw the clear bit and
 *           sets it, or the look behind the barrier sees the message.
 *   client: prepare its sleep for room, barrier, look at done. So the server, whose answer to such
 *           a message is a plain store of done, sees the sleeper, or the look sees it done.
 * Both sides take part in barriers, which the server says in the header, or there are no streams.
 *
 * Back-pressure. Woken for each slot that comes free, a client that is faster than its server would
 * send one message for each two system calls. So it sleeps for many first, for a time that is less
 * than anybody cares about, and for any only behind that: the server wakes it when so many messages
 * have ended since it slept, or nothing is posted any more. Since that sleep ends by itself, nothing
 * hangs on its being seen: it needs no order and no barrier.
 *
 * What a death leaves. Of a client, before the word of a cell: nothing; behind it: a message that
 * the server receives or drops, as its keeper decides. Of a server, before an answer: a caller whose
 * guard, the server's alive word, ends its wait; between the answer and its wakes: the same guard.
 */
#ifndef DCM_SHM_CHANNEL_H
#define DCM_SHM_CHANNEL_H

#include "shm/park.h"
#include "shm/segment.h"

enum {
	DCM_CHANNEL_CALLS = 256, /* cells, and call slots */
	DCM_CHANNEL_SMALL = 64,	 /* bytes of a small message's room, and how it is aligned */
	DCM_CHANNEL_SMALL_ROOMS =
		320, /* of each half: some to be written while all calls are out */
	DCM_CHANNEL_SMALL_BYTES = DCM_CHANNEL_SMALL_ROOMS * DCM_CHANNEL_SMALL,
	DCM_CHANNEL_FRONT = 6 * 4096, /* offset of the client's half */
	DCM_CHANNEL_COMMITTED =
		65536,		    /* at the start: front and small rooms; the arenas add theirs */
	DCM_CHANNEL_APART = 2 * 64, /* between what the sides write: neighbours come in pairs */
	DCM_CHANNEL_MUCH = 128,	    /* messages that end before a sleep for many does */
};

#define DCM_CHANNEL_BYTES_DEFAULT (64ull << 20)
#define DCM_CHANNEL_BYTES_MIN	  (1ull << 20)
#define DCM_CHANNEL_BYTES_MAX	  (1ull << 40)

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
#define DCM_CALL_ASYNC	 2u /* the client waits for any of several: bump its event count */
#define DCM_CALL_STREAM	 4u /* one way; the next one may be posted without a barrier */

/* Two to a line: of a stream, every second message brings its neighbour's. */
struct dcm_cell {
	dcm_atomic32 word;	 /* number of the message, stored last */
	dcm_atomic32 generation; /* of the call slot's use */
	dcm_atomic32 call;	 /* slot | flags << 16 */
	dcm_atomic32 status;
	dcm_atomic64 offset; /* in the client's half */
	dcm_atomic64 size;
};

struct dcm_reply {
	dcm_atomic32 word;
	dcm_atomic32 status;
	dcm_atomic64 offset; /* in the server's half */
	dcm_atomic64 size;
	dcm_atomic64 reserved;
};

struct dcm_channel_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t fingerprint;
	uint64_t bytes;
	uint64_t nonce;
	uint64_t half;	   /* bytes of each side's half */
	uint64_t barriers; /* 1: the server takes part in those of shm/barrier.h */
	alignas(DCM_PAGE) dcm_atomic32 client_gone;
	dcm_atomic64 client_committed; /* bytes of its arena, as it last said: for people */
	alignas(DCM_CHANNEL_APART) dcm_atomic32 server_gone; /* enum dcm_server_says */
	dcm_atomic64 server_committed;
	alignas(DCM_CHANNEL_APART)
		dcm_atomic32 room; /* event count: a call slot or room came free */
	dcm_atomic32 much;	   /* event count: many slots did, or all that will for now */
	alignas(DCM_CHANNEL_APART) dcm_atomic32 any; /* event count: an async call was answered */
	dcm_atomic32 bell; /* shm/bell.h: the same, and the server hung up */
	alignas(DCM_CHANNEL_APART) dcm_atomic32 done[DCM_CHANNEL_CALLS];
	alignas(DCM_CHANNEL_APART) dcm_atomic32 returned[DCM_CHANNEL_CALLS];
	alignas(DCM_PAGE) struct dcm_cell cells[DCM_CHANNEL_CALLS];
	alignas(DCM_PAGE) struct dcm_reply replies[DCM_CHANNEL_CALLS];
};

static_assert(sizeof(struct dcm_cell) == 32 && sizeof(struct dcm_reply) == 32, "channel layout 3");
static_assert(sizeof(struct dcm_channel_header) == DCM_CHANNEL_FRONT, "the halves follow");
static_assert(DCM_CHANNEL_FRONT + 2 * DCM_CHANNEL_SMALL_BYTES == DCM_CHANNEL_COMMITTED,
	      "and the arenas are all the rest");

/* A channel as this process sees it: sizes are private, checked once. */
struct dcm_channel {
	struct dcm_channel_header *shared;
	uint64_t bytes, half;
	unsigned char *requests, *replies; /* the halves */
	bool barriers;			   /* both sides take part in those of shm/barrier.h */
	/* Under the side's lock; private, and read without it by dcm_channel_more(). */
	dcm_atomic32 next;     /* message to post, or to take */
	dcm_atomic64 expected; /* server: where the next small request may be */
	bool streaming;	       /* the message before the next said DCM_CALL_STREAM */
	uint32_t ended;	       /* server: messages, since somebody sleeps for many */
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

/* A use of a call slot: index below DCM_CHANNEL_CALLS, generation of 28 bits and never 0. */
struct dcm_call {
	uint32_t index, generation;
};

/* dcm_channel_commit() - pages for all but the arenas. Return: 0 or negative errno */
int dcm_channel_commit(int fd, uint64_t bytes);

/* dcm_channel_format() - by the server, before the memory is handed over; @bytes: whole MiB */
void dcm_channel_format(void *base, uint64_t bytes, uint64_t nonce);

/*
 * dcm_channel_view() - check the header of mapped memory and keep what it says
 * Return: true, or false: not a channel of this layout, these bytes and this nonce.
 */
bool dcm_channel_view(struct dcm_channel *ch, void *base, uint64_t bytes, uint64_t nonce);

/* dcm_channel_arena() - of @half bytes of a half, those behind its small rooms */
static inline uint64_t dcm_channel_arena(uint64_t half)
{
	return half - DCM_CHANNEL_SMALL_BYTES;
}

/*
 * dcm_channel_own() - have the line at @p come to this processor, to be written soon
 * So that the lines of a message come at the same time, not each behind the stores to the last.
 */
static inline void dcm_channel_own(const void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

/* Client side. @call is a slot that the client's private books had as free, and its use. */

/* dcm_channel_will_post() - soon; the client's lock is held */
static inline void dcm_channel_will_post(struct dcm_channel *ch)
{
	uint32_t message = dcm_load(&ch->next, relaxed);

	dcm_channel_own(&ch->shared->cells[message % DCM_CHANNEL_CALLS]);
}

/* dcm_channel_post() - hand a request over; the client's lock is held */
void dcm_channel_post(struct dcm_channel *ch, struct dcm_call call,
		      const struct dcm_parcel *request);

/* dcm_channel_state() - POSTED, or what came of the call; with the word for a sleep in *@word */
enum dcm_call_state dcm_channel_state(struct dcm_channel *ch, struct dcm_call call, uint32_t *word);

/* dcm_channel_ended() - has a one-way message ended; now and then it says so to the server (K3) */
bool dcm_channel_ended(struct dcm_channel *ch, struct dcm_call call);

/*
 * dcm_channel_wait() - mark the slot as slept on, having seen *@word, POSTED, in it
 * Return: true with *@word to sleep on; false: the word changed, look again.
 */
bool dcm_channel_wait(struct dcm_channel *ch, struct dcm_call call, uint32_t *word);

/* dcm_channel_abandon() - give the call up; false: too late, it is answered */
bool dcm_channel_abandon(struct dcm_channel *ch, struct dcm_call call);

/* dcm_channel_reply() - the reply of an ANSWERED call; false: what the server wrote is not valid */
bool dcm_channel_reply(struct dcm_channel *ch, struct dcm_call call, struct dcm_parcel *reply);

/* dcm_channel_return() - the client has done with the reply: its room is the server's */
void dcm_channel_return(struct dcm_channel *ch, struct dcm_call call);

/* Server side. */

enum { DCM_CHANNEL_TAKEN = 0, DCM_CHANNEL_EMPTY = 1 };

/*
 * dcm_channel_take() - the next posted call that nobody gave up; the server's lock is held
 * Return: DCM_CHANNEL_TAKEN with *@call and *@request checked against the sizes;
 * DCM_CHANNEL_EMPTY; -EBADMSG: the client wrote what cannot be (the call is failed, look on).
 */
int dcm_channel_take(struct dcm_channel *ch, struct dcm_call *call, struct dcm_parcel *request);

/* dcm_channel_more() - is there another posted call; without the lock: probably */
bool dcm_channel_more(struct dcm_channel *ch);

/*
 * dcm_channel_settle() - by the server, when it has offered it: touch what a first call needs
 * A committed page is cleared when it is first touched, and before that a fault beside it does not
 * map it. Done while the client gets the memory, it costs neither of them a fault in the call.
 */
void dcm_channel_settle(const struct dcm_channel *ch);

/* dcm_channel_will_answer() - soon, with a reply */
static inline void dcm_channel_will_answer(struct dcm_channel *ch, struct dcm_call call)
{
	dcm_channel_own(&ch->shared->replies[call.index]);
}

/*
 * dcm_channel_answer() - end a call, once; null @reply: FAILED (or, one way, done with)
 * Return: true: the client was still waiting; false: it had given up, the reply is not delivered.
 */
bool dcm_channel_answer(struct dcm_channel *ch, struct dcm_call call, uint32_t flags,
			const struct dcm_parcel *reply);

/* dcm_channel_returned() - has the client given back the reply of that call */
bool dcm_channel_returned(struct dcm_channel *ch, struct dcm_call call);

/*
 * dcm_channel_hang_up() - the server takes no more calls: whoever waits for one, now and later, fails
 * @why: DCM_SERVER_GONE or DCM_SERVER_REVOKED. Once for a channel.
 */
void dcm_channel_hang_up(struct dcm_channel *ch, enum dcm_server_says why);
/* dcm_channel_hung_up() - by the client, after it marked the slot and before it sleeps */
bool dcm_channel_hung_up(struct dcm_channel *ch);
/* dcm_channel_revoked() - by the client: has it hung up for that reason? Also true after its death. */
static inline bool dcm_channel_revoked(const struct dcm_channel *ch)
{
	return dcm_load(&ch->shared->server_gone, acquire) == DCM_SERVER_REVOKED;
}

#endif
