/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta_make_plan.h"

#include <errno.h>
#include <string.h>

#define SMALL_SPAN 4096 /* shorter spans of unchanged files are matched together with what is around them */
#define FINE_BLOCK 12u
#define FINE_STRIDE 4u
#define COARSE_BLOCK 32u
#define ZERO_RUN_MIN 256

void delta_plan_done(struct delta_plan *p) {
        free(p->steps);
        *p = (struct delta_plan){0};
}

unsigned delta_plan_content(const uint8_t *p, size_t n) {
        size_t text = 0, looked = MIN(n, (size_t)4096);
        for (size_t i = 0; i < looked; i++)
                text += (p[i] >= 32 && p[i] < 127) || p[i] == '\n' || p[i] == '\t';
        if (looked > 0 && text * 100 >= looked * 90)
                return DELTA_CONTENT_TEXT;
        if (n >= 4 && memcmp(p, "\177ELF", 4) == 0)
                return DELTA_CONTENT_CODE;
        return DELTA_CONTENT_BINARY;
}

/* ---- Building */

struct planner {
        const struct delta_image *old_image, *new_image;
        const struct delta_file_pair *pairs;
        struct delta_plan plan;
        struct delta_index *fine, *coarse;
};

static int add(struct planner *x, struct delta_plan_step s) {
        struct delta_plan *p = &x->plan;
        if (s.length == 0)
                return 0;
        struct delta_plan_step *last = p->n > 0 ? &p->steps[p->n - 1] : NULL;
        if (last && last->type == s.type && s.target == last->target + last->length) {
                bool joined = s.type == DELTA_OP_ZERO ||
                              (s.type == DELTA_OP_LITERAL && last->content == s.content) ||
                              ((s.type == DELTA_OP_COPY || s.type == DELTA_OP_MATCH) &&
                               last->seed + last->length == s.seed);
                if (joined) {
                        last->length += s.length;
                        return 0;
                }
        }
        if (p->n == p->room) {
                size_t room = p->room ? p->room * 2 : 1024;
                void *steps = reallocarray(p->steps, room, sizeof(*p->steps));
                if (!steps)
                        return -ENOMEM;
                p->steps = steps;
                p->room = room;
        }
        p->steps[p->n++] = s;
        return 0;
}

/* New bytes; long runs of zeros cost nothing. */
static int add_new(struct planner *x, int64_t from, int64_t to, unsigned content) {
        const uint8_t *p = x->new_image->bytes;
        for (int64_t at = from; at < to;) {
                int64_t zeros = at;
                while (zeros < to && p[zeros] != 0)
                        zeros++;
                int64_t end = zeros;
                while (end < to && p[end] == 0)
                        end++;
                if (end - zeros < ZERO_RUN_MIN && end < to) {
                        /* look on behind a short run */
                        int r = add(x, (struct delta_plan_step){.type = DELTA_OP_LITERAL,
                                                                .target = at,
                                                                .length = end - at,
                                                                .content = content});
                        if (r < 0)
                                return r;
                        at = end;
                        continue;
                }
                bool is_run = end - zeros >= ZERO_RUN_MIN;
                int r = add(x, (struct delta_plan_step){.type = DELTA_OP_LITERAL,
                                                        .target = at,
                                                        .length = (is_run ? zeros : end) - at,
                                                        .content = content});
                if (r == 0 && is_run)
                        r = add(x, (struct delta_plan_step){
                                           .type = DELTA_OP_ZERO, .target = zeros, .length = end - zeros});
                if (r < 0)
                        return r;
                at = end;
        }
        return 0;
}

struct found {
        struct planner *x;
        int64_t done;
        unsigned content;
        bool fine;
        int64_t end;
};

static int region_rest(struct planner *x, int64_t from, int64_t to, unsigned content);

static int add_match(void *arg, const struct delta_area *a) {
        struct found *f = arg;
        const uint8_t *old = f->x->old_image->bytes + a->seed, *new = f->x->new_image->bytes + a->target;
        int r = f->fine ? region_rest(f->x, f->done, a->target, f->content)
                        : add_new(f->x, f->done, a->target, f->content);
        if (r < 0)
                return r;
        f->done = a->target + a->length;
        return add(f->x,
                   (struct delta_plan_step){.type = memcmp(old, new, (size_t)a->length) == 0 ? DELTA_OP_COPY
                                                                                             : DELTA_OP_MATCH,
                                            .target = a->target,
                                            .length = a->length,
                                            .seed = a->seed,
                                            .content = f->content});
}

/* What the fine index did not find is sought in the whole seed. */
static int region_rest(struct planner *x, int64_t from, int64_t to, unsigned content) {
        struct found f = {x, from, content, false, to};
        if (x->coarse && to - from >= 2 * COARSE_BLOCK) {
                int r = delta_index_match(x->coarse, x->new_image->bytes, from, to, 48, add_match, &f);
                if (r < 0)
                        return r;
        }
        return add_new(x, f.done, to, content);
}

/* Bytes that belong to no pair of files. */
static int add_region(struct planner *x, int64_t from, int64_t to, unsigned content) {
        struct found f = {x, from, content, true, to};
        if (content == DELTA_CONTENT_METADATA && x->fine) {
                int r = delta_index_match(x->fine, x->new_image->bytes, from, to, 20, add_match, &f);
                if (r < 0)
                        return r;
        }
        return region_rest(x, f.done, to, content);
}

/* ---- What stands where */

struct part {
        int64_t target, length, at;
        uint32_t file;
};

static int by_target(const void *a, const void *b) {
        const struct part *x = a, *y = b;
        return x->target < y->target ? -1 : x->target > y->target;
}

