/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processes of the kill test: servers, clients, newcomers who come and go, and observers. Any
 * of them may die at any instruction, so what they tell lies in memory that they share.
 */
#ifndef DCM_TESTS_STRESS_LIB_KILL_H
#define DCM_TESTS_STRESS_LIB_KILL_H

#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>

#include "tests/stress/lib_history.h"
#include "tests/stress/lib_stress.h"

enum {
	KILL_SERVERS = 4, /* endpoint "s0" and so on */
	KILL_CLIENTS = 5,
	KILL_NEWCOMERS = 2,
	KILL_OBSERVERS = 2,
	/* In this order; the last server, the last client and the observers live on. */
	KILL_FIRST_CLIENT = KILL_SERVERS,
	KILL_FIRST_NEWCOMER = KILL_FIRST_CLIENT + KILL_CLIENTS,
	KILL_FIRST_OBSERVER = KILL_FIRST_NEWCOMER + KILL_NEWCOMERS,
	KILL_WORKERS = KILL_FIRST_OBSERVER + KILL_OBSERVERS,
	KILL_CONTROL = HISTORY_WRITERS - 1, /* writes the history of births and deaths */
	KILL_THREADS = 5,		    /* of a process that make calls which block */
	KILL_CALLERS = 2,		    /* threads of a client that call */
	KILL_TOGGLED = 3,		    /* endpoints that a server publishes now and then */
};

#define KILL_TYPE "test.Kill"

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
	_Atomic uint32_t phase;	  /* rises with each order */
	_Atomic uint32_t all_die; /* those who live on as well */
	struct kill_worker worker[KILL_WORKERS];
	_Atomic uint32_t broken; /* calls that a death ended */
	_Atomic uint32_t full;	 /* tables found full */
	struct history history;
};

static inline bool kill_lives_on(uint32_t index)
{
	return index == KILL_SERVERS - 1 || index == KILL_FIRST_NEWCOMER - 1 ||
	       index >= KILL_FIRST_OBSERVER;
}

/*
 * kill_work() - be worker @index until ordered to leave; ends the process
 * @gone: the program that it becomes when SIGUSR1 comes, at whatever instruction
 */
void kill_work(struct kill_board *board, uint32_t index, uint64_t seed, const char *gone)
	__attribute__((noreturn));

/* What the workers share. */

extern struct kill_board *kill_board;
extern struct kill_worker *kill_self;
extern uint32_t kill_index;
extern uint64_t kill_dice; /* of the main thread */

/* kill_enter()/kill_leave() - around a call that may block, in thread number @thread */
void kill_enter(unsigned thread, const char *what);
void kill_leave(unsigned thread);

bool kill_working(void);
bool kill_leaving(void);

/* kill_pause() - here all that was ordered so far is done */
void kill_pause(void);

/* kill_attach() - DcmInit() */
void kill_attach(void);

/* kill_ok() - was it rcOk? It may have been @other; a failure if neither */
bool kill_ok(Retcode other, Retcode seen, const char *what);

/* kill_note() - in this process's history */
void kill_note(enum history_what what, uint64_t sid, const char *name);
bool kill_room(void);

/* A publication with its history; handle 0: none. */
struct kill_publication {
	DcmHandle handle;
	Sid sid;
	char name[HISTORY_NAME];
};

/* kill_publish() - as this process or as a new object of its own; false: no room */
bool kill_publish(struct kill_publication *p, bool as_object, const char *name);
void kill_withdraw(struct kill_publication *p);

/* kill_read() - one notice into the history; its result is for the caller to judge */
Retcode kill_read(DcmHandle subscription, DcmTimeout timeout);

/* The roles. */
void kill_be_server(void);
void kill_be_client(void);
void kill_be_newcomer(void);
void kill_be_observer(bool slow);

#endif
