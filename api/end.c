/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/end.h"

#include <errno.h>
#include <sys/mman.h>

#include "api/fork.h"
#include "api/retcode.h"

#define KINDS_END (1u << DCM_KIND_CHANNEL)

static size_t stamps_bytes(const struct dcm_end *end)
{
	return end->channel.half / DCM_ARENA_UNIT * sizeof *end->stamps;
}

int dcm_end_init(struct dcm_end *end, struct dcm_fabric *fabric, void *base, uint64_t bytes,
		 uint64_t nonce, bool client)
{
	dcm_fabric_hold(fabric);
	end->fabric = fabric;
	end->channel.shared = base;
	end->channel.bytes = bytes;
	pthread_mutex_init(&end->lock, NULL);
	if (!dcm_channel_view(&end->channel, base, bytes, nonce))
		return -EBADMSG;
	/* A child of this process is not a party to the channel. */
	madvise(base, bytes, MADV_DONTFORK);
	end->half = client ? end->channel.requests : end->channel.replies;
	end->arena = dcm_arena_create(end->half, end->channel.half);
	if (end->arena == NULL)
		return -ENOMEM;
	end->stamps = mmap(NULL, stamps_bytes(end), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (end->stamps == MAP_FAILED) {
		end->stamps = NULL;
		return -ENOMEM;
	}
	return dcm_handle_insert(&end->object);
}

void dcm_end_release(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;

	if (end->fabric == NULL)
		return;
	munmap(end->channel.shared, end->channel.bytes);
	dcm_end_forget(object);
	pthread_mutex_destroy(&end->lock);
	dcm_fabric_drop(end->fabric);
}

void dcm_end_forget(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;

	if (end->arena != NULL)
		dcm_arena_destroy(end->arena);
	end->arena = NULL;
	if (end->stamps != NULL)
		munmap(end->stamps, stamps_bytes(end));
	end->stamps = NULL;
}

/* Under the lock: is it time for the number to go? The count of the table goes with it. */
static bool is_done(const struct dcm_end *end)
{
	return end->ended && end->out == 0;
}

bool dcm_end_pins(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;
	bool out;

	pthread_mutex_lock(&end->lock);
	out = end->out != 0;
	pthread_mutex_unlock(&end->lock);
	return out;
}

void dcm_end_over(struct dcm_end *end)
{
	bool done;

	pthread_mutex_lock(&end->lock);
	done = !end->ended && end->out == 0;
	end->ended = true;
	pthread_mutex_unlock(&end->lock);
	if (done)
		dcm_handle_close(end->object.number, KINDS_END);
}

bool dcm_end_out(struct dcm_end *end)
{
	bool there;

	pthread_mutex_lock(&end->lock);
	there = !is_done(end);
	if (there)
		end->out++;
	pthread_mutex_unlock(&end->lock);
	return there;
}

void dcm_end_back(struct dcm_end *end)
{
	bool done;

	pthread_mutex_lock(&end->lock);
	end->out--;
	done = is_done(end);
	pthread_mutex_unlock(&end->lock);
	if (done)
		dcm_handle_close(end->object.number, KINDS_END);
}

/* Under the lock: what the loan that begins at @offset, a unit of the half, is known by; 0: none. */
static uint32_t *stamp_at(struct dcm_end *end, uint64_t offset)
{
	return &end->stamps[offset / DCM_ARENA_UNIT];
}

/* Under the lock. */
static void tell_committed(struct dcm_end *end)
{
	struct dcm_channel_header *shared = end->channel.shared;
	uint64_t now = dcm_arena_committed(end->arena);

	if (now == end->committed)
		return;
	end->committed = now;
	/* relaxed: nothing hangs on it */
	dcm_store(end->half == end->channel.requests ? &shared->client_committed
						     : &shared->server_committed,
		  now, relaxed);
}

int dcm_end_take_room(struct dcm_end *end, size_t size, enum dcm_message_kind kind,
		      DcmMessage *message)
{
	uint32_t stamp = 0;
	uint64_t offset;
	int r;

	pthread_mutex_lock(&end->lock);
	/* Closed by another thread meanwhile: with the number goes the mapping. */
	r = is_done(end) ? -ESHUTDOWN : dcm_arena_take(end->arena, size, &offset);
	if (r == 0) {
		end->out++;
		stamp = end->last_stamp == UINT32_MAX ? 1 : end->last_stamp + 1;
		end->last_stamp = stamp;
		*stamp_at(end, offset) = stamp;
		tell_committed(end);
	}
	pthread_mutex_unlock(&end->lock);
	if (r < 0)
		return r;
	*message = (DcmMessage){ .data = end->half + offset, .size = size };
	dcm_message_mark(message, end, kind, 0, stamp, offset);
	return 0;
}

bool dcm_end_give_room(struct dcm_end *end, uint64_t offset)
{
	int r;

	pthread_mutex_lock(&end->lock);
	r = dcm_arena_give(end->arena, offset);
	tell_committed(end);
	pthread_mutex_unlock(&end->lock);
	return r == 0;
}

void dcm_message_mark(DcmMessage *message, const struct dcm_end *end, enum dcm_message_kind kind,
		      uint32_t call, uint32_t generation, uint64_t offset)
{
	message->opaque[0] = end->object.number;
	message->opaque[1] = (uint64_t)kind << 32 | call;
	message->opaque[2] = generation;
	message->opaque[3] = offset;
}

enum dcm_message_kind dcm_message_kind(const DcmMessage *message)
{
	return (enum dcm_message_kind)(message->opaque[1] >> 32);
}

uint32_t dcm_message_call(const DcmMessage *message)
{
	return (uint32_t)message->opaque[1];
}

uint32_t dcm_message_generation(const DcmMessage *message)
{
	return (uint32_t)message->opaque[2];
}

uint64_t dcm_message_offset(const DcmMessage *message)
{
	return message->opaque[3];
}

/* True: it is the loan that is out there. Taken, if its size is right. */
static bool claim(struct dcm_end *end, const DcmMessage *message, uint64_t *room)
{
	uint64_t offset = dcm_message_offset(message);
	bool there;

	pthread_mutex_lock(&end->lock);
	*room = dcm_arena_room(end->arena, offset);
	there = *room != 0 && *stamp_at(end, offset) != 0 &&
		*stamp_at(end, offset) == dcm_message_generation(message);
	if (there && message->size <= *room)
		*stamp_at(end, offset) = 0;
	pthread_mutex_unlock(&end->lock);
	return there;
}

Retcode dcm_message_claim(struct dcm_end *end, const DcmMessage *message,
			  enum dcm_message_kind kind)
{
	uint64_t room;

	if (message->data == NULL)
		return dcm_fail(rcInvalidArgument, "the message was consumed, or never loaned");
	if (message->opaque[0] != end->object.number || dcm_message_kind(message) != kind)
		return dcm_fail(rcInvalidArgument,
				kind == DCM_MESSAGE_LOAN
					? "the message is not a loan of this session: DcmLoan gives one"
					: "the reply is not a loan of this request's channel: "
					  "DcmLoanReply gives one");
	if (!claim(end, message, &room))
		return dcm_fail(rcInvalidArgument, "the message was sent or given back before");
	if (message->size > room)
		return dcm_fail(rcInvalidArgument,
				"the message's size was raised to %zu bytes: its room holds %llu",
				message->size, (unsigned long long)room);
	return rcOk;
}

void dcm_message_unclaim(struct dcm_end *end, const DcmMessage *message)
{
	pthread_mutex_lock(&end->lock);
	*stamp_at(end, dcm_message_offset(message)) = dcm_message_generation(message);
	pthread_mutex_unlock(&end->lock);
}

struct dcm_end *dcm_message_end(const DcmMessage *message)
{
	return (struct dcm_end *)dcm_handle_find(message->opaque[0], KINDS_END);
}

void dcm_message_consumed(DcmMessage *message)
{
	message->data = NULL;
	message->size = 0;
}

static Retcode give(struct dcm_end *end, DcmMessage *message)
{
	enum dcm_message_kind kind = dcm_message_kind(message);
	Retcode rc;

	if (kind == DCM_MESSAGE_REPLY || kind == DCM_MESSAGE_REQUEST)
		return end->give_back(end, message);
	if (kind != (end->half == end->channel.requests ? DCM_MESSAGE_LOAN : DCM_MESSAGE_REPLY_LOAN))
		return dcm_fail(rcInvalidArgument, "not a message of the library's");
	rc = dcm_message_claim(end, message, kind);
	if (rc != rcOk)
		return rc;
	dcm_end_give_room(end, dcm_message_offset(message));
	if (kind == DCM_MESSAGE_LOAN)
		dcm_park_wake_all(&end->channel.shared->room);
	dcm_end_back(end);
	return rcOk;
}

Retcode DcmRelease(DcmMessage *message)
{
	struct dcm_end *end;
	Retcode rc;
	int saved = errno;

	dcm_fork_check();
	if (message == NULL)
		return dcm_fail(rcInvalidArgument, "message is null");
	if (message->data == NULL)
		return rcOk;
	end = dcm_message_end(message);
	if (end == NULL)
		return dcm_fail(rcInvalidArgument, "the message is not one that this process has");
	rc = give(end, message);
	if (rc == rcOk)
		dcm_message_consumed(message);
	dcm_object_drop(&end->object);
	errno = saved;
	return rc;
}
