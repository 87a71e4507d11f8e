// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_names.h"
#include <stdlib.h>
#include <string.h>

/* A server that never ends its list is not believed. */
#define NAMES_MAX 50000000u

bool files_names_add(struct files_names *names, const char *name, size_t name_bytes,
		     uint64_t file_bytes, int64_t modified_ns)
{
	struct files_name *added;

	if (names->count == names->room) {
		size_t room = names->room ? 2 * names->room : 256;

		added = realloc(names->names, room * sizeof(*added));
		if (!added)
			return false;
		names->names = added;
		names->room = room;
	}
	added = &names->names[names->count];
	added->name = strndup(name, name_bytes);
	added->file_bytes = file_bytes;
	added->modified_ns = modified_ns;
	if (!added->name)
		return false;
	names->count++;
	return true;
}

void files_names_free(struct files_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i].name);
	free(names->names);
	memset(names, 0, sizeof(*names));
}

static enum files_outcome not_a_list(void)
{
	files_warn("the server's list is damaged; nothing was taken from it");
	return FILES_BAD;
}

/* Takes one entry, checked; how many bytes of the page it had, or 0. */
static size_t take_entry(struct files_names *names, const char *data, size_t bytes)
{
	char name[FILES_NAME_MAX + 1];
	struct files_entry entry;
	size_t padded;

	if (bytes < sizeof(entry))
		return 0;
	memcpy(&entry, data, sizeof(entry));
	padded = ((size_t)entry.name_bytes + 7) & ~(size_t)7;
	if (entry.name_bytes > FILES_NAME_MAX || padded > bytes - sizeof(entry))
		return 0;
	memcpy(name, data + sizeof(entry), entry.name_bytes);
	name[entry.name_bytes] = '\0';
	if (!files_name_ok(name, entry.name_bytes))
		return 0;
	/* Only forward: otherwise the list might never end. */
	if (names->count > 0 && files_path_compare(name, names->names[names->count - 1].name) <= 0)
		return 0;
	if (names->count >= NAMES_MAX ||
	    !files_names_add(names, name, entry.name_bytes, entry.file_bytes, entry.modified_ns))
		return 0;
	return sizeof(entry) + padded;
}

static enum files_outcome take_page(struct files_names *names, const struct files_head *page,
				    const char *data)
{
	size_t count = names->count;
	size_t done = 0;

	while (done < page->data_bytes) {
		size_t more = take_entry(names, data + done, page->data_bytes - done);

		if (more == 0)
			return not_a_list();
		done += more;
	}
	if ((page->flags & FILES_HAS_MORE) && names->count == count)
		return not_a_list();
	return FILES_DONE;
}

enum files_outcome files_names_fetch(struct files_names *names, Handle session)
{
	struct files_head page = { .flags = FILES_HAS_MORE };
	enum files_outcome outcome = FILES_DONE;
	DcmMessage reply;

	files_names_free(names);
	while (outcome == FILES_DONE && (page.flags & FILES_HAS_MORE)) {
		struct files_question question = { .op = FILES_LIST,
						   .data_bytes = FILES_CHUNK_MAX / 4 };

		question.name = names->count > 0 ? names->names[names->count - 1].name : "";
		outcome = files_ask(session, &question, &page, sizeof(page), &reply);
		if (outcome != FILES_DONE)
			break;
		if (reply.status == FILES_OK) {
			outcome = take_page(names, &page, (char *)reply.data + sizeof(page));
		} else {
			files_warn("the server cannot list its files (status %d)", reply.status);
			outcome = FILES_TROUBLE;
		}
		DcmRelease(&reply);
	}
	return outcome;
}
