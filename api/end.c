/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/end.h"

#include <errno.h>
#include <sys/mman.h>

#include "api/keeper.h"
#include "api/retcode.h"

#define KINDS_END (1u << DCM_KIND_CHANNEL)

static size_t stamps_bytes(const struct dcm_end *end)
{
	return dcm_channel_arena(end->channel.half) / DCM_ARENA_UNIT * sizeof *end->stamps;
}

int dcm_end_init(struct dcm_end *end, struct dcm_fabric *fabric, void *base, uint64_t bytes,
		 uint64_t nonce, bool client)
{
	dcm_fabric_hold(fabric);
	end->fabric = fabric;
	end->sight = dcm_process_sight(&fabric->seg, end->peer);
	end->channel.shared = base;
	end->channel.bytes = bytes;
	dcm_lock_init(&end->lock);
	if (!dcm_channel_view(&end->channel, base, bytes, nonce))
		return -EBADMSG;
	/* A child of this process is not a party to the channel. */
	madvise(base, bytes, MADV_DONTFORK);
	end->half = client ? end->channel.requests : end->channel.replies;
	dcm_bits_fill(&end->small, DCM_CHANNEL_SMALL_ROOMS);
	end->arena = dcm_arena_create(end->half + DCM_CHANNEL_SMALL_BYTES,
				      dcm_channel_arena(end->channel.half));
	if (end->arena == NULL)
		return -ENOMEM;
	end->largest = dcm_arena_largest(end->arena);
	return dcm_handle_insert(&end->object);
}

/* Under the lock, before the first room of the arena is taken. */
static bool make_stamps(struct dcm_end *end)
{
	void *stamps;

	if (end->stamps != NULL)
		return true;
	stamps = mmap(NULL, stamps_bytes(end), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stamps == MAP_FAILED)
		return false;
	end->stamps = stamps;
	return true;
}

void dcm_end_release(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;

	if (end->fabric == NULL)
		return;
	munmap(end->channel.shared, end->channel.bytes);
	dcm_end_forget(object);
	dcm_fabric_drop(end->fabric);
}

