/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server - the serving end: listeners, accepted channels, receiving and replying
 */
#ifndef DCM_API_SERVER_H
#define DCM_API_SERVER_H

#include "api/badge.h"
#include "api/end.h"
#include "api/hot.h"
#include "api/identity.h"
#include "api/source.h"
#include "api/transfer.h"
#include "api/wait.h"

struct dcm_server_end;

/* Behind DCM_KIND_LISTENER. */
struct dcm_listener_object {
	struct dcm_kernel_object kernel;
	struct dcm_blocker blocker;
	struct dcm_source source;
	pthread_mutex_t lock;
	bool closed;
	/* From the first accept on: */
	dcm_atomic32 bound;	   /* 1: the rest is set; DcmReceive sleeps here before */
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref ref;
	dcm_atomic64 *ends;  /* number of the channel end at each connection slot; 0: none */
	dcm_atomic32 reach;  /* no channel of it has a connection slot of this or a higher index */
	dcm_atomic32 cursor; /* where the next look for a ready channel begins */
	/* The channel that calls come from, one after the other: 1 + its connection slot; 0: none. Its
	   ready bit stays set, so its client need not set it, and it is looked at all the same. All
	   of it are guesses of any thread's: */
	dcm_atomic32 hot;
	dcm_atomic32 last;	   /* as hot: where the last call came from */
	dcm_atomic32 hot_in_a_row; /* calls from the hot one, since the others were looked at */
	/* After an accept, a first call comes when its client has mapped the channel: one wait looks
	   longer for it, as it was of use before. */
	dcm_atomic32 expects; /* 1: that one is to come */
	struct dcm_spin first;
};

extern const struct dcm_object_type dcm_listener_type;

/*
 * dcm_server_accept() - make the channel of a taken request and offer it to the client
 * @callable: DCM_KIND_CALLABLE; @connection is in TAKEN and this process owns it
 * @badge:    of the transfer; null: none
 * @who:      when verified already, the channel goes to nobody else; it is then who it went to, if
 *            that was by socket
 * Return: rcOk; rcInvalidArgument the callable handle was closed or revoked meanwhile;
 * rcNotConnected the client or the listener is gone; rcSecurityDisallow the kernel
 * says that the client is another; rcOutOfMemory, rcQuotaExceeded.
 */
Retcode dcm_server_accept(struct dcm_fabric *fabric, struct dcm_identity *callable,
			  struct dcm_badge *badge, struct dcm_ref connection, struct dcm_ref client,
			  struct dcm_credentials *who);

/* Parts: accept.c, receive.c, reply.c, and what they share. */
struct dcm_call_book {
	bool handed;	     /* to a thread of the program */
	bool replied;	     /* a reply's room is still with the client */
	uint32_t generation; /* of the call handed out, or of the reply */
	uint32_t flags;
	uint64_t reply_offset;
};

struct dcm_server_end {
	struct dcm_end end;
	struct dcm_node node;		      /* it stands for the session that its client holds */
	struct dcm_badge *badge;	      /* held; null: none */
	struct dcm_listener_object *listener; /* held */
	void *context;
	uint32_t riid;
	struct dcm_credentials client; /* by the accepting thread, then by the keeper */
	/* Still to be taken by the client; negative: done. While it is there it counts as a blocked call:
	   the keeper looks around. */
	_Atomic int fd;
	uint64_t device, inode;	  /* of it */
	dcm_atomic32 offered;	  /* 1: the accept is complete, and the keeper tends it */
	dcm_atomic32 passed_over; /* 1: the keeper came before that */
	/* The client has left; so many looks for what it sent before remain, and one. Begun by the keeper,
	   counted by receivers under end.lock. */
	dcm_atomic32 draining;
	bool cut; /* under end.lock: nothing more is handed out */
	struct dcm_call_book call[DCM_CHANNEL_CALLS]; /* under end.lock */
	_Atomic uint32_t replies;	     /* given to the client, ever; read without the lock */
	uint32_t replies_seen, replies_back; /* the keeper's, of these */
};

/*
 * dcm_server_end_hang_up() - no more calls; callers are told; the slot is let go of
 * What its badge hears of that, if it is the last, it hears behind all of it.
 */
void dcm_server_end_hang_up(struct dcm_server_end *server, enum dcm_server_says why);

/* dcm_server_end_revoke() - of its node: the session is revoked. It has left the tree. */
void dcm_server_end_revoke(struct dcm_object *object);

/* dcm_server_end_handed_over() - its client has the memory, or never will: the descriptor is closed */
DCM_SELDOM void dcm_server_end_handed_over(struct dcm_server_end *server);

/* dcm_server_end_offers() - does its client still have to take the descriptor */
static inline bool dcm_server_end_offers(const struct dcm_server_end *server)
{
	return atomic_load_explicit(&server->fd, memory_order_relaxed) >= 0;
}

/* dcm_server_end_tend() - by the keeper: what became of a channel that was offered */
void dcm_server_end_tend(struct dcm_server_end *server);

/* dcm_server_take_back_reply() - under the lock: a reply's room is ours again once the client has
   collected it, or used the call anew */
void dcm_server_take_back_reply(struct dcm_server_end *server, uint32_t call);

/* dcm_server_reclaim() - take back the room of replies that the client has collected
   Return: it has collected all. */
bool dcm_server_reclaim(struct dcm_server_end *server);

/* dcm_server_each_second() - the keeper: that, if no reply was given for a second or they hold more
   than is kept; and a look at the arena */
void dcm_server_each_second(struct dcm_server_end *server);

/* dcm_server_give_back() - in a read section, of a server's end: a request released unanswered */
Retcode dcm_server_give_back(struct dcm_end *end, const DcmMessage *message);
/* dcm_server_give_back_one() - under the lock: the same; *@gone: the caller calls dcm_end_gone() when it
   has left the lock. False: it is not one that is out. */
bool dcm_server_give_back_one(struct dcm_end *end, const DcmMessage *message, bool *gone);

#endif
