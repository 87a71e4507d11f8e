/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (it kills forked children) */
/*
 * Every step a place to die: a victim process is killed at each of its accesses to the segment, in
 * each scenario; a reaper that comes for it is killed at each of its own; a second one finishes.
 * Afterwards nothing of the dead is left, the table's books are exact, and the bystander has been
 * told.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/known.h"
#include "shm/check.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "tests/crash/lib_scenarios.h"
#include "tests/crash/lib_step.h"
#include "tests/tap.h"

static struct dcm_ref subscription; /* the bystander's */
static struct dcm_ref asked;	    /* the bystander's request */
static struct dcm_ref offered;	    /* the bystander's endpoint */

/* The kernel is asked about real processes elsewhere; here the parent knows who was killed. */
static bool known_dead(uint32_t index, uint64_t generation)
{
	return dcm_process_generation(&world, index) == generation &&
	       !dcm_process_alive(&world, index);
}

static const struct dcm_hooks plain = { .process_dead = known_dead };

static void join(uint32_t index)
{
	struct dcm_process *p = dcm_process_at(&world, index);
	struct dcm_ref ref;

	if (!dcm_slot_claim_at(&world.process, index, index, &ref))
		bail("no process slot %u", index);
	dcm_name_store(&p->name, "somebody");
	dcm_store(&p->tid, 1000 + index, seq);
	for (uint32_t place = 0; place < dcm_alive_words(world.process.count); place++)
		dcm_store(dcm_alive_at(&world, index, place), 1000 + index, seq);
	dcm_store(&p->word, dcm_word(ref.generation, index, DCM_PROCESS_ALIVE), seq);
}

static void mark_dead(uint32_t index)
{
	/* As the kernel leaves them: the number gone, the bit set. */
	for (uint32_t place = 0; place < dcm_alive_words(world.process.count); place++)
		dcm_store(dcm_alive_at(&world, index, place), FUTEX_OWNER_DIED, seq);
}

static void reap_as_reaper(void)
{
	dcm_reap_scan(&world, REAPER, false);
}

/* A fresh segment, with what the bystander has in it. */
static void prepare(struct dcm_known **known)
{
	struct dcm_endpoint_key key = endpoint_key("offered", 15), old = endpoint_key("old", 16);
	struct dcm_request_key wish = request_key("wanted");

	memset(world.base, 0, world.bytes);
	for (uint32_t i = 0; i < PROCESSES; i++)
		join(i);
	*known = dcm_known_create(key.type_hash, key.type, NULL, NULL, 0);
	if (*known == NULL ||
	    !dcm_registry_subscribe(&world, BYSTANDER, key.type_hash, &subscription) ||
	    !dcm_publication_begin(&world, BYSTANDER, &key, &offered) ||
	    !dcm_publication_begin(&world, VICTIM, &old, &known_one) ||
	    !dcm_rendezvous_ask(&world, BYSTANDER, &wish, &asked))
		bail("cannot prepare the segment");
}

/* Run @work in a child that dies at its step @at (0: never). Return: whether it died there. */
static bool run_child(void (*work)(void), uint64_t at)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		sysbail("fork");
	if (child == 0) {
		struct dcm_hooks stepping = step_hooks;

		stepping.process_dead = known_dead;
		dcm_hooks = &stepping;
		step_arm(at, false);
		work();
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void count_others(const struct dcm_notice *notice, void *arg)
{
	unsigned *others = arg;

	if (strcmp(notice->name, "offered") != 0)
		++*others;
}

/* The bystander reads its notices. Return: how often its own endpoint was published. */
static unsigned read_notices(struct dcm_known *known)
{
	struct dcm_notice *notice;
	unsigned own = 0;

	while (dcm_known_read(known, &world, subscription, &notice) == 0) {
		if (strcmp(notice->name, "offered") == 0)
			own += notice->published;
		dcm_notice_free(notice);
	}
	return own;
}

/* In the end it knows of its own endpoint alone. */
static bool notices_are_right(struct dcm_known *known)
{
	unsigned others = 0, own = read_notices(known);

	dcm_known_each(known, count_others, &others);
	return own == 0 && others == 0;
}

/* Was the bystander's request told what became of it? Then it can be let go of. */
static bool request_is_settled(void)
{
	struct dcm_connection_look look = dcm_rendezvous_look(&world, asked);
	bool settled = look.state == DCM_CONNECTION_REFUSED ||
		       (look.state == DCM_CONNECTION_POSTED && look.server == UINT32_MAX);

	dcm_rendezvous_client_leaves(&world, BYSTANDER, asked);
	return settled;
}

static void show_finding(void *context, const struct dcm_finding *finding)
{
	(void)context;
	if (finding->kind != DCM_CHECK_TRANSITION)
		diag("%s %u: %s", dcm_check_table_name(finding->table), finding->slot,
		     finding->text);
}

/* All that is left is the bystander's and LAST's. */
static bool nothing_is_left(void)
{
	const struct dcm_table *tables[] = { &world.endpoint, &world.subscription,
					     &world.connection, &world.listener,
					     &world.gift };
	const uint32_t expected[] = { 1, 1, 0, 0, 0 };
	struct dcm_check_options options = { .report = show_finding };
	struct dcm_check_result result;
	bool good = true;

	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		uint32_t in_use = 0;

		for (uint32_t i = 0; i < tables[t]->count; i++)
			in_use += dcm_word_state(dcm_load(dcm_slot_word(tables[t], i), seq)) !=
				  DCM_FREE;
		good = good && in_use == expected[t];
	}
	dcm_check(&world, &options, &result);
	return good && result.damaged == 0 && result.dead == 0 && result.transition == 0 &&
	       dcm_process_generation(&world, VICTIM) == 0;
}

