/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/*
 * Many processes open one fabric at the same instant, which is not there or of another layout, and
 * some are killed meanwhile: every survivor is on the same, whole segment, and what the dead left
 * can be taken.
 */
#define _GNU_SOURCE
#include "shm/beacon.h"
#include "shm/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

enum { PROCESSES = 32, KILLS_MAX = 12, WINDOW_US = 8000 };

/* What the processes of a round tell each other. */
struct board {
	_Atomic uint32_t ready;
	_Atomic uint32_t go;
	struct told {
		_Atomic uint32_t done; /* 1: attached, 2: could not */
		_Atomic int32_t result;
		_Atomic uint64_t uuid;
		_Atomic uint64_t generation;
		_Atomic uint32_t index;
		struct dcm_detail why;
	} of[PROCESSES];
};

static struct board *board;
static char fabric[256];
static uint64_t seed;

static uint64_t draw(uint64_t bound)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % bound;
}

static void nap(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static int attach(struct dcm_segment *seg, struct dcm_detail *why)
{
	struct dcm_segment_options options = { .fabric = fabric, .capacity = DCM_CAPACITY_DEFAULT };

	options.capacity.processes = 2 * PROCESSES;
	return dcm_segment_open(seg, &options, why);
}

static void participate(struct told *told)
{
	static struct dcm_segment seg;
	static struct dcm_beacon beacon;
	struct dcm_process_self self = { .sid_base = 1, .name = "participant" };
	struct dcm_ref ref = { 0, 0 };
	int r;

	atomic_fetch_add(&board->ready, 1);
	while (atomic_load(&board->go) == 0)
		nap(50);
	r = attach(&seg, &told->why);
	if (r == 0) {
		dcm_process_describe(&self);
		r = dcm_process_claim(&seg, &self, &ref);
		if (r == 0)
			r = dcm_beacon_arm(&seg, ref, &beacon);
		dcm_segment_settled(&seg);
	}
	told->result = r;
	told->index = ref.index;
	told->generation = ref.generation;
	told->uuid = r == 0 ? dcm_segment_header(&seg)->uuid[0] : 0;
	atomic_store(&told->done, r == 0 ? 1 : 2);
	while (atomic_load(&board->go) != 2)
		nap(200);
	if (r == 0) {
		dcm_beacon_disarm(&seg, ref, &beacon);
		dcm_process_yield(&seg, ref);
		dcm_segment_close(&seg);
	}
	_exit(0);
}

/* Nothing, or what another version of the library left. */
static void prepare(bool with_other)
{
	struct dcm_segment seg;
	struct dcm_detail why;
	char lock[300];
	uint32_t layout = 99;
	int fd;

	snprintf(lock, sizeof lock, "%s.lock", fabric);
	unlink(fabric);
	if (draw(2) == 0)
		unlink(lock);
	if (!with_other)
		return;
	if (attach(&seg, &why) < 0)
		bail("%s", why.text);
	dcm_segment_close(&seg);
	fd = open(fabric, O_WRONLY | O_CLOEXEC);
	if (pwrite(fd, &layout, sizeof layout, 8) != (ssize_t)sizeof layout)
		sysbail("%s", fabric);
	close(fd);
}

/* Return: how many had not attached yet. */
static unsigned kill_some(pid_t *pids, bool *dead)
{
	unsigned early = 0;
	unsigned kills = (unsigned)draw(KILLS_MAX + 1);

	for (unsigned i = 0; i < kills; i++) {
		unsigned victim = (unsigned)draw(PROCESSES);

		nap((long)draw(WINDOW_US / (kills + 1)));
		if (!dead[victim])
			kill(pids[victim], SIGKILL);
		early += !dead[victim] && atomic_load(&board->of[victim].done) == 0;
		dead[victim] = true;
	}
	return early;
}

static void see_survivors(const bool *dead, struct dcm_segment *seg, unsigned round)
{
	uint64_t uuid = 0, slots[2] = { 0, 0 };

	for (unsigned i = 0; i < PROCESSES; i++) {
		struct told *told = &board->of[i];

		if (dead[i])
			continue;
		while (atomic_load(&told->done) == 0)
			nap(200);
		if (told->result != 0) {
			ok(0, "round %u: a survivor attaches: %d %s", round, told->result,
			   told->why.text);
			continue;
		}
		if (uuid == 0)
			uuid = told->uuid;
		if (told->uuid != uuid || uuid != dcm_segment_header(seg)->uuid[0])
			ok(0, "round %u: a survivor is on the same segment", round);
		if (slots[told->index / 64] >> told->index % 64 & 1)
			ok(0, "round %u: each has a slot of its own", round);
		slots[told->index / 64] |= UINT64_C(1) << told->index % 64;
		if (!dcm_process_alive(seg, told->index) ||
		    dcm_process_dead(seg, (struct dcm_ref){ told->index, told->generation }))
			ok(0, "round %u: and is alive", round);
	}
}

/* Everybody is gone: what is not free is proved dead, and what is claimed can be taken. */
static void see_remains(struct dcm_segment *seg, unsigned round)
{
	struct dcm_process_self self = { .sid_base = 1, .name = "taker" };
	struct dcm_ref refs[2 * PROCESSES];
	unsigned takable = 0, taken = 0;

	for (uint32_t i = 0; i < seg->process.count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(&seg->process, i), seq);
		struct dcm_ref ref = { i, dcm_word_generation(word) };

		takable += dcm_word_state(word) != DCM_PROCESS_ALIVE;
		if (dcm_word_state(word) != DCM_FREE && !dcm_process_dead(seg, ref))
			ok(0, "round %u: who left slot %u as %llx is proved dead", round, i,
			   (unsigned long long)word);
	}
	dcm_process_describe(&self);
	/* Another start time is another process. */
	for (; taken < 2 * PROCESSES && dcm_process_claim(seg, &self, &refs[taken]) == 0; taken++)
		self.start_time++;
	if (taken != takable)
		ok(0, "round %u: of %u slots %u could be taken", round, takable, taken);
	for (unsigned i = 0; i < taken; i++)
		dcm_process_yield(seg, refs[i]);
}

