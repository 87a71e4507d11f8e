/* SPDX-License-Identifier: BSD-2-Clause */
/* Who watches whom, and what wakes who sleeps on the words of another process. */
#define _GNU_SOURCE
#include "shm/process.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/park.h"
#include "tests/tap.h"
#include "tests/unit/lib_process.h"

enum { CHILDREN = 5 };

static void left(void)
{
	struct dcm_process_self self = proc_describe("leaver");
	struct dcm_ref ref;
	struct timespec pause = { .tv_nsec = 20000000 };
	int status = 0;
	pid_t pid;

	proc_begin("left");
	is_int(0, dcm_process_claim(&proc_seg, &self, &ref), "a process claims");
	is_int(0, dcm_beacon_arm(&proc_seg, ref, &proc_beacon), "and is alive");
	pid = fork();
	if (pid == 0) {
		struct dcm_park_guard guard = { .poke.word = NULL };
		dcm_atomic32 ec = 0;

		if (proc_attach(&proc_seg) < 0)
			_exit(1);
		dcm_segment_settled(&proc_seg);
		while (dcm_process_guard(&proc_seg, ref, 5, &guard.alive[0]))
			dcm_park_sleep(&ec, 0, &guard, DCM_FOREVER);
		_exit(0);
	}
	nanosleep(&pause, NULL);
	dcm_beacon_disarm(&proc_seg, ref, &proc_beacon);
	dcm_process_yield(&proc_seg, ref);
	waitpid(pid, &status, 0);
	is_int(0, status, "who sleeps on an alive word wakes when its owner leaves");
	proc_end();
}

static uint32_t control_of(struct proc_child child)
{
	return dcm_load(&dcm_process_at(&proc_seg, child.ref.index)->control, seq);
}

static void ring(void)
{
	struct proc_child children[CHILDREN];
	struct dcm_ref out[DCM_WATCH + 1];
	uint32_t before[CHILDREN];
	bool followed = true;

	proc_begin("ring");
	is_uint(0, dcm_process_next(&proc_seg, 0, out), "nobody is there to be watched");
	for (unsigned i = 0; i < CHILDREN; i++)
		children[i] = proc_start(proc_lives);
	for (unsigned i = 0; i < CHILDREN; i++) {
		is_uint(DCM_WATCH, dcm_process_next(&proc_seg, children[i].ref.index, out),
			"each has its neighbours to watch");
		followed = followed && out[0].index == children[(i + 1) % CHILDREN].ref.index &&
			   out[1].index == children[(i + 2) % CHILDREN].ref.index;
	}
	ok(followed, "the next in the table first, around its end");
	proc_end_child(children[1]);
	dcm_process_next(&proc_seg, children[0].ref.index, out);
	is_uint(children[2].ref.index, out[0].index, "a dead one is passed over");
	for (unsigned i = 0; i < CHILDREN; i++)
		before[i] = control_of(children[i]);
	dcm_process_kick_watchers(&proc_seg, children[2].ref.index);
	ok(control_of(children[0]) != before[0], "the one before it is kicked");
	ok(control_of(children[4]) != before[4], "and the one before that");
	is_uint(before[1], control_of(children[1]), "the dead one is not");
	is_uint(before[2], control_of(children[2]), "nor itself");
	is_uint(before[3], control_of(children[3]), "nor the one behind it");
	for (unsigned i = 0; i < CHILDREN; i++)
		proc_end_child(children[i]);
	is_uint(0, dcm_process_next(&proc_seg, 0, out), "when all are dead, nobody is left");
	proc_end();
}

static void kicks(void)
{
	struct dcm_process_self self = proc_describe("sleeper");
	struct timespec pause = { .tv_nsec = 20000000 };
	dcm_atomic32 *control;
	struct dcm_ref ref;
	int status = 0;
	uint32_t key;
	pid_t pid;

	proc_begin("kicks");
	is_int(0, dcm_process_claim(&proc_seg, &self, &ref), "a process claims");
	control = &dcm_process_at(&proc_seg, ref.index)->control;
	pid = fork();
	if (pid == 0) {
		if (proc_attach(&proc_seg) < 0)
			_exit(1);
		nanosleep(&pause, NULL);
		dcm_process_kick(&proc_seg, ref.index);
		_exit(0);
	}
	key = dcm_park_prepare(control);
	while (dcm_load(control, seq) == key)
		dcm_park_sleep(control, key, NULL, DCM_FOREVER);
	waitpid(pid, &status, 0);
	is_int(0, status, "who sleeps on its control word is woken by a kick");
	dcm_process_yield(&proc_seg, ref);
	proc_end();
}

/* Of the last process of the largest table there can be. */
static bool a_call_sleeps(struct dcm_ref ref, struct dcm_park_guard *guard)
{
	return dcm_process_guard(&proc_seg, ref, DCM_PROCESSES_MAX - 1, &guard->alive[0]);
}

static bool a_keeper_sleeps(struct dcm_ref ref, struct dcm_park_guard *guard)
{
	uint32_t again = 0;

	return dcm_process_alive(&proc_seg, ref.index) &&
	       dcm_process_watch(&proc_seg, DCM_PROCESSES_MAX - 1, guard, &again);
}

static pid_t sleep_in_child(bool (*sleeps)(struct dcm_ref, struct dcm_park_guard *),
			    struct dcm_ref ref)
{
	struct dcm_park_guard guard = { .poke.word = NULL };
	dcm_atomic32 ec = 0;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (proc_attach(&proc_seg) < 0)
		_exit(1);
	dcm_segment_settled(&proc_seg);
	while (sleeps(ref, &guard))
		dcm_park_sleep(&ec, 0, &guard, DCM_FOREVER);
	_exit(dcm_process_alive(&proc_seg, ref.index));
}

/* The longest row there can be: the kernel walks to its end. */
static void last_words(void)
{
	struct dcm_capacity before = proc_capacity;
	struct proc_child child;
	pid_t call, keeper;
	int status = 0;

	proc_capacity.processes = DCM_PROCESSES_MAX;
	proc_begin("last");
	child = proc_start(proc_lives);
	call = sleep_in_child(a_call_sleeps, child.ref);
	keeper = sleep_in_child(a_keeper_sleeps, child.ref);
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	proc_end_child(child);
	waitpid(call, &status, 0);
	is_int(0, status, "of %d processes a call of the last is woken by a death",
	       DCM_PROCESSES_MAX);
	waitpid(keeper, &status, 0);
	is_int(0, status, "and its keeper, on the very last word");
	proc_end();
	proc_capacity = before;
}

int main(void)
{
	plan_lazy();
	left();
	ring();
	kicks();
	last_words();
	return 0;
}
