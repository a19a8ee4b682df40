/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/repository.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/kept_state.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/tuf/client.h"

#define STATE_FORMAT 1
#define REVISIONS_KEPT 64
#define FLEETS_KEPT 256 /* a node is in one; more would be a server that plays */
#define MESSAGE_MAX 512
/* 2026-11-01T00:00:00Z: no agent of this code ran before. */
#define WRITTEN_AT_MS INT64_C(1793491200000)

struct repository {
        struct repository_sources *sources, *own_sources;
        struct artifact_store *artifacts;
        const struct clock *clock;
        const struct download_limit *limit;
        char *platform;
        char *folder, *state_path;
        char *root; /* to begin with, when the store holds none */
        size_t root_len;
        bool has_stored_root;
        int operator_trust; /* enum repository_trust, or -1 */
        int bundle_trust;   /* likewise; remembered once it was release-key */
        msec_t time_floor;
        bool lost;           /* what was trusted is not known: see begin_lost() */
        bool unsaved;        /* the state on the disk is not this one */
        unsigned damaged;    /* copies of it that had to be mended when it was read */
        char root_given[65]; /* digest of the root that the operator gave; "" for none */
        json_t *counters, *revisions, *releases;

        /* the question under way */
        struct tuf_folder *metadata;
        struct tuf_client *client;
        struct download *download;
        struct buf body;
        size_t first_source; /* one that failed is asked last the next time */
        bool in_doubt;       /* what the last question brought was wrong: caches shall look again */
        bool searching;
        json_t *wanted; /* artifacts */
        size_t at;      /* in wanted; past its end: the revision */
        bool listing;
        char *revision, *fleet;
        int64_t revision_length;
        void (*each)(void *arg, const char *target, const struct artifact *a);
        void (*done)(void *arg, int error, const char *message);
        void (*delayed)(void *arg, const char *message);
        void *arg;
};

static const char *const trust_names[] = {
        [REPOSITORY_TRUST_SERVER] = "server", [REPOSITORY_TRUST_RELEASE_KEY] = "release-key"};

const char *repository_trust_name(enum repository_trust t) {
        return trust_names[t];
}

int repository_trust_from_name(const char *name, enum repository_trust *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(trust_names); i++)
                if (str_eq(name, trust_names[i])) {
                        *ret = (enum repository_trust)i;
                        return 0;
                }
        return -EINVAL;
}

/* ---- state */

/* What is not on the disk would be forgotten by a restart: until it is, nothing new is accepted (begin()). */
static int save(struct repository *r, struct err **err) {
        _cleanup_json_ json_t *j =
                json_pack("{s:i, s:s, s:o, s:I, s:O, s:O, s:O, s:b}", "format", STATE_FORMAT, "rootGiven",
                          r->root_given, "trust",
                          r->bundle_trust < 0 ? json_null() : json_string(trust_names[r->bundle_trust]),
                          "timeFloor", (json_int_t)r->time_floor, "counters", r->counters, "revisions",
                          r->revisions, "releases", r->releases, "lost", r->lost);
        int rc = j ? kept_state_write(r->state_path, j, err) : err_set_errno(err, ENOMEM, "repository");
        r->unsaved = rc < 0;
        if (rc == 0)
                r->damaged = 0;
        return rc;
}

static void read_state(struct repository *r, const json_t *j) {
        const char *trust = NULL, *given = NULL;
        enum repository_trust t;
        int64_t floor = 0;
        (void)json_read_optional_int(j, "timeFloor", &floor, NULL);
        (void)json_read_optional_string(j, "trust", &trust, NULL);
        (void)json_read_optional_string(j, "rootGiven", &given, NULL);
        if (given && sha256_hex_is_valid(given))
                memcpy(r->root_given, given, sizeof(r->root_given));
        r->time_floor = MAX(r->time_floor, floor);
        if (trust && repository_trust_from_name(trust, &t) == 0)
                r->bundle_trust = (int)t;
        if (json_is_object(json_object_get(j, "counters"))) {
                json_decref(r->counters);
                r->counters = json_incref(json_object_get(j, "counters"));
        }
        if (json_is_array(json_object_get(j, "revisions"))) {
                json_decref(r->revisions);
                r->revisions = json_incref(json_object_get(j, "revisions"));
        }
        if (json_is_object(json_object_get(j, "releases"))) {
                json_decref(r->releases);
                r->releases = json_incref(json_object_get(j, "releases"));
        }
        r->lost = json_is_true(json_object_get(j, "lost"));
}

