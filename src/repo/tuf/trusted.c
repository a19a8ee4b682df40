/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in comments are steps of specification section 5. */
#include "repo/tuf/trusted.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/tuf/search.h"

/* ---- Held metadata */

static void held_clear(struct tuf_held *h) {
        free(h->name);
        tuf_metadata_free(h->m);
        table_free(h->verified_by);
        *h = (struct tuf_held){0};
}

static void held_destroy(void *p) {
        held_clear(p);
        free(p);
}

/* A cleanup for what was parsed and did not become trusted. */
static void held_drop(struct tuf_held *h) {
        held_clear(h);
}

static int held_parse(struct tuf_held *h, enum tuf_type type, const char *role, const char *data, size_t len,
                      struct err **err) {
        int r = tuf_metadata_parse(type, data, len, &h->m, err);
        if (r < 0)
                return err_wrap_code(err, r, "%s metadata", role);
        h->name = str_dup(role);
        h->verified_by = table_new(NULL);
        if (!h->name || !h->verified_by)
                return err_set_errno(err, ENOMEM, "read %s", role);
        h->length = (int64_t)len;
        sha256_hex(data, len, h->sha256);
        sha512_hex(data, len, h->sha512);
        return 0;
}

static char *stored_name(const char *role) {
        _cleanup_(x_freep) char *quoted = tuf_role_quote(role);
        return quoted ? str_format("%s.json", quoted) : NULL;
}

static int load(struct tuf_trusted *t, enum tuf_type type, const char *role, struct tuf_held *ret) {
        _cleanup_(x_freep) char *name = stored_name(role), *data = NULL;
        size_t len = 0;
        int r = name ? t->store.load(t->store.arg, name, &data, &len) : -ENOMEM;
        if (r < 0)
                return r;
        r = held_parse(ret, type, role, data, len, NULL);
        if (r < 0)
                held_clear(ret);
        return r;
}

static int save(struct tuf_trusted *t, const char *role, const char *data, size_t len, struct err **err) {
        _cleanup_(x_freep) char *name = stored_name(role);
        int r = name ? t->store.save(t->store.arg, name, data, len, err) : -ENOMEM;
        return r < 0 ? err_wrap_code(err, r, "store %s metadata", role) : 0;
}

static void forget(struct tuf_trusted *t, const char *role) {
        _cleanup_(x_freep) char *name = stored_name(role);
        if (name)
                (void)t->store.remove(t->store.arg, name);
}

static int check_fresh(const struct tuf_trusted *t, const struct tuf_held *h, struct err **err) {
        char text[TUF_TIME_SIZE];
        if (h->m->expires_s > t->now_s)
                return 0;
        return err_set(err, ETIMEDOUT,
                       "%s version %lld expired at %s: its publisher has not renewed it, a mirror is frozen, "
                       "or this "
                       "machine's clock is wrong",
                       h->name, (long long)h->m->version, tuf_time_format(h->m->expires_s, text));
}

/* Length, hashes and version, as far as the referrer lists them. */
static int check_file(const struct tuf_held *h, const struct tuf_file *file, const char *referrer,
                      struct err **err) {
        if (file->length >= 0 && file->length != h->length)
                return err_set(err, EBADMSG, "%s has %lld bytes, and %s lists %lld", h->name,
                               (long long)h->length, referrer, (long long)file->length);
        if ((file->has_hashes && !file->sha256 && !file->sha512) ||
            (file->sha256 && !str_eq(file->sha256, h->sha256)) ||
            (file->sha512 && !str_eq(file->sha512, h->sha512)))
                return err_set(err, EBADMSG,
                               "%s does not have the digest that %s lists: it was changed on the way, or an "
                               "upload is "
                               "under way",
                               h->name, referrer);
        if (file->version != h->m->version)
                return err_set(err, EBADMSG, "%s is version %lld, and %s lists %lld", h->name,
                               (long long)h->m->version, referrer, (long long)file->version);
        return 0;
}

