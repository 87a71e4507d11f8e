/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (dlopen of a second copy of the library) */
/* DcmInit and DcmFini: counted, again and again, with settings, from many threads; nothing is left. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/lib_blocked.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Attach"

static const char *dir;

static Retcode init_with(const char *variable, const char *value)
{
	Retcode rc;

	setenv(variable, value, 1);
	errno = 4242;
	rc = DcmInit();
	if (errno != 4242)
		ok(0, "errno is %d after DcmInit with %s=%s", errno, variable, value);
	if (rc == rcOk)
		DcmFini();
	unsetenv(variable);
	return rc;
}

static void test_counting(void)
{
	DcmHandle subscription;

	for (int i = 0; i < 3; i++)
		is_rc(rcOk, DcmInit(), "DcmInit number %d", i + 1);
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &subscription));
	DcmFini();
	DcmFini();
	is_rc(rcOk, DcmCloseHandle(subscription), "handles outlast all DcmFini but the last");
	DcmFini();
	is_rc(rcNotConnected, DcmCloseHandle(subscription), "after the last DcmFini there is none to close");
	DcmFini();
	is_rc(rcOk, DcmInit(), "DcmFini too often does nothing: DcmInit");
	is_rc(rcInvalidArgument, DcmCloseHandle(subscription), "the old handle is closed");
	DcmFini();
}

/* Each table size: its least and most are taken, what is beyond is refused with the bounds. */
static void test_bounds(void)
{
	static const struct {
		const char *variable, *least, *most, *below, *above;
	} bounds[] = {
		{ "DCM_MAX_PROCESSES", "1", NULL, "0", "32769" },
		{ "DCM_MAX_ENDPOINTS", "1", "100000", "0", "524289" },
		{ "DCM_MAX_SUBSCRIPTIONS", "1", NULL, "0", "65537" },
		{ "DCM_MAX_CONNECTIONS", "1", NULL, "0", "65537" },
		{ "DCM_MAX_LISTENERS", "1", NULL, "0", "8193" },
		{ "DCM_MAX_GIFTS", "1", "1048576", "0", "1048577" },
		{ "DCM_MAX_HINTS", "2", NULL, "1", "65537" },
		{ "DCM_MAX_CHANNEL_BYTES", "1048576", "1099511627776", "1048575", "1099511627777" },
	};
	static const char *const nonsense[] = { "x",	"-1",  "+5",  " 5",   "5 ",
						"0x10", "1e3", "5.0", "5000k", "99999999999999999999" };
	char fabric[256];

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		const char *variable = bounds[i].variable;
		int bad = 0;

		snprintf(fabric, sizeof(fabric), "%s/bounds%zu", dir, i);
		setenv("DCM_FABRIC", fabric, 1);
		is_rc(rcInvalidArgument, init_with(variable, bounds[i].below), "%s=%s", variable,
		      bounds[i].below);
		ok(strstr(DcmLastDetail(), variable) != NULL, "the detail names it: %s",
		   DcmLastDetail());
		is_rc(rcInvalidArgument, init_with(variable, bounds[i].above), "%s=%s", variable,
		      bounds[i].above);
		for (size_t n = 0; n < sizeof(nonsense) / sizeof(nonsense[0]); n++)
			bad += init_with(variable, nonsense[n]) != rcInvalidArgument;
		is_int(0, bad, "%s refuses what is not a number", variable);
		is_rc(rcOk, init_with(variable, bounds[i].least), "%s=%s", variable,
		      bounds[i].least);
		unlink(fabric);
		if (bounds[i].most != NULL)
			is_rc(rcOk, init_with(variable, bounds[i].most), "%s=%s", variable,
			      bounds[i].most);
		is_rc(rcOk, init_with(variable, ""), "%s empty is as unset", variable);
	}
	snprintf(fabric, sizeof(fabric), "%s/fabric", dir);
	setenv("DCM_FABRIC", fabric, 1);
}

