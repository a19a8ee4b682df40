/* SPDX-License-Identifier: Apache-2.0 */
#include "server/delta_worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/random.h"
#include "base/table.h"
#include "codec/json.h"
#include "net/backoff.h"
#include "server/assignments.h"
#include "server/delta_job.h"
#include "server/director.h"
#include "server/fleets.h"
#include "server/memory.h"
#include "server/revisions.h"

#define GATHER_MS 1000 /* changes come in crowds */
#define NICE 15
#define IOPRIO_IDLE (3 << 13) /* ioprio_set(2): class idle */

/* A disk that was full, a folder that was away, a file that was on its way: tried again after a while, ever
 * longer, and given up until the repository changes. */
#define RETRY_BASE_MS 4000
#define RETRY_CAP_MS (15 * 60 * 1000)

enum delta_state { WAITING, MAKING, MADE, RETRYING, FAILED };
static const char *const state_names[] = {"Waiting", "Making", "Made", "Retrying", "Failed"};

struct delta_pair { /* one delta, wanted or made */
        char *artifact, *from_version, *to_version, *from_path, *to_path;
        char from[65], to[65];
        enum delta_state state;
        size_t nodes; /* that could use it, when last looked */
        int64_t bytes;
        char *message; /* of the last failure, NULL: there was none */
        struct backoff backoff;
        unsigned failures;   /* in a row */
        msec_t retry_at;     /* mono, while RETRYING */
        uint64_t generation; /* of the director's catalog that it was given up with */
        bool is_hopeless;    /* another try would end the same */
};

struct delta_worker {
        struct control *control;
        char *folder;
        struct table *pairs; /* "from to" -> struct delta_pair */
        struct loop_timer *timer, *retry;
        struct prng random;
        struct delta_pair *making; /* borrowed; NULL: nothing is under way */
        pthread_t thread;
        atomic_bool cancelled;
        bool stopped;
        int result;
        int64_t length;
        struct err *error;
};

static void pair_destroy(void *p) {
        struct delta_pair *pair = p;
        free(pair->artifact);
        free(pair->from_version);
        free(pair->to_version);
        free(pair->from_path);
        free(pair->to_path);
        free(pair->message);
        free(pair);
}

/* ---- what is wanted */

static void want(struct delta_worker *w, const json_t *from, const struct artifact *to) {
        const char *sha256 = json_string_value(json_object_get(from, "sha256")),
                   *path = json_string_value(json_object_get(from, "target")),
                   *version = json_string_value(json_object_get(from, "version"));
        char key[2 * 64 + 2];
        if (!sha256 || strlen(sha256) != 64 || !path || !version || str_eq(sha256, to->sha256))
                return;
        (void)snprintf(key, sizeof(key), "%s %s", sha256, to->sha256);
        struct delta_pair *pair = table_get(w->pairs, key);
        if (!pair) {
                pair = NEW(struct delta_pair);
                pair->artifact = copy_text(to->name);
                pair->from_version = copy_text(version);
                pair->to_version = copy_text(to->version);
                pair->from_path = copy_text(path);
                pair->to_path = must(artifact_target_path(to->name, to->version, to->platform));
                memcpy(pair->from, sha256, sizeof(pair->from));
                memcpy(pair->to, to->sha256, sizeof(pair->to));
                pair->state = delta_job_is_done(w->folder, pair->from, pair->to) ? MADE : WAITING;
                pair->backoff = (struct backoff)BACKOFF_INIT(RETRY_BASE_MS, RETRY_CAP_MS);
                must_do(table_set(w->pairs, key, pair));
        }
        pair->nodes++;
}

/* The newest good one of the same name and platform. */
static const struct artifact *newest(const struct catalog *c, const char *name, const char *platform) {
        const struct artifact *found = NULL;
        for (size_t i = 0; i < catalog_artifacts(c); i++) {
                const struct artifact *a = catalog_artifact(c, i);
                if (str_eq(a->name, name) && str_eq(a->platform, platform) && !a->yanked &&
                    (!found || a->release_counter > found->release_counter))
                        found = a;
        }
        return found;
}

static const struct artifact *artifact_by_choice(const struct catalog *c, const json_t *choice) {
        const char *name = json_string_value(json_object_get(choice, "name")),
                   *version = json_string_value(json_object_get(choice, "version")),
                   *platform = json_string_value(json_object_get(choice, "platform"));
        const struct artifact *const *all = NULL;
        size_t n = name && version && platform ? catalog_find(c, name, version, &all) : 0;
        for (size_t i = 0; i < n; i++)
                if (str_eq(all[i]->platform, platform))
                        return all[i];
        return NULL;
}

/* What lies on the node: what it was told to have last, and before that. */
static void want_from(struct delta_worker *w, const struct node *n, const struct artifact *to) {
        const struct assignment *all[] = {n->assigned, n->fallback};
        for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
                const json_t *one;
                size_t i;
                json_array_foreach (all[k] ? all[k]->artifacts : NULL, i, one)
                        if (str_eq(json_string_value(json_object_get(one, "name")), to->name)) {
                                want(w, one, to);
                                return; /* one seed is enough */
                        }
        }
}

