/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/edge_streams.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "base/str.h"
#include "base/table.h"

/* The wheel: a slot a second. A stream whose time is further off than the wheel is long lies in its slot for
 * more than one round. */
#define WHEEL_SLOTS 512
#define TICK_MS 1000

struct streams {
        struct loop *loop;
        msec_t heartbeat_ms;
        void (*closed)(void *arg, struct stream *s);
        void *arg;
        struct loop_timer *timer;
        struct prng random;
        msec_t started;
        uint64_t tick; /* the next slot to look at, counted from `started` */
        size_t open;
        uint64_t sent;
        struct list slots[WHEEL_SLOTS];
};

struct stream {
        struct list link; /* in a slot of the wheel */
        struct streams *all;
        struct http_exchange *exchange;
        void *owner;
        uint64_t due;          /* tick of its next look */
        uint32_t heartbeat_ms; /* agreed with the peer */
        uint32_t said_tick;    /* low bits of the tick in which something was said last */
        struct table *waiting; /* key -> struct line; NULL while nothing waits */
        size_t waiting_bytes;
};

struct line {
        size_t len;
        char text[];
};

static uint64_t tick_now(const struct streams *all) {
        return (uint64_t)(clock_mono_ms(loop_clock(all->loop)) - all->started) / TICK_MS;
}

/* Heartbeats come a little early by chance, so that nodes which connected together do not stay together. */
static uint64_t ticks_to_next(struct streams *all, uint32_t heartbeat_ms) {
        uint64_t ticks = MAX(heartbeat_ms / TICK_MS, 1u);
        return ticks - prng_below(&all->random, ticks / 5 + 1);
}

static void put_in_wheel(struct stream *s, uint64_t due) {
        s->due = due;
        list_append(&s->all->slots[due % WHEEL_SLOTS], &s->link);
}

static void stream_release(struct stream *s) {
        list_remove(&s->link);
        table_free(s->waiting);
        s->all->open--;
        if (s->all->open == 0)
                loop_timer_cancel(s->all->timer);
        free(s);
}

/* ---- saying */

static void said(struct stream *s) {
        s->said_tick = (uint32_t)tick_now(s->all);
}

/* 0, -EAGAIN (nothing taken) or -EPIPE. */
static int write_line(struct stream *s, const char *text, size_t len) {
        int r = http_write(s->exchange, text, len);
        if (r == 0)
                said(s);
        return r;
}

static void let_go(struct stream *s) {
        http_abort(s->exchange); /* its on_close() does the rest */
}

static void wait_with(struct stream *s, const char *key, const char *text, size_t len) {
        struct line *line = malloc(sizeof(*line) + len);
        if (!s->waiting)
                s->waiting = table_new(free);
        if (!line || !s->waiting) {
                free(line);
                let_go(s);
                return;
        }
        line->len = len;
        memcpy(line->text, text, len);
        const struct line *old = table_get(s->waiting, key);
        size_t old_len = old ? old->len : 0;
        if (table_set(s->waiting, key, line) < 0) {
                free(line);
                let_go(s);
                return;
        }
        s->waiting_bytes = s->waiting_bytes - old_len + len;
        if (s->waiting_bytes > STREAM_PENDING_BYTES)
                let_go(s);
}

void stream_send(struct stream *s, const char *key, const char *line, size_t len) {
        s->all->sent++;
        /* Behind lines that wait this one waits too, so that order holds. */
        int r = s->waiting && table_len(s->waiting) > 0 ? -EAGAIN : write_line(s, line, len);
        if (r == -EAGAIN)
                wait_with(s, key, line, len);
}

void stream_say_last(struct stream *s, const char *line, size_t len) {
        if (!s->waiting || table_len(s->waiting) == 0)
                (void)write_line(s, line, len);
}

static void on_drain(struct http_exchange *x, void *arg) {
        struct stream *s = arg;
        const char *key;
        void *value;
        for (size_t i = 0; s->waiting && table_next(s->waiting, &i, &key, &value);) {
                const struct line *line = value;
                size_t len = line->len;
                if (write_line(s, line->text, len) != 0)
                        return;
                s->waiting_bytes -= len;
                (void)table_remove(s->waiting, key);
        }
        s->waiting = table_free(s->waiting);
}

/* ---- heartbeats */

static void look_at(struct stream *s, uint64_t now) {
        static const char ping[] = "{\"type\":\"ping\"}\n";
        uint64_t wait = MAX(s->heartbeat_ms / TICK_MS, 1u);
        if (http_peer_has_expired(s->exchange)) {
                put_in_wheel(s, now + 1);
                let_go(s); /* it comes again with the certificate that it has by now */
                return;
        }
        uint32_t silent = (uint32_t)now - s->said_tick;
        if (silent < wait * 4 / 5 && wait > 1) { /* something else was said meanwhile */
                put_in_wheel(s, now + MAX(ticks_to_next(s->all, s->heartbeat_ms) - silent, (uint64_t)1));
                return;
        }
        put_in_wheel(s, now + ticks_to_next(s->all, s->heartbeat_ms));
        if (!s->waiting) /* a peer that is owed lines is not helped by one more */
                (void)write_line(s, ping, sizeof(ping) - 1);
}

