/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "repo/delta/match.h"

/* Where ranges are this small, the best alignment of all is worked out: this many cells at most. */
#define CELLS_MAX ((size_t)1 << 20)
/* Tokens that are equal, alike (upper halves are equal), and that go on from the pair before. */
#define SCORE_EQUAL 8
#define SCORE_ALIKE 3
#define SCORE_GOES_ON 1

struct aligner {
        const uint64_t *old_tokens, *new_tokens;
        struct delta_pieces *ret;
};

static int put_run(struct aligner *a, size_t old_at, size_t new_at, size_t n) {
        return delta_pieces_add(a->ret, (int64_t)old_at, (int64_t)new_at, (int64_t)n);
}

enum { STEP_OLD, STEP_NEW, STEP_BOTH };

/* Needleman and Wunsch's alignment, without a price for gaps. */
static int align_small(struct aligner *a, size_t o, size_t n_o, size_t w, size_t n_w) {
        _cleanup_(x_freep) uint8_t *steps = malloc((n_o + 1) * (n_w + 1));
        _cleanup_(x_freep) int32_t *scores = calloc(2 * (n_w + 1), sizeof(*scores));
        if (!steps || !scores)
                return -ENOMEM;
        memset(steps, STEP_NEW, n_w + 1);
        int32_t *above = scores, *row = scores + n_w + 1;
        for (size_t i = 1; i <= n_o; i++) {
                uint8_t *step = steps + i * (n_w + 1), *step_above = step - (n_w + 1);
                uint64_t token = a->old_tokens[o + i - 1];
                row[0] = 0;
                step[0] = STEP_OLD;
                for (size_t j = 1; j <= n_w; j++) {
                        int32_t best = above[j];
                        uint8_t how = STEP_OLD;
                        if (row[j - 1] > best) {
                                best = row[j - 1];
                                how = STEP_NEW;
                        }
                        uint64_t other = a->new_tokens[w + j - 1];
                        if (token >> 32 == other >> 32) {
                                int32_t score = above[j - 1] + (token == other ? SCORE_EQUAL : SCORE_ALIKE) +
                                                (step_above[j - 1] == STEP_BOTH ? SCORE_GOES_ON : 0);
                                if (score > best) {
                                        best = score;
                                        how = STEP_BOTH;
                                }
                        }
                        row[j] = best;
                        step[j] = how;
                }
                int32_t *swap = above;
                above = row;
                row = swap;
        }
        /* Walked from the end: the pairs are marked, then told from the beginning. */
        size_t i = n_o, j = n_w;
        _cleanup_(x_freep) size_t *partner = calloc(n_o + 1, sizeof(*partner)); /* 1 + index; 0: none */
        if (!partner)
                return -ENOMEM;
        while (i > 0 && j > 0)
                switch (steps[i * (n_w + 1) + j]) {
                case STEP_BOTH: partner[--i] = j--; break;
                case STEP_OLD: i--; break;
                default: j--; break;
                }
        for (i = 0; i < n_o; i++)
                if (partner[i] > 0) {
                        int r = put_run(a, o + i, w + partner[i] - 1, 1);
                        if (r < 0)
                                return r;
                }
        return 0;
}

struct slot { /* of a table of what stands in both ranges */
        uint64_t key;
        uint32_t old_at, new_at;
        uint8_t old_count, new_count; /* 2: twice or more */
};

static uint64_t gram(const uint64_t *tokens, size_t length) {
        uint64_t h = 0x9e3779b97f4a7c15u;
        for (size_t i = 0; i < length; i++)
                h = (h ^ tokens[i]) * 0xff51afd7ed558ccdu, h ^= h >> 32;
        return h;
}

static struct slot *slot_of(struct slot *table, size_t mask, uint64_t key) {
        for (size_t i = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & mask;; i = (i + 1) & mask)
                if ((table[i].old_count == 0 && table[i].new_count == 0) || table[i].key == key)
                        return &table[i];
}

/* Grams of a length that stand once in either range, in the longest order that rises in both: {old, new}
 * offsets within the ranges. */
