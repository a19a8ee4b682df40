/* SPDX-License-Identifier: Apache-2.0 */
/* How a source is followed, as people set it: read from a request, checked, shown. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"

#define SOURCE_POLL_SECONDS 60
#define SOURCE_POLL_SECONDS_MIN 5
#define SOURCE_POLL_SECONDS_MAX 604800
#define SOURCE_URL_MAX 2048
#define SOURCE_FETCH_MEGABYTES 512
#define SOURCE_FETCH_MEGABYTES_MAX 65536

struct source_spec {
        char *url, *branch, *path; /* branch NULL: the host's default; path NULL: all */
        char *tags, *tag_prefix; /* tags: range of versions (source_version.h); NULL: a branch is followed */
        int64_t poll_seconds;    /* 0: never */
        int64_t fetch_megabytes; /* most that one fetch may bring */
        char *signatures;        /* "required" or NULL */
        char *allowed_signers_file, *keyring_file;
        char *status_host,
                *status_url; /* "github", "gitlab", "gitea": where results are posted; NULL: nowhere */
        char *status_token_file;
        char *ssh_key_file, *known_hosts_file, *ca_file, *username_file, *password_file, *webhook_secret_file;
};
void source_spec_done(struct source_spec *s);

/* From the members of an object; others are refused unless they are named in also (a NULL-terminated list).
 */
int source_spec_read(const json_t *o, const char *const *also, struct source_spec *ret, struct err **err);
json_t *source_spec_json(const struct source_spec *s) _must_use_;
/* "URL[#BRANCH[:PATH]]", as the command line takes it. */
int source_spec_parse(const char *text, struct source_spec *ret, struct err **err);

/* What is sent to a host (user name, password, token) must lie beneath the folder of credentials
 * (settings.h), so that nobody who may add a source has the server tell its host the contents of another
 * file. By name alone: what is put into the folder, links too, is what may be sent. folder NULL: no bound.
 * -EINVAL. */
int source_spec_check_credentials(const struct source_spec *s, const char *folder, struct err **err);

static inline bool source_spec_needs_signatures(const struct source_spec *s) {
        return s->signatures != NULL;
}
