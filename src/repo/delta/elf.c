/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/elf.h"

#include <errno.h>
#include <string.h>

/* ---- One file */

static void decode_section(const uint8_t *p, struct delta_elf_section *ret) {
        *ret = (struct delta_elf_section){
                .name = delta_get32(p),
                .type = delta_get32(p + 4),
                .flags = delta_get64(p + 8),
                .address = delta_get64(p + 16),
                .offset = delta_get64(p + 24),
                .size = delta_get64(p + 32),
                .link = delta_get32(p + 40),
                .info = delta_get32(p + 44),
                .align = delta_get64(p + 48),
                .entry_size = delta_get64(p + 56),
        };
}

/* Sorts section numbers by a key; sections are few and nearly in order. */
static void sort_by(unsigned *items, unsigned n, const uint64_t *keys) {
        for (unsigned i = 1; i < n; i++) {
                unsigned item = items[i], j = i;
                for (; j > 0 && keys[items[j - 1]] > keys[item]; j--)
                        items[j] = items[j - 1];
                items[j] = item;
        }
}

static int parse(const struct delta_file *f, struct delta_elf *e) {
        uint8_t head[DELTA_ELF_HEADER_SIZE];
        static const uint8_t magic[] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
        if (f->length < DELTA_ELF_HEADER_SIZE)
                return -EBADMSG;
        int r = f->read(f->arg, 0, head, sizeof(head));
        if (r < 0)
                return r;
        if (memcmp(head, magic, sizeof(magic)) != 0 || delta_get16(head + 58) != DELTA_ELF_SECTION_SIZE)
                return -EBADMSG;
        e->length = f->length;
        e->type = delta_get16(head + 16);
        e->machine = delta_get16(head + 18);
        e->segments = delta_get64(head + 32);
        e->headers = delta_get64(head + 40);
        e->n_segments = delta_get16(head + 54) == DELTA_ELF_SEGMENT_SIZE ? delta_get16(head + 56) : 0;
        e->n = delta_get16(head + 60);
        e->names_index = delta_get16(head + 62);
        if (e->n == 0 || e->n > DELTA_ELF_SECTIONS_MAX || e->names_index >= e->n ||
            e->headers > (uint64_t)f->length ||
            (uint64_t)e->n * DELTA_ELF_SECTION_SIZE > (uint64_t)f->length - e->headers)
                return -EBADMSG;
        if (e->segments > (uint64_t)f->length ||
            (uint64_t)e->n_segments * DELTA_ELF_SEGMENT_SIZE > (uint64_t)f->length - e->segments)
                e->n_segments = 0;
        _cleanup_(x_freep) uint8_t *table = malloc((size_t)e->n * DELTA_ELF_SECTION_SIZE);
        _cleanup_(x_freep) uint64_t *keys = calloc(e->n, sizeof(*keys));
        e->sections = calloc(e->n, sizeof(*e->sections));
        e->by_offset = calloc(e->n, sizeof(*e->by_offset));
        if (!table || !keys || !e->sections || !e->by_offset)
                return -ENOMEM;
        r = f->read(f->arg, (int64_t)e->headers, table, (size_t)e->n * DELTA_ELF_SECTION_SIZE);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < e->n; i++) {
                struct delta_elf_section *s = &e->sections[i];
                decode_section(table + (size_t)i * DELTA_ELF_SECTION_SIZE, s);
                keys[i] = s->offset;
                if (!delta_elf_has_bytes(s))
                        continue;
                if (s->offset > (uint64_t)f->length || s->size > (uint64_t)f->length - s->offset)
                        return -EBADMSG;
                e->by_offset[e->n_by_offset++] = i;
        }
        sort_by(e->by_offset, e->n_by_offset, keys);
        const struct delta_elf_section *names = &e->sections[e->names_index];
        e->names_length = delta_elf_has_bytes(names) ? (size_t)names->size : 0;
        if (e->names_length > DELTA_ELF_NAMES_MAX)
                return -EBADMSG;
        e->names = calloc(1, e->names_length + 1);
        if (!e->names)
                return -ENOMEM;
        return e->names_length > 0 ? f->read(f->arg, (int64_t)names->offset, e->names, e->names_length) : 0;
}

