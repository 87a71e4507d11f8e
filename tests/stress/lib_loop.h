/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop test: what its server and its clients share, and the clients.
 *
 * A client is a connection. Half of the client processes wait for all that they have in one epoll of
 * their own: for the decisions about their requests, then for started calls. The others call from a
 * few threads that block.
 */
#ifndef DCM_TESTS_STRESS_LIB_LOOP_H
#define DCM_TESTS_STRESS_LIB_LOOP_H

#include "tests/stress/lib_stress.h"

#define LOOP_TYPE "test.Loop"
#define LOOP_NEWS "test.Loop.News" /* and a number: interfaces that the server subscribes to */

enum {
	LOOP_CLIENTS = 1000,
	LOOP_PROCESSES = 4,
	LOOP_EACH = LOOP_CLIENTS / LOOP_PROCESSES,
	LOOP_PUBLICATIONS = 10,
	LOOP_SUBSCRIPTIONS = 10,
	LOOP_CALLERS = 2,     /* threads of a process whose calls block */
	LOOP_NEWS_EVERY = 64, /* calls of a process between two changes of what it publishes */
	LOOP_PATIENCE_MS = 60 * 1000,
};

/* In memory that all processes share. */
struct loop_shared {
	uint64_t calls; /* of each process */
	_Atomic uint32_t go, connected, over, end;
	_Atomic uint64_t answered;
	_Atomic uint64_t longest_us;		   /* that a call took */
	_Atomic uint32_t live[LOOP_SUBSCRIPTIONS]; /* endpoints that are published in the end */
};

/* loop_client() - the whole of client process @number; returns when the test is over */
void loop_client(struct loop_shared *shared, unsigned int number);

/* loop_answer() - what the server must answer to @question */
static inline uint64_t loop_answer(uint64_t question)
{
	return mix(question + 1);
}

#endif
