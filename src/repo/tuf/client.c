/* SPDX-License-Identifier: Apache-2.0 */
/* The workflow of specification section 5. Numbers in comments are its steps. */
#include "repo/tuf/client.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "repo/tuf/search.h"

/* What the client waits for. */
enum stage { STAGE_IDLE, STAGE_ROOT, STAGE_TIMESTAMP, STAGE_SNAPSHOT, STAGE_TARGETS, STAGE_SEARCH, STAGES };

/* Which stage may follow which: bits. */
static const unsigned may_follow[STAGES] = {
        [STAGE_IDLE] = 1u << STAGE_ROOT | 1u << STAGE_SEARCH | 1u << STAGE_IDLE | 1u << STAGE_TIMESTAMP,
        [STAGE_ROOT] = 1u << STAGE_ROOT | 1u << STAGE_TIMESTAMP | 1u << STAGE_IDLE,
        [STAGE_TIMESTAMP] = 1u << STAGE_SNAPSHOT | 1u << STAGE_IDLE,
        [STAGE_SNAPSHOT] = 1u << STAGE_TARGETS | 1u << STAGE_IDLE,
        [STAGE_TARGETS] = 1u << STAGE_IDLE,
        [STAGE_SEARCH] = 1u << STAGE_SEARCH | 1u << STAGE_IDLE,
};

struct tuf_client {
        struct tuf_trusted trusted; /* what was verified; its `now_s` holds for a whole refresh */
        enum stage stage;
        unsigned rotations; /* roots taken in this refresh */
        bool ready;         /* the last refresh succeeded */
        bool stored_only;
        struct tuf_search search;
        struct tuf_need need;
        char *need_path;
        int result;
        struct err *error;
        struct tuf_target found; /* members of its own, below */
        char *found_path, *found_sha512, *found_role;
        json_t *found_custom;
};

static void set_stage(struct tuf_client *c, enum stage next) {
        if (!(may_follow[c->stage] & 1u << next))
                abort(); /* a mistake of ours: no peer chooses stages */
        c->stage = next;
        if (next == STAGE_IDLE) {
                free(c->need_path);
                c->need_path = NULL;
        }
}

/* Ends what was begun. Takes the error over. */
static void finish(struct tuf_client *c, int result, struct err *error) {
        set_stage(c, STAGE_IDLE);
        err_free(c->error);
        c->result = result;
        c->error = error;
}

static void clear_found(struct tuf_client *c) {
        free(c->found_path);
        free(c->found_sha512);
        free(c->found_role);
        json_decref(c->found_custom);
        c->found_path = c->found_sha512 = c->found_role = NULL;
        c->found_custom = NULL;
        c->found = (struct tuf_target){0};
}

/* ---- Beginning */

