/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/api/lib_inside.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

struct inside inside_open(void)
{
	const char *path = getenv("DCM_FABRIC");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct inside inside;
	struct dcm_header header;
	struct stat st;
	void *base;

	if (fd < 0 || fstat(fd, &st) < 0 ||
	    pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		sysbail("%s", path);
	base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED ||
	    !dcm_segment_view(&inside.seg, base, (uint64_t)st.st_size, &header.capacity))
		sysbail("%s", path);
	close(fd);
	return inside;
}

void inside_close(struct inside *inside)
{
	munmap(inside->seg.base, inside->seg.bytes);
	memset(inside, 0, sizeof(*inside));
}

struct dcm_ref inside_connection(struct inside *inside, uint32_t state)
{
	struct dcm_ref found = { 0, 0 };

	for (uint32_t i = 0; i < inside->seg.connection.count; i++) {
		uint64_t word = dcm_load(&dcm_connection_at(&inside->seg, i)->word, seq);

		if (dcm_word_state(word) != state)
			continue;
		if (found.generation != 0)
			die("two connections in state %u", state);
		found = (struct dcm_ref){ i, dcm_word_generation(word) };
	}
	if (found.generation == 0)
		die("no connection in state %u", state);
	return found;
}

uint32_t inside_slot(struct inside *inside, int pid)
{
	for (uint32_t i = 0; i < inside->seg.process.count; i++) {
		struct dcm_process *process = dcm_process_at(&inside->seg, i);

		if (dcm_word_state(dcm_load(&process->word, seq)) != DCM_FREE &&
		    dcm_load(&process->pid, seq) == (uint32_t)pid)
			return i;
	}
	die("process %d is not in the fabric", pid);
}

struct dcm_process *inside_process(struct inside *inside, int pid)
{
	return dcm_process_at(&inside->seg, inside_slot(inside, pid));
}
