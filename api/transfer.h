/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer - a channel's memory from the server's process to the client's
 *
 * Three ways: pidfd_getfd, where the kernel lets the client take the descriptor; opening the file
 * behind it through /proc; and a Unix socket that the client listens on and the server's keeper or
 * accepting thread sends to. Neither side's thread waits for the other's. What comes is verified
 * before it is mapped, whichever way it came. Which way is tried when is api/ladder.c's business.
 *
 * The server answers to each socket once: with the channel, or with why it could not send it
 * (struct dcm_offer.sent). A client that wants another try makes another socket.
 */
#ifndef DCM_API_TRANSFER_H
#define DCM_API_TRANSFER_H

#include <errno.h>

#include "api/attach.h"
#include "shm/rendezvous.h"

/* Who is at the other end of a socket, on the kernel's word. */
struct dcm_credentials {
	bool verified; /* false: nobody knows, and the rest means nothing */
	int32_t pid;   /* 0: not of a PID namespace that can be seen from here */
	uint32_t uid, gid;
};

/* Among the results below: the other end of the socket is not the process that it should be. */
#define DCM_TRANSFER_STRANGER (-EKEYREJECTED)

/* Client side. */

/* dcm_transfer_listen() - a socket for one hand-over; *@name is what the server connects to
 * Return: descriptor, or negative errno. */
int dcm_transfer_listen(uint64_t *name);

/* A process that will have to be reached: its pidfd, from when there is nothing better to do. */
struct dcm_ahead {
	struct dcm_ref process; /* generation 0: none */
	int pidfd;		/* or negative errno */
};

/* dcm_transfer_ahead() - have @process's in *@ahead, zeroed before; dcm_transfer_behind(): close it */
void dcm_transfer_ahead(const struct dcm_segment *seg, uint32_t self, struct dcm_ref process,
			struct dcm_ahead *ahead);
void dcm_transfer_behind(struct dcm_ahead *ahead);

/*
 * dcm_transfer_getfd() - the descriptor that an offer speaks of, by pidfd_getfd
 * dcm_transfer_procfs() - its file, opened anew through /proc/PID/fd; needs no pidfd
 * Return: descriptor (verified); -ESRCH the server is gone; -EBADMSG what it offered is not there,
 * or not a channel's memory; -EXDEV its process number means nothing here (another PID namespace);
 * -EMFILE; or what else the kernel said: another way may do.
 */
int dcm_transfer_getfd(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
		       const struct dcm_offer *offer, struct dcm_ahead *ahead);
int dcm_transfer_procfs(const struct dcm_segment *seg, uint32_t self, struct dcm_ref server,
			const struct dcm_offer *offer);

/*
 * dcm_transfer_receive() - the same, from the socket; *@who is then who sent it
 * @caller: the server's connection that had nothing to say yet, or -1; in and out, the caller's
 * Return: as the others; -EAGAIN: nothing has come yet; -EBUSY: strangers call faster than they
 * can be sent away, it is time for another socket.
 */
int dcm_transfer_receive(const struct dcm_segment *seg, uint32_t self, int listener, int *caller,
			 struct dcm_ref server, const struct dcm_offer *offer,
			 struct dcm_credentials *who);

/* Server side. */

/*
 * dcm_transfer_send() - @fd to the client's socket @name
 * @who: when verified already, it must be that one; it is then who was sent to
 * Return: 0; negative errno: it was not sent (DCM_TRANSFER_STRANGER: that socket is another's).
 */
int dcm_transfer_send(const struct dcm_segment *seg, uint32_t self, struct dcm_ref client,
		      uint64_t name, int fd, uint64_t nonce, struct dcm_credentials *who);

/* dcm_transfer_probe() - who listens on the client's socket; nothing is sent. Return: as above. */
int dcm_transfer_probe(const struct dcm_segment *seg, uint32_t self, struct dcm_ref client,
		       uint64_t name, struct dcm_credentials *who);

/*
 * dcm_transfer_answer() - what is to be said of the result of sending to the socket @name
 * dcm_transfer_answered() - what was said of it: 1 nothing, 0 sent, negative errno
 * An answer about another socket, or of another use of the slot, says nothing.
 */
uint32_t dcm_transfer_answer(uint64_t nonce, uint64_t name, int result);
int dcm_transfer_answered(uint32_t answer, uint64_t nonce, uint64_t name);

/* Parts: what the ways share. */

/* dcm_transfer_verified() - @fd, if it is the sealed memfd of the offer; else it is closed */
int dcm_transfer_verified(int fd, const struct dcm_offer *offer);

/* dcm_transfer_comparable() - do the numbers of two processes mean the same */
bool dcm_transfer_comparable(const struct dcm_segment *seg, uint32_t a, uint32_t b);

#endif
