/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define VERSION_TEXT_MAX 4096 /* bytes of a version while it may still be too long */
#define SHOWN_VERSIONS 5
#define SHOWN_PLATFORMS 8

struct released {
        char *fleet;
        char sha256[65];
        int64_t length, counter;
};

struct catalog {
        atomic_uint references;
        struct artifact **artifacts;
        size_t n, cap;
        struct released *revisions;
        size_t n_revisions, cap_revisions;
};

struct catalog *catalog_new(void) {
        struct catalog *c = calloc(1, sizeof *c);
        if (c)
                atomic_init(&c->references, 1);
        return c;
}

struct catalog *catalog_ref(struct catalog *c) {
        if (c)
                atomic_fetch_add(&c->references, 1);
        return c;
}

struct catalog *catalog_unref(struct catalog *c) {
        if (!c || atomic_fetch_sub(&c->references, 1) > 1)
                return NULL;
        for (size_t i = 0; i < c->n; i++)
                artifact_free(c->artifacts[i]);
        for (size_t i = 0; i < c->n_revisions; i++)
                free(c->revisions[i].fleet);
        free(c->artifacts);
        free(c->revisions);
        free(c);
        return NULL;
}

/* ---- Adding */

static int grow(void **items, size_t n, size_t *cap, size_t size) {
        if (n < *cap)
                return 0;
        size_t wanted = *cap ? *cap * 2 : 64;
        void *grown = reallocarray(*items, wanted, size);
        if (!grown)
                return -ENOMEM;
        *items = grown;
        *cap = wanted;
        return 0;
}

static const json_t *description(const json_t *custom, const char *kind) {
        const json_t *o = custom ? json_object_get(custom, "skerry") : NULL;
        const char *is = json_string_value(json_object_get(o, "kind"));
        return is && str_eq(is, kind) ? o : NULL;
}

static int add_artifact(struct catalog *c, const char *path, int64_t length, const char *sha256,
                        const json_t *custom, struct err **err) {
        if (!description(custom, "artifact"))
                return 0; /* an attachment */
        if (grow((void **)&c->artifacts, c->n, &c->cap, sizeof(struct artifact *)) < 0)
                return err_set_errno(err, ENOMEM, "the target %s", path);
        int r = artifact_from_target(path, length, sha256, custom, &c->artifacts[c->n], err);
        if (r < 0)
                return r;
        c->n++;
        return 0;
}

/* "revisions/<fleet>/<sha256>.json", and nothing in it contradicts that. */
static int add_revision(struct catalog *c, const char *path, const char *rest, int64_t length,
                        const char *sha256, const json_t *custom, struct err **err) {
        const json_t *o = description(custom, "revision");
        const char *slash = strchr(rest, '/'), *fleet = NULL;
        int64_t counter = 0;
        int r;

        if (!o || !slash)
                return err_set(err, EINVAL, "the target %s has no description of a revision", path);
        if ((r = json_read_string(o, "fleet", &fleet, err)) < 0 ||
            (r = json_read_int(o, "releaseCounter", &counter, err)) < 0)
                return err_wrap_code(err, r, "the target %s", path);
        if (!name_is_dns_label(fleet) || strlen(fleet) != (size_t)(slash - rest) ||
            strncmp(fleet, rest, strlen(fleet)) != 0 || !sha256 || !sha256_hex_is_valid(sha256) ||
            !str_has_prefix(slash + 1, sha256) || !str_eq(slash + 1 + strlen(sha256), ".json") ||
            length < 0 || counter < 1)
                return err_set(err, EINVAL, "the target %s: its description is of something else", path);
        if (grow((void **)&c->revisions, c->n_revisions, &c->cap_revisions, sizeof *c->revisions) < 0 ||
            !(c->revisions[c->n_revisions].fleet = str_dup(fleet)))
                return err_set_errno(err, ENOMEM, "the target %s", path);
        struct released *released = &c->revisions[c->n_revisions++];
        memcpy(released->sha256, sha256, sizeof released->sha256);
        released->length = length;
        released->counter = counter;
        return 0;
}

int catalog_add(struct catalog *c, const char *path, int64_t length, const char *sha256, const json_t *custom,
                struct err **err) {
        const char *rest;

        if (c->n + c->n_revisions >= CATALOG_TARGETS_MAX)
                return err_set(err, EFBIG, "the repository has more than %d artifacts and revisions",
                               CATALOG_TARGETS_MAX);
        if (str_has_prefix(path, "artifacts/"))
                return add_artifact(c, path, length, sha256, custom, err);
        if ((rest = str_after_prefix(path, "revisions/")))
                return add_revision(c, path, rest, length, sha256, custom, err);
        return 0;
}

