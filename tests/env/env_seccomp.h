/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * env_seccomp - system calls that are refused, by rules
 */
#ifndef DCM_TESTS_ENV_SECCOMP_H
#define DCM_TESTS_ENV_SECCOMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A condition on one argument of a call. */
enum env_how {
	ENV_ALWAYS,
	ENV_ANY_BIT, /* of value is set in the argument */
	ENV_EQUAL,   /* the argument is value; only its lower half is looked at */
};

struct env_rule {
	uint32_t number;
	int error;
	struct env_condition {
		enum env_how how;
		unsigned int argument;
		uint32_t value;
	} when[2]; /* both */
};

enum { ENV_RULES = 160 };

struct env_filter {
	unsigned int count;
	uint32_t unknown_from; /* numbers from here are ENOSYS; 0: none */
	struct env_rule rules[ENV_RULES];
};

/* "NAME,NAME:ERRNO": of calls that the library makes. False: not understood. */
bool env_filter_deny(struct env_filter *filter, const char *text);
/* What Docker's default profile (moby, 2026) denies to a container without more capabilities. */
void env_filter_docker(struct env_filter *filter);
/* What the library asks of newer kernels than 6.1, but the numbers of pidfds. */
void env_filter_kernel_6_1(struct env_filter *filter);
/* For this process and what it becomes; without a rule nothing is done. False: errno says why. */
bool env_filter_load(const struct env_filter *filter);

#endif
