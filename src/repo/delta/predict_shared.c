/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's side of shared tables: what many pairs of files say alike is found by their votes. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_match.h"

struct vote {                                 /* that an old number became a new one */
        uint32_t old_value, new_value, count; /* count 0: an empty slot */
};
struct ballot { /* open addressing, at most half full */
        struct vote *slots;
        size_t n, capacity;
};
struct delta_shared_maker {
        struct ballot checksums, types, strings;
        struct ballot bases, string_bases; /* {old base, new base} as each pair of files sees them */
};

static struct vote *slot_of(struct vote *slots, size_t capacity, uint32_t old_value, uint32_t new_value) {
        uint64_t h = ((uint64_t)old_value << 32 | new_value) * 0x9e3779b97f4a7c15u;
        for (size_t i = (size_t)(h >> 24) & (capacity - 1);; i = (i + 1) & (capacity - 1)) {
                struct vote *v = &slots[i];
                if (v->count == 0 || (v->old_value == old_value && v->new_value == new_value))
                        return v;
        }
}

static int cast(struct ballot *b, uint32_t old_value, uint32_t new_value, uint32_t count) {
        if (2 * (b->n + 1) > b->capacity) {
                size_t capacity = b->capacity > 0 ? 2 * b->capacity : 4096;
                struct vote *slots = calloc(capacity, sizeof(*slots));
                if (!slots)
                        return -ENOMEM;
                for (size_t i = 0; i < b->capacity; i++)
                        if (b->slots[i].count > 0)
                                *slot_of(slots, capacity, b->slots[i].old_value, b->slots[i].new_value) =
                                        b->slots[i];
                free(b->slots);
                b->slots = slots;
                b->capacity = capacity;
        }
        struct vote *v = slot_of(b->slots, b->capacity, old_value, new_value);
        if (v->count == 0) {
                b->n++;
                v->old_value = old_value;
                v->new_value = new_value;
        }
        v->count += MIN(count, UINT32_MAX - v->count);
        return 0;
}

static int compare_votes(const void *a, const void *b) {
        const struct vote *x = a, *y = b;
        if (x->old_value != y->old_value)
                return x->old_value < y->old_value ? -1 : 1;
        if (x->count != y->count)
                return x->count > y->count ? -1 : 1;
        return x->new_value < y->new_value ? -1 : x->new_value > y->new_value;
}

/* For each old number the new one most voted for, by rising old number. */
static int count_votes(const struct ballot *b, struct vote **ret, size_t *ret_n) {
        struct vote *votes = calloc(b->n + 1, sizeof(*votes));
        if (!votes)
                return -ENOMEM;
        size_t n = 0, kept = 0;
        for (size_t i = 0; i < b->capacity; i++)
                if (b->slots[i].count > 0)
                        votes[n++] = b->slots[i];
        if (n > 0)
                qsort(votes, n, sizeof(*votes), compare_votes);
        for (size_t i = 0; i < n; i++)
                if (kept == 0 || votes[kept - 1].old_value != votes[i].old_value)
                        votes[kept++] = votes[i];
        *ret = votes;
        *ret_n = kept;
        return 0;
}

static struct vote winner(const struct ballot *b) {
        struct vote best = {0};
        for (size_t i = 0; i < b->capacity; i++) {
                const struct vote *v = &b->slots[i];
                if (v->count > best.count ||
                    (v->count > 0 && v->count == best.count && v->old_value < best.old_value))
                        best = *v;
        }
        return best;
}

int delta_shared_maker_new(struct delta_shared_maker **ret) {
        struct delta_shared_maker *m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        *ret = m;
        return 0;
}

struct delta_shared_maker *delta_shared_maker_free(struct delta_shared_maker *m) {
        if (!m)
                return NULL;
        struct ballot *ballots[] = {&m->checksums, &m->types, &m->strings, &m->bases, &m->string_bases};
        for (size_t i = 0; i < ARRAY_SIZE(ballots); i++)
                free(ballots[i]->slots);
        free(m);
        return NULL;
}

static int section_named(const struct delta_elf *e, const char *name) {
        for (unsigned i = 0; i < e->n; i++)
                if (delta_elf_has_bytes(&e->sections[i]) && strcmp(delta_elf_name(e, i), name) == 0)
                        return (int)i;
        return -1;
}

/* Symbols' checksums, told by the symbols' names, which stand in nearly the same order in both. */
static int add_checksums(struct delta_shared_maker *m, const struct delta_elf_version *o,
                         const struct delta_elf_version *w) {
        int in_old = section_named(&o->elf, "__versions"), in_new = section_named(&w->elf, "__versions");
        if (in_old < 0 || in_new < 0)
                return 0;
        const struct delta_elf_section *a = &o->elf.sections[in_old], *b = &w->elf.sections[in_new];
        size_t n_old = (size_t)a->size / 64, n_new = (size_t)b->size / 64, next = 0;
        for (size_t i = 0; i < n_old; i++) {
                const uint8_t *p = o->data + a->offset + i * 64;
                for (size_t k = 0; k < n_new; k++) {
                        size_t j = (next + k) % n_new;
                        const uint8_t *q = w->data + b->offset + j * 64;
                        if (memcmp(p + 8, q + 8, 56) != 0)
                                continue;
                        next = j + 1;
                        if (delta_get32(p) == delta_get32(q))
                                break;
                        int r = cast(&m->checksums, delta_get32(p), delta_get32(q), 1);
                        if (r < 0)
                                return r;
                        break;
                }
        }
        return 0;
}

