/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_objects.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "relay/repository_cache.h"
#include "relay/repository_object.h"

#define TICK_MS 1000
#define OPEN_MAX_IDLE 64 /* files that nobody asks for at present and that stay open */
#define TRIM_EVERY ((int64_t)64 << 20)

/* ---- the table */

static void tick(void *arg);

static void note_waiting(struct repository_objects *all) {
        if (all->n_waiting > 0 && !loop_timer_is_set(all->tick))
                loop_timer_set(all->tick, TICK_MS);
}

static struct object *object_free(struct object *o) {
        if (!o)
                return NULL;
        block_file_free(o->file);
        loop_timer_free(o->retry);
        free(o->run.buffer);
        free(o->path);
        free(o->file_path);
        free(o);
        return NULL;
}
DEFINE_CLEANUP(struct object, object_free)

static int object_new(struct repository_objects *all, const char *key, struct object **ret) {
        _cleanup_(object_freep) struct object *o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;
        o->all = all;
        o->store = all->context->store;
        list_init(&o->waiters);
        list_init(&o->ready);
        o->expected = o->seen_length = -1;
        o->backoff = (struct backoff)BACKOFF_INIT(200, 5000);
        (void)snprintf(o->key, sizeof(o->key), "%s", key);
        o->file_path = path_join(all->folder, key);
        if (!o->file_path || table_set(all->table, key, o) < 0)
                return -ENOMEM;
        *ret = TAKE_PTR(o);
        return 0;
}

/* Out of the table and gone, once no worker has it. */
void object_forget(struct object *o) {
        struct repository_objects *all = o->all;
        (void)table_take(all->table, o->key);
        list_remove(&o->ready);
        object_count_bytes(o, 0);
        if (o->retry)
                loop_timer_cancel(o->retry);
        o->all = NULL;
        if (o->working == 0)
                object_free(o);
}

/* false: everything has gone meanwhile. */
bool object_is_back(struct object *o) {
        o->working--;
        if (!o->all && o->working == 0) {
                object_free(o);
                return false;
        }
        return o->all != NULL;
}

bool object_is_idle(const struct object *o) {
        return list_is_empty(&o->waiters) && !o->run.call && o->working == 0 && list_is_empty(&o->ready) &&
               !(o->retry && loop_timer_is_set(o->retry));
}

/* Nothing of it lies on the disk and nobody waits for it. Where the folder cannot be written to nothing ever
 * does, and whoever asks for one name after another would fill the memory with them. */
void object_forget_empty(struct object *o) {
        if (!o->file && o->counted == 0 && object_is_idle(o))
                object_forget(o);
}

void object_count_bytes(struct object *o, int64_t bytes) {
        struct repository_objects *all = o->all;
        all->bytes += bytes - o->counted;
        o->counted = bytes;
        object_store_set_beside(all->context->store, all->bytes);
}

/* Packs and what was never finished take at most half of what there is; the least recently used go. */
void objects_make_room(struct repository_objects *all, int64_t most) {
        while (all->bytes > most) {
                struct object *oldest = NULL;
                const char *key;
                void *value;
                for (size_t i = 0; table_next(all->table, &i, &key, &value);) {
                        struct object *o = value;
                        if (object_is_idle(o) && o->counted > 0 && (!oldest || o->used_at < oldest->used_at))
                                oldest = o;
                }
                if (!oldest)
                        return;
                block_file_remove(oldest->file_path);
                object_forget(oldest);
        }
}

void objects_close_idle(struct repository_objects *all) {
        for (;;) {
                struct object *oldest = NULL;
                size_t open = 0;
                const char *key;
                void *value;
                for (size_t i = 0; table_next(all->table, &i, &key, &value);) {
                        struct object *o = value;
                        if (!o->file || !object_is_idle(o))
                                continue;
                        open++;
                        if (!oldest || o->used_at < oldest->used_at)
                                oldest = o;
                }
                if (open <= OPEN_MAX_IDLE)
                        return;
                oldest->file = block_file_free(oldest->file);
                free(TAKE_PTR(oldest->run.buffer));
                oldest->run.fill = 0;
                if (oldest->counted == 0) {
                        block_file_remove(oldest->file_path);
                        object_forget(oldest);
                }
        }
}

/* ---- telling */

void object_tell(struct object *o, struct waiter *w, int error, int fd, const char *message) {
        struct repository_objects *all = o->all;
        struct edge_repository_file f = {
                .error = error,
                .fd = fd,
                .length = o->file && block_file_length(o->file) >= 0 ? block_file_length(o->file)
                                                                     : o->seen_length,
                .message = message,
        };
        list_remove(&w->link);
        all->n_waiting--;
        w->done(w->arg, &f);
        free(w);
}

static void tell_all(struct object *o, int error, const char *message) {
        struct list now;
        list_init(&now);
        while (!list_is_empty(&o->waiters)) {
                struct list *link = o->waiters.next;
                list_remove(link);
                list_append(&now, link);
        }
        while (!list_is_empty(&now))
                object_tell(o, LIST_ENTRY(now.next, struct waiter, link), error, -1, message);
}

