/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/predict.h"

#include <errno.h>
#include <string.h>

#include "repo/delta/predict_internal.h"

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

static const struct delta_driver *const drivers[DELTA_PREDICT_KINDS_MAX] = {
        [DELTA_PREDICT_ELF] = &delta_elf_driver,
};

struct delta_predictor {
        const struct delta_driver *driver; /* NULL: the old bytes */
        struct delta_file old_file;
        int64_t new_length;
        void *state;
};

int delta_predictor_new(unsigned kind, const struct delta_file *old, int64_t new_length,
                        const struct delta_map *map, const void *side, size_t side_length,
                        const struct delta_shared *shared, struct delta_predictor **ret, struct err **err) {
        if (kind >= DELTA_PREDICT_KINDS_MAX || (kind != DELTA_PREDICT_NONE && !drivers[kind]))
                return err_set(err, EBADMSG, "delta: there is no predictor of kind %u here", kind);
        struct delta_predictor *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set(err, ENOMEM, "delta: no memory for a predictor");
        *p = (struct delta_predictor){.driver = drivers[kind], .old_file = *old, .new_length = new_length};
        struct delta_context context = {&p->old_file, new_length, map, side, side_length, shared};
        int r = p->driver ? p->driver->make(&context, &p->state) : 0;
        if (r < 0) {
                free(p);
                return err_set_errno(err, -r, "delta: %s predictor for a file of %lld bytes",
                                     drivers[kind]->name, (long long)old->length);
        }
        *ret = p;
        return 0;
}

int delta_predictor_predict(struct delta_predictor *p, int64_t old_offset, int64_t new_offset, size_t n,
                            uint8_t *ret) {
        if (old_offset < 0 || new_offset < 0 || (uint64_t)n > INT64_MAX ||
            old_offset > p->old_file.length - (int64_t)n || new_offset > p->new_length - (int64_t)n)
                return -EBADMSG;
        if (!p->driver)
                return p->old_file.read(p->old_file.arg, old_offset, ret, n);
        return p->driver->predict(p->state, old_offset, new_offset, n, ret);
}

struct delta_predictor *delta_predictor_free(struct delta_predictor *p) {
        if (!p)
                return NULL;
        if (p->driver)
                p->driver->release(p->state);
        free(p);
        return NULL;
}

const char *delta_predictor_kind_at(struct delta_predictor *p, int64_t new_offset) {
        return p->driver ? p->driver->kind_at(p->state, new_offset) : "bytes";
}

/* ---- Shared tables */

#define CHECKSUMS_MAX 200000u
#define STEPS_MAX 200000u

static int parse_steps(struct delta_reader *in, struct delta_step **ret, size_t *ret_n) {
        uint64_t n = delta_get_number(in);
        if (in->failed || n > STEPS_MAX || n > (uint64_t)(in->end - in->at))
                return -EBADMSG;
        struct delta_step *steps = calloc(n + 1, sizeof(*steps));
        if (!steps)
                return -ENOMEM;
        uint64_t from = 0, shift = 0;
        for (size_t i = 0; i < n; i++) {
                from += delta_get_number(in);
                shift += (uint64_t)delta_get_signed(in);
                steps[i] = (struct delta_step){(uint32_t)from, (int32_t)(uint32_t)shift};
                if (from > UINT32_MAX) {
                        free(steps);
                        return -EBADMSG;
                }
        }
        *ret = steps;
        *ret_n = n;
        return 0;
}

static int parse_shared(struct delta_reader *in, struct delta_shared *s) {
        if (in->at == in->end)
                return 0;
        uint64_t n = delta_get_number(in);
        if (in->failed || n > CHECKSUMS_MAX || n > (uint64_t)(in->end - in->at))
                return -EBADMSG;
        s->checksums = calloc(n + 1, sizeof(*s->checksums));
        if (!s->checksums)
                return -ENOMEM;
        s->n_checksums = n;
        uint64_t value = 0;
        for (size_t i = 0; i < n; i++) {
                value += delta_get_number(in);
                if (value > UINT32_MAX)
                        return -EBADMSG;
                s->checksums[i].old_value = (uint32_t)value;
        }
        for (size_t i = 0; i < n; i++) {
                if (in->end - in->at < 4)
                        return -EBADMSG;
                s->checksums[i].new_value = delta_get32(in->at);
                in->at += 4;
        }
        s->old_types = (uint32_t)delta_get_number(in);
        s->new_types = (uint32_t)delta_get_number(in);
        s->old_strings = (uint32_t)delta_get_number(in);
        s->new_strings = (uint32_t)delta_get_number(in);
        int r = parse_steps(in, &s->types, &s->n_types);
        if (r == 0)
                r = parse_steps(in, &s->strings, &s->n_strings);
        return r == 0 && in->failed ? -EBADMSG : r;
}

int delta_shared_parse(const void *p, size_t n, struct delta_shared **ret, struct err **err) {
        struct delta_shared *s = calloc(1, sizeof(*s));
        if (!s)
                return err_set(err, ENOMEM, "delta: no memory for shared tables");
        struct delta_reader in = {p, p ? (const uint8_t *)p + n : NULL, false};
        int r = parse_shared(&in, s);
        if (r < 0) {
                delta_shared_free(s);
                return err_set_errno(err, -r, "delta: shared tables of %zu bytes", n);
        }
        *ret = s;
        return 0;
}

struct delta_shared *delta_shared_free(struct delta_shared *s) {
        if (!s)
                return NULL;
        free(s->checksums);
        free(s->types);
        free(s->strings);
        free(s);
        return NULL;
}

const struct delta_checksum *delta_shared_checksum(const struct delta_shared *s, uint32_t old_value) {
        size_t low = 0, high = s->n_checksums;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (s->checksums[middle].old_value < old_value)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < s->n_checksums && s->checksums[low].old_value == old_value ? &s->checksums[low] : NULL;
}

uint32_t delta_shared_step(const struct delta_step *steps, size_t n, uint32_t v) {
        size_t low = 0, high = n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (steps[middle].from <= v)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low == 0 ? v : v + (uint32_t)steps[low - 1].shift;
}
