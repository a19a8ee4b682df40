/* SPDX-License-Identifier: Apache-2.0 */
/* Data of linked files: addresses in words, jump tables, and what unwinders read. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_predict.h"
#include "repo/delta/x86.h"

/* Tables of marks are kept for sections up to this size, so that memory stays bounded. */
#define MARKED_SECTION_MAX ((uint64_t)8 << 20)

/* ---- Addresses, word by word */

void delta_elf_rule_address(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                            uint8_t *record) {
        uint64_t v = delta_get64(record);
        if (v != 0)
                delta_put64(record, delta_elf_project_address(&p->frame, v));
}

/* ---- .eh_frame_hdr (Linux Standard Base, Core, 10.6.2): words relative to its own beginning */

void delta_elf_rule_unwind_index(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                                 uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        uint64_t old_base = f->old.sections[section].address;
        const struct delta_elf_place *place = &f->places[f->new_of_old[section]];
        uint64_t new_base = place->address;
        if (old_at == 0 || new_at == 0)
                return;
        if (old_at == 8) { /* how many */
                if (delta_get32(record) == (f->old.sections[section].size - 12) / 8)
                        delta_put32(record, (uint32_t)((place->size - 12) / 8));
                return;
        }
        uint64_t bias = old_at == 4 ? 4 : 0; /* the first one is relative to itself */
        uint64_t target = old_base + bias + (uint64_t)(int64_t)(int32_t)delta_get32(record);
        delta_put32(record, (uint32_t)(delta_elf_project_address(f, target) - new_base - bias));
}

/* ---- .eh_frame (the same, 10.6.1): entries, marked where they refer to something */

enum { MARK_NONE, MARK_BACK, MARK_RELATIVE, MARK_LENGTH };

static void set_mark(uint8_t *marks, uint64_t at, unsigned mark) {
        marks[at / 4] |= (uint8_t)(mark << at % 4 * 2);
}

static int learn_unwind(struct delta_elf_predictor *p, const struct stretch *s) {
        if (p->unwind.section == (int)s->old_section)
                return 0;
        free(p->unwind.marks);
        p->unwind.marks = NULL;
        p->unwind.section = (int)s->old_section;
        if (s->old_size > MARKED_SECTION_MAX)
                return 0;
        uint8_t *marks = p->unwind.marks = calloc(1, (size_t)s->old_size / 4 + 8);
        if (!marks)
                return -ENOMEM;
        int64_t begin = (int64_t)s->old_begin, end = (int64_t)(s->old_begin + s->old_size);
        for (int64_t at = begin; end - at >= 24;) {
                const uint8_t *bytes;
                size_t n;
                int r = delta_elf_window(p, at, 24, end, &bytes, &n);
                if (r < 0)
                        return r;
                uint64_t length = delta_get32(bytes), here = (uint64_t)(at - begin);
                if (length == 0 || length >= 0xfffffff0u || length > (uint64_t)(end - at) - 4)
                        return 0;
                if (delta_get32(bytes + 4) != 0 && length >= 13) { /* describes a function */
                        set_mark(marks, here + 4, MARK_BACK);
                        set_mark(marks, here + 8, MARK_RELATIVE);
                        set_mark(marks, here + 12, MARK_LENGTH);
                        if (bytes[16] == 4 && length >= 17)
                                set_mark(marks, here + 17, MARK_RELATIVE);
                }
                at += (int64_t)length + 4;
        }
        return 0;
}

