/* SPDX-License-Identifier: BSD-2-Clause */
/* The history as it is checked: in the memory of the one process that does. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/lib_history.h"
#include "tests/stress/lib_stress.h"
#include "tests/tap.h"

enum { BUCKETS = 4096, NOBODY = HISTORY_WRITERS };

/* What has one SID and one name; it may be published again and again. */
struct publication {
	struct publication *next;
	uint64_t sid;
	char name[HISTORY_NAME];
	uint32_t owner;	     /* writer, or NOBODY: dead */
	uint32_t begun;	     /* how often */
	uint64_t since;	     /* published at this time at the latest; 0: not, as far as noted */
	uint64_t gone;	     /* not any more since this time at the latest; 0: not noted */
	bool ending, doomed; /* it is, or may be, withdrawn from some time before now on */
	uint32_t told;	     /* a bit for each reader who knows of it */
	uint32_t given[HISTORY_WRITERS]; /* how often each was told that it is there */
};

static struct publication *buckets[BUCKETS];

static struct {
	bool dying;
	bool reading;
	uint64_t since; /* subscribed at this time at the latest */
} party[HISTORY_WRITERS];

static struct publication *find(const struct history_event *e, bool make)
{
	uint64_t hash = mix(e->sid);
	struct publication **at, *p;

	for (size_t i = 0; i < HISTORY_NAME && e->name[i] != '\0'; i++)
		hash = mix(hash + (unsigned char)e->name[i]);
	at = &buckets[hash % BUCKETS];
	for (p = *at; p != NULL; p = p->next)
		if (p->sid == e->sid && strcmp(p->name, e->name) == 0)
			return p;
	if (!make)
		return NULL;
	p = calloc(1, sizeof *p);
	if (p == NULL)
		sysbail("memory for the history");
	p->sid = e->sid;
	memcpy(p->name, e->name, sizeof p->name);
	p->next = *at;
	*at = p;
	return p;
}

/* Call @visit for each publication. */
static void each(void (*visit)(struct publication *p, const void *arg), const void *arg)
{
	for (size_t b = 0; b < BUCKETS; b++)
		for (struct publication *p = buckets[b]; p != NULL; p = p->next)
			visit(p, arg);
}

static void forget_reader(struct publication *p, const void *arg)
{
	const uint32_t *reader = arg;

	p->told &= ~(1u << *reader);
	p->given[*reader] = 0;
}

static void doom(struct publication *p, const void *arg)
{
	const uint32_t *owner = arg;

	p->doomed = p->doomed || p->owner == *owner;
}

static void disown(struct publication *p, const void *arg)
{
	const uint32_t *owner = arg;

	if (p->owner == *owner)
		p->owner = NOBODY;
}

static void publishes(const struct history_event *e, uint32_t writer)
{
	struct publication *p = find(e, e->what == HISTORY_PUBLISHING);

	if (p == NULL)
		bail("the history of writer %u lacks the beginning of %s", writer, e->name);
	switch (e->what) {
	case HISTORY_PUBLISHING:
		p->owner = writer;
		p->begun++;
		p->since = p->gone = 0;
		p->ending = false;
		p->doomed = party[writer].dying;
		break;
	case HISTORY_PUBLISHED:
		p->since = e->clock;
		break;
	case HISTORY_NOT_PUBLISHED:
		p->begun--;
		p->ending = true;
		p->gone = e->clock;
		break;
	case HISTORY_WITHDRAWING:
		p->ending = true;
		break;
	default:
		p->gone = e->clock;
	}
}

static void wrong_notice(struct history_seen *seen, const struct history_event *e, uint32_t reader,
			 const char *what)
{
	seen->wrong_notices++;
	wrong("history: reader %u at %" PRIu64 " was told of %s, server %#" PRIx64 ": %s", reader,
	      e->clock, e->name, e->sid, what);
}

static void told(const struct history_event *e, uint32_t reader, struct history_seen *seen)
{
	struct publication *p = find(e, false);
	uint32_t bit = 1u << reader;

	seen->notices++;
	if (p == NULL || p->begun == 0) {
		wrong_notice(seen, e, reader, "it never was published, or is long gone");
		return;
	}
	if (e->what == HISTORY_TOLD_PUBLISHED) {
		if ((p->told & bit) != 0)
			wrong_notice(seen, e, reader, "PUBLISHED twice");
		if (++p->given[reader] > p->begun)
			wrong_notice(seen, e, reader, "PUBLISHED more often than it was");
		p->told |= bit;
		return;
	}
	if ((p->told & bit) == 0)
		wrong_notice(seen, e, reader, "UNPUBLISHED, but not PUBLISHED before");
	else if (p->given[reader] >= p->begun && !p->ending && !p->doomed)
		wrong_notice(seen, e, reader, "UNPUBLISHED, but it is there");
	p->told &= ~bit;
}

/* Of one read that found nothing more. */
struct empty_read {
	uint64_t before, after;
	uint32_t reader;
	struct history_seen *seen;
};

static void see_known(struct publication *p, const void *arg)
{
	const struct empty_read *read = arg;
	struct history_event e = { .clock = read->after, .sid = p->sid };
	bool knows = (p->told >> read->reader & 1) != 0;
	const char *what = NULL;

	if (!knows && p->since != 0 && p->since < read->before && !p->ending && !p->doomed)
		what = "nothing, though it was published before";
	else if (knows && p->gone != 0 && p->gone < read->before)
		what = "PUBLISHED only, though it was withdrawn before";
	if (what == NULL)
		return;
	memcpy(e.name, p->name, sizeof e.name);
	wrong_notice(read->seen, &e, read->reader, what);
}

