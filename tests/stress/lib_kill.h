/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processes of the kill test: servers, clients, and an observer that is never killed. Any of
 * them may die at any instruction, so what they tell lies in memory that they share.
 */
#ifndef DCM_TESTS_STRESS_LIB_KILL_H
#define DCM_TESTS_STRESS_LIB_KILL_H

#include "tests/stress/lib_stress.h"

enum {
	KILL_SERVERS = 4,
	KILL_CLIENTS = 6,
	KILL_WORKERS = KILL_SERVERS + KILL_CLIENTS + 1, /* the observer is the last */
	KILL_OBSERVER = KILL_WORKERS - 1,
	KILL_THREADS = 5, /* of a process that make calls which block */
	KILL_TOGGLED = 3, /* endpoints that a server publishes now and then */
};

/* What all are to do. */
enum { KILL_WORK, KILL_PAUSE, KILL_LEAVE };

struct kill_worker {
	_Atomic uint32_t phase; /* the last that it came to: board->phase of that time */
	struct {
		_Atomic int64_t since_ms; /* in a call that may block; 0: in none */
		_Atomic(const char *) what;
	} thread[KILL_THREADS];
	_Atomic uint64_t done; /* calls, or notices */
};

struct kill_board {
	_Atomic uint32_t order;
	_Atomic uint32_t phase; /* rises with each order */
	struct kill_worker worker[KILL_WORKERS];
	_Atomic uint32_t broken; /* calls that a death ended */
	_Atomic uint32_t full;	 /* tables found full */
	_Atomic uint32_t agreed; /* phase at which the observer knew what it must */
};

/* kill_work() - be worker @index until ordered to leave; ends the process */
void kill_work(struct kill_board *board, uint32_t index, uint64_t seed) __attribute__((noreturn));

#endif