/* Right behind a death, with nothing taken over yet: no order of steps leaves damage. Once for each. */
static bool nothing_is_damaged(uint64_t at)
{
	static uint64_t looked_at;
	struct dcm_check_options options = { .report = NULL };
	struct dcm_check_result result;

	if (at == looked_at)
		return true;
	looked_at = at;
	dcm_check(&world, &options, &result);
	if (result.damaged == 0)
		return true;
	options.report = show_finding;
	dcm_check(&world, &options, &result);
	return false;
}

/* One run: victim dies at @at, its reaper at @reaper_at. False in *@again: the victim lived. */
static bool run_once(size_t scenario, uint64_t at, uint64_t reaper_at, bool *victim_died,
		     bool *reaper_died)
{
	struct dcm_known *known;
	bool good;

	prepare(&known);
	if (read_notices(known) != 1)
		bail("the bystander does not see its own endpoint");
	*victim_died = run_child(world_scenarios[scenario].run, at);
	/* Half of the runs look now: what is live at this moment is announced, and its end due. */
	good = (at % 2 == 0 || read_notices(known) == 0) && nothing_is_damaged(at);
	mark_dead(VICTIM);
	*reaper_died = run_child(reap_as_reaper, reaper_at);
	if (*reaper_died)
		mark_dead(REAPER);
	dcm_reap_scan(&world, LAST, false);
	good = notices_are_right(known) && request_is_settled() && nothing_is_left() && good;
	dcm_known_destroy(known);
	if (!good)
		diag("%s: victim killed at its step %llu, reaper at %llu",
		     world_scenarios[scenario].name, (unsigned long long)at,
		     (unsigned long long)reaper_at);
	return good;
}

/* The reaper's deaths are many: each victim's death meets every stride-th of them, in turn. */
static void enumerate(size_t scenario, uint64_t stride)
{
	const char *name = world_scenarios[scenario].name;
	uint64_t kills = 0, bad = 0, places = 0;
	bool victim_died = true, reaper_died;

	for (uint64_t at = 1; victim_died && bad < 5; at++) {
		reaper_died = true;
		for (uint64_t r = 1 + at % stride; reaper_died && bad < 5; r += stride) {
			bad += !run_once(scenario, at, r, &victim_died, &reaper_died);
			kills += (uint64_t)victim_died + reaper_died;
		}
		places += victim_died;
	}
	note("%s: %llu places to die", name, (unsigned long long)places);
	ok(places > 10, "%s: the victim has steps to die at", name);
	is_uint(0, bad, "%s: nothing is left of it", name);
	tap_proof("kill enumeration", name, kills, "kill points", bad);
}

/* All of the reaper's steps, where there is time for it. */
static uint64_t stride_of(double scale)
{
	return scale >= 5 ? 1 : scale >= 1 ? 29 : 997;
}

int main(void)
{
	struct dcm_capacity capacity = { .processes = PROCESSES,
					 .endpoints = 5,
					 .subscriptions = 2,
					 .connections = 4,
					 .listeners = 2,
					 .ring_shift = 1,
					 .gift_shift = 1 };
	struct dcm_places places;
	void *base;

	plan_lazy();
	dcm_mutant = getenv("DCM_MUTANT"); /* the line to leave out: then this must fail */
	dcm_layout_places(&capacity, &places);
	base = mmap(NULL, places.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED || !dcm_segment_view(&world, base, places.bytes, &capacity))
		sysbail("cannot make a segment");
	world.lock_fd = -1;
	dcm_hooks = &plain;
	for (size_t i = 0; i < world_scenario_count; i++)
		enumerate(i, stride_of(tap_scale()));
	munmap(base, places.bytes);
	return 0;
}
