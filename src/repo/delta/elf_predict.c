/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF predictor: what each kind of section refers to is projected through the map. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repo/delta/elf_predict.h"

/* Where a stretch of a file lies: a section (0 and up) or one of these. */
enum { REGION_NONE = -1, REGION_HEADER = -2, REGION_SECTIONS = -3, REGION_SEGMENTS = -4 };

struct region {
        int index;
        uint64_t begin, end;
        uint64_t stop; /* where another region begins, which may be before the end in files that lie */
};

static struct region table_region(uint64_t at, uint64_t segments, unsigned n_segments, uint64_t sections,
                                  unsigned n_sections) {
        uint64_t segments_end = segments + (uint64_t)n_segments * DELTA_ELF_SEGMENT_SIZE;
        uint64_t sections_end = sections + (uint64_t)n_sections * DELTA_ELF_SECTION_SIZE;
        if (at < DELTA_ELF_HEADER_SIZE)
                return (struct region){REGION_HEADER, 0, DELTA_ELF_HEADER_SIZE, DELTA_ELF_HEADER_SIZE};
        if (at >= segments && at < segments_end)
                return (struct region){REGION_SEGMENTS, segments, segments_end, segments_end};
        uint64_t stop = segments > at ? segments : UINT64_MAX;
        if (at >= sections && at < sections_end)
                return (struct region){REGION_SECTIONS, sections, sections_end, MIN(sections_end, stop)};
        return (struct region){REGION_NONE, at, UINT64_MAX, sections > at ? MIN(sections, stop) : stop};
}

/* What lies between sections reaches to the next one. */
static struct region old_region(const struct delta_elf_frame *f, uint64_t at) {
        const struct delta_elf *e = &f->old;
        struct region region = table_region(at, e->segments, e->n_segments, e->headers, e->n);
        if (region.index != REGION_NONE)
                return region;
        unsigned next = delta_elf_sections_to(e, at);
        if (next < e->n_by_offset)
                region.stop = MIN(region.stop, e->sections[e->by_offset[next]].offset);
        int s = delta_elf_section_at(e, at);
        if (s >= 0) {
                region.index = s;
                region.begin = e->sections[s].offset;
                region.end = region.begin + e->sections[s].size;
        }
        region.stop = MIN(region.stop, region.end);
        return region;
}

static struct region new_region(const struct delta_elf_frame *f, uint64_t at) {
        struct region region = table_region(at, f->old.segments, f->old.n_segments, f->new_headers, f->n_new);
        if (region.index != REGION_NONE)
                return region;
        unsigned next = delta_elf_frame_places_to(f, at);
        if (next < f->n_by_offset)
                region.stop = MIN(region.stop, f->places[f->by_offset[next]].offset);
        int s = delta_elf_frame_place_at(f, at);
        if (s >= 0) {
                region.index = s;
                region.begin = f->places[s].offset;
                region.end = region.begin + f->places[s].size;
        }
        region.stop = MIN(region.stop, region.end);
        return region;
}

/* ---- Records of fixed size */

/* Old offsets and new ones here are of the section. Records whose ends are cut off by the call are worked
 * out whole, aside. */
int delta_elf_predict_records(struct delta_elf_predictor *p, const struct stretch *s, size_t size,
                              delta_elf_record_rule rule) {
        if (s->old_at % size != s->new_at % size)
                return 0;
        uint8_t aside[64];
        uint64_t begin = s->old_at - s->old_at % size;
        for (uint64_t at = begin; at < s->old_at + s->n; at += size) {
                if (s->old_size - at < size)
                        break;
                uint64_t new_at = s->new_at + (at - s->old_at);
                if (at >= s->old_at && at + size <= s->old_at + s->n) {
                        rule(p, s->old_section, at, new_at, s->ret + (at - s->old_at));
                        continue;
                }
                int r = p->old_file->read(p->old_file->arg, (int64_t)(s->old_begin + at), aside, size);
                if (r < 0)
                        return r;
                rule(p, s->old_section, at, new_at, aside);
                uint64_t from = MAX(at, s->old_at), to = MIN(at + size, s->old_at + s->n);
                memcpy(s->ret + (from - s->old_at), aside + (from - at), (size_t)(to - from));
        }
        return 0;
}

