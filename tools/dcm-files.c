// SPDX-License-Identifier: BSD-2-Clause
/*
 * dcm-files: serves the files of a directory over DCM, and fetches them.
 */
#define _GNU_SOURCE
#include "dcm-files_get.h"
#include "dcm-files_list.h"
#include "dcm-files_serve.h"
#include "dcm-files_stop.h"
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_DEFAULT 4u
#define THREADS_MAX	256u
#define JOBS_DEFAULT	2u
#define JOBS_MAX	32u

/* What the command line says; each command takes its part. */
struct settings {
	const char *command;
	const char *name, *target, *events;
	uint64_t bytes_per_second;
	uint32_t timeout_ms;
	unsigned int threads, jobs;
	bool all, json, raw, noheadings, bytes, quiet;
	char **arguments;
	size_t count;
};

static int parse(struct settings *settings, int argc, char **argv);
static int serve(const struct settings *settings);
static int list(const struct settings *settings);
static int get(const struct settings *settings);
static int wrong(const char *format, ...) FILES_PRINTF(1, 2);

int main(int argc, char **argv)
{
	struct settings settings = { .timeout_ms = INFINITE_TIMEOUT,
				     .threads = THREADS_DEFAULT,
				     .jobs = JOBS_DEFAULT };
	int code;

	setlocale(LC_ALL, "");
	code = parse(&settings, argc, argv);
	if (code >= 0)
		return code;
	files_quiet = settings.quiet;
	if (settings.events && files_events_open(settings.events) < 0) {
		files_warn("--events %s: %s", settings.events, strerror(errno));
		return EXIT_TROUBLE;
	}
	if (strcmp(settings.command, "serve") == 0)
		return serve(&settings);
	files_stop_begin();
	code = strcmp(settings.command, "list") == 0 ? list(&settings) : get(&settings);
	files_stop_end();
	return code;
}

static int serve(const struct settings *settings)
{
	struct serve_options options = {
		.name = settings->name ? settings->name : FILES_NAME,
		.threads = settings->threads,
		.bytes_per_second = settings->bytes_per_second,
	};

	if (settings->count != 1)
		return wrong("serve needs one directory");
	options.directory = settings->arguments[0];
	return files_serve(&options);
}

static int list(const struct settings *settings)
{
	struct list_options options = {
		.find = { .name = settings->name, .timeout_ms = settings->timeout_ms },
		.json = settings->json,
		.raw = settings->raw,
		.noheadings = settings->noheadings,
		.bytes = settings->bytes,
	};

	if (settings->count != 0)
		return wrong("list takes no names");
	if (options.json && options.raw)
		return wrong("--json and --raw exclude each other");
	if (options.json)
		setlocale(LC_CTYPE, "C.UTF-8"); /* whatever the user's is, JSON is UTF-8 */
	return files_list(&options);
}

static int get(const struct settings *settings)
{
	struct get_options options = {
		.find = { .name = settings->name, .timeout_ms = settings->timeout_ms },
		.names = settings->arguments,
		.count = settings->count,
		.all = settings->all,
		.target = settings->target ? settings->target : ".",
		.jobs = settings->jobs,
		.bytes_per_second = settings->bytes_per_second,
	};

	if (options.all == (options.count > 0))
		return wrong("get needs either names or --all");
	return files_get(&options);
}

static const char help[] =
	"Usage:\n"
	" dcm-files serve [options] DIR\n"
	" dcm-files list [options]\n"
	" dcm-files get [options] NAME...|--all\n"
	"\n"
	"Serve the regular files of a directory read-only, list and fetch them, through\n"
	"shared memory (" FILES_TYPE ").\n"
	"\n"
	"Options of all commands:\n"
	" -N, --name NAME        name of the endpoint (serve: \"" FILES_NAME "\"; else: any)\n"
	"     --events FILE      append a line for each event: nanoseconds, what, of whom\n"
	" -q, --quiet            only warnings and errors\n"
	"\n"
	"Options of serve:\n"
	" -t, --threads NUMBER   threads that answer (default: 4, most: 256)\n"
	"     --limit-rate RATE  bytes a second, to all clients together; K, M and G multiply\n"
	"\n"
	"Options of list and get:\n"
	" -T, --timeout SECONDS  give up when there is no server for so long (default: never)\n"
	"\n"
	"Options of list:\n"
	" -b, --bytes            sizes in bytes\n"
	" -J, --json             as JSON\n"
	" -n, --noheadings       without headings\n"
	" -r, --raw              raw table, for scripts\n"
	"\n"
	"Options of get:\n"
	" -a, --all              all files of the server\n"
	" -d, --to DIR           where to put them (default: here); is made if it is missing\n"
	" -j, --jobs NUMBER      threads that fetch (default: 2, most: 32)\n"
	"     --limit-rate RATE  bytes a second, of all threads together\n"
	"\n"
	" -h, --help             this text\n"
	" -V, --version          the version of the library\n"
	"\n"
	"Exit status: 0 all is well; 1 wrong usage, or input and output failed; 2 a file was\n"
	"refused, or its SHA-256 was not the server's; 3 no server within --timeout.\n"
	"\n"
	"DCM_FABRIC names the fabric that servers and clients meet on.\n";