/* Says what is needed. */
static int lack(struct tuf_trusted *t, const char *role, const struct tuf_file *file, size_t max,
                struct err **err) {
        _cleanup_(x_freep) char *quoted = tuf_role_quote(role);
        free(t->lack_path);
        t->lack_path = NULL;
        if (quoted)
                t->lack_path = t->root.m->consistent_snapshot
                                       ? str_format("metadata/%lld.%s.json", (long long)file->version, quoted)
                                       : str_format("metadata/%s.json", quoted);
        if (!t->lack_path)
                return err_set_errno(err, ENOMEM, "read %s", role);
        t->lack_max = file->length >= 0 && (uint64_t)file->length < max ? (size_t)file->length : max;
        return TUF_LACKS;
}

/* ---- Root */

static int verify_root(const struct tuf_metadata *m, const struct tuf_metadata *by, struct err **err) {
        return tuf_metadata_verify(m, "root", by, &by->roles[TUF_ROOT], err);
}

/* A root to begin with: nobody vouches for it but its own keys. */
static int check_first_root(struct tuf_held *h, struct err **err) {
        return verify_root(h->m, h->m, err);
}

int tuf_trusted_init(struct tuf_trusted *t, const struct tuf_store *store, const char *root, size_t len,
                     struct err **err) {
        _cleanup_(held_drop) struct tuf_held given = {0}, stored = {0};
        *t = (struct tuf_trusted){.store = *store, .roles = table_new(held_destroy)};
        if (!t->roles)
                return err_set_errno(err, ENOMEM, "make TUF client");
        int r = load(t, TUF_ROOT, "root", &stored);
        if (r >= 0 && check_first_root(&stored, NULL) < 0)
                held_clear(&stored);
        if (root) {
                r = held_parse(&given, TUF_ROOT, "root", root, len, err);
                if (r >= 0)
                        r = check_first_root(&given, err);
                if (r < 0 && !stored.m)
                        return err_wrap_code(err, r, "the root to begin with");
                if (r < 0) {
                        held_clear(&given); /* the one that came by its chain is as good as ever */
                        if (err)
                                *err = err_free(*err);
                }
        }
        if (!stored.m && !given.m)
                return err_set(
                        err, ENOKEY,
                        "no trusted root is stored, or it is damaged: give the repository's root.json");
        /* A given root that is newer is the operator's word; the stored chain need not lead to it. */
        if (given.m && (!stored.m || given.m->version > stored.m->version)) {
                r = save(t, "root", root, len, err);
                if (r < 0)
                        return r;
                t->root = given;
                given = (struct tuf_held){0};
                return 0;
        }
        t->root = stored;
        stored = (struct tuf_held){0};
        return 0;
}

void tuf_trusted_done(struct tuf_trusted *t) {
        held_clear(&t->root);
        held_clear(&t->timestamp);
        held_clear(&t->snapshot);
        table_free(t->roles);
        free(t->lack_path);
        free(t->lack_role);
        free(t->lack_delegator);
        *t = (struct tuf_trusted){0};
}

/* Is there a key of the old role that the new one has no more? */
static bool lost_key(const struct tuf_role *old, const struct tuf_role *new) {
        for (size_t i = 0; i < old->n_key_ids; i++) {
                size_t k = 0;
                while (k < new->n_key_ids && !str_eq(old->key_ids[i], new->key_ids[k]))
                        k++;
                if (k == new->n_key_ids)
                        return true;
        }
        return false;
}

int tuf_trusted_take_root(struct tuf_trusted *t, const char *data, size_t len, struct err **err) {
        _cleanup_(held_drop) struct tuf_held new = {0};
        const struct tuf_metadata *old = t->root.m;
        int r = held_parse(&new, TUF_ROOT, "root", data, len, err);
        /* 5.3.4: by the keys of both. */
        if (r < 0 || (r = verify_root(new.m, old, err)) < 0 || (r = verify_root(new.m, new.m, err)) < 0)
                return r;
        if (new.m->version != old->version + 1) /* 5.3.5 */
                return err_set(err, new.m->version <= old->version ? ESTALE : EBADMSG,
                               "root version %lld was given as version %lld", (long long)new.m->version,
                               (long long)old->version + 1);
        /* 5.3.11, here and not after the last root: the trusted root that is stored must never stand beside a
         * timestamp or snapshot that it is meant to make good again, wherever we are interrupted. */
        if (lost_key(&old->roles[TUF_TIMESTAMP], &new.m->roles[TUF_TIMESTAMP]) ||
            lost_key(&old->roles[TUF_SNAPSHOT], &new.m->roles[TUF_SNAPSHOT])) {
                forget(t, "timestamp");
                forget(t, "snapshot");
                held_clear(&t->timestamp);
                held_clear(&t->snapshot);
        }
        r = save(t, "root", data, len, err); /* 5.3.8 */
        if (r < 0)
                return r;
        held_clear(&t->root);
        t->root = new;
        new = (struct tuf_held){0};
        return 0;
}

