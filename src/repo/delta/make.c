/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/make.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "repo/delta/apply.h"
#include "repo/delta/make_match.h"
#include "repo/delta/make_plan.h"

#define MEMORY_DEFAULT ((int64_t)3 << 30)
#define WHOLE_MAX ((int64_t)256 << 20) /* images without files up to here are matched as one file */
#define ROWS_MAX 512

struct maker {
        const struct delta_make_options *o;
        struct delta_image old_image, new_image;
        uint8_t old_sha256[SHA256_SIZE], new_sha256[SHA256_SIZE];
        struct delta_file_pair *pairs;
        struct delta_matches matches;
        struct delta_plan plan;
        uint32_t *parts_left; /* of each new file */

        struct delta_report_row rows[ROWS_MAX];
        size_t n_rows;
        int64_t length;
        struct delta_columns *columns;
        delta_column_counts *counts; /* of each row */
        int64_t lengths[DELTA_COLUMNS];
        uint32_t open[DELTA_FILES_OPEN_MAX];
        int64_t open_at[DELTA_FILES_OPEN_MAX];
        uint32_t n_open;
        int64_t unforgotten;
};

static bool is_canceled(const struct maker *m) {
        return m->o->cancel && atomic_load(m->o->cancel);
}

static int canceled(struct err **err) {
        return err_set(err, ECANCELED, "canceled");
}

static void progress(const struct maker *m, const char *stage, int64_t done, int64_t total) {
        if (m->o->progress)
                m->o->progress(m->o->progress_arg, stage, done, total);
}

/* ---- Images */

static int map_image(int fd, const char *what, struct delta_image *ret, struct err **err) {
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_set_errno(err, errno, "look at the %s", what);
        if (!S_ISREG(st.st_mode))
                return err_set(err, EINVAL, "the %s is no regular file", what);
        if (st.st_size > DELTA_LENGTH_MAX)
                return err_set(err, EFBIG, "the %s has %lld bytes, at most %lld are allowed", what,
                               (long long)st.st_size, (long long)DELTA_LENGTH_MAX);
        ret->length = st.st_size;
        ret->bytes = (const uint8_t *)"";
        if (st.st_size > 0) {
                void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                if (p == MAP_FAILED)
                        return err_set_errno(err, errno, "map the %s", what);
                ret->bytes = p;
        }
        return 0;
}

static void unmap_image(struct delta_image *image) {
        if (image->length > 0 && image->bytes)
                munmap((void *)(uintptr_t)image->bytes, (size_t)image->length);
        delta_extents_done(&image->extents);
}

static int digest_image(struct maker *m, const struct delta_image *image, uint8_t out[SHA256_SIZE],
                        struct err **err) {
        _cleanup_(sha256_freep) struct sha256 *s = sha256_new();
        if (!s)
                return err_set_errno(err, ENOMEM, "digest an image");
        for (int64_t at = 0; at < image->length;) {
                size_t n = (size_t)MIN((int64_t)16 << 20, image->length - at);
                if (is_canceled(m))
                        return canceled(err);
                sha256_update(s, image->bytes + at, n);
                at += (int64_t)n;
                progress(m, "reading", at, image->length);
        }
        sha256_final(s, out);
        delta_image_forget(image);
        return 0;
}

static int find_files(struct maker *m, struct err **err) {
        int r = delta_extents_find(m->old_image.bytes, m->old_image.length, &m->old_image.extents);
        if (r == 0)
                r = delta_extents_find(m->new_image.bytes, m->new_image.length, &m->new_image.extents);
        if (r == 0 && (m->old_image.extents.n_files == 0 || m->new_image.extents.n_files == 0) &&
            m->old_image.length <= WHOLE_MAX && m->new_image.length <= WHOLE_MAX && m->old_image.length > 0 &&
            m->new_image.length > 0) {
                struct delta_image *both[] = {&m->old_image, &m->new_image};
                for (int i = 0; i < 2 && r == 0; i++) {
                        delta_extents_done(&both[i]->extents);
                        r = delta_extents_file(&both[i]->extents, "whole", 5);
                        if (r == 0)
                                r = delta_extents_span(&both[i]->extents, 0, both[i]->length);
                }
        }
        if (r == 0)
                r = delta_make_pairs(&m->old_image, &m->new_image, &m->pairs);
        return r < 0 ? err_set_errno(err, -r, "find the files of the images") : 0;
}

/* ---- Coding */

