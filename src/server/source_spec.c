/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_spec.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "codec/json.h"
#include "server/git_status.h"
#include "server/git_transport.h"
#include "server/memory.h"
#include "server/source_version.h"

struct field {
        const char *name;
        size_t offset;
        bool is_file, is_sent; /* is_sent: what stands in it, to the host */
};
static const struct field fields[] = {
        {"url", offsetof(struct source_spec, url), false},
        {"branch", offsetof(struct source_spec, branch), false},
        {"path", offsetof(struct source_spec, path), false},
        {"tags", offsetof(struct source_spec, tags), false},
        {"tagPrefix", offsetof(struct source_spec, tag_prefix), false},
        {"sshKeyFile", offsetof(struct source_spec, ssh_key_file), true},
        {"knownHostsFile", offsetof(struct source_spec, known_hosts_file), true},
        {"caFile", offsetof(struct source_spec, ca_file), true},
        {"usernameFile", offsetof(struct source_spec, username_file), true, true},
        {"passwordFile", offsetof(struct source_spec, password_file), true, true},
        {"webhookSecretFile", offsetof(struct source_spec, webhook_secret_file), true},
        {"signatures", offsetof(struct source_spec, signatures), false},
        {"allowedSignersFile", offsetof(struct source_spec, allowed_signers_file), true},
        {"keyringFile", offsetof(struct source_spec, keyring_file), true},
        {"statusHost", offsetof(struct source_spec, status_host), false},
        {"statusUrl", offsetof(struct source_spec, status_url), false},
        {"statusTokenFile", offsetof(struct source_spec, status_token_file), true, true},
};

static char **field_of(const struct source_spec *s, const struct field *f) {
        return (char **)(void *)((char *)s + f->offset);
}

void source_spec_done(struct source_spec *s) {
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                free(*field_of(s, &fields[i]));
        *s = (struct source_spec){0};
}

static bool is_plain_text(const char *s) {
        size_t n = strlen(s);
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
                        return false;
        return utf8_is_valid(s, n);
}

static int url_check(const char *url, struct err **err) {
        const char *host = strstr(url, "://");
        if (strlen(url) > SOURCE_URL_MAX)
                return err_set(err, EINVAL, "url: longer than %d bytes", SOURCE_URL_MAX);
        if (url[0] == '/' || str_has_prefix(url, "file:///"))
                return 0;
        if (str_has_prefix(url, "http://") || str_has_prefix(url, "https://")) {
                size_t n = strcspn(host + 3, "/");
                if (n == 0)
                        return err_set(err, EINVAL, "url: %s names no host", url);
                if (memchr(host + 3, '@', n))
                        return err_set(err, EINVAL,
                                       "url: a login does not belong in it, since everybody sees it there: "
                                       "use usernameFile and passwordFile");
                return 0;
        }
        _cleanup_(x_freep) char *user = NULL, *name = NULL, *port = NULL, *path = NULL;
        if ((!host || str_has_prefix(url, "ssh://")) && git_ssh_url_parse(url, &user, &name, &port, &path))
                return 0;
        return err_set(err, EINVAL,
                       "url: %s is no address of a repository: give an absolute path, file://, https://, "
                       "http://, ssh:// or user@host:path",
                       url);
}

static bool branch_is_valid(const char *s) {
        _cleanup_(x_freep) char *ref = must(str_format("refs/heads/%s", s));
        int valid = 0;
        return *s != '-' && git_reference_name_is_valid(&valid, ref) == 0 && valid;
}

static int tags_check(const struct source_spec *s, struct err **err) {
        struct version_range range;
        if (!s->tags)
                return s->tag_prefix ? err_set(err, EINVAL, "tagPrefix: goes with tags, and there is none")
                                     : 0;
        if (s->branch)
                return err_set(err, EINVAL,
                               "tags: a source follows a branch or tags, not both: leave branch out");
        int r = version_range_parse(s->tags, &range, err);
        if (r < 0)
                return err_wrap(err, "tags");
        if (s->tag_prefix) {
                _cleanup_(x_freep) char *ref = must(str_format("refs/tags/%s1.0.0", s->tag_prefix));
                int valid = 0;
                if (git_reference_name_is_valid(&valid, ref) < 0 || !valid)
                        return err_set(err, EINVAL, "tagPrefix: %s is no beginning of a tag's name",
                                       s->tag_prefix);
        }
        return 0;
}

