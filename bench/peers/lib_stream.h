/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stream - messages in a stream of bytes: a length and a number in front of each
 *
 * Written at once: the frame stands in front of the data, and messages of one batch stand behind
 * each other. Read at once: as many messages as a batch has, so without batches one. (To read ahead
 * more makes pipes slower by a third: the reader is always there already, and both want the lock.)
 * The buffer holds as much and not more, so that little has to be moved; a message is used where it
 * was read.
 */
#ifndef DCM_BENCH_STREAM_H
#define DCM_BENCH_STREAM_H

#include "bench/peers/peer.h"

struct stream_frame {
	uint32_t size, from;
};

struct stream_in {
	unsigned char *buffer;
	size_t room, start, end;
};

struct stream_out {
	unsigned char *buffer;
	size_t room, end;
};

/* stream_begin() - buffers for messages of the job, @most bytes written at once if not one message */
void stream_begin_in(struct stream_in *s, const struct peer_job *job);
void stream_begin_out(struct stream_out *s, const struct peer_job *job, size_t most);

/* stream_whole() - the next message, if all of it has been read: its frame, or null */
const struct stream_frame *stream_whole(struct stream_in *s, struct peer_message *m);
/* stream_read() - more. Return: bytes; 0: the end; -1: nothing there, of a nonblocking @fd */
int stream_read(struct stream_in *s, int fd);

/* stream_loan() - memory for a message behind those that wait to be written */
void stream_loan(struct stream_out *s, size_t size, struct peer_message *m);
/* stream_add() - @m is filled. Return: whether it and those before it are to be written now */
bool stream_add(struct stream_out *s, const struct peer_message *m, uint32_t from, bool more);
/* stream_write() - all that waits, to @fd. Return: false: nobody reads there any more */
bool stream_write(const struct stream_out *s, int fd);
/* stream_written() - to all that want it */
void stream_written(struct stream_out *s);

#endif