/* ---- Headers */

static void rule_section_header(struct delta_elf_predictor *p, unsigned unused, uint64_t old_at,
                                uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        unsigned old_index = (unsigned)(old_at / DELTA_ELF_SECTION_SIZE);
        unsigned new_index = (unsigned)(new_at / DELTA_ELF_SECTION_SIZE);
        if (new_index >= f->n_new || f->places[new_index].old_index != (int)old_index)
                return;
        const struct delta_elf_section *s = &f->old.sections[old_index];
        const struct delta_elf_place *place = &f->places[new_index];
        delta_put32(record, (uint32_t)delta_elf_project(f, f->old.names_index, s->name, NULL));
        delta_put64(record + 16, place->address);
        delta_put64(record + 24, place->offset);
        delta_put64(record + 32, place->size);
        if (s->link < f->old.n && f->new_of_old[s->link] >= 0)
                delta_put32(record + 40, (uint32_t)f->new_of_old[s->link]);
        if (s->type == DELTA_ELF_RELA && s->info < f->old.n && f->new_of_old[s->info] >= 0)
                delta_put32(record + 44, (uint32_t)f->new_of_old[s->info]);
        if (s->type == DELTA_ELF_SYMTAB || s->type == DELTA_ELF_DYNSYM)
                delta_put32(record + 44, delta_elf_project_symbol(f, old_index, s->info));
}

static void rule_header(struct delta_elf_predictor *p, unsigned unused, uint64_t old_at, uint64_t new_at,
                        uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        if (old_at != 0 || new_at != 0)
                return;
        delta_put64(record + 24, delta_elf_project_address(f, delta_get64(record + 24)));
        delta_put64(record + 40, f->new_headers);
        delta_put16(record + 60, (uint16_t)f->n_new);
        if (f->new_of_old[f->old.names_index] >= 0)
                delta_put16(record + 62, (uint16_t)f->new_of_old[f->old.names_index]);
}

/* A segment begins with one section and ends with another; -1: no section does so there. */
static void rule_segment(struct delta_elf_predictor *p, unsigned unused, uint64_t old_at, uint64_t new_at,
                         uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        uint64_t offset = delta_get64(record + 8), address = delta_get64(record + 16);
        uint64_t bytes = delta_get64(record + 32), memory = delta_get64(record + 40);
        uint64_t new_address = address, new_offset = offset;
        uint64_t new_bytes_end = 0, new_memory_end = 0;
        bool begins = false, bytes_end = false, memory_end = false;
        for (unsigned i = 0; i < f->old.n; i++) {
                const struct delta_elf_section *s = &f->old.sections[i];
                int at = f->new_of_old[i];
                if (!(s->flags & DELTA_ELF_ALLOC) || at < 0 || s->size == 0)
                        continue;
                const struct delta_elf_place *place = &f->places[at];
                if (s->address == address && !begins) {
                        begins = true;
                        new_address = place->address;
                        new_offset = place->offset;
                }
                if (s->address + s->size == address + bytes && s->type != DELTA_ELF_NOBITS) {
                        bytes_end = true;
                        new_bytes_end = place->address + place->size;
                }
                if (s->address + s->size == address + memory &&
                    !(s->flags & 0x400 /* TLS */ && s->type == DELTA_ELF_NOBITS &&
                      delta_get32(record) != 7 /* PT_TLS */)) {
                        memory_end = true;
                        new_memory_end = place->address + place->size;
                }
        }
        delta_put64(record + 8, new_offset);
        delta_put64(record + 16, new_address);
        delta_put64(record + 24, new_address + (delta_get64(record + 24) - address));
        if (bytes_end)
                delta_put64(record + 32, new_bytes_end - new_address);
        if (memory_end)
                delta_put64(record + 40, new_memory_end - new_address);
}

