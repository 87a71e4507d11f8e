/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rendezvous - a connection from asked to open to ended, one slot, one owner at a time
 *
 *                     client owns                    server owns
 *   FREE -> CLAIMED -> POSTED ----------- take ----> TAKEN
 *                        |                             | accept
 *                        | withdraw                    v
 *   FREE <-- REFUSED <---+---- refuse ------------- ACCEPTED
 *   FREE <-- HUNGUP <-- OPEN <------ open -------------+
 *                        |                             | (client left before)
 *                        +------- client leaves ---> ENDED -> FREE
 *
 * Whoever owns the slot must act next; a party that leaves passes the slot to the other, or frees
 * it when it is the last. A reaper takes these steps for the dead.
 *
 * A request in POSTED has a target word: parked (with the request's own generation), or the
 * endpoint it was sent to. One compare-and-swap sends it, by its client or by a publisher:
 *
 * Edges: C1 client: store POSTED, then look for endpoints; publisher: store LIVE, then look for
 *           parked requests (Dekker, all seq): one of them finds the other.
 *        C2 sender: swap the target, then look whether the endpoint is still live; unpublisher:
 *           step to REAP, then look for targets (Dekker, all seq): no request waits for the gone.
 */
#ifndef DCM_SHM_RENDEZVOUS_H
#define DCM_SHM_RENDEZVOUS_H

#include "shm/registry.h"

enum dcm_connection_state {
	DCM_CONNECTION_POSTED = 2,
	DCM_CONNECTION_TAKEN,
	DCM_CONNECTION_ACCEPTED,
	DCM_CONNECTION_OPEN,
	DCM_CONNECTION_REFUSED,
	DCM_CONNECTION_ENDED,
	DCM_CONNECTION_HUNGUP,
};

struct dcm_request_key {
	const char *type, *name; /* 1 to 255 bytes */
	uint64_t type_hash, name_hash;
	uint64_t client_sid;
	uint64_t server_sid; /* 0: any */
	struct dcm_gift gift; /* of the client */
	uint32_t transfer;   /* DCM_TRANSFER_... */
	uint64_t socket;     /* abstract name; 0: none */
};

/* What a listener learns of a request it took. */
struct dcm_request_view {
	struct dcm_ref client; /* process */
	uint64_t client_sid;
	struct dcm_gift gift;
	char client_name[256];
};

/* What a client needs to fetch the memory of an accepted connection. */
struct dcm_offer {
	uint32_t server; /* process */
	uint32_t listener;
	uint32_t fd;
	uint32_t sent; /* what came of sending it to the client's socket; 0: nothing yet */
	uint64_t device, inode, bytes, nonce;
};

/*
 * dcm_rendezvous_ask() - post a request; to a matching endpoint if there is one, else parked
 * Return: true with *@out set, or false: the table is full.
 */
bool dcm_rendezvous_ask(const struct dcm_segment *seg, uint32_t self,
			const struct dcm_request_key *key, struct dcm_ref *out);

/* dcm_rendezvous_serve() - by the publisher of @endpoint, once live: fetch what is parked for it */
void dcm_rendezvous_serve(const struct dcm_segment *seg, struct dcm_ref endpoint);

/* dcm_rendezvous_refuse_all() - by the owner of @endpoint in REAP: nobody waits for it any more */
void dcm_rendezvous_refuse_all(const struct dcm_segment *seg, struct dcm_ref endpoint);

/*
 * dcm_rendezvous_take() - the oldest request for @endpoint whose client is not known dead
 * Return: true with *@out and *@view set; each request goes to exactly one taker.
 */
bool dcm_rendezvous_take(const struct dcm_segment *seg, uint32_t self, struct dcm_ref endpoint,
			 struct dcm_ref *out, struct dcm_request_view *view);

/* dcm_rendezvous_take_any() - the oldest for any of @count endpoints; *@which: for that one */
bool dcm_rendezvous_take_any(const struct dcm_segment *seg, uint32_t self,
			     const struct dcm_ref *endpoints, size_t count, size_t *which,
			     struct dcm_ref *out, struct dcm_request_view *view);

/*
 * dcm_rendezvous_waiting() - is there something for dcm_rendezvous_take() to take
 * @newest: set to the ticket of the youngest such request; each has its own
 */
bool dcm_rendezvous_waiting(const struct dcm_segment *seg, struct dcm_ref endpoint,
			    uint64_t *newest);

/* dcm_rendezvous_accept() - TAKEN -> ACCEPTED; false: the client has left */
bool dcm_rendezvous_accept(const struct dcm_segment *seg, uint32_t self, struct dcm_ref connection,
			   const struct dcm_offer *offer);

/*
 * dcm_rendezvous_open() - ACCEPTED -> OPEN by the client, with the memory mapped; false: refused
 * The server is not told: it finds it by a call that comes, or when it looks around.
 */
bool dcm_rendezvous_open(const struct dcm_segment *seg, uint32_t self, struct dcm_ref connection,
			 uint32_t server, uint32_t transfer);

/* dcm_rendezvous_offer() - a copy of the offer; false: not ACCEPTED now */
bool dcm_rendezvous_offer(const struct dcm_segment *seg, struct dcm_ref connection,
			  struct dcm_offer *offer);

/* What became of a connection, and whose death would end the wait. */
struct dcm_connection_look {
	uint32_t state;	 /* DCM_FREE when the slot is of another use */
	uint32_t server; /* process index; UINT32_MAX: none yet (parked) */
	bool unseen;	 /* REFUSED, and nobody had taken it: its endpoint ended */
	bool declined;	 /* REFUSED by its server, whatever became of that since */
};
struct dcm_connection_look dcm_rendezvous_look(const struct dcm_segment *seg,
					       struct dcm_ref connection);

/* The client leaves, whatever the state: after it the slot is not the client's. */
void dcm_rendezvous_client_leaves(const struct dcm_segment *seg, uint32_t self,
				  struct dcm_ref connection);
/* The server leaves, whatever the state (TAKEN or ACCEPTED: the client is refused). */
void dcm_rendezvous_server_leaves(const struct dcm_segment *seg, uint32_t self,
				  struct dcm_ref connection);

/* dcm_rendezvous_tell_client() - something of slot @index is new to its client */
void dcm_rendezvous_tell_client(const struct dcm_segment *seg, uint32_t index);

/*
 * dcm_rendezvous_tell_server() - something of slot @index is new to its server: a mark, and a kick
 * What a death between the two leaves, the server's keeper finds when it next looks around.
 */
void dcm_rendezvous_tell_server(const struct dcm_segment *seg, uint32_t index, uint32_t server);

/* dcm_rendezvous_marked() - by the keeper of @self: take the next mark, as dcm_index_next() */
bool dcm_rendezvous_marked(const struct dcm_segment *seg, uint32_t self, uint32_t *cursor,
			   uint32_t *index);

/*
 * dcm_rendezvous_notice() - level 1: the process at @dead is dead by its alive word; tell the other
 * party of the connection at @index, if that is not asleep with a guard. Takes nothing over.
 */
void dcm_rendezvous_notice(const struct dcm_segment *seg, uint32_t index, uint32_t dead);

/* dcm_rendezvous_reap() - the steps that @dead, proved dead, leaves undone at slot @index */
void dcm_rendezvous_reap(const struct dcm_segment *seg, uint32_t index, struct dcm_ref dead,
			 uint32_t by);

#endif