/* Turns to the path that another waiter asked by; false: there is none. */
bool object_take_next_path(struct object *o) {
        LIST_FOREACH (it, &o->waiters) {
                const struct waiter *w = LIST_ENTRY(it, struct waiter, link);
                if (!str_eq(w->path, o->path))
                        return str_replace(&o->path, w->path) >= 0;
        }
        return false;
}

/* There is no such path. Others may be waiting for the same file by another one, which is then asked for:
 * nobody can hide a file by asking for it by a name that it does not have. */
void object_is_absent(struct object *o) {
        _cleanup_(x_freep) char *absent = str_dup(o->path);
        struct list now, *next;
        if (!absent || !object_take_next_path(o)) {
                object_fail(o, -ENOENT, NULL);
                return;
        }
        list_init(&now);
        for (struct list *link = o->waiters.next; link != &o->waiters; link = next) {
                next = link->next;
                if (!str_eq(LIST_ENTRY(link, struct waiter, link)->path, absent))
                        continue;
                list_remove(link);
                list_append(&now, link);
        }
        o->tried = o->absent = o->without = 0;
        while (!list_is_empty(&now))
                object_tell(o, LIST_ENTRY(now.next, struct waiter, link), -ENOENT, -1, NULL);
        object_advance(o);
}

void object_fail(struct object *o, int error, const char *message) {
        if (error != -ENOENT)
                o->all->context->stats->failures++;
        free(TAKE_PTR(o->run.buffer));
        o->run.fill = 0;
        o->rounds = 0;
        o->tried = o->absent = 0;
        backoff_reset(&o->backoff);
        tell_all(o, error, message);
        objects_close_idle(o->all);
}

/* ---- from outside */

static void after_bytes(struct repository_objects *all) {
        int64_t max = object_store_max(all->context->store);
        if (max > 0)
                objects_make_room(all, max / 2);
}

static void add_waiter(struct object *o, const struct repository_want *q, struct waiter *w) {
        struct repository_objects *all = o->all;
        w->head = q->head;
        w->fresh = q->fresh;
        w->until = q->patient ? INT64_MAX : repository_now(all->context) + all->patience_ms;
        list_append(&o->waiters, &w->link);
        all->n_waiting++;
        note_waiting(all);
}

static struct waiter *waiter_new(const struct repository_want *q,
                                 void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        size_t len = q->range ? strlen(q->range) + 1 : 0, path_len = strlen(q->path) + 1;
        struct waiter *w = calloc(1, sizeof(*w) + len + path_len);
        if (!w)
                return NULL;
        list_init(&w->link);
        w->done = done;
        w->arg = arg;
        if (len) {
                memcpy(w->text, q->range, len);
                w->range = w->text;
        }
        memcpy(w->text + len, q->path, path_len);
        w->path = w->text + len;
        return w;
}

/* Reading a large file through costs a worker its time: not for every word of everybody. */
static bool may_doubt(struct repository_objects *all, const char *sha256) {
        msec_t now = repository_now(all->context);
        if (!all->doubted || now - all->doubted_since >= DOUBT_EVERY_MS) {
                table_free(all->doubted);
                all->doubted = table_new(NULL);
                all->doubted_since = now;
        }
        return all->doubted && !table_get(all->doubted, sha256) && table_set(all->doubted, sha256, all) >= 0;
}

void repository_objects_get(struct repository_objects *all, const struct repository_want *q,
                            void (*done)(void *arg, const struct edge_repository_file *f), void *arg) {
        struct repository_context *c = all->context;
        struct edge_repository_file failed = repository_failure(-ENOMEM, "out of memory");
        struct object *o = table_get(all->table, q->key);
        bool seen =
                q->sha256 && repository_is_verified(c, q->sha256) && !(q->fresh && may_doubt(all, q->sha256));
        if (seen && !o) {
                int fd = object_store_open_object(c->store, q->sha256);
                if (fd >= 0) {
                        c->stats->hits++;
                        struct edge_repository_file f = {.fd = fd, .length = -1};
                        done(arg, &f);
                        return;
                }
        }
        bool in_store = q->sha256 && object_store_has(c->store, q->sha256);
        if (q->only_if_cached && !in_store && !object_is_here(o, q)) {
                failed = repository_failure(-ETIME, NULL);
                done(arg, &failed);
                return;
        }
        if (o && o->no_room_until > repository_now(c) && o->seen_length >= 0) {
                failed = repository_failure(-ENOSPC, "the disk here is full");
                failed.length = o->seen_length;
                done(arg, &failed);
                return;
        }
        struct waiter *w = waiter_new(q, done, arg);
        bool fresh_object = !o;
        if (!w || (!o && object_new(all, q->key, &o) < 0) ||
            /* The last one may have asked by a path that there is not. */
            ((!o->path || (list_is_empty(&o->waiters) && !o->run.call)) &&
             str_replace(&o->path, q->path) < 0)) {
                free(w);
                done(arg, &failed);
                return;
        }
        if (q->sha256 && !o->sha256[0])
                memcpy(o->sha256, q->sha256, sizeof(o->sha256));
        if (q->length >= 0)
                o->expected = q->length;
        o->used_at = clock_wall_ms(loop_clock(c->loop));
        if (q->sha256 && !in_store)
                w->waited = true;
        if (w->waited && !fresh_object && !list_is_empty(&o->waiters))
                c->stats->coalesced++;
        else if (w->waited)
                c->stats->misses++;
        if (list_is_empty(&o->waiters) && !o->run.call)
                o->tried = o->absent = o->without = 0;
        add_waiter(o, q, w);
        o->rounds = 0;
        if (!o->file && !o->busy)
                object_open(o);
        else
                object_advance(o);
        after_bytes(all);
}

