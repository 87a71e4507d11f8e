// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include "dcm-files_common.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#define SECOND_NS 1000000000u

bool files_quiet;
atomic_bool files_bar_stands;
static int events = -1;

/* One write for each line, so that lines of several threads and processes stay whole. */
static void say(const char *tail, const char *format, va_list list)
{
	char line[2 * FILES_SHOWN_SIZE];
	const char *clear = atomic_exchange(&files_bar_stands, false) ? "\r\033[K" : "";
	int used = snprintf(line, sizeof(line), "%sdcm-files: ", clear);

	used += vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, list);
	if ((size_t)used < sizeof(line) - 1)
		used += snprintf(line + used, sizeof(line) - (size_t)used - 1, "%s", tail);
	if ((size_t)used > sizeof(line) - 2)
		used = (int)sizeof(line) - 2;
	line[used++] = '\n';
	if (write(STDERR_FILENO, line, (size_t)used) < 0)
		return; /* there is nobody to tell */
}

void files_note(const char *format, ...)
{
	va_list list;

	if (files_quiet)
		return;
	va_start(list, format);
	say("", format, list);
	va_end(list);
}

void files_warn(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	say("", format, list);
	va_end(list);
}

void files_warn_code(Retcode rc, const char *format, ...)
{
	const char *detail = DcmLastDetail();
	char tail[1024];
	va_list list;

	snprintf(tail, sizeof(tail), ": %s%s%s", RetcodeName(rc), *detail ? ": " : "", detail);
	va_start(list, format);
	say(tail, format, list);
	va_end(list);
}

static const char *escape(const char *text, bool controls, char *out)
{
	const char *end = out + FILES_SHOWN_SIZE - 4;
	mbstate_t state = { 0 };
	char *begin = out;

	while (*text != '\0' && out < end) {
		wchar_t wide = 0;
		size_t bytes = mbrtowc(&wide, text, strlen(text), &state);
		bool broken = bytes == (size_t)-1 || bytes == (size_t)-2;

		if (broken || (controls && (wide < 0x20 || (wide >= 0x7f && wide < 0xa0)))) {
			out += sprintf(out, "\\x%02x", (unsigned char)*text++);
			memset(&state, 0, sizeof(state));
			if (!broken)
				text += bytes - 1;
		} else {
			out = mempcpy(out, text, bytes);
			text += bytes;
		}
	}
	*out = '\0';
	return begin;
}

const char *files_shown(const char *text, char shown[FILES_SHOWN_SIZE])
{
	return escape(text, true, shown);
}

const char *files_characters(const char *text, char shown[FILES_SHOWN_SIZE])
{
	return escape(text, false, shown);
}

const char *files_amount(uint64_t bytes, char amount[FILES_AMOUNT_SIZE])
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit < 4; unit++)
		value /= 1024;
	snprintf(amount, FILES_AMOUNT_SIZE, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return amount;
}

uint64_t files_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void files_sleep_until_ns(uint64_t when_ns)
{
	struct timespec when = { .tv_sec = (time_t)(when_ns / SECOND_NS),
				 .tv_nsec = (long)(when_ns % SECOND_NS) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
		;
}

int files_events_open(const char *path)
{
	events = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	return events < 0 ? -1 : 0;
}

static void event(uint64_t now_ns, const char *word, const char *format, va_list list)
{
	char line[2 * DCM_NAME_SIZE];
	size_t most = sizeof(line) - 2;
	size_t used;

	if (events < 0)
		return;
	used = (size_t)snprintf(line, most, "%llu %s ", (unsigned long long)now_ns, word);
	used += (size_t)vsnprintf(line + used, most - used, format, list);
	if (used > most)
		used = most;
	line[used++] = '\n';
	if (write(events, line, used) < 0)
		files_warn("the file of --events cannot be written: %s", strerror(errno));
}

void files_event_at(uint64_t now_ns, const char *word, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	event(now_ns, word, format, list);
	va_end(list);
}

void files_event(const char *word, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	event(files_now_ns(), word, format, list);
	va_end(list);
}

bool files_name_ok(const char *name, size_t name_bytes)
{
	const char *end = name + name_bytes;

	if (name_bytes < 1 || name_bytes > FILES_NAME_MAX || memchr(name, '\0', name_bytes))
		return false;
	for (;;) {
		const char *slash = memchr(name, '/', (size_t)(end - name));
		size_t bytes = (size_t)((slash ? slash : end) - name);

		if (bytes < 1 || bytes > 255 || (bytes == 1 && name[0] == '.') ||
		    (bytes == 2 && name[0] == '.' && name[1] == '.'))
			return false;
		if (!slash)
			return true;
		name = slash + 1;
	}
}

int files_path_compare(const char *a, const char *b)
{
	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	if (*a == *b)
		return 0;
	/* The end of a name comes first, then the end of a component. */
	if (*a == '\0' || *b == '\0')
		return *a == '\0' ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

struct files_hash {
	EVP_MD_CTX *context;
};

struct files_hash *files_hash_new(void)
{
	struct files_hash *hash = malloc(sizeof(*hash));

	if (!hash)
		return NULL;
	hash->context = EVP_MD_CTX_new();
	if (!hash->context || !EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL)) {
		files_hash_free(hash);
		return NULL;
	}
	return hash;
}

void files_hash_free(struct files_hash *hash)
{
	if (hash)
		EVP_MD_CTX_free(hash->context);
	free(hash);
}

bool files_hash_begin(struct files_hash *hash)
{
	return EVP_DigestInit_ex(hash->context, NULL, NULL) == 1;
}

bool files_hash_add(struct files_hash *hash, const void *data, size_t bytes)
{
	return EVP_DigestUpdate(hash->context, data, bytes) == 1;
}

bool files_hash_end(struct files_hash *hash, uint8_t sha256[FILES_HASH_SIZE])
{
	unsigned int bytes;

	return EVP_DigestFinal_ex(hash->context, sha256, &bytes) == 1 && bytes == FILES_HASH_SIZE;
}

void files_limit_wait(struct files_limit *limit, uint64_t bytes)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uint64_t now_ns, due_ns;

	if (limit->bytes_per_second == 0)
		return;
	now_ns = files_now_ns();
	pthread_mutex_lock(&lock);
	if (limit->due_ns < now_ns)
		limit->due_ns = now_ns;
	limit->due_ns +=
		(uint64_t)((double)bytes / (double)limit->bytes_per_second * (double)SECOND_NS);
	due_ns = limit->due_ns;
	pthread_mutex_unlock(&lock);
	files_sleep_until_ns(due_ns);
}

uint32_t files_limit_chunk(const struct files_limit *limit)
{
	uint64_t eighth = limit->bytes_per_second / 8;

	if (limit->bytes_per_second == 0 || eighth > FILES_CHUNK_MAX)
		return FILES_CHUNK_MAX;
	return eighth < 512 ? 512 : (uint32_t)eighth;
}