/* ---- Symbols and relocations */

static void rule_symbol(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                        uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        uint32_t link = f->old.sections[section].link;
        if (link < f->old.n && delta_get32(record) != 0)
                delta_put32(record, (uint32_t)delta_elf_project(f, link, delta_get32(record), NULL));
        uint16_t in = delta_get16(record + 6);
        if (in == 0 || in >= f->old.n || f->new_of_old[in] < 0)
                return;
        const struct delta_elf_section *s = &f->old.sections[in];
        const struct delta_elf_place *place = &f->places[f->new_of_old[in]];
        delta_put16(record + 6, (uint16_t)f->new_of_old[in]);
        uint64_t value = delta_get64(record + 8), size = delta_get64(record + 16);
        uint64_t base = f->old.type == DELTA_ELF_RELOCATABLE ? 0 : s->address;
        uint64_t new_base = f->old.type == DELTA_ELF_RELOCATABLE ? 0 : place->address;
        if ((record[4] & 15) == 6) /* thread-local: counted from the segment */
                return;
        if (value < base || value - base > s->size)
                return;
        uint64_t begin = delta_elf_project(f, in, value - base, NULL);
        delta_put64(record + 8, new_base + begin);
        if (size > 0 && size <= s->size - (value - base)) {
                uint64_t end = delta_elf_project(f, in, value - base + size - 1, NULL) + 1;
                if (end > begin && delta_elf_has_bytes(s))
                        delta_put64(record + 16, end - begin);
        }
}

/* Which section each symbol of the table names, were it a section's own: 4,096 symbols a page. */
int delta_elf_load_symbols(struct delta_elf_predictor *p, unsigned symbols) {
        if (p->symbols_of == (int)symbols)
                return 0;
        const struct delta_elf_section *s = &p->frame.old.sections[symbols];
        uint64_t n = delta_elf_has_bytes(s) ? s->size / DELTA_ELF_SYMBOL_SIZE : 0;
        n = MIN(n, (uint64_t)DELTA_ELF_SYMBOLS_MAX);
        free(p->section_of_symbol);
        p->symbols_of = -1;
        p->n_symbols = 0;
        p->section_of_symbol = calloc(n + 1, sizeof(*p->section_of_symbol));
        if (!p->section_of_symbol)
                return -ENOMEM;
        uint8_t page[DELTA_ELF_SYMBOL_SIZE * 128];
        for (uint64_t i = 0; i < n; i += 128) {
                uint64_t count = MIN(n - i, (uint64_t)128);
                int r = p->old_file->read(p->old_file->arg, (int64_t)(s->offset + i * DELTA_ELF_SYMBOL_SIZE),
                                          page, (size_t)count * DELTA_ELF_SYMBOL_SIZE);
                if (r < 0)
                        return r;
                for (uint64_t k = 0; k < count; k++) {
                        const uint8_t *symbol = page + k * DELTA_ELF_SYMBOL_SIZE;
                        if ((symbol[4] & 15) == 3 && delta_get64(symbol + 8) == 0)
                                p->section_of_symbol[i + k] = delta_get16(symbol + 6);
                }
        }
        p->symbols_of = (int)symbols;
        p->n_symbols = (size_t)n;
        return 0;
}

static void rule_rela_relocatable(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                                  uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        const struct delta_elf_section *s = &f->old.sections[section];
        uint32_t symbol = delta_get32(record + 12);
        if (s->info < f->old.n)
                delta_put64(record, delta_elf_project(f, s->info, delta_get64(record), NULL));
        if (symbol == 0)
                return;
        delta_put32(record + 12, delta_elf_project_symbol(f, s->link, symbol));
        unsigned target = symbol < p->n_symbols ? p->section_of_symbol[symbol] : 0;
        if (target == 0 || target >= f->old.n)
                return;
        uint64_t addend = delta_get64(record + 16);
        uint64_t bias = delta_elf_rela_bias(&f->old, s->info, delta_get32(record + 8));
        delta_put64(record + 16, delta_elf_project(f, target, addend + bias, NULL) - bias);
}

