/* SPDX-License-Identifier: BSD-2-Clause */
/* The one who kills, and looks at what is left. */
#define _GNU_SOURCE
#include "tests/crash/lib_victim.h"

#include <dcm/fabric.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/check.h"
#include "tests/crash/lib_step.h"
#include "tests/tap.h"

/* SETTLE_MS: on a machine with other work. The bystander has three publications. */
enum { SETTLE_MS = 60 * 1000, PUBLICATIONS = 3, BAD_MAX = 3, NEWCOMERS = 4, LIVES = 4 };

struct stand *stand;
struct dcm_segment stand_segment;

static pid_t bystander;
static const char *directory;
static uint64_t looks;
static unsigned descriptors; /* of the bystander, with nobody else there */

static pid_t fork_to(void (*run)(void))
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		run();
	_exit(0);
}

static unsigned count_fds(pid_t pid)
{
	unsigned count = 0;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	return count;
}

static unsigned count_channels(pid_t pid)
{
	char path[64], line[1024];
	unsigned count = 0;
	FILE *maps;

	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
		count += strstr(line, "/memfd:") != NULL;
	if (maps != NULL)
		fclose(maps);
	return count;
}

static unsigned count_files(void)
{
	unsigned count = 0;
	struct dirent *entry;
	DIR *dir = opendir(directory);

	if (dir == NULL)
		sysbail("cannot read %s", directory);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static bool in_use(const struct dcm_table *t, uint32_t due)
{
	uint32_t words = 0, bits = 0;

	for (uint32_t i = 0; i < t->count; i++)
		words += dcm_word_state(dcm_load(dcm_slot_word(t, i), acquire)) != DCM_FREE;
	for (uint32_t i = 0; i < (t->count + 63) / 64; i++)
		bits += (uint32_t)__builtin_popcountll(dcm_load(&t->used[i], acquire));
	return words == due && bits == due;
}

static bool tables_are_right(uint32_t listeners)
{
	return in_use(&stand_segment.process, 1) && in_use(&stand_segment.endpoint, PUBLICATIONS) &&
	       in_use(&stand_segment.subscription, 1) && in_use(&stand_segment.connection, 0) &&
	       in_use(&stand_segment.listener, listeners) && in_use(&stand_segment.gift, 1);
}

static bool all_is_as_before(void)
{
	return tables_are_right(1) && atomic_load(&stand->known) == PUBLICATIONS &&
	       atomic_load(&stand->ended) == atomic_load(&stand->begun) &&
	       atomic_load(&stand->closed) == atomic_load(&stand->given) &&
	       count_fds(bystander) == descriptors && count_channels(bystander) == 0;
}

static void show_finding(void *context, const struct dcm_finding *finding)
{
	(void)context;
	if (finding->kind != DCM_CHECK_TRANSITION)
		diag("  %s %u: %s", dcm_check_table_name(finding->table), finding->slot,
		     finding->text);
}

static bool wait_for_rest(void)
{
	int64_t end = now_ms() + SETTLE_MS;

	while (!all_is_as_before()) {
		if (now_ms() > end) {
			diag("  tables %s, publications known %u, calls to victims %u begun, %u "
			     "ended, sessions given %u, closed %u, descriptors %u (due %u), "
			     "channels %u",
			     tables_are_right(1) ? "right" : "wrong", atomic_load(&stand->known),
			     atomic_load(&stand->begun), atomic_load(&stand->ended),
			     atomic_load(&stand->given), atomic_load(&stand->closed),
			     count_fds(bystander), descriptors, count_channels(bystander));
			return false;
		}
		nap_us(100);
	}
	return true;
}

bool stand_settled(void)
{
	struct dcm_check_options options = DCM_CHECK_LIVE(show_finding, NULL);
	struct dcm_check_result result;
	unsigned long failed = tap_failed();
	int status;
	bool good = wait_for_rest();
	pid_t pid;

	dcm_check(&stand_segment, &options, &result);
	good = good && result.damaged == 0 && result.dead == 0 && count_files() == 2;
	/* Each victim that attached was a newcomer, too. */
	if (!good || (++looks % NEWCOMERS != 0 && tap_scale() < 4))
		return good;
	pid = fork_to(stand_newcomer);
	while (waitpid(pid, &status, 0) < 0)
		;
	return status == 0 && wait_for_rest() && tap_failed() == failed;
}

void stand_stop(bool stop)
{
	kill(bystander, stop ? SIGSTOP : SIGCONT);
	if (stop)
		waitpid(bystander, NULL, WUNTRACED);
}

static void begin(void (*bystand)(void))
{
	struct dcm_segment_options options = { .read_only = true };
	struct dcm_detail why;
	int status;
	pid_t pid;

	plan_lazy();
	dcm_mutant = getenv("DCM_MUTANT"); /* the line to leave out: then this must fail */
	directory = tap_fabric_dir();
	setenv("DCM_MAX_PROCESSES", "4", 1);
	setenv("DCM_MAX_ENDPOINTS", "8", 1);
	setenv("DCM_MAX_SUBSCRIPTIONS", "3", 1);
	setenv("DCM_MAX_CONNECTIONS", "4", 1);
	setenv("DCM_MAX_LISTENERS", "3", 1);
	setenv("DCM_MAX_GIFTS", "8", 1);
	setenv("DCM_MAX_HINTS", "2", 1);
	setenv("DCM_MAX_CHANNEL_BYTES", "1048576", 1);
	stand = mmap(NULL, sizeof *stand, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (stand == MAP_FAILED)
		sysbail("no shared memory");
	bystander = fork_to(bystand);
	while (atomic_load(&stand->ready) == 0 || atomic_load(&stand->known) != PUBLICATIONS)
		nap_us(1000);
	options.fabric = getenv("DCM_FABRIC");
	if (dcm_segment_open(&stand_segment, &options, &why) < 0)
		bail("looking at the fabric: %s", why.text);
	/* The bystander's listener has a slot from the first accept on. */
	pid = fork_to(stand_newcomer);
	while (waitpid(pid, &status, 0) < 0)
		;
	if (status != 0)
		bail("a newcomer ended with %#x", status);
	/* Its keeper closes what the newcomer left in its own time. */
	while (atomic_load(&stand->closed) != atomic_load(&stand->given) ||
	       count_channels(bystander) != 0)
		nap_us(1000);
	descriptors = count_fds(bystander);
	ok(stand_settled(), "the fabric before any death");
}

void stand_begin(void)
{
	begin(stand_bystander);
}

void stand_begin_loop(bool news_by_fd)
{
	stand_news_by_fd = news_by_fd;
	begin(stand_looper);
}

void stand_end(void)
{
	kill(bystander, SIGKILL);
	waitpid(bystander, NULL, 0);
	dcm_segment_close(&stand_segment);
	munmap(stand, sizeof *stand);
}

/* The scenario that victims play, and the step at which this one dies. */
static const struct scenario *playing;
static uint64_t dies_at;

static void play(void)
{
	dcm_hooks = &step_hooks;
	DcmSetProcessName("victim");
	if (playing->prepare != NULL) {
		expect(rcOk, DcmInit(), "the victim's DcmInit");
		playing->prepare();
	}
	step_arm(dies_at, playing->keeper);
	playing->run();
	step_disarm();
}

static void play_free(void (*run)(void))
{
	dcm_hooks = &step_hooks;
	DcmSetProcessName("victim");
	run();
}

pid_t victim_fork(void (*run)(void))
{
	pid_t pid = fork();

	if (pid < 0)
		sysbail("fork");
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	play_free(run);
	_exit(0);
}

void victim_report(const char *name, uint64_t kills, uint64_t bad)
{
	ok(bad == 0, "%s: nothing is left of the dead, nobody waits for them", name);
	tap_proof("kill enumeration", name, kills, "kill points", bad);
}

static void enumerate(const struct scenario *scenario)
{
	uint64_t kills = 0, bad = 0;
	unsigned lives = 0;
	bool died;
	int status;

	playing = scenario;
	/* One that waits takes now more, now fewer steps: that one lived is not the end of them. */
	for (dies_at = 1; lives < LIVES && bad < BAD_MAX; dies_at = step_next(dies_at)) {
		pid_t pid = fork_to(play);

		while (waitpid(pid, &status, 0) < 0)
			;
		stand_stop(false); /* where the victim has stopped the bystander */
		died = WIFSIGNALED(status);
		if (died && WTERMSIG(status) != SIGKILL)
			ok(0, "%s: ended by signal %d", scenario->name, WTERMSIG(status));
		kills += died;
		lives = died ? 0 : lives + 1;
		if (stand_settled())
			continue;
		diag("%s: killed at its step %llu", scenario->name, (unsigned long long)dies_at);
		bad++;
	}
	ok(kills > 0, "%s: the victim has steps to die at", scenario->name);
	victim_report(scenario->name, kills, bad);
}

void victim_enumerate(const struct scenario *scenarios, size_t count)
{
	for (size_t i = 0; i < count && tap_failed() < BAD_MAX; i++)
		enumerate(&scenarios[i]);
}