int tuf_trusted_root_is_fresh(const struct tuf_trusted *t, struct err **err) {
        return check_fresh(t, &t->root, err);
}

/* ---- Timestamp */

static int verify_by_root(const struct tuf_trusted *t, const struct tuf_held *h, enum tuf_type type,
                          struct err **err) {
        return tuf_metadata_verify(h->m, h->name, t->root.m, &t->root.m->roles[type], err);
}

void tuf_trusted_load_timestamp(struct tuf_trusted *t) {
        if (!t->timestamp.m && load(t, TUF_TIMESTAMP, "timestamp", &t->timestamp) == -ENOENT)
                return;
        if (t->timestamp.m && verify_by_root(t, &t->timestamp, TUF_TIMESTAMP, NULL) >= 0)
                return;
        held_clear(&t->timestamp);
        forget(t, "timestamp");
}

int tuf_trusted_timestamp_is_fresh(const struct tuf_trusted *t, struct err **err) {
        return check_fresh(t, &t->timestamp, err);
}

static int refuse_older(const char *name, int64_t new, int64_t old, struct err **err) {
        return err_set(
                err, ESTALE,
                "%s went back from version %lld to %lld: a mirror serves old files, or somebody attacks; if "
                "the repository was restored, its publisher must rotate the timestamp and snapshot keys",
                name, (long long)old, (long long)new);
}

int tuf_trusted_take_timestamp(struct tuf_trusted *t, const char *data, size_t len, struct err **err) {
        _cleanup_(held_drop) struct tuf_held new = {0};
        struct tuf_file file = {0}, old_file = {0};
        int r = held_parse(&new, TUF_TIMESTAMP, "timestamp", data, len, err);
        if (r < 0 || (r = verify_by_root(t, &new, TUF_TIMESTAMP, err)) < 0) /* 5.4.2 */
                return r;
        const struct tuf_metadata *old = t->timestamp.m;
        if (old && new.m->version < old->version) /* 5.4.3.1 */
                return refuse_older("timestamp", new.m->version, old->version, err);
        if (old && new.m->version == old->version) /* nothing new, which is no error; a freeze may be */
                return check_fresh(t, &t->timestamp, err);
        if (!tuf_metadata_file(new.m, "snapshot.json", &file))
                return err_set(err, EINVAL, "timestamp metadata: snapshot.json is not listed");
        if (old && tuf_metadata_file(old, "snapshot.json", &old_file) && file.version < old_file.version)
                return refuse_older("snapshot", file.version, old_file.version, err); /* 5.4.3.2 */
        if ((r = check_fresh(t, &new, err)) < 0 ||                                    /* 5.4.4 */
            (r = save(t, "timestamp", data, len, err)) < 0)                           /* 5.4.5 */
                return r;
        held_clear(&t->timestamp);
        t->timestamp = new;
        new = (struct tuf_held){0};
        return 0;
}

/* ---- Snapshot */

int tuf_trusted_snapshot(struct tuf_trusted *t, struct err **err) {
        struct tuf_file file = {0};
        if (!t->snapshot.m)
                (void)load(t, TUF_SNAPSHOT, "snapshot", &t->snapshot);
        if (t->snapshot.m && verify_by_root(t, &t->snapshot, TUF_SNAPSHOT, NULL) < 0) {
                held_clear(&t->snapshot);
                forget(t, "snapshot");
        }
        if (!tuf_metadata_file(t->timestamp.m, "snapshot.json", &file))
                return err_set(err, EINVAL, "timestamp metadata: snapshot.json is not listed");
        if (t->snapshot.m && check_file(&t->snapshot, &file, "timestamp", NULL) >= 0)
                return check_fresh(t, &t->snapshot, err);
        return lack(t, "snapshot", &file, TUF_SNAPSHOT_MAX, err);
}

