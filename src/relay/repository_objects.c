/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/repository_objects.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/list.h"
#include "base/str.h"
#include "base/table.h"
#include "net/http_range.h"
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
static void object_forget(struct object *o) {
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

static bool is_idle(const struct object *o) {
        return list_is_empty(&o->waiters) && !o->run.call && o->working == 0 && list_is_empty(&o->ready) &&
               !(o->retry && loop_timer_is_set(o->retry));
}

void object_count_bytes(struct object *o, int64_t bytes) {
        struct repository_objects *all = o->all;
        all->bytes += bytes - o->counted;
        o->counted = bytes;
        object_store_set_beside(all->context->store, all->bytes);
}

/* Packs and what was never finished take at most half of what there is; the least recently used go. */
static void make_room_beside(struct repository_objects *all, int64_t most) {
        while (all->bytes > most) {
                struct object *oldest = NULL;
                const char *key;
                void *value;
                for (size_t i = 0; table_next(all->table, &i, &key, &value);) {
                        struct object *o = value;
                        if (is_idle(o) && o->counted > 0 && (!oldest || o->used_at < oldest->used_at))
                                oldest = o;
                }
                if (!oldest)
                        return;
                block_file_remove(oldest->file_path);
                object_forget(oldest);
        }
}

static void close_idle(struct repository_objects *all) {
        for (;;) {
                struct object *oldest = NULL;
                size_t open = 0;
                const char *key;
                void *value;
                for (size_t i = 0; table_next(all->table, &i, &key, &value);) {
                        struct object *o = value;
                        if (!o->file || !is_idle(o))
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

static void tell(struct object *o, struct waiter *w, int error, int fd, const char *message) {
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
                tell(o, LIST_ENTRY(now.next, struct waiter, link), error, -1, message);
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
                tell(o, LIST_ENTRY(now.next, struct waiter, link), -ENOENT, -1, NULL);
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
        close_idle(o->all);
}

/* ---- work that blocks */

static void begin_work(struct object *o, void (*work)(void *arg), void (*done)(void *arg)) {
        o->working++;
        o->busy = true;
        if (loop_work(o->all->context->loop, work, done, o) < 0) {
                o->working--;
                o->busy = false;
                object_fail(o, -ENOMEM, "out of memory");
        }
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

static bool came_back(struct object *o) {
        o->busy = false;
        return object_is_back(o);
}

static void work_open(void *arg) {
        struct object *o = arg;
        o->in_store = false;
        if (o->sha256[0] && object_store_has(o->store, o->sha256)) {
                o->result = object_store_check(o->store, o->sha256, NULL);
                if (o->result >= 0) {
                        o->in_store = true;
                        return;
                }
                o->was_damaged |= o->result == -EBADMSG;
        }
        if (!o->file)
                o->result = block_file_open(o->file_path, &o->file, NULL);
}

static void hand_out_from_store(struct object *o) {
        while (!list_is_empty(&o->waiters)) {
                struct waiter *w = LIST_ENTRY(o->waiters.next, struct waiter, link);
                int fd = object_store_open_object(o->store, o->sha256);
                if (fd >= 0) {
                        tell(o, w, 0, fd, NULL);
                        continue;
                }
                tell(o, w, fd == -ENOENT ? -EINPROGRESS : fd, -1, "the cache here is too small for it");
        }
}

static void opened(void *arg) {
        struct object *o = arg;
        if (!came_back(o))
                return;
        struct repository_context *c = o->all->context;
        if (o->was_damaged)
                c->stats->damaged++;
        o->was_damaged = false;
        if (o->in_store) {
                c->stats->verified++;
                c->stats->hits++;
                repository_set_verified(c, o->sha256);
                hand_out_from_store(o);
                if (is_idle(o))
                        object_forget(o);
                return;
        }
        if (o->result < 0) {
                object_fail(o, o->result == -ENOSPC ? -EHOSTUNREACH : o->result,
                            "the cache here cannot be written to");
                return;
        }
        object_count_bytes(o, block_file_bytes(o->file));
        object_advance(o);
}

static void work_adopt(void *arg) {
        struct object *o = arg;
        o->result = object_store_adopt(o->store, o->sha256, o->file_path, NULL);
        if (o->result >= 0) {
                block_file_remove(o->file_path); /* its map; the file has another name now */
                (void)object_store_trim(o->store, NULL);
                return;
        }
        o->n_bad = 0;
        for (int64_t i = 0; o->result == -EBADMSG && i < block_file_count(o->file); i++)
                if (block_file_check(o->file, i) < 0) {
                        (void)block_file_drop(o->file, i);
                        o->n_bad++;
                }
}

/* All of it is here and it is not what it should be, nor damaged: whoever gave it lied, and all who gave a
 * part are under suspicion. */
static void take_for_lie(struct object *o) {
        struct repository_context *c = o->all->context;
        c->stats->refused++;
        for (unsigned i = 0; i < c->sources.n; i++)
                if (o->contributed & (source_mask)1 << i)
                        repository_source_failed(&c->sources.all[i], true, repository_now(c), -1, &c->random);
        o->distrusted |= o->contributed;
        o->contributed = 0;
        (void)block_file_reset(o->file, NULL);
        object_count_bytes(o, 0);
        if (++o->lies > c->sources.n) {
                o->lies = 0;
                o->distrusted = 0;
                object_fail(o, -EHOSTUNREACH, "what its origin gives is not this file");
                return;
        }
        object_advance(o);
}

static void adopted(void *arg) {
        struct object *o = arg;
        if (!came_back(o))
                return;
        struct repository_context *c = o->all->context;
        if (o->result == -EBADMSG && o->n_bad > 0) {
                c->stats->damaged++;
                object_count_bytes(o, block_file_bytes(o->file));
                object_advance(o);
        } else if (o->result == -EBADMSG) {
                take_for_lie(o);
        } else if (o->result < 0) {
                object_no_room(o, o->result);
        } else {
                c->stats->verified++;
                repository_set_verified(c, o->sha256);
                o->seen_length = block_file_length(o->file);
                o->file = block_file_free(o->file);
                object_count_bytes(o, 0);
                hand_out_from_store(o);
                if (is_idle(o))
                        object_forget(o);
                else
                        begin_work(o, work_open, opened); /* asked for by somebody who was just told */
        }
}

/* Only looks: blocks are added meanwhile. */
static void work_check(void *arg) {
        struct object *o = arg;
        o->result = 0;
        for (int64_t i = o->check_first; o->result == 0 && i <= o->check_last; i++)
                if (!block_file_is_checked(o->file, i)) {
                        o->result = block_file_check(o->file, i);
                        o->check_bad = i;
                }
}

static void checked(void *arg) {
        struct object *o = arg;
        if (!came_back(o))
                return;
        if (o->result == -EBADMSG) {
                o->all->context->stats->damaged++;
                (void)block_file_drop(o->file, o->check_bad);
                object_count_bytes(o, block_file_bytes(o->file));
        } else if (o->result < 0) {
                object_fail(o, -EHOSTUNREACH, "the cache here cannot be read");
                return;
        } else {
                for (int64_t i = o->check_first; i <= o->check_last; i++)
                        block_file_set_checked(o->file, i);
        }
        object_advance(o);
}

static void work_room(void *arg) {
        struct object *o = arg;
        o->result = object_store_make_room(o->store, o->room, NULL);
}

static void room_made(void *arg) {
        struct object *o = arg;
        if (!came_back(o))
                return;
        if (o->result < 0)
                object_no_room(o, o->result);
        else
                object_advance(o);
}

/* Older files go, once; then it is passed through for a while without being kept. */
void object_no_room(struct object *o, int error) {
        struct repository_objects *all = o->all;
        if (o->working > 0) /* the last write that comes back will see to it */
                return;
        o->write_error = 0;
        if (error == -ENOSPC && !o->made_room && object_store_max(o->store) > 0) {
                o->made_room = true;
                o->room = ROOM_BYTES + MAX(o->seen_length, (int64_t)0);
                make_room_beside(all, all->bytes / 2);
                begin_work(o, work_room, room_made);
                return;
        }
        o->made_room = false;
        o->no_room_until = repository_now(all->context) + NO_ROOM_MS;
        object_fail(o, -ENOSPC, "the disk here is full");
}

/* ---- who waits for what */

/* Which blocks of the pack a waiter needs; false: its length is not known yet, and *ret_first is where to
 * begin. */
static bool blocks_of(const struct object *o, const struct waiter *w, int64_t *ret_first, int64_t *ret_last) {
        int64_t length = o->file ? block_file_length(o->file) : -1;
        uint64_t first = 0, last = 0;
        enum http_range_result r = http_range_parse(
                w->range, length >= 0 ? (uint64_t)length : (uint64_t)BLOCK_FILE_MAX, &first, &last);
        if (r != HTTP_RANGE_PART) {
                first = 0;
                last = length > 0 ? (uint64_t)length - 1 : 0;
        }
        if (r == HTTP_RANGE_UNSATISFIABLE || w->head)
                last = first = 0;
        if (length < 0 && w->range && str_has_prefix(w->range, "bytes=-"))
                first = 0;
        *ret_first = (int64_t)first / BLOCK_BYTES;
        *ret_last = (int64_t)last / BLOCK_BYTES;
        return length >= 0;
}

/* The part of a pack from `first` to `last`: does it need a look? */
static bool is_checked(const struct object *o, int64_t first, int64_t last) {
        for (int64_t i = first; i <= last; i++)
                if (!block_file_is_checked(o->file, i))
                        return false;
        return true;
}

static bool has_all(const struct object *o, int64_t first, int64_t last) {
        return block_file_missing(o->file, first) > last;
}

/* A node found that a part of the pack is not what it should be. Nobody but a node that has the rest of the
 * target can tell, so its word is taken, now and then: that part is fetched again, from somebody else where
 * there is somebody. */
static void doubt(struct object *o, int64_t first, int64_t last) {
        msec_t now = repository_now(o->all->context);
        if (o->doubted_at && now - o->doubted_at < DOUBT_EVERY_MS)
                return;
        o->doubted_at = now;
        o->all->context->stats->damaged++;
        o->distrusted |= o->contributed;
        o->contributed = 0;
        for (int64_t i = first; i <= last; i++)
                (void)block_file_drop(o->file, i);
        object_count_bytes(o, block_file_bytes(o->file));
}

/* Tells those whose part of the pack is there. true: a worker was given something to do first. */
static bool serve_pack(struct object *o) {
        LIST_FOREACH (it, &o->waiters) {
                struct waiter *w = LIST_ENTRY(it, struct waiter, link);
                int64_t first, last;
                if (!blocks_of(o, w, &first, &last))
                        continue;
                bool empty = block_file_count(o->file) == 0;
                if (w->fresh && !w->head && !empty) {
                        if (o->writes > 0)
                                continue;
                        w->fresh = false;
                        doubt(o, first, last);
                }
                if (!empty && !w->head && !has_all(o, first, last)) {
                        w->waited = true;
                        continue;
                }
                if (!empty && !w->head && !is_checked(o, first, last)) {
                        o->check_first = first;
                        o->check_last = last;
                        begin_work(o, work_check, checked);
                        return true;
                }
                if (!w->waited)
                        o->all->context->stats->hits++;
                int fd = fcntl(block_file_fd(o->file), F_DUPFD_CLOEXEC, 0);
                tell(o, w, fd < 0 ? -errno : 0, fd, NULL);
        }
        return false;
}

static bool is_coming(const struct object *o, int64_t block) {
        for (unsigned i = 0; i < o->writes; i++)
                if (o->writing[i] == block)
                        return true;
        return false;
}

/* The first block from `from` on that neither is here nor on its way to the disk. */
static int64_t next_missing(const struct object *o, int64_t from) {
        from = block_file_missing(o->file, from);
        while (from < block_file_count(o->file) && is_coming(o, from))
                from = block_file_missing(o->file, from + 1);
        return from;
}

/* How far the gap that begins at `first` goes, as far as one request may. */
static int64_t end_of_gap(const struct object *o, int64_t first, int64_t last) {
        int64_t end = first;
        last = MIN(last, first + REQUEST_BYTES_MAX / BLOCK_BYTES);
        while (end < last && !block_file_has(o->file, end + 1) && !is_coming(o, end + 1))
                end++;
        return end;
}

/* The next block that somebody wants and that is not here; -1: there is none. *ret_last: of those that
 * follow, the last one that is wanted and missing as well. */
static int64_t next_wanted(const struct object *o, int64_t *ret_last) {
        if (o->sha256[0]) {
                int64_t count = o->file ? block_file_count(o->file) : 0;
                bool known = block_file_length(o->file) >= 0;
                int64_t first = known ? next_missing(o, 0) : 0;
                if (known && first >= count)
                        return -1;
                *ret_last = end_of_gap(o, first, known ? count - 1 : INT64_MAX / BLOCK_BYTES);
                return first;
        }
        LIST_FOREACH (it, &o->waiters) {
                const struct waiter *w = LIST_ENTRY(it, struct waiter, link);
                int64_t first, last;
                if (!blocks_of(o, w, &first, &last)) {
                        *ret_last = MIN(last, first + REQUEST_BYTES_MAX / BLOCK_BYTES);
                        return first;
                }
                if (w->head || block_file_count(o->file) == 0)
                        continue;
                first = next_missing(o, first);
                if (first > last)
                        continue;
                *ret_last = end_of_gap(o, first, last);
                return first;
        }
        return -1;
}

/* Does what is next. Called whenever something has changed. */
void object_advance(struct object *o) {
        int64_t first, last = 0;
        if (o->busy || !o->file)
                return;
        if (o->write_error < 0) {
                if (!o->run.call)
                        object_no_room(o, o->write_error);
                return;
        }
        if (!o->sha256[0] && serve_pack(o))
                return;
        if (o->run.call)
                return;
        first = next_wanted(o, &last);
        if (first < 0) {
                if (o->sha256[0] && o->writes == 0)
                        begin_work(o, work_adopt, adopted);
                else if (!o->sha256[0])
                        close_idle(o->all);
                return;
        }
        if (list_is_empty(&o->waiters) && o->rounds > 0)
                return; /* nobody waits any more, and it does not come by itself: what there is stays */
        if (!o->retry || !loop_timer_is_set(o->retry))
                object_run_when_ready(o, first, last);
}

/* ---- from outside */

static void after_bytes(struct repository_objects *all) {
        int64_t max = object_store_max(all->context->store);
        if (max > 0)
                make_room_beside(all, max / 2);
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

/* A peer asks: is all that it wants here, now? */
static bool is_here(struct object *o, const struct repository_want *q) {
        struct waiter probe = {.range = q->range, .head = q->head};
        int64_t first, last;
        return o && o->file && !o->busy && !o->sha256[0] && blocks_of(o, &probe, &first, &last) &&
               (q->head || has_all(o, first, last));
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
        if (q->only_if_cached && !in_store && !is_here(o, q)) {
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
                begin_work(o, work_open, opened);
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
                                tell(o, w, -EINPROGRESS, -1, text);
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