static int add_btf(struct delta_shared_maker *m, const struct delta_match *match,
                   const struct delta_elf_version *o, const struct delta_elf_version *w) {
        int in_old = section_named(&o->elf, ".BTF"), in_new = section_named(&w->elf, ".BTF");
        struct delta_elf_btf_view a, b;
        if (in_old < 0 || in_new < 0 || delta_elf_btf_open(o, (unsigned)in_old, &a) < 0 ||
            delta_elf_btf_open(w, (unsigned)in_new, &b) < 0)
                return 0;
        int r = 0;
        if (MIN(a.base_votes, b.base_votes) > 0)
                r = cast(&m->bases, a.base_types, b.base_types, MIN(a.base_votes, b.base_votes));
        if (r == 0)
                r = cast(&m->string_bases, a.base_strings, b.base_strings, 1);
        const uint8_t *old_at = a.types, *new_begin = b.types;
        int64_t old_offset = old_at - o->data, new_offset = new_begin - w->data;
        /* Records of the new types, each with its piece: both rise. */
        size_t piece = 0;
        struct delta_btf_walk walk = {.types = b.types, .n = b.btf.types_length};
        struct delta_btf_record record;
        while (r == 0 && delta_btf_next(&walk, &record)) {
                int64_t to = new_offset + (int64_t)record.at;
                while (piece < match->n_pieces &&
                       match->pieces[piece].new_offset + match->pieces[piece].length <= to)
                        piece++;
                if (piece == match->n_pieces)
                        break;
                const struct delta_piece *p = &match->pieces[piece];
                if (to < p->new_offset || to + (int64_t)record.length > p->new_offset + p->length)
                        continue;
                int64_t at = p->old_offset + (to - p->new_offset);
                if (at < old_offset || at + (int64_t)record.length > old_offset + (int64_t)a.btf.types_length)
                        continue;
                for (size_t i = 0; i < record.length / 4 && r == 0; i++) {
                        uint32_t x = delta_get32(o->data + at + 4 * i), y = delta_get32(w->data + to + 4 * i);
                        if (x == 0 || y == 0 || record.words[i] == DELTA_BTF_PLAIN)
                                continue;
                        r = cast(record.words[i] == DELTA_BTF_NAME ? &m->strings : &m->types, x, y, 1);
                }
        }
        return r;
}

int delta_shared_maker_add(struct delta_shared_maker *m, const struct delta_pair *pair,
                           const struct delta_match *match) {
        if (match->kind != DELTA_PREDICT_ELF)
                return 0;
        struct delta_elf_version o = {0}, w = {0};
        struct delta_file old_file, new_file;
        int r = delta_elf_version_open(pair->old_data, pair->old_length, &old_file, &o);
        if (r == 0)
                r = delta_elf_version_open(pair->new_data, pair->new_length, &new_file, &w);
        if (r == 0)
                r = add_checksums(m, &o, &w);
        if (r == 0)
                r = add_btf(m, match, &o, &w);
        delta_elf_version_close(&o);
        delta_elf_version_close(&w);
        return r == -EBADMSG ? 0 : r;
}

/* Where the shift changes, below the bases; single numbers that disagree with both neighbours go. */
static int put_steps(const struct ballot *b, uint32_t old_base, uint32_t new_base, struct buf *ret) {
        struct vote *votes = NULL;
        size_t n = 0;
        int r = count_votes(b, &votes, &n);
        if (r < 0)
                return r;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
                if (votes[i].old_value < old_base && votes[i].new_value < new_base)
                        votes[kept++] = votes[i];
        n = kept;
        _cleanup_(buf_done) struct buf steps = BUF_INIT;
        size_t n_steps = 0;
        uint32_t from = 0, shift = 0;
        for (size_t i = 0; i < n; i++) {
                uint32_t s = votes[i].new_value - votes[i].old_value;
                if (s == shift)
                        continue;
                if (votes[i].count < 4 && i + 1 < n &&
                    votes[i + 1].new_value - votes[i + 1].old_value == shift)
                        continue;
                delta_put_number(&steps, votes[i].old_value - from);
                delta_put_signed(&steps, (int32_t)(s - shift));
                from = votes[i].old_value;
                shift = s;
                n_steps++;
        }
        free(votes);
        delta_put_number(ret, n_steps);
        buf_append(ret, steps.data, steps.len);
        return buf_failed(&steps) ? buf_failed(&steps) : buf_failed(ret);
}

int delta_shared_maker_encode(struct delta_shared_maker *m, struct buf *ret) {
        struct vote *checksums = NULL;
        size_t n = 0;
        int r = count_votes(&m->checksums, &checksums, &n);
        if (r < 0)
                return r;
        delta_put_number(ret, n);
        uint32_t before = 0;
        for (size_t i = 0; i < n; i++) {
                delta_put_number(ret, checksums[i].old_value - before);
                before = checksums[i].old_value;
        }
        for (size_t i = 0; i < n; i++) {
                uint8_t value[4];
                delta_put32(value, checksums[i].new_value);
                buf_append(ret, value, sizeof(value));
        }
        free(checksums);
        struct vote types = winner(&m->bases), strings = winner(&m->string_bases);
        delta_put_number(ret, types.old_value);
        delta_put_number(ret, types.new_value);
        delta_put_number(ret, strings.old_value);
        delta_put_number(ret, strings.new_value);
        r = put_steps(&m->types, types.old_value, types.new_value, ret);
        return r < 0 ? r : put_steps(&m->strings, strings.old_value, strings.new_value, ret);
}