static void tick(void *arg) {
        struct repository_objects *all = arg;
        msec_t now = repository_now(all->context);
        const char *key;
        void *value;
        /* Whoever is told may ask again at once, which adds to the table: collected first. */
        for (bool again = true; again;) {
                again = false;
                for (size_t i = 0; !again && table_next(all->table, &i, &key, &value);) {
                        struct object *o = value;
                        LIST_FOREACH (it, &o->waiters) {
                                struct waiter *w = LIST_ENTRY(it, struct waiter, link);
                                if (w->until > now)
                                        continue;
                                char text[96];
                                int64_t have = o->file ? block_file_bytes(o->file) : 0;
                                int64_t length = o->file ? block_file_length(o->file) : -1;
                                (void)snprintf(text, sizeof(text), "on its way: %lld of %lld bytes are here",
                                               (long long)have, (long long)MAX(length, have));
                                object_tell(o, w, -EINPROGRESS, -1, text);
                                again = true;
                                break;
                        }
                }
        }
        note_waiting(all);
}

void repository_objects_wake(struct repository_objects *all) {
        const char *key;
        void *value;
        for (size_t i = 0; table_next(all->table, &i, &key, &value);) {
                struct object *o = value;
                if (o->retry && loop_timer_is_set(o->retry))
                        loop_timer_set(o->retry, 0);
        }
}

int64_t repository_objects_bytes(const struct repository_objects *all) {
        return all->bytes;
}

size_t repository_objects_known(const struct repository_objects *all) {
        return table_len(all->table);
}

uint64_t repository_objects_waiting(const struct repository_objects *all) {
        return all->n_waiting;
}

/* ---- life */

static bool is_key(const char *name) {
        char digest[SHA256_HEX_SIZE];
        size_t len = strlen(name);
        if (len != SHA256_HEX_SIZE - 1 && !(len == SHA256_HEX_SIZE - 1 + 5 && str_has_suffix(name, ".pack")))
                return false;
        memcpy(digest, name, SHA256_HEX_SIZE - 1);
        digest[SHA256_HEX_SIZE - 1] = '\0';
        return sha256_hex_is_valid(digest);
}

/* What an earlier run left: counted now, opened when it is asked for. */
static int scan(struct repository_objects *all, struct err **err) {
        DIR *dir = opendir(all->folder);
        if (!dir)
                return err_set_errno(err, errno, "open %s", all->folder);
        int r = 0;
        for (struct dirent *d; r >= 0 && (d = readdir(dir));) {
                struct stat st;
                struct object *o = NULL;
                if (!is_key(d->d_name) || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    !S_ISREG(st.st_mode))
                        continue;
                r = object_new(all, d->d_name, &o);
                if (r < 0)
                        break;
                o->used_at = (msec_t)st.st_mtim.tv_sec * 1000;
                object_count_bytes(o, (int64_t)st.st_blocks * 512);
        }
        closedir(dir);
        return r < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

int repository_objects_new(const struct repository_objects_options *options, struct repository_objects **ret,
                           struct err **err) {
        struct repository_objects *all = calloc(1, sizeof(*all));
        if (!all)
                return err_set(err, ENOMEM, "out of memory");
        all->context = options->context;
        all->patience_ms = options->patience_ms;
        objects_limit_begin(all, options->limit);
        list_init(&all->ready);
        all->table = table_new(NULL);
        all->folder = path_join(options->context->work, "parts");
        all->tick = loop_timer_new(options->context->loop, tick, all);
        all->turn = loop_timer_new(options->context->loop, objects_take_turns, all);
        int r = all->table && all->folder && all->tick && all->turn ? dir_make(all->folder, 0700, err)
                                                                    : err_set(err, ENOMEM, "out of memory");
        if (r >= 0)
                r = scan(all, err);
        if (r < 0) {
                repository_objects_free(all);
                return r;
        }
        after_bytes(all);
        *ret = all;
        return 0;
}

struct repository_objects *repository_objects_free(struct repository_objects *all) {
        if (!all)
                return NULL;
        const char *key;
        void *value;
        for (size_t i = 0; all->table && table_next(all->table, &i, &key, &value);) {
                struct object *o = value;
                tell_all(o, -ECANCELED, "stopping");
                object_run_cancel(o);
                object_forget(o);
        }
        loop_timer_free(all->tick);
        loop_timer_free(all->turn);
        table_free(all->table);
        table_free(all->doubted);
        free(all->folder);
        free(all);
        return NULL;
}
