/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/known.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "api/hashed.h"
#include "shm/catalog.h"
#include "shm/hash.h"

/* So many notices are made before the first is read, whoever wants to hear of each; the rest stays in
   the ring, which says at the end that it overflowed, or in the table. */
enum { LOOK_AHEAD = 256 };

/* So many slots are on their way from memory together. */
enum { FETCHED_AT_ONCE = 16 };

/* An announced publication. When it is withdrawn, its own memory becomes the notice of that. */
struct item {
	struct dcm_notice notice; /* first: freed as a notice */
	TAILQ_ENTRY(item) link;	 /* of known->announced, or of known->pending */
	struct dcm_hashed_link by_index, by_identity; /* while it is announced */
};

TAILQ_HEAD(items, item);

struct dcm_known {
	uint64_t type_hash, name_hash, sid; /* name_hash 0: any */
	char *type, *name, *server;
	struct items announced; /* in order of announcement */
	struct items pending;	  /* notices not read yet */
	uint32_t waiting;	  /* so many are pending */
	uint64_t made;		  /* so many ever were, one that was put back anew */
	bool looking;		  /* at everything: there is more of it, from the cursor on */
	uint32_t cursor;
	struct dcm_hashed by_index;	/* announced, by endpoint slot */
	struct dcm_hashed by_identity; /* announced, by server and name: one at a time */
};

static struct item *item_of(const struct dcm_hashed_link *link, size_t offset)
{
	return link != NULL ? (struct item *)(void *)((uintptr_t)link - offset) : NULL;
}

static bool is_index(const struct dcm_hashed_link *link, const void *like)
{
	(void)link;
	(void)like;
	return true; /* the hash is the index */
}

/* What is announced of that endpoint slot, or null. */
static struct item *at_index(const struct dcm_known *known, uint32_t index)
{
	return item_of(dcm_hashed_find(&known->by_index, index, is_index, NULL),
		       offsetof(struct item, by_index));
}

/* The SID alone tells the server: it stays the same when its process leaves and comes back. */
static bool is_identity(const struct dcm_hashed_link *link, const void *like)
{
	const struct dcm_notice *x = &item_of(link, offsetof(struct item, by_identity))->notice;
	const struct dcm_notice *y = like;

	return x->sid == y->sid && strcmp(x->name, y->name) == 0;
}

static uint64_t identity_hash(const struct dcm_notice *notice)
{
	return dcm_hash(notice->name) ^ notice->sid * 0x9e3779b97f4a7c15ull;
}

/* What is announced of that name of that server, or null. */
static struct item *of_identity(const struct dcm_known *known, const struct dcm_notice *like)
{
	return item_of(dcm_hashed_find(&known->by_identity, identity_hash(like), is_identity, like),
		       offsetof(struct item, by_identity));
}

