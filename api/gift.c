/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/gift.h"

#include <errno.h>
#include <pthread.h>

#include "api/full.h"
#include "api/identity.h"
#include "api/retcode.h"
#include "shm/reap.h"

struct dcm_giving {
	struct dcm_object object;
	struct dcm_node node;
	dcm_atomic32 users;   /* the handle, publications, connections; none: it leaves the tree */
	dcm_atomic32 revoked; /* what is to be given from now on needs another */
	uint64_t attachment;  /* the fabric that it is in */
	uint32_t self;
	struct dcm_ref slot;
	uint64_t key;
};

/* Which gift each handle has. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Never in the table. */
static const struct dcm_object_type giving_type = { .kind = DCM_KIND_RESOURCE };

/* If the process has left the fabric, those it knew there will not hear of this. */
static void revoke(struct dcm_object *object)
{
	struct dcm_giving *giving = (struct dcm_giving *)object;
	struct dcm_fabric *fabric = dcm_fabric_peek(giving->attachment);

	dcm_store(&giving->revoked, 1u, seq);
	if (fabric == NULL)
		return;
	dcm_gift_revoke(&fabric->seg, giving->self, giving->slot, giving->key);
	dcm_fabric_drop(fabric);
}

static bool make(const struct dcm_fabric *fabric, struct dcm_giving *giving)
{
	const struct dcm_segment *seg = &fabric->seg;

	giving->key = dcm_sid_next();
	if (dcm_gift_make(seg, giving->self, giving->key, &giving->slot))
		return true;
	dcm_reap_scan(seg, giving->self, true);
	return dcm_gift_make(seg, giving->self, giving->key, &giving->slot);
}

static Retcode giving_new(const struct dcm_fabric *fabric, struct dcm_giving **out)
{
	struct dcm_giving *giving =
		(struct dcm_giving *)(void *)dcm_object_new(&giving_type, sizeof *giving);

	*out = giving;
	if (giving == NULL)
		return dcm_fail(rcOutOfMemory, "no memory to give a handle");
	giving->node.object = &giving->object;
	giving->node.revoke = revoke;
	giving->node.follows = true;
	giving->attachment = dcm_fabric_attachment();
	giving->self = fabric->self.index;
	if (make(fabric, giving))
		return rcOk;
	dcm_object_drop(&giving->object);
	*out = NULL;
	return dcm_fail_full(&fabric->seg, &fabric->seg.gift, "handles given", "DCM_MAX_GIFTS");
}

/* Under the lock: one that still serves, with a count for the caller. */
static struct dcm_giving *current(struct dcm_kernel_object *kernel)
{
	struct dcm_giving *giving = kernel->giving;

	if (giving == NULL || giving->attachment != dcm_fabric_attachment() ||
	    dcm_load(&giving->revoked, seq) != 0)
		return NULL;
	dcm_add(&giving->users, 1u);
	return giving;
}

static void free_slot(const struct dcm_giving *giving)
{
	struct dcm_fabric *fabric = dcm_fabric_peek(giving->attachment);

	if (fabric == NULL)
		return;
	dcm_gift_drop(&fabric->seg, giving->self, giving->slot);
	dcm_fabric_drop(fabric);
}

void dcm_giving_put(struct dcm_giving *giving)
{
	if (dcm_add(&giving->users, UINT32_MAX) != 1)
		return;
	/* Whoever takes it off the tree has the slot: one that is revoked keeps it. */
	if (dcm_tree_leave(&giving->node))
		free_slot(giving);
	dcm_object_drop(&giving->object);
}

/* Of one that never came into the tree. */
static void discard(struct dcm_giving *giving)
{
	free_slot(giving);
	dcm_object_drop(&giving->object);
}

/* Under the lock: the handle's own from now on, and the caller's. False: the handle has left. */
static bool take_over(struct dcm_kernel_object *kernel, struct dcm_giving *made)
{
	dcm_store(&made->users, 2u, relaxed);
	if (dcm_tree_enter(&made->node, &kernel->node, NULL) < 0)
		return false;
	kernel->giving = made;
	return true;
}

static Retcode get_new(struct dcm_kernel_object *kernel, struct dcm_fabric *fabric,
		       struct dcm_giving **out)
{
	struct dcm_giving *made, *before = NULL;
	Retcode rc = giving_new(fabric, &made);

	if (rc != rcOk)
		return rc;
	pthread_mutex_lock(&lock);
	*out = current(kernel); /* another thread was first */
	if (*out == NULL) {
		before = kernel->giving;
		if (take_over(kernel, made))
			*out = made;
		else
			before = NULL;
	}
	pthread_mutex_unlock(&lock);
	if (before != NULL)
		dcm_giving_put(before);
	if (*out != made)
		discard(made);
	return *out != NULL
		       ? rcOk
		       : dcm_fail(rcInvalidArgument, "the handle was closed or revoked meanwhile");
}

Retcode dcm_giving_get(struct dcm_kernel_object *kernel, struct dcm_fabric *fabric,
		       struct dcm_giving **out)
{
	pthread_mutex_lock(&lock);
	*out = current(kernel);
	pthread_mutex_unlock(&lock);
	return *out != NULL ? rcOk : get_new(kernel, fabric, out);
}

struct dcm_gift dcm_giving_name(const struct dcm_giving *giving)
{
	return dcm_gift_name(giving->slot, giving->key);
}

void dcm_giving_close(struct dcm_kernel_object *kernel)
{
	struct dcm_giving *giving;

	pthread_mutex_lock(&lock);
	giving = kernel->giving;
	kernel->giving = NULL;
	pthread_mutex_unlock(&lock);
	if (giving != NULL)
		dcm_giving_put(giving);
}

void dcm_giving_forked(void)
{
	pthread_mutex_init(&lock, NULL);
}

bool dcm_shown_revoked(struct dcm_resource *resource)
{
	struct dcm_fabric *fabric;
	int saved = errno;

	if (dcm_load(&resource->revoked, relaxed) != 0)
		return true;
	fabric = dcm_fabric_peek(DCM_ANY_ATTACHMENT);
	if (fabric == NULL)
		return false; /* it hears of nothing */
	/* Kept: what the table says of it may be written over when its giver is gone. */
	if (dcm_gift_revoked(&fabric->seg, resource->gift))
		dcm_store(&resource->revoked, 1u, relaxed);
	dcm_fabric_drop(fabric);
	errno = saved;
	return dcm_load(&resource->revoked, relaxed) != 0;
}
