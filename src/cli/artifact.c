/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/print.h"
#include "codec/json.h"

#define DELTA_LIST_MAX (1u << 20) /* bytes */

/* ---- the set */

struct artifact_set *artifact_set_free(struct artifact_set *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n; i++) {
                artifact_free(s->all[i]);
                free(s->roles[i]);
        }
        free(s->all);
        free(s->roles);
        tuf_publisher_free(s->publisher);
        free(s);
        return NULL;
}

static int gather(void *arg, const struct tuf_target *t) {
        struct artifact_set *s = arg;
        struct artifact *a = NULL;
        /* Attachments, revisions and what others put there are no artifacts. */
        if (!str_has_prefix(t->path, "artifacts/") ||
            artifact_from_target(t->path, t->length, t->sha256, t->custom, &a, NULL) < 0)
                return 0;
        if (s->n % 64 == 0) {
                struct artifact **all = realloc(s->all, (s->n + 64) * sizeof(struct artifact *));
                if (all)
                        s->all = all;
                char **roles = realloc(s->roles, (s->n + 64) * sizeof(char *));
                if (roles)
                        s->roles = roles;
                if (!all || !roles) {
                        artifact_free(a);
                        return -ENOMEM;
                }
        }
        s->roles[s->n] = str_dup(t->role);
        s->all[s->n++] = a;
        return 0;
}

static int compare(const struct artifact *a, const struct artifact *b) {
        int order = strcmp(a->name, b->name);
        if (order == 0 && a->release_counter != b->release_counter)
                order = a->release_counter < b->release_counter ? -1 : 1;
        if (order == 0)
                order = strcmp(a->version, b->version);
        return order ? order : strcmp(a->platform, b->platform);
}

/* Few enough, and two arrays that move together. */
static void sort(struct artifact_set *s) {
        for (size_t gap = s->n / 2; gap > 0; gap /= 2)
                for (size_t i = gap; i < s->n; i++) {
                        struct artifact *a = s->all[i];
                        char *role = s->roles[i];
                        size_t k = i;
                        for (; k >= gap && compare(s->all[k - gap], a) > 0; k -= gap) {
                                s->all[k] = s->all[k - gap];
                                s->roles[k] = s->roles[k - gap];
                        }
                        s->all[k] = a;
                        s->roles[k] = role;
                }
}

int artifact_set_open(const struct repo_globals *g, bool read_only, struct artifact_set **ret,
                      struct err **err) {
        _cleanup_(artifact_set_freep) struct artifact_set *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set_errno(err, ENOMEM, "open %s", g->repository);
        int r = repo_open(g, read_only, &s->publisher, err);
        if (r < 0)
                return r;
        if ((r = tuf_publisher_each(s->publisher, NULL, gather, s)) < 0)
                return err_set_errno(err, -r, "read %s", g->repository);
        sort(s);
        *ret = TAKE_PTR(s);
        return 0;
}

char *artifact_public_path(const struct artifact_set *s, const char *path) {
        return path ? path_join(tuf_publisher_public_dir(s->publisher), path) : NULL;
}

int64_t artifact_public_size(const struct artifact_set *s, char *path) {
        _cleanup_(x_freep) char *below _unused_ = path, *full = artifact_public_path(s, path);
        struct stat st;
        return full && stat(full, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
}

int artifact_open_payload(const struct artifact_set *s, const struct artifact *a, int *ret_fd,
                          struct err **err) {
        _cleanup_(x_freep) char *target = artifact_target_path(a->name, a->version, a->platform);
        _cleanup_(x_freep) char *file = target ? repository_target_file(target, a->sha256) : NULL;
        _cleanup_(x_freep) char *path = artifact_public_path(s, file);
        if (!path)
                return err_set_errno(err, ENOMEM, "open the payload of %s:%s", a->name, a->version);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return err_set_errno(err, errno, "open the payload of %s:%s for %s, %s", a->name, a->version,
                                     a->platform, path);
        *ret_fd = fd;
        return 0;
}

int64_t artifact_highest_counter(const struct artifact_set *s, const char *name) {
        int64_t highest = 0;
        for (size_t i = 0; i < s->n; i++)
                if (str_eq(s->all[i]->name, name))
                        highest = MAX(highest, s->all[i]->release_counter);
        return highest;
}

const struct artifact *artifact_of_platform(const struct artifact *const *all, size_t n,
                                            const char *platform) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(all[i]->platform, platform))
                        return all[i];
        return NULL;
}

static int no_name(const struct artifact_set *s, const char *name, struct err **err) {
        _cleanup_(x_freep) const char **names = calloc(s->n + 1, sizeof(const char *));
        size_t n = 0;
        for (size_t i = 0; names && i < s->n; i++)
                if (i == 0 || !str_eq(s->all[i]->name, s->all[i - 1]->name))
                        names[n++] = s->all[i]->name;
        const char *nearest = names ? str_nearest(name, names, n) : NULL;
        if (nearest)
                return err_set(err, ENOENT, "no artifact is named %s; did you mean %s?", name, nearest);
        return err_set(err, ENOENT, "no artifact is named %s; 'skerry artifact list' shows what there is",
                       name);
}

