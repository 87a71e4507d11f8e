/* SPDX-License-Identifier: BSD-2-Clause */
/* The fabric as a whole: its header, how full it is, what hangs; and numbers for other tables. */
#define _GNU_SOURCE
#include "tools/dcm-shmdump_views.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shm/process.h"
#include "shm/rendezvous.h"
#include "shm/segment_file.h"

static void cell_uuid(struct sheet *sheet, const uint8_t id[16])
{
	char text[40];
	size_t at = 0;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		at += (size_t)sprintf(text + at, "%02x", id[i]);
	}
	cell_text(sheet, text);
}

static void cell_time(struct sheet *sheet, uint64_t realtime_ns)
{
	time_t seconds = (time_t)(realtime_ns / 1000000000);
	struct tm parts;
	char text[64];

	if (localtime_r(&seconds, &parts) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &parts) == 0)
		cell_none(sheet);
	else
		cell_text(sheet, text);
}

void fill_fabric(const struct dump *dump, struct sheet *sheet)
{
	const struct dcm_segment *seg = &dump->seg;
	uint8_t boot[16], uuid[16];
	struct dcm_header header;
	char version[32];

	memcpy(&header, seg->base, sizeof header);
	memcpy(uuid, header.uuid, sizeof uuid);
	dcm_segment_boot_id(boot);
	snprintf(version, sizeof version, "%u.%u.%u", header.library_version >> 16,
		 header.library_version >> 8 & 255, header.library_version & 255);
	sheet_row(sheet, NULL);
	cell_text(sheet, seg->path);
	cell_number(sheet, header.layout);
	cell_hex(sheet, header.fingerprint, 8);
	cell_bytes(sheet, seg->bytes);
	cell_uuid(sheet, uuid);
	cell_uuid(sheet, header.boot_id);
	cell_text(sheet, memcmp(boot, header.boot_id, sizeof boot) == 0 ? "yes" : "no");
	cell_time(sheet, header.created_ns);
	cell_text(sheet, version);
	/* Without it, deaths are proved by process numbers alone. */
	cell_text(sheet, seg->lock_fd >= 0 ? "yes" : "no");
	cell_number(sheet, dcm_load(&dcm_segment_header(seg)->ticket, relaxed));
	cell_number(sheet, dcm_load(&dcm_segment_header(seg)->overflows, relaxed));
	cell_number(sheet, dcm_load(&dcm_segment_header(seg)->reaped, relaxed));
}

static const struct dcm_table *table_of(const struct dcm_segment *seg, enum dcm_check_table table)
{
	switch (table) {
	case DCM_CHECK_PROCESS:
		return &seg->process;
	case DCM_CHECK_ENDPOINT:
		return &seg->endpoint;
	case DCM_CHECK_SUBSCRIPTION:
		return &seg->subscription;
	case DCM_CHECK_CONNECTION:
		return &seg->connection;
	case DCM_CHECK_GIFT:
		return &seg->gift;
	default:
		return &seg->listener;
	}
}

void fill_use(const struct dump *dump, struct sheet *sheet)
{
	static const char *const names[] = {
		"", "processes", "endpoints", "subscriptions", "connections", "listeners", "gifts"
	};

	for (int t = DCM_CHECK_PROCESS; t <= DCM_CHECK_GIFT; t++) {
		uint32_t size = table_of(&dump->seg, (enum dcm_check_table)t)->count;
		char both[32];

		snprintf(both, sizeof both, "%u/%u", dump->used[t], size);
		sheet_row(sheet, dump->used[t] == size ? "red" : NULL);
		cell_text(sheet, names[t]);
		cell_text(sheet, both);
		cell_number(sheet, dump->used[t]);
		cell_number(sheet, size);
	}
}

