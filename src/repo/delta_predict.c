/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta_predict.h"

#include <errno.h>
#include <string.h>

#include "repo/delta_predict_internal.h"

/* ---- Numbers */

uint64_t delta_get_number(struct delta_reader *r) {
        uint64_t v = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
                if (r->at == r->end)
                        break;
                uint8_t byte = *r->at++;
                v |= (uint64_t)(byte & 0x7f) << shift;
                if (!(byte & 0x80))
                        return v;
        }
        r->failed = true;
        return 0;
}

int64_t delta_get_signed(struct delta_reader *r) {
        uint64_t v = delta_get_number(r);
        return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

int delta_put_number(struct buf *b, uint64_t v) {
        uint8_t bytes[10];
        size_t n = 0;
        for (; v >= 0x80; v >>= 7)
                bytes[n++] = (uint8_t)(v | 0x80);
        bytes[n++] = (uint8_t)v;
        return buf_append(b, bytes, n);
}

int delta_put_signed(struct buf *b, int64_t v) {
        return delta_put_number(b, (uint64_t)v << 1 ^ (v < 0 ? ~(uint64_t)0 : 0));
}

/* ---- Maps */

int64_t delta_map_new(const struct delta_map *m, int64_t old_offset) {
        size_t low = 0, high = m->n;
        while (low < high) { /* the last piece that begins at or before the offset */
                size_t middle = low + (high - low) / 2;
                if (m->by_new[m->by_old[middle]].old_offset <= old_offset)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == 0)
                return -1;
        const struct delta_piece *p = &m->by_new[m->by_old[low - 1]];
        return old_offset - p->old_offset < p->length ? p->new_offset + (old_offset - p->old_offset) : -1;
}

/* ---- Predictors */

struct delta_predictor {
        unsigned kind;
        const struct delta_file *old;
        int64_t new_length;
};

int delta_predictor_new(unsigned kind, const struct delta_file *old, int64_t new_length,
                        const struct delta_map *map, const void *side, size_t side_length,
                        const struct delta_shared *shared, struct delta_predictor **ret, struct err **err) {
        if (kind >= DELTA_PREDICT_KINDS_MAX)
                return err_set(err, EBADMSG, "delta: there is no predictor %u", kind);
        struct delta_predictor *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set(err, ENOMEM, "delta: no memory for a predictor");
        *p = (struct delta_predictor){.kind = kind, .old = old, .new_length = new_length};
        *ret = p;
        return 0;
}

int delta_predictor_predict(struct delta_predictor *p, int64_t old_offset, int64_t new_offset, size_t n,
                            uint8_t *ret) {
        if (old_offset < 0 || new_offset < 0 || (uint64_t)n > INT64_MAX ||
            old_offset > p->old->length - (int64_t)n || new_offset > p->new_length - (int64_t)n)
                return -EBADMSG;
        return p->old->read(p->old->arg, old_offset, ret, n);
}

struct delta_predictor *delta_predictor_free(struct delta_predictor *p) {
        free(p);
        return NULL;
}

const char *delta_predictor_kind_at(struct delta_predictor *p, int64_t new_offset) {
        return "bytes";
}

/* ---- Shared tables */

struct delta_shared {
        uint8_t unused;
};

int delta_shared_parse(const void *p, size_t n, struct delta_shared **ret, struct err **err) {
        struct delta_shared *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set(err, ENOMEM, "delta: no memory for shared tables");
        *ret = s;
        return 0;
}

struct delta_shared *delta_shared_free(struct delta_shared *s) {
        free(s);
        return NULL;
}
