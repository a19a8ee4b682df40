/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_tables.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "repo/delta/coder_content.h"
#include "repo/delta/coder_pieces.h"
#include "repo/delta/format.h"

#define AHEAD_FILES 256
#define AHEAD_BYTES ((size_t)1 << 20) /* of tables that wait; one is let in whatever its size */
#define CONTENT_BITS 15u

struct delta_tables {
        struct delta_coder *c;
        struct delta_content *content;
        struct delta_piece_coder *pieces;
        delta_bit more, predictor[16], class[8];
        struct delta_number n_pieces, side_length, shared_length;

        pthread_t thread;
        bool running, has_shared, ended;
        int failed; /* why it ended */
        atomic_bool stop;
        pthread_mutex_t lock;
        pthread_cond_t filled, emptied;
        struct buf shared;
        struct delta_table waiting[AHEAD_FILES];
        unsigned first, n;
        size_t bytes; /* of those that wait */
};

void delta_table_done(struct delta_table *t) {
        free(TAKE_PTR(t->pieces));
        buf_done(&t->side);
}

int delta_table_place(struct delta_table *t, int64_t old_length, int64_t new_length) {
        int64_t at = 0, old = 0;
        for (uint32_t i = 0; i < t->n_pieces; i++) {
                struct delta_piece *x = &t->pieces[i];
                int64_t gap = x->new_offset, jump = x->old_offset;
                if (x->length <= 0 || gap < 0 || gap > new_length - at || x->length > new_length - at - gap ||
                    jump < -old || jump > old_length - old || x->length > old_length - old - jump)
                        return -EBADMSG;
                x->new_offset = at + gap;
                x->old_offset = old + jump;
                at = x->new_offset + x->length;
                old = x->old_offset + x->length;
        }
        return 0;
}

static size_t size_of(const struct delta_table *t) {
        return t->n_pieces * sizeof(*t->pieces) + t->side.len;
}

static unsigned code_tree(struct delta_coder *c, delta_bit *tree, unsigned bits, unsigned v) {
        unsigned node = 1;
        for (unsigned i = bits; i-- > 0;)
                node = node << 1 | delta_coder_adaptive(c, &tree[node], v >> i & 1);
        return node - (1u << bits);
}

/* ---- Both ways; what is read is checked against the limits */

static int code_bytes(struct delta_tables *t, struct delta_number *model, unsigned kind, size_t max,
                      struct buf *b) {
        struct delta_coder *c = t->c;
        uint64_t n = delta_coder_number(c, model, b->len);
        if (c->failed || n > max)
                return c->failed ? c->failed : -EBADMSG;
        if (c->decoding && n > 0) {
                int r = buf_reserve(b, n);
                if (r < 0)
                        return r;
                b->len = n;
        }
        if (n > 0) {
                delta_content_forget(t->content);
                delta_content_literal(t->content, c, kind, 0, (uint8_t *)b->data, n);
        }
        return c->failed;
}

static int code_pieces(struct delta_tables *t, struct delta_table *x) {
        int64_t at = 0, old = 0;
        delta_piece_coder_begin(t->pieces, x->predictor);
        for (uint32_t i = 0; i < x->n_pieces; i++) {
                struct delta_piece *p = &x->pieces[i];
                struct delta_piece_numbers n = {0, 0, 0};
                if (!t->c->decoding) {
                        n = (struct delta_piece_numbers){(uint64_t)(p->new_offset - at), p->old_offset - old,
                                                         (uint64_t)p->length - 1};
                        at = p->new_offset + p->length;
                        old = p->old_offset + p->length;
                }
                delta_piece_coder_code(t->pieces, t->c, &n);
                if (t->c->failed)
                        return t->c->failed;
                if (!t->c->decoding)
                        continue;
                if (atomic_load_explicit(&t->stop, memory_order_relaxed))
                        return -ECANCELED;
                if (n.gap > (uint64_t)DELTA_LENGTH_MAX || n.length >= (uint64_t)DELTA_LENGTH_MAX ||
                    n.jump > DELTA_LENGTH_MAX || n.jump < -DELTA_LENGTH_MAX)
                        return -EBADMSG;
                *p = (struct delta_piece){n.jump, (int64_t)n.gap, (int64_t)n.length + 1};
        }
        return 0;
}

static int code_table(struct delta_tables *t, struct delta_table *x) {
        struct delta_coder *c = t->c;
        x->predictor = code_tree(c, t->predictor, 4, x->predictor);
        x->content = code_tree(c, t->class, 3, x->content);
        uint64_t n = delta_coder_number(c, &t->n_pieces, x->n_pieces);
        if (c->failed || n > DELTA_PIECES_MAX)
                return c->failed ? c->failed : -EBADMSG;
        if (c->decoding) {
                x->pieces = calloc(n + 1, sizeof(*x->pieces));
                if (!x->pieces)
                        return -ENOMEM;
                x->n_pieces = (uint32_t)n;
        }
        int r = code_pieces(t, x);
        return r < 0 ? r : code_bytes(t, &t->side_length, DELTA_CONTENT_SIDE, DELTA_SIDE_MAX, &x->side);
}

/* ---- Encoding */

int delta_tables_put_shared(struct delta_tables *t, const void *p, size_t n) {
        struct buf b = BUF_INIT;
        int r = buf_append(&b, p, n);
        if (r == 0)
                r = code_bytes(t, &t->shared_length, DELTA_CONTENT_SHARED, DELTA_SHARED_MAX, &b);
        buf_done(&b);
        return r;
}

