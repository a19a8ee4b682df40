/* SPDX-License-Identifier: Apache-2.0 */
/* One file: what it does next, and the work on its bytes that blocks. */
#include "relay/repository_object.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/str.h"
#include "net/http_range.h"
#include "relay/repository_cache.h"

/* ---- work that blocks */

static void work_open(void *arg);
static void opened(void *arg);

static void begin_work(struct object *o, void (*work)(void *arg), void (*done)(void *arg)) {
        o->working++;
        o->busy = true;
        if (loop_work(o->all->context->loop, work, done, o) < 0) {
                o->working--;
                o->busy = false;
                object_fail(o, -ENOMEM, "out of memory");
        }
}

/* Has the file looked for in the store and opened, then goes on. */
void object_open(struct object *o) {
        begin_work(o, work_open, opened);
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
                        object_tell(o, w, 0, fd, NULL);
                        continue;
                }
                object_tell(o, w, fd == -ENOENT ? -EINPROGRESS : fd, -1,
                            "the cache here is too small for it");
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
                if (object_is_idle(o))
                        object_forget(o);
                return;
        }
        if (o->result < 0) {
                object_fail(o, o->result == -ENOSPC ? -EHOSTUNREACH : o->result,
                            "the cache here cannot be written to");
                object_forget_empty(o);
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
                if (object_is_idle(o))
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
                objects_make_room(all, all->bytes / 2);
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
                object_tell(o, w, fd < 0 ? -errno : 0, fd, NULL);
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
                        objects_close_idle(o->all);
                return;
        }
        if (list_is_empty(&o->waiters) && o->rounds > 0)
                return; /* nobody waits any more, and it does not come by itself: what there is stays */
        if (!o->retry || !loop_timer_is_set(o->retry))
                object_run_when_ready(o, first, last);
}

/* A peer asks: is all that it wants here, now? */
bool object_is_here(struct object *o, const struct repository_want *q) {
        struct waiter probe = {.range = q->range, .head = q->head};
        int64_t first, last;
        return o && o->file && !o->busy && !o->sha256[0] && blocks_of(o, &probe, &first, &last) &&
               (q->head || has_all(o, first, last));
}
