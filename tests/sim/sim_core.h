/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sim - the project's real sources under a scheduler of our own
 *
 * Participants are fibers of one thread: a process is a name and a set of them. Each dcm_* access
 * is a step, at which the scheduler may go to another fiber, kill or stop a process, drain a store
 * buffer, or let time pass. One seed is one run, the same on every machine.
 *
 *	static void setup(void)
 *	{
 *		unsigned p = sim_process("writer", SIM_KILLABLE);
 *		sim_thread(p, "writer", writer, NULL);
 *		...
 *	}
 *	const struct sim_scenario example = { .name = "example", .horizon = 500, .setup = setup };
 *	...
 *	if (!sim_run(&example, seed))
 *		diag("%s", sim_message());
 *
 * What is modelled
 *   memory   x86-TSO: stores that are not seq wait in a FIFO of the fiber, its own loads see them
 *            there, read-modify-writes and seq stores drain it; and, in half of the runs, loads
 *            that are not seq happen before what stands before them (as other processors do)
 *   kernel   futexes with several words, queues in order, needless wake-ups, time-outs;
 *            robust alive words that are marked, one waiter of each woken, one after the other,
 *            some time after a SIGKILL or an execve
 *   death    in two levels: the marks, and later the proof (sim_proved). Threads of a killed
 *            process run on for a random while, at the longest until the proof; at an execve all
 *            of them have ended before the first mark
 *   locks    pthread mutexes, which a dead thread leaves locked
 *   time     passes by itself only when nobody can run
 *
 * A run fails when a scenario says so, when it takes too many steps, or when at its end somebody
 * sleeps whom nobody will wake.
 */
#ifndef DCM_TESTS_SIM_CORE_H
#define DCM_TESTS_SIM_CORE_H

#include "shm/atomics.h"

enum { SIM_PROCESSES = 20, SIM_THREADS = 32 };

/* What may happen to a process. */
enum {
	SIM_KILLABLE = 1,
	SIM_STOPPABLE = 2,
	SIM_SERVANT = 4, /* may sleep for ever: it serves the others */
};

struct sim_scenario {
	const char *name;
	uint64_t horizon;      /* steps of a usual run: kills and the like happen within these */
	uint32_t kills_max;    /* how many processes at most are killed; 0: none */
	uint32_t stops_max;    /* how often one is stopped for a while */
	uint32_t spurious_max; /* wake-ups for no reason, and time-outs before their time */
	void (*setup)(void);
	/* Nobody can run: look at everything. True: somebody can run again. May be null. */
	bool (*quiet)(void);
	/* The same while some are stopped: whatever was due of the kernel has happened. May be null. */
	void (*stalled)(void);
	void (*finish)(void); /* after each run, failed or not: give back memory. May be null. */
	/* The hook: is the process of this slot and generation proved dead? May be null. */
	bool (*proved)(uint32_t index, uint64_t generation);
	/* A participant is about to compare and swap: what shall become of it? May be null. */
	void (*before_cas)(const volatile void *word, uint64_t desired);
	/* A participant was woken that slept on @word and others: on its way back a handler of a
	   signal may keep it, with sim_wait(). May be null. */
	void (*woken)(const dcm_atomic32 *word);
	/* For traces: a name for a word; false: none. May be null. */
	bool (*describe)(const volatile void *word, char *text, size_t size);
};

/* sim_run() - one run; true if nothing was wrong, else sim_message() says what */
bool sim_run(const struct sim_scenario *scenario, uint64_t seed);
const char *sim_message(void);
void sim_trace(bool on);	/* print each step to standard error */
uint64_t sim_steps(void);	/* of this run so far */
uint64_t sim_steps_total(void); /* of all runs */

/* The robust futexes of a process, in the order of its list. */
struct sim_alive {
	unsigned char *first;
	size_t stride;
	unsigned count;
};

/* In setup, or later by a participant. Return: its number. */
unsigned sim_process(const char *name, unsigned flags);
void sim_process_alive(unsigned process, struct sim_alive alive);
void sim_thread(unsigned process, const char *name, void (*body)(void *), void *arg);
void sim_thread_serves(void); /* the last one may sleep for ever */
void sim_thread_keeps(void);  /* the alive words are on the list of the last one: it ends first */

/* Below this many, 0 to @n - 1. */
uint32_t sim_random(uint32_t n);

/* sim_fail() - end the run here: something is wrong */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SIM_CHECK(condition, ...)                                                                  \
	do {                                                                                       \
		if (!(condition))                                                                  \
			sim_fail(__VA_ARGS__);                                                     \
	} while (0)

/* For the scenario's own doings, by a participant: a step; a line in the trace. */
void sim_step(void);
void sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * sim_wait() - until @ready(@arg), which is asked again after every death and sim_changed()
 * No word, no wake-up: for the scenario's own staging, not for protocols.
 */
void sim_wait(bool (*ready)(void *), void *arg);
void sim_changed(void);

/* Of processes. */
unsigned sim_process_count(void);
bool sim_running(void);					/* a fiber is, and not the scheduler */
unsigned sim_self(void);				/* the process of the running fiber */
void sim_kill_within(unsigned process, uint32_t steps); /* at some step of the next so many */
/* SIGSTOP at some step of the next @steps, SIGCONT up to @length later. */
void sim_stop_within(unsigned process, uint32_t steps, uint32_t length);
void sim_go_on_within(unsigned process, uint32_t steps);
bool sim_stopped(unsigned process);
unsigned sim_stopped_most(void);     /* at once, in this run so far */
bool sim_marked(unsigned process);   /* the kernel has marked its alive word */
bool sim_killed(unsigned process);   /* it got its SIGKILL, or called execve */
bool sim_proved(unsigned process);   /* and that can be proved */
bool sim_finished(unsigned process); /* all its threads came to their end */

/* sim_direct() - the scenario's own staging: accesses are no steps and reach memory at once */
void sim_direct(bool on);

/* sim_plain() - words of which only few accesses are steps, long names: @bytes in each of @rows */
void sim_plain(const volatile void *start, size_t bytes, size_t stride, size_t rows);

/* sim_unmapped() - words that nobody has: an access to them fails the run */
void sim_unmapped(const volatile void *start, size_t bytes);

#endif
