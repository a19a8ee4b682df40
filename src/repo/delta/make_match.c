/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/make_match.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "repo/delta/format.h"
#include "repo/delta/match.h"

#define THREADS_MAX 64u
#define FORGET_EVERY ((int64_t)256 << 20) /* bytes of files read */

void delta_matches_done(struct delta_matches *m) {
        for (size_t i = 0; i < m->n; i++)
                delta_match_done(&m->items[i]);
        for (size_t i = 0; m->packed && i < m->n; i++)
                delta_packed_free(m->packed[i]);
        free(m->packed);
        free(m->items);
        buf_done(&m->shared);
        *m = (struct delta_matches){0};
}

void delta_image_forget(const struct delta_image *image) {
        if (image->length > 0)
                (void)madvise((void *)(uintptr_t)image->bytes, (size_t)image->length, MADV_DONTNEED);
}

struct matcher {
        const struct delta_make_options *o;
        const struct delta_image *old_image, *new_image;
        const struct delta_file_pair *pairs;
        struct delta_match *items;
        struct delta_packed **packed;
        uint32_t *order; /* changed files, largest first: no thread is left with a large one at the end */
        size_t n;
        struct delta_shared_maker *shared;
        pthread_mutex_t lock;
        size_t next, done;
        int64_t bytes_done, bytes_total, unforgotten;
        int failed;
        struct err *err;
};

