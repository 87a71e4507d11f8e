/* SPDX-License-Identifier: BSD-2-Clause */
/* The same loops over the payload for all peers, compiled once, and with -O3 (configure.py): in
 * vectors, as a copy would be. */
#include "bench/lib_child.h"
#include "bench/peers/driver.h"

static void write_words(uint64_t *word, size_t words, uint64_t first)
{
	for (size_t i = 0; i < words; i++)
		word[i] = first + i;
}

static uint64_t differ(const uint64_t *word, size_t words, uint64_t first)
{
	uint64_t different = 0;

	for (size_t i = 0; i < words; i++)
		different |= word[i] ^ (first + i);
	return different;
}

void payload_write(const struct run *run, struct peer_message *m, uint64_t first)
{
	write_words(m->data, run->header ? 1 : m->size / sizeof(uint64_t), first);
}

uint64_t payload_read(const struct run *run, const struct peer_message *m)
{
	const uint64_t *word = m->data;
	uint64_t first = *word;

	if (m->size != run->job.size)
		bench_fail("a message of %zu bytes, not %zu", m->size, run->job.size);
	if (!run->header && differ(word, m->size / sizeof(uint64_t), first) != 0)
		bench_fail("a message is not what was sent");
	return first;
}