/* What was trusted is not known any more. The metadata beside it keeps its own versions, what runs here its
 * releaseCounters (highest_counter()); and of trust the strictest is assumed. */
static void begin_lost(struct repository *r) {
        r->lost = true;
        r->bundle_trust = REPOSITORY_TRUST_RELEASE_KEY;
        if (r->root &&
            r->has_stored_root) /* which root the operator gave before is not known: not replaced */
                sha256_hex(r->root, r->root_len, r->root_given);
        (void)save(r, NULL);
}

static int load(struct repository *r, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        int64_t format = 0;
        int rc = kept_state_read(r->state_path, &j, &r->damaged, NULL);
        if (rc == -ENOMEM)
                return err_set_errno(err, ENOMEM, "repository");
        /* It is written before the first metadata is: metadata alone means that it went. */
        if (rc == -ENOENT && !r->has_stored_root)
                return save(r, err);
        if (rc < 0 || json_read_int(j, "format", &format, NULL) < 0 || format != STATE_FORMAT) {
                begin_lost(r);
                return 0;
        }
        read_state(r, j);
        if (r->damaged > 0)
                (void)save(r, NULL);
        return 0;
}

/* Somebody said whom to trust since it was lost. */
static void found_again(struct repository *r) {
        if (!r->lost)
                return;
        r->lost = false;
        (void)save(r, NULL);
}

const char *repository_problem(const struct repository *r) {
        if (r->lost)
                return "what this node trusted was lost (repository/state.json was damaged, and its spare "
                       "copy): "
                       "only revisions signed by a release key are taken until one was, or until the agent "
                       "is "
                       "started with --trust";
        if (r->unsaved)
                return "what this node trusts cannot be written to repository/state.json: nothing new is "
                       "taken "
                       "until it can";
        if (r->damaged > 0)
                return "a copy of repository/state.json is damaged, and cannot be mended now: is the disk "
                       "full, "
                       "or failing?";
        return NULL;
}

/* Metadata that was trusted by another way (the bundle, another file) gives way to the operator's root. */
static int begin_with_given_root(struct repository *r, struct err **err) {
        char digest[SHA256_HEX_SIZE];
        sha256_hex(r->root, r->root_len, digest);
        if (str_eq(digest, r->root_given))
                return 0;
        static const char *const names[] = {"root.json", "timestamp.json", "snapshot.json", "targets.json"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_(x_freep) char *path = path_join(r->folder, names[i]);
                int rc = path ? path_remove(path, err) : err_set_errno(err, ENOMEM, "repository");
                if (rc < 0)
                        return rc;
        }
        memcpy(r->root_given, digest, sizeof(r->root_given));
        r->has_stored_root = false;
        return save(r, err);
}

int repository_new(const struct repository_options *o, struct repository **ret, struct err **err) {
        _cleanup_(repository_freep) struct repository *r = calloc(1, sizeof(*r));
        enum repository_trust trust;
        if (!r)
                return err_set_errno(err, ENOMEM, "repository");
        r->operator_trust = r->bundle_trust = -1;
        r->sources = r->own_sources = o->sources;
        r->artifacts = o->artifacts;
        r->clock = o->clock;
        r->limit = o->limit;
        r->time_floor = WRITTEN_AT_MS;
        r->folder = path_join(o->state, "repository");
        r->state_path = r->folder ? path_join(r->folder, "state.json") : NULL;
        r->platform = str_dup(o->platform);
        r->counters = json_object();
        r->revisions = json_array();
        r->releases = json_object();
        _cleanup_(x_freep) char *root_path = r->folder ? path_join(r->folder, "root.json") : NULL;
        if (!r->state_path || !r->platform || !r->counters || !r->revisions || !r->releases || !root_path)
                return err_set_errno(err, ENOMEM, "repository");
        if (o->trust) {
                if (repository_trust_from_name(o->trust, &trust) < 0)
                        return err_set(err, EINVAL, "trust '%.40s': expected server or release-key",
                                       o->trust);
                r->operator_trust = (int)trust;
        }
        if (o->root) {
                r->root = str_dup_n(o->root, o->root_len);
                r->root_len = o->root_len;
                if (!r->root)
                        return err_set_errno(err, ENOMEM, "repository");
        }
        int rc = dir_make(r->folder, 0700, err);
        if (rc < 0)
                return rc;
        r->has_stored_root = access(root_path, F_OK) == 0;
        if ((rc = load(r, err)) < 0)
                return rc;
        if (r->operator_trust >= 0)
                found_again(r);
        if (r->root && (rc = begin_with_given_root(r, err)) < 0)
                return rc;
        *ret = TAKE_PTR(r);
        return 0;
}

