/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench - what things cost, beside what the kernel and the machine ask for the same */
#include "bench/dcm-bench.h"

#include <dcm/fabric.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct subcommand subcommands[] = {
	{ "latency", "what a call costs, there and back", latency_main },
	{ "throughput", "how many one-way messages one producer gets through", throughput_main },
	{ "contention", "many producers, and more ends than processors", contention_main },
	{ "fanout", "one publication to many sleeping subscribers", fanout_main },
	{ "connect", "from no connection to the first reply", connect_main },
	{ "discovery", "a service appears, and a waiting client is told", discovery_main },
	{ "death", "how soon blocked calls return when a process is killed", death_main },
	{ "events", "what it costs to tell of something, and to be told", events_main },
	{ "scale", "what things cost beside much else", scale_main },
	{ "memory", "what each thing costs that only is there", memory_main },
};
enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static void usage(void)
{
	printf("Usage: dcm-bench SUBCOMMAND [options]\n"
	       "\n"
	       "Measures DCM for Linux beside the bare limit of the machine and beside what one\n"
	       "might use instead, in one run.\n"
	       "\n"
	       "Subcommands:\n");
	for (int i = 0; i < SUBCOMMANDS; i++)
		printf(" %-12s %s\n", subcommands[i].name, subcommands[i].what);
	printf("\n"
	       "Options:\n"
	       " -h, --help    this text; behind a subcommand, its own\n"
	       " -V, --version the version\n"
	       "\n"
	       "Each makes a fabric of its own and removes it.\n");
}

static int run(int argc, char **argv)
{
	for (int i = 0; i < SUBCOMMANDS; i++)
		if (strcmp(argv[0], subcommands[i].name) == 0)
			return subcommands[i].run(argc, argv);
	fprintf(stderr, "dcm-bench: there is no \"%s\"\nTry 'dcm-bench --help'.\n", argv[0]);
	return EXIT_BAD;
}

int main(int argc, char **argv)
{
	int status = EXIT_GOOD;

	if (argc < 2) {
		fputs("dcm-bench: which?\nTry 'dcm-bench --help'.\n", stderr);
		return EXIT_BAD;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		usage();
	else if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
		printf("dcm-bench %u.%u.%u\n", DcmVersion() >> 16, DcmVersion() >> 8 & 0xff,
		       DcmVersion() & 0xff);
	else
		status = run(argc - 1, argv + 1);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "dcm-bench: cannot write: %s\n", strerror(errno));
		return EXIT_BAD;
	}
	return status;
}
