/* SPDX-License-Identifier: Apache-2.0 */
#include "server/director.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "server/fleets.h"
#include "server/memory.h"
#include "server/shapes.h"
#include "server/sources.h"

#define CATALOG_FILE_MAX ((size_t)512 << 20)
#define RELEASES_BACK 3 /* as nodes have it: REPOSITORY_RELEASES_BACK */

struct director {
        struct control *control;
        struct catalog *catalog; /* or NULL */
        uint64_t generation;
        char *catalog_path;
        msec_t changed_at;
        json_t *reading; /* as the reader says, or NULL */
        char *error;     /* of the last look, or NULL */
};

struct catalog *director_catalog(const struct control *c) {
        return c->director ? c->director->catalog : NULL;
}

char *director_why_no_catalog(const struct control *c) {
        const struct director *d = c->director;
        if (!d || d->catalog)
                return NULL;
        return must(str_format("the repository %s has not been read yet%s%s", c->settings->repository,
                               d->error ? ": " : "", d->error ? d->error : ""));
}

uint64_t director_generation(const struct control *c) {
        return c->director ? c->director->generation : 0;
}

int director_keep(const struct control *c, const struct catalog *catalog, struct err **err) {
        json_t *j = must(catalog_to_json(catalog));
        _cleanup_(x_freep) char *text = must(json_encode_compact(j));
        json_decref(j);
        return file_write_atomic(c->director->catalog_path, text, strlen(text), 0600, err);
}

void director_take(struct control *c, struct catalog *catalog) {
        struct director *d = c->director;
        char count[24];
        catalog_unref(d->catalog);
        d->catalog = catalog;
        d->generation++;
        d->changed_at = control_now(c);
        (void)snprintf(count, sizeof(count), "%zu", catalog_artifacts(catalog));
        log_info("the repository changed", "artifacts", count, NULL);
        fleets_repository_changed(c);
        sources_retry_failed(c);
}

void director_note(struct control *c, json_t *reading, const char *error) {
        struct director *d = c->director;
        json_decref(d->reading);
        d->reading = reading;
        replace_text(&d->error, error);
}

/* ---- choosing */

static json_t *choice_json(const struct catalog_choice *chosen, size_t n) {
        json_t *list = json_array_new();
        for (size_t i = 0; i < n; i++) {
                const struct artifact *a = chosen[i].artifact;
                _cleanup_(x_freep) char *target =
                        must(artifact_target_path(a->name, a->version, a->platform));
                json_t *j = json_object_new();
                json_put(j, "name", json_text(a->name));
                json_put(j, "version", json_text(a->version));
                json_put(j, "target", json_text(target));
                json_put(j, "length", json_number(a->length));
                json_put(j, "sha256", json_text(a->sha256));
                json_put(j, "platform", json_text(a->platform));
                json_put(j, "releaseCounter", json_number(a->release_counter));
                json_add(list, j);
        }
        return list;
}

int director_choose(struct control *c, const struct node *n, const struct revision *r, json_t **ret,
                    char fingerprint[65], struct err **err) {
        static const struct pairs none;
        struct binding b = {
                .node_name = n->name,
                .labels = n->labels ? *n->labels : none,
                .variables = n->declaration && n->declaration->variables ? *n->declaration->variables : none};
        char platform[PLATFORM_MAX];
        bool knows = n->report.platform && platform_parse(n->report.platform, platform, NULL) == 0;
        struct catalog_choice *chosen = NULL;
        size_t count = 0;
        if (!revision_has_artifacts(r)) {
                *ret = NULL;
                fingerprint[0] = '\0';
                return 0;
        }
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        int e = catalog_choose(director_catalog(c), r, &b, knows ? platform : NULL, arena, &chosen, &count,
                               err);
        if (e == -ENOMEM)
                must(NULL);
        if (e < 0)
                return e;
        *ret = choice_json(chosen, count);
        _cleanup_(x_freep) char *text = must(json_encode_compact(*ret));
        sha256_hex(text, strlen(text), fingerprint);
        return 0;
}

/* ---- releases */

bool director_wants_releases(const struct control *c) {
        return c->director && str_eq(c->settings->repository_trust, "release-key");
}

bool director_may_give(const struct control *c, const char *fleet, const char *revision, int64_t length,
                       char **ret_why) {
        if (!director_wants_releases(c) || catalog_has_revision(director_catalog(c), fleet, revision, length))
                return true;
        *ret_why = must(
                str_format("revision %.12s of fleet %s waits for a release: run skerry release where the "
                           "release key is, on the commit that made it",
                           revision, fleet));
        return false;
}

bool director_may_turn_to(const struct control *c, const char *fleet, const char *revision,
                          const char *running, char **ret_why) {
        const struct catalog *catalog = director_catalog(c);
        int64_t counter = catalog_revision_counter(catalog, fleet, revision),
                now = catalog_revision_counter(catalog, fleet, running);
        if (!director_wants_releases(c) || counter >= now - RELEASES_BACK)
                return true;
        *ret_why = must(str_format(
                "revision %.12s of fleet %s is release %lld, and %lld runs: nodes do not go back so far by a "
                "server's word; run skerry release --again on the commit that made it",
                revision, fleet, (long long)counter, (long long)now));
        return false;
}

json_t *director_json(const struct control *c) {
        const struct director *d = c->director;
        if (!d)
                return NULL;
        json_t *j = json_object_new();
        json_put(j, "location", json_text(c->settings->repository));
        json_put(j, "trust", json_text(c->settings->repository_trust));
        json_put(j, "changedAt", json_time(d->changed_at));
        json_put(j, "artifacts", json_number(d->catalog ? (int64_t)catalog_artifacts(d->catalog) : 0));
        if (d->reading)
                must_do(json_object_update(j, d->reading));
        return j;
}

/* ---- life */

/* A damaged file is as none: the repository is read again. */
static void catalog_load(struct director *d) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        json_t *j = NULL;
        if (file_read(d->catalog_path, CATALOG_FILE_MAX, &text, &len, NULL) == 0 &&
            json_decode(text, len, &j, NULL) == 0)
                (void)catalog_from_json(j, &d->catalog, NULL);
        json_decref(j);
}

int director_open(struct control *c, struct err **err) {
        _cleanup_(x_freep) char *folder = must(path_join(c->settings->state, "director"));
        if (!c->settings->repository)
                return 0;
        struct director *d = NEW(struct director);
        c->director = d;
        d->control = c;
        d->generation = 1;
        d->catalog_path = must(path_join(folder, "catalog.json"));
        int r = dir_make(folder, 0700, err);
        if (r >= 0)
                catalog_load(d);
        return r;
}

void director_start(struct control *c) {
        if (c->director) /* what waits is not remembered: it waits again */
                fleets_repository_changed(c);
}

struct director *director_free(struct director *d) {
        if (!d)
                return NULL;
        catalog_unref(d->catalog);
        json_decref(d->reading);
        free(d->error);
        free(d->catalog_path);
        free(d);
        return NULL;
}