static void want_for(struct delta_worker *w, struct node *n, const struct catalog *catalog) {
        struct control *c = w->control;
        const struct target *desired = n->fleet ? fleet_desired(n->fleet) : NULL;
        const struct revision *revision = desired ? revisions_decoded(c, desired->revision) : NULL;
        char fingerprint[65];
        json_t *chosen = NULL;
        const json_t *one;
        size_t i;
        if (revision && director_choose(c, n, revision, &chosen, fingerprint, NULL) == 0)
                json_array_foreach (chosen, i, one) {
                        const struct artifact *to = artifact_by_choice(catalog, one);
                        if (to)
                                want_from(w, n, to);
                }
        json_decref(chosen);
        json_array_foreach (n->assigned ? n->assigned->artifacts : NULL, i, one) {
                const char *name = json_string_value(json_object_get(one, "name")),
                           *platform = json_string_value(json_object_get(one, "platform"));
                const struct artifact *to = name && platform ? newest(catalog, name, platform) : NULL;
                if (to)
                        want(w, one, to);
        }
}

static void begin_anew(struct delta_pair *pair) {
        pair->state = WAITING;
        pair->failures = 0;
        backoff_reset(&pair->backoff);
}

static void gather(struct delta_worker *w) {
        const struct catalog *catalog = director_catalog(w->control);
        struct node *n;
        const char *key;
        void *value;
        for (size_t i = 0; table_next(w->pairs, &i, &key, &value);)
                ((struct delta_pair *)value)->nodes = 0;
        for (size_t i = 0; catalog && inventory_next(w->control, &i, &n);)
                if (!n->revoked_at)
                        want_for(w, n, catalog);
        for (size_t i = 0; table_next(w->pairs, &i, &key, &value);) {
                struct delta_pair *pair = value;
                if (pair->nodes == 0 && (pair->state == WAITING || pair->state == RETRYING))
                        table_remove(w->pairs, key);
                else if (pair->state == FAILED && !pair->is_hopeless &&
                         pair->generation != director_generation(w->control))
                        begin_anew(pair);
        }
}

/* ---- making */

static void begin_next(struct delta_worker *w);

/* What lies in the files themselves is the same tomorrow. -ENOENT may be an upload that is under way. */
static bool is_hopeless(int error) {
        return error == -EFBIG || error == -EINVAL || error == -EOPNOTSUPP;
}

static void failed(struct delta_worker *w, struct delta_pair *pair, int error, const char *why) {
        pair->is_hopeless = is_hopeless(error);
        pair->failures++;
        if (!pair->is_hopeless && pair->failures < DELTA_TRIES) {
                pair->state = RETRYING;
                pair->retry_at = clock_mono_ms(loop_clock(w->control->loop)) +
                                 backoff_next(&pair->backoff, &w->random, 0);
                replace_text(&pair->message, why);
        } else {
                _cleanup_(x_freep) char *text =
                        pair->is_hopeless
                                ? copy_text(why)
                                : must(str_format("given up after %u tries, until the repository changes: %s",
                                                  pair->failures, why));
                pair->state = FAILED;
                pair->generation = director_generation(w->control);
                replace_text(&pair->message, text);
        }
        log_warning("a delta could not be made", "artifact", pair->artifact, "from", pair->from_version, "to",
                    pair->to_version, "state", state_names[pair->state], "error", pair->message, NULL);
}

static void made(void *arg) {
        struct delta_worker *w = arg;
        struct delta_pair *pair = w->making;
        _cleanup_(err_freep) struct err *err = TAKE_PTR(w->error);
        if (w->stopped)
                return;
        pthread_join(w->thread, NULL);
        w->making = NULL;
        if (w->result < 0) {
                failed(w, pair, w->result, err ? err_message(err) : strerror(-w->result));
                begin_next(w);
                return;
        }
        char bytes[24];
        (void)snprintf(bytes, sizeof(bytes), "%lld", (long long)w->length);
        pair->state = MADE;
        pair->bytes = w->length;
        replace_text(&pair->message, NULL);
        log_info("a delta was made", "artifact", pair->artifact, "from", pair->from_version, "to",
                 pair->to_version, "bytes", bytes, NULL);
        begin_next(w);
}

static void *thread_main(void *arg) {
        struct delta_worker *w = arg;
        const struct delta_pair *pair = w->making;
        /* Of this thread alone: on Linux priorities are a thread's. */
        (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
        (void)syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, IOPRIO_IDLE);
        const struct delta_job job = {.folder = w->folder,
                                      .from_path = pair->from_path,
                                      .from_sha256 = pair->from,
                                      .to_path = pair->to_path,
                                      .to_sha256 = pair->to,
                                      .cancelled = &w->cancelled};
        w->length = 0;
        w->result = delta_job_run(&job, &w->length, &w->error);
        must_do(loop_post(w->control->loop, made, w));
        return NULL;
}

