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
#include "shm/hash.h"
#include "shm/listener.h"
#include "shm/process.h"
#include "shm/publication.h"
#include "shm/reap.h"
#include "tests/crash/lib_step.h"
#include "tests/tap.h"

enum { BYSTANDER = 0, VICTIM = 1, REAPER = 2, LAST = 3, PROCESSES = 4 };

static struct dcm_segment seg;
static struct dcm_ref subscription; /* the bystander's */
static struct dcm_ref asked;	    /* the bystander's request */
static struct dcm_ref offered;	    /* the bystander's endpoint */
static struct dcm_ref known_one;    /* the victim's endpoint that the bystander knows of */

/* The kernel is asked about real processes elsewhere; here the parent knows who was killed. */
static bool known_dead(uint32_t index, uint64_t generation)
{
	return dcm_process_generation(&seg, index) == generation && !dcm_process_alive(&seg, index);
}

static const struct dcm_hooks plain = { .process_dead = known_dead };

static void join(uint32_t index)
{
	struct dcm_process *p = dcm_process_at(&seg, index);
	struct dcm_ref ref;

	if (!dcm_slot_claim_at(&seg.process, index, index, &ref))
		bail("no process slot %u", index);
	dcm_name_store(&p->name, "somebody");
	dcm_store(&p->tid, 1000 + index, seq);
	for (uint32_t place = 0; place <= seg.process.count; place++)
		dcm_store(dcm_alive_at(&seg, index, place), 1000 + index, seq);
	dcm_store(&p->word, dcm_word(ref.generation, index, DCM_PROCESS_ALIVE), seq);
}

static void mark_dead(uint32_t index)
{
	/* As the kernel leaves them: the number gone, the bit set. */
	for (uint32_t place = 0; place <= seg.process.count; place++)
		dcm_store(dcm_alive_at(&seg, index, place), FUTEX_OWNER_DIED, seq);
}

static struct dcm_endpoint_key endpoint_key(const char *name, uint64_t sid)
{
	return (struct dcm_endpoint_key){ .type = "crash.Type",
					  .name = name,
					  .type_hash = dcm_hash("crash.Type"),
					  .name_hash = dcm_hash(name),
					  .sid = sid };
}

static struct dcm_request_key request_key(const char *name)
{
	return (struct dcm_request_key){ .type = "crash.Type",
					 .name = name,
					 .type_hash = dcm_hash("crash.Type"),
					 .name_hash = dcm_hash(name),
					 .client_sid = 7 };
}

/* What the victim does; the names say against what the bystander has prepared. */
static void publishes(void)
{
	struct dcm_endpoint_key one = endpoint_key("one", 11), two = endpoint_key("two", 12);
	struct dcm_ref a, b;

	dcm_publication_begin(&seg, VICTIM, &one, &a);
	dcm_publication_begin(&seg, VICTIM, &two, &b);
	dcm_publication_end(&seg, VICTIM, a);
	dcm_publication_begin(&seg, VICTIM, &one, &a);
	dcm_publication_end(&seg, VICTIM, b);
}

static void withdraws(void)
{
	dcm_publication_end(&seg, VICTIM, known_one);
}

static void subscribes(void)
{
	struct dcm_ref s;
	uint32_t index;

	dcm_registry_subscribe(&seg, VICTIM, dcm_hash("crash.Type"), &s);
	dcm_registry_hint(&seg, s, &index);
	dcm_registry_unsubscribe(&seg, s, VICTIM, VICTIM);
	dcm_registry_subscribe(&seg, VICTIM, dcm_hash("crash.Type"), &s);
}

static void serves_the_parked(void)
{
	struct dcm_endpoint_key key = endpoint_key("wanted", 13);
	struct dcm_offer offer = { .bytes = 4096 };
	struct dcm_request_view view;
	struct dcm_ref endpoint, request;

	dcm_publication_begin(&seg, VICTIM, &key, &endpoint);
	if (!dcm_rendezvous_take(&seg, VICTIM, endpoint, &request, &view))
		return;
	dcm_rendezvous_accept(&seg, VICTIM, request, &offer);
	dcm_rendezvous_server_leaves(&seg, VICTIM, request);
	dcm_publication_end(&seg, VICTIM, endpoint);
}

static void refuses_by_closing(void)
{
	struct dcm_endpoint_key key = endpoint_key("wanted", 13);
	struct dcm_ref endpoint;

	dcm_publication_begin(&seg, VICTIM, &key, &endpoint);
	dcm_publication_end(&seg, VICTIM, endpoint);
}

static void asks(void)
{
	struct dcm_request_key nobody = request_key("nobody"), offer = request_key("offered");
	struct dcm_ref a, b;

	dcm_rendezvous_ask(&seg, VICTIM, &nobody, &a);
	dcm_rendezvous_ask(&seg, VICTIM, &offer, &b);
	dcm_rendezvous_client_leaves(&seg, VICTIM, a);
	dcm_rendezvous_client_leaves(&seg, VICTIM, b);
	dcm_rendezvous_ask(&seg, VICTIM, &offer, &b);
}

