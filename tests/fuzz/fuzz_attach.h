/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach - the checks between a segment's file and its mapping
 *
 * The header of a file, and its length, are the fuzzer's; what is mapped then is as long as its
 * tables need.
 */
#ifndef DCM_TESTS_FUZZ_ATTACH_H
#define DCM_TESTS_FUZZ_ATTACH_H

#include "shm/segment.h"
#include "tests/fuzz/fuzz_image.h"

enum { FUZZ_USER_SHARE = 90 }; /* percent: so all claims look who holds what */

/* fuzz_attach_header() - of a segment in order */
struct dcm_header fuzz_attach_header(const struct dcm_capacity *capacity);

/* fuzz_attach_in() - make the file in @directory; without it fuzz_attach() makes no attempt */
void fuzz_attach_in(const char *directory, const struct dcm_capacity *capacity);

/* fuzz_attach() - one attempt; and a view of @memory with the capacities of that header */
void fuzz_attach(struct fuzz_input *in, void *memory, uint64_t memory_bytes);

#endif