static int no_version(const struct artifact_set *s, const char *name, const char *version, struct err **err) {
        _cleanup_(buf_done) struct buf there = BUF_INIT;
        size_t n = 0;
        for (size_t i = s->n; i-- > 0 && n < 8;) {
                const struct artifact *a = s->all[i];
                if (!str_eq(a->name, name) || (i + 1 < s->n && str_eq(s->all[i + 1]->version, a->version) &&
                                               str_eq(s->all[i + 1]->name, name)))
                        continue;
                buf_printf(&there, "%s%s", n++ ? ", " : "", a->version);
        }
        return err_set(err, ENOENT, "%s has no version %s; the newest are %s", name, version,
                       buf_str(&there));
}

int artifact_set_find(const struct artifact_set *s, const char *name, const char *version,
                      const struct artifact ***ret, size_t *ret_n, struct err **err) {
        const struct artifact *newest = NULL;
        bool known = false;
        for (size_t i = 0; i < s->n; i++) {
                if (!str_eq(s->all[i]->name, name))
                        continue;
                known = true;
                if (!newest || newest->yanked || !s->all[i]->yanked)
                        newest = s->all[i];
        }
        if (!known)
                return no_name(s, name, err);
        const char *wanted = version ? version : newest->version;
        _cleanup_(x_freep) const struct artifact **found = calloc(s->n, sizeof(struct artifact *));
        size_t n = 0;
        if (!found)
                return err_set_errno(err, ENOMEM, "%s", name);
        for (size_t i = 0; i < s->n; i++)
                if (str_eq(s->all[i]->name, name) && str_eq(s->all[i]->version, wanted))
                        found[n++] = s->all[i];
        if (n == 0)
                return no_version(s, name, wanted, err);
        *ret = TAKE_PTR(found);
        *ret_n = n;
        return 0;
}

int artifact_argument(const char *text, char **ret_name, char **ret_version, struct err **err) {
        if (strchr(text, ':'))
                return artifact_reference_parse(text, ret_name, ret_version, err);
        if (!artifact_name_is_valid(text))
                return err_set(err, EINVAL, "'%s' is not an artifact's name", text);
        *ret_name = str_dup(text);
        *ret_version = NULL;
        return *ret_name ? 0 : err_set_errno(err, ENOMEM, "%s", text);
}

/* ---- deltas */

int artifact_delta_list(const struct artifact_set *s, const char *sha256, json_t **ret, struct err **err) {
        _cleanup_(x_freep) char *below = repository_delta_list(sha256),
                                *path = artifact_public_path(s, below);
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *list = NULL;
        size_t len = 0;
        if (!path)
                return err_set_errno(err, ENOMEM, "read the list of deltas");
        if (access(path, F_OK) < 0 && errno == ENOENT) {
                *ret = json_pack("{s:s,s:[]}", "target", sha256, "deltas");
                return *ret ? 0 : err_set_errno(err, ENOMEM, "read the list of deltas");
        }
        int r = file_read(path, DELTA_LIST_MAX, &text, &len, err);
        if (r == 0)
                r = json_decode(text, len, &list, err);
        if (r < 0)
                return err_wrap_code(err, r, "%s", path);
        if (!str_eq(json_string_value(json_object_get(list, "target")), sha256) ||
            !json_is_array(json_object_get(list, "deltas")))
                return err_set(err, EINVAL,
                               "%s is not the list of deltas to %s; remove it and make them anew", path,
                               sha256);
        *ret = TAKE_PTR(list);
        return 0;
}

int64_t artifact_delta_length(const json_t *list, const char *from) {
        size_t i;
        json_t *d;
        json_array_foreach (json_object_get(list, "deltas"), i, d)
                if (str_eq(json_string_value(json_object_get(d, "from")), from))
                        return json_integer_value(json_object_get(d, "length"));
        return -1;
}

/* ---- publishing */

int artifact_publish(struct artifact_set *s, const char *what) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct tuf_publish_result result;
        int r = tuf_publisher_publish(s->publisher, &result, &err);
        if (r == -ENOKEY) {
                /* No failure, since others may sign; but no node sees it, and that is not to be missed. */
                fprintf(stderr,
                        "skerry: warning: %s is only staged, not published: %s.\n"
                        "Sign with 'skerry repo sign', then 'skerry repo publish'.\n",
                        what, err_message(err));
                return EXIT_SUCCESS;
        }
        if (r < 0)
                return cli_fail(err);
        repo_warn_of_expiry(s->publisher);
        repo_warn_of_clock(&result);
        printf("%s is published (targets %lld, snapshot %lld, timestamp %lld).\n", what,
               (long long)result.targets, (long long)result.snapshot, (long long)result.timestamp);
        return EXIT_SUCCESS;
}
