/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/range_window.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/str.h"

struct range {
        struct range_window *window;
        struct download *download; /* NULL: it has ended */
        int64_t length, wire;
        struct buf body;
        int error;
        char *message;
        msec_t retry_after_ms;
};

struct range_window {
        struct repository_sources *sources;
        const struct download_limit *limit;
        void (*ready)(void *arg);
        void (*waits)(void *arg, const char *message);
        void *arg;
        struct range ranges[RANGE_WINDOW_MAX]; /* a ring */
        size_t first, n;
        int64_t under_way; /* bytes asked for */
        char *told;        /* message of the range taken last */
};

int range_window_new(struct repository_sources *sources, const struct download_limit *limit,
                     void (*ready)(void *arg), void (*waits)(void *arg, const char *message), void *arg,
                     struct range_window **ret) {
        struct range_window *w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->sources = sources;
        w->limit = limit;
        w->ready = ready;
        w->waits = waits;
        w->arg = arg;
        *ret = w;
        return 0;
}

static struct range *range_at(struct range_window *w, size_t i) {
        return &w->ranges[(w->first + i) % RANGE_WINDOW_MAX];
}

static void range_done(struct range *g) {
        download_free(g->download);
        buf_done(&g->body);
        free(g->message);
        *g = (struct range){0};
}

int64_t range_window_drop(struct range_window *w) {
        int64_t wire = 0;
        for (size_t i = 0; i < w->n; i++) {
                struct range *g = range_at(w, i);
                wire += g->download ? (int64_t)g->body.len : g->wire;
                range_done(g);
        }
        w->first = w->n = 0;
        w->under_way = 0;
        return wire;
}

struct range_window *range_window_free(struct range_window *w) {
        if (!w)
                return NULL;
        (void)range_window_drop(w);
        free(w->told);
        free(w);
        return NULL;
}

bool range_window_has_room(const struct range_window *w) {
        return w->n < RANGE_WINDOW_MAX && (w->n == 0 || w->under_way < RANGE_WINDOW_BYTES);
}

bool range_window_is_empty(const struct range_window *w) {
        return w->n == 0;
}

static int keep(void *arg, int64_t at, const char *p, size_t n) {
        struct range *g = arg;
        (void)at;
        return buf_append(&g->body, p, n);
}

/* Those behind it wait as well; one says it. */
static void range_waits(void *arg, const char *message) {
        struct range *g = arg;
        struct range_window *w = g->window;
        if (g == range_at(w, 0) && w->waits)
                w->waits(w->arg, message);
}

static void ended(void *arg, const struct download_result *r) {
        struct range *g = arg;
        struct range_window *w = g->window;
        g->download = NULL;
        g->error = r->error;
        g->wire = r->wire;
        g->retry_after_ms = r->retry_after_ms;
        g->message = r->error < 0 && r->message ? str_dup(r->message) : NULL;
        if (g == range_at(w, 0))
                w->ready(w->arg);
}

int range_window_ask(struct range_window *w, const char *path, int64_t offset, int64_t length, int64_t total,
                     size_t first_source, bool fresh, struct err **err) {
        if (w->n == RANGE_WINDOW_MAX)
                return err_set(err, ENOBUFS, "too many ranges under way");
        struct range *g = range_at(w, w->n);
        *g = (struct range){.window = w, .length = length, .body = {.limit = (size_t)length + 1}};
        const struct download_request q = {.path = path,
                                           .offset = offset,
                                           .length = length,
                                           .total = total,
                                           .first_source = first_source,
                                           .range_only = true,
                                           .fresh = fresh,
                                           .limit = w->limit,
                                           .on_data = keep,
                                           .waits = range_waits,
                                           .done = ended,
                                           .arg = g};
        int r = download_start(w->sources, &q, &g->download, err);
        if (r < 0) {
                range_done(g);
                return r;
        }
        w->n++;
        w->under_way += length;
        return 0;
}

bool range_window_take(struct range_window *w, struct range_result *ret) {
        struct range *g = range_at(w, 0);
        if (w->n == 0 || g->download)
                return false;
        free(w->told);
        w->told = TAKE_PTR(g->message);
        *ret = (struct range_result){
                .error = g->error, .message = w->told, .retry_after_ms = g->retry_after_ms, .wire = g->wire};
        ret->n = g->body.len;
        ret->bytes = ret->n > 0 ? buf_take(&g->body, &ret->n) : NULL;
        w->under_way -= g->length;
        range_done(g);
        w->first = (w->first + 1) % RANGE_WINDOW_MAX;
        w->n--;
        return true;
}
