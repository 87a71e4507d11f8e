// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_serve.h"
#include "dcm-files_answer.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server server;
static DcmHandle publication = DCM_INVALID_HANDLE;
static Handle listener = INVALID_HANDLE;
static Handle callable = INVALID_HANDLE;
static atomic_ullong clients;
static atomic_bool failed;

/* Ends the program from any of its threads, as if the user had. */
static void give_up(Retcode rc, const char *what)
{
	files_warn_code(rc, "%s", what);
	atomic_store(&failed, true);
	kill(getpid(), SIGTERM);
}

/* Decides about one client: here, everyone who asks may read. */
static void accept_client(DcmHandle request, const char *client)
{
	char shown[FILES_SHOWN_SIZE];
	Retcode rc = DcmAccept(request, callable, INVALID_HANDLE);

	if (rc == rcOk)
		atomic_fetch_add(&clients, 1);
	else if (rc != rcNotConnected) /* the client has left meanwhile */
		files_warn_code(rc, "%s cannot be accepted", files_shown(client, shown));
	DcmCloseHandle(request);
}

static void *accept_thread(void *unused)
{
	char client[DCM_NAME_SIZE];
	DcmHandle request;

	while (!atomic_load(&server.stopping)) {
		Retcode rc = DcmListen(publication, INFINITE_TIMEOUT, NULL, client, &request);

		if (rc == rcOk) {
			accept_client(request, client);
		} else if (rc == rcQuotaExceeded || rc == rcOutOfMemory) {
			/* The request stays; there may be room for it later. */
			files_warn_code(rc, "a client waits");
			files_sleep_until_ns(files_now_ns() + 1000000000u);
		} else if (rc != rcIpcInterrupt) {
			give_up(rc, "listening for clients failed");
			break;
		}
	}
	return unused;
}

static void *answer_thread(void *unused)
{
	struct files_hash *hash = files_hash_new();
	DcmRequest request;
	Retcode rc = rcOk;

	if (!hash) {
		give_up(rcOutOfMemory, "OpenSSL has no SHA-256");
		return unused;
	}
	while (rc == rcOk && !atomic_load(&server.stopping)) {
		rc = DcmReceive(listener, -1, &request);
		if (rc == rcOk)
			files_answer(&server, hash, &request);
	}
	if (rc != rcOk && rc != rcIpcInterrupt)
		give_up(rc, "receiving requests failed");
	/*
	 * An interruption ends those who are blocked now, or the next one who would; whoever was
	 * busy then is told by the one before.
	 */
	DcmInterruptCall(listener);
	files_hash_free(hash);
	return unused;
}

/* Everything that is needed before the first client comes; publishing is last. */
static bool set_up(const struct serve_options *options)
{
	Handle self = KosTaskGetHandle(KosTaskGetSelf());
	uint64_t begin_ns;
	Retcode rc;

	rc = DcmInit();
	if (rc != rcOk) {
		files_warn_code(rc, "no fabric");
		return false;
	}
	rc = KnHandleCreateListener(&listener);
	if (rc == rcOk)
		rc = KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
						OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL,
						listener, 1, &callable);
	begin_ns = files_now_ns();
	if (rc == rcOk)
		rc = DcmPublishEndpoint(self, FILES_TYPE, options->name, &publication);
	if (rc != rcOk) {
		files_warn_code(rc, FILES_TYPE " cannot be published as \"%s\"", options->name);
		return false;
	}
	files_event_at(begin_ns, "publish-begin", "%d", (int)getpid());
	files_event("publish-end", "%d", (int)getpid());
	return true;
}

static void tear_down(void)
{
	if (publication != DCM_INVALID_HANDLE)
		DcmCloseHandle(publication);
	if (callable != INVALID_HANDLE)
		KnHandleClose(callable);
	if (listener != INVALID_HANDLE)
		KnHandleClose(listener);
	DcmFini();
}

/* Starts threads until one cannot be; how many there are. */
static unsigned int start_threads(pthread_t *threads, unsigned int count)
{
	unsigned int started = 0;

	while (started < count) {
		int error = pthread_create(&threads[started], NULL,
					   started == 0 ? accept_thread : answer_thread, NULL);

		if (error != 0) {
			files_warn("a thread cannot be started: %s", strerror(error));
			atomic_store(&failed, true);
			break;
		}
		started++;
	}
	return started;
}

static void run_threads(const struct serve_options *options, const sigset_t *ends)
{
	unsigned int count = options->threads + 1; /* and one that accepts */
	pthread_t *threads = calloc(count, sizeof(*threads));
	unsigned int started = threads ? start_threads(threads, count) : 0;
	int signal_number = 0;

	if (started == count)
		sigwait(ends, &signal_number);
	else
		atomic_store(&failed, true);
	atomic_store(&server.stopping, true);
	DcmInterruptBlockingCall(publication);
	DcmInterruptCall(listener);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(threads);
}

static void say_where(const struct serve_options *options)
{
	const char *fabric = getenv("DCM_FABRIC");
	char shown[FILES_SHOWN_SIZE];

	files_note("serving %s as %s \"%s\" on %s%s; process %d, %u thread%s",
		   files_shown(options->directory, shown), FILES_TYPE, options->name,
		   fabric ? "the fabric " : "the default fabric", fabric ? fabric : "",
		   (int)getpid(), options->threads, options->threads == 1 ? "" : "s");
}

static void say_what_was_done(void)
{
	char amount[FILES_AMOUNT_SIZE];

	files_note("served %s in %llu replies to %llu clients",
		   files_amount(atomic_load(&server.bytes), amount), atomic_load(&server.requests),
		   atomic_load(&clients));
}

int files_serve(const struct serve_options *options)
{
	char shown[FILES_SHOWN_SIZE];
	sigset_t ends;

	server.root = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (server.root < 0) {
		files_warn("%s: %s", files_shown(options->directory, shown), strerror(errno));
		return EXIT_TROUBLE;
	}
	server.limit.bytes_per_second = options->bytes_per_second;
	/* Blocked before the first thread starts, so that only sigwait() gets them. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (set_up(options)) {
		say_where(options);
		run_threads(options, &ends);
		say_what_was_done();
	} else {
		atomic_store(&failed, true);
	}
	tear_down();
	close(server.root);
	return atomic_load(&failed) ? EXIT_TROUBLE : EXIT_DONE;
}