static int signatures_check(struct source_spec *s, struct err **err) {
        if (str_eq(s->signatures, "off"))
                s->signatures = (free(s->signatures), NULL);
        if (s->signatures && !str_eq(s->signatures, "required"))
                return err_set(err, EINVAL, "signatures: %s is neither required nor off", s->signatures);
        if (s->signatures && !s->allowed_signers_file && !s->keyring_file)
                return err_set(err, EINVAL,
                               "signatures: nobody's would count: give allowedSignersFile (SSH), keyringFile "
                               "(OpenPGP) or both");
        return 0;
}

static int status_check(struct source_spec *s, struct err **err) {
        enum status_host host;
        if (!s->status_host) {
                if (s->status_url || s->status_token_file)
                        return err_set(
                                err, EINVAL,
                                "statusHost: missing: say github, gitlab or gitea, so that results can be "
                                "posted there");
                return 0;
        }
        if (status_host_from_name(s->status_host, &host) < 0)
                return err_set(err, EINVAL, "statusHost: %s is neither github, gitlab nor gitea",
                               s->status_host);
        if (!s->status_token_file)
                return err_set(
                        err, EINVAL,
                        "statusTokenFile: missing: a file on the server with an access token that may write "
                        "commit statuses");
        if (s->status_url && !str_has_prefix(s->status_url, "https://") &&
            !str_has_prefix(s->status_url, "http://"))
                return err_set(err, EINVAL, "statusUrl: %s is no http(s) address", s->status_url);
        if (s->status_url && strlen(s->status_url) > SOURCE_URL_MAX)
                return err_set(err, EINVAL, "statusUrl: longer than %d bytes", SOURCE_URL_MAX);
        _cleanup_(x_freep) char *base = NULL;
        int r = git_status_base(host, s->url, s->status_url, &base, err);
        return r < 0 ? err_wrap(err, "statusUrl") : 0;
}

static int spec_check(struct source_spec *s, struct err **err) {
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                char **text = field_of(s, &fields[i]);
                if (*text && !**text)
                        *text = (free(*text), NULL);
                if (*text && !is_plain_text(*text))
                        return err_set(err, EINVAL, "%s: holds bytes that are no text", fields[i].name);
                if (*text && fields[i].is_file && **text != '/')
                        return err_set(err, EINVAL, "%s: %s is not an absolute path on the server",
                                       fields[i].name, *text);
        }
        if (!s->url)
                return err_set(err, EINVAL, "url: missing");
        int r = url_check(s->url, err);
        if (r < 0)
                return r;
        if (s->branch && !branch_is_valid(s->branch))
                return err_set(err, EINVAL, "branch: %s is no name of a branch", s->branch);
        if (s->path) {
                size_t n = strlen(s->path);
                while (n > 1 && s->path[n - 1] == '/')
                        s->path[--n] = '\0';
                if (str_eq(s->path, "."))
                        s->path = (free(s->path), NULL);
                else if (!path_is_beneath(s->path))
                        return err_set(err, EINVAL, "path: %s is no folder inside the repository", s->path);
        }
        r = tags_check(s, err);
        if (r >= 0)
                r = signatures_check(s, err);
        if (r >= 0)
                r = status_check(s, err);
        if (r < 0)
                return r;
        if (s->fetch_megabytes < 1 || s->fetch_megabytes > SOURCE_FETCH_MEGABYTES_MAX)
                return err_set(err, EINVAL, "fetchLimitMegabytes: must be between 1 and %d",
                               SOURCE_FETCH_MEGABYTES_MAX);
        if (s->poll_seconds != 0 &&
            (s->poll_seconds < SOURCE_POLL_SECONDS_MIN || s->poll_seconds > SOURCE_POLL_SECONDS_MAX))
                return err_set(err, EINVAL, "pollSeconds: must be between %d and %d, or 0 for never",
                               SOURCE_POLL_SECONDS_MIN, SOURCE_POLL_SECONDS_MAX);
        return 0;
}