struct repository *repository_free(struct repository *r) {
        if (!r)
                return NULL;
        repository_cancel(r);
        json_decref(r->counters);
        json_decref(r->revisions);
        json_decref(r->releases);
        free(r->folder);
        free(r->state_path);
        free(r->platform);
        free(r->root);
        free(r);
        return NULL;
}

void repository_take_bundle(struct repository *r, const json_t *repository) {
        const json_t *root = json_object_get(repository, "root");
        const char *trust = json_string_value(json_object_get(repository, "trust"));
        enum repository_trust t;
        if (json_is_object(root) && !r->root && !r->has_stored_root) {
                r->root = json_encode_compact(root);
                r->root_len = r->root ? strlen(r->root) : 0;
        }
        if (trust && repository_trust_from_name(trust, &t) == 0 && (int)t > r->bundle_trust) {
                r->bundle_trust = (int)t;
                (void)save(r, NULL);
        }
        repository_sources_set_bundle(r->own_sources, json_object_get(repository, "mirrors"));
}

void repository_saw_time(struct repository *r, msec_t issued_at) {
        issued_at = MAX(issued_at, WRITTEN_AT_MS);
        if (issued_at == r->time_floor)
                return;
        r->time_floor = issued_at;
        (void)save(r, NULL);
}

bool repository_is_configured(const struct repository *r) {
        return r->root || r->has_stored_root;
}

enum repository_trust repository_trust(const struct repository *r) {
        if (r->operator_trust == REPOSITORY_TRUST_SERVER)
                return REPOSITORY_TRUST_SERVER;
        return r->operator_trust == REPOSITORY_TRUST_RELEASE_KEY ||
                               r->bundle_trust == REPOSITORY_TRUST_RELEASE_KEY
                       ? REPOSITORY_TRUST_RELEASE_KEY
                       : REPOSITORY_TRUST_SERVER;
}

static msec_t now_ms(const struct repository *r) {
        return MAX(clock_wall_ms(r->clock), r->time_floor);
}

/* ---- what was vouched for before */

/* Entries are {"sha256","fleet","counter"}; a text is one of before releases were counted. */
static size_t find_revision(const struct repository *r, const char *sha256) {
        const json_t *item;
        size_t i;
        json_array_foreach (r->revisions, i, item)
                if (str_eq(json_string_value(json_is_object(item) ? json_object_get(item, "sha256") : item),
                           sha256))
                        return i;
        return SIZE_MAX;
}

static int64_t release_number(const struct repository *r, const char *fleet, const char *key) {
        return json_integer_value(json_object_get(json_object_get(r->releases, fleet), key));
}

/* The lowest release of a fleet that is still taken. */
static int64_t release_floor(const struct repository *r, const char *fleet) {
        return MAX(release_number(r, fleet, "highest") - REPOSITORY_RELEASES_BACK,
                   release_number(r, fleet, "lowest"));
}

static bool knows_revision(const struct repository *r, const char *sha256, const char *fleet) {
        size_t i = find_revision(r, sha256);
        return i != SIZE_MAX && json_integer_value(json_object_get(json_array_get(r->revisions, i),
                                                                   "counter")) >= release_floor(r, fleet);
}

static bool same_platform(const char *a, const char *b) {
        char x[PLATFORM_MAX], y[PLATFORM_MAX];
        return platform_parse(a, x, NULL) == 0 && platform_parse(b, y, NULL) == 0 && str_eq(x, y);
}

