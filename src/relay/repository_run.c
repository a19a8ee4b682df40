/* SPDX-License-Identifier: Apache-2.0 */
/* One request after the other for the missing blocks of a file: which source, how much, what came of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/table.h"
#include "relay/repository_cache.h"
#include "relay/repository_object.h"

/* ---- bandwidth and turns */

static struct transfer_time time_now(const struct repository_objects *all) {
        const struct clock *clock = loop_clock(all->context->loop);
        struct transfer_time t = {.monotonic_ms = clock_mono_ms(clock),
                                  .wall_s = clock_wall_ms(clock) / 1000};
        time_t seconds = (time_t)t.wall_s;
        struct tm tm;
        if (localtime_r(&seconds, &tm))
                t.utc_offset_s = (int32_t)tm.tm_gmtoff;
        return t;
}

void objects_limit_begin(struct repository_objects *all, const struct transfer_policy *policy) {
        struct transfer_time t = time_now(all);
        all->is_limited = policy != NULL;
        if (policy)
                transfer_limit_init(&all->limit, policy, NULL, &t);
}

static void charge(struct repository_objects *all, int64_t bytes) {
        struct transfer_time t = time_now(all);
        if (all->is_limited)
                transfer_limit_used(&all->limit, &t, bytes);
}

/* How many bytes may be asked for now; 0: later, and *ret_wait says when. */
static int64_t allowance(struct repository_objects *all, msec_t *ret_wait) {
        if (!all->is_limited)
                return REQUEST_BYTES_MAX;
        struct transfer_time t = time_now(all);
        int64_t allowed = transfer_limit_allowed(&all->limit, &t);
        *ret_wait = transfer_limit_wait_ms(&all->limit, &t, REQUEST_BYTES_MIN);
        if (*ret_wait == 0 && allowed > 0)
                return MIN(allowed, REQUEST_BYTES_MAX);
        *ret_wait = MAX(MIN(*ret_wait, (int64_t)3600 * 1000), (int64_t)1);
        return 0;
}

static void wait_for_turn(struct object *o, msec_t in_ms) {
        struct repository_objects *all = o->all;
        if (list_is_empty(&o->ready))
                list_append(&all->ready, &o->ready);
        if (in_ms >= 0 && !loop_timer_is_set(all->turn))
                loop_timer_set(all->turn, in_ms);
}

void objects_take_turns(void *arg) {
        struct repository_objects *all = arg;
        struct list now;
        list_init(&now);
        while (!list_is_empty(&all->ready)) {
                struct list *link = all->ready.next;
                list_remove(link);
                list_append(&now, link);
        }
        while (!list_is_empty(&now)) {
                struct object *o = LIST_ENTRY(now.next, struct object, ready);
                list_remove(&o->ready);
                object_advance(o);
        }
}

static void run_ended(struct repository_objects *all) {
        all->runs--;
        if (!list_is_empty(&all->ready) && !loop_timer_is_set(all->turn))
                loop_timer_set(all->turn, 0);
}

/* ---- blocks to the disk */

struct write {
        struct object *object;
        struct block_file *file;
        int64_t block;
        size_t n;
        char *bytes;
        int result;
};

static void work_write(void *arg) {
        struct write *w = arg;
        w->result = block_file_write(w->file, w->block, w->bytes, w->n);
}

static void block_done(struct object *o, int64_t block, int result) {
        if (result < 0) {
                o->write_error = o->write_error ? o->write_error : result;
                return;
        }
        block_file_add(o->file, block);
        object_count_bytes(o, block_file_bytes(o->file));
}

static void forget_write(struct object *o, int64_t block) {
        for (unsigned i = 0; i < o->writes; i++)
                if (o->writing[i] == block) {
                        o->writing[i] = o->writing[--o->writes];
                        return;
                }
}

static void written(void *arg) {
        struct write *w = arg;
        struct object *o = w->object;
        int64_t block = w->block;
        int result = w->result;
        free(w->bytes);
        free(w);
        forget_write(o, block);
        if (!object_is_back(o))
                return;
        block_done(o, block, result);
        object_advance(o);
}

