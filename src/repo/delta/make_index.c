/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/make_index.h"

#include <errno.h>
#include <string.h>

#define MULTIPLIER 0x9e3779b1u
#define NEAR_STOP 48 /* an extension with differences ends after that many bytes without gain */

struct delta_index {
        const uint8_t *seed;
        const struct delta_area *areas;
        unsigned block;
        uint32_t power; /* MULTIPLIER^(block - 1), for the rolling hash */
        unsigned bits;
        int64_t *places; /* offset + 1 in the seed, 0: none */
        struct delta_area *copies;
        size_t n_areas;
};

static uint32_t hash_of(const uint8_t *p, unsigned n) {
        uint32_t h = 0;
        for (unsigned i = 0; i < n; i++)
                h = h * MULTIPLIER + p[i] + 1;
        return h;
}

static inline size_t slot_of(const struct delta_index *x, uint32_t h) {
        return (h * 2246822519u ^ h >> 15) >> (32 - x->bits);
}

static bool is_dull(const uint8_t *p, unsigned n) {
        return memcmp(p, p + 1, n - 1) == 0;
}

struct delta_index *delta_index_free(struct delta_index *x) {
        if (!x)
                return NULL;
        free(x->places);
        free(x->copies);
        free(x);
        return NULL;
}

int delta_index_new(const uint8_t *seed, const struct delta_area *areas, size_t n_areas, unsigned block,
                    unsigned stride, size_t entries_max, struct delta_index **ret) {
        _cleanup_(delta_index_freep) struct delta_index *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        uint64_t total = 0;
        for (size_t i = 0; i < n_areas; i++)
                total += (uint64_t)areas[i].length;
        while (total / stride > entries_max)
                stride *= 2;
        x->seed = seed;
        x->block = block;
        x->power = 1;
        for (unsigned i = 1; i < block; i++)
                x->power *= MULTIPLIER;
        for (x->bits = 8; x->bits < 28 && ((uint64_t)1 << x->bits) < total / stride * 2; x->bits++)
                ;
        x->copies = calloc(n_areas + 1, sizeof(*areas));
        x->places = calloc((size_t)1 << x->bits, sizeof(*x->places));
        if (!x->places || !x->copies)
                return -ENOMEM;
        x->n_areas = n_areas;
        if (n_areas > 0)
                memcpy(x->copies, areas, n_areas * sizeof(*areas));
        for (size_t i = 0; i < n_areas; i++)
                for (int64_t at = areas[i].seed; at + block <= areas[i].seed + areas[i].length;
                     at += stride) {
                        const uint8_t *p = seed + at;
                        if (is_dull(p, block))
                                continue;
                        int64_t *place = &x->places[slot_of(x, hash_of(p, block))];
                        if (!*place) /* the first one stays: matches then tend to go on from each other */
                                *place = at + 1;
                }
        *ret = TAKE_PTR(x);
        return 0;
}

/* The area that holds an offset: matches do not leave it. Areas are sorted. */
static const struct delta_area *area_of(const struct delta_index *x, int64_t at) {
        size_t low = 0, high = x->n_areas;
        while (low < high) {
                size_t middle = (low + high) / 2;
                if (x->copies[middle].seed + x->copies[middle].length <= at)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < x->n_areas && x->copies[low].seed <= at ? &x->copies[low] : NULL;
}

/* How far two runs of bytes are alike enough, allowing differences: where equal minus different is largest.
 */
static int64_t near_forward(const uint8_t *a, const uint8_t *b, int64_t max) {
        int64_t score = 0, best = 0, at = 0;
        for (int64_t i = 0; i < max && best - score < NEAR_STOP; i++) {
                score += a[i] == b[i] ? 1 : -1;
                if (score > best) {
                        best = score;
                        at = i + 1;
                }
        }
        return at;
}
static int64_t near_backward(const uint8_t *a, const uint8_t *b, int64_t max) {
        int64_t score = 0, best = 0, at = 0;
        for (int64_t i = 1; i <= max && best - score < NEAR_STOP; i++) {
                score += a[-i] == b[-i] ? 1 : -1;
                if (score > best) {
                        best = score;
                        at = i;
                }
        }
        return at;
}

int delta_index_match(const struct delta_index *x, const uint8_t *target, int64_t from, int64_t to,
                      unsigned minimum, int (*found)(void *arg, const struct delta_area *a), void *arg) {
        int64_t done = from; /* matched or given up before it */
        struct delta_area last = {0};
        if (to - from < x->block)
                return 0;
        uint32_t h = hash_of(target + from, x->block);
        for (int64_t at = from; at + x->block <= to;) {
                int64_t place = x->places[slot_of(x, h)] - 1;
                const struct delta_area *area = NULL;
                int64_t forward = 0, backward = 0;
                if (place >= 0 && memcmp(x->seed + place, target + at, x->block) == 0)
                        area = area_of(x, place);
                if (area) {
                        int64_t max = MIN(to - at, area->seed + area->length - place);
                        while (forward < max && x->seed[place + forward] == target[at + forward])
                                forward++;
                        max = MIN(at - done, place - area->seed);
                        while (backward < max && x->seed[place - backward - 1] == target[at - backward - 1])
                                backward++;
                }
                if (area && forward + backward >= minimum) {
                        struct delta_area a = {place - backward, at - backward, forward + backward};
                        a.length += near_forward(
                                x->seed + a.seed + a.length, target + a.target + a.length,
                                MIN(to - a.target - a.length, area->seed + area->length - a.seed - a.length));
                        int64_t more = near_backward(x->seed + a.seed, target + a.target,
                                                     MIN(a.target - done, a.seed - area->seed));
                        a.seed -= more;
                        a.target -= more;
                        a.length += more;
                        if (last.length > 0 && last.target + last.length == a.target &&
                            last.seed + last.length == a.seed)
                                last.length += a.length;
                        else {
                                if (last.length > 0) {
                                        int r = found(arg, &last);
                                        if (r < 0)
                                                return r;
                                }
                                last = a;
                        }
                        at = done = a.target + a.length;
                        if (at + x->block <= to)
                                h = hash_of(target + at, x->block);
                        continue;
                }
                if (at + x->block < to)
                        h = (h - (target[at] + 1u) * x->power) * MULTIPLIER + target[at + x->block] + 1;
                at++;
        }
        return last.length > 0 ? found(arg, &last) : 0;
}
