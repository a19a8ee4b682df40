/* SPDX-License-Identifier: Apache-2.0 */
/* The node's side of BTF sections: names and types are numbers that moved. */
#include <errno.h>
#include <string.h>

#include "repo/delta/btf.h"
#include "repo/delta/elf_predict.h"

struct delta_elf_btf {
        struct delta_btf old_btf;
        uint32_t new_types_at, new_strings_at; /* in the new section */
        struct delta_step *steps; /* how types of the module's own moved, by their old number less the base */
        size_t n_steps;
        uint8_t *words; /* two bits a word of the old types: enum delta_btf_word */
        bool useless;
};

int delta_elf_btf_decode(struct delta_reader *side, struct delta_elf_btf **ret) {
        struct delta_elf_btf *b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;
        b->new_strings_at = (uint32_t)delta_get_number(side);
        uint64_t n = delta_get_number(side);
        if (side->failed || n > (uint64_t)(side->end - side->at) || n > 100000) {
                free(b);
                return -EBADMSG;
        }
        b->steps = calloc(n + 1, sizeof(*b->steps));
        if (!b->steps) {
                free(b);
                return -ENOMEM;
        }
        uint32_t from = 0, shift = 0;
        for (size_t i = 0; i < n; i++) {
                from += (uint32_t)delta_get_number(side);
                shift += (uint32_t)delta_get_signed(side);
                if (i > 0 && from < b->steps[i - 1].from)
                        from = b->steps[i - 1].from;
                b->steps[i] = (struct delta_step){from, (int32_t)shift};
        }
        b->n_steps = n;
        *ret = b;
        return 0;
}

void delta_elf_btf_free(struct delta_elf_btf *b) {
        if (!b)
                return;
        free(b->steps);
        free(b->words);
        free(b);
}

/* Reads the old types once, to know which word is what. */
static int learn_words(struct delta_elf_predictor *p, const struct stretch *s) {
        struct delta_elf_btf *b = p->btf;
        if (b->words || b->useless)
                return 0;
        uint8_t head[DELTA_BTF_HEADER_SIZE];
        b->useless = true;
        if (s->old_size < sizeof(head))
                return 0;
        int r = p->old_file->read(p->old_file->arg, (int64_t)s->old_begin, head, sizeof(head));
        if (r < 0)
                return r;
        if (delta_btf_parse(head, (size_t)s->old_size, &b->old_btf) < 0)
                return 0;
        b->new_types_at = b->old_btf.types_at;
        _cleanup_(x_freep) uint8_t *types = malloc(b->old_btf.types_length + 1);
        b->words = calloc(1, b->old_btf.types_length / 16 + 2);
        if (!types || !b->words)
                return -ENOMEM;
        r = p->old_file->read(p->old_file->arg, (int64_t)(s->old_begin + b->old_btf.types_at), types,
                              b->old_btf.types_length);
        if (r < 0)
                return r;
        struct delta_btf_walk walk = {.types = types, .n = b->old_btf.types_length};
        struct delta_btf_record record;
        while (delta_btf_next(&walk, &record))
                for (size_t i = 0; i < record.length / 4; i++) {
                        size_t word = record.at / 4 + i;
                        b->words[word / 4] |= (uint8_t)(record.words[i] << word % 4 * 2);
                }
        b->useless = false;
        return 0;
}

static uint32_t new_name(struct delta_elf_predictor *p, const struct stretch *s, uint32_t name) {
        const struct delta_shared *shared = p->shared;
        const struct delta_elf_btf *b = p->btf;
        if (name == 0 || !shared || shared->old_strings == 0)
                return name;
        if (name < shared->old_strings)
                return delta_shared_step(shared->strings, shared->n_strings, name);
        uint64_t at = (uint64_t)b->old_btf.strings_at + (name - shared->old_strings);
        if (at >= s->old_size)
                return name;
        return shared->new_strings +
               (uint32_t)(delta_elf_project(&p->frame, s->old_section, at, NULL) - b->new_strings_at);
}

static uint32_t new_type(struct delta_elf_predictor *p, uint32_t type) {
        const struct delta_shared *shared = p->shared;
        if (type == 0 || !shared || shared->old_types == 0)
                return type;
        if (type < shared->old_types)
                return delta_shared_step(shared->types, shared->n_types, type);
        return shared->new_types +
               delta_shared_step(p->btf->steps, p->btf->n_steps, type - shared->old_types);
}

/* The header of the new section follows from where its strings begin. */
static void put_header(struct delta_elf_predictor *p, const struct stretch *s, uint8_t *record) {
        const struct delta_elf_btf *b = p->btf;
        uint64_t new_size = p->frame.places[p->frame.new_of_old[s->old_section]].size;
        uint32_t strings = b->new_strings_at - DELTA_BTF_HEADER_SIZE;
        delta_put32(record + 12, strings - (b->new_types_at - DELTA_BTF_HEADER_SIZE));
        delta_put32(record + 16, strings);
        delta_put32(record + 20, (uint32_t)(new_size - b->new_strings_at));
}

static void rule_word(struct delta_elf_predictor *p, const struct stretch *s, uint64_t at, uint8_t *record) {
        const struct delta_elf_btf *b = p->btf;
        size_t word = (size_t)(at - b->old_btf.types_at) / 4;
        switch (b->words[word / 4] >> word % 4 * 2 & 3) {
        case DELTA_BTF_NAME: delta_put32(record, new_name(p, s, delta_get32(record))); break;
        case DELTA_BTF_TYPE: delta_put32(record, new_type(p, delta_get32(record))); break;
        default: break;
        }
}

int delta_elf_predict_btf(struct delta_elf_predictor *p, const struct stretch *s) {
        struct delta_elf_btf *b = p->btf;
        int r = b ? learn_words(p, s) : 0;
        if (r < 0 || !b || b->useless)
                return r;
        uint8_t aside[DELTA_BTF_HEADER_SIZE];
        if (s->old_at == s->new_at && s->old_at < sizeof(aside)) {
                r = p->old_file->read(p->old_file->arg, (int64_t)s->old_begin, aside, sizeof(aside));
                if (r < 0)
                        return r;
                put_header(p, s, aside);
                memcpy(s->ret, aside + s->old_at, MIN(s->n, (size_t)(sizeof(aside) - s->old_at)));
        }
        uint64_t types = b->old_btf.types_at, types_end = types + (b->old_btf.types_length & ~3u);
        if ((s->new_at - s->old_at) % 4 != 0)
                return 0;
        uint64_t at = MAX(s->old_at & ~(uint64_t)3, types);
        for (; at < MIN(s->old_at + s->n, types_end); at += 4) {
                if (at >= s->old_at && at + 4 <= s->old_at + s->n) {
                        rule_word(p, s, at, s->ret + (at - s->old_at));
                        continue;
                }
                r = p->old_file->read(p->old_file->arg, (int64_t)(s->old_begin + at), aside, 4);
                if (r < 0)
                        return r;
                rule_word(p, s, at, aside);
                for (unsigned i = 0; i < 4; i++)
                        if (at + i >= s->old_at && at + i < s->old_at + s->n)
                                s->ret[at + i - s->old_at] = aside[i];
        }
        return 0;
}
