/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/peers/lib_stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Data is aligned for 64 bytes when its message is the first in the buffer. */
enum { AT_ONCE = 1 << 16, FIRST = 64 - sizeof(struct stream_frame) };

/* Of a batch, as far as that many bytes hold it. */
static size_t bytes_at_once(const struct peer_job *job, size_t most)
{
	size_t each = sizeof(struct stream_frame) + job->size;
	size_t count = most / each < job->batch ? most / each : job->batch;

	return count < 1 ? each : count * each;
}

void stream_begin_in(struct stream_in *s, const struct peer_job *job)
{
	s->room = FIRST + bytes_at_once(job, AT_ONCE);
	s->buffer = peer_memory(s->room);
	s->start = s->end = FIRST;
}

void stream_begin_out(struct stream_out *s, const struct peer_job *job, size_t most)
{
	s->room = FIRST + bytes_at_once(job, most < AT_ONCE ? most : AT_ONCE);
	s->buffer = peer_memory(s->room);
	s->end = FIRST;
}

/* Of the message that begins at start; a frame that is not whole counts as one with no data. */
static size_t wanted(const struct stream_in *s)
{
	const void *frame = s->buffer + s->start;

	if (s->end - s->start < sizeof(struct stream_frame))
		return sizeof(struct stream_frame);
	return sizeof(struct stream_frame) + ((const struct stream_frame *)frame)->size;
}

const struct stream_frame *stream_whole(struct stream_in *s, struct peer_message *m)
{
	void *frame = s->buffer + s->start;

	if (s->end - s->start < sizeof(struct stream_frame) || s->end - s->start < wanted(s))
		return NULL;
	m->size = ((struct stream_frame *)frame)->size;
	m->data = s->buffer + s->start + sizeof(struct stream_frame);
	s->start += wanted(s);
	return frame;
}

int stream_read(struct stream_in *s, int fd)
{
	size_t most;
	ssize_t got;

	if (s->start == s->end) {
		s->start = s->end = FIRST;
	} else if (s->room - s->start < wanted(s) || s->end == s->room) {
		memmove(s->buffer + FIRST, s->buffer + s->start, s->end - s->start);
		s->end -= s->start - FIRST;
		s->start = FIRST;
	}
	most = s->room - s->end;
	got = read(fd, s->buffer + s->end, most);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	if (got <= 0)
		return 0;
	s->end += (size_t)got;
	return 1;
}

void stream_loan(struct stream_out *s, size_t size, struct peer_message *m)
{
	m->data = s->buffer + s->end + sizeof(struct stream_frame);
	m->size = size;
}

bool stream_add(struct stream_out *s, const struct peer_message *m, uint32_t from, bool more)
{
	size_t bytes = sizeof(struct stream_frame) + m->size;

	memcpy(s->buffer + s->end, &(struct stream_frame){ (uint32_t)m->size, from },
	       sizeof(struct stream_frame));
	s->end += bytes;
	return !more || s->room - s->end < bytes;
}

bool stream_write(const struct stream_out *s, int fd)
{
	size_t at = FIRST;

	while (at < s->end) {
		ssize_t put = write(fd, s->buffer + at, s->end - at);

		if (put >= 0)
			at += (size_t)put;
		else if (errno == EPIPE || errno == ECONNRESET)
			return false;
		else if (errno != EAGAIN && errno != EINTR)
			peer_fail("write: %s", strerror(errno));
	}
	return true;
}

void stream_written(struct stream_out *s)
{
	s->end = FIRST;
}
