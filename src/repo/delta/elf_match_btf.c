/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's side of BTF sections: types and members in order, and how types' numbers moved. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_match.h"

static int compare_numbers(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        return x < y ? -1 : x > y;
}

/* Where the module's own types begin: functions stand right behind their prototypes. */
static void guess_base(struct delta_elf_btf_view *b) {
        _cleanup_(x_freep) uint32_t *guesses = calloc(b->n_types + 1, sizeof(*guesses));
        if (!guesses)
                return;
        struct delta_btf_walk walk = {.types = b->types, .n = b->btf.types_length};
        struct delta_btf_record record;
        uint32_t index = 0, n = 0;
        while (delta_btf_next(&walk, &record)) {
                const uint8_t *p = b->types + record.at;
                if (!record.is_type)
                        continue;
                if ((delta_get32(p + 4) >> 24 & 31) == 12 && delta_get32(p + 8) > index)
                        guesses[n++] = delta_get32(p + 8) - index + 1;
                index++;
        }
        if (n == 0)
                return;
        qsort(guesses, n, sizeof(*guesses), compare_numbers);
        for (uint32_t i = 0, run = 0; i < n; i++) {
                run = i > 0 && guesses[i - 1] == guesses[i] ? run + 1 : 1;
                if (run > b->base_votes) {
                        b->base_votes = run;
                        b->base_types = guesses[i];
                }
        }
}

int delta_elf_btf_open(const struct delta_elf_version *v, unsigned section, struct delta_elf_btf_view *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        struct delta_elf_btf_view b = {.data = v->data + s->offset, .size = (size_t)s->size};
        int r = delta_elf_has_bytes(s) ? delta_btf_parse(b.data, b.size, &b.btf) : -EBADMSG;
        if (r < 0)
                return r;
        b.types = b.data + b.btf.types_at;
        b.strings = (const char *)b.data + b.btf.strings_at;
        size_t n = b.btf.strings_length;
        if (n == 0 || b.strings[n - 1] != 0)
                return -EBADMSG;
        /* The module's names begin where the kernel's end: the last name there is stands in the last place.
         */
        size_t last = n - 1;
        while (last > 0 && b.strings[last - 1] != 0)
                last--;
        uint32_t most = 0;
        struct delta_btf_walk walk = {.types = b.types, .n = b.btf.types_length};
        struct delta_btf_record record;
        while (delta_btf_next(&walk, &record)) {
                for (size_t i = 0; i < record.length / 4; i++)
                        if (record.words[i] == DELTA_BTF_NAME)
                                most = MAX(most, delta_get32(b.types + record.at + 4 * i));
                b.n_types += record.is_type ? 1 : 0;
        }
        if (walk.at != walk.n || walk.members > 0)
                return -EBADMSG;
        b.base_strings = most >= last ? most - (uint32_t)last : 0;
        guess_base(&b);
        *ret = b;
        return 0;
}

const char *delta_elf_btf_name(const struct delta_elf_btf_view *b, uint32_t name) {
        return name >= b->base_strings && name - b->base_strings < b->btf.strings_length
                       ? b->strings + (name - b->base_strings)
                       : NULL;
}

static uint64_t mix(uint64_t h, uint64_t v) {
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        return h ^ h >> 29;
}

/* What a record says without what moves: the module's names are told by their letters, its types by their
 * own identity, where one is given. */
static uint64_t record_identity(const struct delta_elf_btf_view *b, const struct delta_btf_record *record,
                                const uint64_t *identities) {
        const uint8_t *p = b->types + record->at;
        uint64_t h = record->length + (record->is_type ? 1000 : 2000);
        for (size_t i = 0; i < record->length / 4; i++) {
                uint32_t word = delta_get32(p + 4 * i);
                if (record->words[i] == DELTA_BTF_NAME) {
                        const char *name = delta_elf_btf_name(b, word);
                        h = name ? delta_elf_hash(name, strlen(name), h) : mix(h, word != 0);
                } else if (record->words[i] == DELTA_BTF_PLAIN) {
                        h = mix(h, word);
                } else {
                        bool own = b->base_types > 0 && word >= b->base_types &&
                                   word - b->base_types < b->n_types;
                        h = mix(h, own && identities ? identities[word - b->base_types]
                                   : own             ? 1
                                                     : word != 0);
                }
        }
        return h;
}

/* Identities of types, members included; deeper: what they refer to, too. */
static void learn_identities(const struct delta_elf_btf_view *b, const uint64_t *deeper, uint64_t *ret) {
        struct delta_btf_walk walk = {.types = b->types, .n = b->btf.types_length};
        struct delta_btf_record record;
        uint32_t n = 0;
        while (delta_btf_next(&walk, &record)) {
                uint64_t h = record_identity(b, &record, deeper);
                if (record.is_type)
                        ret[n++] = h;
                else
                        ret[n - 1] = mix(ret[n - 1], h);
        }
}

