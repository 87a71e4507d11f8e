/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * end - one end of a channel in this process: the mapping, and the room for what it sends
 *
 * An end has a number of its own space, which the messages that come from it carry, so that a
 * message can be released after the session or listener is closed or the peer is dead. The number
 * and the mapping go when the end has ended and nothing that was handed out is still out.
 */
#ifndef DCM_API_END_H
#define DCM_API_END_H

#include <dcm/channel.h>

#include "api/attach.h"
#include "api/bits.h"
#include "api/handle.h"
#include "api/hot.h"
#include "api/lock.h"
#include "shm/arena.h"
#include "shm/channel.h"
#include "shm/process.h"

/* What a message is, to the end that handed it out. */
enum dcm_message_kind {
	DCM_MESSAGE_LOAN = 1,	/* client: not sent yet */
	DCM_MESSAGE_REPLY,	/* client: received */
	DCM_MESSAGE_REQUEST,	/* server: received */
	DCM_MESSAGE_REPLY_LOAN, /* server: not sent yet */
};

struct dcm_end {
	struct dcm_object object;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref connection;
	struct dcm_ref peer;		/* process, set before dcm_end_init() */
	struct dcm_process_sight sight; /* of it */
	struct dcm_channel channel;
	unsigned char *half;	 /* the one this end sends from */
	struct dcm_arena *arena; /* of that half, behind its small rooms; under lock */
	uint32_t *stamps;	 /* under lock: of the loan that begins at each unit; 0: none */
	struct dcm_bits small; /* under lock: which small rooms are free */
	uint32_t small_stamps[DCM_CHANNEL_SMALL_ROOMS]; /* as stamps */
	uint32_t last_stamp;				/* under lock */
	struct dcm_lock lock;
	uint64_t largest;     /* loan that can ever be had */
	uint64_t committed;   /* of that half, as the other side was told; under lock */
	_Atomic bool watched; /* changed under lock: the keeper looks at the arena each second */
	uint32_t out;	      /* messages handed out; under lock */
	bool ended;	      /* under lock */
};

/*
 * dcm_end_init() - @end begins on a mapped channel; takes the mapping over, also on failure
 * Return: 0, -EBADMSG not a channel of @nonce, -ENOMEM, -ENOSPC no number.
 */
int dcm_end_init(struct dcm_end *end, struct dcm_fabric *fabric, void *base, uint64_t bytes,
		 uint64_t nonce, bool client);

/* dcm_end_release() - for object types: unmap, let go of the fabric; also of a half-made end */
void dcm_end_release(struct dcm_object *object);
/* dcm_end_forget() - the same in a forked child */
void dcm_end_forget(struct dcm_object *object);

/* dcm_end_pins() - for object types: is a message out? Else it goes with its session or listener. */
bool dcm_end_pins(struct dcm_object *object);

/* dcm_end_over() - no more messages come from it; its number goes when the last is back */
void dcm_end_over(struct dcm_end *end);

/*
 * dcm_end_reclaim() - for object types: what who finds the end in a read section of the table may
 * still look at. That is its lock and, under that, dcm_end_there().
 */
void dcm_end_reclaim(struct dcm_object *object);

/* dcm_end_there() - under the lock: is it there still, with its mapping, and as long as the lock is
   held or a message is out. Else its number is gone, or going. */
static inline bool dcm_end_there(const struct dcm_end *end)
{
	return DCM_ORDER(gone_end_is_left_alone, !end->ended || end->out != 0, true);
}

/* dcm_end_calls() - is it a client's end */
static inline bool dcm_end_calls(const struct dcm_end *end)
{
	return end->half == end->channel.requests;
}

/*
 * dcm_end_out() - a message is handed out; under the lock
 * Return: true, or false: the end is over and its number gone, nothing may go out.
 */
bool dcm_end_out(struct dcm_end *end);
/*
 * dcm_end_back() - @count messages are back; under the lock
 * Return: true: these were the last, the caller calls dcm_end_gone() when it has left the lock.
 */
bool dcm_end_back(struct dcm_end *end, uint32_t count);
/* dcm_end_gone() - the number goes, and with it the table's count */
DCM_SELDOM void dcm_end_gone(struct dcm_end *end);

/*
 * dcm_end_take_room() - room as a message of @kind, of call @call; under the lock, of an end that is
 * there
 * What is small has the small room number @call, or another small one, or one of the arena.
 * Return: 0 with *@message filled and counted as out; as dcm_arena_take().
 */
int dcm_end_take_room(struct dcm_end *end, size_t size, enum dcm_message_kind kind, uint32_t call,
		      DcmMessage *message);

/* dcm_end_room() - bytes of the taken room at @offset; under the lock; 0: none starts there */
uint64_t dcm_end_room(const struct dcm_end *end, uint64_t offset);

/* dcm_end_put_room() - the room at @offset is free again; under the lock; false: no such */
bool dcm_end_put_room(struct dcm_end *end, uint64_t offset);

/*
 * dcm_end_look() - the keeper, once a second: pages that lie idle beyond what is kept go back
 * @on_way: the peer has messages whose room nobody but the keeper may ever take back
 * Under no lock; an end with few pages is passed by.
 */
void dcm_end_look(struct dcm_end *end, bool on_way);

/* A message's marks: which end, what it is, which call, where. */
void dcm_message_mark(DcmMessage *message, const struct dcm_end *end, enum dcm_message_kind kind,
		      uint32_t call, uint32_t generation, uint64_t offset);
enum dcm_message_kind dcm_message_kind(const DcmMessage *message);
uint32_t dcm_message_call(const DcmMessage *message);
uint32_t dcm_message_generation(const DcmMessage *message);
uint64_t dcm_message_offset(const DcmMessage *message);

/*
 * dcm_message_claim() - take an unsent message of @end, of @kind, from the program; under the lock
 * Of any number of copies of it, and threads, one gets it. It stays counted as out, so the end stays.
 * Return: false: it is not one, or was claimed before, or is larger than its room.
 */
bool dcm_message_claim(struct dcm_end *end, const DcmMessage *message, enum dcm_message_kind kind);
/* dcm_message_refuse() - which of that, of what was not claimed: rcInvalidArgument, with the detail */
DCM_SELDOM Retcode dcm_message_refuse(struct dcm_end *end, const DcmMessage *message,
				      enum dcm_message_kind kind);
/* dcm_message_unclaim() - it is the program's again; under the lock */
void dcm_message_unclaim(struct dcm_end *end, const DcmMessage *message);

/* dcm_message_drop() - a claimed message is not sent: its room is free, and it is back; not under
   the lock, which it enters */
void dcm_message_drop(struct dcm_end *end, const DcmMessage *message);

/* dcm_message_end() - the end that a message came from, in a read section of the table; null: it is
   not one of ours, or gone */
struct dcm_end *dcm_message_end(const DcmMessage *message);

/* dcm_message_consumed() - the caller has it no more */
void dcm_message_consumed(DcmMessage *message);

#endif
