/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the simulations notice when a line of a protocol is left out or an order weakened: each
 * DCM_LINE and DCM_ORDER of the sources is broken in turn, and some scenario must fail. Those that
 * none can notice say why; if one is noticed after all, that is a failure too. tsan: no (fibers),
 * asan: no (broken lines leak)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_main.h"
#include "tests/tap.h"

enum { SEEDS = 60000, SEEDS_EQUIVALENT = 4000 };

/* Where it stands; FUZZ: against what is written into the segment, which no participant of a scenario
   does: the tests of tests/fuzz notice it. */
enum place { SOURCE, MODEL, FUZZ };

struct mutant {
	const char *name;
	const struct sim_scenario *first; /* that notices it soonest; null: none can */
	const char *why;		  /* it cannot be noticed */
	enum place place;		  /* MODEL: in the simulator or a scenario */
};

static const struct mutant mutants[] = {
	/* ring */
	{ .name = "pop_helps_head", .first = &sim_ring },
	{ .name = "push_helps_tail", .first = &sim_ring },
	{ .name = "push_moves_tail",
	  .why = "the next push finds the cell taken and moves the tail (push_helps_tail)" },
	{ .name = "pop_helps_tail",
	  .why = "the next push finds the cell taken and moves the tail (push_helps_tail)" },
	{ .name = "pop_moves_head",
	  .why = "the next pop finds the cell taken and moves the head (pop_helps_head)" },
	/* park */
	{ .name = "waker_looks_in_order", .first = &sim_park },
	{ .name = "waker_counts", .first = &sim_park },
	{ .name = "waker_of_one_counts",
	  .why = "if nobody slept the word is changed then, and if somebody did, that one looks" },
	{ .name = "kernel_adds_and_wakes_at_once", .first = &sim_registry, .place = MODEL },
	/* slot */
	{ .name = "yield_clears_used", .first = &sim_registry },
	{ .name = "claim_raises_generation", .first = &sim_registry },
	/* registry, reap, known */
	{ .name = "publish_before_looking", .first = &sim_registry },
	{ .name = "subscribe_before_looking",
	  .why = "the first hint swaps resync, a read-modify-write between the store and the "
		 "look" },
	{ .name = "resync_before_hint",
	  .why = "the loads of the ring before it are seq, no processor moves a load before them" },
	{ .name = "subscribe_looks_at_all", .first = &sim_registry },
	{ .name = "overflow_is_resync", .first = &sim_registry },
	{ .name = "retire_announces", .first = &sim_registry },
	{ .name = "bit_cleared_before_free", .first = &sim_registry },
	{ .name = "region_is_known", .first = &sim_registry },
	{ .name = "hint_wakes_bucket", .first = &sim_registry },
	{ .name = "hint_wakes_name", .first = &sim_registry },
	{ .name = "copy_stands", .first = &sim_registry },
	{ .name = "reaper_announces", .first = &sim_registry },
	{ .name = "reaper_clears_subscription", .first = &sim_registry },
	{ .name = "reaper_frees_process", .first = &sim_registry },
	{ .name = "owned_by_that_use", .first = &sim_registry },
	{ .name = "seizing_raises_generation", .first = &sim_reaping },
	/* process: who sleeps on the death of another */
	{ .name = "sleeper_passes_baton", .first = &sim_park },
	{ .name = "sleeper_is_counted", .first = &sim_park },
	{ .name = "word_of_its_own", .first = &sim_park },
	{ .name = "keeper_of_its_own", .first = &sim_reaping },
	{ .name = "guard_looks_again", .first = &sim_baton },
	{ .name = "baton_is_passed_on", .first = &sim_baton },
	{ .name = "baton_of_that_use", .first = &sim_baton },
	{ .name = "wake_is_passed_on", .first = &sim_baton },
	/* process, keeper: who watches whom */
	{ .name = "newcomer_asks", .first = &sim_reaping },
	{ .name = "newcomer_looks_in_order", .first = &sim_reaping },
	{ .name = "keeper_watches", .first = &sim_reaping, .place = MODEL },
	{ .name = "keeper_watches_first", .first = &sim_reaping, .place = MODEL },
	{ .name = "keeper_prepares_first", .first = &sim_reaping, .place = MODEL },
	{ .name = "end_before_successor", .first = &sim_registry },
	{ .name = "gone_before_new", .first = &sim_registry },
	/* rendezvous, publication */
	{ .name = "post_before_looking", .first = &sim_rendezvous },
	{ .name = "match_stands",
	  .why = "the target word tells the use of the slot: a later request is not sent" },
	{ .name = "sender_looks_again", .first = &sim_rendezvous },
	{ .name = "publish_serves_parked", .first = &sim_rendezvous },
	{ .name = "end_refuses_waiting", .first = &sim_rendezvous },
	{ .name = "refused_are_woken", .first = &sim_rendezvous },
	{ .name = "leaving_client_kicks", .first = &sim_rendezvous },
	{ .name = "server_is_marked", .first = &sim_rendezvous },
	{ .name = "leaving_server_wakes", .first = &sim_rendezvous },
	{ .name = "reaper_tells_refused", .first = &sim_rendezvous },
	/* channel, listener */
	{ .name = "signal_sets_bit", .first = &sim_channel },
	{ .name = "signal_looks_in_order", .first = &sim_bell },
	{ .name = "rest_is_signalled", .first = &sim_channel },
	{ .name = "gone_end_is_left_alone", .first = &sim_channel },
	{ .name = "sleeper_skips_none", .first = &sim_channel },
	{ .name = "answer_wakes", .first = &sim_channel },
	{ .name = "answer_wakes_any", .first = &sim_channel },
	{ .name = "answer_makes_room", .first = &sim_channel },
	{ .name = "freed_call_wakes", .first = &sim_channel },
	{ .name = "room_is_looked_for_again", .first = &sim_channel },
	{ .name = "abandoned_is_ended", .first = &sim_channel },
	{ .name = "next_call_gives_reply_back", .first = &sim_channel },
	{ .name = "message_before_looking", .first = &sim_channel },
	{ .name = "done_before_looking", .first = &sim_channel },
	{ .name = "gone_before_rousing", .first = &sim_channel },
	{ .name = "end_of_stream_is_barred", .first = &sim_channel },
	{ .name = "sleeper_for_room_bars", .first = &sim_channel },
	{ .name = "revoked_is_said", .first = &sim_channel },
	{ .name = "cut_ends_receiving", .first = &sim_channel },
	{ .name = "hang_up_wakes_caller", .first = &sim_channel },
	{ .name = "drained_before_ended", .first = &sim_channel },
	{ .name = "drained_kicks", .first = &sim_channel },
	/* bell */
	{ .name = "arm_before_looking", .first = &sim_bell },
	{ .name = "ringer_looks_in_order", .first = &sim_bell },
	{ .name = "ringer_marks", .first = &sim_bell },
	{ .name = "mark_is_no_clear", .first = &sim_bell },
	{ .name = "owner_behind_token", .first = &sim_bell, .place = MODEL },
	{ .name = "tokens_of_its_own", .first = &sim_bell, .place = MODEL },
	{ .name = "hint_rings", .first = &sim_bell },
	{ .name = "request_rings", .first = &sim_bell },
	{ .name = "client_is_rung", .first = &sim_bell },
	{ .name = "signal_rings", .first = &sim_bell },
	{ .name = "answer_rings", .first = &sim_bell },
	{ .name = "notice_tells_waiting", .first = &sim_bell },
	{ .name = "notice_tells_client", .first = &sim_bell },
	/* groups */
	{ .name = "hint_wakes_group", .first = &sim_group },
	{ .name = "group_is_told", .first = &sim_group },
	{ .name = "group_looks_again", .first = &sim_group },
	/* gifts */
	{ .name = "gift_is_revoked", .first = &sim_gift },
	{ .name = "reaper_frees_gift", .first = &sim_gift },
	/* guards against a hostile peer */
	{ .name = "slot_in_table", .place = FUZZ },
	{ .name = "bit_in_table", .place = FUZZ },
	{ .name = "hint_in_table", .place = FUZZ },
	{ .name = "end_of_name", .place = FUZZ },
	{ .name = "ring_tries_end", .place = FUZZ },
	{ .name = "file_holds_tables", .place = FUZZ },
	{ .name = "parcel_in_half", .place = FUZZ },
	{ .name = "call_in_table", .place = FUZZ },
	{ .name = "handed_out_once", .place = FUZZ },
	/* Of callers: the keeper tends what was accepted, not what is being accepted. */
	{ .name = "listed_when_accepted", .first = &sim_rendezvous, .place = MODEL },
};