void dcm_end_reclaim(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;

	if (end->fabric != NULL)
		dcm_lock_destroy(&end->lock);
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

bool dcm_end_pins(struct dcm_object *object)
{
	struct dcm_end *end = (struct dcm_end *)object;
	bool out;

	dcm_lock_enter(&end->lock);
	out = end->out != 0;
	dcm_lock_leave(&end->lock);
	return out;
}

void dcm_end_over(struct dcm_end *end)
{
	bool done;

	dcm_lock_enter(&end->lock);
	done = !end->ended && end->out == 0;
	end->ended = true;
	dcm_lock_leave(&end->lock);
	if (done)
		dcm_handle_close(end->object.number, KINDS_END);
}

bool dcm_end_out(struct dcm_end *end)
{
	if (!dcm_end_there(end))
		return false;
	end->out++;
	return true;
}

bool dcm_end_back(struct dcm_end *end, uint32_t count)
{
	end->out -= count;
	return end->ended && end->out == 0;
}

void dcm_end_gone(struct dcm_end *end)
{
	int saved = errno;

	dcm_handle_close(end->object.number, KINDS_END);
	errno = saved;
}

static bool is_small(uint64_t offset)
{
	return offset < DCM_CHANNEL_SMALL_BYTES;
}

/* Under the lock: what the loan at @offset, where room is, is known by; 0: none is there. */
static uint32_t *stamp_at(struct dcm_end *end, uint64_t offset)
{
	if (is_small(offset))
		return &end->small_stamps[offset / DCM_CHANNEL_SMALL];
	return &end->stamps[(offset - DCM_CHANNEL_SMALL_BYTES) / DCM_ARENA_UNIT];
}

uint64_t dcm_end_room(const struct dcm_end *end, uint64_t offset)
{
	if (!is_small(offset))
		return dcm_arena_room(end->arena, offset - DCM_CHANNEL_SMALL_BYTES);
	if (offset % DCM_CHANNEL_SMALL != 0 ||
	    dcm_bits_has(&end->small, (uint32_t)(offset / DCM_CHANNEL_SMALL)))
		return 0;
	return DCM_CHANNEL_SMALL;
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

/*
 * Under the lock, room was taken or given back. More pages than are kept do not stay for ever: the
 * keeper looks until there is nothing that may go, and is asked again when the end is used again.
 */
static void watch(struct dcm_end *end)
{
	if (dcm_arena_committed(end->arena) <= DCM_ARENA_KEEP ||
	    atomic_load_explicit(&end->watched, memory_order_relaxed))
		return;
	atomic_store_explicit(&end->watched, true, memory_order_relaxed);
	dcm_keeper_look_later();
}

static bool take_small(struct dcm_end *end, uint32_t call, uint64_t *offset)
{
	int room = (int)call;

	if (!dcm_bits_take_at(&end->small, call))
		room = dcm_bits_take(&end->small);
	*offset = (uint64_t)room * DCM_CHANNEL_SMALL;
	return room >= 0;
}

static __attribute__((noinline)) int take_large(struct dcm_end *end, size_t size, uint64_t *offset)
{
	int saved = errno,
	    r = make_stamps(end) ? dcm_arena_take(end->arena, size, offset) : -ENOMEM;

	*offset += DCM_CHANNEL_SMALL_BYTES;
	if (r == 0) {
		tell_committed(end);
		watch(end);
	}
	errno = saved;
	return r;
}

int dcm_end_take_room(struct dcm_end *end, size_t size, enum dcm_message_kind kind, uint32_t call,
		      DcmMessage *message)
{
	uint64_t offset = 0;
	int r = 0;

	if (size > DCM_CHANNEL_SMALL || !take_small(end, call, &offset))
		r = take_large(end, size, &offset);
	if (r < 0)
		return r;
	end->out++;
	if (++end->last_stamp == 0)
		end->last_stamp = 1;
	*stamp_at(end, offset) = end->last_stamp;
	dcm_channel_own(end->half + offset);
	*message = (DcmMessage){ .data = end->half + offset, .size = size };
	dcm_message_mark(message, end, kind, 0, end->last_stamp, offset);
	return 0;
}

/* A few pages each time that the lock is held. */
static void shed(struct dcm_end *end)
{
	uint64_t below = UINT64_MAX;
	bool more = true;

	while (more) {
		dcm_lock_visit(&end->lock);
		more = dcm_arena_shed(end->arena, &below);
		tell_committed(end);
		dcm_lock_leave(&end->lock);
	}
}

void dcm_end_look(struct dcm_end *end, bool on_way)
{
	bool again, spare;

	if (!atomic_load_explicit(&end->watched, memory_order_relaxed))
		return;
	dcm_lock_visit(&end->lock);
	again = dcm_arena_look(end->arena) ||
		(on_way && dcm_arena_committed(end->arena) > DCM_ARENA_KEEP);
	spare = dcm_arena_has_spare(end->arena);
	atomic_store_explicit(&end->watched, again, memory_order_relaxed);
	dcm_lock_leave(&end->lock);
	if (spare)
		shed(end);
	if (again)
		dcm_keeper_look_later();
}

bool dcm_end_put_room(struct dcm_end *end, uint64_t offset)
{
	if (dcm_end_room(end, offset) == 0)
		return false;
	if (is_small(offset)) {
		dcm_bits_give(&end->small, (uint32_t)(offset / DCM_CHANNEL_SMALL));
		return true;
	}
	dcm_arena_give(end->arena, offset - DCM_CHANNEL_SMALL_BYTES);
	watch(end);
	return true;
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

/* Under the lock: what is known of the loan that the message says it is, and of how much room; null:
   it cannot be one. */
static uint32_t *stamp_of(struct dcm_end *end, const DcmMessage *message, uint64_t *room)
{
	uint64_t offset = dcm_message_offset(message);
	uint32_t *stamp;

	*room = dcm_end_there(end) ? dcm_end_room(end, offset) : 0;
	if (*room == 0)
		return NULL;
	stamp = stamp_at(end, offset);
	return *stamp != 0 && *stamp == dcm_message_generation(message) ? stamp : NULL;
}

static bool is_of(const DcmMessage *message, const struct dcm_end *end, enum dcm_message_kind kind)
{
	return message->opaque[0] == end->object.number && dcm_message_kind(message) == kind;
}

bool dcm_message_claim(struct dcm_end *end, const DcmMessage *message, enum dcm_message_kind kind)
{
	uint32_t *stamp;
	uint64_t room;

	if (message->data == NULL || !is_of(message, end, kind))
		return false;
	stamp = stamp_of(end, message, &room);
	if (stamp == NULL || message->size > room)
		return false;
	*stamp = 0;
	return true;
}

Retcode dcm_message_refuse(struct dcm_end *end, const DcmMessage *message,
			   enum dcm_message_kind kind)
{
	uint64_t room;

	if (message->data == NULL)
		return dcm_fail(rcInvalidArgument, "the message was consumed, or never loaned");
	if (!is_of(message, end, kind))
		return dcm_fail(
			rcInvalidArgument,
			kind == DCM_MESSAGE_LOAN
				? "the message is not a loan of this session: DcmLoan gives one"
				: "the reply is not a loan of this request's channel: "
				  "DcmLoanReply gives one");
	if (stamp_of(end, message, &room) == NULL)
		return dcm_fail(rcInvalidArgument, "the message was sent or given back before");
	return dcm_fail(rcInvalidArgument,
			"the message's size was raised to %zu bytes: its room holds %llu",
			message->size, (unsigned long long)room);
}

void dcm_message_unclaim(struct dcm_end *end, const DcmMessage *message)
{
	*stamp_at(end, dcm_message_offset(message)) = dcm_message_generation(message);
}

void dcm_message_drop(struct dcm_end *end, const DcmMessage *message)
{
	bool gone;

	dcm_lock_enter(&end->lock);
	dcm_end_put_room(end, dcm_message_offset(message));
	if (dcm_message_kind(message) == DCM_MESSAGE_LOAN)
		dcm_park_wake_all(&end->channel.shared->room);
	gone = dcm_end_back(end, 1);
	dcm_lock_leave(&end->lock);
	if (gone)
		dcm_end_gone(end);
}

struct dcm_end *dcm_message_end(const DcmMessage *message)
{
	return (struct dcm_end *)dcm_handle_peek(message->opaque[0], KINDS_END);
}

void dcm_message_consumed(DcmMessage *message)
{
	message->data = NULL;
	message->size = 0;
}
