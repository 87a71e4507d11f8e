/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spare - the file of a channel, made before somebody asks for it
 *
 * To make a sealed file and to commit its first pages takes about as long as to wake a process. So
 * a process that has accepted has its keeper make the next channel's a moment after the client has
 * the one before: one, which costs it 64 KiB and a descriptor. Whoever accepts before it is there
 * makes his own.
 */
#ifndef DCM_API_SPARE_H
#define DCM_API_SPARE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * dcm_spare_take() - a sealed file of @bytes, its front committed, all zero
 * Return: its descriptor, the caller's; or negative errno.
 */
int dcm_spare_take(uint64_t bytes);

/* dcm_spare_wanted() - is there none, though one was taken: it is for the keeper to fill */
bool dcm_spare_wanted(void);

/* dcm_spare_fill() - by the keeper: make it; what the kernel refuses is tried at the next accept */
void dcm_spare_fill(void);

/* dcm_spare_drop() - by the keeper, at its end */
void dcm_spare_drop(void);

/* dcm_spare_forked() - in a forked child, which has none */
void dcm_spare_forked(void);

#endif
