// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_get.h"
#include "dcm-files_fetch.h"
#include "dcm-files_names.h"
#include "dcm-files_progress.h"
#include "dcm-files_stop.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAW_MS 100u

/* What is to be fetched, and how far that is. */
struct work {
	const struct get_options *options;
	struct finder finder;
	struct files_names names;
	bool *taken;
	pthread_mutex_t lock; /* for what follows, and taken */
	size_t next;	      /* none before it is free to be taken */
	size_t fetched, failed;
	bool bad, trouble; /* which kinds of failures there were */
	unsigned int running;
	bool lost;
	atomic_ullong bytes;
	uint64_t bytes_all, start_ns;
	struct files_limit limit;
	struct fetching fetching;
};

/* The number of a name that nobody has taken, or names.count. */
static size_t take(struct work *work)
{
	size_t i = work->names.count;

	pthread_mutex_lock(&work->lock);
	if (!work->lost) {
		while (work->next < work->names.count && work->taken[work->next])
			work->next++;
		i = work->next;
		if (i < work->names.count)
			work->taken[i] = true;
	}
	pthread_mutex_unlock(&work->lock);
	return i;
}

static void put(struct work *work, size_t i, enum files_outcome outcome)
{
	pthread_mutex_lock(&work->lock);
	if (outcome == FILES_DONE) {
		work->fetched++;
		/* For --events: now and then. */
		if ((work->fetched & (work->fetched - 1)) == 0)
			files_event("files", "%zu", work->fetched);
	} else if (outcome == FILES_LOST) {
		work->taken[i] = false;
		if (work->next > i)
			work->next = i;
		work->lost = true;
	} else if (outcome != FILES_STOPPED) {
		work->failed++;
		work->bad |= outcome == FILES_BAD;
		work->trouble |= outcome != FILES_BAD;
	}
	pthread_mutex_unlock(&work->lock);
}

/* One of --jobs threads, which share the session. */
static void *fetch_thread(void *argument)
{
	struct work *work = argument;
	struct files_hash *hash = files_hash_new();
	bool last;

	while (hash && !files_stop_asked()) {
		size_t i = take(work);

		if (i == work->names.count)
			break;
		put(work, i, files_fetch(&work->fetching, hash, work->names.names[i].name));
	}
	if (!hash)
		files_warn("OpenSSL has no SHA-256");
	files_hash_free(hash);
	/* A signal interrupted those who were blocked then; tell the next one. */
	if (files_stop_asked())
		DcmInterruptCall(work->fetching.session);
	pthread_mutex_lock(&work->lock);
	work->trouble |= !hash;
	last = --work->running == 0;
	pthread_mutex_unlock(&work->lock);
	if (last)
		DcmInterruptBlockingCall(work->finder.subscription);
	return NULL;
}

static bool is_running(struct work *work)
{
	bool running;

	pthread_mutex_lock(&work->lock);
	running = work->running > 0;
	pthread_mutex_unlock(&work->lock);
	return running;
}

static void draw(struct work *work)
{
	struct progress progress = {
		.files_all = work->names.count,
		.bytes = atomic_load(&work->bytes),
		.bytes_all = work->bytes_all,
		.elapsed_ns = files_now_ns() - work->start_ns,
	};

	pthread_mutex_lock(&work->lock);
	progress.files = work->fetched + work->failed;
	pthread_mutex_unlock(&work->lock);
	progress_draw(&progress);
}

/* While the threads fetch: read notices and draw. The last of the threads interrupts it. */
static void look_on(struct work *work)
{
	bool draws = progress_wanted();

	while (is_running(work)) {
		Retcode rc;

		if (draws)
			draw(work);
		rc = finder_read(&work->finder, draws ? DRAW_MS : INFINITE_TIMEOUT);
		if (rc != rcOk && rc != rcTimeout && rc != rcIpcInterrupt) {
			files_warn_code(rc, "no more notices of servers");
			break;
		}
	}
	progress_clear();
}

/* Fetches over one session what is missing. */
static enum files_outcome fetch_all(struct work *work, Handle session)
{
	unsigned int count = work->options->jobs;
	pthread_t *threads = calloc(count, sizeof(*threads));
	unsigned int started = 0;
	int error = threads ? 0 : ENOMEM;

	work->fetching.session = session;
	work->lost = false;
	work->running = count;
	while (error == 0 && started < count) {
		error = pthread_create(&threads[started], NULL, fetch_thread, work);
		started += error == 0;
	}
	if (started < count) {
		pthread_mutex_lock(&work->lock);
		work->running -= count - started;
		pthread_mutex_unlock(&work->lock);
		files_warn("only %u of %u threads could be started: %s", started, count,
			   strerror(error));
	}
	look_on(work);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	if (files_stop_asked())
		return FILES_STOPPED;
	if (work->lost)
		return FILES_LOST;
	return started > 0 ? FILES_DONE : FILES_TROUBLE;
}