static int read_image(const struct delta_image *image, int64_t offset, void *p, size_t n) {
        if (offset < 0 || offset > image->length || (int64_t)n > image->length - offset)
                return -ENODATA;
        memcpy(p, image->bytes + offset, n);
        return 0;
}
static int read_seed(void *arg, int64_t offset, void *p, size_t n) {
        struct maker *m = arg;
        return read_image(&m->old_image, offset, p, n);
}
static int read_target(void *arg, int64_t offset, void *p, size_t n) {
        struct maker *m = arg;
        return read_image(&m->new_image, offset, p, n);
}

struct writing {
        int fd;
        int64_t at;
};
static int write_column(void *arg, const uint8_t *p, size_t n) {
        struct writing *w = arg;
        int r = delta_write_at(w->fd, p, n, w->at);
        w->at += (int64_t)n;
        return r;
}

/* What is said from now on is counted for this kind. */
static void note_kind(void *arg, const struct delta_run *run) {
        struct maker *m = arg;
        char kind[48];
        snprintf(kind, sizeof(kind), "%s%s", run->kind ? run->kind : "other",
                 run->type == DELTA_OP_LITERAL ? ", new"
                 : run->type == DELTA_OP_RAW   ? ", random"
                                               : "");
        size_t i = 0;
        while (i < m->n_rows && strcmp(m->rows[i].kind, kind) != 0)
                i++;
        if (i == ROWS_MAX)
                i--;
        else if (i == m->n_rows)
                memcpy(m->rows[m->n_rows++].kind, kind, sizeof(kind));
        m->rows[i].target_bytes += run->length;
        delta_columns_count_in(m->columns, &m->counts[i]);
}

/* The bits that a count of values takes if nothing is known but how often each comes. */
static double bits_of(const uint64_t counts[256]) {
        double all = 0, bits = 0;
        for (unsigned v = 0; v < 256; v++)
                all += (double)counts[v];
        for (unsigned v = 0; v < 256; v++)
                if (counts[v] > 0)
                        bits += (double)counts[v] * (log2(all / (double)counts[v]) + 0.02);
        return bits;
}

/* Kinds share columns: each bears of a column's length as much as it said in it, so measured. */
static void share_costs(struct maker *m) {
        for (unsigned column = 0; column < DELTA_COLUMNS; column++) {
                double all = 0;
                for (size_t i = 0; i < m->n_rows; i++)
                        all += bits_of(m->counts[i][column]);
                for (size_t i = 0; i < m->n_rows && all > 0; i++)
                        m->rows[i].delta_bytes +=
                                (int64_t)((double)m->lengths[column] * bits_of(m->counts[i][column]) / all +
                                          0.5);
        }
}

static struct delta_program_file *table_of(const struct maker *m, uint32_t file) {
        struct delta_program_file *f = calloc(1, sizeof(*f));
        struct delta_match *match = &m->matches.items[file];
        if (!f)
                return NULL;
        const struct delta_image_file *old = &m->old_image.extents.files[m->pairs[file].old_file];
        f->extents = calloc(old->n_spans + 1, sizeof(*f->extents));
        f->pieces = match->pieces ? match->pieces : calloc(1, sizeof(*f->pieces));
        if (!f->extents || !f->pieces) {
                free(f->extents);
                free(f);
                return NULL;
        }
        for (uint32_t i = 0; i < old->n_spans; i++)
                f->extents[i] = (struct delta_extent){m->old_image.extents.spans[old->first_span + i].offset,
                                                      m->old_image.extents.spans[old->first_span + i].length};
        f->n_extents = old->n_spans;
        f->old_length = old->length;
        f->new_length = m->new_image.extents.files[file].length;
        f->predictor = match->kind;
        const struct delta_span *s = &m->new_image.extents.spans[m->new_image.extents.files[file].first_span];
        f->content = delta_plan_content(m->new_image.bytes + s->offset, (size_t)s->length);
        f->n_pieces = (uint32_t)match->n_pieces;
        f->side = match->side;
        f->packed = TAKE_PTR(m->matches.packed[file]);
        match->pieces = NULL;
        match->n_pieces = 0;
        match->side = (struct buf)BUF_INIT;
        return f;
}

static int code_literal(struct delta_program *p, const struct delta_plan_step *s, struct err **err) {
        struct delta_op op = {.type = DELTA_OP_LITERAL, .length = s->length, .content = s->content};
        return delta_program_step(p, &op, err);
}

