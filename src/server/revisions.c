/* SPDX-License-Identifier: Apache-2.0 */
#include "server/revisions.h"

#include <string.h>

#include "base/log.h"
#include "base/table.h"
#include "codec/json.h"
#include "fleet/revision.h"
#include "repo/object_store.h"
#include "server/fleets.h"
#include "server/rollouts.h"
#include "server/shapes.h"

struct record {
        char *digest, *fleet, *source, *commit, *apps;
        int64_t bytes;
        msec_t created_at;
        struct revision *decoded; /* or NULL */
};

struct revisions {
        struct table *all; /* digest -> struct record, oldest first */
};

static void record_destroy(void *p) {
        struct record *r = p;
        free(r->digest);
        free(r->fleet);
        free(r->source);
        free(r->commit);
        free(r->apps);
        revision_free(r->decoded);
        free(r);
}

static struct record *record_new(struct revisions *rs, const char *digest) {
        struct record *r = NEW(struct record);
        r->digest = copy_text(digest);
        must_do(table_set(rs->all, digest, r));
        return r;
}

void revisions_add(struct control *c, const struct revision_about *about, struct revision *decoded) {
        struct record *r = table_get(c->revisions->all, about->digest);
        if (!r) {
                r = record_new(c->revisions, about->digest);
                r->fleet = copy_text(about->fleet);
                r->source = copy_text(about->source);
                r->commit = copy_text(about->commit);
                r->apps = copy_text(about->apps);
                r->bytes = about->bytes;
                r->created_at = control_now(c);
                turns_write(
                        c->turns,
                        "INSERT INTO revisions (digest, fleet, source, commit_id, bytes, apps, created_at) "
                        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) DO NOTHING",
                        "ssssisi", r->digest, r->fleet, r->source, r->commit, r->bytes, r->apps,
                        (int64_t)r->created_at);
        }
        if (r->decoded)
                revision_free(decoded);
        else
                r->decoded = decoded;
}

bool revisions_have(const struct control *c, const char *digest) {
        return digest && table_get(c->revisions->all, digest);
}

const struct revision *revisions_decoded(struct control *c, const char *digest) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *text = NULL;
        struct record *r = digest ? table_get(c->revisions->all, digest) : NULL;
        size_t len = 0;
        if (!r || r->decoded)
                return r ? r->decoded : NULL;
        if (object_store_read(c->objects, digest, REVISION_MAX, &text, &len, &err) < 0 ||
            revision_decode(text, len, &r->decoded, &err) < 0) {
                log_error("a revision cannot be read; a commit that makes it again mends this", "revision",
                          digest, "error", err_message(err), NULL);
                return NULL;
        }
        return r->decoded;
}

void revisions_trim(struct control *c) {
        _cleanup_(table_freep) struct table *used = must(table_new(NULL));
        struct fleet *f;
        for (size_t i = 0; fleets_next(c, &i, &f);) {
                if (fleet_desired(f))
                        must_do(table_set(used, fleet_desired(f)->revision, f));
                if (fleet_stable(f))
                        must_do(table_set(used, fleet_stable(f)->revision, f));
        }
        const char *digest;
        void *value;
        for (size_t i = 0; table_next(c->revisions->all, &i, &digest, &value);) {
                struct record *r = value;
                if (r->decoded && !table_get(used, digest) && !rollouts_use_revision(c, digest))
                        r->decoded = revision_free(r->decoded);
        }
}

void revisions_forget(struct control *c, msec_t before, struct table *kept) {
        const char *digest;
        void *value;
        for (size_t i = 0; table_next(c->revisions->all, &i, &digest, &value);) {
                const struct record *r = value;
                if (table_get(kept, digest) || r->created_at >= before) {
                        must_do(table_set(kept, digest, kept));
                        continue;
                }
                turns_write(c->turns, "DELETE FROM revisions WHERE digest = $1", "s", digest);
                table_remove(c->revisions->all, digest);
        }
}

static json_t *record_json(const struct record *r, json_t *spec) {
        json_t *metadata = json_object_new(), *status = json_object_new(), *apps = NULL;
        json_put(metadata, "name", json_text(r->digest));
        json_put(metadata, "createdAt", json_time(r->created_at));
        json_put(status, "fleet", json_text(r->fleet));
        json_put(status, "source", json_text(r->source));
        json_put(status, "commit", json_text(r->commit));
        json_put(status, "bytes", json_number(r->bytes));
        if (json_decode(r->apps, strlen(r->apps), &apps, NULL) < 0)
                apps = json_array_new();
        json_put(status, "apps", apps);
        return shape("Revision", metadata, spec, status);
}

json_t *revisions_json(const struct control *c, const char *fleet) {
        json_t *list = json_array_new();
        const char *digest;
        void *value;
        for (size_t i = 0; table_next(c->revisions->all, &i, &digest, &value);) {
                const struct record *r = value;
                if (!fleet || str_eq(fleet, r->fleet))
                        must_do(json_array_insert_new(list, 0, record_json(r, NULL)));
        }
        return list;
}

json_t *revisions_one_json(struct control *c, const char *digest) {
        struct record *found = table_get(c->revisions->all, digest);
        const char *key;
        void *value;
        for (size_t i = 0;
             !found && strlen(digest) >= 8 && table_next(c->revisions->all, &i, &key, &value);) {
                struct record *r = value;
                const char *other;
                void *later;
                if (!str_has_prefix(key, digest))
                        continue;
                found = r;
                for (size_t k = i; table_next(c->revisions->all, &k, &other, &later);)
                        if (str_has_prefix(other, digest))
                                return NULL; /* fits two */
        }
        if (!found)
                return NULL;
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        json_t *spec = NULL;
        if (object_store_read(c->objects, found->digest, REVISION_MAX, &text, &len, NULL) < 0 ||
            json_decode(text, len, &spec, NULL) < 0)
                spec = json_object_new();
        return record_json(found, spec);
}

int revisions_open(struct control *c, struct err **err) {
        _cleanup_(db_rows_freep) struct db_rows *rows = NULL;
        c->revisions = NEW(struct revisions);
        c->revisions->all = must(table_new(record_destroy));
        int r = db_query_now(
                c->db, &rows, err,
                "SELECT digest, fleet, source, commit_id, bytes, apps, created_at FROM revisions "
                "ORDER BY created_at, digest",
                "");
        if (r < 0)
                return r;
        for (size_t i = 0; i < db_rows_len(rows); i++) {
                struct record *record = record_new(c->revisions, db_text(rows, i, 0));
                record->fleet = copy_text(db_text(rows, i, 1));
                record->source = copy_text(db_text(rows, i, 2));
                record->commit = copy_text(db_text(rows, i, 3));
                record->bytes = db_int(rows, i, 4);
                record->apps = copy_text(db_text(rows, i, 5));
                record->created_at = db_int(rows, i, 6);
        }
        return 0;
}

struct revisions *revisions_free(struct revisions *r) {
        if (!r)
                return NULL;
        table_free(r->all);
        free(r);
        return NULL;
}