/* Takes the names of the command line; whether there is anything to be fetched. */
static bool take_names(struct work *work)
{
	const struct get_options *options = work->options;

	for (size_t i = 0; i < options->count; i++) {
		size_t bytes = strlen(options->names[i]);
		char shown[FILES_SHOWN_SIZE];

		if (!files_name_ok(options->names[i], bytes)) {
			files_warn("%s: refused: a name is a path as \"dcm-files list\" shows it, "
				   "relative and without \"..\"",
				   files_shown(options->names[i], shown));
			work->bad = true;
		} else if (!files_names_add(&work->names, options->names[i], bytes, 0, 0)) {
			files_warn("no memory for the names");
			work->trouble = true;
			return false;
		}
	}
	return options->all || work->names.count > 0;
}

/* What is needed before the first file: with --all, the names. */
static enum files_outcome prepare(struct work *work, Handle session)
{
	enum files_outcome outcome = FILES_DONE;

	if (work->options->all)
		outcome = files_names_fetch(&work->names, session);
	if (outcome != FILES_DONE)
		return outcome;
	for (size_t i = 0; i < work->names.count; i++)
		work->bytes_all += work->names.names[i].file_bytes;
	work->taken = calloc(work->names.count + 1, sizeof(*work->taken));
	return work->taken ? FILES_DONE : FILES_TROUBLE;
}

/* One session after the other until nothing is missing. */
static enum files_outcome get(struct work *work)
{
	enum files_outcome outcome;
	Handle session;

	do {
		size_t before = work->fetched + work->failed;

		outcome = finder_connect(&work->finder, &session);
		if (outcome != FILES_DONE)
			break;
		if (work->start_ns == 0)
			work->start_ns = files_now_ns();
		if (!work->taken)
			outcome = prepare(work, session);
		if (outcome == FILES_DONE)
			outcome = fetch_all(work, session);
		files_session_end(session);
		if (outcome != FILES_LOST)
			break;
		files_event("lost", "%zu %llu", work->fetched, atomic_load(&work->bytes));
		files_note("connection lost; %zu of %zu files are here", work->fetched,
			   work->names.count);
		finder_lost(&work->finder, work->fetched + work->failed > before);
	} while (outcome == FILES_LOST);
	files_event("done", "%zu %llu", work->fetched, atomic_load(&work->bytes));
	return outcome;
}

static void summarise(const struct work *work, uint64_t elapsed_ns)
{
	double seconds = (double)elapsed_ns / 1e9;
	double rate = (double)work->bytes / (seconds > 0 ? seconds : 1);
	char amount[FILES_AMOUNT_SIZE], speed[FILES_AMOUNT_SIZE];

	files_note("%zu file%s, %s in %.2f s (%s/s), all with the server's SHA-256%s",
		   work->fetched, work->fetched == 1 ? "" : "s", files_amount(work->bytes, amount),
		   seconds, files_amount((uint64_t)rate, speed),
		   work->failed ? "; others failed" : "");
}

static int open_target(const char *target)
{
	char shown[FILES_SHOWN_SIZE];
	int fd = -1;

	if (mkdir(target, 0777) == 0 || errno == EEXIST)
		fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		files_warn("--to %s: %s", files_shown(target, shown), strerror(errno));
	return fd;
}

/* From finding a server to the last file. */
static int run(struct work *work)
{
	enum files_outcome outcome;

	if (!finder_open(&work->finder, &work->options->find))
		return EXIT_TROUBLE;
	outcome = get(work);
	if (outcome == FILES_DONE)
		summarise(work, files_now_ns() - work->start_ns);
	finder_close(&work->finder);
	return files_exit_code(outcome);
}

int files_get(const struct get_options *options)
{
	struct work work = { .options = options };
	int code = EXIT_DONE;

	work.fetching = (struct fetching){ .limit = &work.limit, .bytes = &work.bytes };
	work.limit.bytes_per_second = options->bytes_per_second;
	work.fetching.target = open_target(options->target);
	if (work.fetching.target < 0)
		return EXIT_TROUBLE;
	pthread_mutex_init(&work.lock, NULL);
	if (take_names(&work))
		code = run(&work);
	if (code < EXIT_TROUBLE && work.trouble)
		code = EXIT_TROUBLE;
	if (code < EXIT_REFUSED && work.bad)
		code = EXIT_REFUSED;
	pthread_mutex_destroy(&work.lock);
	files_names_free(&work.names);
	free(work.taken);
	close(work.fetching.target);
	return code;
}