/* Spans of files that get a treatment of their own, in target order. */
static int list_parts(const struct planner *x, struct part **ret, size_t *ret_n) {
        const struct delta_extents *e = &x->new_image->extents;
        struct part *parts = calloc(e->n_spans + 1, sizeof(*parts));
        size_t n = 0;
        if (!parts)
                return -ENOMEM;
        for (size_t i = 0; i < e->n_files; i++) {
                int64_t at = 0;
                for (uint32_t k = 0; k < e->files[i].n_spans; k++) {
                        const struct delta_span *s = &e->spans[e->files[i].first_span + k];
                        if (x->pairs[i].how != DELTA_PAIR_SAME || s->length >= SMALL_SPAN)
                                parts[n++] = (struct part){s->offset, s->length, at, (uint32_t)i};
                        at += s->length;
                }
        }
        qsort(parts, n, sizeof(*parts), by_target);
        *ret = parts;
        *ret_n = n;
        return 0;
}

/* The old bytes that the fine index holds: what is no file, and the small spans. */
static int fine_areas(const struct delta_image *image, struct delta_area **ret, size_t *ret_n) {
        const struct delta_extents *e = &image->extents;
        struct part *parts = calloc(e->n_spans + 1, sizeof(*parts));
        struct delta_area *areas = calloc(e->n_spans + 2, sizeof(*areas));
        size_t n = 0, n_areas = 0;
        if (!parts || !areas) {
                free(parts);
                free(areas);
                return -ENOMEM;
        }
        for (size_t i = 0; i < e->n_files; i++)
                for (uint32_t k = 0; k < e->files[i].n_spans; k++) {
                        const struct delta_span *s = &e->spans[e->files[i].first_span + k];
                        if (s->length >= SMALL_SPAN)
                                parts[n++] = (struct part){s->offset, s->length, 0, 0};
                }
        qsort(parts, n, sizeof(*parts), by_target);
        int64_t at = 0;
        for (size_t i = 0; i <= n; i++) {
                int64_t end = i < n ? parts[i].target : image->length;
                if (end > at)
                        areas[n_areas++] = (struct delta_area){at, 0, end - at};
                at = i < n ? parts[i].target + parts[i].length : end;
        }
        free(parts);
        *ret = areas;
        *ret_n = n_areas;
        return 0;
}

/* Bytes [at, at + length) of an unchanged file. */
static int add_same(struct planner *x, const struct part *part) {
        const struct delta_extents *e = &x->old_image->extents;
        const struct delta_image_file *f = &e->files[x->pairs[part->file].old_file];
        int64_t at = part->at, target = part->target, left = part->length;
        for (uint32_t k = 0; k < f->n_spans && left > 0; k++) {
                const struct delta_span *s = &e->spans[f->first_span + k];
                if (at >= s->length) {
                        at -= s->length;
                        continue;
                }
                int64_t n = MIN(left, s->length - at);
                int r = add(x, (struct delta_plan_step){.type = DELTA_OP_COPY,
                                                        .target = target,
                                                        .length = n,
                                                        .seed = s->offset + at});
                if (r < 0)
                        return r;
                target += n;
                left -= n;
                at = 0;
        }
        return 0;
}

static int plan_all(struct planner *x, const struct part *parts, size_t n) {
        int64_t done = 0;
        for (size_t i = 0; i <= n; i++) {
                const struct part *part = &parts[i];
                int64_t next = i < n ? part->target : x->new_image->length;
                int r = 0;
                if (next > done)
                        r = add_region(x, done, next,
                                       x->new_image->extents.n_files > 0 ? DELTA_CONTENT_METADATA
                                                                         : DELTA_CONTENT_BINARY);
                if (r < 0 || i == n)
                        return r;
                switch (x->pairs[part->file].how) {
                case DELTA_PAIR_SAME: r = add_same(x, part); break;
                case DELTA_PAIR_CHANGED:
                        r = add(x, (struct delta_plan_step){.type = DELTA_OP_FILE,
                                                            .target = part->target,
                                                            .length = part->length,
                                                            .file = part->file,
                                                            .at = part->at});
                        break;
                default:
                        r = add_region(
                                x, part->target, part->target + part->length,
                                delta_plan_content(x->new_image->bytes + part->target, (size_t)part->length));
                }
                if (r < 0)
                        return r;
                done = part->target + part->length;
        }
        return 0;
}

int delta_plan_make(const struct delta_image *old_image, const struct delta_image *new_image,
                    const struct delta_file_pair *pairs, size_t index_entries_max, struct delta_plan *ret) {
        struct planner x = {old_image, new_image, pairs, {0}, NULL, NULL};
        _cleanup_(x_freep) struct part *parts = NULL;
        _cleanup_(x_freep) struct delta_area *areas = NULL;
        const struct delta_area whole = {0, 0, old_image->length};
        size_t n = 0, n_areas = 0;
        int r = list_parts(&x, &parts, &n);
        if (r == 0)
                r = fine_areas(old_image, &areas, &n_areas);
        if (r == 0 && old_image->extents.n_files > 0)
                r = delta_index_new(old_image->bytes, areas, n_areas, FINE_BLOCK, FINE_STRIDE,
                                    index_entries_max, &x.fine);
        if (r == 0 && old_image->length > 0)
                r = delta_index_new(old_image->bytes, &whole, 1, COARSE_BLOCK, COARSE_BLOCK,
                                    index_entries_max, &x.coarse);
        if (r == 0)
                r = plan_all(&x, parts, n);
        delta_index_free(x.fine);
        delta_index_free(x.coarse);
        if (r < 0) {
                delta_plan_done(&x.plan);
                return r;
        }
        *ret = x.plan;
        return 0;
}
