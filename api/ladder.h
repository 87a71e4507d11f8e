/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ladder - a client gets its channel's memory by the first way that the kernel permits
 *
 * pidfd_getfd, then /proc, then the socket; or the one way that DCM_TRANSFER names. A fabric that
 * several users share knows the socket only, which tells each side who the other is.
 *
 *	struct dcm_ladder ladder = { .socket = -1, .caller = -1 };
 *	dcm_ladder_begin(&ladder, fabric);             ... ask the server, with ladder.socket_name
 *	fd = dcm_ladder_fetch(&ladder, ...);           ... again each time that the slot's word moves
 *	dcm_ladder_end(&ladder);
 *
 * Not for two threads at once.
 */
#ifndef DCM_API_LADDER_H
#define DCM_API_LADDER_H

#include "api/transfer.h"

struct dcm_ladder {
	int socket;		    /* listening for the memory; -1: not */
	int caller;		    /* to it: the server, which has not spoken yet; negative: nobody */
	uint64_t socket_name;	    /* 0: none */
	unsigned lost;		    /* sockets that the server answered and that held nothing */
	uint32_t transfer;	    /* how it came */
	struct dcm_credentials who; /* sent it; not verified where it was fetched */
	/* Why each way did not do, as a negative errno; 0: not tried. */
	int why_not[DCM_TRANSFER_SOCKET + 1];
	bool server_says; /* that the socket did not do */
};

/* dcm_ladder_begin() - before the request: with a socket, where no other way is allowed
 * Return: 0 or negative errno. */
int dcm_ladder_begin(struct dcm_ladder *ladder, const struct dcm_fabric *fabric);

/* dcm_ladder_ahead() - while @server decides: what dcm_ladder_fetch() may need of it */
void dcm_ladder_ahead(const struct dcm_ladder *ladder, const struct dcm_fabric *fabric,
		      struct dcm_ref server, struct dcm_ahead *ahead);

/*
 * dcm_ladder_fetch() - the descriptor of the accepted @connection
 * @ahead: of the caller's, zeroed or from dcm_ladder_ahead()
 * Return: descriptor (verified), with @ladder's transfer and who set; -EAGAIN it is on its way, and
 * the connection's event count tells of it; another negative errno: for dcm_ladder_failed().
 */
int dcm_ladder_fetch(struct dcm_ladder *ladder, const struct dcm_fabric *fabric,
		     struct dcm_ref connection, struct dcm_ref server,
		     const struct dcm_offer *offer, struct dcm_ahead *ahead);

/* dcm_ladder_may_fetch() - of an accepted connection: would it be anything but -EAGAIN now */
bool dcm_ladder_may_fetch(const struct dcm_ladder *ladder, const struct dcm_offer *offer);

/* dcm_ladder_failed() - the code for it, with the ways that were tried in the detail */
Retcode dcm_ladder_failed(const struct dcm_ladder *ladder, int result);

/* dcm_ladder_end() - closes the socket, if there is one; to begin again */
void dcm_ladder_end(struct dcm_ladder *ladder);

#endif
