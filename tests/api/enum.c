/* SPDX-License-Identifier: BSD-2-Clause */
/* tsan: no (several processes: it sees one of them at a time) */
/* DcmEnumEndpoints: what is published, by whom, and nothing that is not. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/process.h"
#include "tests/api/lib_inside.h"
#include "tests/api/lib_peer.h"

#define TYPE "test.Enum"

/* All of @type; dies where that cannot be had. The array is the caller's to free. */
static DcmEndpointInfo *list(const char *type, size_t *count)
{
	DcmEndpointInfo *all = NULL;
	size_t room = 0;
	Retcode rc;

	while ((rc = DcmEnumEndpoints(type, room, all, count)) == rcBufferTooSmall) {
		room = *count;
		free(all);
		all = calloc(room, sizeof(*all));
		all[0].structSize = sizeof(*all);
	}
	must(rc);
	return all;
}

static size_t count_of(const char *type)
{
	size_t count;

	free(list(type, &count));
	return count;
}

static const DcmEndpointInfo *named(const DcmEndpointInfo *all, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].endpointName, name) == 0)
			return &all[i];
	return NULL;
}

static DcmHandle publish(Handle server, const char *type, const char *name)
{
	DcmHandle publication;

	must(DcmPublishEndpoint(server, type, name, &publication));
	return publication;
}

static void test_what_it_says(Handle self)
{
	struct peer peer = peer_attached("far server");
	uint64_t far_sid = peer_must(&peer, PEER_SID).sid;
	const DcmEndpointInfo *info;
	DcmHandle one, other;
	DcmEndpointInfo *all;
	size_t count;

	is_uint(0, count_of(NULL), "nothing is published");
	one = publish(self, TYPE, "near");
	other = publish(self, "test.Other", "near");
	peer_must(&peer, PEER_PUBLISH, .type = TYPE, .name = "far");
	all = list(TYPE, &count);
	is_uint(2, count, "those of one interface");
	info = named(all, count, "far");
	ok(info != NULL && info->pid == peer.pid && info->uid == geteuid() &&
		   info->server == far_sid && strcmp(info->serverName, "far server") == 0 &&
		   strcmp(info->endpointType, TYPE) == 0 && info->structSize == sizeof(*info),
	   "what is said of another process's");
	info = named(all, count, "near");
	ok(info != NULL && info->pid == getpid() && info->server == sid_of(self) &&
		   strcmp(info->serverName, "enum.t") == 0,
	   "what is said of one's own");
	free(all);
	is_uint(3, count_of(NULL), "those of every interface");
	is_uint(0, count_of("test.Enu"), "interfaces are compared whole");
	peer_must(&peer, PEER_FINI);
	is_uint(1, count_of(TYPE), "a server that has left publishes nothing");
	must(DcmCloseHandle(one));
	is_uint(0, count_of(TYPE), "nor does a closed publication");
	must(DcmCloseHandle(other));
	peer_end(&peer);
}

static void test_sizes(Handle self)
{
	struct {
		DcmEndpointInfo known;
		unsigned char more[40];
	} wide[3];
	DcmHandle publications[2] = { publish(self, TYPE, "a"), publish(self, TYPE, "b") };
	DcmEndpointInfo few[2];
	size_t count = 99;

	is_rc(rcBufferTooSmall, DcmEnumEndpoints(TYPE, 0, NULL, &count), "without an array");
	is_uint(2, count, "the count that is needed");
	memset(few, 0x5a, sizeof(few));
	few[0].structSize = sizeof(few[0]);
	is_rc(rcBufferTooSmall, DcmEnumEndpoints(TYPE, 1, few, &count),
	      "an array that is too small");
	is_uint(2, count, "the count that is needed");
	is_hex(0x5a5a5a5a, few[1].structSize, "nothing is written behind it");
	is_rc(rcOk, DcmEnumEndpoints(TYPE, 2, few, &count), "one that is just large enough");
	is_uint(sizeof(few[0]), few[1].structSize, "the first element's size is that of each");

	memset(wide, 0x5a, sizeof(wide));
	wide[0].known.structSize = sizeof(wide[0]);
	is_rc(rcOk, DcmEnumEndpoints(TYPE, 3, &wide[0].known, &count),
	      "elements of a later version");
	ok(count == 2 && wide[1].known.structSize == sizeof(wide[0]) && wide[1].more[0] == 0 &&
		   wide[1].more[39] == 0 && strcmp(wide[1].known.endpointType, TYPE) == 0,
	   "are as far apart as they say, and what is not known is zero");
	is_hex(0x5a, wide[2].more[0], "the rest of the array stays");

	few[0].structSize = 0;
	is_rc(rcInvalidArgument, DcmEnumEndpoints(TYPE, 2, few, &count), "structSize not set");
	is_rc(rcInvalidArgument, DcmEnumEndpoints(TYPE, 2, NULL, &count), "an array of null");
	is_rc(rcInvalidArgument, DcmEnumEndpoints(TYPE, 0, NULL, NULL), "no place for the count");
	is_rc(rcInvalidArgument, DcmEnumEndpoints("", 0, NULL, &count), "an empty interface name");
	for (int i = 0; i < 2; i++)
		must(DcmCloseHandle(publications[i]));
	is_rc(rcOk, DcmEnumEndpoints(TYPE, 0, NULL, &count), "nothing fits anywhere");
	is_uint(0, count, "and its count is 0");
}