static int code_file(struct maker *m, struct delta_program *p, const struct delta_plan_step *s,
                     struct err **err) {
        struct delta_op op = {.type = DELTA_OP_MORE, .length = s->length};
        uint32_t i = 0;
        op.last = --m->parts_left[s->file] == 0;
        while (i < m->n_open && m->open[i] != s->file)
                i++;
        if (i == m->n_open) {
                const struct delta_match *match = &m->matches.items[s->file];
                const struct delta_packed *packed = m->matches.packed[s->file];
                const struct delta_image_file *old = &m->old_image.extents.files[m->pairs[s->file].old_file];
                if (!delta_program_has_room(p, match->n_pieces, old->n_spans, match->side.len,
                                            packed ? m->new_image.extents.files[s->file].length : 0))
                        return code_literal(p, s, err); /* more is open than nodes hold */
                op.type = DELTA_OP_FILE;
                op.file = table_of(m, s->file);
                if (!op.file)
                        return err_set_errno(err, ENOMEM, "code a file's table");
                m->open_at[m->n_open] = 0;
                m->open[m->n_open++] = s->file;
        }
        op.index = m->n_open - 1 - i;
        op.skip = s->at - m->open_at[i];
        m->open_at[i] = s->at + s->length;
        if (op.last) {
                m->n_open--;
                memmove(m->open + i, m->open + i + 1, (m->n_open - i) * sizeof(*m->open));
                memmove(m->open_at + i, m->open_at + i + 1, (m->n_open - i) * sizeof(*m->open_at));
        }
        int r = delta_program_step(p, &op, err);
        return r < 0 ? err_wrap_code(err, r, "%s", m->new_image.extents.files[s->file].path) : 0;
}

static int code_plan(struct maker *m, struct delta_program *p, struct err **err) {
        for (size_t i = 0; i < m->plan.n; i++)
                if (m->plan.steps[i].type == DELTA_OP_FILE)
                        m->parts_left[m->plan.steps[i].file]++;
        for (size_t i = 0; i < m->plan.n; i++) {
                const struct delta_plan_step *s = &m->plan.steps[i];
                struct delta_op op = {
                        .type = s->type, .length = s->length, .seed = s->seed, .content = s->content};
                if (is_canceled(m))
                        return canceled(err);
                int r = s->type == DELTA_OP_FILE ? code_file(m, p, s, err) : delta_program_step(p, &op, err);
                if (r < 0)
                        return r;
                m->unforgotten += s->length;
                if (m->unforgotten > (int64_t)256 << 20) {
                        m->unforgotten = 0;
                        delta_image_forget(&m->old_image);
                        delta_image_forget(&m->new_image);
                }
                progress(m, "coding", s->target + s->length, m->new_image.length);
        }
        struct delta_op end = {.type = DELTA_OP_END};
        return delta_program_step(p, &end, err);
}

static int write_columns(struct maker *m, struct err **err) {
        struct writing w = {m->o->delta_fd, DELTA_HEAD_SIZE};
        int r = delta_columns_finish(m->columns, m->lengths);
        for (unsigned i = 0; i < DELTA_COLUMNS && r == 0; i++)
                r = delta_columns_each(m->columns, (enum delta_column)i, write_column, &w);
        m->length = w.at;
        return r < 0 ? err_set_errno(err, -r, "write the delta") : 0;
}

static int code(struct maker *m, struct err **err) {
        _cleanup_(delta_program_freep) struct delta_program *p = NULL;
        const struct delta_program_io io = {
                .arg = m,
                .read_seed = read_seed,
                .seed_length = m->old_image.length,
                .target_length = m->new_image.length,
                .read_target = read_target,
                .kind = note_kind,
        };
        m->parts_left = calloc(m->new_image.extents.n_files + 1, sizeof(*m->parts_left));
        m->counts = calloc(ROWS_MAX, sizeof(*m->counts));
        if (!m->parts_left || !m->counts)
                return err_set_errno(err, ENOMEM, "code the delta");
        int r = delta_columns_new_write(&m->columns);
        if (r == 0)
                r = delta_program_new(m->columns, &io, &p);
        if (r < 0)
                return err_set_errno(err, -r, "code the delta");
        r = delta_program_shared(p, m->matches.shared.data, m->matches.shared.len, err);
        if (r == 0)
                r = code_plan(m, p, err);
        if (r == 0)
                r = write_columns(m, err);
        if (r == 0)
                share_costs(m);
        return r;
}

