// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_progress.h"
#include "dcm-files_common.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_MAX 40

bool progress_wanted(void)
{
	const char *terminal = getenv("TERM");

	return !files_quiet && isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

static int columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

static double fraction(const struct progress *p)
{
	double done = (double)p->files / (double)(p->files_all ? p->files_all : 1);

	/* Empty files make no bytes. */
	if (p->bytes_all > 0 && p->files < p->files_all)
		done = (double)p->bytes / (double)p->bytes_all;
	return done < 1 ? done : 1;
}

void progress_draw(const struct progress *p)
{
	static const char marks[] = "########################################";
	const char *no_color = getenv("NO_COLOR");
	bool color = !no_color || *no_color == '\0';
	double seconds = (double)p->elapsed_ns / 1e9;
	double rate = seconds > 0 ? (double)p->bytes / seconds : 0;
	char amount[FILES_AMOUNT_SIZE], speed[FILES_AMOUNT_SIZE];
	char words[160], line[320];
	int bar, full;

	snprintf(words, sizeof(words), "%3.0f%%  %zu/%zu files  %s  %s/s", 100 * fraction(p),
		 p->files, p->files_all, files_amount(p->bytes, amount),
		 files_amount((uint64_t)rate, speed));
	bar = columns() - (int)strlen(words) - 5;
	if (bar > BAR_MAX)
		bar = BAR_MAX;
	if (bar < 5)
		bar = 0;
	full = (int)(fraction(p) * bar);
	if (bar == 0)
		snprintf(line, sizeof(line), "\r\033[K%.*s", columns() - 1, words);
	else
		snprintf(line, sizeof(line), "\r\033[K[%s%.*s%s%*s] %s", color ? "\033[32m" : "",
			 full, marks, color ? "\033[0m" : "", bar - full, "", words);
	if (write(STDERR_FILENO, line, strlen(line)) >= 0)
		atomic_store(&files_bar_stands, true);
}

void progress_clear(void)
{
	static const char clear[] = "\r\033[K";

	if (atomic_exchange(&files_bar_stands, false) &&
	    write(STDERR_FILENO, clear, sizeof(clear) - 1) < 0)
		return;
}
