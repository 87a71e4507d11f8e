/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spare - the memory of channels, made when one is accepted, or shortly before
 *
 * To make it takes longer than all else that a server does for a connection. So whoever finds no
 * request after one was accepted makes the memory of the next, one for the process, before it goes to
 * sleep. It is new, and no client's before it is offered: what was a channel once never comes back.
 * What nobody has asked for within a second or two goes again: a server that is only there has none.
 */
#ifndef DCM_API_SPARE_H
#define DCM_API_SPARE_H

#include <stdbool.h>
#include <stdint.h>

/* A sealed, formatted memfd, mapped here and not in a child. */
struct dcm_memory {
	int fd;
	void *base;
	uint64_t bytes, nonce;
	uint64_t device, inode; /* of the descriptor */
};

/*
 * dcm_spare_close() - close the descriptor, if it is still what it was
 * A program that closes all descriptors it does not know, as a child may that has not called the
 * library yet, may have given its number to another file. No point of cancellation.
 */
void dcm_spare_close(int fd, uint64_t device, uint64_t inode);

/*
 * dcm_spare_take() - memory for a channel of @bytes; the caller's to close and to unmap
 * Return: 0; -EFBIG more than this process may write into a file; negative errno.
 */
int dcm_spare_take(uint64_t bytes, struct dcm_memory *out);

/* dcm_spare_prepare() - make what the next dcm_spare_take() takes, if there was one since the last */
void dcm_spare_prepare(uint64_t bytes);

/* dcm_spare_tend() - by the keeper, once a second: it goes when nobody asks for it */
void dcm_spare_tend(void);

/* dcm_spare_drop() - by who leaves the fabric: nobody takes or prepares any more */
void dcm_spare_drop(void);

/* dcm_spare_shut() - in a child, at once: the descriptor goes. It may have been forked in a handler. */
void dcm_spare_shut(void);

/* dcm_spare_forked() - the parent's is not ours */
void dcm_spare_forked(void);

#endif
