/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One of the words that a keeper sleeps on is scribbled over: says that a process is dead whose
 * other words say that it lives. The keeper goes on, at rest, and sees the death when it comes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_peer.h"

/* A second mapping of the fabric, as a participant that errs has one. */
static void map_fabric(struct dcm_segment *seg)
{
	int fd = open(getenv("DCM_FABRIC"), O_RDWR | O_CLOEXEC);
	const struct dcm_header *header;
	struct stat st;
	void *base;

	if (fd < 0 || fstat(fd, &st) < 0)
		sysbail("open");
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (base == MAP_FAILED)
		sysbail("mmap");
	header = base;
	if (!dcm_segment_view(seg, base, (uint64_t)st.st_size, &header->capacity))
		bail("no view");
}

static uint32_t slot_of(const struct dcm_segment *seg, pid_t pid)
{
	for (uint32_t i = 0; i < seg->process.count; i++)
		if (dcm_process_alive(seg, i) &&
		    dcm_load(&dcm_process_at(seg, i)->pid, seq) == (uint32_t)pid)
			return i;
	bail("process %d is not in the fabric", (int)pid);
}

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
	struct dcm_segment seg;
	struct peer peer;
	struct gone gone;
	int64_t before;
	uint32_t self;

	plan_lazy();
	tap_fabric_dir();
	is_rc(rcOk, DcmInit(), "this process attaches");
	peer = peer_attached(NULL); /* which is another */
	map_fabric(&seg);
	self = slot_of(&seg, getpid());
	gone = (struct gone){ &seg, slot_of(&seg, peer.pid) };
	dcm_store(dcm_alive_at(&seg, gone.slot, dcm_alive_keeper(&seg, self)), 0u, seq);
	before = cpu_ms();
	dcm_process_kick(&seg, self);
	pause_ms(1000);
	/* Around and around without a sleep, it would be a second, on a machine that is idle. */
	ok(cpu_ms() - before < 200, "a word that contradicts the others leaves the keeper at rest");
	ok(dcm_process_alive(&seg, gone.slot), "the other lives on");
	peer_kill(&peer);
	ok(until(is_free, &gone), "killed, it is found and cleared away nevertheless");
	munmap(seg.base, seg.bytes);
	DcmFini();
	return 0;
}
