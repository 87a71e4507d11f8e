/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * victim - kills of a real participant at each step of what it does, and what another sees of it
 *
 * Beside the victims lives a bystander: it reads all notices, serves who asks for "offer", under a
 * badge of its own each, refuses
 * who asks for "refuse", lets "ignored" wait, and when "victim" is published connects to it and
 * calls until that fails. After each death all that is left must be the bystander's, its calls must
 * have ended, its badges must say so, once, and a newcomer must find everything in order.
 */
#ifndef DCM_TESTS_CRASH_LIB_VICTIM_H
#define DCM_TESTS_CRASH_LIB_VICTIM_H

#include <coresrv/handle/handle_api.h>
#include <coresrv/task/task_api.h>
#include <dcm/channel.h>
#include <dcm/dcm_api.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/segment.h"

#define VICTIM_TYPE "crash.Type"

/* What the processes of a test share. */
struct stand {
	_Atomic uint32_t ready;	   /* the bystander is */
	_Atomic uint32_t known;	   /* publications that it knows of */
	_Atomic uint32_t begun;	   /* its connections to "victim" */
	_Atomic uint32_t asking;   /* ... that came to DcmConnect */
	_Atomic uint32_t ended;	   /* ... that are over */
	_Atomic uint32_t answered; /* calls, in all */
	_Atomic uint32_t given;	   /* sessions that it gave, each under a badge of its own */
	_Atomic uint32_t closed;   /* ... that were closed, says the badge */
	_Atomic uint32_t waiting;  /* to be killed: how many ever were */
	_Atomic uint32_t armed;	   /* to die at a step of theirs: how many ever were */
};
extern struct stand *stand;
extern struct dcm_segment stand_segment; /* to look at */

/*
 * stand_begin()/stand_end() - the fabric with its bystander; the first is plan_lazy() as well
 * stand_begin_loop() - with a bystander of one thread, which never blocks but for events and
 * descriptors; @news_by_fd: of its subscription by this, else by that
 */
void stand_begin(void);
void stand_begin_loop(bool news_by_fd);
void stand_end(void);
/* stand_bystander() - it becomes the bystander; stand_newcomer() - a whole life in order */
void stand_bystander(void) __attribute__((noreturn));
extern bool stand_news_by_fd;
void stand_looper(void) __attribute__((noreturn));
void stand_newcomer(void) __attribute__((noreturn));

/* What both bystanders do: publish under their own identity; note what a notice says. */
void stand_publish(const char *name, DcmHandle *out);
void stand_note_told(DcmPubStatus status, Sid sid, const char *name);

/* stand_stop() - the bystander is stopped, or goes on; it does so when a victim is dead */
void stand_stop(bool stop);

/* For bystanders. stand_accept() - under a badge of its own, whose end counts, and is told to the notice
   as @id; stand_goes_on() - a call may end with the server's death, or as it has revoked the session */
void stand_accept(Notice notice, uintptr_t id, DcmHandle request, Handle callable);
bool stand_goes_on(Retcode rc, const char *what);

/* stand_settled() - all is as before there was a victim; with a newcomer's life */
bool stand_settled(void);

struct scenario {
	const char *name;
	void (*prepare)(void); /* attached already; null: it is not, @run does that */
	void (*run)(void);     /* its steps are counted */
	bool keeper;	       /* the other threads' steps are, in its place */
};

/* What clients do, and servers. */
extern const struct scenario client_scenarios[], server_scenarios[];
extern const size_t client_scenario_count, server_scenario_count;

/* victim_enumerate() - a kill at each step of each scenario */
void victim_enumerate(const struct scenario *scenarios, size_t count);

/* victim_fork() - a child that runs @run, as process "victim" with hooks on; its end is not waited for */
pid_t victim_fork(void (*run)(void));

/* victim_report() - one result and one line of proof */
void victim_report(const char *name, uint64_t kills, uint64_t bad);

/* expect() - report when it is neither rcOk nor @other; whether it was rcOk */
bool expect(Retcode other, Retcode seen, const char *what);
void nap_us(long us);
int64_t now_ms(void);

#endif