static void stuck_in(const struct dump *dump, struct sheet *sheet, enum dcm_check_table t)
{
	const struct dcm_table *table = table_of(&dump->seg, t);

	for (uint32_t i = 0; i < table->count; i++) {
		uint64_t word = dcm_load(dcm_slot_word(table, i), acquire);
		uint32_t state = dcm_word_state(word);

		if (state != DCM_CLAIMED && state != DCM_REAP)
			continue;
		sheet_row(sheet, "yellow");
		cell_text(sheet, dcm_check_table_name(t));
		cell_number(sheet, i);
		cell_number(sheet, dcm_word_generation(word));
		cell_text(sheet, state_name(t, state));
		cell_number(sheet, dcm_word_owner(word));
		cell_pid(sheet, dump, dcm_word_owner(word));
		cell_text(sheet, fate_name(&dump->seg, dcm_word_owner(word)));
	}
}

void fill_stuck(const struct dump *dump, struct sheet *sheet)
{
	for (int t = DCM_CHECK_PROCESS; t <= DCM_CHECK_GIFT; t++)
		stuck_in(dump, sheet, (enum dcm_check_table)t);
}

/* Numbers for other tables. */

static struct usage *usage_of(struct dump *dump, uint32_t process)
{
	static struct usage nobody;

	return process < dump->seg.process.count ? &dump->usage[process] : &nobody;
}

static void count_connection(struct dump *dump, uint32_t index)
{
	const struct dcm_connection *c = dcm_connection_at(&dump->seg, index);
	uint64_t word = dcm_load(&c->word, acquire);
	uint32_t state = dcm_word_state(word), client, server, listener;
	struct dcm_ref endpoint;

	if (state == DCM_FREE)
		return;
	client = dcm_load(&c->client, acquire);
	server = dcm_load(&c->server, acquire);
	listener = dcm_load(&c->listener, acquire);
	usage_of(dump, dcm_word_owner(word))->connections++;
	if (state == DCM_CONNECTION_POSTED &&
	    dcm_check_target(dcm_load(&c->target, acquire), &endpoint) &&
	    endpoint.index < dump->seg.endpoint.count)
		dump->waiting[endpoint.index]++;
	if (state != DCM_CONNECTION_ACCEPTED && state != DCM_CONNECTION_OPEN)
		return;
	/* Of two parties: of the other as well. */
	if (client != server)
		usage_of(dump, dcm_word_owner(word) == client ? server : client)->connections++;
	if (listener < dump->seg.listener.count)
		dump->channels[listener]++;
}

static void count_slot(struct dump *dump, enum dcm_check_table t, uint32_t index)
{
	uint64_t word = dcm_load(dcm_slot_word(table_of(&dump->seg, t), index), acquire);
	struct usage *usage = usage_of(dump, dcm_word_owner(word));

	if (dcm_word_state(word) == DCM_FREE)
		return;
	dump->used[t]++;
	if (t == DCM_CHECK_ENDPOINT)
		usage->endpoints++;
	else if (t == DCM_CHECK_SUBSCRIPTION)
		usage->subscriptions++;
	else if (t == DCM_CHECK_LISTENER)
		usage->listeners++;
	else if (t == DCM_CHECK_GIFT)
		usage->gifts++;
	else if (t == DCM_CHECK_CONNECTION)
		count_connection(dump, index);
}

void count_usage(struct dump *dump)
{
	dump->usage = calloc(dump->seg.process.count, sizeof *dump->usage);
	dump->waiting = calloc(dump->seg.endpoint.count, sizeof *dump->waiting);
	dump->channels = calloc(dump->seg.listener.count, sizeof *dump->channels);
	if (dump->usage == NULL || dump->waiting == NULL || dump->channels == NULL) {
		fputs("dcm-shmdump: out of memory\n", stderr);
		exit(EXIT_USAGE);
	}
	for (int t = DCM_CHECK_PROCESS; t <= DCM_CHECK_GIFT; t++)
		for (uint32_t i = 0; i < table_of(&dump->seg, (enum dcm_check_table)t)->count; i++)
			count_slot(dump, (enum dcm_check_table)t, i);
}