/* Of those whose turn it is, the one that most nodes can use; else the timer is set for the first to come. */
static struct delta_pair *choose_next(struct delta_worker *w) {
        struct delta_pair *best = NULL;
        msec_t now = clock_mono_ms(loop_clock(w->control->loop)), first = INT64_MAX;
        const char *key;
        void *value;
        for (size_t i = 0; table_next(w->pairs, &i, &key, &value);) {
                struct delta_pair *pair = value;
                if (pair->state == RETRYING && pair->retry_at > now) {
                        first = MIN(first, pair->retry_at);
                        continue;
                }
                if ((pair->state == WAITING || pair->state == RETRYING) &&
                    (!best || pair->nodes > best->nodes))
                        best = pair;
        }
        if (!best && first < INT64_MAX)
                loop_timer_set(w->retry, first - now);
        return best;
}

static void begin_next(struct delta_worker *w) {
        if (w->making || w->stopped)
                return;
        for (struct delta_pair *next; (next = choose_next(w));) {
                next->state = MAKING;
                w->making = next;
                int r = pthread_create(&w->thread, NULL, thread_main, w);
                if (r == 0)
                        return;
                w->making = NULL;
                failed(w, next, -r, strerror(r));
        }
}

static void on_retry(void *arg) {
        begin_next(arg);
}

static void on_timer(void *arg) {
        struct delta_worker *w = arg;
        gather(w);
        begin_next(w);
}

void delta_worker_wake(struct control *c) {
        struct delta_worker *w = c->delta_worker;
        if (w && !w->stopped && !loop_timer_is_set(w->timer))
                loop_timer_set(w->timer, GATHER_MS);
}

/* ---- showing */

json_t *delta_worker_json(const struct control *c) {
        json_t *list = json_array_new();
        msec_t now = clock_mono_ms(loop_clock(c->loop));
        const char *key;
        void *value;
        for (size_t i = 0; c->delta_worker && table_next(c->delta_worker->pairs, &i, &key, &value);) {
                const struct delta_pair *pair = value;
                json_t *j = json_object_new(), *metadata = json_object_new();
                char name[2 * 12 + 3];
                if (json_array_size(list) == DELTAS_SHOWN)
                        must_do(json_array_remove(list, 0));
                (void)snprintf(name, sizeof(name), "%.12s-%.12s", pair->from, pair->to);
                json_put(metadata, "name", json_text(name));
                json_put(j, "metadata", metadata);
                json_put(j, "artifact", json_text(pair->artifact));
                json_put(j, "from", json_text(pair->from_version));
                json_put(j, "to", json_text(pair->to_version));
                json_put(j, "state", json_text(state_names[pair->state]));
                json_put(j, "nodes", json_number((int64_t)pair->nodes));
                json_put(j, "bytes", json_number(pair->bytes));
                json_put(j, "failures", json_number((int64_t)pair->failures));
                json_put(j, "retryInSeconds",
                         pair->state == RETRYING ? json_number((MAX(pair->retry_at - now, 0) + 999) / 1000)
                                                 : must(json_null()));
                json_put(j, "message", json_text(pair->message));
                json_add(list, j);
        }
        return list;
}

/* ---- life */

/* A work folder's public part, or the published folder itself; NULL: another's server, or not ours to write.
 */
static char *writable_folder(const char *location) {
        struct stat st;
        if (str_has_prefix(location, "http://") || str_has_prefix(location, "https://"))
                return NULL;
        char *folder = must(path_join(location, "public"));
        if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode))
                replace_text(&folder, location);
        if (access(folder, W_OK) == 0)
                return folder;
        free(folder);
        return NULL;
}

int delta_worker_open(struct control *c, struct err **err) {
        char *folder = c->settings->repository ? writable_folder(c->settings->repository) : NULL;
        if (!folder)
                return 0;
        struct delta_worker *w = NEW(struct delta_worker);
        w->control = c;
        w->folder = folder;
        w->pairs = must(table_new(pair_destroy));
        w->timer = must(loop_timer_new(c->loop, on_timer, w));
        w->retry = must(loop_timer_new(c->loop, on_retry, w));
        prng_seed_random(&w->random);
        c->delta_worker = w;
        return 0;
}

void delta_worker_stop(struct control *c) {
        struct delta_worker *w = c->delta_worker;
        if (!w || w->stopped)
                return;
        w->stopped = true;
        atomic_store(&w->cancelled, true);
        if (w->making)
                pthread_join(w->thread, NULL);
        w->timer = loop_timer_free(w->timer);
        w->retry = loop_timer_free(w->retry);
}

struct delta_worker *delta_worker_free(struct delta_worker *w) {
        if (!w)
                return NULL;
        table_free(w->pairs);
        err_free(w->error);
        free(w->folder);
        free(w);
        return NULL;
}
