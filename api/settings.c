/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "api/settings.h"

#include <dcm/fabric.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "api/retcode.h"
#include "shm/channel.h"

/* For an entry of the system's tables of users and groups. */
#define ROOM_MIN ((size_t)4096)
#define ROOM_MAX ((size_t)16 << 20)

/* A number between bounds; unset or empty: *@value stays. */
static Retcode read_number(const char *variable, uint64_t least, uint64_t most, uint64_t *value)
{
	const char *text = secure_getenv(variable);
	unsigned long long number;
	char *end;
	int saved = errno;
	bool good;

	if (text == NULL || *text == '\0')
		return rcOk;
	errno = 0;
	number = strtoull(text, &end, 10);
	good = errno == 0 && *end == '\0' && *text >= '0' && *text <= '9' && number >= least &&
	       number <= most;
	errno = saved;
	if (!good)
		return dcm_fail(rcInvalidArgument,
				"%s is \"%.64s\": it must be a number from %" PRIu64 " to %" PRIu64,
				variable, text, least, most);
	*value = number;
	return rcOk;
}

static Retcode read_capacity(struct dcm_capacity *c)
{
	uint64_t hints = 1ull << c->ring_shift, gifts = 1ull << c->gift_shift;
	struct {
		const char *variable;
		uint32_t *value;
		uint32_t most;
	} numbers[] = {
		{ "DCM_MAX_PROCESSES", &c->processes, DCM_PROCESSES_MAX },
		{ "DCM_MAX_ENDPOINTS", &c->endpoints, DCM_ENDPOINTS_MAX },
		{ "DCM_MAX_SUBSCRIPTIONS", &c->subscriptions, DCM_SUBSCRIPTIONS_MAX },
		{ "DCM_MAX_CONNECTIONS", &c->connections, DCM_CONNECTIONS_MAX },
		{ "DCM_MAX_LISTENERS", &c->listeners, DCM_LISTENERS_MAX },
	};
	Retcode rc;

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		uint64_t value = *numbers[i].value;

		rc = read_number(numbers[i].variable, 1, numbers[i].most, &value);
		if (rc != rcOk)
			return rc;
		*numbers[i].value = (uint32_t)value;
	}
	rc = read_number("DCM_MAX_HINTS", 2, 1u << DCM_RING_SHIFT_MAX, &hints);
	if (rc == rcOk)
		rc = read_number("DCM_MAX_GIFTS", 1, 1u << DCM_GIFT_SHIFT_MAX, &gifts);
	c->ring_shift = 1;
	c->gift_shift = 0;
	/* The next power of two. */
	while (1ull << c->ring_shift < hints)
		c->ring_shift++;
	while (1ull << c->gift_shift < gifts)
		c->gift_shift++;
	return rc;
}

/* One of a few words, each with its value; unset or empty: *@value stays. */
struct word {
	const char *word;
	uint32_t value;
};

static Retcode read_word(const char *variable, const struct word *words, const char *all,
			 uint32_t *value)
{
	const char *text = secure_getenv(variable);

	if (text == NULL || *text == '\0')
		return rcOk;
	for (; words->word != NULL; words++) {
		if (strcmp(text, words->word) == 0) {
			*value = words->value;
			return rcOk;
		}
	}
	return dcm_fail(rcInvalidArgument, "%s is \"%.64s\": it must be %s", variable, text, all);
}

static Retcode read_transfer(uint32_t *transfer)
{
	static const struct word words[] = { { "auto", DCM_TRANSFER_AUTO },
					     { "getfd", DCM_TRANSFER_GETFD },
					     { "procfs", DCM_TRANSFER_PROCFS },
					     { "socket", DCM_TRANSFER_SOCKET },
					     { NULL, 0 } };

	*transfer = DCM_TRANSFER_AUTO;
	return read_word("DCM_TRANSFER", words, "auto, getfd, procfs or socket", transfer);
}

static Retcode read_wait(uint32_t *wait)
{
	static const struct word words[] = { { "adaptive", DCM_WAIT_ADAPTIVE },
					     { "spin", DCM_WAIT_SPIN },
					     { "sleep", DCM_WAIT_SLEEP },
					     { NULL, 0 } };

	*wait = DCM_WAIT_UNSAID;
	return read_word("DCM_WAIT", words, "adaptive, spin or sleep", wait);
}

/* "0660": the owner's own 6, and for group and others nothing, a look (4) or all (6). */
static bool is_mode(const char *text, unsigned long mode)
{
	return strspn(text, "01234567") == strlen(text) && mode <= 0666 && (mode & 0700) == 0600 &&
	       memchr("\0\4\6", (int)(mode >> 3 & 7), 3) != NULL &&
	       memchr("\0\4\6", (int)(mode & 7), 3) != NULL;
}

