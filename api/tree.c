/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/tree.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct dcm_grant {
	struct dcm_grant *within; /* counted there; null: none */
	struct dcm_tally *tally;
	uint32_t count; /* nodes, and grants right within it */
	bool confirmed; /* the tally counts it */
	bool was_last;	/* of those counted, when it was over */
	struct dcm_grant *next_over;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Outside of it: no revocation says that all is done before what another took off has ended. */
static pthread_mutex_t revoking = PTHREAD_MUTEX_INITIALIZER;

/* Grants that are over, in that order. */
struct ended {
	struct dcm_grant *first, *last;
};

/* With the lock: one of what a grant counts is gone. Those that are over with it, the inner before the
   outer, are to be told of. */
static void let_go(struct dcm_grant *grant, struct ended *ended)
{
	while (grant != NULL && --grant->count == 0) {
		grant->was_last = grant->confirmed && --grant->tally->grants == 0;
		grant->next_over = NULL;
		if (ended->last != NULL)
			ended->last->next_over = grant;
		else
			ended->first = grant;
		ended->last = grant;
		grant = grant->within;
	}
}

/* Without the lock. */
static void tell(const struct ended *ended)
{
	struct dcm_grant *grant, *next;

	for (grant = ended->first; grant != NULL; grant = next) {
		struct dcm_object *object = grant->tally->object;

		next = grant->next_over;
		if (grant->was_last)
			grant->tally->none_left(object);
		free(grant);
		dcm_object_drop(object);
	}
}

/* With the lock. */
static void hang(struct dcm_node *node, struct dcm_node *parent)
{
	node->parent = parent;
	node->previous = NULL;
	node->next = NULL;
	if (parent == NULL)
		return;
	node->next = parent->child;
	if (node->next != NULL)
		node->next->previous = node;
	parent->child = node;
}

/* With the lock: not its parent's child any more; its own children stay with it. */
static void take_off(struct dcm_node *node)
{
	if (node->next != NULL)
		node->next->previous = node->previous;
	if (node->previous != NULL)
		node->previous->next = node->next;
	else if (node->parent != NULL)
		node->parent->child = node->next;
	node->in = false;
}

static struct dcm_grant *grant_new(struct dcm_tally *tally)
{
	struct dcm_grant *grant = calloc(1, sizeof *grant);

	if (grant == NULL)
		return NULL;
	dcm_object_hold(tally->object);
	grant->tally = tally;
	return grant;
}

/* With the lock. */
static void enter(struct dcm_node *node, struct dcm_node *parent, struct dcm_grant *own)
{
	node->grant = parent != NULL && !node->follows ? parent->grant : NULL;
	if (own != NULL) {
		own->within = node->grant;
		if (own->within != NULL)
			own->within->count++;
		node->grant = own;
	}
	if (node->grant != NULL)
		node->grant->count++;
	node->child = NULL;
	node->in = true;
	hang(node, parent);
}

int dcm_tree_enter(struct dcm_node *node, struct dcm_node *parent, struct dcm_tally *tally)
{
	struct dcm_grant *own = NULL;
	bool there;

	if (tally != NULL) {
		own = grant_new(tally);
		if (own == NULL)
			return -ENOMEM;
	}
	pthread_mutex_lock(&lock);
	there = parent == NULL || parent->in;
	if (there)
		enter(node, parent, own);
	pthread_mutex_unlock(&lock);
	if (there)
		return 0;
	if (own != NULL)
		dcm_object_drop(tally->object);
	free(own);
	return -ENOENT;
}

void dcm_tree_confirm(struct dcm_node *node, struct dcm_tally *tally)
{
	bool over = false;

	pthread_mutex_lock(&lock);
	if (node->in) {
		node->grant->confirmed = true;
		tally->grants++;
	} else {
		over = tally->grants == 0;
	}
	pthread_mutex_unlock(&lock);
	if (over)
		tally->none_left(tally->object);
}

bool dcm_tree_leave(struct dcm_node *node)
{
	struct ended ended = { NULL, NULL };
	struct dcm_node *child;
	bool was_in;

	pthread_mutex_lock(&lock);
	was_in = node->in;
	if (was_in) {
		take_off(node);
		while ((child = node->child) != NULL) {
			node->child = child->next;
			hang(child, node->parent);
		}
		let_go(node->grant, &ended);
	}
	pthread_mutex_unlock(&lock);
	tell(&ended);
	return was_in;
}

static bool lies_in(const struct dcm_node *node, const struct dcm_tally *tally)
{
	const struct dcm_node *at = node->follows && node->parent != NULL ? node->parent : node;
	const struct dcm_grant *grant = at->grant;

	while (grant != NULL && grant->tally != tally)
		grant = grant->within;
	return grant != NULL;
}

/* What comes behind @node below @top, parents before children; null: nothing. */
static struct dcm_node *behind(struct dcm_node *node, const struct dcm_node *top)
{
	if (node->child != NULL)
		return node->child;
	while (node != top && node->next == NULL)
		node = node->parent;
	return node == top ? NULL : node->next;
}

/* With the lock: off the tree with all that is meant, as a list of held objects. */
static struct dcm_node *collect(struct dcm_node *top, const struct dcm_tally *tally, bool itself)
{
	struct dcm_node *revoked = NULL, *node = itself ? top : behind(top, top);

	for (; node != NULL; node = behind(node, top)) {
		if (tally != NULL && !lies_in(node, tally))
			continue;
		dcm_object_hold(node->object);
		node->next_revoked = revoked;
		revoked = node;
	}
	/* Whoever lies in a grant has its descendants there too: nobody is left without a parent. */
	for (node = revoked; node != NULL; node = node->next_revoked)
		take_off(node);
	return revoked;
}

bool dcm_tree_revoke(struct dcm_node *top, const struct dcm_tally *tally, bool itself)
{
	struct ended ended = { NULL, NULL };
	struct dcm_node *revoked, *node;
	bool was_in;

	pthread_mutex_lock(&revoking);
	pthread_mutex_lock(&lock);
	was_in = top->in;
	revoked = was_in ? collect(top, tally, itself) : NULL;
	pthread_mutex_unlock(&lock);
	for (node = revoked; node != NULL; node = node->next_revoked)
		node->revoke(node->object);
	pthread_mutex_unlock(&revoking);
	/* Behind all of that: who is told that none is left finds nothing going on any more. */
	pthread_mutex_lock(&lock);
	for (node = revoked; node != NULL; node = node->next_revoked)
		let_go(node->grant, &ended);
	pthread_mutex_unlock(&lock);
	tell(&ended);
	while (revoked != NULL) {
		node = revoked;
		revoked = node->next_revoked;
		dcm_object_drop(node->object);
	}
	return was_in;
}

struct forked {
	struct dcm_node *(*node_of)(struct dcm_object *object);
};

static void make_root(struct dcm_object *object, void *arg)
{
	struct dcm_node *node = ((struct forked *)arg)->node_of(object);

	node->parent = NULL;
	node->child = NULL;
	node->next = NULL;
	node->previous = NULL;
	node->grant = NULL; /* which its badge, not kept, is not told of; nor is its memory freed */
}

void dcm_tree_forked(uint32_t kinds, struct dcm_node *(*node_of)(struct dcm_object *object))
{
	struct forked forked = { .node_of = node_of };

	pthread_mutex_init(&lock, NULL);
	pthread_mutex_init(&revoking, NULL);
	dcm_handle_each(kinds, make_root, &forked);
}
