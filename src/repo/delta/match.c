/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/match.h"

#include <divsufsort.h>
#include <errno.h>
#include <string.h>

/* Windows of the old bytes that one suffix array covers, and of the new bytes looked up in it. */
#define OLD_WINDOW ((size_t)128 << 20)
#define NEW_WINDOW ((size_t)64 << 20)

void delta_pieces_done(struct delta_pieces *p) {
        free(p->items);
        *p = (struct delta_pieces){0};
}

int delta_pieces_add(struct delta_pieces *p, int64_t old_offset, int64_t new_offset, int64_t length) {
        if (length <= 0)
                return 0;
        if (p->n > 0) {
                struct delta_piece *last = &p->items[p->n - 1];
                if (last->old_offset + last->length == old_offset &&
                    last->new_offset + last->length == new_offset) {
                        last->length += length;
                        return 0;
                }
        }
        if (p->n == p->capacity) {
                size_t capacity = p->capacity > 0 ? 2 * p->capacity : 16;
                struct delta_piece *items = reallocarray(p->items, capacity, sizeof(*items));
                if (!items)
                        return -ENOMEM;
                p->items = items;
                p->capacity = capacity;
        }
        p->items[p->n++] =
                (struct delta_piece){.old_offset = old_offset, .new_offset = new_offset, .length = length};
        return 0;
}

static int compare_pieces(const void *a, const void *b) {
        const struct delta_piece *x = a, *y = b;
        if (x->new_offset != y->new_offset)
                return x->new_offset < y->new_offset ? -1 : 1;
        if (x->length != y->length)
                return x->length > y->length ? -1 : 1;
        return x->old_offset < y->old_offset ? -1 : x->old_offset > y->old_offset;
}

void delta_pieces_sort(struct delta_pieces *p) {
        if (p->n == 0)
                return;
        qsort(p->items, p->n, sizeof(*p->items), compare_pieces);
        size_t kept = 0;
        int64_t end = 0;
        for (size_t i = 0; i < p->n; i++) {
                struct delta_piece piece = p->items[i];
                if (kept > 0 && piece.new_offset < end) {
                        int64_t cut = end - piece.new_offset;
                        if (cut >= piece.length)
                                continue;
                        piece.old_offset += cut;
                        piece.new_offset += cut;
                        piece.length -= cut;
                }
                end = piece.new_offset + piece.length;
                struct delta_piece *last = kept > 0 ? &p->items[kept - 1] : NULL;
                if (last && last->new_offset + last->length == piece.new_offset &&
                    last->old_offset + last->length == piece.old_offset)
                        last->length += piece.length;
                else
                        p->items[kept++] = piece;
        }
        p->n = kept;
}

/* ---- Bytes */

static size_t common_length(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b) {
        size_t n = MIN(n_a, n_b), i = 0;
        while (i + 8 <= n) {
                uint64_t x, y;
                memcpy(&x, a + i, 8);
                memcpy(&y, b + i, 8);
                if (x != y)
                        break;
                i += 8;
        }
        while (i < n && a[i] == b[i])
                i++;
        return i;
}

/* The suffix of old that agrees longest with the bytes at p. */
static size_t longest_match(const saidx_t *suffixes, const uint8_t *old_data, size_t n_old, const uint8_t *p,
                            size_t n, size_t *ret_at) {
        size_t low = 0, high = n_old, low_common = 0, high_common = 0;
        size_t best = 0, best_at = 0;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                size_t at = (size_t)suffixes[middle];
                size_t common = MIN(low_common, high_common);
                common += common_length(old_data + at + common, n_old - at - common, p + common, n - common);
                if (common > best) {
                        best = common;
                        best_at = at;
                }
                if (common == n)
                        break;
                if (at + common == n_old || old_data[at + common] < p[common]) {
                        low = middle + 1;
                        low_common = common;
                } else {
                        high = middle;
                        high_common = common;
                }
        }
        *ret_at = best_at;
        return best;
}

struct scan {
        const uint8_t *old_data, *new_data;
        size_t n_old, n_new;
        int64_t old_base, new_base;
        struct delta_pieces *ret;
        size_t last_new, last_old; /* where the piece before begins */
};

/* Ends the piece before, whose match begins at last_*, and lets the next one, whose exact match stands at
 * new_at, begin earlier if most bytes agree there too. */