/* 5.5.5: all that was listed stays listed, in no older version. */
static int check_no_rollback(const struct tuf_metadata *old, const struct tuf_metadata *new,
                             struct err **err) {
        const char *name;
        json_t *value;
        json_object_foreach (json_object_get(tuf_metadata_signed(old), "meta"), name, value) {
                struct tuf_file before = {0}, now = {0};
                if (!tuf_metadata_file(old, name, &before))
                        continue;
                if (!tuf_metadata_file(new, name, &now))
                        return err_set(err, ESTALE,
                                       "snapshot version %lld lists %s no more: roles are not taken out of "
                                       "it but by "
                                       "rotating the snapshot key",
                                       (long long)new->version, name);
                if (now.version < before.version)
                        return refuse_older(name, now.version, before.version, err);
        }
        return 0;
}

int tuf_trusted_take_snapshot(struct tuf_trusted *t, const char *data, size_t len, struct err **err) {
        _cleanup_(held_drop) struct tuf_held new = {0};
        struct tuf_file file = {0};
        int r = tuf_metadata_file(t->timestamp.m, "snapshot.json", &file) ? 0 : -EINVAL;
        if (r < 0 || (r = held_parse(&new, TUF_SNAPSHOT, "snapshot", data, len, err)) < 0 ||
            (r = check_file(&new, &file, "timestamp", err)) < 0 ||  /* 5.5.2, 5.5.4 */
            (r = verify_by_root(t, &new, TUF_SNAPSHOT, err)) < 0 || /* 5.5.3 */
            (t->snapshot.m && (r = check_no_rollback(t->snapshot.m, new.m, err)) < 0) ||
            (r = check_fresh(t, &new, err)) < 0 ||         /* 5.5.6 */
            (r = save(t, "snapshot", data, len, err)) < 0) /* 5.5.7 */
                return r;
        held_clear(&t->snapshot);
        t->snapshot = new;
        new = (struct tuf_held){0};
        return 0;
}

/* ---- Targets and delegated roles */

const struct tuf_held *tuf_trusted_held(const struct tuf_trusted *t, const char *role) {
        return table_get(t->roles, role);
}

/* Who vouches for a role now. */
struct voucher {
        const struct tuf_metadata *m;
        const struct tuf_role *role;
};

static int find_voucher(const struct tuf_trusted *t, const char *role, const char *delegator,
                        struct voucher *ret, struct err **err) {
        if (!delegator) {
                *ret = (struct voucher){t->root.m, &t->root.m->roles[TUF_TARGETS]};
                return 0;
        }
        const struct tuf_held *by = tuf_trusted_held(t, delegator);
        const struct tuf_delegation *d = by ? tuf_metadata_delegation(by->m, role) : NULL;
        if (!d)
                return err_set(err, EBADMSG, "role %s is not delegated to by %s", role, delegator);
        *ret = (struct voucher){by->m, &d->role};
        return 0;
}

static int verify_role(struct tuf_held *h, const char *delegator, const struct voucher *voucher,
                       struct err **err) {
        const char *by = delegator ? delegator : "root";
        if (table_get(h->verified_by, by))
                return 0;
        int r = tuf_metadata_verify(h->m, h->name, voucher->m, voucher->role, err);
        if (r >= 0 && table_set(h->verified_by, by, h) < 0)
                r = err_set_errno(err, ENOMEM, "verify %s", h->name);
        return r;
}

static int listed_file(const struct tuf_trusted *t, const char *role, struct tuf_file *ret,
                       struct err **err) {
        _cleanup_(x_freep) char *name = str_format("%s.json", role);
        if (!name)
                return err_set_errno(err, ENOMEM, "read %s", role);
        if (!tuf_metadata_file(t->snapshot.m, name, ret))
                return err_set(err, EBADMSG,
                               "role %s is delegated to, but snapshot version %lld does not list it", role,
                               (long long)t->snapshot.m->version);
        return 0;
}

/* Puts it in its place. What was verified by keys of the version before must be verified again. */
static int hold_role(struct tuf_trusted *t, struct tuf_held *new, struct err **err) {
        struct tuf_held *h = malloc(sizeof(*h));
        if (!h || table_set(t->roles, new->name, h) < 0) {
                free(h);
                return err_set_errno(err, ENOMEM, "read %s", new->name);
        }
        *h = *new;
        *new = (struct tuf_held){0};
        void *other;
        for (size_t i = 0; table_next(t->roles, &i, NULL, &other);) {
                struct tuf_held *o = other;
                if (o != h)
                        (void)table_remove(o->verified_by, h->name);
        }
        return 0;
}