static void test_other_settings(void)
{
	char name[400], fabric[600];

	is_rc(rcInvalidArgument, init_with("DCM_TRANSFER", "pigeon"), "DCM_TRANSFER=pigeon");
	is_rc(rcInvalidArgument, init_with("DCM_TRANSFER", "GETFD"), "DCM_TRANSFER=GETFD");
	is_rc(rcOk, init_with("DCM_TRANSFER", "getfd"), "DCM_TRANSFER=getfd");
	is_rc(rcOk, init_with("DCM_TRANSFER", "socket"), "DCM_TRANSFER=socket");
	is_rc(rcOk, init_with("DCM_TRANSFER", ""), "DCM_TRANSFER empty");
	is_rc(rcInvalidArgument, init_with("DCM_PROCESS_NAME", "a\nb"), "a name with a newline");
	is_rc(rcInvalidArgument, init_with("DCM_PROCESS_NAME", "\377"), "a name that is not UTF-8");
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	is_rc(rcInvalidArgument, init_with("DCM_PROCESS_NAME", name), "a name of 256 bytes");
	name[255] = '\0';
	is_rc(rcOk, init_with("DCM_PROCESS_NAME", name), "a name of 255 bytes");
	setenv("DCM_FABRIC", "/nonexistent-directory/fabric", 1);
	is_rc(rcResourceNotFound, DcmInit(), "a fabric in no directory");
	memset(fabric, '/', sizeof(fabric));
	fabric[sizeof(fabric) - 1] = '\0';
	setenv("DCM_FABRIC", fabric, 1);
	is_rc(rcInvalidArgument, DcmInit(), "a fabric of 599 bytes");
	setenv("DCM_FABRIC", "with space", 1);
	is_rc(rcInvalidArgument, DcmInit(), "a fabric whose name has a space");
	setenv("DCM_FABRIC", "..", 1);
	is_rc(rcInvalidArgument, DcmInit(), "a fabric called ..");
	setenv("DCM_FABRIC", "/proc/self/fabric", 1);
	ok(DcmInit() != rcOk && *DcmLastDetail() != '\0', "a fabric in /proc: %s", DcmLastDetail());
	snprintf(fabric, sizeof(fabric), "%s/directory", dir);
	mkdir(fabric, 0700);
	setenv("DCM_FABRIC", fabric, 1);
	ok(DcmInit() != rcOk && *DcmLastDetail() != '\0', "a directory: %s", DcmLastDetail());
	rmdir(fabric);
	snprintf(fabric, sizeof(fabric), "%s/fabric", dir);
	setenv("DCM_FABRIC", fabric, 1);
}

/* A file that is no segment is refused, and not touched. */
static void test_not_a_segment(uint64_t *state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 4096, 65536, 1 << 20 };
	unsigned char bytes[4096], seen[4096];
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/random", dir);
	setenv("DCM_FABRIC", path, 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		Retcode rc;
		size_t left;

		file = fopen(path, "we");
		for (size_t n = 0; n < sizeof(bytes); n++)
			bytes[n] = (unsigned char)random_next(state);
		for (left = sizes[i]; left > 0; left -= left < 4096 ? left : 4096)
			fwrite(bytes, 1, left < 4096 ? left : 4096, file);
		fclose(file);
		rc = DcmInit();
		/* What nobody can be using may be replaced; all else is refused. */
		if (rc == rcOk) {
			DcmFini();
			note("a random file of %zu bytes is replaced", sizes[i]);
			continue;
		}
		is_rc(rcFail, rc, "a random file of %zu bytes", sizes[i]);
		file = fopen(path, "re");
		left = fread(seen, 1, sizeof(seen), file);
		fclose(file);
		ok(memcmp(seen, bytes, left) == 0, "it is as it was");
	}
	snprintf(path, sizeof(path), "%s/fabric", dir);
	setenv("DCM_FABRIC", path, 1);
}

static void test_several_fabrics(void)
{
	struct peer peer = peer_start("elsewhere");
	DcmHandle here, there;
	char path[256];

	snprintf(path, sizeof(path), "%s/second", dir);
	peer_must(&peer, PEER_SETENV, .name = "DCM_FABRIC", .type = path);
	peer_must(&peer, PEER_INIT);
	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "n");
	must(DcmInit());
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &here));
	is_rc(rcTimeout, DcmReadPubQueue(here, 0, NULL, NULL, NULL, NULL),
	      "what is published in another fabric is not seen");
	DcmFini();
	setenv("DCM_FABRIC", path, 1);
	is_rc(rcOk, DcmInit(), "the other fabric");
	must(DcmSetSubscription(TYPE, NULL, NULL, INVALID_HANDLE, &there));
	is_rc(rcOk, DcmReadPubQueue(there, 0, NULL, NULL, NULL, NULL), "there it is seen");
	DcmFini();
	is_int(0, peer_end(&peer), "the peer ends in order");
	snprintf(path, sizeof(path), "%s/fabric", dir);
	setenv("DCM_FABRIC", path, 1);
}