static void take(const struct history_event *e, uint32_t writer, struct history_seen *seen)
{
	uint32_t of = (uint32_t)e->sid % HISTORY_WRITERS;

	switch (e->what) {
	case HISTORY_SUBSCRIBED:
	case HISTORY_UNSUBSCRIBED:
		each(forget_reader, &writer);
		party[writer].reading = e->what == HISTORY_SUBSCRIBED;
		party[writer].since = e->clock;
		break;
	case HISTORY_TOLD_PUBLISHED:
	case HISTORY_TOLD_UNPUBLISHED:
		told(e, writer, seen);
		break;
	case HISTORY_TOLD_ALL:
		if (e->sid > party[writer].since)
			each(see_known, &(struct empty_read){ e->sid, e->clock, writer, seen });
		break;
	case HISTORY_BORN:
		party[of].dying = party[of].reading = false;
		each(forget_reader, &of);
		each(disown, &of);
		break;
	case HISTORY_DOOMED:
		party[of].dying = true;
		each(doom, &of);
		break;
	default:
		publishes(e, writer);
	}
}

/* The log whose next event is the oldest, or null. */
static struct history_log *oldest(struct history *h, const uint64_t *ends)
{
	struct history_log *found = NULL;
	uint64_t best = UINT64_MAX;

	for (uint32_t i = 0; i < HISTORY_WRITERS; i++) {
		struct history_log *log = &h->log[i];
		uint64_t at = atomic_load(&log->taken);
		uint64_t clock = log->event[at % HISTORY_EVENTS].clock;

		if (at < ends[i] && clock < best) {
			best = clock;
			found = log;
		}
	}
	return found;
}

void history_follow(struct history *h, struct history_seen *seen)
{
	uint64_t ends[HISTORY_WRITERS];
	struct history_log *log;

	for (uint32_t i = 0; i < HISTORY_WRITERS; i++)
		ends[i] = atomic_load(&h->log[i].written);
	while ((log = oldest(h, ends)) != NULL) {
		uint64_t at = atomic_load(&log->taken);
		struct history_event e = log->event[at % HISTORY_EVENTS];

		e.name[HISTORY_NAME - 1] = '\0';
		take(&e, (uint32_t)(log - h->log), seen);
		atomic_store(&log->taken, at + 1);
	}
}

static bool is_live(const struct publication *p)
{
	return p->since != 0 && !p->ending && !p->doomed;
}

bool history_settled(bool say)
{
	bool settled = true;

	for (size_t b = 0; b < BUCKETS; b++) {
		for (struct publication *p = buckets[b]; p != NULL; p = p->next) {
			for (uint32_t r = 0; r < HISTORY_WRITERS; r++) {
				bool knows = (p->told >> r & 1) != 0;

				if (!party[r].reading || party[r].dying || knows == is_live(p))
					continue;
				settled = false;
				if (say)
					diag("  reader %u %s %s, server %#" PRIx64, r,
					     knows ? "was not told the end of" : "does not know of",
					     p->name, p->sid);
			}
		}
	}
	return settled;
}

static void close_call(struct history_seen *seen, uint32_t caller, uint64_t number, uint32_t word,
		       bool must_have_ended)
{
	const uint32_t ends = HISTORY_REPLIED_TO | HISTORY_FAILED | HISTORY_ONE_WAY;
	const char *what = NULL;

	seen->calls++;
	if (must_have_ended && (word & ends) == 0)
		what = "it never ended";
	else if ((word & HISTORY_REPLIED_TO) != 0 && (word & HISTORY_FAILED) != 0)
		what = "it ended twice";
	else if ((word & HISTORY_REPLIED_TO) != 0 && (word & HISTORY_REPLYING) == 0)
		what = "it was answered by nobody";
	else if ((word & HISTORY_REPLYING) != 0 && (word & HISTORY_RECEIVED) == 0)
		what = "it was answered but not received";
	if (what == NULL)
		return;
	seen->wrong_calls++;
	wrong("history: call %" PRIu64 " of caller %u, marks %#x: %s", number, caller, word, what);
}

void history_close_calls(struct history *h, struct history_seen *seen)
{
	for (uint32_t i = 0; i < HISTORY_CALLERS; i++) {
		struct history_calls *calls = &h->calls[i];
		uint64_t end = atomic_load(&calls->next), base = atomic_load(&calls->base);

		for (uint64_t at = atomic_load(&calls->checked); at < end; at++)
			close_call(seen, i, at, atomic_load(&calls->word[at % HISTORY_CALLS]),
				   at >= base);
		atomic_store(&calls->checked, end);
	}
	atomic_store(&h->full, 0);
}

void history_forget(struct history *h, bool all)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		for (struct publication **at = &buckets[b], *p; (p = *at) != NULL;) {
			if (!all && is_live(p)) {
				at = &p->next;
				continue;
			}
			*at = p->next;
			free(p);
		}
	}
	if (!all)
		return;
	memset(party, 0, sizeof party);
	for (uint32_t i = 0; i < HISTORY_WRITERS; i++)
		atomic_store(&h->log[i].taken, atomic_load(&h->log[i].written));
	for (uint32_t i = 0; i < HISTORY_CALLERS; i++)
		atomic_store(&h->calls[i].checked, atomic_load(&h->calls[i].next));
}