int source_spec_check_credentials(const struct source_spec *s, const char *folder, struct err **err) {
        for (size_t i = 0; folder && i < ARRAY_SIZE(fields); i++) {
                const char *path = *field_of(s, &fields[i]), *rest;
                if (!path || !fields[i].is_sent)
                        continue;
                rest = str_after_prefix(path, folder);
                while (rest && rest > path && rest[-1] != '/' && *rest == '/')
                        rest++;
                if (!rest || rest[-1] != '/' || !path_is_beneath(rest))
                        return err_set(
                                err, EINVAL,
                                "%s: %s is not in %s, and nothing else is told to a host: put the file "
                                "there, or start the server with --credentials DIR",
                                fields[i].name, path, folder);
        }
        return 0;
}

static int members_check(const json_t *o, const char *const *also, struct err **err) {
        const char *known[ARRAY_SIZE(fields) + 10];
        size_t n = 0;
        const char *key;
        json_t *value;
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
                known[n++] = fields[i].name;
        known[n++] = "pollSeconds";
        known[n++] = "fetchLimitMegabytes";
        for (size_t i = 0; also && also[i] && n < ARRAY_SIZE(known); i++)
                known[n++] = also[i];
        json_object_foreach ((json_t *)o, key, value) {
                bool found = false;
                for (size_t i = 0; i < n; i++)
                        found = found || str_eq(known[i], key);
                if (!found) {
                        const char *near = str_nearest(key, known, n);
                        return err_set(err, EINVAL, "unknown field %s%s%s%s", key,
                                       near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
                }
        }
        return 0;
}

int source_spec_read(const json_t *o, const char *const *also, struct source_spec *ret, struct err **err) {
        _cleanup_(source_spec_done) struct source_spec s = {.poll_seconds = SOURCE_POLL_SECONDS,
                                                            .fetch_megabytes = SOURCE_FETCH_MEGABYTES};
        int r = json_is_object(o) ? members_check(o, also, err)
                                  : err_set(err, EINVAL, "a source is an object");
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(fields); i++) {
                const char *text = NULL;
                r = json_read_optional_string(o, fields[i].name, &text, err);
                if (r >= 0)
                        *field_of(&s, &fields[i]) = copy_text(text);
        }
        if (r >= 0)
                r = json_read_optional_int(o, "pollSeconds", &s.poll_seconds, err);
        if (r >= 0)
                r = json_read_optional_int(o, "fetchLimitMegabytes", &s.fetch_megabytes, err);
        if (r >= 0)
                r = spec_check(&s, err);
        if (r < 0)
                return r;
        *ret = s;
        s = (struct source_spec){0};
        return 0;
}

json_t *source_spec_json(const struct source_spec *s) {
        json_t *j = json_object_new();
        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                json_put(j, fields[i].name, json_text(*field_of(s, &fields[i])));
                if (i == 2)
                        json_put(j, "pollSeconds", json_number(s->poll_seconds));
        }
        json_put(j, "fetchLimitMegabytes", json_number(s->fetch_megabytes));
        return j;
}

int source_spec_parse(const char *text, struct source_spec *ret, struct err **err) {
        _cleanup_(source_spec_done) struct source_spec s = {.poll_seconds = SOURCE_POLL_SECONDS,
                                                            .fetch_megabytes = SOURCE_FETCH_MEGABYTES};
        const char *hash = strrchr(text, '#'), *colon = hash ? strchr(hash, ':') : NULL;
        s.url = must(hash ? str_dup_n(text, (size_t)(hash - text)) : str_dup(text));
        if (hash)
                s.branch = must(colon ? str_dup_n(hash + 1, (size_t)(colon - hash - 1)) : str_dup(hash + 1));
        if (colon)
                s.path = copy_text(colon + 1);
        int r = spec_check(&s, err);
        if (r < 0)
                return r;
        *ret = s;
        s = (struct source_spec){0};
        return 0;
}