enum { MUTANTS = sizeof mutants / sizeof mutants[0] };

static bool found[MUTANTS];

/* The seed at which @scenario fails, or 0. */
static uint64_t killed_by(const struct sim_scenario *scenario, uint64_t seeds)
{
	for (uint64_t seed = 1; seed <= seeds; seed++)
		if (!sim_run(scenario, seed))
			return seed;
	return 0;
}

/* A run that fails must fail again in the same way, or its seed is worth nothing. */
static bool fails_again(const struct sim_scenario *scenario, uint64_t seed)
{
	char message[256];

	snprintf(message, sizeof message, "%s", sim_message());
	return !sim_run(scenario, seed) && strncmp(message, sim_message(), 255) == 0;
}

static void try_to_kill(const struct mutant *m)
{
	const struct sim_scenario *by = m->first;
	uint64_t seed;

	dcm_mutant = m->name;
	seed = killed_by(by, SEEDS);
	for (unsigned i = 0; i < sim_scenario_count && seed == 0; i++) {
		by = sim_scenarios[i];
		seed = killed_by(by, SEEDS);
	}
	if (ok(seed != 0, "%s is noticed", m->name)) {
		char by_whom[128];

		snprintf(by_whom, sizeof by_whom, "simulator: %s, seed %llu", by->name,
			 (unsigned long long)seed);
		note("%s, seed %llu: %s", by->name, (unsigned long long)seed, sim_message());
		ok(fails_again(by, seed), "%s: the same seed fails in the same way", m->name);
		tap_mutant(m->name, by_whom, NULL);
	}
	dcm_mutant = NULL;
}

