/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/unit/lib_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

const struct dcm_capacity file_capacity = { .processes = 8,
					    .endpoints = 16,
					    .subscriptions = 4,
					    .connections = 8,
					    .listeners = 4,
					    .ring_shift = 3 };
struct dcm_detail file_why;

/* A path in the test's directory, in one of many buffers in turn. */
const char *file_at(const char *name)
{
	static char paths[64][512];
	static unsigned turn;
	char *path = paths[turn++ % 64];

	snprintf(path, sizeof paths[0], "%s/%s", tap_fabric_dir(), name);
	return path;
}

int file_open(struct dcm_segment *seg, const char *path)
{
	struct dcm_segment_options options = { .fabric = path,
					       .capacity = file_capacity,
					       .library_version = 7 };

	return dcm_segment_open(seg, &options, &file_why);
}

int file_look(struct dcm_segment *seg, const char *path)
{
	struct dcm_segment_options options = { .fabric = path, .read_only = true };

	return dcm_segment_open(seg, &options, &file_why);
}

/* Opens and closes. */
int file_try(const char *path)
{
	struct dcm_segment seg;
	int r = file_open(&seg, path);

	if (r == 0)
		dcm_segment_close(&seg);
	return r;
}

void file_refused(int result, const char *word, const char *path, const char *what)
{
	is_int(result, file_try(path), "%s is refused", what);
	if (!ok(strstr(file_why.text, word) != NULL, "  and the detail says \"%s\"", word))
		diag("  it says: %s", file_why.text);
	note("%s", file_why.text);
}

void file_clean(const char *path)
{
	static const char *const ends[] = { "", ".lock", ".tmp" };
	char name[600];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "%s%s", path, ends[i]);
		unlink(name);
	}
}

bool file_exists(const char *path, const char *end)
{
	char name[600];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", path, end);
	return lstat(name, &st) == 0;
}

void file_write(const char *path, const void *data, size_t bytes)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
		sysbail("%s", path);
	close(fd);
}

/* Changes a part of a file. */
void file_poke(const char *path, size_t offset, const void *data, size_t bytes)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, data, bytes, (off_t)offset) != (ssize_t)bytes)
		sysbail("%s", path);
	close(fd);
}

void file_poke32(const char *path, size_t offset, uint32_t value)
{
	file_poke(path, offset, &value, sizeof value);
}

void file_peek(const char *path, struct dcm_header *header)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
		sysbail("%s", path);
	close(fd);
}

/* Runs in a child, where results count as here. */
pid_t file_start(void (*work)(const char *), const char *argument)
{
	pid_t pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid == 0) {
		work(argument);
		_exit(0);
	}
	return pid;
}

void file_finish(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		ok(0, "a child ended with status %#x", status);
}

void file_in_child(void (*work)(const char *), const char *argument)
{
	file_finish(file_start(work, argument));
}