static int find_anchors(struct aligner *a, size_t o, size_t n_o, size_t w, size_t n_w, size_t length,
                        uint32_t (**ret)[2], size_t *ret_n) {
        *ret = NULL;
        *ret_n = 0;
        if (n_o < length || n_w < length)
                return 0;
        size_t mask = 1;
        while (mask < (n_o + n_w) * 2)
                mask *= 2;
        mask--;
        _cleanup_(x_freep) struct slot *table = calloc(mask + 1, sizeof(*table));
        _cleanup_(x_freep) uint32_t(*pairs)[2] = calloc(MIN(n_o, n_w), sizeof(*pairs));
        if (!table || !pairs)
                return -ENOMEM;
        for (size_t i = 0; i + length <= n_o; i++) {
                uint64_t key = gram(a->old_tokens + o + i, length);
                struct slot *s = slot_of(table, mask, key);
                s->key = key;
                s->old_at = (uint32_t)i;
                s->old_count = s->old_count > 0 ? 2 : 1;
        }
        for (size_t i = 0; i + length <= n_w; i++) {
                uint64_t key = gram(a->new_tokens + w + i, length);
                struct slot *s = slot_of(table, mask, key);
                s->key = key;
                s->new_at = (uint32_t)i;
                s->new_count = s->new_count > 0 ? 2 : 1;
        }
        size_t n = 0;
        for (size_t i = 0; i + length <= n_w; i++) {
                const struct slot *s = slot_of(table, mask, gram(a->new_tokens + w + i, length));
                if (s->old_count == 1 && s->new_count == 1) {
                        pairs[n][0] = s->old_at;
                        pairs[n++][1] = (uint32_t)i;
                }
        }
        if (n == 0)
                return 0;
        /* The longest rising run of old offsets: heads[k] ends the best one of k + 1 pairs. */
        _cleanup_(x_freep) uint32_t *heads = calloc(n, sizeof(*heads));
        _cleanup_(x_freep) uint32_t *before = calloc(n, sizeof(*before));
        if (!heads || !before)
                return -ENOMEM;
        size_t longest = 0;
        for (size_t i = 0; i < n; i++) {
                size_t low = 0, high = longest;
                while (low < high) {
                        size_t middle = low + (high - low) / 2;
                        if (pairs[heads[middle]][0] < pairs[i][0])
                                low = middle + 1;
                        else
                                high = middle;
                }
                before[i] = low > 0 ? heads[low - 1] : UINT32_MAX;
                heads[low] = (uint32_t)i;
                longest = MAX(longest, low + 1);
        }
        uint32_t(*chain)[2] = calloc(longest, sizeof(*chain));
        if (!chain)
                return -ENOMEM;
        uint32_t at = heads[longest - 1];
        for (size_t k = longest; k-- > 0; at = before[at])
                memcpy(chain[k], pairs[at], sizeof(chain[k]));
        *ret = chain;
        *ret_n = longest;
        return 0;
}

static int align(struct aligner *a, size_t o, size_t o_end, size_t w, size_t w_end, unsigned depth) {
        size_t n = 0;
        while (o + n < o_end && w + n < w_end && a->old_tokens[o + n] == a->new_tokens[w + n])
                n++;
        int r = put_run(a, o, w, n);
        o += n;
        w += n;
        size_t tail = 0;
        while (o + tail < o_end && w + tail < w_end &&
               a->old_tokens[o_end - 1 - tail] == a->new_tokens[w_end - 1 - tail])
                tail++;
        o_end -= tail;
        w_end -= tail;
        size_t n_o = o_end - o, n_w = w_end - w;
        if (r == 0 && n_o > 0 && n_w > 0) {
                uint32_t(*anchors)[2] = NULL;
                size_t n_anchors = 0;
                if (n_o + 1 <= CELLS_MAX / (n_w + 1)) {
                        r = align_small(a, o, n_o, w, n_w);
                } else if (depth < 40 && n_o < UINT32_MAX && n_w < UINT32_MAX) {
                        static const size_t lengths[] = {6, 3, 1, 20};
                        for (size_t k = 0; k < ARRAY_SIZE(lengths) && r == 0 && n_anchors == 0; k++)
                                r = find_anchors(a, o, n_o, w, n_w, lengths[k], &anchors, &n_anchors);
                        size_t from_o = o, from_w = w;
                        for (size_t k = 0; k < n_anchors && r == 0; k++) {
                                if (o + anchors[k][0] < from_o || w + anchors[k][1] < from_w)
                                        continue;
                                r = align(a, from_o, o + anchors[k][0], from_w, w + anchors[k][1], depth + 1);
                                from_o = o + anchors[k][0];
                                from_w = w + anchors[k][1];
                                /* Equal tokens from here on are this anchor's. */
                                size_t same = 0;
                                while (from_o + same < o_end && from_w + same < w_end &&
                                       a->old_tokens[from_o + same] == a->new_tokens[from_w + same])
                                        same++;
                                if (r == 0)
                                        r = put_run(a, from_o, from_w, same);
                                from_o += same;
                                from_w += same;
                        }
                        if (r == 0 && n_anchors > 0)
                                r = align(a, from_o, o_end, from_w, w_end, depth + 1);
                        free(anchors);
                }
        }
        return r < 0 ? r : put_run(a, o_end, w_end, tail);
}

