/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One of the words that a keeper sleeps on is scribbled over: says that a process is dead whose
 * other words say that it lives. The keeper goes on, at rest, and sees the death when it comes.
 */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

static int64_t cpu_ms(void)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
}

struct gone {
	const struct dcm_segment *seg;
	uint32_t slot;
};

static bool is_free(void *arg)
{
	struct gone *gone = arg;

	return dcm_process_generation(gone->seg, gone->slot) == 0;
}

int main(void)
{
	struct inside inside;
	struct peer peer;
	struct gone gone;
	int64_t before;
	uint32_t self;

	plan_lazy();
	tap_fabric_dir();
	is_rc(rcOk, DcmInit(), "this process attaches");
	peer = peer_attached(NULL); /* which is another */
	inside = inside_open();
	self = inside_slot(&inside, getpid());
	gone = (struct gone){ &inside.seg, inside_slot(&inside, peer.pid) };
	dcm_store(dcm_alive_at(&inside.seg, gone.slot, dcm_alive_keeper(&inside.seg, self)), 0u,
		  seq);
	before = cpu_ms();
	dcm_process_kick(&inside.seg, self);
	pause_ms(1000);
	/* Around and around without a sleep, it would be a second, on a machine that is idle. */
	ok(cpu_ms() - before < 200, "a word that contradicts the others leaves the keeper at rest");
	ok(dcm_process_alive(&inside.seg, gone.slot), "the other lives on");
	peer_kill(&peer);
	ok(until(is_free, &gone), "killed, it is found and cleared away nevertheless");
	inside_close(&inside);
	DcmFini();
	return 0;
}
