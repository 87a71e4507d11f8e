/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "bench/lib_place.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/lib_child.h"
#include "bench/lib_stats.h"

enum { TRIPS = 200, TRIPS_IN_ONE = 50 };

struct canary {
	_Alignas(128) _Atomic uint32_t ball;
	_Alignas(128) unsigned far;
	_Atomic uint32_t there;
};

bool place_parse(const char *text, struct place *place)
{
	cpu_set_t allowed;
	char behind;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		bench_fail("sched_getaffinity: %s", strerror(errno));
	if (text != NULL)
		return sscanf(text, "%u,%u%c", &place->near, &place->far, &behind) == 2 &&
		       place->near < CPU_SETSIZE && place->far < CPU_SETSIZE &&
		       CPU_ISSET(place->near, &allowed) && CPU_ISSET(place->far, &allowed);
	place->near = 0;
	while (!CPU_ISSET(place->near, &allowed))
		place->near++;
	place->far = place->near + 1;
	while (place->far < CPU_SETSIZE && !CPU_ISSET(place->far, &allowed))
		place->far++;
	if (place->far == CPU_SETSIZE)
		place->far = place->near;
	return true;
}

void place_pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_fail("processor %u: %s", cpu, strerror(errno));
}

void place_pin_both(const struct place *place)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(place->near, &set);
	CPU_SET(place->far, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_fail("processors %u and %u: %s", place->near, place->far, strerror(errno));
}

double place_busy(const struct place *place, double *all)
{
	FILE *file = fopen("/proc/stat", "re");
	double busy = 0, ticks = (double)sysconf(_SC_CLK_TCK);
	char line[256];

	*all = 0;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		double user, nice, system, idle, wait, hard, soft, steal;
		unsigned cpu;

		if (sscanf(line, "cpu%u %lf %lf %lf %lf %lf %lf %lf %lf", &cpu, &user, &nice,
			   &system, &idle, &wait, &hard, &soft, &steal) != 9 ||
		    (cpu != place->near && cpu != place->far))
			continue;
		busy += (user + nice + system + hard + soft + steal) / ticks;
		*all += (user + nice + system + hard + soft + steal + idle + wait) / ticks;
	}
	if (file != NULL)
		fclose(file);
	return busy;
}

static void *far_side(void *arg)
{
	struct canary *c = arg;

	place_pin(c->far);
	bench_raise(&c->there);
	for (uint32_t i = 0; i < TRIPS * TRIPS_IN_ONE; i++) {
		while (atomic_load_explicit(&c->ball, memory_order_acquire) != 2 * i + 1)
			;
		atomic_store_explicit(&c->ball, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

int64_t place_canary(const struct place *place)
{
	static struct canary canary;
	struct samples samples = { 0 };
	pthread_t other;
	int64_t median;

	if (place->near == place->far)
		return 0;
	canary.far = place->far;
	atomic_store(&canary.ball, 0);
	atomic_store(&canary.there, 0);
	if (pthread_create(&other, NULL, far_side, &canary) != 0)
		bench_fail("no thread");
	bench_reach(&canary.there, 1);
	for (uint32_t i = 0; i < TRIPS; i++) {
		int64_t before = bench_now();

		for (uint32_t in_one = 0; in_one < TRIPS_IN_ONE; in_one++) {
			uint32_t ball = 2 * (i * TRIPS_IN_ONE + in_one);

			atomic_store_explicit(&canary.ball, ball + 1, memory_order_release);
			while (atomic_load_explicit(&canary.ball, memory_order_acquire) != ball + 2)
				;
		}
		samples_add(&samples, (bench_now() - before) / TRIPS_IN_ONE);
	}
	pthread_join(other, NULL);
	median = samples_at(&samples, 0.5);
	samples_drop(&samples);
	return median;
}

static void processor_name(char *name, size_t size)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(name, size, "unknown processor");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		char *at = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || at == NULL)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(name, size, "%s", at + 2);
		break;
	}
	if (file != NULL)
		fclose(file);
}

const char *place_machine(void)
{
	static char text[512];
	struct utsname system;
	char name[128];

	processor_name(name, sizeof(name));
	if (uname(&system) < 0)
		bench_fail("uname: %s", strerror(errno));
	snprintf(text, sizeof(text), "%s, %s %s", name, system.sysname, system.release);
	return text;
}

const char *place_flags(void)
{
	return BENCH_FLAGS;
}