static void rule_rela_linked(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                             uint64_t new_at, uint8_t *record) {
        struct delta_elf_frame *f = &p->frame;
        const struct delta_elf_section *s = &f->old.sections[section];
        uint32_t symbol = delta_get32(record + 12);
        uint64_t place = delta_get64(record);
        if (s->info != 0 && s->info < f->old.n && f->new_of_old[s->info] >= 0)
                /* slots for functions: one each, in the order of these */
                place += f->places[f->new_of_old[s->info]].address - f->old.sections[s->info].address +
                         (new_at - old_at) / DELTA_ELF_RELA_SIZE * 8;
        else
                place = delta_elf_project_address(f, place);
        delta_put64(record, place);
        if (symbol != 0 && s->link < f->old.n)
                delta_put32(record + 12, delta_elf_project_symbol(f, s->link, symbol));
        else if (symbol == 0)
                delta_put64(record + 16, delta_elf_project_address(f, delta_get64(record + 16)));
}

static int predict_rela(struct delta_elf_predictor *p, const struct stretch *s) {
        if (p->frame.old.type != DELTA_ELF_RELOCATABLE)
                return delta_elf_predict_records(p, s, DELTA_ELF_RELA_SIZE, rule_rela_linked);
        uint32_t link = p->frame.old.sections[s->old_section].link;
        if (link >= p->frame.old.n)
                return 0;
        int r = delta_elf_load_symbols(p, link);
        return r < 0 ? r : delta_elf_predict_records(p, s, DELTA_ELF_RELA_SIZE, rule_rela_relocatable);
}

static void rule_version(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                         uint8_t *record) {
        const struct delta_checksum *c =
                p->shared ? delta_shared_checksum(p->shared, delta_get32(record)) : NULL;
        if (c)
                delta_put32(record, c->new_value);
}

/* ---- The whole */

static unsigned choose_rule(const struct delta_elf *e, unsigned section) {
        const struct delta_elf_section *s = &e->sections[section];
        const char *name = delta_elf_name(e, section);
        if (s->type == DELTA_ELF_RELA && s->entry_size == DELTA_ELF_RELA_SIZE)
                return DELTA_ELF_RULE_RELA;
        if ((s->type == DELTA_ELF_SYMTAB || s->type == DELTA_ELF_DYNSYM) &&
            s->entry_size == DELTA_ELF_SYMBOL_SIZE)
                return DELTA_ELF_RULE_SYMBOLS;
        if (s->flags & DELTA_ELF_EXEC && e->machine == DELTA_ELF_X86_64)
                return DELTA_ELF_RULE_X86;
        if (s->flags & DELTA_ELF_EXEC && e->machine == DELTA_ELF_ARM64)
                return DELTA_ELF_RULE_ARM64;
        if (strcmp(name, "__versions") == 0 && e->type == DELTA_ELF_RELOCATABLE)
                return DELTA_ELF_RULE_VERSIONS;
        if (strncmp(name, "__kcrctab", 9) == 0 && e->type == DELTA_ELF_RELOCATABLE)
                return DELTA_ELF_RULE_CHECKSUMS;
        if (strcmp(name, ".BTF") == 0)
                return DELTA_ELF_RULE_BTF;
        if (strcmp(name, ".eh_frame") == 0 && e->type != DELTA_ELF_RELOCATABLE)
                return DELTA_ELF_RULE_UNWIND;
        if (strcmp(name, ".gopclntab") == 0)
                return DELTA_ELF_RULE_FUNCTIONS;
        if (strcmp(name, ".eh_frame_hdr") == 0)
                return DELTA_ELF_RULE_UNWIND_INDEX;
        return DELTA_ELF_RULE_BYTES;
}

