/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/unit/lib_process.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/park.h"
#include "tests/tap.h"

#define SECOND INT64_C(1000000000)

struct dcm_capacity proc_capacity = { .processes = 8,
				      .endpoints = 4,
				      .subscriptions = 4,
				      .connections = 4,
				      .listeners = 4,
				      .ring_shift = 3 };

struct dcm_segment proc_seg;
char proc_fabric[256];
struct dcm_beacon proc_beacon;

int proc_attach(struct dcm_segment *to)
{
	struct dcm_segment_options options = { .fabric = proc_fabric, .capacity = proc_capacity };
	struct dcm_detail why;
	int r = dcm_segment_open(to, &options, &why);

	if (r < 0)
		diag("%s", why.text);
	return r;
}

struct dcm_process_self proc_describe(const char *name)
{
	struct dcm_process_self self = { .sid_base = 77, .name = name };

	dcm_process_describe(&self);
	return self;
}

void proc_begin(const char *name)
{
	snprintf(proc_fabric, sizeof proc_fabric, "%s/%s", tap_fabric_dir(), name);
	if (proc_attach(&proc_seg) < 0)
		bail("no segment");
	dcm_segment_settled(&proc_seg);
}

void proc_end(void)
{
	char lock[300];

	dcm_segment_close(&proc_seg);
	snprintf(lock, sizeof lock, "%s.lock", proc_fabric);
	unlink(proc_fabric);
	unlink(lock);
}

void proc_tell(int pipe_fd, struct proc_report report)
{
	if (write(pipe_fd, &report, sizeof report) != (ssize_t)sizeof report)
		_exit(9);
}

/* Attaches, claims and, unless @claim_only, becomes alive. */
struct proc_report proc_join(bool claim_only)
{
	static struct dcm_segment own;
	struct dcm_process_self self = proc_describe("child");
	struct dcm_ref ref = { 0, 0 };
	int r = proc_attach(&own);

	if (r == 0)
		r = dcm_process_claim(&own, &self, &ref);
	if (r == 0 && !claim_only)
		r = dcm_beacon_arm(&own, ref, &proc_beacon);
	dcm_segment_settled(&own);
	return (struct proc_report){ r, ref.index, ref.generation };
}

void proc_lives(int pipe_fd)
{
	proc_tell(pipe_fd, proc_join(false));
	for (;;)
		pause();
}

struct proc_child proc_start(void (*life)(int))
{
	struct proc_report report = { -1, 0, 0 };
	struct proc_child child = { 0, { 0, 0 } };
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		sysbail("pipe");
	child.pid = fork();
	if (child.pid == 0) {
		life(fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], &report, sizeof report) != (ssize_t)sizeof report || report.result != 0)
		bail("a child could not attach: %d", report.result);
	close(fds[0]);
	child.ref = (struct dcm_ref){ report.index, report.generation };
	return child;
}

void proc_end_child(struct proc_child child)
{
	kill(child.pid, SIGKILL);
	waitpid(child.pid, NULL, 0);
}

/* Until the process is proved dead, for as long as the watchdog lets us. */
void proc_wait_dead(struct dcm_ref ref)
{
	while (!dcm_process_dead(&proc_seg, ref))
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

void proc_wait_marked(uint32_t index)
{
	/* The last to be marked; the test sleeps there, so it counts. */
	dcm_atomic32 *alive =
		dcm_alive_at(&proc_seg, index, dcm_alive_words(proc_seg.process.count) - 1);
	uint32_t seen;

	while (((seen = dcm_or(alive, FUTEX_WAITERS) | FUTEX_WAITERS) & FUTEX_OWNER_DIED) == 0)
		dcm_park_sleep(alive, seen, NULL, dcm_park_deadline(SECOND));
}