static int write_head(struct maker *m, struct err **err) {
        struct delta_head head = {.seed_length = m->old_image.length, .target_length = m->new_image.length};
        uint8_t bytes[DELTA_HEAD_SIZE];
        memcpy(head.lengths, m->lengths, sizeof(head.lengths));
        memcpy(head.seed_sha256, m->old_sha256, SHA256_SIZE);
        memcpy(head.target_sha256, m->new_sha256, SHA256_SIZE);
        delta_head_encode(&head, bytes);
        int r = delta_write_at(m->o->delta_fd, bytes, sizeof(bytes), 0);
        if (r == 0 && ftruncate(m->o->delta_fd, m->length) < 0)
                r = -errno;
        return r < 0 ? err_set_errno(err, -r, "write the delta") : 0;
}

static void check_progress(void *arg, int64_t done, int64_t total) {
        progress(arg, "checking", done, total);
}

static int check(struct maker *m, struct err **err) {
        char hex[SHA256_HEX_SIZE];
        hex_encode(m->new_sha256, SHA256_SIZE, hex);
        const struct delta_apply_options o = {.delta_fd = m->o->delta_fd,
                                              .seed_fd = m->o->seed_fd,
                                              .target_fd = -1,
                                              .target_length = m->new_image.length,
                                              .target_sha256 = hex,
                                              .progress = check_progress,
                                              .progress_arg = m,
                                              .cancel = m->o->cancel};
        int r = delta_apply(&o, err);
        return r < 0 ? err_wrap_code(err, r, "try the delta that was made") : 0;
}

static int by_cost(const void *a, const void *b) {
        const struct delta_report_row *x = a, *y = b;
        return x->delta_bytes != y->delta_bytes ? (x->delta_bytes > y->delta_bytes ? -1 : 1)
                                                : strcmp(x->kind, y->kind);
}

/* The most costly kinds; the rest together. */
static void fill_report(struct maker *m, struct delta_report *report) {
        qsort(m->rows, m->n_rows, sizeof(m->rows[0]), by_cost);
        memset(report, 0, sizeof(*report));
        report->length = m->length;
        for (size_t i = 0; i < m->n_rows; i++) {
                struct delta_report_row *row = &report->rows[MIN(i, (size_t)DELTA_REPORT_MAX - 1)];
                if (i < DELTA_REPORT_MAX) {
                        *row = (struct delta_report_row){{0}, 0, 0};
                        memcpy(row->kind, m->rows[i].kind, sizeof(row->kind));
                        report->n++;
                }
                row->target_bytes += m->rows[i].target_bytes;
                row->delta_bytes += m->rows[i].delta_bytes;
        }
        if (m->n_rows > DELTA_REPORT_MAX)
                snprintf(report->rows[DELTA_REPORT_MAX - 1].kind, sizeof(report->rows[0].kind), "other");
}

static int make(struct maker *m, struct err **err) {
        int64_t memory = m->o->memory_max > 0 ? m->o->memory_max : MEMORY_DEFAULT;
        int r = map_image(m->o->seed_fd, "seed", &m->old_image, err);
        if (r == 0)
                r = map_image(m->o->target_fd, "target", &m->new_image, err);
        if (r == 0)
                r = digest_image(m, &m->old_image, m->old_sha256, err);
        if (r == 0)
                r = digest_image(m, &m->new_image, m->new_sha256, err);
        if (r == 0)
                r = find_files(m, err);
        if (r < 0)
                return r;
        progress(m, "looking for what moved", 0, m->new_image.length);
        r = delta_plan_make(&m->old_image, &m->new_image, m->pairs, (size_t)memory / 64, &m->plan);
        if (r < 0)
                return err_set_errno(err, -r, "plan the delta");
        delta_image_forget(&m->old_image);
        delta_image_forget(&m->new_image);
        r = delta_matches_make(m->o, &m->old_image, &m->new_image, m->pairs, &m->matches, err);
        if (r == 0)
                r = code(m, err);
        if (r == 0)
                r = write_head(m, err);
        if (r == 0)
                r = check(m, err);
        return r;
}

int delta_make(const struct delta_make_options *o, struct delta_report *report, struct err **err) {
        struct maker *m = calloc(1, sizeof(*m));
        if (!m)
                return err_set_errno(err, ENOMEM, "make a delta");
        m->o = o;
        int r = make(m, err);
        if (r == 0 && report)
                fill_report(m, report);
        delta_columns_free(m->columns);
        free(m->counts);
        free(m->parts_left);
        delta_plan_done(&m->plan);
        delta_matches_done(&m->matches);
        free(m->pairs);
        unmap_image(&m->old_image);
        unmap_image(&m->new_image);
        free(m);
        return r;
}
