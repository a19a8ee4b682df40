/* SPDX-License-Identifier: Apache-2.0 */
/* Linked files, for the publisher: tables are matched by what their records refer to, and rules for data are
 * tried out. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_match.h"
#include "repo/delta/elf_predict.h"

enum table { TABLE_NONE, TABLE_RELA, TABLE_UNWIND, TABLE_UNWIND_INDEX };

static enum table table_of(const struct delta_elf_version *v, unsigned section) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        const char *name = delta_elf_name(&v->elf, section);
        if (v->elf.type == DELTA_ELF_RELOCATABLE || !delta_elf_has_bytes(s))
                return TABLE_NONE;
        if (s->type == DELTA_ELF_RELA && s->entry_size == DELTA_ELF_RELA_SIZE)
                return TABLE_RELA;
        return strcmp(name, ".eh_frame") == 0       ? TABLE_UNWIND
               : strcmp(name, ".eh_frame_hdr") == 0 ? TABLE_UNWIND_INDEX
                                                    : TABLE_NONE;
}

bool delta_elf_is_linked_table(const struct delta_elf_version *v, unsigned section) {
        return table_of(v, section) != TABLE_NONE;
}

/* An address as the new version has it; what went nowhere becomes a number that nothing new has. */
static uint64_t new_address(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                            uint64_t address) {
        if (v == &m->new_version)
                return address;
        int section = delta_elf_section_of_address(&m->frame, address);
        if (section < 0)
                return address;
        if (m->frame.new_of_old[section] < 0)
                return address | (uint64_t)1 << 62;
        bool exact = false;
        uint64_t at = delta_elf_project(&m->frame, (unsigned)section,
                                        address - m->frame.old.sections[section].address, &exact);
        if (!exact && delta_elf_has_bytes(&m->frame.old.sections[section]))
                at |= (uint64_t)1 << 62;
        return m->frame.places[m->frame.new_of_old[section]].address + at;
}

static int rela_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                       struct delta_elf_tokens *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        const uint8_t *data = v->data + s->offset;
        const struct delta_elf_section *symbols = s->link < v->elf.n ? &v->elf.sections[s->link] : NULL;
        const struct delta_elf_section *names =
                symbols && symbols->link < v->elf.n ? &v->elf.sections[symbols->link] : NULL;
        bool named = symbols && names && delta_elf_has_bytes(symbols) && delta_elf_has_bytes(names) &&
                     v->data[names->offset + names->size - 1] == 0;
        for (uint64_t at = 0; at + DELTA_ELF_RELA_SIZE <= s->size; at += DELTA_ELF_RELA_SIZE) {
                const uint8_t *p = data + at;
                uint64_t symbol = delta_get32(p + 12), alike = delta_get32(p + 8), token;
                uint64_t name = UINT64_MAX;
                if (named && symbol != 0 && symbol < symbols->size / DELTA_ELF_SYMBOL_SIZE)
                        name = delta_get32(v->data + symbols->offset + symbol * DELTA_ELF_SYMBOL_SIZE);
                if (name < (named ? names->size : 0)) {
                        const char *text = (const char *)v->data + names->offset + name;
                        alike = delta_elf_hash(text, strlen(text), alike);
                }
                token = alike;
                if (s->info == 0) { /* slots of functions follow their order, others their place */
                        uint64_t place = new_address(m, v, delta_get64(p));
                        token = delta_elf_hash(&place, 8, alike);
                }
                int r = delta_elf_tokens_add(ret, alike << 32 | (uint32_t)token, at);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int unwind_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                         struct delta_elf_tokens *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        const uint8_t *data = v->data + s->offset;
        for (uint64_t at = 0; at < s->size;) {
                uint64_t left = s->size - at, n = left;
                if (left >= 4 && delta_get32(data + at) < left - 3)
                        n = (uint64_t)delta_get32(data + at) + 4;
                uint64_t token = delta_elf_hash(data + at, (size_t)n, 0), alike = n;
                if (n >= 20 && delta_get32(data + at + 4) != 0) {
                        uint64_t function = new_address(
                                m, v,
                                s->address + at + 8 + (uint64_t)(int64_t)(int32_t)delta_get32(data + at + 8));
                        alike = token = delta_elf_hash(&function, 8, 1);
                        alike = delta_elf_hash(data + at + 16, MIN((size_t)n - 16, (size_t)4), n);
                }
                int r = delta_elf_tokens_add(ret, alike << 32 | (uint32_t)token, at);
                if (r < 0)
                        return r;
                at += n;
        }
        return 0;
}

static int unwind_index_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                               unsigned section, struct delta_elf_tokens *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        const uint8_t *data = v->data + s->offset;
        int r = delta_elf_tokens_add(ret, 1, 0);
        for (uint64_t at = 12; at + 8 <= s->size && r == 0; at += 8) {
                uint64_t function =
                        new_address(m, v, s->address + (uint64_t)(int64_t)(int32_t)delta_get32(data + at));
                r = delta_elf_tokens_add(ret, delta_elf_hash(&function, 8, 1), at);
        }
        return r;
}