static int by_length(const void *a, const void *b, void *arg) {
        const struct delta_image *image = arg;
        int64_t x = image->extents.files[*(const uint32_t *)a].length,
                y = image->extents.files[*(const uint32_t *)b].length;
        return x != y ? (x > y ? -1 : 1) : *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

static int by_piece_length(const void *a, const void *b) {
        const struct delta_piece *x = a, *y = b;
        return x->length != y->length          ? (x->length > y->length ? -1 : 1)
               : x->new_offset < y->new_offset ? -1
                                               : 1;
}
static int by_piece_offset(const void *a, const void *b) {
        const struct delta_piece *x = a, *y = b;
        return x->new_offset < y->new_offset ? -1 : x->new_offset > y->new_offset;
}

/* Nodes hold so many pieces at most: the shortest go. */
static void limit_pieces(struct delta_match *m) {
        size_t max = DELTA_PIECES_MAX / 2;
        if (m->n_pieces <= max)
                return;
        qsort(m->pieces, m->n_pieces, sizeof(*m->pieces), by_piece_length);
        m->n_pieces = max;
        qsort(m->pieces, m->n_pieces, sizeof(*m->pieces), by_piece_offset);
}

/* A gzip file that can be packed again: its plain bytes are matched. -ENOENT: not such a file. */
static int match_packed(struct matcher *x, uint32_t file, const struct delta_pair *pair) {
        _cleanup_(delta_packed_freep) struct delta_packed *packed = NULL;
        _cleanup_(x_freep) uint8_t *old = NULL;
        struct delta_pieces pieces = {0};
        int r = delta_packed_find(pair->new_data, pair->new_length, &packed);
        if (r < 0)
                return r;
        r = delta_packed_look(pair->old_data, pair->old_length, &packed->old_skip, &old,
                              &packed->old_plain_length);
        if (r == -ENOENT)
                packed->old_plain_length = packed->old_skip = 0;
        else if (r < 0)
                return r;
        if (packed->old_plain_length > 0) {
                r = delta_match_bytes(old, (size_t)packed->old_plain_length, packed->plain,
                                      (size_t)packed->new_plain_length, 0, 0, &pieces);
                if (r < 0) {
                        delta_pieces_done(&pieces);
                        return r;
                }
                delta_pieces_sort(&pieces);
        }
        x->items[file] = (struct delta_match){
                .kind = DELTA_PREDICT_NONE, .pieces = pieces.items, .n_pieces = pieces.n, .side = BUF_INIT};
        limit_pieces(&x->items[file]);
        x->packed[file] = TAKE_PTR(packed);
        return 0;
}

static int match_one(struct matcher *x, uint32_t file, struct err **err) {
        _cleanup_(x_freep) uint8_t *own_old = NULL;
        _cleanup_(x_freep) uint8_t *own_new = NULL;
        struct delta_pair pair;
        uint32_t old = x->pairs[file].old_file;
        pair.old_length = x->old_image->extents.files[old].length;
        pair.new_length = x->new_image->extents.files[file].length;
        int r = delta_image_file_bytes(x->old_image, old, &pair.old_data, &own_old);
        if (r == 0)
                r = delta_image_file_bytes(x->new_image, file, &pair.new_data, &own_new);
        if (r < 0)
                return err_set_errno(err, -r, "match %s", x->new_image->extents.files[file].path);
        r = match_packed(x, file, &pair);
        if (r == 0)
                return 0;
        if (r != -ENOENT)
                return err_set_errno(err, -r, "match %s", x->new_image->extents.files[file].path);
        r = delta_match_pair(&pair, &x->items[file], err);
        if (r < 0)
                return err_wrap_code(err, r, "match %s", x->new_image->extents.files[file].path);
        limit_pieces(&x->items[file]);
        pthread_mutex_lock(&x->lock);
        r = delta_shared_maker_add(x->shared, &pair, &x->items[file]);
        pthread_mutex_unlock(&x->lock);
        return r < 0 ? err_set_errno(err, -r, "match %s", x->new_image->extents.files[file].path) : 0;
}

static void *work(void *arg) {
        struct matcher *x = arg;
        pthread_mutex_lock(&x->lock);
        while (!x->failed && x->next < x->n) {
                uint32_t file = x->order[x->next++];
                if (x->o->cancel && atomic_load(x->o->cancel)) {
                        x->failed = -ECANCELED;
                        break;
                }
                pthread_mutex_unlock(&x->lock);
                struct err *err = NULL;
                int r = match_one(x, file, &err);
                pthread_mutex_lock(&x->lock);
                if (r < 0 && !x->failed) {
                        x->failed = r;
                        x->err = TAKE_PTR(err);
                }
                err_free(err);
                int64_t length = x->new_image->extents.files[file].length;
                x->bytes_done += length;
                x->unforgotten += length;
                if (x->unforgotten > FORGET_EVERY) {
                        x->unforgotten = 0;
                        delta_image_forget(x->old_image);
                        delta_image_forget(x->new_image);
                }
                if (x->o->progress)
                        x->o->progress(x->o->progress_arg, "matching files", x->bytes_done, x->bytes_total);
        }
        pthread_mutex_unlock(&x->lock);
        return NULL;
}

static void run_threads(struct matcher *x) {
        pthread_t threads[THREADS_MAX];
        unsigned wanted = x->o->threads, n = 0;
        if (wanted == 0)
                wanted = (unsigned)MAX(1L, sysconf(_SC_NPROCESSORS_ONLN));
        wanted = MIN(wanted, THREADS_MAX);
        while (n + 1 < wanted && n + 1 < x->n && pthread_create(&threads[n], NULL, work, x) == 0)
                n++;
        (void)work(x);
        for (unsigned i = 0; i < n; i++)
                pthread_join(threads[i], NULL);
}

int delta_matches_make(const struct delta_make_options *o, const struct delta_image *old_image,
                       const struct delta_image *new_image, const struct delta_file_pair *pairs,
                       struct delta_matches *ret, struct err **err) {
        size_t n = new_image->extents.n_files;
        struct delta_matches matches = {calloc(n + 1, sizeof(struct delta_match)),
                                        calloc(n + 1, sizeof(struct delta_packed *)), n, BUF_INIT};
        struct matcher x = {.o = o,
                            .old_image = old_image,
                            .new_image = new_image,
                            .pairs = pairs,
                            .items = matches.items,
                            .packed = matches.packed,
                            .order = calloc(n + 1, sizeof(uint32_t))};
        int r = matches.items && matches.packed && x.order ? delta_shared_maker_new(&x.shared) : -ENOMEM;
        if (r < 0)
                r = err_set_errno(err, -r, "match the files");
        else {
                pthread_mutex_init(&x.lock, NULL);
                for (size_t i = 0; i < n; i++)
                        if (pairs[i].how == DELTA_PAIR_CHANGED) {
                                x.order[x.n++] = (uint32_t)i;
                                x.bytes_total += new_image->extents.files[i].length;
                        }
                qsort_r(x.order, x.n, sizeof(*x.order), by_length, (void *)(uintptr_t)new_image);
                run_threads(&x);
                pthread_mutex_destroy(&x.lock);
                r = x.failed;
                if (r == -ECANCELED)
                        r = err_set(err, ECANCELED, "canceled");
                else if (r < 0)
                        err_move(err, x.err);
                if (r == 0) {
                        r = delta_shared_maker_encode(x.shared, &matches.shared);
                        if (r < 0)
                                r = err_set_errno(err, -r, "encode the shared tables");
                        if (matches.shared.len > DELTA_SHARED_MAX)
                                r = err_set(err, E2BIG,
                                            "the shared tables have %zu bytes, at most %u are allowed",
                                            matches.shared.len, DELTA_SHARED_MAX);
                }
        }
        delta_shared_maker_free(x.shared);
        free(x.order);
        if (r < 0) {
                delta_matches_done(&matches);
                return r;
        }
        *ret = matches;
        return 0;
}