static Retcode read_mode(uint32_t *mode)
{
	const char *text = secure_getenv("DCM_MODE");
	unsigned long value;

	*mode = 0600;
	if (text == NULL || *text == '\0')
		return rcOk;
	value = strtoul(text, NULL, 8);
	if (!is_mode(text, value))
		return dcm_fail(rcInvalidArgument,
				"DCM_MODE is \"%.64s\": it must be 6 for the owner, and 0, 4 (may "
				"inspect) or 6 (may attach) for group and others: 0600, 0660, 0664",
				text);
	*mode = (uint32_t)value;
	return rcOk;
}

/* Return: 0, or what the system's own function said; *@id as it was: there is none. */
typedef int find_fn(const char *name, char *room, size_t size, uint32_t *id);

static int find_user(const char *name, char *room, size_t size, uint32_t *id)
{
	struct passwd entry, *found = NULL;
	int r = getpwnam_r(name, &entry, room, size, &found);

	if (r == 0 && found != NULL)
		*id = found->pw_uid;
	return r;
}

static int find_group(const char *name, char *room, size_t size, uint32_t *id)
{
	struct group entry, *found = NULL;
	int r = getgrnam_r(name, &entry, room, size, &found);

	if (r == 0 && found != NULL)
		*id = found->gr_gid;
	return r;
}

/* In as much room as it needs: a group is read with all its members. */
static bool look_up(find_fn *find, const char *name, uint32_t *id)
{
	int r = ERANGE;

	for (size_t size = ROOM_MIN; r == ERANGE && size <= ROOM_MAX; size *= 2) {
		char *room = malloc(size);

		if (room == NULL)
			return false;
		r = find(name, room, size, id);
		free(room);
	}
	return r == 0 && *id != DCM_ANYONE;
}

/* A number, or a name of the system's. */
static Retcode read_id(const char *variable, find_fn *find, uint32_t *id)
{
	const char *text = secure_getenv(variable);
	uint64_t number = DCM_ANYONE;
	int saved = errno;
	bool found;

	*id = DCM_ANYONE;
	if (text == NULL || *text == '\0')
		return rcOk;
	if (*text >= '0' && *text <= '9') {
		Retcode rc = read_number(variable, 0, DCM_ANYONE - 1, &number);

		*id = (uint32_t)number;
		return rc;
	}
	found = look_up(find, text, id);
	errno = saved;
	return found ? rcOk
		     : dcm_fail(rcInvalidArgument, "%s is \"%.64s\", which this system does not know",
				variable, text);
}

static Retcode read_access(struct dcm_access *access)
{
	uint64_t share = 0;
	Retcode rc = read_mode(&access->mode);

	if (rc == rcOk)
		rc = read_id("DCM_OWNER", find_user, &access->owner);
	if (rc == rcOk)
		rc = read_id("DCM_GROUP", find_group, &access->group);
	if (rc == rcOk)
		rc = read_number("DCM_USER_SHARE", 1, 100, &share);
	access->user_share = (uint32_t)share;
	return rc;
}

static Retcode read_name(char *name, const char *set_name)
{
	const char *text = secure_getenv("DCM_PROCESS_NAME");
	bool from_environment = text != NULL && *text != '\0';

	if (!from_environment)
		text = set_name;
	if (*text == '\0')
		text = program_invocation_short_name;
	if (!dcm_name_valid(text)) {
		if (from_environment)
			return dcm_fail(rcInvalidArgument,
					"DCM_PROCESS_NAME must be 1 to 255 bytes of UTF-8 without "
					"control characters");
		text = "unnamed"; /* a program may be called anything */
	}
	strcpy(name, text);
	return rcOk;
}

Retcode dcm_settings_read(struct dcm_settings *s, const char *set_name)
{
	const char *fabric = secure_getenv("DCM_FABRIC");
	Retcode rc;

	if (fabric == NULL || *fabric == '\0')
		fabric = "default";
	if (strlen(fabric) >= sizeof s->fabric)
		return dcm_fail(rcInvalidArgument, "DCM_FABRIC is longer than %zu bytes",
				sizeof s->fabric - 1);
	strcpy(s->fabric, fabric);
	s->capacity = DCM_CAPACITY_DEFAULT;
	s->channel_bytes = DCM_CHANNEL_BYTES_DEFAULT;
	rc = read_name(s->name, set_name);
	if (rc == rcOk)
		rc = read_transfer(&s->transfer);
	if (rc == rcOk)
		rc = read_wait(&s->wait);
	if (rc == rcOk)
		rc = read_access(&s->access);
	if (rc == rcOk)
		rc = read_capacity(&s->capacity);
	if (rc == rcOk)
		rc = read_number("DCM_MAX_CHANNEL_BYTES", DCM_CHANNEL_BYTES_MIN,
				 DCM_CHANNEL_BYTES_MAX, &s->channel_bytes);
	s->channel_bytes = s->channel_bytes / DCM_PAGE * DCM_PAGE;
	return rc;
}