static int64_t highest_counter(const struct repository *r, const char *name) {
        return MAX(json_integer_value(json_object_get(r->counters, name)),
                   artifact_store_counter(r->artifacts, name));
}

static bool is_described(const struct repository *r, const struct assigned_artifact *a) {
        const struct artifact *known = artifact_store_find(r->artifacts, a->target, a->sha256);
        return known && known->length == a->length && known->release_counter == a->release_counter &&
               same_platform(known->platform, a->platform) &&
               (a->release_counter >= highest_counter(r, a->name) ||
                artifact_store_is_held(r->artifacts, a->target, a->sha256));
}

bool repository_knows(const struct repository *r, const struct repository_question *q) {
        struct assigned_artifact a;
        const json_t *item;
        size_t i;
        if (r->unsaved || !artifact_store_is_saved(r->artifacts))
                return false;
        json_array_foreach (q->artifacts, i, item)
                if (assigned_artifact_read(item, &a, NULL) < 0 || !is_described(r, &a))
                        return false;
        return repository_trust(r) == REPOSITORY_TRUST_SERVER || knows_revision(r, q->revision, q->fleet);
}

/* ---- asking */

static void end(struct repository *r, int error, const char *message) {
        void (*done)(void *arg, int error, const char *message) = r->done;
        void *arg = r->arg;
        char text[MESSAGE_MAX];
        (void)snprintf(text, sizeof(text), "%s", message ? message : "");
        repository_cancel(r);
        done(arg, error, error < 0 ? text : NULL);
}

void repository_cancel(struct repository *r) {
        r->download = download_free(r->download);
        /* Metadata of large repositories is large; between questions nothing of it is held. */
        r->client = tuf_client_free(r->client);
        r->metadata = tuf_folder_free(r->metadata);
        buf_done(&r->body);
        r->body = (struct buf)BUF_INIT;
        json_decref(r->wanted);
        r->wanted = NULL;
        free(r->revision);
        free(r->fleet);
        r->revision = r->fleet = NULL;
        r->searching = r->listing = false;
        r->each = NULL;
        r->done = NULL;
        r->delayed = NULL;
}

bool repository_is_busy(const struct repository *r) {
        return r->client;
}

void repository_use_sources(struct repository *r, struct repository_sources *sources) {
        r->sources = sources ? sources : r->own_sources;
}

static void go_on(struct repository *r);

static int on_data(void *arg, int64_t at, const char *p, size_t n) {
        struct repository *r = arg;
        (void)at;
        return buf_append(&r->body, p, n);
}

static void on_file(void *arg, const struct download_result *result) {
        struct repository *r = arg;
        r->download = NULL;
        if (result->error == 0)
                tuf_client_give(r->client, buf_str(&r->body), r->body.len);
        else if (result->error == -ENOENT)
                tuf_client_missing(r->client);
        else
                tuf_client_abandon(r->client, result->error, result->message);
        if (result->error < 0 && result->error != -ENOENT)
                r->first_source++;
        buf_done(&r->body);
        r->body = (struct buf)BUF_INIT;
        go_on(r);
}

static void on_wait(void *arg, const char *message) {
        struct repository *r = arg;
        if (r->delayed)
                r->delayed(r->arg, message);
}

static void fetch(struct repository *r, const struct tuf_need *need) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct download_request q = {.path = need->path,
                                     .length = -1,
                                     .total = -1,
                                     .max_bytes = (int64_t)need->max_bytes,
                                     .optional = need->optional,
                                     .fresh = r->in_doubt,
                                     .limit = r->limit,
                                     .waits = on_wait,
                                     .first_source = r->first_source,
                                     .on_data = on_data,
                                     .done = on_file,
                                     .arg = r};
        r->body.limit = need->max_bytes + 1;
        int rc = download_start(r->sources, &q, &r->download, &err);
        if (rc < 0)
                end(r, rc, err_message(err));
}

static void say_time(const struct repository *r, char *out, size_t size) {
        char time[TIME_TEXT_SIZE];
        bool floor = clock_wall_ms(r->clock) < r->time_floor;
        (void)snprintf(out, size, "this node takes the time for %s%s", time_format(now_ms(r), time),
                       floor ? " (its clock is behind what signed assignments say)" : "");
}