int delta_elf_parse(const struct delta_file *f, struct delta_elf *ret) {
        struct delta_elf e = {0};
        int r = parse(f, &e);
        if (r < 0) {
                delta_elf_done(&e);
                return r;
        }
        *ret = e;
        return 0;
}

void delta_elf_done(struct delta_elf *e) {
        free(e->sections);
        free(e->by_offset);
        free(e->names);
        *e = (struct delta_elf){0};
}

const char *delta_elf_name(const struct delta_elf *e, unsigned section) {
        uint32_t at = e->sections[section].name;
        return at < e->names_length ? e->names + at : "";
}

unsigned delta_elf_sections_to(const struct delta_elf *e, uint64_t offset) {
        unsigned low = 0, high = e->n_by_offset;
        while (low < high) {
                unsigned middle = low + (high - low) / 2;
                if (e->sections[e->by_offset[middle]].offset <= offset)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int delta_elf_section_at(const struct delta_elf *e, uint64_t offset) {
        unsigned n = delta_elf_sections_to(e, offset);
        if (n == 0)
                return -1;
        const struct delta_elf_section *s = &e->sections[e->by_offset[n - 1]];
        return offset - s->offset < s->size ? (int)e->by_offset[n - 1] : -1;
}

/* ---- Two versions */

/* Once old and places are known: the indexes. */
static int finish_frame(struct delta_elf_frame *f) {
        unsigned most = MAX(f->n_new, f->old.n);
        _cleanup_(x_freep) uint64_t *keys = calloc(most + 1, sizeof(*keys));
        f->new_of_old = reallocarray(NULL, f->old.n, sizeof(*f->new_of_old));
        f->by_offset = calloc(f->n_new + 1, sizeof(*f->by_offset));
        f->by_address = calloc(f->old.n, sizeof(*f->by_address));
        f->straight = calloc(f->old.n, sizeof(*f->straight));
        if (!keys || !f->new_of_old || !f->by_offset || !f->by_address || !f->straight)
                return -ENOMEM;
        for (unsigned i = 0; i < f->old.n; i++)
                f->new_of_old[i] = -1;
        for (unsigned i = 0; i < f->n_new; i++) {
                const struct delta_elf_place *p = &f->places[i];
                if (p->old_index >= 0)
                        f->new_of_old[p->old_index] = (int)i;
                keys[i] = p->offset;
                if (p->size > 0 &&
                    (p->old_index < 0 || f->old.sections[p->old_index].type != DELTA_ELF_NOBITS))
                        f->by_offset[f->n_by_offset++] = i;
        }
        sort_by(f->by_offset, f->n_by_offset, keys);
        for (unsigned i = 0; i < f->old.n; i++) {
                const struct delta_elf_section *s = &f->old.sections[i];
                keys[i] = s->address;
                if (s->flags & DELTA_ELF_ALLOC && s->address != 0 && s->size > 0 &&
                    s->size <= UINT64_MAX - s->address)
                        f->by_address[f->n_by_address++] = i;
        }
        sort_by(f->by_address, f->n_by_address, keys);
        return 0;
}

/* For many projections through one map: its old offsets side by side, and by parts of the old file the pieces
 * that begin in each. */
struct delta_elf_index {
        int64_t *offsets, *ends; /* ends: the furthest of all pieces up to this */
        unsigned shift;
        size_t n_buckets;
        uint32_t *buckets; /* the first piece in each, and the end */
};

static struct delta_elf_index *index_free(struct delta_elf_index *x) {
        if (!x)
                return NULL;
        free(x->offsets);
        free(x->ends);
        free(x->buckets);
        free(x);
        return NULL;
}

void delta_elf_frame_done(struct delta_elf_frame *f) {
        delta_elf_done(&f->old);
        free(f->places);
        free(f->new_of_old);
        free(f->by_offset);
        free(f->by_address);
        free(f->straight);
        index_free(f->index);
        *f = (struct delta_elf_frame){0};
}

void delta_elf_frame_set_map(struct delta_elf_frame *f, const struct delta_map *map) {
        f->map = map;
        f->cursor = 0;
        memset(f->straight, 0, f->old.n * sizeof(*f->straight));
        f->index = index_free(f->index);
}

int delta_elf_frame_index_map(struct delta_elf_frame *f) {
        size_t n = f->map->n;
        struct delta_elf_index *x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        x->offsets = calloc(n + 1, sizeof(*x->offsets));
        x->ends = calloc(n + 1, sizeof(*x->ends));
        int64_t last = n > 0 ? f->map->by_new[f->map->by_old[n - 1]].old_offset : 0;
        while (last >> x->shift > (int64_t)(2 * n))
                x->shift++;
        x->n_buckets = (size_t)(last >> x->shift) + 1;
        x->buckets = calloc(x->n_buckets + 1, sizeof(*x->buckets));
        if (!x->offsets || !x->ends || !x->buckets) {
                index_free(x);
                return -ENOMEM;
        }
        int64_t end = 0;
        size_t bucket = 0;
        for (size_t i = 0; i < n; i++) {
                const struct delta_piece *p = &f->map->by_new[f->map->by_old[i]];
                end = MAX(end, p->old_offset + p->length);
                x->offsets[i] = p->old_offset;
                x->ends[i] = end;
                for (; bucket < (size_t)(p->old_offset >> x->shift); bucket++)
                        x->buckets[bucket + 1] = (uint32_t)i;
        }
        x->buckets[x->n_buckets] = (uint32_t)n;
        f->index = x;
        return 0;
}

static int match_sections(const struct delta_elf *new_elf, struct delta_elf_frame *f) {
        _cleanup_(x_freep) bool *taken = calloc(f->old.n, sizeof(*taken));
        f->n_new = new_elf->n;
        f->new_headers = new_elf->headers;
        f->places = calloc(f->n_new, sizeof(*f->places));
        if (!taken || !f->places)
                return -ENOMEM;
        unsigned next = 0;
        for (unsigned i = 0; i < new_elf->n; i++) {
                const struct delta_elf_section *s = &new_elf->sections[i];
                f->places[i] = (struct delta_elf_place){-1, s->offset, s->size, s->address};
                const char *name = delta_elf_name(new_elf, i);
                for (unsigned k = 0; k < f->old.n; k++) { /* begins where the last one was found */
                        unsigned j = (next + k) % f->old.n;
                        if (taken[j] || f->old.sections[j].type != s->type ||
                            strcmp(delta_elf_name(&f->old, j), name) != 0)
                                continue;
                        taken[j] = true;
                        f->places[i].old_index = (int)j;
                        next = j + 1;
                        break;
                }
        }
        return finish_frame(f);
}

int delta_elf_frame_match(const struct delta_file *old_file, const struct delta_elf *new_elf,
                          struct delta_elf_frame *ret) {
        struct delta_elf_frame f = {0};
        int r = delta_elf_parse(old_file, &f.old);
        if (r == 0)
                r = match_sections(new_elf, &f);
        if (r < 0) {
                delta_elf_frame_done(&f);
                return r;
        }
        *ret = f;
        return 0;
}

/* ---- The new outline in side information
 *
 * Sections are laid out one after the other, so most offsets follow from sizes. Both sides walk the old
 * sections by rising offset and guess; side information holds what differs from the guess. */

static uint64_t align_up(uint64_t v, uint64_t align) {
        return align > 1 && (align & (align - 1)) == 0 ? (v + align - 1) & ~(align - 1) : v;
}

/* Old sections in the order of their offsets, those without bytes included. */
static unsigned *layout_order(const struct delta_elf *e) {
        unsigned *order = calloc(e->n, sizeof(*order));
        _cleanup_(x_freep) uint64_t *keys = calloc(e->n, sizeof(*keys));
        if (!order || !keys) {
                free(order);
                return NULL;
        }
        for (unsigned i = 0; i < e->n; i++) {
                order[i] = i;
                keys[i] = e->sections[i].offset;
        }
        sort_by(order, e->n, keys);
        return order;
}

struct layout { /* where the walk is, in both versions */
        uint64_t old_end, new_end;
};

static struct delta_elf_place guess_place(const struct layout *l, const struct delta_elf_section *s) {
        struct delta_elf_place p = {.size = s->size};
        if (s->type == 0)
                return p;
        p.offset = s->offset == align_up(l->old_end, s->align) ? align_up(l->new_end, s->align)
                                                               : s->offset + (l->new_end - l->old_end);
        p.address = s->address != 0 ? s->address + (p.offset - s->offset) : 0;
        return p;
}

static void step_layout(struct layout *l, const struct delta_elf_section *s,
                        const struct delta_elf_place *p) {
        if (s->type == 0)
                return;
        bool bytes = s->type != DELTA_ELF_NOBITS;
        l->old_end = s->offset + (bytes ? s->size : 0);
        l->new_end = p->offset + (bytes ? p->size : 0);
}

static uint64_t guess_headers(const struct layout *l, const struct delta_elf *old) {
        return old->headers == align_up(l->old_end, 8) ? align_up(l->new_end, 8)
                                                       : old->headers + (l->new_end - l->old_end);
}

int delta_elf_frame_encode(const struct delta_elf_frame *f, struct buf *ret) {
        _cleanup_(x_freep) unsigned *order = layout_order(&f->old);
        if (!order)
                return -ENOMEM;
        delta_put_signed(ret, (int64_t)f->n_new - (int64_t)f->old.n);
        /* Which is which: runs of neighbours that stayed neighbours. */
        for (unsigned i = 0; i < f->n_new;) {
                unsigned n = 1;
                int begin = f->places[i].old_index;
                while (i + n < f->n_new && f->places[i + n].old_index == (begin < 0 ? -1 : begin + (int)n))
                        n++;
                delta_put_signed(ret, begin < 0 ? -1 : begin - (int)i);
                if (begin < 0)
                        delta_put_number(ret, 0);
                delta_put_number(ret, n);
                i += n;
        }
        struct layout l = {0};
        unsigned quiet = 0;
        for (unsigned k = 0; k < f->old.n; k++) {
                const struct delta_elf_section *s = &f->old.sections[order[k]];
                int at = f->new_of_old[order[k]];
                if (at < 0)
                        continue;
                const struct delta_elf_place *p = &f->places[at];
                struct delta_elf_place guess = guess_place(&l, s);
                guess.size = s->size;
                unsigned mask = (p->size != guess.size ? 1u : 0) | (p->offset != guess.offset ? 2u : 0) |
                                (p->address != guess.address && p->offset == guess.offset ? 4u : 0) |
                                (p->offset != guess.offset &&
                                                 p->address - guess.address != p->offset - guess.offset &&
                                                 !(guess.address == 0 && p->address == 0)
                                         ? 4u
                                         : 0);
                if (mask == 0) {
                        quiet++;
                } else {
                        delta_put_number(ret, (uint64_t)quiet << 3 | mask);
                        quiet = 0;
                        if (mask & 1)
                                delta_put_signed(ret, (int64_t)(p->size - guess.size));
                        if (mask & 2)
                                delta_put_signed(ret, (int64_t)(p->offset - guess.offset));
                        if (mask & 4)
                                delta_put_signed(ret, (int64_t)(p->address - guess.address));
                }
                step_layout(&l, s, p);
        }
        delta_put_number(ret, 0); /* no mask: the rest is as guessed */
        for (unsigned i = 0; i < f->n_new; i++)
                if (f->places[i].old_index < 0) {
                        delta_put_number(ret, f->places[i].offset);
                        delta_put_number(ret, f->places[i].size);
                        delta_put_number(ret, f->places[i].address);
                }
        delta_put_signed(ret, (int64_t)(f->new_headers - guess_headers(&l, &f->old)));
        return buf_failed(ret);
}

static int decode_frame(const struct delta_file *old_file, int64_t new_length, struct delta_reader *side,
                        struct delta_elf_frame *f) {
        int r = delta_elf_parse(old_file, &f->old);
        if (r < 0)
                return r;
        int64_t n = (int64_t)f->old.n + delta_get_signed(side);
        if (n < 1 || n > (int64_t)DELTA_ELF_SECTIONS_MAX)
                return -EBADMSG;
        f->n_new = (unsigned)n;
        f->places = calloc(f->n_new, sizeof(*f->places));
        _cleanup_(x_freep) unsigned *order = layout_order(&f->old);
        _cleanup_(x_freep) bool *taken = calloc(f->old.n, sizeof(*taken));
        if (!f->places || !order || !taken)
                return -ENOMEM;
        for (unsigned i = 0; i < f->n_new;) {
                int64_t shift = delta_get_signed(side);
                uint64_t count = delta_get_number(side);
                bool none = shift == -1 && count == 0; /* a run is never empty */
                if (none)
                        count = delta_get_number(side);
                if (side->failed || count == 0 || count > f->n_new - i)
                        return -EBADMSG;
                for (uint64_t k = 0; k < count; k++, i++) {
                        f->places[i].old_index = -1;
                        if (none)
                                continue;
                        if (shift < -(int64_t)i || shift >= (int64_t)f->old.n - (int64_t)i ||
                            taken[(int64_t)i + shift])
                                return -EBADMSG;
                        f->places[i].old_index = (int)((int64_t)i + shift);
                        taken[(int64_t)i + shift] = true;
                }
        }
        r = finish_frame(f); /* its order of new offsets is not yet right, new_of_old is */
        if (r < 0)
                return r;
        struct layout l = {0};
        uint64_t word = delta_get_number(side), quiet = word >> 3;
        for (unsigned k = 0; k < f->old.n; k++) {
                const struct delta_elf_section *s = &f->old.sections[order[k]];
                int at = f->new_of_old[order[k]];
                if (at < 0)
                        continue;
                struct delta_elf_place *p = &f->places[at], guess = guess_place(&l, s);
                guess.old_index = (int)order[k];
                if ((word & 7) != 0 && quiet-- == 0) {
                        if (word & 1)
                                guess.size += (uint64_t)delta_get_signed(side);
                        if (word & 2) {
                                uint64_t move = (uint64_t)delta_get_signed(side);
                                guess.offset += move;
                                if (guess.address != 0 && !(word & 4))
                                        guess.address += move;
                        }
                        if (word & 4)
                                guess.address += (uint64_t)delta_get_signed(side);
                        word = delta_get_number(side);
                        quiet = word >> 3;
                }
                *p = guess;
                step_layout(&l, s, p);
        }
        if ((word & 7) != 0)
                return -EBADMSG;
        for (unsigned i = 0; i < f->n_new; i++)
                if (f->places[i].old_index < 0) {
                        f->places[i].offset = delta_get_number(side);
                        f->places[i].size = delta_get_number(side);
                        f->places[i].address = delta_get_number(side);
                }
        f->new_headers = guess_headers(&l, &f->old) + (uint64_t)delta_get_signed(side);
        if (side->failed)
                return -EBADMSG;
        for (unsigned i = 0; i < f->n_new; i++) {
                const struct delta_elf_place *p = &f->places[i];
                bool bytes = p->old_index < 0 || delta_elf_has_bytes(&f->old.sections[p->old_index]);
                if (bytes && (p->offset > (uint64_t)new_length || p->size > (uint64_t)new_length - p->offset))
                        return -EBADMSG;
        }
        free(f->new_of_old);
        free(f->by_offset);
        free(f->by_address);
        free(f->straight);
        f->new_of_old = NULL;
        f->by_offset = f->by_address = NULL;
        f->straight = NULL;
        f->n_by_offset = f->n_by_address = 0;
        return finish_frame(f);
}

int delta_elf_frame_decode(const struct delta_file *old_file, int64_t new_length, struct delta_reader *side,
                           struct delta_elf_frame *ret) {
        struct delta_elf_frame f = {0};
        int r = decode_frame(old_file, new_length, side, &f);
        if (r < 0) {
                delta_elf_frame_done(&f);
                return r;
        }
        *ret = f;
        return 0;
}

unsigned delta_elf_frame_places_to(const struct delta_elf_frame *f, uint64_t new_offset) {
        unsigned low = 0, high = f->n_by_offset;
        while (low < high) {
                unsigned middle = low + (high - low) / 2;
                if (f->places[f->by_offset[middle]].offset <= new_offset)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int delta_elf_frame_place_at(const struct delta_elf_frame *f, uint64_t new_offset) {
        unsigned n = delta_elf_frame_places_to(f, new_offset);
        if (n == 0)
                return -1;
        const struct delta_elf_place *p = &f->places[f->by_offset[n - 1]];
        return new_offset - p->offset < p->size ? (int)f->by_offset[n - 1] : -1;
}

/* ---- Projections */

#define OVERLAPS_MAX 12u /* pieces before the nearest one that are looked at */

static const struct delta_piece *piece_by_old(const struct delta_map *m, size_t i) {
        return &m->by_new[m->by_old[i]];
}

static inline int64_t old_offset_of(const struct delta_elf_frame *f, size_t i) {
        return f->index ? f->index->offsets[i] : piece_by_old(f->map, i)->old_offset;
}

/* How many pieces begin at or before an old offset. */
static size_t pieces_to(struct delta_elf_frame *f, int64_t at) {
        size_t n = f->map->n, c = f->cursor, low = 0, high = n;
        if (f->index) {
                const struct delta_elf_index *x = f->index;
                if (at < 0 || n == 0)
                        return 0;
                size_t bucket = (size_t)(at >> x->shift);
                if (bucket >= x->n_buckets)
                        return n;
                low = x->buckets[bucket];
                high = x->buckets[bucket + 1];
                while (low < high) {
                        size_t middle = low + (high - low) / 2;
                        if (x->offsets[middle] <= at)
                                low = middle + 1;
                        else
                                high = middle;
                }
                return low;
        }
        if (c > 0 && c <= n && old_offset_of(f, c - 1) <= at) {
                if (c == n || old_offset_of(f, c) > at)
                        return c;
                low = c + 1;
                if (low == n || old_offset_of(f, low) > at)
                        return f->cursor = low;
        } else if (c > 0 && c <= n)
                high = c - 1;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (old_offset_of(f, middle) <= at)
                        low = middle + 1;
                else
                        high = middle;
        }
        return f->cursor = low;
}

/* Whether a piece, going on past its ends, leads from the old section to the new one. */
static bool leads_to(const struct delta_piece *p, const struct delta_elf_section *s,
                     const struct delta_elf_place *place, int64_t at, uint64_t *ret) {
        if (p->old_offset + p->length <= (int64_t)s->offset ||
            p->old_offset >= (int64_t)(s->offset + s->size))
                return false;
        int64_t to = p->new_offset + (at - p->old_offset);
        if (to < (int64_t)place->offset || to > (int64_t)(place->offset + place->size))
                return false;
        *ret = (uint64_t)to - place->offset;
        return true;
}

static const struct delta_elf_straight *straightness(struct delta_elf_frame *f, unsigned old_section) {
        struct delta_elf_straight *known = &f->straight[old_section];
        if (known->known)
                return known;
        known->known = true;
        const struct delta_elf_section *s = &f->old.sections[old_section];
        const struct delta_elf_place *place = &f->places[f->new_of_old[old_section]];
        size_t n = pieces_to(f, (int64_t)s->offset);
        if (n == 0)
                return known;
        const struct delta_piece *p = piece_by_old(f->map, n - 1);
        uint64_t begin;
        if (p->old_offset + p->length < (int64_t)(s->offset + s->size) ||
            (n < f->map->n && piece_by_old(f->map, n)->old_offset < (int64_t)(s->offset + s->size)) ||
            !leads_to(p, s, place, (int64_t)s->offset, &begin))
                return known;
        known->straight = true;
        known->shift = (int64_t)begin;
        return known;
}

uint64_t delta_elf_project(struct delta_elf_frame *f, unsigned old_section, uint64_t offset,
                           bool *ret_exact) {
        if (ret_exact)
                *ret_exact = false;
        int at = f->new_of_old[old_section];
        const struct delta_elf_section *s = &f->old.sections[old_section];
        if (at < 0 || !delta_elf_has_bytes(s) || offset > s->size)
                return offset;
        const struct delta_elf_place *place = &f->places[at];
        const struct delta_elf_straight *straight = straightness(f, old_section);
        if (straight->straight) {
                if (ret_exact)
                        *ret_exact = true;
                return offset == s->size ? place->size : offset + (uint64_t)straight->shift;
        }
        if (offset == s->size)
                return place->size;
        if (offset == 0) /* what names the beginning means the section, whatever stands there */
                return 0;
        int64_t x = (int64_t)(s->offset + offset);
        size_t n = pieces_to(f, x);
        const struct delta_piece *before = n > 0 ? piece_by_old(f->map, n - 1) : NULL;
        const struct delta_piece *after = n < f->map->n ? piece_by_old(f->map, n) : NULL;
        uint64_t by_before = 0, by_after = 0;
        bool before_leads = before && leads_to(before, s, place, x, &by_before);
        /* Old bytes may have been copied more than once: the longest piece tells best where they went. */
        int64_t longest = before_leads && x - before->old_offset < before->length ? before->length : 0;
        for (size_t i = n > 1 ? n - 1 : 0, tried = 0; i > 0 && tried < OVERLAPS_MAX; i--, tried++) {
                if (f->index && f->index->ends[i - 1] <= x)
                        break;
                const struct delta_piece *p = piece_by_old(f->map, i - 1);
                uint64_t to;
                if (p->length > longest && x - p->old_offset < p->length && leads_to(p, s, place, x, &to)) {
                        longest = p->length;
                        by_before = to;
                }
        }
        if (longest > 0) {
                if (ret_exact)
                        *ret_exact = true;
                return by_before;
        }
        bool after_leads = after && leads_to(after, s, place, x, &by_after);
        if (before_leads && after_leads) {
                int64_t past = x - (before->old_offset + before->length), ahead = after->old_offset - x;
                return past <= ahead ? by_before : by_after;
        }
        return before_leads ? by_before : after_leads ? by_after : offset;
}

int delta_elf_section_of_address(const struct delta_elf_frame *f, uint64_t address) {
        unsigned low = 0, high = f->n_by_address;
        while (low < high) {
                unsigned middle = low + (high - low) / 2;
                if (f->old.sections[f->by_address[middle]].address <= address)
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == 0)
                return -1;
        const struct delta_elf_section *s = &f->old.sections[f->by_address[low - 1]];
        /* The end of a section counts, where no other begins: what points there means the end. */
        return address - s->address <= s->size ? (int)f->by_address[low - 1] : -1;
}

uint64_t delta_elf_project_address(struct delta_elf_frame *f, uint64_t address) {
        int section = delta_elf_section_of_address(f, address);
        if (section < 0 || f->new_of_old[section] < 0)
                return address;
        uint64_t offset = address - f->old.sections[section].address;
        return f->places[f->new_of_old[section]].address +
               delta_elf_project(f, (unsigned)section, offset, NULL);
}

uint32_t delta_elf_project_symbol(struct delta_elf_frame *f, unsigned old_symbols, uint32_t index) {
        if ((uint64_t)index >= f->old.sections[old_symbols].size / DELTA_ELF_SYMBOL_SIZE)
                return index;
        return (uint32_t)(delta_elf_project(f, old_symbols, (uint64_t)index * DELTA_ELF_SYMBOL_SIZE, NULL) /
                          DELTA_ELF_SYMBOL_SIZE);
}