static bool none_left(void *type)
{
	return count_of(type) == 0;
}

/* The dead publish nothing, reaped or not; who is only stopped does. */
static void test_deaths(void)
{
	struct peer peers[4];
	char type[] = TYPE;

	for (int i = 0; i < 4; i++) {
		peers[i] = peer_attached("mortal");
		peer_must(&peers[i], PEER_PUBLISH, .type = TYPE, .name = "x");
		peer_must(&peers[i], PEER_PUBLISH, .type = TYPE, .name = "y");
	}
	is_uint(8, count_of(TYPE), "the same names of four servers");
	for (int i = 0; i < 4; i++) {
		peer_kill(&peers[i]);
		is_uint(6 - 2u * (unsigned)i, count_of(TYPE), "%d of them killed", i + 1);
	}
	ok(until(none_left, type), "nothing of the dead is listed");
}

/* What is there all the time is listed once, whatever goes on. */
static void test_many(Handle self)
{
	enum { MANY = 700, ROUNDS = 40 };
	static DcmHandle publications[MANY];
	static unsigned char seen[MANY];
	struct peer busy = peer_attached("busy");
	char name[DCM_NAME_SIZE];
	unsigned int wrong = 0;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many %d", i);
		publications[i] = publish(self, TYPE, name);
	}
	for (uint64_t round = 0; round < tap_scaled(ROUNDS); round++) {
		size_t count;
		DcmEndpointInfo *all;
		unsigned int index;

		peer_post(&busy, PEER_PUBLISH, .type = TYPE, .name = "busy");
		all = list(round % 2 == 0 ? TYPE : NULL, &count);
		memset(seen, 0, sizeof(seen));
		for (size_t i = 0; i < count; i++)
			if (sscanf(all[i].endpointName, "many %u", &index) == 1 && index < MANY)
				seen[index]++;
			else
				wrong += strcmp(all[i].serverName, "busy") != 0;
		for (int i = 0; i < MANY; i++)
			wrong += seen[i] != 1;
		free(all);
		peer_must(&busy, PEER_CLOSE, .handle = peer_wait(&busy).handle);
	}
	is_uint(0, wrong, "%d endpoints are there once in every list", MANY);
	for (int i = 0; i < MANY; i++)
		must(DcmCloseHandle(publications[i]));
	peer_end(&busy);
}

/* What another participant writes into the segment is no name because it stands where names do. */
static void test_hostile(Handle self)
{
	static const char *const bad[] = { "", "a\nb", "\x1b[2J", "\xff\xfe", "a\xc2" };
	DcmHandle good = publish(self, TYPE, "good"), victim = publish(self, TYPE, "victim");
	struct inside inside = inside_open();
	struct dcm_endpoint_view view;
	uint32_t at = UINT32_MAX;
	struct dcm_name kept;

	for (uint32_t i = 0; i < inside.seg.endpoint.count; i++)
		if (dcm_registry_look(&inside.seg, i, 0, &view) && strcmp(view.name, "victim") == 0)
			at = i;
	if (at == UINT32_MAX)
		die("the endpoint is not in the segment");
	kept = dcm_endpoint_names_at(&inside.seg, at)->name;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		dcm_name_store(&dcm_endpoint_names_at(&inside.seg, at)->name, bad[i]);
		is_uint(1, count_of(TYPE), "a name that is none (%zu) is not listed", i);
	}
	for (uint32_t i = 0; i < DCM_NAME_WORDS; i++)
		dcm_store(&dcm_endpoint_names_at(&inside.seg, at)->name.words[i],
			  UINT64_C(0x6161616161616161), relaxed);
	ok(count_of(NULL) >= 1, "a name without an end does no harm");
	dcm_endpoint_names_at(&inside.seg, at)->name = kept;
	is_uint(2, count_of(TYPE), "as it was, it is");
	inside_close(&inside);
	must(DcmCloseHandle(victim));
	must(DcmCloseHandle(good));
}

int main(void)
{
	size_t count;
	Handle self = KosTaskGetHandle(KosTaskGetSelf());
	struct holdings before;

	plan_lazy();
	tap_fabric_dir();
	is_rc(rcNotConnected, DcmEnumEndpoints(NULL, 0, NULL, &count), "before DcmInit");
	must(DcmInit());
	before = holdings_now();
	test_what_it_says(self);
	test_sizes(self);
	test_deaths();
	test_many(self);
	test_hostile(self);
	holdings_are(&before, "after all that");
	DcmFini();
	return 0;
}
