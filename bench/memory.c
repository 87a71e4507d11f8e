/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench memory - what each thing costs that only is there */
#define _GNU_SOURCE
#include <coresrv/handle/notice_api.h>
#include <dcm/dcm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/dcm-bench.h"
#include "bench/lib_child.h"
#include "bench/lib_need.h"
#include "bench/lib_options.h"
#include "bench/lib_place.h"

/* Of a process, in bytes: memory of its own, and pages of files and channels that it has mapped. */
struct usage {
	int64_t own, shared, maps;
};

enum thing {
	PROCESS,
	ENDPOINT,
	SUBSCRIPTION,
	CONNECTION,
	LISTENER,
	HANDLE,
	NOTICE,
	CHANNEL,
	CHANNEL_SERVER,
	THINGS,
};

static const struct {
	const char *name, *what;
} things[THINGS] = {
	[PROCESS] = { "process", "DcmInit alone: with its thread, and the pages that it touches" },
	[ENDPOINT] = { "endpoint", "published" },
	[SUBSCRIPTION] = { "subscription", "without a match" },
	[CONNECTION] = { "connection", "asked, for what is not there" },
	[LISTENER] = { "listener", "that nothing was accepted for yet" },
	[HANDLE] = { "handle", "of an object of the program's" },
	[NOTICE] = { "notice", "that nothing is subscribed with" },
	[CHANNEL] = { "channel", "the client's side of an idle session" },
	[CHANNEL_SERVER] = { "channel", "the server's side" },
};

struct stage {
	uint32_t count;
	_Atomic uint32_t ready, measured;
	struct usage of[THINGS]; /* all @count of them; of a process one */
	int64_t segment, committed;
};

static struct list counts = {
	.of = { 500 }, .count = 1, .most_items = 1, .least = 10, .most = 900
};

static struct usage usage(void)
{
	struct usage u = { 0 };
	char line[256];
	long kib, rss = 0, own = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Rss: %ld kB", &kib) == 1)
			rss = kib;
		else if (sscanf(line, "Anonymous: %ld kB", &kib) == 1)
			own = kib;
	}
	if (file != NULL)
		fclose(file);
	file = fopen("/proc/self/maps", "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		u.maps += strchr(line, '\n') != NULL;
	if (file != NULL)
		fclose(file);
	u.own = own * 1024;
	u.shared = (rss - own) * 1024;
	return u;
}

static struct usage since(struct usage before)
{
	struct usage now = usage();

	return (struct usage){ now.own - before.own, now.shared - before.shared,
			       now.maps - before.maps };
}

static Handle task(void)
{
	return KosTaskGetHandle(KosTaskGetSelf());
}

static DcmHandle connection_to(const char *type, const char *name)
{
	DcmHandle c;

	bench_need(rcOk, DcmCreateConnection(type, name, INVALID_HANDLE, INVALID_HANDLE, &c),
		   "DcmCreateConnection");
	return c;
}

static Handle session(void)
{
	DcmHandle c = connection_to("memory.Server", "s");
	Handle h;

	bench_need(rcOk, DcmConnect(c, INFINITE_TIMEOUT, &h), "DcmConnect");
	bench_need(rcOk, DcmCloseHandle(c), "DcmCloseHandle");
	return h;
}

static Handle last_session;

static void make(enum thing thing, uint32_t i)
{
	char name[32];
	Handle h;

	snprintf(name, sizeof(name), "n%u", i);
	switch (thing) {
	case ENDPOINT:
		bench_need(rcOk, DcmPublishEndpoint(task(), "memory.Endpoint", name, &h),
			   "DcmPublishEndpoint");
		break;
	case SUBSCRIPTION:
		bench_need(rcOk, DcmSetSubscription("memory.None", name, NULL, INVALID_HANDLE, &h),
			   "DcmSetSubscription");
		break;
	case CONNECTION:
		bench_need(rcTimeout, DcmConnect(connection_to("memory.None", name), 0, &h),
			   "DcmConnect");
		break;
	case LISTENER:
		bench_need(rcOk, KnHandleCreateListener(&h), "KnHandleCreateListener");
		break;
	case NOTICE:
		bench_need(rcOk, KnNoticeCreate(&h), "KnNoticeCreate");
		break;
	case CHANNEL:
		last_session = session();
		break;
	default:
		bench_need(rcOk,
			   KnHandleCreateUserObject(HANDLE_TYPE_USER_FIRST, OCAP_HANDLE_GET_SID,
						    NULL, &h),
			   "KnHandleCreateUserObject");
		break;
	}
}

