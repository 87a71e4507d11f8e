/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * light - a descriptor that event loops wait on: an eventfd that is written or not
 *
 * Under a lock of its owner's. The descriptor stays the library's: programs poll it and do nothing
 * else with it. None of these is a cancellation point, or touches errno.
 */
#ifndef DCM_API_LIGHT_H
#define DCM_API_LIGHT_H

#include <stdbool.h>

struct dcm_light {
	int fd; /* -1: there is none */
	bool on;
};

/* dcm_light_make() - a new descriptor. Return: it, or negative errno */
int dcm_light_make(void);

/* dcm_light_on(), dcm_light_off() - readable from now on, or no more; if there is one */
void dcm_light_on(struct dcm_light *light);
void dcm_light_off(struct dcm_light *light);

/* dcm_light_close() - readable first, so that a poll() in progress comes back; then closed */
void dcm_light_close(struct dcm_light *light);

/* dcm_light_discard() - close @fd, without a word to those who poll it: it may be a parent's too; not
   if its number is a file's by now */
void dcm_light_discard(int fd);

#endif