static int put_piece(struct scan *s, size_t new_at, size_t old_at) {
        size_t forward = 0, backward = 0;
        ssize_t score = 0, best = 0;
        for (size_t i = 0; s->last_new + i < new_at && s->last_old + i < s->n_old;) {
                score += s->old_data[s->last_old + i] == s->new_data[s->last_new + i] ? 1 : 0;
                i++;
                if (score * 2 - (ssize_t)i > best * 2 - (ssize_t)forward) {
                        best = score;
                        forward = i;
                }
        }
        if (new_at < s->n_new) {
                score = best = 0;
                for (size_t i = 1; new_at >= s->last_new + i && old_at >= i; i++) {
                        score += s->old_data[old_at - i] == s->new_data[new_at - i] ? 1 : 0;
                        if (score * 2 - (ssize_t)i > best * 2 - (ssize_t)backward) {
                                best = score;
                                backward = i;
                        }
                }
        }
        if (s->last_new + forward > new_at - backward) { /* both want the same bytes: cut where it is best */
                size_t overlap = s->last_new + forward - (new_at - backward), cut = 0;
                score = best = 0;
                for (size_t i = 0; i < overlap; i++) {
                        size_t at = new_at - backward + i;
                        score += s->new_data[at] == s->old_data[s->last_old + (at - s->last_new)] ? 1 : 0;
                        score -= s->new_data[at] == s->old_data[old_at - backward + i] ? 1 : 0;
                        if (score > best) {
                                best = score;
                                cut = i + 1;
                        }
                }
                forward += cut - overlap;
                backward -= cut;
        }
        int r = delta_pieces_add(s->ret, s->old_base + (int64_t)s->last_old,
                                 s->new_base + (int64_t)s->last_new, (int64_t)forward);
        s->last_new = new_at - backward;
        s->last_old = old_at - backward;
        return r;
}

static int match_window(const uint8_t *old_data, size_t n_old, const uint8_t *new_data, size_t n_new,
                        int64_t old_base, int64_t new_base, struct delta_pieces *ret) {
        _cleanup_(x_freep) saidx_t *suffixes = reallocarray(NULL, n_old + 1, sizeof(*suffixes));
        if (!suffixes)
                return -ENOMEM;
        if (n_old > 0 && divsufsort(old_data, suffixes, (saidx_t)n_old) != 0)
                return -ENOMEM;
        struct scan s = {old_data, new_data, n_old, n_new, old_base, new_base, ret, 0, 0};
        size_t scan = 0, length = 0, at = 0;
        ssize_t shift = 0; /* of the piece before: old = new + shift */
        while (scan < n_new) {
                size_t agreeing = 0; /* bytes that the piece before would get right, going on */
                size_t counted = scan += length;
                for (; scan < n_new; scan++) {
                        length = longest_match(suffixes, old_data, n_old, new_data + scan, n_new - scan, &at);
                        for (; counted < scan + length; counted++) {
                                ssize_t o = (ssize_t)counted + shift;
                                if (o >= 0 && (size_t)o < n_old && old_data[o] == new_data[counted])
                                        agreeing++;
                        }
                        if ((length == agreeing && length != 0) || length > agreeing + 8)
                                break;
                        ssize_t o = (ssize_t)scan + shift;
                        if (o >= 0 && (size_t)o < n_old && old_data[o] == new_data[scan] && agreeing > 0)
                                agreeing--;
                }
                if (length == agreeing && scan < n_new)
                        continue;
                int r = put_piece(&s, scan, at);
                if (r < 0)
                        return r;
                shift = (ssize_t)at - (ssize_t)scan;
        }
        return 0;
}

int delta_match_bytes(const uint8_t *old_data, size_t n_old, const uint8_t *new_data, size_t n_new,
                      int64_t old_base, int64_t new_base, struct delta_pieces *ret) {
        size_t front = common_length(old_data, n_old, new_data, n_new), back = 0;
        while (back < MIN(n_old, n_new) - front && old_data[n_old - 1 - back] == new_data[n_new - 1 - back])
                back++;
        int r = delta_pieces_add(ret, old_base, new_base, (int64_t)front);
        /* What is looked up may still come from anywhere in the old bytes. */
        size_t end = n_new - back;
        for (size_t at = front; at < end && n_old > 0 && r == 0;) {
                size_t n = MIN(end - at, NEW_WINDOW), window = 0, window_length = n_old;
                if (n_old > OLD_WINDOW) {
                        size_t middle = (size_t)((unsigned __int128)(at + n / 2) * n_old / n_new);
                        window = middle > OLD_WINDOW / 2 ? middle - OLD_WINDOW / 2 : 0;
                        window = MIN(window, n_old - OLD_WINDOW);
                        window_length = OLD_WINDOW;
                }
                r = match_window(old_data + window, window_length, new_data + at, n,
                                 old_base + (int64_t)window, new_base + (int64_t)at, ret);
                at += n;
        }
        if (r == 0)
                r = delta_pieces_add(ret, old_base + (int64_t)(n_old - back), new_base + (int64_t)end,
                                     (int64_t)back);
        return r;
}
