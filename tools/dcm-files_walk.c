// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_walk.h"
#include "dcm-files_common.h"
#include "dcm-files_path.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One name of a directory. */
struct item {
	unsigned char type; /* DT_... */
	char name[];
};

/* One directory on the way down. */
struct level {
	struct item **items;
	size_t count, next;
	size_t path_bytes; /* of walk.path that are this directory's, its slash included */
};

struct files_walk {
	int root;
	struct level *levels;
	size_t depth, room;
	char after[FILES_NAME_MAX + 1];
	char path[FILES_NAME_MAX + 1];
};

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct item *const *)a)->name, (*(struct item *const *)b)->name);
}

static void level_free(struct level *level)
{
	for (size_t i = 0; i < level->count; i++)
		free(level->items[i]);
	free(level->items);
}

static int level_add(struct level *level, size_t *room, const struct dirent *entry)
{
	size_t bytes = strlen(entry->d_name) + 1;
	struct item *item;

	if (level->count == *room) {
		size_t more = *room ? 2 * *room : 64;
		struct item **items = realloc(level->items, more * sizeof(*items));

		if (!items)
			return -ENOMEM;
		level->items = items;
		*room = more;
	}
	item = malloc(sizeof(*item) + bytes);
	if (!item)
		return -ENOMEM;
	item->type = entry->d_type;
	memcpy(item->name, entry->d_name, bytes);
	level->items[level->count++] = item;
	return 0;
}

static int level_read(struct level *level, int root, const char *path)
{
	int fd = files_open_beneath(root, path, O_RDONLY | O_DIRECTORY);
	const struct dirent *entry;
	size_t room = 0;
	int error = 0;
	DIR *directory;

	if (fd < 0)
		return fd;
	directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return -ENOMEM;
	}
	errno = 0;
	while (error == 0 && (entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			error = level_add(level, &room, entry);
		errno = 0;
	}
	if (error == 0)
		error = -errno;
	closedir(directory);
	if (error < 0)
		level_free(level);
	else if (level->count > 0)
		qsort(level->items, level->count, sizeof(*level->items), by_name);
	return error;
}

/* Goes down into the directory that walk.path names, which has path_bytes. */
static int enter(struct files_walk *walk, size_t path_bytes)
{
	struct level *level;
	int rc;

	if (walk->depth == walk->room) {
		size_t room = walk->room ? 2 * walk->room : 16;

		level = realloc(walk->levels, room * sizeof(*level));
		if (!level)
			return -ENOMEM;
		walk->levels = level;
		walk->room = room;
	}
	level = &walk->levels[walk->depth];
	memset(level, 0, sizeof(*level));
	rc = level_read(level, walk->root, walk->path);
	if (rc < 0)
		return rc;
	if (path_bytes > 0 && path_bytes < FILES_NAME_MAX)
		walk->path[path_bytes++] = '/';
	level->path_bytes = path_bytes;
	walk->depth++;
	return 0;
}

struct files_walk *files_walk_begin(int root, const char *after)
{
	struct files_walk *walk = calloc(1, sizeof(*walk));
	int rc;

	if (!walk)
		return NULL;
	walk->root = root;
	strncpy(walk->after, after, FILES_NAME_MAX);
	rc = enter(walk, 0);
	if (rc < 0) {
		files_walk_end(walk);
		errno = -rc;
		return NULL;
	}
	return walk;
}

void files_walk_end(struct files_walk *walk)
{
	if (!walk)
		return;
	while (walk->depth > 0)
		level_free(&walk->levels[--walk->depth]);
	free(walk->levels);
	free(walk);
}

/* What walk.path is; DT_UNKNOWN for what is gone. */
static unsigned char look(const struct files_walk *walk, struct stat *st)
{
	int fd = files_open_beneath(walk->root, walk->path, O_PATH | O_NOFOLLOW);
	int bad;

	if (fd < 0)
		return DT_UNKNOWN;
	bad = fstat(fd, st);
	close(fd);
	return bad ? DT_UNKNOWN : (unsigned char)IFTODT(st->st_mode);
}

/* Whether everything in the directory walk.path comes before what is asked for. */
static bool passed(const struct files_walk *walk, size_t path_bytes)
{
	if (strncmp(walk->after, walk->path, path_bytes) == 0 && walk->after[path_bytes] == '/')
		return false;
	return files_path_compare(walk->path, walk->after) < 0;
}

/* Takes one item: 1 if it is a file to be listed. */
static int take(struct files_walk *walk, const struct item *item, size_t path_bytes,
		struct stat *st)
{
	unsigned char type = item->type;
	char shown[FILES_SHOWN_SIZE];
	int rc;

	if (type == DT_UNKNOWN)
		type = look(walk, st);
	if (type == DT_DIR && !passed(walk, path_bytes)) {
		rc = enter(walk, path_bytes);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0 && rc != -ENOENT)
			files_warn("%s/ cannot be listed: %s", files_shown(walk->path, shown),
				   strerror(-rc));
		return 0;
	}
	return type == DT_REG && files_path_compare(walk->path, walk->after) > 0 &&
	       look(walk, st) == DT_REG;
}

int files_walk_next(struct files_walk *walk, const char **name, struct stat *st)
{
	int rc = 0;

	while (rc == 0 && walk->depth > 0) {
		struct level *level = &walk->levels[walk->depth - 1];
		const struct item *item;
		size_t bytes;

		if (level->next == level->count) {
			level_free(level);
			walk->depth--;
			continue;
		}
		item = level->items[level->next++];
		bytes = strlen(item->name);
		if (level->path_bytes + bytes > FILES_NAME_MAX)
			continue; /* no name of the protocol */
		memcpy(walk->path + level->path_bytes, item->name, bytes + 1);
		rc = take(walk, item, level->path_bytes + bytes, st);
	}
	*name = walk->path;
	return rc;
}
