/* SPDX-License-Identifier: Apache-2.0 */
/* Small ELF files made by hand for tests: sections in the order they are added, then their headers. */
#pragma once

#include <string.h>

#include "base/buf.h"
#include "repo/delta/elf.h"

#define IMAGE_SECTIONS_MAX 32

struct image {
        uint16_t type, machine;
        unsigned n; /* with the empty one in front */
        struct image_section {
                char name[24];
                uint32_t type, link, info;
                uint64_t flags, address, align, entry_size;
                struct buf bytes;
        } sections[IMAGE_SECTIONS_MAX];
};

static inline void image_init(struct image *m, uint16_t type, uint16_t machine) {
        *m = (struct image){.type = type, .machine = machine, .n = 1};
}

static inline unsigned image_add(struct image *m, const char *name, uint32_t type, uint64_t flags,
                                 uint64_t address, uint64_t entry_size) {
        struct image_section *s = &m->sections[m->n];
        strcpy(s->name, name);
        s->type = type;
        s->flags = flags;
        s->address = address;
        s->align = 4;
        s->entry_size = entry_size;
        return m->n++;
}

static inline void image_put(struct image *m, unsigned section, const void *p, size_t n) {
        buf_append(&m->sections[section].bytes, p, n);
}
static inline void image_put32(struct image *m, unsigned section, uint32_t v) {
        uint8_t p[4];
        delta_put32(p, v);
        image_put(m, section, p, 4);
}
static inline void image_put64(struct image *m, unsigned section, uint64_t v) {
        uint8_t p[8];
        delta_put64(p, v);
        image_put(m, section, p, 8);
}
static inline void image_symbol(struct image *m, unsigned symbols, unsigned names, const char *name,
                                uint8_t type, uint16_t section, uint64_t value, uint64_t size) {
        uint8_t p[24] = {0};
        delta_put32(p, *name ? (uint32_t)m->sections[names].bytes.len : 0);
        p[4] = type;
        delta_put16(p + 6, section);
        delta_put64(p + 8, value);
        delta_put64(p + 16, size);
        if (*name)
                image_put(m, names, name, strlen(name) + 1);
        image_put(m, symbols, p, sizeof(p));
}
static inline void image_rela(struct image *m, unsigned section, uint64_t place, uint32_t type,
                              uint32_t symbol, int64_t addend) {
        image_put64(m, section, place);
        image_put32(m, section, type);
        image_put32(m, section, symbol);
        image_put64(m, section, (uint64_t)addend);
}

/* The whole file; the image is done with. */
static inline struct buf image_finish(struct image *m) {
        struct buf out = BUF_INIT;
        uint64_t offsets[IMAGE_SECTIONS_MAX] = {0};
        uint32_t names_at[IMAGE_SECTIONS_MAX] = {0};
        unsigned names = image_add(m, ".shstrtab", DELTA_ELF_STRTAB, 0, 0, 0);
        buf_putc(&m->sections[names].bytes, 0);
        for (unsigned i = 1; i < m->n; i++) {
                names_at[i] = (uint32_t)m->sections[names].bytes.len;
                image_put(m, names, m->sections[i].name, strlen(m->sections[i].name) + 1);
        }
        uint8_t head[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
        buf_append(&out, head, sizeof(head));
        for (unsigned i = 1; i < m->n; i++) {
                while (out.len % 4)
                        buf_putc(&out, 0);
                offsets[i] = out.len;
                buf_append(&out, m->sections[i].bytes.data, m->sections[i].bytes.len);
        }
        while (out.len % 8)
                buf_putc(&out, 0);
        uint64_t headers = out.len;
        for (unsigned i = 0; i < m->n; i++) {
                const struct image_section *s = &m->sections[i];
                uint8_t p[64] = {0};
                delta_put32(p, names_at[i]);
                delta_put32(p + 4, s->type);
                delta_put64(p + 8, s->flags);
                delta_put64(p + 16, s->address);
                delta_put64(p + 24, offsets[i]);
                delta_put64(p + 32, s->bytes.len);
                delta_put32(p + 40, s->link);
                delta_put32(p + 44, s->info);
                delta_put64(p + 48, i > 0 ? s->align : 0);
                delta_put64(p + 56, s->entry_size);
                buf_append(&out, p, sizeof(p));
        }
        uint8_t *h = (uint8_t *)out.data;
        delta_put16(h + 16, m->type);
        delta_put16(h + 18, m->machine);
        delta_put32(h + 20, 1);
        delta_put64(h + 40, headers);
        delta_put16(h + 52, 64);
        delta_put16(h + 54, 56);
        delta_put16(h + 58, 64);
        delta_put16(h + 60, (uint16_t)m->n);
        delta_put16(h + 62, (uint16_t)names);
        for (unsigned i = 0; i < m->n; i++)
                buf_done(&m->sections[i].bytes);
        return out;
}