static void try_in_vain(const struct mutant *m)
{
	bool noticed = false;

	dcm_mutant = m->name;
	for (unsigned i = 0; i < sim_scenario_count; i++) {
		uint64_t seed = killed_by(sim_scenarios[i], tap_scaled(SEEDS_EQUIVALENT));

		noticed = noticed || seed != 0;
		if (!ok(seed == 0, "%s makes no difference in %s", m->name, sim_scenarios[i]->name))
			sim_explain(sim_scenarios[i], seed);
	}
	if (!noticed)
		tap_mutant(m->name, NULL, m->why);
	dcm_mutant = NULL;
}

static void found_name(const char *name, size_t length, const char *path)
{
	for (unsigned i = 0; i < MUTANTS; i++)
		if (strlen(mutants[i].name) == length &&
		    strncmp(mutants[i].name, name, length) == 0) {
			found[i] = true;
			return;
		}
	ok(0, "%.*s of %s is in the table of mutants", (int)length, name, path);
}

static void scan_line(const char *line, const char *path)
{
	static const char *const marks[] = { "DCM_LINE(", "DCM_ORDER(" };

	if (strstr(line, "#define") != NULL)
		return;
	for (unsigned i = 0; i < 2; i++)
		for (const char *at = line; (at = strstr(at, marks[i])) != NULL;) {
			at += strlen(marks[i]);
			if (strncmp(at, "name", 4) != 0)
				found_name(at, strspn(at, "abcdefghijklmnopqrstuvwxyz_0123456789"),
					   path);
		}
}

static void scan_file(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "r");

	if (f == NULL)
		sysbail("cannot read %s", path);
	while (fgets(line, sizeof line, f) != NULL)
		scan_line(line, path);
	fclose(f);
}

static void scan_directory(const char *top, const char *name)
{
	char path[1024];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "%s/%s", top, name);
	dir = opendir(path);
	if (dir == NULL)
		sysbail("cannot read %s", path);
	while ((entry = readdir(dir)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');

		if (dot == NULL || (strcmp(dot, ".c") != 0 && strcmp(dot, ".h") != 0))
			continue;
		snprintf(path, sizeof path, "%s/%s/%s", top, name, entry->d_name);
		scan_file(path);
	}
	closedir(dir);
}

/* The table is of the sources as they are. */
static void check_table(void)
{
	const char *top = getenv("DCM_SOURCE_DIR");

	if (top == NULL) {
		skip("DCM_SOURCE_DIR does not say where the sources are");
		return;
	}
	scan_directory(top, "shm");
	scan_directory(top, "api");
	for (unsigned i = 0; i < MUTANTS; i++)
		if (mutants[i].place != MODEL)
			ok(found[i], "%s stands in the sources", mutants[i].name);
}

int main(void)
{
	plan_lazy();
	if (sim_replay())
		return 0;
	tap_watchdog((unsigned int)(600 * (1 + tap_scale())));
	check_table();
	for (unsigned i = 0; i < MUTANTS; i++) {
		if (mutants[i].place == FUZZ)
			note("%s: noticed by fuzzing alone", mutants[i].name);
		else if (mutants[i].first != NULL)
			try_to_kill(&mutants[i]);
		else
			try_in_vain(&mutants[i]);
	}
	return 0;
}
