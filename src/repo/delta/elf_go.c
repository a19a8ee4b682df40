/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of Go: offsets of four bytes into other sections, and the table of functions (.gopclntab, as Go
 * 1.18 and later write it: src/debug/gosym/pclntab.go and src/runtime/symtab.go describe it). */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_predict.h"

/* ---- Addresses, and halves that are offsets into .rodata */

void delta_elf_rule_offsets(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                            uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        if (p->offsets_into < 0)
                return;
        uint64_t size = f->old.sections[p->offsets_into].size, v = delta_get64(record);
        if (v > UINT32_MAX || v < 0x10000 || delta_elf_section_of_address(f, v) < 0) {
                for (unsigned i = 0; i < 8; i += 4) {
                        uint32_t half = delta_get32(record + i);
                        if (half >= 4096 && half < size)
                                delta_put32(record + i, (uint32_t)delta_elf_project(
                                                                f, (unsigned)p->offsets_into, half, NULL));
                }
                return;
        }
        delta_put64(record, delta_elf_project_address(f, v));
}

/* ---- The table of functions */

#define HEADER_SIZE 72
#define TABLE_MAX ((uint64_t)16 << 20) /* of the section; two words a byte are remembered */
#define FUNCTIONS_MAX 1000000u

/* What a word is an offset into; each but the first counts from a part of the section. */
enum { WORD_PLAIN, WORD_CODE, WORD_NAME, WORD_FILE, WORD_PCS, WORD_FUNCTION };

static void set_word(uint8_t *words, uint64_t at, unsigned kind) {
        words[at / 8] |= (uint8_t)(kind << at / 4 % 2 * 4);
}

static int read_at(struct delta_elf_predictor *p, const struct stretch *s, uint64_t at, void *ret, size_t n) {
        if (at > s->old_size || n > s->old_size - at)
                return -EBADMSG;
        return p->old_file->read(p->old_file->arg, (int64_t)(s->old_begin + at), ret, n);
}

static int learn_functions(struct delta_elf_predictor *p, const struct stretch *s) {
        struct delta_elf_functions *t = &p->functions;
        uint8_t head[HEADER_SIZE], entry[8], record[44];
        int r = read_at(p, s, 0, head, sizeof(head));
        if (r < 0)
                return r;
        uint64_t n = delta_get64(head + 8);
        t->code = delta_get64(head + 24);
        static const struct {
                uint8_t at, kind;
        } parts[] = {{32, WORD_NAME}, {40, WORD_FILE}, {56, WORD_PCS}, {64, WORD_FUNCTION}};
        uint32_t magic = delta_get32(head); /* 1.20 put a line number into records */
        uint64_t fixed = magic == 0xfffffff1u ? 44 : 40;
        if ((magic != 0xfffffff1u && magic != 0xfffffff0u) || head[7] != 8 || n > FUNCTIONS_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                t->parts[parts[i].kind] = delta_get64(head + parts[i].at);
                if (t->parts[parts[i].kind] >= s->old_size)
                        return -EBADMSG;
        }
        uint64_t table = t->parts[WORD_FUNCTION];
        if (table % 4 != 0 || n * 8 + 4 > s->old_size - table)
                return -EBADMSG;
        t->words = calloc(1, (size_t)s->old_size / 8 + 2);
        if (!t->words)
                return -ENOMEM;
        for (uint64_t i = 0; i < n; i++) {
                r = read_at(p, s, table + 8 * i, entry, sizeof(entry));
                if (r < 0)
                        return r;
                set_word(t->words, table + 8 * i, WORD_CODE);
                set_word(t->words, table + 8 * i + 4, WORD_FUNCTION);
                uint64_t at = table + delta_get32(entry + 4);
                if (at % 4 != 0 || read_at(p, s, at, record, sizeof(record)) < 0)
                        continue;
                set_word(t->words, at, WORD_CODE);
                set_word(t->words, at + 4, WORD_NAME);
                for (unsigned k = 16; k <= 24; k += 4)
                        set_word(t->words, at + k, WORD_PCS);
                uint32_t n_tables = delta_get32(record + 28);
                for (uint32_t k = 0; k < MIN(n_tables, 16u) && at + fixed + 4 + 4 * k <= s->old_size; k++)
                        set_word(t->words, at + fixed + 4 * k, WORD_PCS);
        }
        set_word(t->words, table + 8 * n, WORD_CODE);
        return 0;
}

static void rule_function_word(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                               uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        const struct delta_elf_functions *t = &p->functions;
        unsigned kind = t->words[old_at / 8] >> old_at / 4 % 2 * 4 & 15;
        uint32_t v = delta_get32(record);
        if (kind == WORD_CODE) {
                uint64_t begin = delta_elf_project_address(f, t->code);
                delta_put32(record, (uint32_t)(delta_elf_project_address(f, t->code + v) - begin));
        } else if (kind > WORD_CODE && kind <= WORD_FUNCTION && v != 0) {
                uint64_t begin = t->parts[kind];
                delta_put32(record, (uint32_t)(delta_elf_project(f, section, begin + v, NULL) -
                                               delta_elf_project(f, section, begin, NULL)));
        }
}

int delta_elf_predict_functions(struct delta_elf_predictor *p, const struct stretch *s) {
        struct delta_elf_functions *t = &p->functions;
        if (!t->known) {
                t->known = true;
                int r = s->old_size <= TABLE_MAX ? learn_functions(p, s) : -EBADMSG;
                if (r < 0) {
                        free(t->words);
                        t->words = NULL;
                        if (r != -EBADMSG)
                                return r;
                }
        }
        return t->words ? delta_elf_predict_records(p, s, 4, rule_function_word) : 0;
}