int delta_tables_put(struct delta_tables *t, const struct delta_table *table) {
        struct delta_table x = *table;
        delta_coder_adaptive(t->c, &t->more, 1);
        return code_table(t, &x);
}

int delta_tables_put_end(struct delta_tables *t) {
        delta_coder_adaptive(t->c, &t->more, 0);
        return t->c->failed;
}

/* ---- Decoding */

static int wait_for_room(struct delta_tables *t) {
        while (!atomic_load(&t->stop) && t->n > 0 && (t->n == AHEAD_FILES || t->bytes > AHEAD_BYTES))
                pthread_cond_wait(&t->emptied, &t->lock);
        return atomic_load(&t->stop) ? -ECANCELED : 0;
}

static int decode_all(struct delta_tables *t) {
        struct buf shared = BUF_INIT;
        int r = code_bytes(t, &t->shared_length, DELTA_CONTENT_SHARED, DELTA_SHARED_MAX, &shared);
        if (r < 0) {
                buf_done(&shared);
                return r;
        }
        pthread_mutex_lock(&t->lock);
        t->shared = shared;
        t->has_shared = true;
        pthread_cond_signal(&t->filled);
        pthread_mutex_unlock(&t->lock);
        while (delta_coder_adaptive(t->c, &t->more, 0) && !t->c->failed) {
                struct delta_table x = {.side = BUF_INIT};
                r = code_table(t, &x);
                pthread_mutex_lock(&t->lock);
                if (r == 0)
                        r = wait_for_room(t);
                if (r == 0) {
                        t->waiting[(t->first + t->n++) % AHEAD_FILES] = x;
                        t->bytes += size_of(&x);
                        pthread_cond_signal(&t->filled);
                }
                pthread_mutex_unlock(&t->lock);
                if (r < 0) {
                        delta_table_done(&x);
                        return r;
                }
        }
        return t->c->failed;
}

static void *work(void *arg) {
        struct delta_tables *t = arg;
        int r = decode_all(t);
        pthread_mutex_lock(&t->lock);
        t->ended = true;
        t->failed = r;
        pthread_cond_signal(&t->filled);
        pthread_mutex_unlock(&t->lock);
        return NULL;
}

int delta_tables_get_shared(struct delta_tables *t, struct buf *ret) {
        pthread_mutex_lock(&t->lock);
        while (!t->has_shared && !t->ended)
                pthread_cond_wait(&t->filled, &t->lock);
        int r = t->has_shared ? 0 : t->failed ? t->failed : -EBADMSG;
        if (r == 0) {
                *ret = t->shared;
                t->shared = (struct buf)BUF_INIT;
        }
        pthread_mutex_unlock(&t->lock);
        return r;
}

int delta_tables_get(struct delta_tables *t, struct delta_table *ret) {
        pthread_mutex_lock(&t->lock);
        while (t->n == 0 && !t->ended)
                pthread_cond_wait(&t->filled, &t->lock);
        int r = t->n > 0 ? 0 : t->failed ? t->failed : -EBADMSG;
        if (r == 0) {
                *ret = t->waiting[t->first];
                t->waiting[t->first] = (struct delta_table){0};
                t->first = (t->first + 1) % AHEAD_FILES;
                t->n--;
                t->bytes -= size_of(ret);
                pthread_cond_signal(&t->emptied);
        }
        pthread_mutex_unlock(&t->lock);
        return r;
}

/* ---- */

int delta_tables_new(struct delta_coder *c, struct delta_tables **ret) {
        _cleanup_(delta_tables_freep) struct delta_tables *t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->c = c;
        pthread_mutex_init(&t->lock, NULL);
        pthread_cond_init(&t->filled, NULL);
        pthread_cond_init(&t->emptied, NULL);
        delta_bits_init(&t->more, 1);
        delta_bits_init(t->predictor, ARRAY_SIZE(t->predictor));
        delta_bits_init(t->class, ARRAY_SIZE(t->class));
        delta_number_init(&t->n_pieces);
        delta_number_init(&t->side_length);
        delta_number_init(&t->shared_length);
        if (delta_content_new(CONTENT_BITS, &t->content) < 0 || delta_piece_coder_new(&t->pieces) < 0)
                return -ENOMEM;
        if (c->decoding) {
                int r = pthread_create(&t->thread, NULL, work, t);
                if (r != 0)
                        return -r;
                t->running = true;
        }
        *ret = TAKE_PTR(t);
        return 0;
}

struct delta_tables *delta_tables_free(struct delta_tables *t) {
        if (!t)
                return NULL;
        if (t->running) {
                pthread_mutex_lock(&t->lock);
                atomic_store(&t->stop, true);
                pthread_cond_signal(&t->emptied);
                pthread_mutex_unlock(&t->lock);
                pthread_join(t->thread, NULL);
        }
        for (; t->n > 0; t->n--, t->first = (t->first + 1) % AHEAD_FILES)
                delta_table_done(&t->waiting[t->first]);
        buf_done(&t->shared);
        delta_content_free(t->content);
        delta_piece_coder_free(t->pieces);
        pthread_cond_destroy(&t->filled);
        pthread_cond_destroy(&t->emptied);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return NULL;
}
