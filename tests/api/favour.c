/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper, which looks around each second, leaves the lock of a session's server end to the
 * thread that goes on serving: it neither takes the favour away nor makes it harder to get.
 */
#include <dcm/channel.h>
#include <time.h>

#include "api/handle.h"
#include "api/server.h"
#include "tests/api/lib_api.h"

/* Seconds of the keeper's; and how long two calls may lie apart for it to find the server busy. */
#define WATCHED_NS  (5 * S_NS / 2)
#define GAP_NS_MOST (S_NS / 2)

enum { CALLS = 100, TRIES = 20 };

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * S_NS + now.tv_nsec;
}

/* Both sides of a call. Return: the number of the server's end. */
static uint64_t call_once(const struct pair *pair)
{
	DcmMessage message = must_loan(pair->session, 8), reply;
	DcmRequest request;
	uint64_t number, call;

	must(DcmStart(pair->session, &message, FOREVER_NS, &call));
	request = must_receive(pair->listener);
	number = request.message.opaque[0];
	must_reply(&request, "8 bytes", 8, 0);
	must(DcmFinish(pair->session, call, FOREVER_NS, NULL, &reply));
	must(DcmRelease(&reply));
	return number;
}

static struct dcm_lock *lock_of(uint64_t number)
{
	struct dcm_object *object = dcm_handle_find(number, 1u << DCM_KIND_CHANNEL);

	if (object == NULL)
		die("the server's end is not there");
	/* The session holds it for as long as this is used. */
	dcm_object_drop(object);
	return &((struct dcm_server_end *)object)->end.lock;
}

/* While somebody is blocked, the keeper looks around. */
static void listen_in_vain(void *publication)
{
	while (DcmListen(*(DcmHandle *)publication, INFINITE_TIMEOUT, NULL, NULL, NULL) == rcOk)
		;
}

/* Return: how often the favour was lost between two calls; -1: they lay too far apart. */
static int losses(const struct pair *pair, struct dcm_lock *lock)
{
	int64_t end = now_ns() + WATCHED_NS, last = now_ns(), now = last;
	int lost = 0;

	for (; now < end; last = now, now = now_ns()) {
		if (now - last > GAP_NS_MOST)
			return -1;
		(void)call_once(pair);
		pause_ms(10);
		lost += dcm_lock_favourite(lock) == 0;
	}
	return lost;
}

static void test_favour(const struct pair *pair)
{
	struct dcm_lock *lock = NULL;
	uint32_t enough;
	int lost = -1;

	for (int i = 0; i < CALLS; i++)
		lock = lock_of(call_once(pair));
	if (dcm_lock_favourite(lock) == 0) {
		skip_block(2, "no thread is favoured in this build, or here");
		return;
	}
	enough = lock->enough;
	for (int i = 0; i < TRIES && lost < 0; i++)
		lost = losses(pair, lock);
	if (lost < 0)
		skip("this machine does not let a thread run twice a second");
	else
		is_int(0, lost, "a thread that goes on serving stays the favourite");
	is_uint(enough, lock->enough, "and whoever is next needs no more entries for it");
}

int main(void)
{
	struct task listening;
	struct pair pair;

	plan(2);
	tap_fabric_dir();
	must(DcmInit());
	pair_open(&pair);
	task_start(&listening, listen_in_vain, &pair.publication);
	task_asleep(&listening);
	test_favour(&pair);
	pair_close(&pair);
	task_join(&listening);
	DcmFini();
	return 0;
}
