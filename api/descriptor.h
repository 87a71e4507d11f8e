/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * descriptor - what is behind the number of a descriptor of ours, now
 *
 * A child of the program may have closed ours and opened its own, which has the number since.
 */
#ifndef DCM_API_DESCRIPTOR_H
#define DCM_API_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

struct dcm_descriptor {
	uint64_t device, inode;
	uint32_t type; /* of the file, of S_IFMT; 0: it has none, as an eventfd */
};

/* dcm_descriptor_look() - false: nothing, or it cannot be told. errno is as it was. */
bool dcm_descriptor_look(int fd, struct dcm_descriptor *is);

#endif
