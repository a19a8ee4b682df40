/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/make_plan.h"

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
        if (p->n == p->room || !p->steps) {
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

/* ---- Following the neighbours */

/* What lies between two files (archive headers, inodes, small unchanged files) mostly stands in the old image
 * in the same place beside the old versions of those files. So that is looked at first, before the index,
 * which finds something like it somewhere. */

#define TAR_BLOCK 512
#define FLOW_MIN 16  /* equal bytes that are worth an operation */
#define NEAR_MAX 512 /* bytes before a file that may differ a little: its archive header */
#define NEAR_PERCENT 75

struct flow {
        int64_t after[3]; /* displacements (seed - target) that may hold from the region's beginning */
        size_t n_after;
        int64_t before; /* the one that may hold to its end */
        bool has_before;
};

/* How many bytes from target on are the same at this displacement. */
static int64_t same_forward(const struct planner *x, int64_t target, int64_t end, int64_t displacement) {
        int64_t seed = target + displacement;
        if (seed < 0 || seed >= x->old_image->length)
                return 0;
        int64_t n = MIN(end - target, x->old_image->length - seed), i = 0;
        const uint8_t *old = x->old_image->bytes + seed, *new = x->new_image->bytes + target;
        while (i + 4096 <= n && memcmp(old + i, new + i, 4096) == 0)
                i += 4096;
        while (i < n && old[i] == new[i])
                i++;
        return i;
}

static int64_t same_backward(const struct planner *x, int64_t from, int64_t target, int64_t displacement) {
        int64_t seed = target + displacement;
        if (seed <= 0 || seed > x->old_image->length)
                return 0;
        int64_t n = MIN(target - from, seed), i = 0;
        const uint8_t *old = x->old_image->bytes + seed, *new = x->new_image->bytes + target;
        while (i + 4096 <= n && memcmp(old - i - 4096, new - i - 4096, 4096) == 0)
                i += 4096;
        while (i < n && old[-i - 1] == new[-i - 1])
                i++;
        return i;
}

/* The last bytes before target, when most of them are the same. */
static int64_t near_backward(const struct planner *x, int64_t from, int64_t target, int64_t displacement) {
        int64_t n = MIN(target - from, NEAR_MAX), seed = target + displacement;
        if (seed < n || seed > x->old_image->length || n < FLOW_MIN)
                return 0;
        const uint8_t *old = x->old_image->bytes + seed - n, *new = x->new_image->bytes + target - n;
        int64_t same = 0;
        for (int64_t i = 0; i < n; i++)
                same += old[i] == new[i];
        return same * 100 >= n * NEAR_PERCENT ? n : 0;
}

static int add_seed(struct planner *x, enum delta_op_type type, int64_t target, int64_t length,
                    int64_t displacement) {
        return add(x, (struct delta_plan_step){.type = type,
                                               .target = target,
                                               .length = length,
                                               .seed = target + displacement,
                                               .content = DELTA_CONTENT_METADATA});
}

static int add_between(struct planner *x, int64_t from, int64_t to, const struct flow *flow) {
        int64_t best = 0, displacement = 0, tail = 0, near = 0, before = 0;
        for (size_t i = 0; i < flow->n_after; i++) {
                int64_t n = same_forward(x, from, to, flow->after[i]);
                if (n > best) {
                        best = n;
                        displacement = flow->after[i];
                }
        }
        if (best < FLOW_MIN && best < to - from)
                best = 0;
        int r = add_seed(x, DELTA_OP_COPY, from, best, displacement);
        int64_t middle = from + best;
        if (flow->has_before && middle < to) {
                tail = same_backward(x, middle, to, flow->before);
                near = near_backward(x, middle, to - tail, flow->before);
                before = near > 0 ? same_backward(x, middle, to - tail - near, flow->before) : 0;
                if (near == 0 && tail < FLOW_MIN)
                        tail = 0;
        }
        int64_t end = to - tail - near - before;
        if (r == 0 && end > middle)
                r = add_region(x, middle, end, DELTA_CONTENT_METADATA);
        if (r == 0)
                r = add_seed(x, DELTA_OP_COPY, end, before, flow->before);
        if (r == 0)
                r = add_seed(x, DELTA_OP_MATCH, end + before, near, flow->before);
        if (r == 0)
                r = add_seed(x, DELTA_OP_COPY, to - tail, tail, flow->before);
        return r;
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

/* Where byte `at` of the old version of a file lies in the old image; -1: it has no such byte. The end of the
 * file counts as one. */
static int64_t old_place(const struct planner *x, uint32_t file, int64_t at) {
        const struct delta_extents *e = &x->old_image->extents;
        if (x->pairs[file].how == DELTA_PAIR_NEW)
                return -1;
        const struct delta_image_file *f = &e->files[x->pairs[file].old_file];
        for (uint32_t k = 0; k < f->n_spans; k++) {
                const struct delta_span *s = &e->spans[f->first_span + k];
                if (at < s->length || (at == s->length && k + 1 == f->n_spans))
                        return s->offset + at;
                at -= s->length;
        }
        return -1;
}

static int64_t round_up(int64_t n) {
        return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* The displacements that the files before and after a region speak for. */
static struct flow flow_between(const struct planner *x, const struct part *last, const struct part *next) {
        struct flow f = {0};
        const struct delta_plan_step *step = x->plan.n > 0 ? &x->plan.steps[x->plan.n - 1] : NULL;
        if (!last)
                f.after[f.n_after++] = 0;
        else if (step && step->type == DELTA_OP_COPY)
                f.after[f.n_after++] = step->seed - step->target;
        if (last) {
                int64_t end = last->target + last->length;
                bool whole = x->pairs[last->file].how != DELTA_PAIR_NEW &&
                             last->at + last->length == x->new_image->extents.files[last->file].length;
                int64_t old_end =
                        !whole ? -1
                               : old_place(x, last->file,
                                           x->old_image->extents.files[x->pairs[last->file].old_file].length);
                if (old_end >= 0) {
                        f.after[f.n_after++] = old_end - end;
                        f.after[f.n_after++] = round_up(old_end) - round_up(end);
                }
        }
        int64_t start = next ? old_place(x, next->file, next->at) : x->old_image->length;
        f.has_before = start >= 0;
        f.before = start - (next ? next->target : x->new_image->length);
        return f;
}

static int plan_all(struct planner *x, const struct part *parts, size_t n) {
        int64_t done = 0;
        for (size_t i = 0; i <= n; i++) {
                const struct part *part = &parts[i];
                int64_t next = i < n ? part->target : x->new_image->length;
                int r = 0;
                if (next > done && x->new_image->extents.n_files > 0) {
                        const struct flow flow =
                                flow_between(x, i > 0 ? &parts[i - 1] : NULL, i < n ? part : NULL);
                        r = add_between(x, done, next, &flow);
                } else if (next > done) {
                        r = add_region(x, done, next, DELTA_CONTENT_BINARY);
                }
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