static bool copy_string(char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

struct dcm_known *dcm_known_create(uint64_t type_hash, const char *type, const char *name,
				   const char *server, uint64_t sid)
{
	struct dcm_known *known = calloc(1, sizeof *known);

	if (known == NULL)
		return NULL;
	known->type_hash = type_hash;
	known->name_hash = name != NULL ? dcm_hash(name) : 0;
	known->sid = sid;
	TAILQ_INIT(&known->announced);
	TAILQ_INIT(&known->pending);
	if (!copy_string(&known->type, type) || !copy_string(&known->name, name) ||
	    !copy_string(&known->server, server)) {
		dcm_known_destroy(known);
		return NULL;
	}
	return known;
}

static void put_last(struct dcm_known *known, struct item *item)
{
	TAILQ_INSERT_TAIL(&known->pending, item, link);
	known->waiting++;
	known->made++;
}

static void free_items(struct items *list)
{
	struct item *item;

	while ((item = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, item, link);
		free(item);
	}
}

void dcm_known_destroy(struct dcm_known *known)
{
	dcm_hashed_drop(&known->by_index);
	dcm_hashed_drop(&known->by_identity);
	free_items(&known->announced);
	free_items(&known->pending);
	free(known->type);
	free(known->name);
	free(known->server);
	free(known);
}

void dcm_notice_free(struct dcm_notice *notice)
{
	free(notice);
}

static struct item *item_new(const struct dcm_endpoint_view *view)
{
	size_t name_bytes = strlen(view->name) + 1, server_bytes = strlen(view->server) + 1;
	struct item *item = malloc(sizeof *item + name_bytes + server_bytes);

	if (item == NULL)
		return NULL;
	item->notice = (struct dcm_notice){ .published = true,
					     .endpoint = view->endpoint,
					     .process = view->process,
					     .sid = view->sid,
					     .gift = view->gift,
					     .name = (char *)(item + 1),
					     .server = (char *)(item + 1) + name_bytes };
	memcpy(item->notice.name, view->name, name_bytes);
	memcpy(item->notice.server, view->server, server_bytes);
	return item;
}

static void withdraw(struct dcm_known *known, struct item *item)
{
	dcm_hashed_take(&known->by_index, &item->by_index);
	dcm_hashed_take(&known->by_identity, &item->by_identity);
	TAILQ_REMOVE(&known->announced, item, link);
	item->notice.published = false;
	put_last(known, item);
}

static void remember(struct dcm_known *known, struct item *item)
{
	dcm_hashed_put(&known->by_index, &item->by_index, item->notice.endpoint.index);
	dcm_hashed_put(&known->by_identity, &item->by_identity, identity_hash(&item->notice));
	TAILQ_INSERT_TAIL(&known->announced, item, link);
}

static int announce(struct dcm_known *known, const struct dcm_endpoint_view *view)
{
	struct item *item = item_new(view), *notice = item_new(view), *before;

	if (item == NULL || notice == NULL)
		goto out_of_memory;
	/* A server has one live publication of a name at a time: what we know under it is gone, though we
	   have not looked there yet. Its end is told before its successor's beginning. */
	before = of_identity(known, &item->notice);
	DCM_LINE(end_before_successor)
	if (before != NULL)
		withdraw(known, before);
	remember(known, item);
	put_last(known, notice);
	return 0;

out_of_memory:
	free(item);
	free(notice);
	return -ENOMEM;
}

static bool wanted(const struct dcm_known *known, const struct dcm_endpoint_view *view)
{
	return strcmp(view->type, known->type) == 0 &&
	       (known->name == NULL || strcmp(view->name, known->name) == 0) &&
	       (known->server == NULL || strcmp(view->server, known->server) == 0) &&
	       (known->sid == 0 || view->sid == known->sid);
}

int dcm_known_update(struct dcm_known *known, const struct dcm_segment *seg, uint32_t index)
{
	struct item *item = at_index(known, index);
	struct dcm_endpoint_view view;
	bool live;

	/* What is announced and still there needs no second look at its names. */
	if (item != NULL && dcm_registry_is_live(seg, item->notice.endpoint))
		return 0;
	live = dcm_registry_may_be(seg, index, known->type_hash, known->name_hash) &&
	       dcm_registry_look(seg, index, known->type_hash, &view) && wanted(known, &view);
	if (item != NULL)
		withdraw(known, item);
	return live ? announce(known, &view) : 0;
}

void dcm_known_update_gone(struct dcm_known *known, const struct dcm_segment *seg)
{
	struct item *item, *next;

	for (item = TAILQ_FIRST(&known->announced); item != NULL; item = next) {
		next = TAILQ_NEXT(item, link);
		DCM_LINE(gone_before_new)
		if (!dcm_registry_is_live(seg, item->notice.endpoint))
			withdraw(known, item);
	}
}

/* At the next few slots from the cursor on, until there is none. */
static int look_at_some(struct dcm_known *known, const struct dcm_segment *seg)
{
	uint32_t index[FETCHED_AT_ONCE], count = 0;
	int result = 0;

	while (count < FETCHED_AT_ONCE &&
	       dcm_catalog_next(seg, known->type_hash, known->name_hash, &known->cursor,
				&index[count]))
		dcm_registry_fetch(seg, index[count++]);
	known->looking = count == FETCHED_AT_ONCE;
	for (uint32_t i = 0; result == 0 && i < count; i++)
		result = dcm_known_update(known, seg, index[i]);
	return result;
}

int dcm_known_update_new(struct dcm_known *known, const struct dcm_segment *seg)
{
	int result;

	known->cursor = 0;
	do
		result = look_at_some(known, seg);
	while (result == 0 && known->looking);
	return result;
}

/*
 * The rest of a look at everything, as far as there is room ahead. What has changed since it began
 * is hinted at, or another look is asked for, behind what is still to be seen of this one.
 */
static int look_on(struct dcm_known *known, const struct dcm_segment *seg)
{
	int result = 0;

	while (result == 0 && known->looking && known->waiting < LOOK_AHEAD)
		result = look_at_some(known, seg);
	return result;
}

/* First what is gone, then what is new: an end is never told behind its successor. */
static int look_at_all(struct dcm_known *known, const struct dcm_segment *seg)
{
	dcm_known_update_gone(known, seg);
	known->cursor = 0;
	known->looking = true;
	return look_on(known, seg);
}

struct dcm_notice *dcm_known_take(struct dcm_known *known)
{
	struct item *first = TAILQ_FIRST(&known->pending);

	if (first == NULL)
		return NULL;
	TAILQ_REMOVE(&known->pending, first, link);
	known->waiting--;
	return &first->notice;
}

/* Return: 0; -EAGAIN there is no hint; -ENOMEM (then the next one says to look at everything). */
static int follow_hint(struct dcm_known *known, const struct dcm_segment *seg,
		       struct dcm_ref subscription)
{
	enum dcm_hint hint;
	uint32_t index;
	int result;

	if (known->looking) {
		result = look_on(known, seg);
	} else {
		hint = dcm_registry_hint(seg, subscription, &index);
		if (hint == DCM_HINT_NONE)
			return -EAGAIN;
		result = hint == DCM_HINT_ONE ? dcm_known_update(known, seg, index)
					      : look_at_all(known, seg);
	}
	if (result < 0) {
		known->looking = false;
		dcm_registry_resync(seg, subscription);
	}
	return result;
}

/* A private bound: a scribbler that feeds hints without end gets no endless loop. */
static uint32_t looks_max(const struct dcm_segment *seg)
{
	return seg->endpoint.count + (2u << seg->capacity.ring_shift);
}

int dcm_known_read(struct dcm_known *known, const struct dcm_segment *seg,
		   struct dcm_ref subscription, struct dcm_notice **out)
{
	for (uint32_t i = 0; TAILQ_EMPTY(&known->pending) && i < looks_max(seg); i++) {
		int result = follow_hint(known, seg, subscription);

		if (result < 0 && TAILQ_EMPTY(&known->pending))
			return result;
	}
	*out = dcm_known_take(known);
	return *out != NULL ? 0 : -EAGAIN;
}

bool dcm_known_look(struct dcm_known *known, const struct dcm_segment *seg,
		    struct dcm_ref subscription, uint64_t *made)
{
	for (uint32_t i = 0; known->waiting < LOOK_AHEAD && i < looks_max(seg); i++)
		if (follow_hint(known, seg, subscription) < 0)
			break;
	*made = known->made;
	return known->waiting != 0;
}

uint32_t dcm_known_waiting(const struct dcm_known *known, const struct dcm_segment *seg)
{
	return known->looking ? known->waiting + seg->endpoint.count : known->waiting;
}

void dcm_known_unread(struct dcm_known *known, struct dcm_notice *notice)
{
	struct item *item = (struct item *)notice;

	TAILQ_INSERT_HEAD(&known->pending, item, link);
	known->waiting++;
	known->made++;
}

void dcm_known_each(const struct dcm_known *known,
		    void (*visit)(const struct dcm_notice *notice, void *arg), void *arg)
{
	const struct item *item;

	TAILQ_FOREACH(item, &known->announced, link)
		visit(&item->notice, arg);
}