static int tokens_of(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                     struct delta_elf_tokens *ret) {
        switch (table_of(v, section)) {
        case TABLE_RELA: return rela_tokens(m, v, section, ret);
        case TABLE_UNWIND: return unwind_tokens(m, v, section, ret);
        default: return unwind_index_tokens(m, v, section, ret);
        }
}

int delta_elf_match_linked(struct delta_elf_matcher *m, unsigned o, unsigned w) {
        struct delta_elf_tokens old_tokens = {0}, new_tokens = {0};
        int r = tokens_of(m, &m->old_version, o, &old_tokens);
        if (r == 0)
                r = tokens_of(m, &m->new_version, w, &new_tokens);
        if (r == 0)
                r = delta_elf_match_by_tokens(m, o, w, &old_tokens, &new_tokens, DELTA_ELF_KEPT, 4, NULL);
        delta_elf_tokens_done(&old_tokens);
        delta_elf_tokens_done(&new_tokens);
        return r;
}

void delta_elf_hide_addresses(const struct delta_elf_version *v, unsigned section, uint8_t *copy) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        if (s->address % 8 != 0)
                return;
        unsigned last = 0;
        for (uint64_t at = 0; at + 8 <= s->size; at += 8) {
                uint64_t word = delta_get64(copy + at);
                if (word < 4096)
                        continue;
                for (unsigned k = 0; k < v->elf.n; k++) {
                        unsigned i = (last + k) % v->elf.n;
                        const struct delta_elf_section *target = &v->elf.sections[i];
                        if (!(target->flags & DELTA_ELF_ALLOC) || target->address == 0 ||
                            word - target->address >= target->size)
                                continue;
                        last = i;
                        delta_put64(copy + at, (uint64_t)i << 40 | 0x5a5a5a5a5au);
                        break;
                }
        }
}

/* ---- Rules that are tried */

/* What a rule gets wrong in each open section. */
static int count_wrong(struct delta_elf_matcher *m, const struct buf *side, const struct delta_elf *e,
                       uint64_t *wrong) {
        struct delta_predictor *p = NULL;
        int r = delta_predictor_new(DELTA_PREDICT_ELF, &m->old_file, m->pair->new_length, &m->map, side->data,
                                    side->len, NULL, &p, NULL);
        if (r < 0)
                return r;
        uint8_t predicted[4096];
        for (size_t i = 0; i < m->map.n && r == 0; i++) {
                const struct delta_piece *piece = &m->map.by_new[i];
                for (int64_t at = 0; at < piece->length && r == 0;) {
                        int section = delta_elf_section_at(e, (uint64_t)(piece->old_offset + at));
                        size_t n = (size_t)MIN((int64_t)sizeof(predicted), piece->length - at);
                        if (section < 0 || !delta_elf_rule_is_open(e, (unsigned)section)) {
                                uint64_t end =
                                        section < 0 ? (uint64_t)(piece->old_offset + at) + 1
                                                    : e->sections[section].offset + e->sections[section].size;
                                at = (int64_t)end - piece->old_offset;
                                continue;
                        }
                        uint64_t end = e->sections[section].offset + e->sections[section].size;
                        n = (size_t)MIN((uint64_t)n, end - (uint64_t)(piece->old_offset + at));
                        r = delta_predictor_predict(p, piece->old_offset + at, piece->new_offset + at, n,
                                                    predicted);
                        const uint8_t *real = m->pair->new_data + piece->new_offset + at;
                        for (size_t k = 0; k < n; k++)
                                wrong[section] += predicted[k] != real[k];
                        at += (int64_t)n;
                }
        }
        delta_predictor_free(p);
        return r;
}

int delta_elf_choose_rules(struct delta_elf_matcher *m, struct buf *side) {
        const struct delta_elf *e = &m->old_version.elf;
        _cleanup_(x_freep) uint64_t *wrong = calloc((size_t)e->n * DELTA_ELF_CHOICES, sizeof(*wrong));
        if (!wrong)
                return -ENOMEM;
        for (unsigned choice = 0; choice < DELTA_ELF_CHOICES; choice++) {
                _cleanup_(buf_done) struct buf tried = BUF_INIT;
                buf_append(&tried, side->data, side->len);
                for (unsigned i = 0; i < e->n; i++)
                        if (delta_elf_rule_is_open(e, i))
                                delta_put_number(&tried, choice);
                int r = buf_failed(&tried);
                if (r == 0)
                        r = count_wrong(m, &tried, e, wrong + (size_t)choice * e->n);
                if (r < 0)
                        return r;
        }
        for (unsigned i = 0; i < e->n; i++) {
                if (!delta_elf_rule_is_open(e, i))
                        continue;
                unsigned best = 0;
                for (unsigned choice = 1; choice < DELTA_ELF_CHOICES; choice++)
                        if (wrong[(size_t)choice * e->n + i] < wrong[(size_t)best * e->n + i])
                                best = choice;
                delta_put_number(side, best);
        }
        return buf_failed(side);
}