bool delta_elf_rule_is_open(const struct delta_elf *e, unsigned section) {
        const struct delta_elf_section *s = &e->sections[section];
        return e->type != DELTA_ELF_RELOCATABLE && s->flags & DELTA_ELF_ALLOC && delta_elf_has_bytes(s) &&
               choose_rule(e, section) == DELTA_ELF_RULE_BYTES && s->entry_size != 1 &&
               (s->type == 1 || s->type == 6 || s->type == 14 || s->type == 15);
}

static int predict_section(struct delta_elf_predictor *p, const struct stretch *s) {
        switch (p->rules[s->old_section]) {
        case DELTA_ELF_RULE_RELA: return predict_rela(p, s);
        case DELTA_ELF_RULE_SYMBOLS:
                return delta_elf_predict_records(p, s, DELTA_ELF_SYMBOL_SIZE, rule_symbol);
        case DELTA_ELF_RULE_VERSIONS: return delta_elf_predict_records(p, s, 64, rule_version);
        case DELTA_ELF_RULE_CHECKSUMS: return delta_elf_predict_records(p, s, 4, rule_version);
        case DELTA_ELF_RULE_BTF: return delta_elf_predict_btf(p, s);
        case DELTA_ELF_RULE_UNWIND: return delta_elf_predict_unwind(p, s);
        case DELTA_ELF_RULE_UNWIND_INDEX:
                return delta_elf_predict_records(p, s, 4, delta_elf_rule_unwind_index);
        case DELTA_ELF_RULE_ADDRESSES: return delta_elf_predict_records(p, s, 8, delta_elf_rule_address);
        case DELTA_ELF_RULE_OFFSETS: return delta_elf_predict_records(p, s, 8, delta_elf_rule_offsets);
        case DELTA_ELF_RULE_FUNCTIONS: return delta_elf_predict_functions(p, s);
        case DELTA_ELF_RULE_TABLES: return delta_elf_predict_tables(p, s);
        case DELTA_ELF_RULE_ARM64: return delta_elf_predict_arm64(p, s);
        case DELTA_ELF_RULE_X86: return delta_elf_predict_x86(p, s);
        default: return 0;
        }
}

static int elf_predict(void *arg, int64_t old_offset, int64_t new_offset, size_t n, uint8_t *ret) {
        struct delta_elf_predictor *p = arg;
        int r = p->old_file->read(p->old_file->arg, old_offset, ret, n);
        for (size_t done = 0; done < n && r == 0;) {
                uint64_t old_at = (uint64_t)old_offset + done, new_at = (uint64_t)new_offset + done;
                struct region o = old_region(&p->frame, old_at), w = new_region(&p->frame, new_at);
                size_t count = (size_t)MIN((uint64_t)(n - done), MIN(o.stop - old_at, w.stop - new_at));
                struct stretch s = {.old_section = o.index >= 0 ? (unsigned)o.index : 0,
                                    .old_begin = o.begin,
                                    .old_size = o.end - o.begin,
                                    .new_begin = w.begin,
                                    .old_at = old_at - o.begin,
                                    .new_at = new_at - w.begin,
                                    .n = count,
                                    .ret = ret + done};
                if (o.index >= 0 && w.index >= 0) {
                        if (p->frame.places[w.index].old_index == o.index)
                                r = predict_section(p, &s);
                } else if (o.index == w.index) {
                        if (o.index == REGION_HEADER)
                                r = delta_elf_predict_records(p, &s, DELTA_ELF_HEADER_SIZE, rule_header);
                        else if (o.index == REGION_SECTIONS)
                                r = delta_elf_predict_records(p, &s, DELTA_ELF_SECTION_SIZE,
                                                              rule_section_header);
                        else if (o.index == REGION_SEGMENTS)
                                r = delta_elf_predict_records(p, &s, DELTA_ELF_SEGMENT_SIZE, rule_segment);
                }
                done += count;
        }
        return r;
}

