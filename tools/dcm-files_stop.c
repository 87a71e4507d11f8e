// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_stop.h"
#include "dcm-files_common.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define WATCHED_MAX 4 /* a subscription, a connection and a session are open at once */

static struct watched {
	uint64_t handle; /* 0: free */
	Retcode (*interrupt)(uint64_t handle);
} watched[WATCHED_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t thread;
static bool runs, ending; /* the thread */
static atomic_int asked;
static sigset_t ends;

static void *wait_for_signal(void *unused)
{
	int signal_number;

	if (sigwait(&ends, &signal_number) != 0)
		return unused;
	pthread_mutex_lock(&lock);
	if (!ending)
		atomic_store(&asked, signal_number);
	for (size_t i = 0; i < WATCHED_MAX; i++)
		if (watched[i].handle != 0)
			watched[i].interrupt(watched[i].handle);
	pthread_mutex_unlock(&lock);
	return unused;
}

void files_stop_begin(void)
{
	int error;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	error = pthread_create(&thread, NULL, wait_for_signal, NULL);
	runs = error == 0;
	if (runs)
		return;
	/* Without it signals end the program at once, and may leave a temporary file. */
	pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
	files_warn("no thread for signals: %s", strerror(error));
}

void files_stop_end(void)
{
	int signal_number;

	if (runs) {
		pthread_mutex_lock(&lock);
		ending = true;
		pthread_mutex_unlock(&lock);
		pthread_kill(thread, SIGTERM);
		pthread_join(thread, NULL);
	}
	signal_number = files_stop_asked();
	if (signal_number == 0)
		return;
	signal(signal_number, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
	raise(signal_number);
}

int files_stop_asked(void)
{
	return atomic_load(&asked);
}

void files_stop_watch(uint64_t handle, Retcode (*interrupt)(uint64_t handle))
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < WATCHED_MAX; i++) {
		if (watched[i].handle == 0) {
			watched[i] = (struct watched){ handle, interrupt };
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

void files_stop_unwatch(uint64_t handle)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < WATCHED_MAX; i++)
		if (watched[i].handle == handle)
			watched[i].handle = 0;
	pthread_mutex_unlock(&lock);
}
