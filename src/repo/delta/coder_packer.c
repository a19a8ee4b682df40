/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_packer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "repo/delta/format.h"

#define AHEAD_MAX                                                                                            \
        ((int64_t)2 << 20) /* bytes that wait to be packed, or to be written after their file was closed */
#define ALONE_FROM ((int64_t)1 << 20) /* files of so many bytes, plain and packed, are not packed ahead */

struct delta_packing {
        struct delta_packer *packer;
        struct delta_packing *next; /* in the queue */
        unsigned refs;
        bool closed, done;
        int result;
        struct delta_deflate_style style;
        int64_t plain_length, length, head_length, kept;
        uint8_t *plain, *bytes;
};

struct delta_packer {
        const atomic_bool *cancel;
        pthread_t thread;
        bool running, stop;
        pthread_mutex_t lock;
        pthread_cond_t more, less; /* less: something was done or let go */
        struct delta_packing *first, *last;
        int64_t ahead;
};

/* ---- The thread */

static int pack(struct delta_packer *p, struct delta_packing *g) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        out.limit = (size_t)DELTA_PACKED_MAX * 2;
        int r = delta_deflate(&g->style, g->plain, (size_t)g->plain_length, p->cancel, &out);
        if (r == -ECANCELED || r == -ENOMEM)
                return r;
        if (r < 0 || (int64_t)out.len < g->kept)
                return -EBADMSG;
        if (g->kept > 0)
                memcpy(g->bytes + g->head_length, out.data, (size_t)g->kept);
        return 0;
}

static void *work(void *arg) {
        struct delta_packer *p = arg;
        pthread_mutex_lock(&p->lock);
        for (;;) {
                while (!p->first && !p->stop)
                        pthread_cond_wait(&p->more, &p->lock);
                struct delta_packing *g = p->first;
                if (!g)
                        break;
                p->first = g->next;
                bool stop = p->stop;
                pthread_mutex_unlock(&p->lock);
                int r = stop ? -ECANCELED : pack(p, g);
                free(TAKE_PTR(g->plain));
                pthread_mutex_lock(&p->lock);
                g->result = r;
                g->done = true;
                p->ahead -= g->plain_length;
                pthread_cond_broadcast(&p->less);
                pthread_mutex_unlock(&p->lock);
                delta_packing_unref(g);
                pthread_mutex_lock(&p->lock);
        }
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

int delta_packer_new(const atomic_bool *cancel, struct delta_packer **ret) {
        struct delta_packer *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->cancel = cancel;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->more, NULL);
        pthread_cond_init(&p->less, NULL);
        *ret = p;
        return 0;
}

struct delta_packer *delta_packer_free(struct delta_packer *p) {
        if (!p)
                return NULL;
        if (p->running) {
                pthread_mutex_lock(&p->lock);
                p->stop = true;
                pthread_cond_signal(&p->more);
                pthread_mutex_unlock(&p->lock);
                pthread_join(p->thread, NULL);
        }
        pthread_cond_destroy(&p->more);
        pthread_cond_destroy(&p->less);
        pthread_mutex_destroy(&p->lock);
        free(p);
        return NULL;
}

/* ---- Any thread */

struct delta_packing *delta_packing_ref(struct delta_packing *g) {
        pthread_mutex_lock(&g->packer->lock);
        g->refs++;
        pthread_mutex_unlock(&g->packer->lock);
        return g;
}

struct delta_packing *delta_packing_unref(struct delta_packing *g) {
        if (!g)
                return NULL;
        struct delta_packer *p = g->packer;
        pthread_mutex_lock(&p->lock);
        bool gone = --g->refs == 0;
        if (gone && g->closed) {
                p->ahead -= g->length;
                pthread_cond_broadcast(&p->less);
        }
        pthread_mutex_unlock(&p->lock);
        if (gone) {
                free(g->plain);
                free(g->bytes);
                free(g);
        }
        return NULL;
}

void delta_packing_close(struct delta_packing *g) {
        pthread_mutex_lock(&g->packer->lock);
        if (!g->closed)
                g->packer->ahead += g->length;
        g->closed = true;
        pthread_mutex_unlock(&g->packer->lock);
}

int delta_packing_wait(struct delta_packing *g, const uint8_t **ret) {
        struct delta_packer *p = g->packer;
        pthread_mutex_lock(&p->lock);
        while (!g->done)
                pthread_cond_wait(&p->less, &p->lock);
        pthread_mutex_unlock(&p->lock);
        *ret = g->bytes;
        return g->result;
}

int delta_packer_begin(struct delta_packer *p, struct delta_packed *x, int64_t length,
                       struct delta_packing **ret) {
        struct delta_packing *g = malloc(sizeof(*g));
        if (!g)
                return -ENOMEM;
        if (!p->running) {
                int r = pthread_create(&p->thread, NULL, work, p);
                if (r != 0) {
                        free(g);
                        return -r;
                }
                p->running = true;
        }
        *g = (struct delta_packing){.packer = p,
                                    .refs = 2, /* the caller and the queue */
                                    .style = x->style,
                                    .plain_length = x->new_plain_length,
                                    .length = length,
                                    .head_length = x->head_length,
                                    .kept = x->kept,
                                    .plain = TAKE_PTR(x->plain),
                                    .bytes = TAKE_PTR(x->bytes)};
        pthread_mutex_lock(&p->lock);
        /* What is counted is let go by the two other threads, which wait for nothing here. */
        while (p->ahead > 0 && p->ahead + g->plain_length > AHEAD_MAX)
                pthread_cond_wait(&p->less, &p->lock);
        p->ahead += g->plain_length;
        if (p->first)
                p->last->next = g;
        else
                p->first = g;
        p->last = g;
        pthread_cond_signal(&p->more);
        while (!g->done && g->plain_length + length >= ALONE_FROM)
                pthread_cond_wait(&p->less, &p->lock);
        pthread_mutex_unlock(&p->lock);
        *ret = g;
        return 0;
}
