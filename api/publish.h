/* SPDX-License-Identifier: BSD-2-Clause */
/* publish - the server's side of the base API: publications, and requests taken from them */
#ifndef DCM_API_PUBLISH_H
#define DCM_API_PUBLISH_H

#include <pthread.h>

#include "api/attach.h"
#include "api/gift.h"
#include "api/handle.h"
#include "api/hashed.h"
#include "api/peer.h"
#include "api/source.h"
#include "api/wait.h"

/* What this process publishes under one name. */
struct dcm_published {
	struct dcm_hashed_link link; /* of all that this process publishes */
	uint64_t sid, type_hash, name_hash;
	char *type, *name;
	void *context; /* the program's, of an endpoint of a group; not followed */
};

/* Behind DCM_KIND_PUBLICATION, of one endpoint, and DCM_KIND_GROUP_PUBLICATION, of any number. */
struct dcm_publication {
	struct dcm_object object;
	struct dcm_blocker blocker;
	struct dcm_source source;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_giving *giving; /* of the server handle, to be put */
	size_t count;
	struct dcm_published *published; /* @count of them, behind this */
	struct dcm_ref *endpoints;	 /* likewise; requests for any are told of at the first */
};

/* What became of a request; accepted also while a thread is about to, back again if it cannot. */
enum { DCM_REQUEST_UNDECIDED, DCM_REQUEST_ACCEPTED, DCM_REQUEST_REFUSED };

/* Behind DCM_KIND_REQUEST. */
struct dcm_request {
	struct dcm_object object;
	struct dcm_fabric *fabric; /* counted */
	struct dcm_ref connection;
	struct dcm_ref client; /* process */
	dcm_atomic32 decided;  /* DCM_REQUEST_... */
	dcm_atomic32 closed;
	pthread_mutex_t lock;
	struct dcm_peer peer; /* under lock: who asks */
};

#endif
