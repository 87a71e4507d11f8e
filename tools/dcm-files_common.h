/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of dcm-files share: words to the user, names, hashes, the log of events, rates.
 */
#ifndef DCM_FILES_COMMON_H
#define DCM_FILES_COMMON_H

#include "dcm-files_protocol.h"
#include <dcm/dcm.h>
#include <stdatomic.h>

#define FILES_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* Exit codes. With several reasons the largest of the first three is taken. */
enum {
	EXIT_DONE = 0,
	EXIT_TROUBLE = 1,   /* usage, or input and output */
	EXIT_REFUSED = 2,   /* a file was refused, or what came is not what the server has */
	EXIT_NO_SERVER = 3, /* none within --timeout */
};

/* Lines to standard error, "dcm-files: ..."; notes are left out with --quiet. */
extern bool files_quiet;
/* Whether a line of progress stands on the terminal, which the next message takes away. */
extern atomic_bool files_bar_stands;
void files_note(const char *format, ...) FILES_PRINTF(1, 2);
void files_warn(const char *format, ...) FILES_PRINTF(1, 2);
/* The same with the code's name and this thread's detail behind it. */
void files_warn_code(Retcode rc, const char *format, ...) FILES_PRINTF(2, 3);

/*
 * What stands in messages for another's text: control characters, and bytes that are no characters
 * of the locale, as \xHH. files_characters() leaves control characters as they are.
 */
#define FILES_SHOWN_SIZE (4 * FILES_NAME_MAX + 1)
const char *files_shown(const char *text, char shown[FILES_SHOWN_SIZE]);
const char *files_characters(const char *text, char shown[FILES_SHOWN_SIZE]);

/* 12345678 as "11.8 MiB". */
#define FILES_AMOUNT_SIZE 32
const char *files_amount(uint64_t bytes, char amount[FILES_AMOUNT_SIZE]);

uint64_t files_now_ns(void); /* CLOCK_MONOTONIC */
void files_sleep_until_ns(uint64_t when_ns);

/*
 * --events FILE: one line for each event, "NANOSECONDS WORD DETAIL", by CLOCK_MONOTONIC, which is
 * the same for all processes. Without the option nothing is written.
 */
int files_events_open(const char *path);
void files_event(const char *word, const char *format, ...) FILES_PRINTF(2, 3);
void files_event_at(uint64_t now_ns, const char *word, const char *format, ...) FILES_PRINTF(3, 4);

/* The name as the protocol wants it: relative, and nowhere outside. */
bool files_name_ok(const char *name, size_t name_bytes);
/* The order of FILES_LIST: component by component, so that "a/b" comes before "a.c". */
int files_path_compare(const char *a, const char *b);

/* SHA-256 of what comes in pieces; one thread uses one of these. */
struct files_hash;
struct files_hash *files_hash_new(void); /* null: OpenSSL has none */
void files_hash_free(struct files_hash *hash);
bool files_hash_begin(struct files_hash *hash);
bool files_hash_add(struct files_hash *hash, const void *data, size_t bytes);
bool files_hash_end(struct files_hash *hash, uint8_t sha256[FILES_HASH_SIZE]);

/* --limit-rate: threads that share a limit wait until their bytes are due. 0 is no limit. */
struct files_limit {
	uint64_t bytes_per_second;
	uint64_t due_ns; /* when what was sent so far may have been sent */
};
void files_limit_wait(struct files_limit *limit, uint64_t bytes);
/* How much to move at once, so that nobody waits long. */
uint32_t files_limit_chunk(const struct files_limit *limit);

#endif