int delta_match_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens, size_t n_new,
                       struct delta_pieces *ret) {
        struct aligner a = {old_tokens, new_tokens, ret};
        return align(&a, 0, n_old, 0, n_new, 0);
}

/* ---- Blocks that changed places */

#define CANDIDATES_MAX 24u /* old places of one token that are tried */

struct run {
        uint32_t old_at, new_at, length;
};

static int compare_runs(const void *a, const void *b) {
        const struct run *x = a, *y = b;
        if (x->length != y->length)
                return x->length > y->length ? -1 : 1;
        return x->new_at != y->new_at ? (x->new_at < y->new_at ? -1 : 1)
                                      : (x->old_at < y->old_at ? -1 : x->old_at > y->old_at);
}

struct places {                 /* where tokens stand in the old sequence: chains by hash */
        uint32_t *heads, *next; /* 1 + index; 0: none */
        size_t mask;
};

static uint32_t *head_of(const struct places *p, uint64_t token) {
        return &p->heads[(size_t)(token * 0x9e3779b97f4a7c15u >> 20) & p->mask];
}

struct run_list {
        struct run *items;
        size_t n, capacity;
};

static int add_run(struct run_list *l, struct run run) {
        if (l->n == l->capacity) {
                size_t capacity = l->capacity > 0 ? 2 * l->capacity : 256;
                struct run *items = reallocarray(l->items, capacity, sizeof(*items));
                if (!items)
                        return -ENOMEM;
                l->items = items;
                l->capacity = capacity;
        }
        l->items[l->n++] = run;
        return 0;
}