static int btf_tokens(const struct delta_elf_btf_view *b, struct delta_elf_tokens *ret, uint32_t *type_of) {
        _cleanup_(x_freep) uint64_t *shallow = calloc(b->n_types + 1, sizeof(*shallow));
        _cleanup_(x_freep) uint64_t *deep = calloc(b->n_types + 1, sizeof(*deep));
        if (!shallow || !deep)
                return -ENOMEM;
        learn_identities(b, NULL, shallow);
        learn_identities(b, shallow, deep);
        int r = delta_elf_tokens_add(ret, 1, 0); /* the header */
        uint32_t n_types = 0;
        type_of[0] = UINT32_MAX;
        struct delta_btf_walk walk = {.types = b->types, .n = b->btf.types_length};
        struct delta_btf_record record;
        while (r == 0 && delta_btf_next(&walk, &record)) {
                uint64_t token = record_identity(b, &record, deep);
                uint64_t alike = record.length + (record.is_type ? 1000 : 2000);
                if (record.is_type)
                        alike = mix(alike, delta_get32(b->types + record.at + 4) >> 24);
                type_of[ret->n] = record.is_type ? n_types++ : UINT32_MAX;
                r = delta_elf_tokens_add(ret, mix(alike, 1) << 32 | (uint32_t)token,
                                         b->btf.types_at + record.at);
        }
        const char *strings = b->strings;
        for (size_t at = 0; at < b->btf.strings_length && r == 0; at += strlen(strings + at) + 1) {
                type_of[ret->n] = UINT32_MAX;
                r = delta_elf_tokens_add(ret, delta_elf_hash(strings + at, strlen(strings + at), 11),
                                         b->btf.strings_at + at);
        }
        return r;
}

struct type_pair {
        uint32_t old_type, new_type;
};

static int compare_types(const void *a, const void *b) {
        const struct type_pair *x = a, *y = b;
        return x->old_type != y->old_type ? (x->old_type < y->old_type ? -1 : 1)
                                          : (x->new_type < y->new_type ? -1 : x->new_type > y->new_type);
}

static int put_steps(const struct delta_pieces *runs, const uint32_t *old_type_of,
                     const uint32_t *new_type_of, uint32_t n_types, struct buf *side) {
        _cleanup_(x_freep) struct type_pair *pairs = calloc((size_t)n_types + 1, sizeof(*pairs));
        if (!pairs)
                return -ENOMEM;
        size_t n_pairs = 0, n = 0;
        for (size_t i = 0; i < runs->n; i++)
                for (int64_t k = 0; k < runs->items[i].length; k++) {
                        uint32_t o = old_type_of[runs->items[i].old_offset + k];
                        uint32_t w = new_type_of[runs->items[i].new_offset + k];
                        if (o != UINT32_MAX && w != UINT32_MAX && n_pairs < n_types)
                                pairs[n_pairs++] = (struct type_pair){o, w};
                }
        if (n_pairs > 0)
                qsort(pairs, n_pairs, sizeof(*pairs), compare_types);
        _cleanup_(buf_done) struct buf steps = BUF_INIT;
        uint32_t from = 0, shift = 0;
        for (size_t i = 0; i < n_pairs; i++) {
                uint32_t moved = pairs[i].new_type - pairs[i].old_type;
                if (moved == shift || (i > 0 && pairs[i].old_type == pairs[i - 1].old_type))
                        continue;
                delta_put_number(&steps, pairs[i].old_type - from);
                delta_put_signed(&steps, (int32_t)(moved - shift));
                from = pairs[i].old_type;
                shift = moved;
                n++;
        }
        delta_put_number(side, n);
        buf_append(side, steps.data, steps.len);
        return buf_failed(&steps) ? buf_failed(&steps) : buf_failed(side);
}

int delta_elf_match_btf(struct delta_elf_matcher *m, unsigned o, unsigned w) {
        struct delta_elf_btf_view old_btf, new_btf;
        if (delta_elf_btf_open(&m->old_version, o, &old_btf) < 0 ||
            delta_elf_btf_open(&m->new_version, w, &new_btf) < 0 ||
            old_btf.btf.types_at != DELTA_BTF_HEADER_SIZE || new_btf.btf.types_at != DELTA_BTF_HEADER_SIZE ||
            old_btf.btf.strings_at != old_btf.btf.types_at + old_btf.btf.types_length ||
            new_btf.btf.strings_at != new_btf.btf.types_at + new_btf.btf.types_length)
                return -EBADMSG;
        size_t most = MAX(old_btf.size, new_btf.size) + 8; /* no record is shorter than a byte */
        _cleanup_(x_freep) uint32_t *old_type_of = calloc(most, sizeof(*old_type_of));
        _cleanup_(x_freep) uint32_t *new_type_of = calloc(most, sizeof(*new_type_of));
        if (!old_type_of || !new_type_of)
                return -ENOMEM;
        struct delta_elf_tokens old_tokens = {0}, new_tokens = {0};
        struct delta_pieces runs = {0};
        int r = btf_tokens(&old_btf, &old_tokens, old_type_of);
        if (r == 0)
                r = btf_tokens(&new_btf, &new_tokens, new_type_of);
        if (r == 0)
                r = delta_elf_match_by_tokens(m, o, w, &old_tokens, &new_tokens, DELTA_ELF_MIXED, 4, &runs);
        if (r == 0) {
                m->has_btf = true;
                delta_put_number(&m->btf_side, new_btf.btf.strings_at);
                r = put_steps(&runs, old_type_of, new_type_of, new_btf.n_types, &m->btf_side);
        }
        delta_pieces_done(&runs);
        delta_elf_tokens_done(&old_tokens);
        delta_elf_tokens_done(&new_tokens);
        return r;
}