static void play(unsigned round, unsigned *killed, unsigned *early)
{
	bool dead[PROCESSES] = { false };
	pid_t pids[PROCESSES];
	struct dcm_segment seg;
	struct dcm_detail why;
	struct stat st;

	prepare(round % 4 == 3);
	memset(board, 0, sizeof *board);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			sysbail("fork");
		if (pids[i] == 0)
			participate(&board->of[i]);
	}
	while (atomic_load(&board->ready) < PROCESSES)
		nap(100);
	atomic_store(&board->go, 1);
	*early += kill_some(pids, dead);
	if (attach(&seg, &why) < 0)
		bail("round %u: %s", round, why.text);
	dcm_segment_settled(&seg);
	see_survivors(dead, &seg, round);
	if (stat(fabric, &st) < 0 || (uint64_t)st.st_size != seg.bytes || !dcm_segment_linked(&seg))
		ok(0, "round %u: it is whole", round);
	/* Half of the rounds end in order, half in a massacre. */
	if (round % 2 == 0)
		atomic_store(&board->go, 2);
	for (unsigned i = 0; i < PROCESSES; i++) {
		if (round % 2 == 1)
			kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
		*killed += dead[i];
	}
	see_remains(&seg, round);
	dcm_segment_close(&seg);
}

static void be_traced(void)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	board->go = 2;
	participate(&board->of[0]);
}

/* Return: true when the process was killed at its @stop-th entry to or exit from the kernel. */
static bool kill_at(unsigned stop)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		sysbail("fork");
	if (pid == 0)
		be_traced();
	waitpid(pid, &status, 0);
	for (unsigned i = 0; i < stop && WIFSTOPPED(status); i++) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)
			sysbail("ptrace");
		waitpid(pid, &status, 0);
	}
	if (!WIFSTOPPED(status))
		return false;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return true;
}

/* One that makes or replaces the segment and attaches, killed around each of its system calls. */
static void kill_everywhere(bool with_other)
{
	unsigned stop = 0, failed = 0;
	struct dcm_segment seg;
	struct dcm_detail why;
	struct stat st;
	bool killed;

	do {
		prepare(with_other);
		memset(board, 0, sizeof *board);
		killed = kill_at(stop++);
		if (attach(&seg, &why) < 0) {
			diag("stop %u: %s", stop, why.text);
			failed++;
			continue;
		}
		dcm_segment_settled(&seg);
		failed += stat(fabric, &st) < 0 || (uint64_t)st.st_size != seg.bytes;
		see_remains(&seg, stop);
		dcm_segment_close(&seg);
	} while (killed && failed < 20);
	is_uint(0, failed, "%s and attaching, killed at each of %u places, never leaves harm",
		with_other ? "replacing" : "making", stop - 1);
}

int main(void)
{
	unsigned rounds, killed = 0, early = 0;

	plan_lazy();
	seed = tap_seed();
	rounds = (unsigned)tap_scaled(200);
	snprintf(fabric, sizeof fabric, "%s/fabric", tap_fabric_dir());
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED)
		sysbail("memory");
	for (unsigned round = 0; round < rounds && tap_failed() < 20; round++)
		play(round, &killed, &early);
	ok(tap_failed() == 0,
	   "%u rounds of %d processes, %u killed, %u of them before they had attached", rounds,
	   PROCESSES, killed, early);
	kill_everywhere(false);
	kill_everywhere(true);
	return 0;
}
