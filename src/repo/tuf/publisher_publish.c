/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing, of repo/tuf/publisher.h. All is signed and checked in memory first. Then files nobody knows of
 * yet are written, and the one or two that readers begin with are replaced last. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/tuf/publisher_internal.h"

/* Old versions that stay, for readers in the midst of a refresh. Roots stay for ever. */
#define VERSIONS_KEPT 16

struct release {                       /* what is about to be public */
        char **roles;                  /* that are new, without snapshot and timestamp */
        struct tuf_metadata *snapshot; /* NULL: the published one stays */
        struct tuf_metadata *timestamp;
        bool root_last;
};

static void release_done(struct release *r) {
        strv_free(r->roles);
        tuf_metadata_free(r->snapshot);
        tuf_metadata_free(r->timestamp);
}

static int64_t highest(const struct tuf_publisher *p, const char *role) {
        const int64_t *known = table_get(p->highest, role);
        const struct tuf_metadata *published = table_get(p->published, role);
        int64_t version = published ? published->version : 0;
        return known ? MAX(*known, version) : version;
}

/* ---- Checking */

static int not_signed(struct tuf_publisher *p, const char *role, const struct tuf_metadata *m,
                      struct err **err) {
        _cleanup_(strv_freep) char **ids = NULL;
        _cleanup_(buf_done) struct buf missing = BUF_INIT;
        _cleanup_(err_freep) struct err *why = NULL;
        int r = publisher_check_ready(p, role, m, &why);
        if (r >= 0 || r == -ENOMEM)
                return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
        if (publisher_useful_keys(p, role, &ids, NULL) >= 0)
                for (char **id = ids; id && *id; id++)
                        if (!tuf_metadata_signature(m, *id))
                                buf_printf(&missing, "%s%s", missing.len ? ", " : "",
                                           publisher_key_name(p, *id));
        return err_set(
                err, ENOKEY,
                "%s; keys that have not signed: %s. For one under a passphrase give --passphrase-file; for "
                "one that is elsewhere 'skerry repo prepare %s', sign there, 'skerry repo submit'",
                err_message(why), missing.len ? buf_str(&missing) : "none (add one by 'skerry repo rotate')",
                role);
}

/* Every role, staged or not, must fit what will vouch for it. */
static int check_roles(struct tuf_publisher *p, struct release *release, struct err **err) {
        _cleanup_(strv_freep) char **roles = NULL;
        int r = publisher_roles(p, &roles, err);
        for (char **role = roles; r >= 0 && role && *role; role++) {
                const struct tuf_metadata *staged = table_get(p->staged, *role);
                const struct tuf_metadata *published = table_get(p->published, *role);
                const struct tuf_metadata *m = staged ? staged : published;
                if (!m)
                        return err_set(err, ENOENT, "role %s is delegated to, but nothing of it is staged",
                                       *role);
                if (staged && published && staged->version <= published->version)
                        return err_set(err, ESTALE,
                                       "staged version %lld of role %s is not newer than the published %lld: "
                                       "drop it "
                                       "('skerry repo sign --discard %s') and edit again",
                                       (long long)staged->version, *role, (long long)published->version,
                                       *role);
                if (staged && str_eq(*role, "root") && staged->version != highest(p, "root") + 1)
                        return err_set(err, ESTALE, "the staged root is version %lld, and %lld is next",
                                       (long long)staged->version, (long long)highest(p, "root") + 1);
                if (m->expires_s <= publisher_now_s(p))
                        return err_set(
                                err, ETIMEDOUT,
                                "role %s version %lld has expired: 'skerry repo sign --renew %s' makes a new "
                                "version",
                                *role, (long long)m->version, *role);
                r = not_signed(p, *role, m, err);
                if (r >= 0 && staged && strv_push(&release->roles, *role) < 0)
                        r = err_set_errno(err, ENOMEM, "publish");
        }
        return r;
}

/* ---- Snapshot and timestamp */

static int put_file(json_t *meta, const char *role, const struct tuf_metadata *m, struct err **err) {
        _cleanup_(x_freep) char *data = NULL, *name = str_format("%s.json", role);
        char digest[SHA256_HEX_SIZE];
        size_t len = 0;
        int r = tuf_metadata_serialise(m, &data, &len, err);
        if (r < 0)
                return r;
        sha256_hex(data, len, digest);
        if (!name ||
            json_object_set_new(meta, name,
                                json_pack("{s:I, s:I, s:{s:s}}", "version", (json_int_t)m->version, "length",
                                          (json_int_t)len, "hashes", "sha256", digest)) < 0)
                return err_set_errno(err, ENOMEM, "publish");
        return 0;
}