/* Those without a short form have a letter as well, which short_options does not know. */
static const char short_options[] = "abd:hj:JnN:qrt:T:V";
static const struct option long_options[] = {
	{ "all", no_argument, NULL, 'a' },
	{ "bytes", no_argument, NULL, 'b' },
	{ "events", required_argument, NULL, 'E' },
	{ "help", no_argument, NULL, 'h' },
	{ "jobs", required_argument, NULL, 'j' },
	{ "json", no_argument, NULL, 'J' },
	{ "limit-rate", required_argument, NULL, 'L' },
	{ "name", required_argument, NULL, 'N' },
	{ "noheadings", no_argument, NULL, 'n' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "raw", no_argument, NULL, 'r' },
	{ "threads", required_argument, NULL, 't' },
	{ "timeout", required_argument, NULL, 'T' },
	{ "to", required_argument, NULL, 'd' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* Which letters a command takes; null: it is no command. */
static const char *letters_of(const char *command)
{
	static const char *const letters[][2] = {
		{ "serve", "ENqtL" },
		{ "list", "ENqTbJnr" },
		{ "get", "ENqTadjL" },
	};

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (strcmp(command, letters[i][0]) == 0)
			return letters[i][1];
	return NULL;
}

static int say_help(void)
{
	files_warn("try \"dcm-files --help\"");
	return EXIT_TROUBLE;
}

static int wrong(const char *format, ...)
{
	char text[256];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	files_warn("%s", text);
	return say_help();
}

static bool number(const char *text, unsigned int most, unsigned int *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	*out = (unsigned int)value;
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && value >= 1 &&
	       value <= most;
}

static bool rate(const char *text, uint64_t *out)
{
	static const char units[] = "KMGT";
	unsigned long long value;
	const char *unit;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		if (value > UINT64_MAX >> shift)
			return false;
		value <<= shift;
		end++;
	}
	*out = value;
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && value >= 1;
}

static bool seconds(const char *text, uint32_t *out_ms)
{
	double value;
	char *end;

	value = strtod(text, &end);
	if (end == text || *end != '\0' || !(value >= 0 && value <= 4000000))
		return false;
	*out_ms = (uint32_t)(value * 1000);
	return true;
}

/* What one option says; false if its argument is none. */
static bool take_option(struct settings *settings, int letter, const char *argument)
{
	switch (letter) {
	case 'a':
		settings->all = true;
		break;
	case 'b':
		settings->bytes = true;
		break;
	case 'd':
		settings->target = argument;
		break;
	case 'E':
		settings->events = argument;
		break;
	case 'j':
		return number(argument, JOBS_MAX, &settings->jobs);
	case 'J':
		settings->json = true;
		break;
	case 'L':
		return rate(argument, &settings->bytes_per_second);
	case 'n':
		settings->noheadings = true;
		break;
	case 'N':
		settings->name = argument;
		break;
	case 'q':
		settings->quiet = true;
		break;
	case 'r':
		settings->raw = true;
		break;
	case 't':
		return number(argument, THREADS_MAX, &settings->threads);
	default: /* T */
		return seconds(argument, &settings->timeout_ms);
	}
	return true;
}

static int answer_and_end(int letter)
{
	uint32_t version = DcmVersion();

	if (letter == 'h')
		fputs(help, stdout);
	else
		printf("dcm-files from DCM for Linux %u.%u.%u\n", version >> 16,
		       version >> 8 & 255u, version & 255u);
	return fflush(stdout) == 0 ? EXIT_DONE : EXIT_TROUBLE;
}

/* The exit code if the program is to end now, else -1. */
static int parse(struct settings *settings, int argc, char **argv)
{
	const char *letters;
	bool given[128] = { false };
	int letter;

	while ((letter = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
		if (letter == 'h' || letter == 'V')
			return answer_and_end(letter);
		if (letter == '?')
			return say_help(); /* getopt_long() has said what is wrong */
		if (!take_option(settings, letter, optarg))
			return wrong("%s: not a value of that option", optarg);
		given[letter] = true;
	}
	if (optind == argc)
		return wrong("one of the commands serve, list and get is needed");
	settings->command = argv[optind];
	settings->arguments = argv + optind + 1;
	settings->count = (size_t)(argc - optind - 1);
	letters = letters_of(settings->command);
	if (!letters)
		return wrong("%s: no such command", settings->command);
	for (int i = 0; i < 128; i++)
		if (given[i] && !strchr(letters, i))
			return wrong("%s does not take all of these options", settings->command);
	return -1;
}
