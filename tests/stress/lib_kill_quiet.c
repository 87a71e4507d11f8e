/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "tests/stress/lib_kill_quiet.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "shm/check.h"
#include "tests/tap.h"

/* How long what is under way may take on a machine with other work. */
enum { QUIET_MS = 60 * 1000 };

static void report(void *context, const struct dcm_finding *f)
{
	(void)context;
	if (f->kind != DCM_CHECK_TRANSITION)
		diag("  %s %u, bucket %d, word %#llx: %s", dcm_check_table_name(f->table), f->slot,
		     (int)f->bucket, (unsigned long long)f->word, f->text);
}

static bool are_as(const struct used *a, const struct used *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* By their slots, by their bitmaps, and by dcm_check(). */
void quiet_tables(const struct dcm_segment *seg, struct used due, uint32_t round)
{
	struct dcm_check_options options = DCM_CHECK_LIVE(report, NULL);
	int64_t end = now_ms() + QUIET_MS;
	struct dcm_check_result result;
	struct used slots, bits;

	do {
		nap_us(300);
		slots = slots_used(seg);
		bits = bits_used(seg);
		/* A listener has a slot from the first accept on. */
		if (due.listener != 0 && slots.listener <= due.listener)
			due.listener = slots.listener;
		/* Each process shows itself by its own handle, if it does. */
		if (due.gift != 0 && slots.gift <= due.gift)
			due.gift = slots.gift;
	} while ((!are_as(&slots, &due) || !are_as(&bits, &due)) && now_ms() < end);
	if (!are_as(&slots, &due) || !are_as(&bits, &due)) {
		wrong("round %u: slots in use (process endpoint subscription connection listener "
		      "gift): wanted %u %u %u %u %u %u, words say %u %u %u %u %u %u, bits %u %u %u "
		      "%u %u %u",
		      round, due.process, due.endpoint, due.subscription, due.connection,
		      due.listener, due.gift, slots.process, slots.endpoint, slots.subscription,
		      slots.connection, slots.listener, slots.gift, bits.process, bits.endpoint,
		      bits.subscription, bits.connection, bits.listener, bits.gift);
		say_slots(seg);
	}
	dcm_check(seg, &options, &result);
	if (result.damaged != 0 || result.dead != 0)
		wrong("round %u: dcm_check finds %llu damaged, %llu of the dead", round,
		      (unsigned long long)result.damaged, (unsigned long long)result.dead);
}

static unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	if (dir == NULL)
		sysbail("cannot read %s", path);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static struct holdings holdings_of(pid_t pid, const char *fabric)
{
	struct holdings found = { 0 };
	char path[64], line[1024];
	FILE *maps;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	found.descriptors = count_entries(path);
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	if (maps == NULL)
		sysbail("cannot read %s", path);
	while (fgets(line, sizeof line, maps) != NULL) {
		found.segment_maps += strstr(line, fabric) != NULL;
		found.channel_maps += strstr(line, "/memfd:") != NULL;
	}
	fclose(maps);
	return found;
}

/* @ahead: 1: with the memory that is made ahead of the next client, which goes in a second or two. */
static bool is_due(const struct holdings *seen, const struct holdings *due, unsigned ahead)
{
	return seen->descriptors == due->descriptors + ahead &&
	       seen->segment_maps == due->segment_maps &&
	       seen->channel_maps == due->channel_maps + ahead;
}

void quiet_process(pid_t pid, const char *fabric, struct holdings *due, uint32_t round)
{
	int64_t end = now_ms() + QUIET_MS;
	struct holdings seen;

	for (;;) {
		seen = holdings_of(pid, fabric);
		/* The first look may find a descriptor that its keeper is about to close. */
		if (seen.channel_maps == due->channel_maps &&
		    (due->descriptors == 0 || seen.descriptors < due->descriptors))
			due->descriptors = seen.descriptors;
		if (is_due(&seen, due, 0) || is_due(&seen, due, 1))
			return;
		if (now_ms() > end)
			break;
		/* Its keeper still unmaps. */
		nap_us(500);
	}
	wrong("round %u: process %d has %u descriptors, %u and %u mappings of segment and "
	      "channels; "
	      "due are %u, %u and %u",
	      round, pid, seen.descriptors, seen.segment_maps, seen.channel_maps, due->descriptors,
	      due->segment_maps, due->channel_maps);
}

void quiet_files(const char *directory, uint32_t round)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	if (dir == NULL)
		sysbail("cannot read %s", directory);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "fabric") != 0 &&
		    strcmp(entry->d_name, "fabric.lock") != 0)
			wrong("round %u: there is a file %s/%s", round, directory, entry->d_name);
	closedir(dir);
}

void quiet_history(struct history *h, struct history_seen *seen, uint32_t round)
{
	int64_t end = now_ms() + QUIET_MS;

	for (history_follow(h, seen); !history_settled(false); history_follow(h, seen)) {
		if (now_ms() > end || too_many_wrong()) {
			seen->wrong_notices++;
			wrong("round %u: not every reader knows exactly what is published", round);
			history_settled(true);
			break;
		}
		nap_us(500);
	}
	history_close_calls(h, seen);
	history_forget(h, false);
}
