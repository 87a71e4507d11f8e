/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * peer - who is on the other side of a request, a connection or a session
 *
 * A participant's claims are in its slot of the process table, which every participant can write.
 * What the kernel knows comes with a hand-over by socket (api/transfer.h), or before it, from the
 * socket that the client listens on.
 */
#ifndef DCM_API_PEER_H
#define DCM_API_PEER_H

#include "api/handle.h"
#include "api/transfer.h"

struct dcm_peer {
	struct dcm_credentials who; /* not verified: the rest is what the participant claims */
	char name[DCM_NAME_SIZE];
};

/*
 * dcm_peer_ask() - what process @ref says of itself
 * Return: true, or false with *@out empty: it is not there any more.
 */
bool dcm_peer_ask(const struct dcm_segment *seg, struct dcm_ref ref, struct dcm_peer *out);

/* dcm_peer_vouch() - replace the claims by @who, if that is verified */
void dcm_peer_vouch(struct dcm_peer *peer, const struct dcm_credentials *who);

/*
 * The other side of each kind of handle, by the file that has the kind.
 * Return: rcOk; rcNotConnected with the detail set: nobody is there yet, or any more.
 */
Retcode dcm_request_peer(struct dcm_object *request, struct dcm_peer *out);
Retcode dcm_connection_peer(struct dcm_object *connection, struct dcm_peer *out);
Retcode dcm_session_peer(struct dcm_object *session, struct dcm_peer *out);

#endif