/* Every longest run that begins at an uncovered new index. */
static int find_runs(const struct aligner *a, size_t n_old, size_t n_new, const uint8_t *covered,
                     const uint8_t *used, const struct places *places, size_t least, struct run_list *ret) {
        for (size_t i = 0; i < n_new; i++) {
                if (covered[i])
                        continue;
                uint64_t token = a->new_tokens[i];
                unsigned tried = 0, seen = 0;
                struct run best = {0};
                for (uint32_t at = *head_of(places, token); at != 0 && tried < CANDIDATES_MAX;
                     at = places->next[at - 1]) {
                        size_t j = at - 1, n = 1;
                        if (a->old_tokens[j] != token || used[j])
                                continue;
                        tried++;
                        seen++;
                        if (i > 0 && j > 0 && !covered[i - 1] && !used[j - 1] &&
                            a->old_tokens[j - 1] == a->new_tokens[i - 1]) {
                                continue; /* told by the run that begins before */
                        }
                        while (i + n < n_new && j + n < n_old && !covered[i + n] && !used[j + n] &&
                               a->old_tokens[j + n] == a->new_tokens[i + n])
                                n++;
                        if (n > best.length)
                                best = (struct run){(uint32_t)j, (uint32_t)i, (uint32_t)n};
                        if (n >= least && n < best.length) {
                                int r = add_run(ret, (struct run){(uint32_t)j, (uint32_t)i, (uint32_t)n});
                                if (r < 0)
                                        return r;
                        }
                }
                if (best.length >= least || (best.length > 0 && seen == 1)) {
                        int r = add_run(ret, best);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int delta_match_moved_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens,
                             size_t n_new, size_t least, struct delta_pieces *runs) {
        if (n_old == 0 || n_new == 0 || n_old >= UINT32_MAX || n_new >= UINT32_MAX)
                return 0;
        struct places places = {.mask = 1};
        while (places.mask < n_old)
                places.mask *= 2;
        places.heads = calloc(places.mask, sizeof(*places.heads));
        places.next = calloc(n_old, sizeof(*places.next));
        places.mask--;
        _cleanup_(x_freep) uint8_t *covered = calloc(n_new, 1), *used = calloc(n_old, 1);
        struct run_list list = {0};
        int r = places.heads && places.next && covered && used ? 0 : -ENOMEM;
        for (size_t i = n_old; i-- > 0 && r == 0;) { /* so that chains rise */
                uint32_t *head = head_of(&places, old_tokens[i]);
                places.next[i] = *head;
                *head = (uint32_t)i + 1;
        }
        for (size_t i = 0; i < runs->n && r == 0; i++) {
                memset(covered + runs->items[i].new_offset, 1, (size_t)runs->items[i].length);
                memset(used + runs->items[i].old_offset, 1, (size_t)runs->items[i].length);
        }
        struct aligner a = {.old_tokens = old_tokens, .new_tokens = new_tokens};
        if (r == 0)
                r = find_runs(&a, n_old, n_new, covered, used, &places, least, &list);
        if (r == 0 && list.n > 0)
                qsort(list.items, list.n, sizeof(*list.items), compare_runs);
        for (size_t k = 0; k < list.n && r == 0; k++) {
                struct run run = list.items[k];
                for (uint32_t at = 0; at < run.length && r == 0;) { /* what longer runs left of it */
                        uint32_t n = 0;
                        while (at + n < run.length && !covered[run.new_at + at + n] &&
                               !used[run.old_at + at + n])
                                n++;
                        if (n >= least || (n == run.length && n > 0)) {
                                memset(covered + run.new_at + at, 1, n);
                                memset(used + run.old_at + at, 1, n);
                                r = delta_pieces_add(runs, run.old_at + at, run.new_at + at, n);
                        }
                        at += n + 1;
                }
        }
        free(list.items);
        free(places.heads);
        free(places.next);
        if (r == 0)
                delta_pieces_sort(runs);
        return r;
}

int delta_match_gap_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens, size_t n_new,
                           struct delta_pieces *runs) {
        struct delta_pieces filled = {0};
        struct aligner a = {old_tokens, new_tokens, &filled};
        int r = 0;
        int64_t old_end = 0, new_end = 0;
        for (size_t i = 0; i <= runs->n && r == 0; i++) {
                struct delta_piece p = {(int64_t)n_old, (int64_t)n_new, 0};
                if (i < runs->n)
                        p = runs->items[i];
                int64_t old_gap = p.old_offset - old_end, new_gap = p.new_offset - new_end;
                if (new_gap > 0 && old_gap > 0 &&
                    (size_t)(old_gap + 1) <= CELLS_MAX / (size_t)(new_gap + 1)) {
                        r = align_small(&a, (size_t)old_end, (size_t)old_gap, (size_t)new_end,
                                        (size_t)new_gap);
                } else if (new_gap > 0) {
                        int64_t n = 0;
                        while (n < new_gap && old_end + n < (int64_t)n_old &&
                               old_tokens[old_end + n] >> 32 == new_tokens[new_end + n] >> 32)
                                n++;
                        r = put_run(&a, (size_t)old_end, (size_t)new_end, (size_t)n);
                        int64_t back = 0;
                        while (back < new_gap - n && p.old_offset - back > 0 &&
                               old_tokens[p.old_offset - 1 - back] >> 32 ==
                                       new_tokens[p.new_offset - 1 - back] >> 32)
                                back++;
                        if (r == 0)
                                r = put_run(&a, (size_t)(p.old_offset - back), (size_t)(p.new_offset - back),
                                            (size_t)back);
                }
                if (r == 0)
                        r = put_run(&a, (size_t)p.old_offset, (size_t)p.new_offset, (size_t)p.length);
                old_end = p.old_offset + p.length;
                new_end = p.new_offset + p.length;
        }
        if (r < 0) {
                delta_pieces_done(&filled);
                return r;
        }
        delta_pieces_done(runs);
        *runs = filled;
        return 0;
}
