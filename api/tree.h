/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tree - which handle descends from which, in this process
 *
 * Every number of the Handle space is a node, and so is the server's end of every channel: it
 * stands for the session that its client holds, and descends from the callable handle that was
 * accepted with. Other processes' trees are their own.
 *
 * A copy or a transfer that is made under a badge begins a grant: the subtree that grows from it.
 * A grant lasts until the last node of that subtree has left, wherever in the tree it hangs by then;
 * grants lie within grants. A badge's tally counts the grants made under it.
 *
 *   copy        the new node is a child of the copied one, in its grant or in a new one within
 *   close       the node leaves; its children become its parent's, and stay in their grants
 *   revoke      all below a node leave, or all below it that lie in grants of one badge
 *
 * One lock, never held while anything else is called; and one that revocations hold, which come one
 * after the other. Nodes live in objects, which leave before they are freed.
 */
#ifndef DCM_API_TREE_H
#define DCM_API_TREE_H

#include "api/handle.h"

struct dcm_grant;

/* All but @object and @revoke under the tree's lock. */
struct dcm_node {
	struct dcm_object *object; /* whose node it is */
	/* It has left by a revocation: whatever goes on through it ends. No lock is held but that of
	   revocations: it revokes nothing itself. */
	void (*revoke)(struct dcm_object *object);
	struct dcm_node *parent, *child, *next, *previous;
	struct dcm_grant *grant; /* the innermost; null: none */
	struct dcm_node *next_revoked;
	/* It stands for what lives in other processes: it counts in no grant, and lies in those that
	   its parent lies in. Set before it enters; it has no children. */
	bool follows;
	bool in; /* it is in the tree */
};

/* In an object that descendants are counted for. */
struct dcm_tally {
	struct dcm_object *object; /* held for each grant */
	/* The last of its grants is over, for now. No lock is held. */
	void (*none_left)(struct dcm_object *object);
	uint32_t grants; /* under the tree's lock */
};

/*
 * dcm_tree_enter() - the node, new, becomes a child of @parent (null: a root), under @tally or null
 * The tally counts its grant from dcm_tree_confirm() on.
 * Return: 0; -ENOENT the parent has left; -ENOMEM.
 */
int dcm_tree_enter(struct dcm_node *node, struct dcm_node *parent, struct dcm_tally *tally);

/*
 * dcm_tree_confirm() - what was given with a node that entered under @tally has been given
 * If it is over by now, the tally hears of that now. One that leaves unconfirmed never was given.
 */
void dcm_tree_confirm(struct dcm_node *node, struct dcm_tally *tally);

/* dcm_tree_leave() - it is closed; false: it has left before, or never was in */
bool dcm_tree_leave(struct dcm_node *node);

/*
 * dcm_tree_revoke() - all below @node leave in one step, each with a call of its revoke
 * @tally:  null: all; else those alone that lie in one of its grants
 * @itself: the node too
 * What another thread is revoking meanwhile has ended, too, when it returns.
 * Return: false: the node has left before; nothing is below it.
 */
bool dcm_tree_revoke(struct dcm_node *node, const struct dcm_tally *tally, bool itself);

/*
 * dcm_tree_forked() - in a forked child: each of @kinds that it has kept is a root in no grant
 * Another thread of the parent may have been at work in the tree.
 */
void dcm_tree_forked(uint32_t kinds, struct dcm_node *(*node_of)(struct dcm_object *object));

#endif
