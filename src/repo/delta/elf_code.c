/* SPDX-License-Identifier: Apache-2.0 */
/* Code: what instructions point at is projected. */
#include <errno.h>
#include <string.h>

#include "repo/delta/elf_predict.h"
#include "repo/delta/x86.h"

/* The piece that holds a new offset, or -1. */
static ssize_t piece_at(const struct delta_map *m, int64_t new_offset) {
        size_t low = 0, high = m->n;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (m->by_new[middle].new_offset <= new_offset)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == 0)
                return -1;
        const struct delta_piece *p = &m->by_new[low - 1];
        return new_offset - p->new_offset < p->length ? (ssize_t)(low - 1) : -1;
}

/* Old bytes from `at` on, at least `want` of them unless `end` comes first. */
int delta_elf_window(struct delta_elf_predictor *p, int64_t at, size_t want, int64_t end, const uint8_t **ret,
                     size_t *ret_n) {
        if (!p->window) {
                p->window = malloc(DELTA_ELF_WINDOW);
                if (!p->window)
                        return -ENOMEM;
        }
        int64_t window_end = p->window_at + (int64_t)p->window_length;
        if (at < p->window_at || at >= window_end || (window_end - at < (int64_t)want && window_end < end)) {
                size_t n = (size_t)MIN((int64_t)DELTA_ELF_WINDOW, end - at);
                p->window_length = 0;
                int r = p->old_file->read(p->old_file->arg, at, p->window, n);
                if (r < 0)
                        return r;
                p->window_at = at;
                p->window_length = n;
                window_end = at + (int64_t)n;
        }
        *ret = p->window + (at - p->window_at);
        *ret_n = (size_t)(MIN(window_end, end) - at);
        return 0;
}

/* The displacement that leads where the old one did. */
static int64_t new_displacement(struct delta_elf_predictor *p, const struct stretch *s, uint64_t old_next,
                                int64_t displacement) {
        struct delta_elf_frame *f = &p->frame;
        const struct delta_elf_section *section = &f->old.sections[s->old_section];
        uint64_t new_next = old_next + (s->new_at - s->old_at); /* within the sections */
        if (f->old.type == DELTA_ELF_RELOCATABLE) {
                uint64_t target = old_next + (uint64_t)displacement;
                if (displacement == 0 || target > s->old_size)
                        return displacement;
                return (int64_t)(delta_elf_project(f, s->old_section, target, NULL) - new_next);
        }
        uint64_t target = section->address + old_next + (uint64_t)displacement;
        const struct delta_elf_place *place = &f->places[f->new_of_old[s->old_section]];
        if (target - section->address < section->size)
                return (int64_t)(delta_elf_project(f, s->old_section, target - section->address, NULL) -
                                 new_next);
        return (int64_t)(delta_elf_project_address(f, target) - (place->address + new_next));
}

/* In files that are linked to fixed addresses these stand in instructions as they are. */
static void put_absolute(struct delta_elf_predictor *p, const struct stretch *s, int64_t field, uint32_t v,
                         int64_t old_offset) {
        if (!delta_elf_is_absolute(&p->frame, v))
                return;
        uint8_t put[4];
        delta_put32(put, (uint32_t)delta_elf_project_address(&p->frame, v));
        for (unsigned k = 0; k < 4; k++)
                if (field + k >= old_offset && field + k < old_offset + (int64_t)s->n)
                        s->ret[field + k - old_offset] = put[k];
}

int delta_elf_predict_x86(struct delta_elf_predictor *p, const struct stretch *s) {
        struct delta_elf_frame *f = &p->frame;
        int64_t old_offset = (int64_t)(s->old_begin + s->old_at);
        ssize_t piece = piece_at(f->map, (int64_t)(s->new_begin + s->new_at));
        if (piece < 0)
                return 0;
        const struct delta_piece *m = &f->map->by_new[piece];
        if (m->old_offset + ((int64_t)(s->new_begin + s->new_at) - m->new_offset) != old_offset)
                return 0;
        bool relocatable = f->old.type == DELTA_ELF_RELOCATABLE;
        if (relocatable && m->old_offset <= (int64_t)s->old_begin &&
            m->old_offset + m->length >= (int64_t)(s->old_begin + s->old_size))
                return 0; /* all of the section moved as one: nothing in it points elsewhere */
        int64_t begin = MAX(m->old_offset, (int64_t)s->old_begin), at = begin;
        int64_t end = (int64_t)(s->old_begin + s->old_size), stop = old_offset + (int64_t)s->n;
        if (p->decoding.valid && p->decoding.piece == (size_t)piece && p->decoding.at >= begin &&
            p->decoding.at <= old_offset)
                at = p->decoding.at;
        p->decoding.valid = false;
        while (at < stop) {
                const uint8_t *bytes;
                size_t n;
                int r = delta_elf_window(p, at, DELTA_X86_INSTRUCTION_MAX, end, &bytes, &n);
                if (r < 0)
                        return r;
                struct delta_x86_instruction i;
                delta_x86_decode(bytes, n, &i);
                p->decoding.at = at;
                int64_t next = at + i.length;
                unsigned size = i.field == DELTA_X86_NO_FIELD ? 0 : i.field == DELTA_X86_BRANCH8 ? 1 : 4;
                int64_t field = at + i.field_at;
                if (size > 0 && field + (int64_t)size > old_offset && field < stop &&
                    !(relocatable && i.field == DELTA_X86_DATA32)) {
                        int64_t old_value = size == 1 ? (int8_t)bytes[i.field_at]
                                                      : (int32_t)delta_get32(bytes + i.field_at);
                        int64_t value =
                                new_displacement(p, s, (uint64_t)(next - (int64_t)s->old_begin), old_value);
                        uint8_t put[4];
                        delta_put32(put, (uint32_t)value);
                        for (unsigned k = 0; k < size; k++)
                                if (field + k >= old_offset && field + k < stop)
                                        s->ret[field + k - old_offset] = put[k];
                }
                if (f->old.type == DELTA_ELF_EXECUTABLE && next > old_offset) {
                        if (i.absolute_at > 0)
                                put_absolute(p, s, at + i.absolute_at, delta_get32(bytes + i.absolute_at),
                                             old_offset);
                        if (i.immediate_at > 0)
                                put_absolute(p, s, at + i.immediate_at, delta_get32(bytes + i.immediate_at),
                                             old_offset);
                }
                at = next;
        }
        p->decoding.piece = (size_t)piece;
        p->decoding.valid = true;
        return 0;
}
