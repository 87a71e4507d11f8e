/* SPDX-License-Identifier: BSD-2-Clause */
/* The history as it is written. */
#include "tests/stress/lib_history.h"

#include <stdio.h>
#include <string.h>

#include "tests/stress/lib_stress.h"

enum { ROOM = 64, CALLER_SHIFT = 48 };

uint64_t history_now(struct history *h)
{
	return atomic_fetch_add(&h->clock, 1) + 1;
}

bool history_room(struct history *h, uint32_t writer)
{
	struct history_log *log = &h->log[writer];

	if (atomic_load(&log->written) - atomic_load(&log->taken) < HISTORY_EVENTS - ROOM)
		return true;
	atomic_store(&h->full, 1);
	return false;
}

void history_note(struct history *h, uint32_t writer, enum history_what what, uint64_t sid,
		  const char *name)
{
	struct history_log *log = &h->log[writer];
	uint64_t at = atomic_load(&log->written);
	struct history_event *e = &log->event[at % HISTORY_EVENTS];

	if (at - atomic_load(&log->taken) >= HISTORY_EVENTS) {
		wrong("the history of writer %u is full", writer);
		return;
	}
	e->clock = history_now(h);
	e->sid = sid;
	e->what = what;
	memset(e->name, 0, sizeof e->name);
	snprintf(e->name, sizeof e->name, "%.11s", name == NULL ? "" : name);
	/* If we die before this line, nothing was noted. */
	atomic_store(&log->written, at + 1);
}

bool history_call(struct history *h, uint32_t caller, uint32_t marks, uint64_t *call)
{
	struct history_calls *calls = &h->calls[caller];
	uint64_t at = atomic_load(&calls->next);

	if (at - atomic_load(&calls->checked) >= HISTORY_CALLS) {
		atomic_store(&h->full, 1);
		return false;
	}
	atomic_store(&calls->word[at % HISTORY_CALLS], HISTORY_BEGUN | marks);
	atomic_store(&calls->next, at + 1);
	*call = (uint64_t)caller << CALLER_SHIFT | at;
	return true;
}

uint32_t history_mark(struct history *h, uint64_t call, uint32_t marks)
{
	uint64_t caller = call >> CALLER_SHIFT, at = call & ((1ull << CALLER_SHIFT) - 1);
	struct history_calls *calls = &h->calls[caller % HISTORY_CALLERS];

	/* A number that was read in shared memory may be any. */
	if (caller >= HISTORY_CALLERS || at >= atomic_load(&calls->next) ||
	    at < atomic_load(&calls->checked))
		return 0;
	return atomic_fetch_or(&calls->word[at % HISTORY_CALLS], marks);
}