static void on_tick(void *arg) {
        struct streams *all = arg;
        uint64_t now = tick_now(all);
        /* After a suspend every slot is late, and once round is enough. */
        if (now - all->tick >= WHEEL_SLOTS)
                all->tick = now - WHEEL_SLOTS + 1;
        for (; all->tick <= now; all->tick++) {
                struct list late;
                list_init(&late);
                LIST_FOREACH (it, &all->slots[all->tick % WHEEL_SLOTS]) {
                        if (LIST_ENTRY(it, struct stream, link)->due <= now) {
                                list_remove(it);
                                list_append(&late, it);
                        }
                }
                /* A write may end any stream, so the list is read afresh each time. */
                while (!list_is_empty(&late)) {
                        struct stream *s = LIST_ENTRY(late.next, struct stream, link);
                        list_remove(&s->link);
                        look_at(s, now);
                }
        }
        if (all->open > 0)
                loop_timer_set(all->timer, TICK_MS);
}

/* ---- life */

static void on_close(struct http_exchange *x, void *arg) {
        struct stream *s = arg;
        struct streams *all = s->all;
        if (all->closed)
                all->closed(all->arg, s);
        stream_release(s);
}

struct stream *stream_open(struct streams *all, struct http_exchange *x, msec_t heartbeat_ms, void *owner) {
        struct stream *s = calloc(1, sizeof(*s));
        if (!s) {
                http_respond_error(x, 503, "unavailable", "out of memory");
                return NULL;
        }
        msec_t heartbeat = heartbeat_ms > 0 ? heartbeat_ms : all->heartbeat_ms;
        heartbeat = MIN(MAX(heartbeat, (msec_t)STREAM_HEARTBEAT_MIN_MS), STREAM_HEARTBEAT_MAX_MS);
        list_init(&s->link);
        s->all = all;
        s->exchange = x;
        s->owner = owner;
        s->heartbeat_ms = (uint32_t)heartbeat;

        http_set_header(x, "Cache-Control", "no-store");
        char hello[128];
        int len = snprintf(hello, sizeof(hello), "{\"type\":\"hello\",\"heartbeat\":%u,\"time\":%lld}\n",
                           s->heartbeat_ms / 1000, (long long)clock_wall_ms(loop_clock(all->loop)));
        if (http_begin(x, 200, "application/x-ndjson") < 0 || http_write(x, hello, (size_t)len) < 0) {
                free(s);
                http_abort(x);
                return NULL;
        }
        if (all->open++ == 0) {
                all->tick = tick_now(all);
                loop_timer_set(all->timer, TICK_MS);
        }
        said(s);
        put_in_wheel(s, tick_now(all) + ticks_to_next(all, s->heartbeat_ms));
        http_on_close(x, on_close, s);
        http_on_drain(x, on_drain, s);
        return s;
}

void *stream_owner(const struct stream *s) {
        return s->owner;
}

void stream_close(struct stream *s) {
        struct http_exchange *x = s->exchange;
        http_on_close(x, NULL, NULL);
        http_on_drain(x, NULL, NULL);
        stream_release(s);
        http_finish(x);
}

void streams_end(struct streams *all) {
        all->closed = NULL;
        for (size_t i = 0; i < WHEEL_SLOTS; i++)
                while (!list_is_empty(&all->slots[i]))
                        stream_close(LIST_ENTRY(all->slots[i].next, struct stream, link));
}

uint64_t streams_sent(const struct streams *all) {
        return all->sent;
}

int streams_new(struct loop *l, msec_t heartbeat_ms, void (*closed)(void *arg, struct stream *s), void *arg,
                struct streams **ret, struct err **err) {
        struct streams *all = calloc(1, sizeof(*all));
        if (!all)
                return err_set(err, ENOMEM, "out of memory");
        all->loop = l;
        all->heartbeat_ms = heartbeat_ms;
        all->closed = closed;
        all->arg = arg;
        all->started = clock_mono_ms(loop_clock(l));
        prng_seed_random(&all->random);
        for (size_t i = 0; i < WHEEL_SLOTS; i++)
                list_init(&all->slots[i]);
        all->timer = loop_timer_new(l, on_tick, all);
        if (!all->timer) {
                free(all);
                return err_set(err, ENOMEM, "out of memory");
        }
        *ret = all;
        return 0;
}

struct streams *streams_free(struct streams *all) {
        if (!all)
                return NULL;
        loop_timer_free(all->timer);
        free(all);
        return NULL;
}