static int compare_versions(const struct artifact *a, const char *name, const char *version) {
        int r = strcmp(a->name, name);
        return r ? r : strcmp(a->version, version);
}

static int compare_artifacts(const void *a, const void *b) {
        const struct artifact *x = *(struct artifact *const *)a, *y = *(struct artifact *const *)b;
        int r = compare_versions(x, y->name, y->version);
        return r ? r : strcmp(x->platform, y->platform);
}

static int compare_revisions(const void *a, const void *b) {
        const struct released *x = a, *y = b;
        int r = strcmp(x->fleet, y->fleet);
        return r ? r : strcmp(x->sha256, y->sha256);
}

void catalog_seal(struct catalog *c) {
        if (c->n > 1)
                qsort(c->artifacts, c->n, sizeof(struct artifact *), compare_artifacts);
        if (c->n_revisions > 1)
                qsort(c->revisions, c->n_revisions, sizeof *c->revisions, compare_revisions);
}

/* ---- Asking */

size_t catalog_artifacts(const struct catalog *c) {
        return c->n;
}

const struct artifact *catalog_artifact(const struct catalog *c, size_t i) {
        return c->artifacts[i];
}

/* The first artifact not before this one; version NULL: the first of the name. */
static size_t lower_bound(const struct catalog *c, const char *name, const char *version) {
        size_t low = 0, high = c->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare_versions(c->artifacts[middle], name, version ? version : "") < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

size_t catalog_find(const struct catalog *c, const char *name, const char *version,
                    const struct artifact *const **ret) {
        size_t first = c ? lower_bound(c, name, version) : 0, n = 0;

        while (c && first + n < c->n && compare_versions(c->artifacts[first + n], name, version) == 0)
                n++;
        *ret = n ? (const struct artifact *const *)&c->artifacts[first] : NULL;
        return n;
}

const char *catalog_versions_text(const struct catalog *c, const char *name, char *buf, size_t size) {
        const struct artifact *newest[SHOWN_VERSIONS] = {0};
        size_t n = 0, used = 0;

        buf[0] = '\0';
        for (size_t i = c ? lower_bound(c, name, NULL) : 0; c && i < c->n; i++) {
                const struct artifact *a = c->artifacts[i];
                if (!str_eq(a->name, name))
                        break;
                if (a->yanked || (i > 0 && compare_versions(c->artifacts[i - 1], name, a->version) == 0))
                        continue;
                n++;
                for (size_t k = 0; k < SHOWN_VERSIONS; k++)
                        if (!newest[k] || newest[k]->release_counter < a->release_counter) {
                                memmove(&newest[k + 1], &newest[k],
                                        (SHOWN_VERSIONS - 1 - k) * sizeof(struct artifact *));
                                newest[k] = a;
                                break;
                        }
        }
        for (size_t k = 0; k < SHOWN_VERSIONS && newest[k] && used < size; k++)
                used += (size_t)snprintf(buf + used, size - used, "%s%s", k ? ", " : "", newest[k]->version);
        if (n > SHOWN_VERSIONS && used < size)
                (void)snprintf(buf + used, size - used, " and %zu more", n - SHOWN_VERSIONS);
        return buf;
}

const char *catalog_nearest_name(const struct catalog *c, const char *name) {
        const char **names = c ? calloc(c->n + 1, sizeof(char *)) : NULL, *nearest;
        size_t n = 0;

        for (size_t i = 0; names && i < c->n; i++)
                if (n == 0 || !str_eq(names[n - 1], c->artifacts[i]->name))
                        names[n++] = c->artifacts[i]->name;
        nearest = names ? str_nearest(name, names, n) : NULL;
        free(names);
        return nearest;
}

bool catalog_is_yanked(const struct catalog *c, const char *name, const char *version,
                       const char **ret_replaced_by) {
        const struct artifact *const *all;
        size_t n = catalog_find(c, name, version, &all);
        bool yanked = n > 0;

        *ret_replaced_by = NULL;
        for (size_t i = 0; i < n; i++) {
                yanked = yanked && all[i]->yanked;
                if (!*ret_replaced_by)
                        *ret_replaced_by = all[i]->replaced_by;
        }
        return yanked;
}

static const struct released *find_released(const struct catalog *c, const char *fleet, const char *sha256) {
        struct released key = {.fleet = (char *)fleet};

        if (!c || c->n_revisions == 0 || strlen(sha256) != 64)
                return NULL;
        memcpy(key.sha256, sha256, sizeof key.sha256);
        return bsearch(&key, c->revisions, c->n_revisions, sizeof *c->revisions, compare_revisions);
}

bool catalog_has_revision(const struct catalog *c, const char *fleet, const char *sha256, int64_t length) {
        const struct released *found = find_released(c, fleet, sha256);
        return found && found->length == length;
}

int64_t catalog_revision_counter(const struct catalog *c, const char *fleet, const char *sha256) {
        const struct released *found = find_released(c, fleet, sha256);
        return found ? found->counter : 0;
}

int64_t catalog_release_counter(const struct catalog *c, const char *fleet) {
        int64_t counter = 0;
        for (size_t i = 0; c && i < c->n_revisions; i++)
                if (str_eq(c->revisions[i].fleet, fleet))
                        counter = MAX(counter, c->revisions[i].counter);
        return counter;
}

/* ---- Choosing */

bool revision_has_artifacts(const struct revision *r) {
        for (size_t i = 0; i < r->n_apps; i++)
                if (r->apps[i].n_artifacts > 0)
                        return true;
        return false;
}

struct chooser {
        const struct catalog *catalog;
        const struct binding *binding;
        const char *platform;
        struct arena *arena;
        json_t *labels; /* made when first needed */
        struct err **err;
};

static int no_memory(struct err **err) {
        return err_set_errno(err, ENOMEM, "choose artifacts");
}

static int resolve_version(struct chooser *c, const struct app_artifact *from, const char **ret) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        int r;

        *ret = from->version;
        if (!strstr(from->version, "${"))
                return 0;
        text.limit = VERSION_TEXT_MAX;
        r = expand_text(from->version, strlen(from->version), c->binding, &text, c->err);
        if (r < 0)
                return err_wrap_code(c->err, r, "artifact %s: version", from->name);
        if (!artifact_version_is_valid(buf_str(&text)))
                return err_set(c->err, EINVAL, "artifact %s: \"%.200s\" is not a version", from->name,
                               buf_str(&text));
        *ret = arena_strdup(c->arena, buf_str(&text));
        return *ret ? 0 : no_memory(c->err);
}