static int want_role(struct tuf_trusted *t, const char *role, const char *delegator,
                     const struct tuf_file *file, struct err **err) {
        if (str_replace(&t->lack_role, role) < 0 || str_replace(&t->lack_delegator, delegator) < 0)
                return err_set_errno(err, ENOMEM, "read %s", role);
        return lack(t, role, file, TUF_TARGETS_MAX, err);
}

int tuf_trusted_role(struct tuf_trusted *t, const char *role, const char *delegator, struct err **err) {
        struct voucher voucher;
        struct tuf_file file = {0};
        _cleanup_(held_drop) struct tuf_held stored = {0};
        int r = find_voucher(t, role, delegator, &voucher, err);
        if (r < 0 || (r = listed_file(t, role, &file, err)) < 0)
                return r;
        struct tuf_held *h = table_get(t->roles, role);
        /* The root may have changed under the top-level role. */
        if (h && !delegator)
                (void)table_remove(h->verified_by, "root");
        if (!h && load(t, TUF_TARGETS, role, &stored) >= 0)
                h = &stored;
        if (!h || check_file(h, &file, "snapshot", NULL) < 0 || verify_role(h, delegator, &voucher, NULL) < 0)
                return want_role(t, role, delegator, &file, err);
        r = check_fresh(t, h, err);
        return r < 0 || h != &stored ? r : hold_role(t, &stored, err);
}

int tuf_trusted_take_role(struct tuf_trusted *t, const char *data, size_t len, struct err **err) {
        _cleanup_(held_drop) struct tuf_held new = {0};
        struct voucher voucher;
        struct tuf_file file = {0};
        const char *role = t->lack_role, *delegator = t->lack_delegator;
        int r = find_voucher(t, role, delegator, &voucher, err);
        if (r < 0 || (r = listed_file(t, role, &file, err)) < 0 ||
            (r = held_parse(&new, TUF_TARGETS, role, data, len, err)) < 0 ||
            (r = check_file(&new, &file, "snapshot", err)) < 0 ||    /* 5.6.2, 5.6.4 */
            (r = verify_role(&new, delegator, &voucher, err)) < 0 || /* 5.6.3 */
            (r = check_fresh(t, &new, err)) < 0 ||                   /* 5.6.5 */
            (r = save(t, role, data, len, err)) < 0)                 /* 5.6.6 */
                return r;
        return hold_role(t, &new, err);
}

/* ---- Listing */

struct listing {
        struct tuf_trusted *t;
        struct table *seen;
        int (*fn)(void *arg, const struct tuf_target *target);
        void *arg;
};

/* A role lists what it likes; what counts is what a search for the path finds. */
static int list_target(void *arg, const struct tuf_target *listed) {
        struct listing *l = arg;
        struct tuf_search search;
        struct tuf_target found;
        if (table_get(l->seen, listed->path))
                return 0;
        int r = table_set(l->seen, listed->path, l);
        if (r < 0 || (r = tuf_search_init(&search, listed->path, NULL)) < 0)
                return r;
        r = tuf_search_run(&search, l->t, &found, NULL);
        tuf_search_done(&search);
        /* Whatever stands in the way (another role's keys, a role not loaded) stands in the way of a search,
         * too. */
        return r == -ENOMEM ? r : r == 0 ? l->fn(l->arg, &found) : 0;
}

int tuf_trusted_each(struct tuf_trusted *t, int (*fn)(void *arg, const struct tuf_target *target),
                     void *arg) {
        _cleanup_(table_freep) struct table *seen = table_new(NULL);
        _cleanup_(strv_freep) char **roles = NULL;
        struct listing l = {t, seen, fn, arg};
        const char *name;
        int r = seen ? 0 : -ENOMEM;
        for (size_t i = 0; r == 0 && table_next(t->roles, &i, &name, NULL);)
                r = strv_push(&roles, name);
        for (char **role = roles; r == 0 && role && *role; role++)
                r = tuf_metadata_each_target(tuf_trusted_held(t, *role)->m, list_target, &l);
        return r;
}
