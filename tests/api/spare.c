/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (forks with a library thread) */
/* The memory that is made ahead: only behind an accept, one at a time, taken once, and not for long. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_api.h"
#include "tests/api/lib_peer.h"

enum { TRIES = 20, NUMBERS = 32 };

/* Descriptors of channels that this process has; in *@inode that of the last. */
static unsigned int channels_held(ino_t *inode)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	unsigned int count = 0;

	if (dir == NULL)
		sysbail("/proc/self/fd");
	while ((entry = readdir(dir)) != NULL) {
		char link[300], target[64] = "";
		struct stat st;

		snprintf(link, sizeof(link), "/proc/self/fd/%s", entry->d_name);
		if (readlink(link, target, sizeof(target) - 1) < 0 ||
		    strncmp(target, "/memfd:dcm-channel", 18) != 0)
			continue;
		count++;
		if (inode != NULL && stat(link, &st) == 0)
			*inode = st.st_ino;
	}
	closedir(dir);
	return count;
}

static bool nothing_held(void *arg)
{
	(void)arg;
	return channels_held(NULL) == 0;
}

static void find_no_request(const struct pair *pair)
{
	DcmHandle request;
	Retcode rc = DcmListen(pair->publication, 0, NULL, NULL, &request);

	if (rc != rcTimeout)
		die("DcmListen with no client there: %s", RetcodeName(rc));
}

/* With it, its descriptor goes. */
static void call_once(const struct pair *pair, Handle session)
{
	DcmMessage message = must_loan(session, 4);
	DcmRequest request;
	uint64_t call;

	must(DcmStart(session, &message, 0, &call));
	request = must_receive(pair->listener);
	must_reply(&request, "", 0, 0);
	must(DcmFinish(session, call, FOREVER_NS, NULL, NULL));
}

static void connect_and_close(struct pair *pair)
{
	Handle session = pair_connect(pair);

	call_once(pair, session);
	must(KnHandleClose(session));
}

/* The keeper may take it away before it is looked at, where a second passes in between. */
static bool prepare(struct pair *pair, ino_t *inode)
{
	for (int i = 0; i < TRIES; i++) {
		find_no_request(pair);
		if (channels_held(inode) == 1)
			return true;
		connect_and_close(pair);
	}
	return false;
}

static void test_before(struct pair *pair)
{
	DcmHandle publication, request;

	must(DcmPublishEndpoint(KosTaskGetHandle(KosTaskGetSelf()), "test.Spare", "early",
				&publication));
	is_rc(rcTimeout, DcmListen(publication, 0, NULL, NULL, &request),
	      "a server that has accepted nobody listens");
	is_uint(0, channels_held(NULL), "and makes nothing");
	must(DcmCloseHandle(publication));
	pair_open(pair);
	call_once(pair, pair->session);
	is_uint(0, channels_held(NULL), "nor does one that accepts and serves");
}

static void test_one(struct pair *pair)
{
	ino_t first = 0, second = 0;
	Handle session;

	ok(prepare(pair, &first), "who accepted and finds no other request makes ready");
	find_no_request(pair);
	find_no_request(pair);
	ok(channels_held(NULL) <= 1, "once, however often it looks");
	session = pair_connect(pair);
	call_once(pair, session);
	is_uint(0, channels_held(NULL), "the next client has it");
	must(KnHandleClose(session));
	ok(prepare(pair, &second) && second != first, "and the one behind it has another");
}

/* That it is mapped nowhere shows in what it holds. */
static void test_child(struct pair *pair)
{
	pid_t pid;
	int status = -1;

	ok(prepare(pair, NULL), "it is made ready once more");
	pid = fork();
	if (pid == 0) {
		(void)KosTaskGetHandle(KosTaskGetSelf());
		_exit(channels_held(NULL) == 0 && mapping_count("dcm-channel") == 0 ? 0 : 1);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
	   "a child has neither its descriptor nor its memory");
}

/* With a file of its own at each number that is free. */
static void take_all_numbers(void)
{
	for (int fd = 3; fd < NUMBERS; fd++) {
		close(fd);
		if (open("/dev/null", O_RDONLY) != fd)
			_exit(2);
	}
}

static int numbers_taken(void)
{
	int count = 0;

	for (int fd = 3; fd < NUMBERS; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_child_apart(struct pair *pair)
{
	int status = -1;
	pid_t pid;

	ok(prepare(pair, NULL), "it is made ready for a child that knows nothing of the library");
	pid = fork();
	if (pid == 0)
		_exit(channels_held(NULL) == 0 ? 0 : 1);
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "which has none of it");
}

/* As a daemon does, before it calls the library for the first time. Handlers of fork() do not run. */
static void test_child_closed_it(struct pair *pair)
{
	DcmHandle subscription;
	int status = -1, fd;
	pid_t pid;

	must(DcmSetSubscription("test.Spare.none", NULL, NULL, INVALID_HANDLE, &subscription));
	must(DcmGetFd(subscription, &fd));
	ok(prepare(pair, NULL), "it is made ready for another child");
	pid = _Fork();
	if (pid == 0) {
		take_all_numbers();
		(void)KosTaskGetHandle(KosTaskGetSelf());
		_exit(numbers_taken() == NUMBERS - 3 ? 0 : 1);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
	   "the child's own files are not closed for it");
	must(DcmCloseHandle(subscription));
}

static void test_not_for_long(struct pair *pair)
{
	unsigned int mapped;

	ok(prepare(pair, NULL), "and again");
	ok(until(nothing_held, NULL), "it goes when nobody comes");
	mapped = mapping_count("dcm-channel");
	find_no_request(pair);
	is_uint(0, channels_held(NULL), "and is not made anew before somebody does");
	ok(mapping_count("dcm-channel") <= mapped, "nor mapped");
}

/* Right behind a second that is over, so that the rounds others ask for end before the next one is. */
static void test_kept_busy(struct pair *pair)
{
	enum { OTHERS = 4 };

	ok(prepare(pair, NULL) && until(nothing_held, NULL), "it has just gone");
	ok(prepare(pair, NULL), "the next is made");
	for (int i = 0; i < OTHERS; i++) {
		struct peer other = peer_attached(NULL);

		peer_kill(&other);
	}
	ok(until(nothing_held, NULL), "it goes though others came and went meanwhile");
}

int main(void)
{
	struct holdings before;
	struct pair pair;

	plan_lazy();
	tap_fabric_dir();
	before = holdings_now();
	must(DcmInit());
	test_before(&pair);
	test_one(&pair);
	test_child(&pair);
	test_child_apart(&pair);
	test_child_closed_it(&pair);
	test_not_for_long(&pair);
	test_kept_busy(&pair);
	prepare(&pair, NULL);
	pair_close(&pair);
	DcmFini();
	holdings_are(&before, "the last DcmFini leaves nothing");
	return 0;
}
