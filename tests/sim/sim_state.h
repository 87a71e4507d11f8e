/* SPDX-License-Identifier: BSD-2-Clause */
/* state - what the parts of the simulator know of a run; scenarios see sim_core.h alone */
#ifndef DCM_TESTS_SIM_STATE_H
#define DCM_TESTS_SIM_STATE_H

#include "shm/park.h"
#include "tests/sim/sim_core.h"
#include "tests/sim/sim_fiber.h"

enum { SIM_BUFFER = 8, SIM_EVENTS = 128, SIM_LOG = 1024, SIM_PLAINS = 8 };
enum { SIM_WORDS = 2 + DCM_PARK_DEATHS }; /* that one sleep is on */

enum sim_thread_state { SIM_READY, SIM_ASLEEP, SIM_WAITING, SIM_ENDED };

/* A store that its fiber has made and nobody else sees. */
struct sim_store {
	volatile void *word;
	uint64_t value;
	unsigned bytes;
	bool relaxed;
};

struct sim_thread {
	const char *name;
	unsigned process;
	enum sim_thread_state state;
	void (*body)(void *);
	void *arg;
	bool serves;   /* may sleep for ever */
	bool keeps;    /* the alive words are on its list */
	bool finished; /* came to its end, was not killed */
	int64_t priority;
	struct sim_fiber *fiber;
	struct sim_store buffer[SIM_BUFFER];
	unsigned stores;
	/* The earliest moment at which a load of now that is not seq may have happened. */
	uint64_t floor;
	uint64_t last_seq;		   /* when the last seq access was */
	const volatile void *relaxed_word; /* the last one loaded so, and as of when */
	uint64_t relaxed_at;
	/* Asleep. */
	const volatile void *on[SIM_WORDS];
	int64_t deadline_ns;
	uint64_t queued; /* first come, first woken */
	int woken;	 /* what the sleep returns */
	/* Waiting. */
	bool (*ready)(void *);
	void *ready_arg;
};

struct sim_process {
	const char *name;
	unsigned flags;
	struct sim_alive alive;
	unsigned marks; /* of its alive words, so many are marked */
	bool killed, marked, proved;
	uint32_t stopped; /* how many stops are not over */
	unsigned threads;
};

enum sim_event_kind {
	SIM_KILL,  /* SIGKILL to process @which */
	SIM_EXEC,  /* process @which calls execve */
	SIM_END,   /* thread @which of a killed process executes no more */
	SIM_MARK,  /* the kernel marks alive words of it */
	SIM_PROVE, /* and can tell that it is gone */
	SIM_STOP,  /* SIGSTOP to process @which, SIGCONT some time later */
	SIM_STOP_ONLY,
	SIM_GO_ON,  /* SIGCONT */
	SIM_STRAY,  /* somebody wakes for no reason */
	SIM_EXPIRE, /* the first deadline passes though others still run */
	SIM_CHANGE, /* the running fiber falls to the lowest priority, or is long kept from running */
};

struct sim_event {
	uint64_t at;
	enum sim_event_kind kind;
	unsigned which;
};

/* A change of memory: what was there before. */
struct sim_change {
	const volatile void *word;
	uint64_t old, at;
	unsigned thread;
};

struct sim {
	const struct sim_scenario *scenario;
	uint64_t seed, random[2];
	uint64_t steps, steps_all;
	uint64_t next_stop; /* the step at which the scheduler is needed */
	uint64_t next_switch, next_drain;
	int64_t now_ns;
	bool by_priority, weak, tracing;
	uint32_t stay, linger; /* one in so many steps: a switch; a store drained */
	int64_t lowest;
	bool changed; /* ask those in sim_wait() again */
	bool failed;
	char message[512];

	struct sim_thread threads[SIM_THREADS];
	unsigned thread_count;
	struct sim_process processes[SIM_PROCESSES];
	unsigned process_count;
	uint32_t ready;	  /* bits of threads */
	uint32_t shunned; /* at random, one of these runs only when nobody else can */
	uint32_t storing;
	int current; /* -1: the scheduler */
	int direct;  /* who runs, while sim_direct() */
	uint64_t queue_counter;
	unsigned stopped, stopped_most; /* processes */

	struct sim_event events[SIM_EVENTS];
	unsigned event_count;

	struct sim_change log[SIM_LOG];
	uint64_t changes;

	struct {
		const volatile char *start;
		size_t bytes, stride, rows;
	} plain[SIM_PLAINS];
	unsigned plain_count;
	uint32_t plain_skip;
	struct {
		const volatile char *start;
		size_t bytes;
	} unmapped;
};

extern struct sim sim;

/* sim_core.c */
void sim_event_add(uint64_t at, enum sim_event_kind kind, unsigned which);
void sim_set_ready(unsigned thread);
void sim_unset_ready(unsigned thread);
void sim_block(void); /* the current fiber is no longer ready: go to another */
const char *sim_name_of(const volatile void *word);

/* sim_memory.c: the hooks, and what else touches memory */
uint64_t sim_hook_load(const volatile void *word, unsigned bytes, enum dcm_order order);
void sim_hook_store(volatile void *word, unsigned bytes, uint64_t value, enum dcm_order order);
bool sim_hook_cas(volatile void *word, unsigned bytes, uint64_t *expected, uint64_t desired);
uint64_t sim_hook_rmw(volatile void *word, unsigned bytes, enum dcm_rmw op, uint64_t operand);
void sim_drain(unsigned thread);     /* all of its stores */
void sim_drain_one(unsigned thread); /* one of them */
uint64_t sim_peek(const volatile void *word, unsigned bytes);
void sim_poke(volatile void *word, unsigned bytes, uint64_t value);

/* sim_kernel.c: futexes, clock, death */
int sim_hook_futex_wait(const struct dcm_park_word *words, unsigned count, int64_t deadline_ns);
int sim_hook_futex_wake(dcm_atomic32 *word, int count);
int sim_hook_futex_add_wake(dcm_atomic32 *word, uint32_t add);
void sim_hook_barrier(void);
int64_t sim_hook_now(void);
void sim_hook_pause(void);
bool sim_hook_process_dead(uint32_t index, uint64_t generation);
void sim_event_run(struct sim_event event);
bool sim_expire_first(void); /* the first deadline passes; false: there is none */

#endif