/* The block in the buffer is whole. */
static int flush_block(struct object *o, int64_t block) {
        struct run *run = &o->run;
        struct write *w = o->writes < WRITES_MAX ? calloc(1, sizeof(*w)) : NULL;
        if (!w) { /* the disk is slower than the link: the link waits */
                block_done(o, block, block_file_write(o->file, block, run->buffer, run->fill));
                run->fill = 0;
                return o->write_error;
        }
        *w = (struct write){o, o->file, block, run->fill, TAKE_PTR(run->buffer), 0};
        run->fill = 0;
        o->writing[o->writes++] = block;
        o->working++;
        if (loop_work(o->all->context->loop, work_write, written, w) < 0) {
                forget_write(o, block);
                o->working--;
                block_done(o, block, -ENOMEM);
                free(w->bytes);
                free(w);
        }
        return o->write_error;
}

/* ---- what comes */

static int refuse(struct object *o, int error) {
        o->run.error = error;
        o->run.lied = true;
        return error;
}

static int on_head(void *arg, const struct repository_head *h) {
        struct object *o = arg;
        struct run *run = &o->run;
        struct repository_source *s = &o->all->context->sources.all[run->source];
        if (h->is_page || h->total < 0 || h->total > BLOCK_FILE_MAX)
                return refuse(o, -EBADMSG);
        if (o->expected >= 0 && h->total != o->expected)
                return refuse(o, -EBADMSG);
        int64_t length = block_file_length(o->file);
        if (length >= 0 && length != h->total) {
                o->in_conflict = true;
                return refuse(o, -EBADMSG);
        }
        if (h->is_part && h->first != run->at)
                return refuse(o, -EBADMSG);
        o->seen_length = h->total;
        int64_t max = object_store_max(o->store);
        if (max > 0 && h->total > max) {
                o->write_error = -EFBIG;
                return -EFBIG;
        }
        if (length < 0) {
                int r = block_file_set_length(o->file, h->total, NULL);
                if (r < 0) {
                        o->write_error = r;
                        return r;
                }
        }
        run->end = h->is_part ? MIN(run->end, h->total) : h->total;
        if (!h->is_part) {
                s->no_ranges = run->at > 0 || s->no_ranges;
                run->skip = run->at;
        }
        return 0;
}

static int on_data(void *arg, const char *p, size_t n) {
        struct object *o = arg;
        struct run *run = &o->run;
        run->received += (int64_t)n;
        size_t skipped = (size_t)MIN((int64_t)n, run->skip);
        run->skip -= (int64_t)skipped;
        p += skipped;
        n -= skipped;
        if ((int64_t)n > run->end - run->at)
                return refuse(o, -EBADMSG); /* more than it said */
        while (n > 0) {
                int64_t block = run->at / BLOCK_BYTES;
                size_t size = (size_t)block_file_size(o->file, block);
                if (!run->buffer)
                        run->buffer = malloc(size);
                if (!run->buffer)
                        return run->error = -ENOMEM;
                size_t part = MIN(n, size - run->fill);
                memcpy(run->buffer + run->fill, p, part);
                run->fill += part;
                run->at += (int64_t)part;
                p += part;
                n -= part;
                if (run->fill == size && flush_block(o, block) < 0)
                        return o->write_error;
        }
        return 0;
}

static void on_retry(void *arg) {
        object_advance(arg);
}

/* All sources have been asked. */
static void round_over(struct object *o) {
        struct repository_context *c = o->all->context;
        bool nobody = o->tried == 0 && o->without == 0;
        /* Who has given a part of it cannot be overruled by who has not. */
        if (o->tried && block_file_length(o->file) < 0 &&
            repository_sources_are_sure(&c->sources, o->absent, o->tried)) {
                object_is_absent(o);
                return;
        }
        if (o->in_conflict) { /* the first word on its length may have been the wrong one */
                o->in_conflict = false;
                o->distrusted |= o->contributed;
                o->contributed = 0;
                o->run.fill = 0;
                (void)block_file_reset(o->file, NULL);
                object_count_bytes(o, 0);
        }
        bool has_some = block_file_bytes(o->file) > 0 || o->run.fill > 0;
        o->tried = o->absent = o->without = 0;
        if (++o->rounds >= ROUNDS_MAX || (nobody && !has_some)) {
                o->distrusted = 0;
                object_fail(o, -EHOSTUNREACH, NULL);
                return;
        }
        if (o->rounds > 1)
                o->distrusted = 0;
        (void)object_take_next_path(o); /* perhaps that is the one that there is */
        if (!o->retry)
                o->retry = loop_timer_new(c->loop, on_retry, o);
        if (!o->retry)
                object_fail(o, -ENOMEM, "out of memory");
        else
                loop_timer_set(o->retry, backoff_next(&o->backoff, &c->random, -1));
}