static const char *elf_kind_at(void *arg, int64_t new_offset) {
        struct delta_elf_predictor *p = arg;
        struct region w = new_region(&p->frame, (uint64_t)new_offset);
        switch (w.index) {
        case REGION_HEADER: return "elf header";
        case REGION_SECTIONS: return "elf section headers";
        case REGION_SEGMENTS: return "elf program headers";
        case REGION_NONE:
                return (uint64_t)new_offset >= p->frame.new_headers +
                                                       (uint64_t)p->frame.n_new * DELTA_ELF_SECTION_SIZE
                               ? "module signature"
                               : "elf padding";
        default: break;
        }
        int old_index = p->frame.places[w.index].old_index;
        if (old_index < 0)
                return "elf new section";
        if (!p->kinds[old_index]) {
                const char *name = delta_elf_name(&p->frame.old, (unsigned)old_index);
                char text[40];
                snprintf(text, sizeof(text), "elf %s", name);
                p->kinds[old_index] = strdup(text);
        }
        return p->kinds[old_index] ? p->kinds[old_index] : "elf";
}

static void elf_release(void *arg) {
        struct delta_elf_predictor *p = arg;
        if (!p)
                return;
        if (p->kinds)
                for (unsigned i = 0; i < p->frame.old.n; i++)
                        free(p->kinds[i]);
        free(p->kinds);
        free(p->rules);
        free(p->section_of_symbol);
        free(p->window);
        free(p->unwind.marks);
        free(p->tables.begins);
        free(p->functions.words);
        delta_elf_btf_free(p->btf);
        delta_elf_frame_done(&p->frame);
        free(p);
}

static int make_state(const struct delta_context *c, struct delta_elf_predictor *p) {
        struct delta_reader side = {c->side, c->side ? c->side + c->side_length : NULL, false};
        int r = delta_elf_frame_decode(c->old_file, c->new_length, &side, &p->frame);
        if (r < 0)
                return r;
        uint64_t extras = delta_get_number(&side);
        if (extras & 1)
                r = delta_elf_btf_decode(&side, &p->btf);
        if (r < 0 || side.failed)
                return r < 0 ? r : -EBADMSG;
        delta_elf_frame_set_map(&p->frame, c->map);
        r = delta_elf_frame_index_map(&p->frame);
        if (r < 0)
                return r;
        p->old_file = c->old_file;
        p->shared = c->shared;
        p->symbols_of = p->unwind.section = p->tables.section = -1;
        p->kinds = calloc(p->frame.old.n, sizeof(*p->kinds));
        p->rules = calloc(p->frame.old.n, sizeof(*p->rules));
        if (!p->kinds || !p->rules)
                return -ENOMEM;
        for (unsigned i = 0; i < p->frame.old.n; i++)
                p->rules[i] = (uint8_t)choose_rule(&p->frame.old, i);
        for (unsigned i = 0; i < p->frame.old.n && extras & 2; i++)
                if (delta_elf_rule_is_open(&p->frame.old, i)) {
                        uint64_t choice = delta_get_number(&side);
                        if (side.failed || choice >= DELTA_ELF_CHOICES)
                                return -EBADMSG;
                        static const uint8_t choices[DELTA_ELF_CHOICES] = {
                                DELTA_ELF_RULE_BYTES, DELTA_ELF_RULE_ADDRESSES, DELTA_ELF_RULE_TABLES,
                                DELTA_ELF_RULE_OFFSETS};
                        p->rules[i] = choices[choice];
                }
        p->offsets_into = -1;
        for (unsigned i = 0; i < p->frame.old.n; i++)
                if (strcmp(delta_elf_name(&p->frame.old, i), ".rodata") == 0)
                        p->offsets_into = (int)i;
        return 0;
}

static int elf_make(const struct delta_context *c, void **ret) {
        struct delta_elf_predictor *p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        int r = make_state(c, p);
        if (r < 0) {
                elf_release(p);
                return r;
        }
        *ret = p;
        return 0;
}

const struct delta_driver delta_elf_driver = {
        .name = "ELF",
        .make = elf_make,
        .predict = elf_predict,
        .kind_at = elf_kind_at,
        .release = elf_release,
};