static void serve(void *arg)
{
	struct stage *s = arg;
	DcmHandle pub, connection;
	Handle listener, callable;
	struct usage before = { 0 };

	bench_need(rcOk, DcmInit(), "DcmInit");
	bench_need(rcOk, KnHandleCreateListener(&listener), "KnHandleCreateListener");
	bench_need(rcOk,
		   KnHandleCreateUserObjectEx(HANDLE_TYPE_USER_FIRST,
					      OCAP_IPC_CALL | OCAP_HANDLE_TRANSFER, NULL, listener,
					      1, &callable),
		   "KnHandleCreateUserObjectEx");
	bench_need(rcOk, DcmPublishEndpoint(task(), "memory.Server", "s", &pub),
		   "DcmPublishEndpoint");
	bench_raise(&s->ready);
	/* The first is not counted: with it comes what is there once. */
	for (uint32_t i = 0; i <= s->count; i++) {
		bench_need(rcOk, DcmListen(pub, INFINITE_TIMEOUT, NULL, NULL, &connection),
			   "DcmListen");
		bench_need(rcOk, DcmAccept(connection, callable, INVALID_HANDLE), "DcmAccept");
		bench_need(rcOk, DcmCloseHandle(connection), "DcmCloseHandle");
		if (i == 0)
			before = usage();
	}
	s->of[CHANNEL_SERVER] = since(before);
	bench_raise(&s->measured);
	for (;;)
		pause();
}

static void measure(void *arg)
{
	DcmSessionInfo info = { .structSize = sizeof(info) };
	struct stage *s = arg;
	struct usage before;
	struct stat st;

	(void)usage(); /* what the C library needs for it */
	before = usage();
	bench_need(rcOk, DcmInit(), "DcmInit");
	s->of[PROCESS] = since(before);
	for (enum thing t = ENDPOINT; t <= CHANNEL; t++) {
		make(t, UINT32_MAX);
		before = usage();
		for (uint32_t i = 0; i < s->count; i++)
			make(t, i);
		s->of[t] = since(before);
	}
	if (stat(getenv("DCM_FABRIC"), &st) == 0)
		s->segment = st.st_blocks * 512;
	bench_reach(&s->measured, 1);
	bench_need(rcOk, DcmGetSessionInfo(last_session, &info), "DcmGetSessionInfo");
	s->committed = (int64_t)info.committedBytes;
	bench_raise(&s->measured);
	for (;;)
		pause();
}

static struct stage *measure_all(void)
{
	struct stage *s = bench_shared(sizeof(*s));
	char most[16];

	s->count = (uint32_t)counts.of[0];
	/* Room for all of them, without what nobody would have room for. */
	snprintf(most, sizeof(most), "%u", 2 * s->count + 16);
	setenv("DCM_MAX_CONNECTIONS", most, 1);
	bench_child(serve, s);
	bench_reach(&s->ready, 1);
	bench_child(measure, s);
	while (!bench_reach_within(&s->measured, 2, 1000000000))
		bench_check_ended();
	return s;
}

static void print_row(const struct stage *s, enum thing t, bool json)
{
	double n = t == PROCESS ? 1 : s->count;
	double own = (double)s->of[t].own / n, shared = (double)s->of[t].shared / n;
	double maps = (double)s->of[t].maps / n;

	if (json)
		printf("%s\n  {\"name\": \"%s\", \"what\": \"%s\", \"count\": %.0f, "
		       "\"own_bytes\": %.0f, \"shared_bytes\": %.0f, \"maps\": %.2f}",
		       t == PROCESS ? "" : ",", things[t].name, things[t].what, n, own, shared,
		       maps);
	else
		printf("%-13s %12.0f %12.0f %8.1f  %s\n", things[t].name, own, shared, maps,
		       things[t].what);
}

static void print_all(const struct stage *s, bool json)
{
	if (json)
		printf("{\"schema\": \"dcm-bench-memory/1\", \"machine\": \"%s\", "
		       "\"compiler\": \"%s\", \"segment_bytes\": %lld,\n"
		       " \"channel_committed_bytes\": %lld, \"rows\": [",
		       place_machine(), __VERSION__, (long long)s->segment,
		       (long long)s->committed);
	else
		printf("%s; compiler %s\n"
		       "the fabric's segment: %lld bytes, all committed, one for all; a channel's "
		       "file, one for both sides: %lld\n"
		       "bytes for each, resident; mappings\n\n"
		       "%-13s %12s %12s %8s\n",
		       place_machine(), __VERSION__, (long long)s->segment, (long long)s->committed,
		       "", "its own", "shared", "maps");
	for (enum thing t = PROCESS; t < THINGS; t++)
		print_row(s, t, json);
	if (json)
		printf("\n ]}\n");
}

static const char help_before[] =
	"Measures how much memory each thing costs that only is there: what of the process's own\n"
	"becomes resident, how much of the segment and of channels it touches, and how many\n"
	"mappings it makes.\n";

int memory_main(int argc, char **argv)
{
	bool json = false;
	const struct option_is options[] = {
		{ "count", "N", "so many of each (500)", .list = &counts },
		{ "json", NULL, "JSON", .flag = &json },
		{ 0 },
	};
	const struct options_help help = { "memory", help_before, NULL };
	int status = options_parse(argc, argv, &help, options);

	if (status >= 0)
		return status;
	bench_begin();
	print_all(measure_all(), json);
	return EXIT_GOOD;
}