int tuf_client_new(const struct tuf_store *store, const char *trusted_root, size_t len,
                   struct tuf_client **ret, struct err **err) {
        _cleanup_(tuf_client_freep) struct tuf_client *c = calloc(1, sizeof(*c));
        if (!c)
                return err_set_errno(err, ENOMEM, "make TUF client");
        int r = tuf_trusted_init(&c->trusted, store, trusted_root, len, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

struct tuf_client *tuf_client_free(struct tuf_client *c) {
        if (c) {
                tuf_trusted_done(&c->trusted);
                tuf_search_done(&c->search);
                clear_found(c);
                err_free(c->error);
                free(c->need_path);
                free(c);
        }
        return NULL;
}

/* ---- Asking */

/* Asks for a file; path is taken over. Without a network the wish ends what was begun. */
static void ask(struct tuf_client *c, enum stage stage, char *path, size_t max_bytes, bool optional) {
        struct err *error = NULL;
        free(c->need_path);
        c->need_path = path;
        if (!path) {
                finish(c, err_set_errno(&error, ENOMEM, "read repository"), error);
                return;
        }
        if (c->stored_only) {
                (void)err_set(&error, ENODATA, "%s is not stored here: refresh from the repository first",
                              path);
                finish(c, -ENODATA, error);
                return;
        }
        set_stage(c, stage);
        c->need = (struct tuf_need){.path = path, .max_bytes = max_bytes, .optional = optional};
}

/* What tuf_trusted_...() lacks. */
static void ask_for_lack(struct tuf_client *c, enum stage stage) {
        ask(c, stage, TAKE_PTR(c->trusted.lack_path), c->trusted.lack_max, false);
}

static void ask_root(struct tuf_client *c) {
        struct err *error = NULL;
        if (c->rotations >= TUF_ROOT_ROTATIONS_MAX) {
                (void)err_set(&error, ELOOP,
                              "took %d new roots at once, and there are more: refresh again to go on",
                              TUF_ROOT_ROTATIONS_MAX);
                finish(c, -ELOOP, error);
                return;
        }
        ask(c, STAGE_ROOT, str_format("metadata/%lld.root.json", (long long)c->trusted.root.m->version + 1),
            TUF_ROOT_MAX, true);
}

static void go_to_targets(struct tuf_client *c) {
        struct err *error = NULL;
        int r = tuf_trusted_role(&c->trusted, "targets", NULL, &error);
        if (r == TUF_LACKS)
                ask_for_lack(c, STAGE_TARGETS);
        else {
                c->ready = r >= 0;
                finish(c, MIN(r, 0), error);
        }
}

static void go_to_snapshot(struct tuf_client *c) {
        struct err *error = NULL;
        int r = tuf_trusted_snapshot(&c->trusted, &error);
        if (r == TUF_LACKS)
                ask_for_lack(c, STAGE_SNAPSHOT);
        else if (r < 0)
                finish(c, r, error);
        else {
                set_stage(c, STAGE_SNAPSHOT);
                go_to_targets(c);
        }
}

/* 5.3.10 comes first: what an expired root says of other roles counts for nothing. */
static void go_to_timestamp(struct tuf_client *c) {
        struct err *error = NULL;
        int r = tuf_trusted_root_is_fresh(&c->trusted, &error);
        if (r < 0) {
                finish(c, r, error);
                return;
        }
        tuf_trusted_load_timestamp(&c->trusted);
        if (!c->stored_only) {
                ask(c, STAGE_TIMESTAMP, str_dup("metadata/timestamp.json"), TUF_TIMESTAMP_MAX, false);
                return;
        }
        set_stage(c, STAGE_TIMESTAMP);
        if (!c->trusted.timestamp.m) {
                ask(c, STAGE_IDLE, str_dup("metadata/timestamp.json"), TUF_TIMESTAMP_MAX, false);
                return;
        }
        r = tuf_trusted_timestamp_is_fresh(&c->trusted, &error);
        if (r < 0)
                finish(c, r, error);
        else
                go_to_snapshot(c);
}

static void begin(struct tuf_client *c) {
        struct err *none = NULL;
        finish(c, 0, none); /* what was under way is given up */
        clear_found(c);
        tuf_search_done(&c->search);
}

void tuf_client_refresh(struct tuf_client *c, int64_t now_s) {
        begin(c);
        c->ready = c->stored_only = false;
        c->rotations = 0;
        c->trusted.now_s = now_s;
        ask_root(c);
}

void tuf_client_resume(struct tuf_client *c, int64_t now_s) {
        begin(c);
        c->ready = false;
        c->stored_only = true;
        c->trusted.now_s = now_s;
        go_to_timestamp(c);
}

/* ---- Searching */

static int keep_found(struct tuf_client *c, const struct tuf_target *t, struct err **err) {
        c->found = *t;
        c->found.path = c->found_path = str_dup(t->path);
        c->found.role = c->found_role = str_dup(t->role);
        c->found.sha512 = c->found_sha512 = t->sha512 ? str_dup(t->sha512) : NULL;
        c->found.custom = c->found_custom = json_incref((json_t *)t->custom);
        if (!c->found_path || !c->found_role || (t->sha512 && !c->found_sha512)) {
                clear_found(c);
                return err_set_errno(err, ENOMEM, "find target");
        }
        return 0;
}

static void go_on_searching(struct tuf_client *c) {
        struct err *error = NULL;
        struct tuf_target t;
        int r = tuf_search_run(&c->search, &c->trusted, &t, &error);
        if (r == TUF_LACKS) {
                ask_for_lack(c, STAGE_SEARCH);
                return;
        }
        if (r == -ENOENT && !c->search.path)
                r = 0; /* all roles were visited, which was the wish */
        else if (r >= 0)
                r = keep_found(c, &t, &error);
        finish(c, r, error);
}

static void begin_search(struct tuf_client *c, const char *target_path) {
        struct err *error = NULL;
        begin(c);
        int r = c->ready
                        ? 0
                        : err_set(&error, EINVAL, "the repository's metadata is not verified: refresh first");
        if (r == 0)
                r = tuf_search_init(&c->search, target_path, &error);
        if (r < 0)
                finish(c, r, error);
        else
                go_on_searching(c);
}

void tuf_client_find(struct tuf_client *c, const char *target_path) {
        begin_search(c, target_path);
}

void tuf_client_load_all(struct tuf_client *c) {
        begin_search(c, NULL);
}

/* ---- Answers */

const struct tuf_need *tuf_client_need(struct tuf_client *c) {
        return c->stage == STAGE_IDLE ? NULL : &c->need;
}

void tuf_client_give(struct tuf_client *c, const char *data, size_t len) {
        struct err *error = NULL;
        int r = 0;
        if (c->stage == STAGE_IDLE)
                return;
        if (len > c->need.max_bytes) {
                r = err_set(&error, EFBIG, "%s is longer than %zu bytes", c->need.path, c->need.max_bytes);
                finish(c, r, error);
                return;
        }
        switch (c->stage) {
        case STAGE_ROOT: r = tuf_trusted_take_root(&c->trusted, data, len, &error); break;
        case STAGE_TIMESTAMP: r = tuf_trusted_take_timestamp(&c->trusted, data, len, &error); break;
        case STAGE_SNAPSHOT: r = tuf_trusted_take_snapshot(&c->trusted, data, len, &error); break;
        case STAGE_TARGETS:
        case STAGE_SEARCH: r = tuf_trusted_take_role(&c->trusted, data, len, &error); break;
        default: break;
        }
        if (r < 0) {
                finish(c, r, error);
                return;
        }
        switch (c->stage) {
        case STAGE_ROOT:
                c->rotations++;
                ask_root(c);
                break;
        case STAGE_TIMESTAMP: go_to_snapshot(c); break;
        case STAGE_SNAPSHOT: go_to_targets(c); break;
        case STAGE_TARGETS:
                c->ready = true;
                finish(c, 0, NULL);
                break;
        case STAGE_SEARCH: go_on_searching(c); break;
        default: break;
        }
}

void tuf_client_missing(struct tuf_client *c) {
        struct err *error = NULL;
        if (c->stage == STAGE_ROOT) {
                go_to_timestamp(c);
        } else if (c->stage != STAGE_IDLE) {
                (void)err_set(&error, ENODATA,
                              "the repository has no %s: is the address right, and is its upload complete?",
                              c->need.path);
                finish(c, -ENODATA, error);
        }
}

void tuf_client_abandon(struct tuf_client *c, int code, const char *message) {
        struct err *error = NULL;
        if (c->stage == STAGE_IDLE)
                return;
        int r = err_set(&error,
                        code < 0   ? -code
                        : code > 0 ? code
                                   : EIO,
                        "get %s: %s", c->need.path, message ? message : "failed");
        finish(c, r, error);
}

int tuf_client_result(struct tuf_client *c, struct err **err) {
        if (c->stage != STAGE_IDLE)
                return err_set(err, EAGAIN, "%s is still needed", c->need.path);
        if (c->result < 0)
                (void)err_set(err, -c->result, "%s", err_message(c->error));
        return c->result;
}

/* ---- What is known */

const struct tuf_target *tuf_client_found(const struct tuf_client *c) {
        return c->found.path ? &c->found : NULL;
}

int tuf_client_each(const struct tuf_client *c, int (*fn)(void *arg, const struct tuf_target *t), void *arg) {
        /* Signatures that are checked on the way are remembered, which nobody sees from outside. */
        return c->ready ? tuf_trusted_each((struct tuf_trusted *)&c->trusted, fn, arg) : 0;
}

void tuf_client_versions(const struct tuf_client *c, struct tuf_versions *ret) {
        const struct tuf_trusted *t = &c->trusted;
        const struct tuf_held *targets = tuf_trusted_held(t, "targets");
        *ret = (struct tuf_versions){
                .root = t->root.m->version,
                .timestamp = t->timestamp.m ? t->timestamp.m->version : 0,
                .snapshot = t->snapshot.m ? t->snapshot.m->version : 0,
                .targets = targets ? targets->m->version : 0,
                .timestamp_expires_s = t->timestamp.m ? t->timestamp.m->expires_s : 0,
        };
}

char *tuf_client_target_file(const struct tuf_client *c, const struct tuf_target *t) {
        const char *digest = t->sha256[0] ? t->sha256 : t->sha512;
        if (!digest)
                return NULL;
        if (!c->trusted.root.m->consistent_snapshot)
                return str_format("targets/%s", t->path);
        const char *slash = strrchr(t->path, '/');
        int folder = slash ? (int)(slash - t->path + 1) : 0;
        return str_format("targets/%.*s%s.%s", folder, t->path, digest, t->path + folder);
}