/* Both parties of one connection, from asked to open to left. */
static void talks_to_itself(void)
{
	struct dcm_endpoint_key key = endpoint_key("own", 14);
	struct dcm_request_key wish = request_key("own");
	struct dcm_offer offer = { .bytes = 4096 };
	struct dcm_request_view view;
	struct dcm_ref endpoint, asks_ref, taken;

	dcm_publication_begin(&seg, VICTIM, &key, &endpoint);
	dcm_rendezvous_ask(&seg, VICTIM, &wish, &asks_ref);
	if (!dcm_rendezvous_take(&seg, VICTIM, endpoint, &taken, &view))
		return;
	dcm_rendezvous_accept(&seg, VICTIM, taken, &offer);
	dcm_rendezvous_open(&seg, VICTIM, asks_ref, VICTIM, DCM_TRANSFER_GETFD);
	dcm_rendezvous_client_leaves(&seg, VICTIM, asks_ref);
	dcm_rendezvous_server_leaves(&seg, VICTIM, asks_ref);
	dcm_publication_end(&seg, VICTIM, endpoint);
}

static void opens_listeners(void)
{
	struct dcm_ref a, b;

	dcm_listener_open(&seg, VICTIM, &a);
	dcm_listener_open(&seg, VICTIM, &b);
	dcm_listener_signal(&seg, b.index, 1);
	dcm_listener_shut(&seg, a, VICTIM, VICTIM);
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "publishes", publishes },
	{ "withdraws", withdraws },
	{ "subscribes", subscribes },
	{ "serves the parked", serves_the_parked },
	{ "refuses by closing", refuses_by_closing },
	{ "asks", asks },
	{ "talks to itself", talks_to_itself },
	{ "opens listeners", opens_listeners },
};

static void reap_as_reaper(void)
{
	dcm_reap_scan(&seg, REAPER, false);
}

/* A fresh segment, with what the bystander has in it. */
static void prepare(struct dcm_known **known)
{
	struct dcm_endpoint_key key = endpoint_key("offered", 15), old = endpoint_key("old", 16);
	struct dcm_request_key wish = request_key("wanted");

	memset(seg.base, 0, seg.bytes);
	for (uint32_t i = 0; i < PROCESSES; i++)
		join(i);
	*known = dcm_known_create(key.type_hash, key.type, NULL, NULL, 0);
	if (*known == NULL ||
	    !dcm_registry_subscribe(&seg, BYSTANDER, key.type_hash, &subscription) ||
	    !dcm_publication_begin(&seg, BYSTANDER, &key, &offered) ||
	    !dcm_publication_begin(&seg, VICTIM, &old, &known_one) ||
	    !dcm_rendezvous_ask(&seg, BYSTANDER, &wish, &asked))
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

	while (dcm_known_read(known, &seg, subscription, &notice) == 0) {
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
	struct dcm_connection_look look = dcm_rendezvous_look(&seg, asked);
	bool settled = look.state == DCM_CONNECTION_REFUSED ||
		       (look.state == DCM_CONNECTION_POSTED && look.server == UINT32_MAX);

	dcm_rendezvous_client_leaves(&seg, BYSTANDER, asked);
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
	const struct dcm_table *tables[] = { &seg.endpoint, &seg.subscription, &seg.connection,
					     &seg.listener };
	const uint32_t expected[] = { 1, 1, 0, 0 };
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
	dcm_check(&seg, &options, &result);
	return good && result.damaged == 0 && result.dead == 0 && result.transition == 0 &&
	       dcm_process_generation(&seg, VICTIM) == 0;
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
	*victim_died = run_child(scenarios[scenario].run, at);
	/* Half of the runs look now: what is live at this moment is announced, and its end due. */
	good = at % 2 == 0 || read_notices(known) == 0;
	mark_dead(VICTIM);
	*reaper_died = run_child(reap_as_reaper, reaper_at);
	if (*reaper_died)
		mark_dead(REAPER);
	dcm_reap_scan(&seg, LAST, false);
	good = notices_are_right(known) && request_is_settled() && nothing_is_left() && good;
	dcm_known_destroy(known);
	if (!good)
		diag("%s: victim killed at its step %llu, reaper at %llu", scenarios[scenario].name,
		     (unsigned long long)at, (unsigned long long)reaper_at);
	return good;
}

/* The reaper's deaths are many: each victim's death meets every stride-th of them, in turn. */
static void enumerate(size_t scenario, uint64_t stride)
{
	uint64_t runs = 0, bad = 0, deaths = 0;
	bool victim_died = true, reaper_died;

	for (uint64_t at = 1; victim_died && bad < 5; at++) {
		reaper_died = true;
		for (uint64_t r = 1 + at % stride; reaper_died && bad < 5; r += stride) {
			bad += !run_once(scenario, at, r, &victim_died, &reaper_died);
			runs++;
		}
		deaths++;
	}
	note("%s: %llu places to die, %llu runs", scenarios[scenario].name,
	     (unsigned long long)deaths, (unsigned long long)runs);
	ok(deaths > 10, "%s: the victim has steps to die at", scenarios[scenario].name);
	is_uint(0, bad, "%s: nothing is left of it", scenarios[scenario].name);
}

int main(void)
{
	struct dcm_capacity capacity = { .processes = PROCESSES,
					 .endpoints = 5,
					 .subscriptions = 2,
					 .connections = 4,
					 .listeners = 2,
					 .ring_shift = 1 };
	struct dcm_places places;
	void *base;
	uint64_t stride = tap_scale() >= 1 ? 29 : 997;

	plan_lazy();
	dcm_mutant = getenv("DCM_MUTANT"); /* the line to leave out: then this must fail */
	dcm_layout_places(&capacity, &places);
	base = mmap(NULL, places.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED || !dcm_segment_view(&seg, base, places.bytes, &capacity))
		sysbail("cannot make a segment");
	seg.lock_fd = -1;
	dcm_hooks = &plain;
	for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++)
		enumerate(i, stride);
	munmap(base, places.bytes);
	return 0;
}