static bool is_absent(const struct repository_source *s, int status) {
        /* Object stores answer 403 for what is not there; our own server means it. */
        return status == 404 || status == 410 || (status == 403 && s->kind == SOURCE_MIRROR);
}

static void on_done(void *arg, const struct repository_result *r) {
        struct object *o = arg;
        struct repository_context *c = o->all->context;
        struct run *run = &o->run;
        struct repository_source *s = &c->sources.all[run->source];
        source_mask bit = (source_mask)1 << run->source;
        run->call = NULL;
        run_ended(o->all);
        repository_count(c, run->source, (uint64_t)run->received);
        if (s->kind != SOURCE_PEER)
                charge(o->all, run->received);
        if (run->received > 0 && !run->lied) {
                o->contributed |= bit;
                o->rounds = 0;
                o->tried = o->absent = 0;
                backoff_reset(&o->backoff);
        }
        if (r->status == 416 && run->at == 0 && r->total == 0 && block_file_length(o->file) < 0)
                o->write_error = block_file_set_length(o->file, 0, NULL);
        else if (o->write_error < 0)
                ; /* not its fault */
        else if (r->error == 0 && (r->status == 200 || r->status == 206) && run->at >= run->end)
                repository_source_did_well(s, (uint64_t)run->received);
        else if ((s->kind == SOURCE_PEER && r->status == 504) || r->has_none)
                o->without |= bit;
        else if (is_absent(s, r->status)) {
                o->absent |= bit;
                o->tried |= bit;
        } else {
                /* What we think is in the middle of the file it thinks is behind its end. */
                if (r->status == 416 && r->total >= 0 && r->total != block_file_length(o->file))
                        o->in_conflict = true;
                o->tried |= bit;
                repository_source_failed(s, run->lied, repository_now(c), r->retry_after_ms, &c->random);
        }
        object_advance(o);
}

static void start(struct object *o, unsigned source, int64_t first, int64_t last, int64_t most) {
        struct repository_context *c = o->all->context;
        struct run *run = &o->run;
        int64_t length = block_file_length(o->file);
        /* Where the last one broke off, if it was in this block. */
        if (run->fill > 0 && run->at / BLOCK_BYTES != first)
                run->fill = 0;
        if (run->fill == 0)
                free(TAKE_PTR(run->buffer));
        run->at = first * BLOCK_BYTES + (int64_t)run->fill;
        run->end = last < (BLOCK_FILE_MAX / BLOCK_BYTES) ? (last + 1) * BLOCK_BYTES : BLOCK_FILE_MAX;
        if (length >= 0)
                run->end = MIN(run->end, length);
        if (!c->sources.all[source].no_ranges)
                run->end = MIN(run->end, run->at + most);
        run->source = source;
        run->skip = run->received = 0;
        run->error = 0;
        run->lied = false;
        struct repository_get get = {
                .source = source,
                .path = o->path,
                .first = run->at,
                .last = run->end - 1,
                .on_head = on_head,
                .on_data = on_data,
                .done = on_done,
                .arg = o,
        };
        int r = c->transport.get(c->transport.arg, &get, &run->call);
        if (r < 0) {
                run->call = NULL;
                object_fail(o, r, "out of memory");
                return;
        }
        o->all->runs++;
}

void object_run_when_ready(struct object *o, int64_t first, int64_t last) {
        struct repository_objects *all = o->all;
        struct repository_context *c = all->context;
        unsigned source = 0;
        msec_t wait = 0;
        if (all->runs >= RUNS_MAX) {
                wait_for_turn(o, -1);
                return;
        }
        if (repository_sources_pick(&c->sources, true, o->tried | o->distrusted | o->without,
                                    repository_now(c), true, &source) < 0) {
                round_over(o);
                return;
        }
        bool is_far = c->sources.all[source].kind != SOURCE_PEER;
        int64_t most = is_far ? allowance(all, &wait) : REQUEST_BYTES_MAX;
        if (most == 0)
                wait_for_turn(o, wait);
        else
                start(o, source, first, last, most);
}

void object_run_cancel(struct object *o) {
        if (!o->run.call)
                return;
        o->all->context->transport.cancel(o->all->context->transport.arg, TAKE_PTR(o->run.call));
        o->all->runs--;
}
