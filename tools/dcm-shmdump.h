/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of dcm-shmdump share. It stands on shm/ alone and maps the segment read-only: all
 * that it reads there is input, from processes that may be dead, mad or hostile.
 */
#ifndef DCM_TOOLS_SHMDUMP_H
#define DCM_TOOLS_SHMDUMP_H

#include "shm/check.h"
#include "shm/segment.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { EXIT_USAGE = 1, EXIT_DAMAGED = 2 };

enum format { FORMAT_TEXT, FORMAT_RAW, FORMAT_JSON };

enum column_kind {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_BYTES, /* 64M for people; --bytes: a number */
	COLUMN_AGE,   /* 3m12s for people, seconds for programs */
};

struct column {
	const char *name;
	enum column_kind kind;
};

enum { COLUMNS_MAX = 20 };

struct dump {
	struct dcm_segment seg;
	enum format format;
	bool headings, bytes, color;
	bool first;		     /* nothing printed yet */
	int64_t now;		     /* CLOCK_MONOTONIC */
	struct usage *usage;	     /* of each process slot */
	uint32_t *waiting;	     /* requests, for each endpoint slot */
	uint32_t *channels;	     /* for each listener slot */
	unsigned used[7];	     /* slots not free, by enum dcm_check_table */
	unsigned shown[COLUMNS_MAX]; /* --output: columns to show, in order */
	unsigned shown_count;	     /* 0: all */
};

struct usage {
	uint32_t endpoints, subscriptions, connections, listeners, gifts;
};

/* One table on its way to the screen. */
struct sheet;

/*
 * A sheet is filled row by row, each row cell by cell, in the order of its columns. A vertical one
 * has one row, and for people shows a line for each of its cells.
 */
struct sheet *sheet_open(const struct dump *dump, const char *name, const struct column *columns,
			 unsigned count, bool vertical);
void sheet_row(struct sheet *sheet, const char *color); /* color: null, or a name; if wanted */
void cell_none(struct sheet *sheet);
void cell_text(struct sheet *sheet, const char *text); /* escaped here */
void cell_number(struct sheet *sheet, uint64_t number);
void cell_hex(struct sheet *sheet, uint64_t number, int digits);
void cell_bytes(struct sheet *sheet, uint64_t bytes);
void cell_age(struct sheet *sheet, uint64_t since_ns); /* CLOCK_MONOTONIC; 0: none */
void sheet_print(struct dump *dump, struct sheet *sheet, bool wanted_empty);
void json_open(struct dump *dump);
void json_text(struct dump *dump, const char *name, const char *text); /* plain ASCII */
void json_number(struct dump *dump, const char *name, uint64_t number);
void json_close(void);

/* The tables that can be asked for. */
struct view {
	const char *name;
	const struct column *columns;
	unsigned count;
	bool vertical;
	void (*fill)(const struct dump *dump, struct sheet *sheet);
};
extern const struct view views[];
extern const unsigned view_count;

/* count_usage() - walk the tables once, for the numbers that stand in others */
void count_usage(struct dump *dump);

const char *state_name(enum dcm_check_table table, uint32_t state);
const char *fate_name(const struct dcm_segment *seg, uint32_t index);

/* dump_check() - Return: the exit status */
int dump_check(struct dump *dump);

#endif