/* "linux/amd64, linux/arm64/v8"; with hardware labels where there are any. */
static void platforms_text(const struct artifact *const *all, size_t n, char *buf, size_t size) {
        size_t used = 0;
        const char *key;
        json_t *value;

        buf[0] = '\0';
        for (size_t i = 0; i < n && i < SHOWN_PLATFORMS && used < size; i++) {
                used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "", all[i]->platform);
                json_object_foreach (all[i]->hardware, key, value)
                        if (used < size)
                                used += (size_t)snprintf(buf + used, size - used, " with %s=%s", key,
                                                         json_string_value(value));
        }
        if (n > SHOWN_PLATFORMS && used < size)
                (void)snprintf(buf + used, size - used, " and %zu more", n - SHOWN_PLATFORMS);
}

static int say_unknown(const struct chooser *c, const char *name, const char *version) {
        char versions[512];

        if (!c->catalog)
                return err_set(c->err, ENOENT, "no artifact %s:%s: there is no repository", name, version);
        catalog_versions_text(c->catalog, name, versions, sizeof versions);
        return err_set(c->err, ENOENT, "no artifact %s:%s in the repository; there %s%s", name, version,
                       *versions ? "are the versions " : "is none of that name", versions);
}

static int choose(struct chooser *c, const char *name, const char *version, const struct artifact **ret) {
        const struct artifact *const *all;
        size_t n = catalog_find(c->catalog, name, version, &all);
        char platforms[1024];

        if (n == 0)
                return say_unknown(c, name, version);
        if (!c->platform)
                return err_set(c->err, EAGAIN,
                               "it has not said yet what platform it is, so artifact %s:%s cannot be chosen",
                               name, version);
        for (size_t i = 0; i < n && !c->labels; i++)
                if (all[i]->hardware && !(c->labels = pairs_to_json(&c->binding->labels)))
                        return no_memory(c->err);
        *ret = artifact_choose(all, n, c->platform, c->labels);
        if (*ret)
                return 0;
        platforms_text(all, n, platforms, sizeof platforms);
        return err_set(c->err, ENOENT, "no artifact %s:%s for %s%s; there %s %s", name, version, c->platform,
                       c->labels ? " and its labels" : "", n == 1 ? "is" : "are", platforms);
}

