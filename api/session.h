/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * session - the calling end: loans, calls in one step and in two, one-way messages
 *
 * Call slots are given out from private books (api/books.h); what the server has finished without
 * the client waiting for it (one way, given up) is collected when a slot or room is wanted.
 */
#ifndef DCM_API_SESSION_H
#define DCM_API_SESSION_H

#include "api/books.h"
#include "api/end.h"
#include "api/object.h"
#include "api/peer.h"
#include "api/source.h"
#include "api/wait.h"
#include "shm/listener.h"
#include "shm/rendezvous.h"

struct dcm_client_end {
	struct dcm_end end;
	struct dcm_blocker blocker;
	struct dcm_source source; /* of all handles on it */
	uint32_t listener; /* slot that calls are signalled to */
	struct dcm_listener_sight listens; /* it */
	uint32_t transfer; /* how the memory came */
	struct dcm_peer peer; /* the server */
	struct dcm_books books; /* under end.lock */
	uint32_t let_go_seen, let_go_collected; /* the keeper's: of books.let_go */
	uint64_t loaned; /* bytes since what is back was last looked for; under end.lock */
	dcm_atomic32 told_nobody; /* one-way messages in a row that nobody had to be told of */
	dcm_atomic32 streamed;	  /* 1: some were a stream, shm/channel.h */
};

/* Behind DCM_KIND_SESSION: of any number of handles, the channel ends with the last. */
struct dcm_session {
	struct dcm_kernel_object kernel;
	struct dcm_client_end *client; /* held */
};

extern const struct dcm_object_type dcm_session_type;

/*
 * dcm_session_new() - a callable handle on the memory behind @fd, which is consumed
 * The connection is still ACCEPTED; the caller opens it when this worked.
 * Return: rcOk with *@client (held for the caller) and *@out; rcNotConnected the memory is not what
 * was offered; rcOutOfMemory, rcQuotaExceeded.
 */
Retcode dcm_session_new(struct dcm_fabric *fabric, struct dcm_ref connection, struct dcm_ref server,
			const struct dcm_offer *offer, int fd, uint32_t transfer,
			const struct dcm_peer *peer, Handle *out);

/* dcm_client_end_hang_up() - no more calls; those blocked end; the channel ends, for the server too */
void dcm_client_end_hang_up(struct dcm_client_end *client);

/* dcm_client_end_give_back() - in a read section, of a client's end: a reply released */
Retcode dcm_client_end_give_back(struct dcm_end *end, const DcmMessage *message);

/*
 * dcm_session_collect() - take back what the server is done with and nobody waits for
 * Return: true when that is all there was to take back, now or later.
 */
bool dcm_session_collect(struct dcm_client_end *client);

#endif
