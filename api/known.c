/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/known.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* So many notices are made before the first is read, for one who wants to hear of each; the rest
   stays in the ring, which says at the end that it overflowed. */
enum { LOOK_AHEAD = 256 };

/* An announced publication. When it is withdrawn, its own memory becomes the notice of that. */
struct item {
	struct dcm_notice notice; /* first: freed as a notice */
	TAILQ_ENTRY(item) link;  /* of known->announced, or of known->pending */
};

TAILQ_HEAD(items, item);

struct dcm_known {
	uint64_t type_hash, sid;
	char *type, *name, *server;
	struct items announced; /* in order of announcement */
	struct items pending;	  /* notices not read yet */
	uint32_t waiting;	  /* so many are pending */
	uint64_t made;		  /* so many ever were, one that was put back anew */
	void *by_index;		  /* announced, by endpoint slot */
	void *by_identity;	  /* announced, by server and name: one at a time */
};

static int compare_index(const void *a, const void *b)
{
	uint32_t x = ((const struct item *)a)->notice.endpoint.index;
	uint32_t y = ((const struct item *)b)->notice.endpoint.index;

	return (x > y) - (x < y);
}

/* The SID alone tells the server: it stays the same when its process leaves and comes back. */
static int compare_identity(const void *a, const void *b)
{
	const struct dcm_notice *x = &((const struct item *)a)->notice;
	const struct dcm_notice *y = &((const struct item *)b)->notice;

	if (x->sid != y->sid)
		return (x->sid > y->sid) - (x->sid < y->sid);
	return strcmp(x->name, y->name);
}

static struct item *find(void *const *tree, const struct item *like,
			  int (*compare)(const void *, const void *))
{
	struct item *const *node = tfind(like, tree, compare);

	return node != NULL ? *node : NULL;
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

static void leave_alone(void *item)
{
	(void)item; /* the lists own the items */
}

void dcm_known_destroy(struct dcm_known *known)
{
	tdestroy(known->by_index, leave_alone);
	tdestroy(known->by_identity, leave_alone);
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
	tdelete(item, &known->by_index, compare_index);
	tdelete(item, &known->by_identity, compare_identity);
	TAILQ_REMOVE(&known->announced, item, link);
	item->notice.published = false;
	put_last(known, item);
}

/* Into both trees and the list, or into none. */
static bool remember(struct dcm_known *known, struct item *item)
{
	if (tsearch(item, &known->by_index, compare_index) == NULL)
		return false;
	if (tsearch(item, &known->by_identity, compare_identity) == NULL) {
		tdelete(item, &known->by_index, compare_index);
		return false;
	}
	TAILQ_INSERT_TAIL(&known->announced, item, link);
	return true;
}

static int announce(struct dcm_known *known, const struct dcm_endpoint_view *view)
{
	struct item *item = item_new(view), *notice = item_new(view), *before;

	if (item == NULL || notice == NULL)
		goto out_of_memory;
	/* A server has one live publication of a name at a time: what we know under it is gone, though we
	   have not looked there yet. Its end is told before its successor's beginning. */
	before = find(&known->by_identity, item, compare_identity);
	DCM_LINE(end_before_successor)
	if (before != NULL)
		withdraw(known, before);
	if (!remember(known, item))
		goto out_of_memory;
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
	struct item like = { .notice.endpoint.index = index };
	struct item *item = find(&known->by_index, &like, compare_index);
	struct dcm_endpoint_view view;
	bool live = dcm_registry_look(seg, index, known->type_hash, &view) && wanted(known, &view);

	if (item != NULL && live && item->notice.endpoint.generation == view.endpoint.generation)
		return 0;
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

int dcm_known_update_new(struct dcm_known *known, const struct dcm_segment *seg)
{
	uint32_t bucket = dcm_bucket_of(known->type_hash), cursor = 0, index;
	int result = 0;

	while (result == 0 && dcm_registry_next(seg, bucket, &cursor, &index))
		result = dcm_known_update(known, seg, index);
	return result;
}

/* First what is gone, then what is new: an end is never told behind its successor. */
static int look_at_all(struct dcm_known *known, const struct dcm_segment *seg)
{
	dcm_known_update_gone(known, seg);
	return dcm_known_update_new(known, seg);
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
	uint32_t index;
	enum dcm_hint hint = dcm_registry_hint(seg, subscription, &index);
	int result;

	if (hint == DCM_HINT_NONE)
		return -EAGAIN;
	result = hint == DCM_HINT_ONE ? dcm_known_update(known, seg, index)
				      : look_at_all(known, seg);
	if (result < 0)
		dcm_registry_resync(seg, subscription);
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