/* Sessions and listeners keep the process in its fabric; when all is closed, it is free at once. */
static void test_reattach(void)
{
	char first[256], second[256];
	struct pair pair;

	snprintf(first, sizeof(first), "%s/fabric", dir);
	snprintf(second, sizeof(second), "%s/second", dir);
	must(DcmInit());
	pair_open(&pair);
	DcmFini();
	is_rc(rcInvalidOperation, init_with("DCM_FABRIC", second), "another fabric, with a session");
	setenv("DCM_FABRIC", first, 1);
	is_rc(rcOk, DcmInit(), "the same one");
	DcmFini();
	is_rc(rcInvalidOperation, DcmSetProcessName("late"), "a name while it is a participant");
	must(KnHandleClose(pair.session));
	must(KnHandleClose(pair.callable));
	must(KnHandleClose(pair.listener));
	for (int i = 0; i < 200; i++) {
		bool odd = i % 2 != 0;
		Retcode rc;

		setenv("DCM_FABRIC", odd ? first : second, 1);
		rc = DcmInit();
		if (rc != rcOk) {
			is_rc(rcOk, rc, "all is closed, another fabric, round %d", i);
			break;
		}
		pair_open(&pair);
		pair_close(&pair);
		DcmFini();
	}
	ok(true, "in turns in two fabrics");
	setenv("DCM_FABRIC", first, 1);
}

enum { THREADS = 8 };

struct comer {
	unsigned int rounds, wrong;
	Handle server;
	char name[16];
};

/* What a thread made between its DcmInit and its DcmFini is its own. */
static void come_and_go(void *arg)
{
	struct comer *comer = arg;

	for (unsigned int i = 0; i < comer->rounds; i++) {
		DcmHandle publication;
		Retcode rc = DcmInit();

		if (rc != rcOk) {
			comer->wrong++;
			continue;
		}
		rc = DcmPublishEndpoint(comer->server, TYPE, comer->name, &publication);
		if (rc != rcOk || DcmCloseHandle(publication) != rcOk) {
			if (comer->wrong++ == 0)
				diag("  %s: %s", RetcodeName(rc), DcmLastDetail());
		}
		DcmFini();
	}
}

static void test_threads(void)
{
	struct comer comers[THREADS];
	struct task tasks[THREADS];
	unsigned int wrong = 0;

	for (int i = 0; i < THREADS; i++) {
		comers[i] = (struct comer){ .rounds = (unsigned int)tap_scaled(1000) / THREADS + 1,
					    .server = new_identity() };
		snprintf(comers[i].name, sizeof(comers[i].name), "thread %d", i);
		task_start(&tasks[i], come_and_go, &comers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		task_join(&tasks[i]);
		wrong += comers[i].wrong;
		must(KnHandleClose(comers[i].server));
	}
	is_uint(0, wrong, "%d threads come and go, each with handles of its own", THREADS);
}

static void test_two_copies(void)
{
	char path[4096];
	ssize_t bytes = readlink("/proc/self/exe", path, sizeof(path) - 32);
	Retcode (*other_init)(void);
	const char *(*other_detail)(void);
	int status = -1;
	pid_t child;
	void *copy;

	path[bytes > 0 ? bytes : 0] = '\0';
	for (int i = 0; i < 3 && strrchr(path, '/') != NULL; i++)
		*strrchr(path, '/') = '\0';
	strcat(path, "/libdcm.so.0");
	copy = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (copy == NULL) {
		skip("no second copy: %s", dlerror());
		return;
	}
	*(void **)(&other_init) = dlsym(copy, "DcmInit");
	*(void **)(&other_detail) = dlsym(copy, "DcmLastDetail");
	/* In a child: a copy that was refused cannot close its lock file without harm to the first. */
	child = fork();
	if (child == 0) {
		must(DcmInit());
		is_int(rcInvalidOperation, other_init(), "a second copy of the library is refused");
		ok(*other_detail() != '\0', "with a detail: %s", other_detail());
		is_rc(rcOk, DcmInit(), "the first goes on");
		_exit(0);
	}
	ok(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child ends");
	dlclose(copy);
}

int main(void)
{
	struct holdings before;
	uint64_t state;

	plan_lazy();
	dir = tap_fabric_dir();
	state = tap_seed() | 1;
	before = holdings_now();
	test_counting();
	holdings_are(&before, "counting");
	test_bounds();
	test_other_settings();
	holdings_are(&before, "settings");
	test_not_a_segment(&state);
	test_several_fabrics();
	test_reattach();
	holdings_are(&before, "fabrics");
	test_threads();
	holdings_are(&before, "threads");
	test_two_copies();
	return 0;
}
