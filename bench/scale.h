/* SPDX-License-Identifier: BSD-2-Clause */
/* scale - what its driver (scale.c), and the processes that do what it says (scale_roles.c), share */
#ifndef DCM_BENCH_SCALE_H
#define DCM_BENCH_SCALE_H

#include <stdatomic.h>
#include <stdint.h>

#include "bench/lib_place.h"

enum { SCALE_RUNS_MAX = 101, SCALE_ENDPOINTS_MAX = 500000, SCALE_SESSIONS_MAX = 60000 };

enum scale_what {
	/* Of the one who measures: */
	SCALE_PAIR,	 /* publish and unpublish */
	SCALE_SUBSCRIBE, /* one match, read, and closed again */
	SCALE_BY_NAME,	 /* the same, of an interface that many publish */
	SCALE_REQUEST,	 /* for what nobody publishes, and withdrawn */
	SCALE_BACKFILL,	 /* @n matches, each */
	SCALE_RESYNC,	 /* with @n known, each */
	SCALE_CONNECT,	 /* to the first reply, and closed again */
	SCALE_AMONG,	 /* the same */
	SCALE_CALL,	 /* over a session of its own */
	/* Of those who are there: */
	SCALE_PUBLISH, /* up to @n endpoints */
	SCALE_HOLD,    /* up to @n sessions with the server */
};

/* One process that does what it is asked for. */
struct scale_role {
	struct place place;
	uint32_t runs;
	enum scale_what what;
	uint64_t n;
	_Alignas(64) _Atomic uint32_t asked;
	_Atomic uint32_t done;
	int64_t ns[SCALE_RUNS_MAX]; /* of one, in each run */
};

/* For bench_child(): struct scale_role. */
void scale_measurer(void *role);
void scale_filler(void *role);
void scale_holder(void *role);
void scale_server(void *role);
void scale_bystander(void *role); /* it attaches, no more */

#endif
