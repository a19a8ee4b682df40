/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of sections: what stands there, told so that it is the same in both versions though it moved. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_match.h"
#include "repo/delta/elf_predict.h"
#include "repo/delta/x86.h"

uint64_t delta_elf_hash(const void *p, size_t n, uint64_t seed) {
        const uint8_t *at = p;
        uint64_t h = seed ^ n * 0x9e3779b97f4a7c15u;
        for (; n >= 8; n -= 8, at += 8) {
                h = (h ^ delta_get64(at)) * 0xff51afd7ed558ccdu;
                h ^= h >> 29;
        }
        for (; n > 0; n--, at++) {
                h = (h ^ *at) * 0xc4ceb9fe1a85ec53u;
                h ^= h >> 31;
        }
        return h ^ h >> 32;
}

static uint64_t hash_text(const char *text, uint64_t seed) {
        return delta_elf_hash(text, strlen(text), seed);
}

void delta_elf_tokens_done(struct delta_elf_tokens *t) {
        free(t->tokens);
        free(t->offsets);
        *t = (struct delta_elf_tokens){0};
}

int delta_elf_tokens_add(struct delta_elf_tokens *t, uint64_t token, uint64_t offset) {
        if (t->n + 1 >= t->capacity) {
                size_t capacity = t->capacity > 0 ? 2 * t->capacity : 1024;
                uint64_t *tokens = reallocarray(t->tokens, capacity, sizeof(*tokens));
                if (tokens)
                        t->tokens = tokens;
                uint64_t *offsets = reallocarray(t->offsets, capacity + 1, sizeof(*offsets));
                if (offsets)
                        t->offsets = offsets;
                if (!tokens || !offsets)
                        return -ENOMEM;
                t->capacity = capacity;
        }
        t->tokens[t->n] = token;
        t->offsets[t->n++] = offset;
        return 0;
}

/* ---- Relocations as identities */

static bool is_new(const struct delta_elf_matcher *m, const struct delta_elf_version *v) {
        return v == &m->new_version;
}

/* The text that stands at an offset of a section of strings, or NULL. */
static const char *text_at(const struct delta_elf_version *v, unsigned section, uint64_t offset) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        if (!(s->flags & 0x20) || !delta_elf_has_bytes(s) || offset >= s->size || s->entry_size != 1)
                return NULL;
        const char *text = (const char *)v->data + s->offset + offset;
        return memchr(text, 0, (size_t)(s->size - offset)) ? text : NULL;
}

uint64_t delta_elf_rela_identity(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                                 unsigned section, const uint8_t *rela) {
        uint32_t type = delta_get32(rela + 8), symbol = delta_get32(rela + 12);
        uint64_t addend = delta_get64(rela + 16);
        if (symbol >= v->n_symbols)
                return delta_elf_hash(rela + 8, 16, 1);
        const struct delta_elf_symbol *s = &v->symbols[symbol];
        if (s->type != 3)
                return hash_text(s->name, (addend << 8) + type);
        if (s->section >= v->elf.n)
                return addend;
        uint64_t bias = delta_elf_rela_bias(&v->elf, section, type);
        const char *text = text_at(v, s->section, addend + bias);
        if (text)
                return hash_text(text, type + bias);
        unsigned target = s->section;
        uint64_t at = addend + bias;
        if (!is_new(m, v)) {
                bool exact = false;
                at = delta_elf_project(&m->frame, target, at, &exact);
                bool bytes = delta_elf_has_bytes(&v->elf.sections[target]);
                if (!exact && bytes)
                        at = (addend + bias) | (uint64_t)1 << 40; /* like nothing new */
                target =
                        m->frame.new_of_old[target] >= 0 ? (unsigned)m->frame.new_of_old[target] : UINT16_MAX;
        }
        return delta_elf_hash(&at, sizeof(at), target);
}

/* ---- Tokens of sections */

/* Names that differ in the number at their end alone, as compilers make them, are alike. */
static uint64_t name_token(const void *name, size_t n, uint64_t seed) {
        const uint8_t *p = name;
        uint64_t token = delta_elf_hash(p, n, seed);
        size_t stem = n > 0 && p[n - 1] == 0 ? n - 1 : n;
        size_t ended = n - stem;
        while (stem > 0 && p[stem - 1] >= '0' && p[stem - 1] <= '9')
                stem--;
        return delta_elf_hash(p, stem, seed + (n - ended) * 77) << 32 | (uint32_t)token;
}

