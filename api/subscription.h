/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * subscription - to one interface, or to a group of them: what the two have in common
 *
 * One slot of the fabric, one ring of hints, a source of events; what they see of the registry, and
 * how it is read, is their own (api/subscribe.c, api/group_subscribe.c).
 */
#ifndef DCM_API_SUBSCRIPTION_H
#define DCM_API_SUBSCRIPTION_H

#include <pthread.h>

#include "api/attach.h"
#include "api/group_known.h"
#include "api/source.h"
#include "api/wait.h"

/* Behind DCM_KIND_SUBSCRIPTION, of one interface, and DCM_KIND_GROUP_SUBSCRIPTION, of any number. */
struct dcm_subscription_object {
	struct dcm_object object;
	struct dcm_blocker blocker;
	struct dcm_source source;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref ref;
	char **types;
	uint64_t *hashes;
	size_t count; /* of both */
	uint64_t name_hash; /* 0: any */
	pthread_mutex_t lock;
	/* Under lock, the one of them that is of its kind: */
	struct dcm_known *known;
	struct dcm_group_known *group;
};

/* What is asked for, as it came from the program. */
struct dcm_wanted {
	enum dcm_kind kind;
	const char *const *types;
	size_t count;
	const char *name; /* of an endpoint; null: any */
	const char *server_name;
	Handle server;
};

/* dcm_subscription_set() - DcmSetSubscription(), DcmSetGroupSubscription() */
Retcode dcm_subscription_set(const struct dcm_wanted *wanted, DcmHandle *out);

/* dcm_subscription_wait() - dcm_wait_for() of a reader, and what it says when there was nothing */
Retcode dcm_subscription_wait(struct dcm_subscription_object *subscription, DcmTimeout timeout,
			      dcm_look_fn *look, void *arg);

/* dcm_subscription_waiting() - how many notices of one interface can be read now, or of very many a
   bound; 0 if it is closed */
uint32_t dcm_subscription_waiting(DcmHandle subscription);

#endif