int delta_elf_predict_unwind(struct delta_elf_predictor *p, const struct stretch *s) {
        int r = learn_unwind(p, s);
        if (r < 0 || !p->unwind.marks)
                return r;
        struct delta_elf_frame *f = &p->frame;
        const uint8_t *marks = p->unwind.marks;
        uint64_t old_base = f->old.sections[s->old_section].address;
        uint64_t new_base = f->places[f->new_of_old[s->old_section]].address;
        uint64_t first = s->old_at > 3 ? s->old_at - 3 : 0, stop = s->old_at + s->n;
        for (uint64_t at = first; at < stop; at++) {
                if (at % 4 == 0 && marks[at / 4] == 0) {
                        at += 3;
                        continue;
                }
                unsigned mark = marks[at / 4] >> at % 4 * 2 & 3;
                if (mark == MARK_NONE || at + 4 > s->old_size || at < 4)
                        continue;
                const uint8_t *bytes;
                size_t n;
                r = delta_elf_window(p, (int64_t)(s->old_begin + at - 4), 8,
                                     (int64_t)(s->old_begin + s->old_size), &bytes, &n);
                if (r < 0)
                        return r;
                uint32_t v = delta_get32(bytes + 4);
                uint64_t new_at = at + (s->new_at - s->old_at);
                if (mark == MARK_BACK) {
                        if (v > at)
                                continue;
                        v = (uint32_t)(new_at - delta_elf_project(f, s->old_section, at - v, NULL));
                } else if (mark == MARK_RELATIVE) {
                        uint64_t target = old_base + at + (uint64_t)(int64_t)(int32_t)v;
                        v = (uint32_t)(delta_elf_project_address(f, target) - (new_base + new_at));
                } else if (v > 0) {
                        uint64_t begin = old_base + at - 4 + (uint64_t)(int64_t)(int32_t)delta_get32(bytes);
                        uint64_t end = delta_elf_project_address(f, begin + v - 1) + 1;
                        v = (uint32_t)(end - delta_elf_project_address(f, begin));
                }
                uint8_t put[4];
                delta_put32(put, v);
                for (unsigned k = 0; k < 4; k++)
                        if (at + k >= s->old_at && at + k < stop)
                                s->ret[at + k - s->old_at] = put[k];
        }
        return 0;
}

/* ---- Jump tables: words relative to the table's beginning, which is where code points at */

static int learn_tables(struct delta_elf_predictor *p, unsigned section) {
        if (p->tables.section == (int)section)
                return 0;
        const struct delta_elf *e = &p->frame.old;
        const struct delta_elf_section *data = &e->sections[section];
        free(p->tables.begins);
        p->tables.begins = NULL;
        p->tables.section = (int)section;
        if (data->size > 2 * MARKED_SECTION_MAX)
                return 0;
        p->tables.begins = calloc(1, (size_t)data->size / 32 + 8);
        if (!p->tables.begins)
                return -ENOMEM;
        for (unsigned i = 0; i < e->n; i++) {
                const struct delta_elf_section *s = &e->sections[i];
                if (!(s->flags & DELTA_ELF_EXEC) || !delta_elf_has_bytes(s) || s->size > UINT32_MAX)
                        continue;
                int64_t end = (int64_t)(s->offset + s->size);
                for (int64_t at = (int64_t)s->offset; at < end;) {
                        const uint8_t *bytes;
                        size_t n;
                        int r = delta_elf_window(p, at, DELTA_X86_INSTRUCTION_MAX, end, &bytes, &n);
                        if (r < 0)
                                return r;
                        struct delta_x86_instruction x;
                        delta_x86_decode(bytes, n, &x);
                        if (x.field == DELTA_X86_DATA32) {
                                uint64_t target =
                                        s->address + (uint64_t)(at - (int64_t)s->offset) + x.length +
                                        (uint64_t)(int64_t)(int32_t)delta_get32(bytes + x.field_at) -
                                        data->address;
                                if (target < data->size && target % 4 == 0)
                                        p->tables.begins[target / 32] |= (uint8_t)(1u << target / 4 % 8);
                        }
                        at += x.length;
                }
        }
        return 0;
}

/* The table that an offset belongs to: the nearest beginning at or before it; tables are not endless. */
static bool table_of(const struct delta_elf_predictor *p, uint64_t at, uint64_t *ret) {
        for (unsigned i = 0; i < 2048; i++) {
                uint64_t word = at / 4 - i;
                if (p->tables.begins[word / 8] >> word % 8 & 1) {
                        *ret = word * 4;
                        return true;
                }
                if (word == 0)
                        break;
        }
        return false;
}

void delta_elf_rule_table(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                          uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        int32_t v = (int32_t)delta_get32(record);
        uint64_t begin;
        if (v >= 0 || !table_of(p, old_at, &begin))
                return;
        uint64_t base = f->old.sections[section].address + begin;
        uint64_t target = base + (uint64_t)(int64_t)v;
        int to = delta_elf_section_of_address(f, target);
        if (to < 0 || !(f->old.sections[to].flags & DELTA_ELF_EXEC))
                return;
        delta_put32(record,
                    (uint32_t)(delta_elf_project_address(f, target) - delta_elf_project_address(f, base)));
}

int delta_elf_predict_tables(struct delta_elf_predictor *p, const struct stretch *s) {
        int r = learn_tables(p, s->old_section);
        return r < 0 || !p->tables.begins ? r : delta_elf_predict_records(p, s, 4, delta_elf_rule_table);
}
