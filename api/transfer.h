/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer - a channel's memory from the server's process to the client's
 *
 * pidfd_getfd where the kernel lets the client take it, else a Unix socket that the client listens
 * on and the server's keeper or accepting thread sends to; neither side's thread waits for the
 * other's. What comes is verified before it is mapped, whichever way it came.
 */
#ifndef DCM_API_TRANSFER_H
#define DCM_API_TRANSFER_H

#include "api/attach.h"
#include "shm/rendezvous.h"

/* Client side. */

/* dcm_transfer_listen() - a socket for one hand-over; *@name is what the server connects to
 * Return: descriptor, or negative errno. */
int dcm_transfer_listen(uint64_t *name);

/*
 * dcm_transfer_fetch() - the descriptor that an offer speaks of, by pidfd_getfd
 * Return: descriptor (verified); -EPERM (or other) the kernel does not let us: ask for the socket;
 * -ESRCH the server is gone; -EBADMSG what came is not what was offered.
 */
int dcm_transfer_fetch(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
		       const struct dcm_offer *offer);

/*
 * dcm_transfer_receive() - the same, from the socket
 * Return: as dcm_transfer_fetch(), and -EAGAIN: nothing has come yet.
 */
int dcm_transfer_receive(const struct dcm_segment *seg, int listener, struct dcm_ref server,
			 const struct dcm_offer *offer);

/* Server side. */

/*
 * dcm_transfer_send() - @fd to the client's socket @name
 * Return: 0; negative errno: it was not sent (the client is not there, or not who it says).
 */
int dcm_transfer_send(const struct dcm_segment *seg, struct dcm_ref client, uint64_t name, int fd,
		      uint64_t nonce);

#endif
