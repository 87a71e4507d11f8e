/* SPDX-License-Identifier: BSD-2-Clause */
#include "shm/bell.h"

#include "shm/process.h"

#define RUNG 1u /* in a token: somebody has begun to tell */

/* Of this process: the same token never comes twice while a ringer could still hold the first. */
static _Atomic uint32_t tokens;

void dcm_bell_start(uint32_t first)
{
	atomic_store_explicit(&tokens, first & ~RUNG, memory_order_relaxed);
}

uint32_t dcm_bell_arm(dcm_atomic32 *bell)
{
	uint32_t token = 0;

	while (token == 0)
		token = atomic_fetch_add_explicit(&tokens, 2, memory_order_relaxed) + 2;
	/* seq, B1: before the caller's look. */
	dcm_store(bell, token, DCM_ORDER(arm_before_looking, seq, release));
	return token;
}

void dcm_bell_disarm(dcm_atomic32 *bell, uint32_t token)
{
	dcm_cas(bell, &token, 0u);
}

bool dcm_bell_rung(const dcm_atomic32 *bell, uint32_t token)
{
	/* acquire, pairs B3 */
	return dcm_load(bell, acquire) != token;
}

void dcm_bell_tell(const struct dcm_segment *seg, dcm_atomic32 *bell, uint32_t token,
		   dcm_bell_owner_fn *whose, const void *slot)
{
	uint32_t rung = token | RUNG;

	/* seq, B3. That it fails says that another was faster, or that the owner has armed it anew. */
	if (token != rung)
		DCM_LINE(ringer_marks) dcm_cas(bell, &token, DCM_ORDER(mark_is_no_clear, rung, 0u));
	/* Dying before this line leaves the mark: the next ringer kicks. Asked for behind the mark, the
	   owner is who armed that token, or one who came when nobody waited for it any more. */
	dcm_process_kick_for(seg, whose(slot), DCM_KICK_BELL);
	/* Dying before this line costs every later ringer a needless kick. */
	dcm_cas(bell, &rung, 0u);
}
