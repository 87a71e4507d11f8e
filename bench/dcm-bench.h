/* SPDX-License-Identifier: BSD-2-Clause */
/* dcm-bench - one benchmark for each subcommand */
#ifndef DCM_BENCH_H
#define DCM_BENCH_H

enum { EXIT_GOOD = 0, EXIT_BAD = 1 };

struct subcommand {
	const char *name, *what;
	/* As main(); argv[0] is the subcommand. */
	int (*run)(int argc, char **argv);
};

int latency_main(int argc, char **argv);
int throughput_main(int argc, char **argv);
int contention_main(int argc, char **argv);
int fanout_main(int argc, char **argv);
int connect_main(int argc, char **argv);
int discovery_main(int argc, char **argv);
int death_main(int argc, char **argv);
int events_main(int argc, char **argv);
int scale_main(int argc, char **argv);
int memory_main(int argc, char **argv);

#endif
