/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/terminal.h"
#include "cli/print.h"

#define DRAW_MS 100
#define BAR_WIDTH 24
#define RATE_AFTER_MS 1000 /* before that, a rate says nothing */
#define LABEL_MAX 120

struct progress {
        pthread_mutex_t lock;
        bool live, drawn;
        char label[LABEL_MAX];
        msec_t began, last;
};

struct progress *progress_new(void) {
        struct progress *p = calloc(1, sizeof(*p));
        if (!p)
                return NULL;
        pthread_mutex_init(&p->lock, NULL);
        p->live = terminal_is_live(STDERR_FILENO);
        p->last = -DRAW_MS;
        return p;
}

static void put_bar(struct buf *out, int64_t done, int64_t total) {
        int filled = (int)(done * BAR_WIDTH / total);
        buf_puts(out, " [");
        for (int i = 0; i < BAR_WIDTH; i++)
                buf_putc(out, i < filled ? '#' : '.');
        buf_printf(out, "] %3d%%", (int)(done * 100 / total));
}

static void draw(struct progress *p, int64_t done, int64_t total, msec_t now) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        char size[32], rate[32];
        buf_printf(&out, "%s", p->label);
        if (total > 0)
                put_bar(&out, done > total ? total : done, total);
        if (done > 0)
                buf_printf(&out, "  %s", bytes_format(done, size, sizeof(size)));
        msec_t for_ms = now - p->began;
        if (for_ms >= RATE_AFTER_MS && done > 0) {
                buf_printf(&out, "  %s/s", bytes_format(done * 1000 / for_ms, rate, sizeof(rate)));
                if (total > done) {
                        int64_t left = (total - done) * for_ms / done / 1000;
                        buf_printf(&out, "  %lld:%02lld left", (long long)(left / 60),
                                   (long long)(left % 60));
                }
        }
        size_t width = terminal_width(STDERR_FILENO) - 1;
        (void)fprintf(stderr, "\r%.*s\033[K", (int)width, buf_str(&out));
        (void)fflush(stderr);
        p->drawn = true;
}

void progress_show(struct progress *p, const char *label, int64_t done, int64_t total) {
        if (!p || !p->live)
                return;
        pthread_mutex_lock(&p->lock);
        msec_t now = clock_mono_ms(clock_system());
        if (strncmp(p->label, label, LABEL_MAX - 1) != 0) {
                (void)snprintf(p->label, sizeof(p->label), "%s", label);
                p->began = now;
        }
        if (now - p->last >= DRAW_MS) {
                p->last = now;
                draw(p, done, total, now);
        }
        pthread_mutex_unlock(&p->lock);
}

struct progress *progress_free(struct progress *p) {
        if (!p)
                return NULL;
        if (p->drawn) {
                (void)fputs("\r\033[K", stderr);
                (void)fflush(stderr);
        }
        pthread_mutex_destroy(&p->lock);
        free(p);
        return NULL;
}