/* What TUF says of the metadata as a whole, with what helps. */
static void end_with_metadata(struct repository *r, int error, const struct err *err) {
        char text[MESSAGE_MAX], time[128] = "";
        /* A frozen or lying source, or one that a relay keeps the lie of: ask another one first the next
         * time, and have caches look again. */
        r->first_source++;
        r->in_doubt = true;
        if (error == -ETIMEDOUT)
                say_time(r, time, sizeof(time));
        (void)snprintf(text, sizeof(text), "artifact repository: %s%s%s", err_message(err), *time ? "; " : "",
                       time);
        end(r, error == -ENOENT ? -EBADMSG : error, text);
}

static int refuse(struct err **err, const struct assigned_artifact *a, const char *what) {
        return err_set(err, EPERM, "artifact %s:%s: %s", a->name, a->version, what);
}

static int check_counter(const struct repository *r, const struct assigned_artifact *a, struct err **err) {
        char text[256];
        int64_t highest = highest_counter(r, a->name);
        if (a->release_counter >= highest || artifact_store_is_held(r->artifacts, a->target, a->sha256))
                return 0;
        (void)snprintf(text, sizeof(text),
                       "its releaseCounter %" PRId64 " is lower than %" PRId64
                       ", which ran here: to go back to it, publish it again (skerry artifact yank)",
                       a->release_counter, highest);
        return refuse(err, a, text);
}

static int compare(const struct repository *r, const struct assigned_artifact *a, const struct tuf_target *t,
                   struct err **err) {
        _cleanup_(artifact_freep) struct artifact *image = NULL;
        char text[MESSAGE_MAX];
        int rc = artifact_from_target(t->path, t->length, t->sha256, t->custom, &image, err);
        if (rc < 0)
                return err_set(
                        err, EPERM,
                        "artifact %s:%s: the image role %s lists it in a way that is not understood: %s",
                        a->name, a->version, t->role, err ? err_message(*err) : "");
        const char *what = NULL;
        if (!str_eq(t->sha256, a->sha256))
                what = "another SHA-256";
        else if (t->length != a->length)
                what = "another length";
        else if (!same_platform(image->platform, a->platform))
                what = "another platform";
        else if (image->release_counter != a->release_counter)
                what = "another releaseCounter";
        if (what) {
                (void)snprintf(text, sizeof(text),
                               "the director assigned %.12s (%" PRId64 " bytes, %s, releaseCounter %" PRId64
                               "), the image role %s lists %s: %.12s (%" PRId64
                               " bytes, %s, releaseCounter %" PRId64 ")",
                               a->sha256, a->length, a->platform, a->release_counter, t->role, what,
                               t->sha256, t->length, image->platform, image->release_counter);
                return refuse(err, a, text);
        }
        if (platform_match(r->platform, image->platform) == 0) {
                (void)snprintf(text, sizeof(text), "it is for %s, this node is %s", image->platform,
                               r->platform);
                return refuse(err, a, text);
        }
        if (image->yanked && !artifact_store_is_held(r->artifacts, a->target, a->sha256)) {
                (void)snprintf(text, sizeof(text), "it was yanked%s%s",
                               image->replaced_by ? "; replaced by " : "",
                               image->replaced_by ? image->replaced_by : "");
                return refuse(err, a, text);
        }
        rc = check_counter(r, a, err);
        return rc < 0 ? rc : artifact_store_describe(r->artifacts, a->target, image, err);
}

static int remember_release(struct repository *r, int64_t counter, int64_t lowest, struct err **err) {
        json_t *entry = json_pack("{s:s, s:s, s:I}", "sha256", r->revision, "fleet", r->fleet, "counter",
                                  (json_int_t)counter);
        json_t *numbers = json_pack("{s:I, s:I}", "highest",
                                    (json_int_t)MAX(counter, release_number(r, r->fleet, "highest")),
                                    "lowest", (json_int_t)MAX(lowest, release_number(r, r->fleet, "lowest")));
        size_t at = find_revision(r, r->revision);
        if (at != SIZE_MAX)
                (void)json_array_remove(r->revisions, at);
        else if (json_array_size(r->revisions) >= REVISIONS_KEPT)
                (void)json_array_remove(r->revisions, 0);
        (void)json_array_append_new(r->revisions, entry);
        if (json_object_get(r->releases, r->fleet) || json_object_size(r->releases) < FLEETS_KEPT)
                (void)json_object_set_new(r->releases, r->fleet, numbers);
        else
                json_decref(numbers);
        r->lost = false; /* a release key signs here, as was assumed */
        return save(r, err);
}

