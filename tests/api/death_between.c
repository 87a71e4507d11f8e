/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A process dies while the only keeper that watches it is at work, behind its look at who is dead
 * and before it sleeps: it is found nevertheless, with nobody blocked who would have the keeper
 * look again. asan: no, tsan: no (forks with threads)
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_api.h"
#include "tests/api/lib_inside.h"

enum { DEATHS = 400, DELAY_NS = 150 * 1000 };

static struct inside inside;

static pid_t start(void)
{
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe(fds) < 0)
		sysbail("pipe");
	pid = fork();
	if (pid == 0) {
		if (DcmInit() != rcOk || write(fds[1], "y", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1)
		bail("a child could not attach");
	close(fds[0]);
	return pid;
}

static bool is_free(void *slot)
{
	return dcm_process_generation(&inside.seg, *(uint32_t *)slot) == 0;
}

/* The keeper begins a round at about the time at which the kernel marks the words of the dead. */
static bool die_meanwhile(uint32_t self, uint64_t *dice)
{
	pid_t pid = start();
	uint32_t slot = inside_slot(&inside, pid);
	int64_t until_ns;
	bool found;

	kill(pid, SIGKILL);
	until_ns = dcm_park_now() + (int64_t)(random_next(dice) % DELAY_NS);
	do
		dcm_process_kick(&inside.seg, self);
	while (dcm_park_now() < until_ns);
	waitpid(pid, NULL, 0);
	found = until(is_free, &slot);
	if (!found)
		dcm_process_kick(&inside.seg, self);
	return found;
}

int main(void)
{
	unsigned lost = 0;
	uint64_t dice;
	uint32_t self;

	plan_lazy();
	tap_fabric_dir();
	dice = tap_seed() | 1;
	/* Many: the longer the look, the more of it is behind a slot at its beginning. */
	setenv("DCM_MAX_PROCESSES", "1023", 1);
	is_rc(rcOk, DcmInit(), "this process attaches");
	inside = inside_open();
	self = inside_slot(&inside, getpid());
	for (unsigned i = 0; i < tap_scaled(DEATHS) && lost == 0; i++)
		lost += !die_meanwhile(self, &dice);
	is_uint(0, lost, "every one that died while the keeper was at work was cleared away");
	inside_close(&inside);
	DcmFini();
	return 0;
}