/* Signs and checks one of the two. Takes meta over. */
static int make_online(struct tuf_publisher *p, const char *role, json_t *meta, struct tuf_metadata **ret,
                       struct err **err) {
        char text[TUF_TIME_SIZE];
        _cleanup_json_ json_t *document =
                json_pack("{s:[], s:{s:s, s:s, s:I, s:s, s:o}}", "signatures", "signed", "_type", role,
                          "spec_version", TUF_SPEC_VERSION, "version", (json_int_t)highest(p, role) + 1,
                          "expires", tuf_time_format(publisher_expires(p, role), text), "meta", meta);
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL;
        size_t made = 0;
        if (!document)
                return err_set_errno(err, ENOMEM, "publish");
        int r = publisher_sign_document(p, role, document, NULL, 0, &made, err);
        if (r < 0 || (r = tuf_metadata_from_json(publisher_type(role), document, &m, err)) < 0 ||
            (r = not_signed(p, role, m, err)) < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

static bool snapshot_can_stay(const struct tuf_publisher *p, const struct release *release) {
        const struct tuf_metadata *old = table_get(p->published, "snapshot");
        const struct tuf_metadata *root = publisher_effective(p, "root");
        if (!old || tuf_metadata_verify(old, "snapshot", root, &root->roles[TUF_SNAPSHOT], NULL) < 0)
                return false;
        for (char **role = release->roles; role && *role; role++)
                if (!str_eq(*role, "root"))
                        return false;
        int64_t now = publisher_now_s(p);
        return old->expires_s - now > (publisher_expires(p, "snapshot") - now) / 2;
}

static int make_snapshot(struct tuf_publisher *p, struct release *release, struct err **err) {
        const struct tuf_metadata *old = table_get(p->published, "snapshot");
        /* What was listed once stays listed: clients take anything else for a rollback. */
        _cleanup_json_ json_t *meta =
                old ? json_deep_copy(json_object_get(tuf_metadata_signed(old), "meta")) : json_object();
        int r = meta ? 0 : err_set_errno(err, ENOMEM, "publish");
        for (char **role = release->roles; r >= 0 && role && *role; role++)
                if (!str_eq(*role, "root"))
                        r = put_file(meta, *role, table_get(p->staged, *role), err);
        if (r >= 0 && !json_object_get(meta, "targets.json"))
                r = put_file(meta, "targets", publisher_effective(p, "targets"), err);
        return r < 0 ? r : make_online(p, "snapshot", TAKE_PTR(meta), &release->snapshot, err);
}

static int make_timestamp(struct tuf_publisher *p, struct release *release, struct err **err) {
        const struct tuf_metadata *snapshot = release->snapshot;
        if (!snapshot)
                snapshot = table_get(p->published, "snapshot");
        _cleanup_json_ json_t *meta = json_object();
        int r = meta ? put_file(meta, "snapshot", snapshot, err) : err_set_errno(err, ENOMEM, "publish");
        return r < 0 ? r : make_online(p, "timestamp", TAKE_PTR(meta), &release->timestamp, err);
}

static bool three_verify(const struct tuf_metadata *root, const struct tuf_metadata *timestamp,
                         const struct tuf_metadata *snapshot, const struct tuf_metadata *targets) {
        return timestamp && snapshot && targets &&
               tuf_metadata_verify(timestamp, "timestamp", root, &root->roles[TUF_TIMESTAMP], NULL) >= 0 &&
               tuf_metadata_verify(snapshot, "snapshot", root, &root->roles[TUF_SNAPSHOT], NULL) >= 0 &&
               tuf_metadata_verify(targets, "targets", root, &root->roles[TUF_TARGETS], NULL) >= 0;
}

/* Two files are replaced when a root is new, and between the two replacements readers see one old and one
 * new. Root first and timestamp last is right when the old metadata is good by the new root, too. Where keys
 * went, it is not; but the new metadata, signed by old and new keys, may be good by the old root, and then
 * goes first. Where neither holds (a key is lost) readers between the two fail once and try again. */
static void choose_order(const struct tuf_publisher *p, struct release *r) {
        const struct tuf_metadata *new_root = table_get(p->staged, "root"),
                                  *old_root = table_get(p->published, "root");
        const struct tuf_metadata *old_targets = table_get(p->published, "targets");
        const struct tuf_metadata *snapshot = r->snapshot ? r->snapshot : table_get(p->published, "snapshot");
        r->root_last = new_root && old_root &&
                       !three_verify(new_root, table_get(p->published, "timestamp"),
                                     table_get(p->published, "snapshot"), old_targets) &&
                       three_verify(old_root, r->timestamp, snapshot, publisher_effective(p, "targets"));
}

/* ---- Writing */

static int write_metadata(struct tuf_publisher *p, const char *role, const struct tuf_metadata *m,
                          bool versioned, struct err **err) {
        _cleanup_(x_freep) char *data = NULL, *path = NULL;
        size_t len = 0;
        int r = tuf_metadata_serialise(m, &data, &len, err);
        if (r < 0)
                return r;
        path = versioned ? str_format("%s/metadata/%lld.%s.json", p->public_dir, (long long)m->version, role)
                         : str_format("%s/metadata/%s.json", p->public_dir, role);
        return path ? publisher_write(p, path, data, len, 0644, err) : err_set_errno(err, ENOMEM, "publish");
}

static int write_all(struct tuf_publisher *p, const struct release *release, struct err **err) {
        const struct tuf_metadata *root = table_get(p->staged, "root");
        int r = 0;
        for (char **role = release->roles; r >= 0 && role && *role; role++)
                if (!str_eq(*role, "root"))
                        r = write_metadata(p, *role, table_get(p->staged, *role), true, err);
        if (r >= 0 && release->snapshot)
                r = write_metadata(p, "snapshot", release->snapshot, true, err);
        if (r >= 0 && root && !release->root_last)
                r = write_metadata(p, "root", root, true, err);
        if (r >= 0)
                r = write_metadata(p, "timestamp", release->timestamp, false, err);
        if (r >= 0 && root && release->root_last)
                r = write_metadata(p, "root", root, true, err);
        return r;
}

static int move_to_published(struct tuf_publisher *p, const char *role, struct tuf_metadata *m) {
        if (!m)
                return 0;
        int64_t *version = malloc(sizeof(*version));
        if (version)
                *version = m->version;
        int r = version ? table_set(p->highest, role, version) : -ENOMEM;
        if (r < 0)
                free(version);
        else
                r = table_set(p->published, role, m);
        if (r < 0)
                tuf_metadata_free(m);
        return r;
}

/* It is public; what is left is tidying, and the next open does what this does not come to. */
static int settle(struct tuf_publisher *p, struct release *release, struct err **err) {
        int r = 0;
        for (char **role = release->roles; r >= 0 && role && *role; role++) {
                _cleanup_(x_freep) char *name = str_format("%s.json", *role);
                _cleanup_(x_freep) char *path = name ? publisher_path(p, "staged", name) : NULL;
                r = path ? publisher_remove(p, path, err) : err_set_errno(err, ENOMEM, "publish");
                if (r >= 0)
                        r = move_to_published(p, *role, table_take(p->staged, *role));
        }
        if (r >= 0)
                r = move_to_published(p, "snapshot", TAKE_PTR(release->snapshot));
        if (r >= 0)
                r = move_to_published(p, "timestamp", TAKE_PTR(release->timestamp));
        return r;
}

/* Versions far behind the newest go; failing at it hurts nobody. */
static void prune(struct tuf_publisher *p) {
        _cleanup_(x_freep) char *folder = path_join(p->public_dir, "metadata");
        DIR *d = folder ? opendir(folder) : NULL;
        for (const struct dirent *e; d && (e = readdir(d));) {
                char *end = NULL;
                long long version = strtoll(e->d_name, &end, 10);
                if (end == e->d_name || *end != '.' || !str_has_suffix(end, ".json") || strlen(end) < 7)
                        continue;
                _cleanup_(x_freep) char *role = str_dup_n(end + 1, strlen(end) - 1 - strlen(".json"));
                const struct tuf_metadata *m = role ? table_get(p->published, role) : NULL;
                if (!m || m->type == TUF_ROOT || version + VERSIONS_KEPT > m->version)
                        continue;
                _cleanup_(x_freep) char *path = path_join(folder, e->d_name);
                if (path)
                        (void)publisher_remove(p, path, NULL);
        }
        if (d)
                closedir(d);
}

int tuf_publisher_publish(struct tuf_publisher *p, struct tuf_publish_result *result, struct err **err) {
        _cleanup_(release_done) struct release release = {0};
        int r = tuf_publisher_sign(p, NULL, NULL, 0, NULL, err);
        if (r < 0 || (r = check_roles(p, &release, err)) < 0)
                return r;
        if (!snapshot_can_stay(p, &release) && (r = make_snapshot(p, &release, err)) < 0)
                return r;
        if ((r = make_timestamp(p, &release, err)) < 0)
                return r;
        choose_order(p, &release);
        const struct tuf_metadata *before = table_get(p->published, "timestamp");
        int64_t earlier = before ? before->expires_s - release.timestamp->expires_s : 0;
        size_t n = strv_len(release.roles);
        if ((r = write_all(p, &release, err)) < 0 || (r = settle(p, &release, err)) < 0)
                return r;
        prune(p);
        if (result)
                *result = (struct tuf_publish_result){
                        .root = highest(p, "root"),
                        .timestamp = highest(p, "timestamp"),
                        .snapshot = highest(p, "snapshot"),
                        .targets = highest(p, "targets"),
                        .roles = n,
                        .timestamp_earlier_s = MAX(earlier, 0),
                };
        return 0;
}

int tuf_publisher_root(struct tuf_publisher *p, char **ret, size_t *ret_len, struct err **err) {
        const struct tuf_metadata *root = table_get(p->published, "root");
        if (!root)
                return err_set(err, ENOENT, "%s has not been published yet: 'skerry repo publish' does",
                               p->dir);
        _cleanup_(x_freep) char *path =
                str_format("%s/metadata/%lld.root.json", p->public_dir, (long long)root->version);
        return path ? file_read(path, TUF_ROOT_MAX, ret, ret_len, err)
                    : err_set_errno(err, ENOMEM, "read root");
}