/* The release's counter, and the one below which none is to be taken from then on. */
static int read_release(const struct tuf_target *t, int64_t *ret_counter, int64_t *ret_lowest,
                        struct err **err) {
        const json_t *about = json_object_get(t->custom, "skerry");
        int r = json_read_optional_int(about, "releaseCounter", ret_counter, err);
        if (r >= 0)
                r = json_read_optional_int(about, "lowestCounter", ret_lowest, err);
        if (r >= 0 && (*ret_counter < 0 || *ret_lowest < 0 || *ret_lowest > *ret_counter))
                r = err_set(err, EINVAL, "its counters are %" PRId64 " and %" PRId64, *ret_counter,
                            *ret_lowest);
        return r;
}

static int compare_revision(struct repository *r, const struct tuf_target *t, struct err **err) {
        int64_t counter = 0, lowest = 0, floor = release_floor(r, r->fleet);
        if (!str_eq(t->sha256, r->revision) || (r->revision_length >= 0 && t->length != r->revision_length))
                return err_set(err, EPERM,
                               "revision %.12s: role %s lists %.12s (%" PRId64 " bytes) under its name",
                               r->revision, t->role, t->sha256, t->length);
        if (read_release(t, &counter, &lowest, err) < 0)
                return err_set(err, EPERM, "revision %.12s: role %s lists it in a way that is not understood",
                               r->revision, t->role);
        if (counter < floor)
                return err_set(err, EPERM,
                               "revision %.12s is release %" PRId64 " of fleet %s, and this node, which has "
                               "taken release %" PRId64 ", takes none below %" PRId64
                               ": to go back, run skerry release --again on the commit that made it",
                               r->revision, counter, r->fleet, release_number(r, r->fleet, "highest"), floor);
        return remember_release(r, counter, lowest, err);
}

/* Begins the search for what comes next; false: there is nothing left. */
static bool search_next(struct repository *r) {
        struct assigned_artifact a;
        if (r->at < json_array_size(r->wanted)) {
                (void)assigned_artifact_read(json_array_get(r->wanted, r->at), &a, NULL);
                tuf_client_find(r->client, a.target);
                return true;
        }
        if (r->at == json_array_size(r->wanted) && r->revision &&
            repository_trust(r) == REPOSITORY_TRUST_RELEASE_KEY &&
            !knows_revision(r, r->revision, r->fleet)) {
                _cleanup_(x_freep) char *target = str_format("revisions/%s/%s.json", r->fleet, r->revision);
                if (!target)
                        return false;
                tuf_client_find(r->client, target);
                return true;
        }
        return false;
}

static int found(struct repository *r, int error, struct err **err) {
        struct assigned_artifact a = {0};
        const struct tuf_target *t = error == 0 ? tuf_client_found(r->client) : NULL;
        bool artifact = r->at < json_array_size(r->wanted);
        if (artifact)
                (void)assigned_artifact_read(json_array_get(r->wanted, r->at), &a, NULL);
        if (t)
                return artifact ? compare(r, &a, t, err) : compare_revision(r, t, err);
        if (artifact)
                return err_set(err, EPERM, "artifact %s:%s: the director assigned it, no image role lists %s",
                               a.name, a.version, a.target);
        return err_set(err, EPERM,
                       "revision %.12s: it is not signed by a release key (no role lists "
                       "revisions/%s/%s.json): run skerry release, or trust the server",
                       r->revision, r->fleet, r->revision);
}

static int list_one(void *arg, const struct tuf_target *t) {
        struct repository *r = arg;
        _cleanup_(artifact_freep) struct artifact *a = NULL;
        if (artifact_from_target(t->path, t->length, t->sha256, t->custom, &a, NULL) == 0 &&
            platform_match(r->platform, a->platform) > 0)
                r->each(r->arg, t->path, a);
        return 0;
}