static int compare_choices(const void *a, const void *b) {
        const struct catalog_choice *x = a, *y = b;
        int r = strcmp(x->name, y->name);
        return r ? r : strcmp(x->version, y->version);
}

static bool is_chosen(const struct catalog_choice *chosen, size_t n, const char *name, const char *version) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(chosen[i].name, name) && str_eq(chosen[i].version, version))
                        return true;
        return false;
}

static int choose_all(struct chooser *c, const struct revision *r, struct catalog_choice *chosen, size_t *n) {
        for (size_t i = 0; i < r->n_apps; i++)
                for (size_t j = 0; j < r->apps[i].n_artifacts; j++) {
                        const struct app_artifact *a = &r->apps[i].artifacts[j];
                        struct catalog_choice *x = &chosen[*n];
                        int e = resolve_version(c, a, &x->version);

                        if (e < 0)
                                return e;
                        if (is_chosen(chosen, *n, a->name, x->version))
                                continue;
                        x->name = a->name;
                        e = choose(c, a->name, x->version, &x->artifact);
                        if (e < 0)
                                return e;
                        (*n)++;
                }
        return 0;
}

int catalog_choose(const struct catalog *c, const struct revision *r, const struct binding *b,
                   const char *platform, struct arena *arena, struct catalog_choice **ret, size_t *ret_n,
                   struct err **err) {
        struct chooser chooser = {.catalog = c, .platform = platform, .arena = arena, .err = err};
        struct binding bound;
        struct catalog_choice *chosen;
        size_t most = 0, n = 0;
        int e;

        for (size_t i = 0; i < r->n_apps; i++)
                most += r->apps[i].n_artifacts;
        chosen = arena_calloc(arena, most + 1, sizeof *chosen);
        if (!chosen || (most > 0 && revision_binding(r, b, arena, &bound) < 0))
                return no_memory(err);
        chooser.binding = &bound;
        e = choose_all(&chooser, r, chosen, &n);
        json_decref(chooser.labels);
        if (e < 0)
                return e;
        if (n > 1)
                qsort(chosen, n, sizeof *chosen, compare_choices);
        *ret = chosen;
        *ret_n = n;
        return 0;
}

/* ---- As text */

static json_t *revision_custom(const struct released *r) {
        return json_pack("{s:{s:s, s:s, s:I}}", "skerry", "kind", "revision", "fleet", r->fleet,
                         "releaseCounter", (json_int_t)r->counter);
}

json_t *catalog_to_json(const struct catalog *c) {
        _cleanup_json_ json_t *targets = json_array();

        for (size_t i = 0; i < c->n; i++) {
                const struct artifact *a = c->artifacts[i];
                _cleanup_(x_freep) char *path = artifact_target_path(a->name, a->version, a->platform);
                if (!path ||
                    json_array_append_new(targets, json_pack("{s:s, s:I, s:s, s:o}", "path", path, "length",
                                                             (json_int_t)a->length, "sha256", a->sha256,
                                                             "custom", artifact_custom(a))) < 0)
                        return NULL;
        }
        for (size_t i = 0; i < c->n_revisions; i++) {
                const struct released *r = &c->revisions[i];
                _cleanup_(x_freep) char *path = str_format("revisions/%s/%s.json", r->fleet, r->sha256);
                if (!path ||
                    json_array_append_new(targets, json_pack("{s:s, s:I, s:s, s:o}", "path", path, "length",
                                                             (json_int_t)r->length, "sha256", r->sha256,
                                                             "custom", revision_custom(r))) < 0)
                        return NULL;
        }
        return json_pack("{s:O}", "targets", targets);
}

int catalog_from_json(const json_t *j, struct catalog **ret, struct err **err) {
        _cleanup_(catalog_unrefp) struct catalog *c = catalog_new();
        const json_t *targets = NULL, *t;
        size_t i;
        int r = c ? json_read_array(j, "targets", &targets, err) : err_set_errno(err, ENOMEM, "read catalog");

        if (r < 0)
                return r;
        json_array_foreach ((json_t *)targets, i, t) {
                const char *path = NULL, *sha256 = NULL;
                int64_t length = 0;
                if ((r = json_read_string(t, "path", &path, err)) < 0 ||
                    (r = json_read_string(t, "sha256", &sha256, err)) < 0 ||
                    (r = json_read_int(t, "length", &length, err)) < 0 ||
                    (r = catalog_add(c, path, length, sha256, json_object_get(t, "custom"), err)) < 0)
                        return err_wrap_code(err, r, "targets[%zu]", i);
        }
        catalog_seal(c);
        *ret = TAKE_PTR(c);
        return 0;
}
