/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/stress/lib_calls.h"

#include "shm/channel.h"

uint32_t calls_id(uint32_t lane, uint32_t turn)
{
	return lane << 24 | turn;
}

static size_t size_of(uint64_t dice)
{
	uint64_t kind = dice % 1000, more = dice >> 20;

	if (kind == 0)
		return LARGE;
	if (kind < 15)
		return 0;
	if (kind < 600)
		return more % 257;
	if (kind < 850)
		return more % 4097;
	if (kind < 985)
		return more % 65537;
	return more % (LARGE + 1);
}

static enum op op_of(uint64_t dice)
{
	static const struct {
		uint32_t below;
		enum op op;
	} parts[] = {
		{ 540, OP_CALL },    { 580, OP_CALL_BLIND }, { 610, OP_STATUS_ONLY },
		{ 770, OP_START },   { 780, OP_START_LATE }, { 960, OP_SEND },
		{ 970, OP_GIVE_UP },
	};

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (dice % 1000 < parts[i].below)
			return parts[i].op;
	return OP_DROPPED;
}

/*
 * May the calls of @id's lane be finished by DCM_ANY_CALL, or by their number? Over one session not
 * both at a time: for sharers the first third is for the one, the rest for the other.
 */
static bool by_any(uint32_t id)
{
	return id >> 24 >= SHARERS || (id & 0xffffff) < TURNS_MAX / 3 / BLOCK * BLOCK;
}

static bool by_number(uint32_t id)
{
	return id >> 24 >= SHARERS || !by_any(id);
}

struct plan calls_plan(uint64_t seed, uint32_t id)
{
	uint64_t dice = mix(seed ^ id), block = mix(~seed ^ id / BLOCK);
	struct plan plan = { .op = op_of(dice),
			     .request = size_of(mix(dice)),
			     .reply = size_of(mix(dice + 1)),
			     .slack = dice >> 40 & 1 ? dice >> 41 & 1023 : 0 };
	bool starts = plan.op == OP_START || plan.op == OP_START_LATE;

	if (block % 2048 == 0) {
		/* More than the channel holds: the sender must wait for room. */
		plan.op = OP_SEND;
		plan.request = LARGE;
	} else if (by_any(id) && block % 16 == 1) {
		plan.op = OP_ANY;
	} else if (starts && !by_number(id)) {
		plan.op = OP_CALL;
	}
	if (plan.op == OP_GIVE_UP || plan.op == OP_START_LATE)
		plan.late_ms = PATIENCE_MS + (uint32_t)(dice >> 50) % 8;
	if (plan.op == OP_STATUS_ONLY)
		plan.reply = plan.slack = 0;
	return plan;
}

uint64_t calls_content(uint64_t seed, uint32_t id, bool reply)
{
	return mix(seed + id) + (reply ? 1 : 0);
}

bool calls_mark(_Atomic uint32_t bits[LANES][TURNS_MAX / 32], uint32_t id)
{
	uint32_t turn = id & 0xffffff, bit = 1u << turn % 32;

	return (atomic_fetch_or(&bits[id >> 24][turn / 32], bit) & bit) == 0;
}

bool calls_marked(_Atomic uint32_t bits[LANES][TURNS_MAX / 32], uint32_t id)
{
	uint32_t turn = id & 0xffffff;

	return (atomic_load(&bits[id >> 24][turn / 32]) >> turn % 32 & 1) != 0;
}

size_t calls_half(void)
{
	return (CHANNEL_BYTES - DCM_CHANNEL_COMMITTED) / 2 / 65536 * 65536;
}

size_t calls_largest(void)
{
	size_t largest = 65536;

	while (largest * 2 <= calls_half())
		largest *= 2;
	return largest;
}