static void refreshed(struct repository *r) {
        r->has_stored_root = true;
        r->in_doubt = false;
        r->searching = true;
        if (r->each && !r->listing) {
                r->listing = true;
                tuf_client_load_all(r->client);
                go_on(r);
        } else if (search_next(r)) {
                go_on(r);
        } else {
                end(r, 0, NULL);
        }
}

/* What was begun has ended. */
static void step_ended(struct repository *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        int error = tuf_client_result(r->client, &err);
        if (!r->searching) {
                if (error < 0)
                        end_with_metadata(r, error, err);
                else
                        refreshed(r);
                return;
        }
        if (error < 0 && error != -ENOENT) {
                end_with_metadata(r, error, err);
                return;
        }
        if (r->listing) {
                (void)tuf_client_each(r->client, list_one, r);
                end(r, 0, NULL);
                return;
        }
        err = err_free(err);
        error = found(r, error, &err);
        if (error < 0) {
                end(r, error, err_message(err));
                return;
        }
        r->at++;
        if (search_next(r))
                go_on(r);
        else
                end(r, 0, NULL);
}

static void go_on(struct repository *r) {
        const struct tuf_need *need = tuf_client_need(r->client);
        if (need)
                fetch(r, need);
        else
                step_ended(r);
}

static int open_client(struct repository *r, struct err **err) {
        int rc = tuf_folder_open(r->folder, &r->metadata, err);
        if (rc < 0)
                return rc;
        struct tuf_store store = tuf_folder_store(r->metadata);
        return tuf_client_new(&store, r->root, r->root_len, &r->client, err);
}

static int begin(struct repository *r, struct err **err) {
        int rc = 0;
        if (!repository_is_configured(r))
                return err_set(err, ENOKEY, "%s", REPOSITORY_UNCONFIGURED);
        if (r->client)
                return err_set(err, EBUSY, "the repository is being asked already");
        if (r->unsaved && (rc = save(r, err)) < 0)
                return rc;
        if ((rc = open_client(r, err)) < 0) {
                repository_cancel(r);
                return rc == -ENOKEY ? err_set(err, ENOKEY, "%s", REPOSITORY_UNCONFIGURED) : rc;
        }
        tuf_client_refresh(r->client, now_ms(r) / 1000);
        return 0;
}

int repository_ask(struct repository *r, const struct repository_question *q,
                   void (*done)(void *arg, int error, const char *message), void *arg, struct err **err) {
        int rc = begin(r, err);
        if (rc < 0)
                return rc;
        r->wanted = q->artifacts ? json_incref((json_t *)q->artifacts) : json_array();
        r->at = 0;
        r->revision = str_dup(q->revision);
        r->fleet = str_dup(q->fleet);
        r->revision_length = q->revision_length;
        r->done = done;
        r->delayed = q->delayed;
        r->arg = arg;
        if (!r->wanted || !r->revision || !r->fleet) {
                repository_cancel(r);
                return err_set_errno(err, ENOMEM, "repository");
        }
        go_on(r);
        return 0;
}

int repository_list(struct repository *r,
                    void (*each)(void *arg, const char *target, const struct artifact *a),
                    void (*done)(void *arg, int error, const char *message), void *arg, struct err **err) {
        int rc = begin(r, err);
        if (rc < 0)
                return rc;
        r->wanted = json_array();
        r->each = each;
        r->done = done;
        r->arg = arg;
        go_on(r);
        return 0;
}

int repository_confirm(struct repository *r, const json_t *artifacts, struct err **err) {
        struct assigned_artifact a;
        const json_t *item;
        size_t i;
        bool changed = false;
        json_array_foreach (artifacts, i, item) {
                if (assigned_artifact_read(item, &a, NULL) < 0 ||
                    a.release_counter <= json_integer_value(json_object_get(r->counters, a.name)))
                        continue;
                changed = json_object_set_new(r->counters, a.name, json_integer(a.release_counter)) == 0 ||
                          changed;
        }
        return changed || r->unsaved ? save(r, err) : 0;
}