int delta_elf_string_tokens(const struct delta_elf_version *v, unsigned section,
                            struct delta_elf_tokens *ret) {
        const uint8_t *data = delta_elf_bytes_of(v, section);
        uint64_t size = v->elf.sections[section].size;
        for (uint64_t at = 0; at < size;) {
                const uint8_t *end = memchr(data + at, 0, (size_t)(size - at));
                uint64_t n = end ? (uint64_t)(end - data) + 1 - at : size - at;
                int r = delta_elf_tokens_add(ret, name_token(data + at, (size_t)n, 0), at);
                if (r < 0)
                        return r;
                at += n;
        }
        return 0;
}

int delta_elf_symbol_tokens(const struct delta_elf_version *v, unsigned section,
                            struct delta_elf_tokens *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        if (s->link >= v->elf.n || !delta_elf_has_bytes(&v->elf.sections[s->link]))
                return 0;
        const struct delta_elf_section *names = &v->elf.sections[s->link];
        const uint8_t *data = delta_elf_bytes_of(v, section), *text = delta_elf_bytes_of(v, s->link);
        for (uint64_t at = 0; at + DELTA_ELF_SYMBOL_SIZE <= s->size; at += DELTA_ELF_SYMBOL_SIZE) {
                uint32_t name = delta_get32(data + at);
                uint16_t in = delta_get16(data + at + 6);
                uint64_t token = data[at + 4];
                if (in > 0 && in < v->elf.n)
                        token = hash_text(delta_elf_name(&v->elf, in), token);
                if (name < names->size)
                        token = name_token(text + name,
                                           strnlen((const char *)text + name, (size_t)(names->size - name)),
                                           token);
                int r = delta_elf_tokens_add(ret, token, at);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A section's bytes with what its relocations mean written over their places: equal where the meaning is. */
uint8_t *delta_elf_meaning_of(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                              unsigned section) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        uint8_t *copy = malloc((size_t)s->size);
        if (!copy)
                return NULL;
        memcpy(copy, delta_elf_bytes_of(v, section), (size_t)s->size);
        unsigned rela = v->rela_of[section];
        if (v->elf.type != DELTA_ELF_RELOCATABLE) {
                delta_elf_hide_addresses(v, section, copy);
                return copy;
        }
        if (rela == 0)
                return copy;
        const uint8_t *entries = delta_elf_bytes_of(v, rela);
        for (uint64_t at = 0; at + DELTA_ELF_RELA_SIZE <= v->elf.sections[rela].size;
             at += DELTA_ELF_RELA_SIZE) {
                uint64_t place = delta_get64(entries + at);
                uint32_t type = delta_get32(entries + at + 8);
                bool wide = type == 1 || type == 257; /* R_X86_64_64, R_AARCH64_ABS64 */
                uint64_t identity = delta_elf_rela_identity(m, v, section, entries + at);
                if (place >= s->size || s->size - place < (wide ? 8 : 4))
                        continue;
                if (wide)
                        delta_put64(copy + place, identity);
                else
                        delta_put32(copy + place, (uint32_t)identity);
        }
        return copy;
}

/* Records whose beginning may be anything are told by what follows it. */
int delta_elf_record_tokens(const uint8_t *data, uint64_t size, unsigned record, unsigned skip,
                            struct delta_elf_tokens *ret) {
        for (uint64_t at = 0; at < size; at += record) {
                size_t n = (size_t)MIN((uint64_t)record, size - at);
                uint64_t token = n > skip ? delta_elf_hash(data + at + skip, n - skip, 0) : 0;
                if (skip > 0) {
                        int r = delta_elf_tokens_add(ret, token, at);
                        if (r < 0)
                                return r;
                        continue;
                }
                /* alike: the first word, which is where tables have their reference */
                uint64_t first = delta_elf_hash(data + at, MIN(n, 4), 7);
                int r = delta_elf_tokens_add(ret, first << 32 | (uint32_t)token, at);
                if (r < 0)
                        return r;
        }
        return 0;
}

struct start { /* of a function */
        uint64_t at, name;
};

static int compare_starts(const void *a, const void *b) {
        const struct start *x = a, *y = b;
        return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->name < y->name ? -1 : x->name > y->name;
}

static int function_starts(const struct delta_elf_version *v, unsigned section, struct start **ret,
                           size_t *ret_n) {
        struct start *starts = calloc(v->n_symbols + 1, sizeof(*starts));
        if (!starts)
                return -ENOMEM;
        uint64_t base = v->elf.type == DELTA_ELF_RELOCATABLE ? 0 : v->elf.sections[section].address;
        size_t n = 0, kept = 0;
        for (size_t i = 0; i < v->n_symbols; i++)
                if (v->symbols[i].type == 2 && v->symbols[i].section == section)
                        starts[n++] = (struct start){
                                v->symbols[i].value - base,
                                name_token(v->symbols[i].name, strlen(v->symbols[i].name), 0) >> 32};
        if (n > 0)
                qsort(starts, n, sizeof(*starts), compare_starts);
        for (size_t i = 0; i < n; i++) /* of several names for one place, one */
                if (kept == 0 || starts[kept - 1].at != starts[i].at)
                        starts[kept++] = starts[i];
        *ret = starts;
        *ret_n = kept;
        return 0;
}

/* Whether a number may be an address in a file linked to fixed ones. */
static bool in_image(const struct delta_elf_version *v, uint32_t address) {
        if (address < 0x10000)
                return false;
        for (unsigned i = 0; i < v->elf.n; i++) {
                const struct delta_elf_section *s = &v->elf.sections[i];
                if (s->flags & DELTA_ELF_ALLOC && s->address != 0 && address - s->address < s->size)
                        return true;
        }
        return false;
}

int delta_elf_code_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                          struct delta_elf_tokens *ret) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        const uint8_t *data = delta_elf_bytes_of(v, section);
        unsigned rela = v->rela_of[section];
        const uint8_t *relas = rela ? delta_elf_bytes_of(v, rela) : NULL;
        uint64_t n_relas = rela ? v->elf.sections[rela].size / DELTA_ELF_RELA_SIZE : 0, next = 0;
        bool relocatable = v->elf.type == DELTA_ELF_RELOCATABLE;
        _cleanup_(x_freep) struct start *starts = NULL;
        size_t n_starts = 0, start = 0;
        int found = function_starts(v, section, &starts, &n_starts);
        if (found < 0)
                return found;
        for (uint64_t at = 0; at < s->size;) {
                struct delta_x86_instruction i = {.length = 4, .operands_at = 4};
                uint8_t bytes[DELTA_X86_INSTRUCTION_MAX] = {0};
                if (v->elf.machine == DELTA_ELF_X86_64)
                        delta_x86_decode(data + at, (size_t)(s->size - at), &i);
                uint64_t length = MIN((uint64_t)i.length, s->size - at);
                memcpy(bytes, data + at, (size_t)length);
                if (v->elf.machine == DELTA_ELF_ARM64 && length == 4)
                        delta_put32(bytes, delta_arm64_hide(delta_get32(bytes)));
                uint64_t meaning = 0;
                if (i.field != DELTA_X86_NO_FIELD && (i.field != DELTA_X86_DATA32 || !relocatable))
                        memset(bytes + i.field_at, 0, i.field == DELTA_X86_BRANCH8 ? 1 : 4);
                if (v->elf.type == DELTA_ELF_EXECUTABLE) {
                        if (i.absolute_at > 0 && in_image(v, delta_get32(bytes + i.absolute_at)))
                                memset(bytes + i.absolute_at, 0, 4);
                        if (i.immediate_at > 0 && in_image(v, delta_get32(bytes + i.immediate_at)))
                                memset(bytes + i.immediate_at, 0, 4);
                }
                while (next < n_relas && delta_get64(relas + next * DELTA_ELF_RELA_SIZE) < at)
                        next++;
                for (; next < n_relas; next++) {
                        const uint8_t *p = relas + next * DELTA_ELF_RELA_SIZE;
                        uint64_t place = delta_get64(p);
                        if (place >= at + length)
                                break;
                        meaning = meaning * 31 + delta_elf_rela_identity(m, v, section, p) % 1000003;
                }
                uint64_t token = delta_elf_hash(bytes, (size_t)length, meaning);
                size_t n_opcode = MIN((size_t)i.operands_at, (size_t)length);
                uint64_t alike = delta_elf_hash(bytes, n_opcode, length);
                while (start < n_starts && starts[start].at < at)
                        start++;
                if (start < n_starts && starts[start].at == at) { /* a function is told by its name */
                        token = token * 31 + starts[start].name;
                        alike = alike * 31 + starts[start].name;
                }
                int r = delta_elf_tokens_add(ret, alike << 32 | (uint32_t)token, at);
                if (r < 0)
                        return r;
                at += length;
        }
        return 0;
}
