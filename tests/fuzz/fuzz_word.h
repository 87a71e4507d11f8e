/* SPDX-License-Identifier: BSD-2-Clause */
/* word - what a hostile participant writes to in a segment */
#ifndef DCM_TESTS_FUZZ_WORD_H
#define DCM_TESTS_FUZZ_WORD_H

#include "shm/segment.h"
#include "tests/fuzz/fuzz_image.h"

/* fuzz_word() - of a slot, a bitmap, a row of an index for one of @hashes, a name, or any at all */
uint64_t *fuzz_word(struct fuzz_input *in, const struct dcm_segment *seg, const uint64_t hashes[2]);

#endif
