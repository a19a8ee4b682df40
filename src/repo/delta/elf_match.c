/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/elf_match.h"

#include <errno.h>
#include <string.h>

#include "repo/delta/elf_predict.h"
#include "repo/delta/x86.h"

/* Gaps of the same length on both sides up to this are closed: a piece that goes on with differences costs
 * less than a new piece and a literal. */
#define GAP_CLOSED_MAX 64
/* Shorter pieces between two gaps cost more than they bring. */
#define PIECE_MIN 6
/* Tokens in a row that are worth a piece out of order. */
#define MOVED_MIN 4

/* ---- One version in memory */

static int memory_read(void *arg, int64_t offset, void *p, size_t n) {
        const struct delta_elf_version *v = arg;
        if (offset < 0 || offset > v->elf.length - (int64_t)n)
                return -EIO;
        memcpy(p, v->data + offset, n);
        return 0;
}

int delta_elf_version_open(const uint8_t *data, int64_t length, struct delta_file *file,
                           struct delta_elf_version *v) {
        v->data = data;
        v->elf.length = length; /* for memory_read() while parsing */
        *file = (struct delta_file){length, memory_read, v};
        struct delta_elf elf;
        int r = delta_elf_parse(file, &elf);
        if (r < 0)
                return r;
        v->elf = elf;
        v->rela_of = calloc(elf.n, sizeof(*v->rela_of));
        if (!v->rela_of)
                return -ENOMEM;
        for (unsigned i = 0; i < elf.n; i++) {
                const struct delta_elf_section *s = &elf.sections[i];
                if (s->type == DELTA_ELF_RELA && s->info < elf.n && s->info != 0 && delta_elf_has_bytes(s) &&
                    s->entry_size == DELTA_ELF_RELA_SIZE)
                        v->rela_of[s->info] = i;
                bool wanted = s->type == DELTA_ELF_SYMTAB || (s->type == DELTA_ELF_DYNSYM && !v->symbols);
                if (!wanted || !delta_elf_has_bytes(s) || s->link >= elf.n ||
                    !delta_elf_has_bytes(&elf.sections[s->link]))
                        continue;
                const struct delta_elf_section *names = &elf.sections[s->link];
                size_t n = (size_t)(s->size / DELTA_ELF_SYMBOL_SIZE);
                free(v->symbols); /* the full table tells more than the dynamic one */
                v->n_symbols = 0;
                v->symbols = calloc(n + 1, sizeof(*v->symbols));
                if (!v->symbols)
                        return -ENOMEM;
                bool ended = data[names->offset + names->size - 1] == 0;
                for (size_t k = 0; k < n; k++) {
                        const uint8_t *p = data + s->offset + k * DELTA_ELF_SYMBOL_SIZE;
                        uint32_t name = delta_get32(p);
                        v->symbols[k] = (struct delta_elf_symbol){
                                .name = ended && name < names->size
                                                ? (const char *)data + names->offset + name
                                                : "",
                                .value = delta_get64(p + 8),
                                .size = delta_get64(p + 16),
                                .section = delta_get16(p + 6),
                                .type = p[4] & 15,
                                .binding = p[4] >> 4};
                }
                v->n_symbols = n;
        }
        return 0;
}

void delta_elf_version_close(struct delta_elf_version *v) {
        delta_elf_done(&v->elf);
        free(v->symbols);
        free(v->rela_of);
}

static void matcher_done(struct delta_elf_matcher *m) {
        delta_elf_version_close(&m->old_version);
        delta_elf_version_close(&m->new_version);
        delta_elf_frame_done(&m->frame);
        delta_pieces_done(&m->pieces);
        free(m->by_old);
        free(m->mapped);
        free(m->done);
        buf_done(&m->btf_side);
}

/* ---- The map so far */

static int compare_old(const void *a, const void *b, void *arg) {
        const struct delta_piece *items = arg;
        int64_t x = items[*(const uint32_t *)a].old_offset, y = items[*(const uint32_t *)b].old_offset;
        return x != y ? (x < y ? -1 : 1) : *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

static int refresh_map(struct delta_elf_matcher *m) {
        delta_pieces_sort(&m->pieces);
        free(m->by_old);
        free(m->mapped);
        m->by_old = reallocarray(NULL, m->pieces.n + 1, sizeof(*m->by_old));
        m->mapped = reallocarray(NULL, m->pieces.n + 1, sizeof(*m->mapped));
        if (!m->by_old || !m->mapped)
                return -ENOMEM;
        if (m->pieces.n > 0)
                memcpy(m->mapped, m->pieces.items, m->pieces.n * sizeof(*m->mapped));
        for (size_t i = 0; i < m->pieces.n; i++)
                m->by_old[i] = (uint32_t)i;
        qsort_r(m->by_old, m->pieces.n, sizeof(*m->by_old), compare_old, m->mapped);
        m->map = (struct delta_map){m->mapped, m->by_old, m->pieces.n};
        delta_elf_frame_set_map(&m->frame, &m->map);
        return 0;
}

/* ---- Pieces of sections */

/* Pieces of runs of tokens, as offsets within the sections. Gaps of one length are closed; what stays too
 * short is dropped. */
static int runs_to_pieces(const struct delta_elf_tokens *o, uint64_t old_size,
                          const struct delta_elf_tokens *w, uint64_t new_size,
                          const struct delta_pieces *runs, unsigned least, struct delta_pieces *ret) {
        struct delta_piece last = {0};
        int r = 0;
        for (size_t i = 0; i < runs->n && r == 0; i++) {
                size_t a = (size_t)runs->items[i].old_offset, b = (size_t)runs->items[i].new_offset;
                size_t n = (size_t)runs->items[i].length;
                int64_t old_at = (int64_t)o->offsets[a], new_at = (int64_t)w->offsets[b];
                int64_t old_end = (int64_t)(a + n < o->n ? o->offsets[a + n] : old_size);
                int64_t new_end = (int64_t)(b + n < w->n ? w->offsets[b + n] : new_size);
                int64_t length = MIN(old_end - old_at, new_end - new_at);
                int64_t old_gap = old_at - (last.old_offset + last.length);
                int64_t new_gap = new_at - (last.new_offset + last.length);
                if (last.length > 0 && old_gap == new_gap && new_gap <= GAP_CLOSED_MAX) {
                        last.length += new_gap + length;
                        continue;
                }
                if (last.length >= (int64_t)least)
                        r = delta_pieces_add(ret, last.old_offset, last.new_offset, last.length);
                last = (struct delta_piece){old_at, new_at, length};
        }
        if (r == 0 && last.length >= (int64_t)least)
                r = delta_pieces_add(ret, last.old_offset, last.new_offset, last.length);
        return r;
}

/* Adds pieces of a pair of sections to those of the files. */
static int put_pieces(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section,
                      const struct delta_pieces *pieces) {
        for (size_t i = 0; i < pieces->n; i++) {
                const struct delta_piece *p = &pieces->items[i];
                int r = delta_pieces_add(
                        &m->pieces, p->old_offset + (int64_t)m->old_version.elf.sections[old_section].offset,
                        p->new_offset + (int64_t)m->new_version.elf.sections[new_section].offset, p->length);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Where a whole function was put in or left out, its first instructions are often its neighbour's too, and
 * the gap may stand a little further on. References to the neighbour are right only if the gap ends where the
 * neighbour begins, and functions begin at multiples of 16. */
static void settle_gaps(const struct delta_elf_tokens *o, const struct delta_elf_tokens *w,
                        struct delta_pieces *runs) {
        for (size_t i = 1; i < runs->n; i++) {
                struct delta_piece *a = &runs->items[i - 1], *b = &runs->items[i];
                bool put_in = a->old_offset + a->length == b->old_offset;
                bool left_out = a->new_offset + a->length == b->new_offset;
                if (put_in == left_out)
                        continue;
                for (int64_t k = 0; k < a->length; k++) {
                        int64_t old_at = b->old_offset - k, new_at = b->new_offset - k;
                        if (o->offsets[old_at] % 16 == 0 && w->offsets[new_at] % 16 == 0) {
                                a->length -= k;
                                b->old_offset -= k;
                                b->new_offset -= k;
                                b->length += k;
                                break;
                        }
                        if (old_at == 0 || new_at == 0 || o->tokens[old_at - 1] != w->tokens[new_at - 1])
                                break;
                }
        }
}

static int align_tokens(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section,
                        const struct delta_elf_tokens *o, const struct delta_elf_tokens *w,
                        enum delta_elf_order order, unsigned least, struct delta_pieces *ret_runs,
                        struct delta_pieces *ret_pieces) {
        int r = 0;
        if (order == DELTA_ELF_KEPT)
                r = delta_match_tokens(o->tokens, o->n, w->tokens, w->n, ret_runs);
        if (r == 0)
                r = delta_match_moved_tokens(o->tokens, o->n, w->tokens, w->n,
                                             order == DELTA_ELF_KEPT ? MOVED_MIN : 3, ret_runs);
        if (r == 0 && order == DELTA_ELF_MIXED)
                r = delta_match_gap_tokens(o->tokens, o->n, w->tokens, w->n, ret_runs);
        if (r == 0 && m->old_version.elf.sections[old_section].flags & DELTA_ELF_EXEC)
                settle_gaps(o, w, ret_runs);
        return r < 0 ? r
                     : runs_to_pieces(o, m->old_version.elf.sections[old_section].size, w,
                                      m->new_version.elf.sections[new_section].size, ret_runs, least,
                                      ret_pieces);
}

/* About what pieces cost: themselves, and what they leave out. */
static int64_t cost_of(const struct delta_pieces *pieces, uint64_t size) {
        int64_t covered = 0;
        for (size_t i = 0; i < pieces->n; i++)
                covered += pieces->items[i].length;
        return (int64_t)size - covered + 5 * (int64_t)pieces->n;
}

int delta_elf_match_by_tokens(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section,
                              const struct delta_elf_tokens *o, const struct delta_elf_tokens *w,
                              enum delta_elf_order order, unsigned least, struct delta_pieces *ret_runs) {
        struct delta_pieces runs[2] = {{0}}, pieces[2] = {{0}};
        unsigned best = 0;
        int r = align_tokens(m, old_section, new_section, o, w,
                             order == DELTA_ELF_MIXED ? order : DELTA_ELF_KEPT, least, &runs[0], &pieces[0]);
        if (r == 0 && order == DELTA_ELF_EITHER && pieces[0].n > 50) {
                uint64_t size = m->new_version.elf.sections[new_section].size;
                r = align_tokens(m, old_section, new_section, o, w, DELTA_ELF_MIXED, least, &runs[1],
                                 &pieces[1]);
                best = r == 0 && cost_of(&pieces[1], size) < cost_of(&pieces[0], size);
        }
        if (r == 0)
                r = put_pieces(m, old_section, new_section, &pieces[best]);
        if (ret_runs && r == 0) {
                *ret_runs = runs[best];
                runs[best] = (struct delta_pieces){0};
        }
        for (unsigned i = 0; i < 2; i++) {
                delta_pieces_done(&runs[i]);
                delta_pieces_done(&pieces[i]);
        }
        return r;
}

enum how { BY_STRINGS, BY_SYMBOLS, BY_CODE, BY_RECORDS, BY_BYTES, BY_RELAS, BY_BTF, BY_LINKED };

/* Tables of the kernel whose records are known; others are found by their relocations' stride. */
static const struct {
        const char *name;
        uint8_t size;
} known_records[] = {
        {".orc_unwind_ip", 4},     {".orc_unwind", 6},        {".return_sites", 4},
        {".retpoline_sites", 4},   {".call_sites", 4},        {"__mcount_loc", 8},
        {".smp_locks", 4},         {"__bug_table", 12},       {"__jump_table", 16},
        {".static_call_sites", 8}, {"__tracepoints_ptrs", 4}, {"_ftrace_events", 8},
        {"__ex_table", 12},        {"__ksymtab", 12},         {"__ksymtab_gpl", 12},
        {"__versions", 64},        {"__kcrctab", 4},          {"__kcrctab_gpl", 4},
        {".altinstructions", 12},  {".ibt_endbr_seal", 4},    {".parainstructions", 16},
        {".gnu.version", 2},       {".rela.dyn", 24},         {".rela.plt", 24},
        {".init_array", 8},
};

static unsigned record_size(const struct delta_elf_version *v, unsigned section) {
        const char *name = delta_elf_name(&v->elf, section);
        for (size_t i = 0; i < ARRAY_SIZE(known_records); i++)
                if (strcmp(known_records[i].name, name) == 0)
                        return known_records[i].size;
        return 0;
}

static enum how how_to_match(const struct delta_elf_version *v, unsigned section) {
        const struct delta_elf_section *s = &v->elf.sections[section];
        if (s->type == DELTA_ELF_STRTAB || (s->flags & 0x20 && s->entry_size == 1) ||
            strcmp(delta_elf_name(&v->elf, section), ".modinfo") == 0)
                return BY_STRINGS;
        if ((s->type == DELTA_ELF_SYMTAB || s->type == DELTA_ELF_DYNSYM) &&
            s->entry_size == DELTA_ELF_SYMBOL_SIZE)
                return BY_SYMBOLS;
        if (s->type == DELTA_ELF_RELA && v->elf.type == DELTA_ELF_RELOCATABLE &&
            s->entry_size == DELTA_ELF_RELA_SIZE)
                return BY_RELAS;
        if (s->flags & DELTA_ELF_EXEC)
                return BY_CODE;
        if (strcmp(delta_elf_name(&v->elf, section), ".BTF") == 0)
                return BY_BTF;
        if (delta_elf_is_linked_table(v, section))
                return BY_LINKED;
        return record_size(v, section) > 0 ? BY_RECORDS : BY_BYTES;
}

static int match_strings_symbols_code(struct delta_elf_matcher *m, unsigned o, unsigned w, enum how how) {
        struct delta_elf_tokens old_tokens = {0}, new_tokens = {0};
        int r = 0;
        switch (how) {
        case BY_STRINGS:
                r = delta_elf_string_tokens(&m->old_version, o, &old_tokens);
                if (r == 0)
                        r = delta_elf_string_tokens(&m->new_version, w, &new_tokens);
                break;
        case BY_SYMBOLS:
                r = delta_elf_symbol_tokens(&m->old_version, o, &old_tokens);
                if (r == 0)
                        r = delta_elf_symbol_tokens(&m->new_version, w, &new_tokens);
                break;
        default:
                r = delta_elf_code_tokens(m, &m->old_version, o, &old_tokens);
                if (r == 0)
                        r = delta_elf_code_tokens(m, &m->new_version, w, &new_tokens);
                break;
        }
        if (r == 0)
                r = delta_elf_match_by_tokens(m, o, w, &old_tokens, &new_tokens, DELTA_ELF_KEPT, PIECE_MIN,
                                              NULL);
        delta_elf_tokens_done(&old_tokens);
        delta_elf_tokens_done(&new_tokens);
        return r;
}

/* A table beside another with a record for each of its records: goes the way of its neighbour. */
static int match_beside(struct delta_elf_matcher *m, const char *name, unsigned size,
                        const struct delta_pieces *runs) {
        for (unsigned i = 0; i < m->frame.n_new; i++) {
                int o = m->frame.places[i].old_index;
                if (o < 0 || m->done[i] || strcmp(delta_elf_name(&m->new_version.elf, i), name) != 0)
                        continue;
                m->done[i] = true;
                struct delta_pieces pieces = {0};
                int r = 0;
                int64_t old_size = (int64_t)m->old_version.elf.sections[o].size;
                int64_t new_size = (int64_t)m->new_version.elf.sections[i].size;
                struct delta_piece last = {0};
                for (size_t k = 0; k <= runs->n && r == 0; k++) {
                        struct delta_piece p = {0};
                        if (k < runs->n) {
                                p = runs->items[k];
                                p.old_offset *= size;
                                p.new_offset *= size;
                                p.length *= size;
                                if (p.old_offset + p.length > old_size || p.new_offset + p.length > new_size)
                                        continue;
                                int64_t gap = p.new_offset - (last.new_offset + last.length);
                                if (last.length > 0 &&
                                    gap == p.old_offset - (last.old_offset + last.length) &&
                                    gap <= GAP_CLOSED_MAX) {
                                        last.length += gap + p.length;
                                        continue;
                                }
                        }
                        r = delta_pieces_add(&pieces, last.old_offset, last.new_offset, last.length);
                        last = p;
                }
                if (r == 0)
                        r = put_pieces(m, (unsigned)o, i, &pieces);
                delta_pieces_done(&pieces);
                return r;
        }
        return 0;
}

static int match_data(struct delta_elf_matcher *m, unsigned o, unsigned w, enum how how) {
        const struct delta_elf_section *old_section = &m->old_version.elf.sections[o];
        const struct delta_elf_section *new_section = &m->new_version.elf.sections[w];
        _cleanup_(x_freep) uint8_t *old_meaning = delta_elf_meaning_of(m, &m->old_version, o);
        _cleanup_(x_freep) uint8_t *new_meaning = delta_elf_meaning_of(m, &m->new_version, w);
        if (!old_meaning || !new_meaning)
                return -ENOMEM;
        if (how == BY_BYTES)
                return delta_match_bytes(old_meaning, (size_t)old_section->size, new_meaning,
                                         (size_t)new_section->size, (int64_t)old_section->offset,
                                         (int64_t)new_section->offset, &m->pieces);
        struct delta_elf_tokens old_tokens = {0}, new_tokens = {0};
        struct delta_pieces runs = {0};
        unsigned size = record_size(&m->new_version, w);
        unsigned skip = size == 64 ? 8
                        : strncmp(delta_elf_name(&m->new_version.elf, w), "__kcrctab", 9) == 0
                                ? 4
                                : 0; /* checksums of symbols, before their names */
        int r = delta_elf_record_tokens(old_meaning, old_section->size, size, skip, &old_tokens);
        if (r == 0)
                r = delta_elf_record_tokens(new_meaning, new_section->size, size, skip, &new_tokens);
        if (r == 0)
                r = delta_elf_match_by_tokens(m, o, w, &old_tokens, &new_tokens, DELTA_ELF_KEPT, 1, &runs);
        if (r == 0 && strcmp(delta_elf_name(&m->new_version.elf, w), ".orc_unwind_ip") == 0)
                r = match_beside(m, ".orc_unwind", 6, &runs);
        delta_pieces_done(&runs);
        delta_elf_tokens_done(&old_tokens);
        delta_elf_tokens_done(&new_tokens);
        return r;
}

struct place_index { /* a relocation of the new version by its place */
        uint64_t place;
        uint32_t index;
};

static int compare_places(const void *a, const void *b) {
        const struct place_index *x = a, *y = b;
        return x->place != y->place ? (x->place < y->place ? -1 : 1) : x->index < y->index ? -1 : 1;
}

/* Relocations of places that were matched with each other. */
static int match_relas(struct delta_elf_matcher *m, unsigned o, unsigned w) {
        const struct delta_elf_section *s = &m->old_version.elf.sections[o];
        size_t n_old = (size_t)(s->size / DELTA_ELF_RELA_SIZE);
        size_t n_new = (size_t)(m->new_version.elf.sections[w].size / DELTA_ELF_RELA_SIZE);
        const uint8_t *old_relas = delta_elf_bytes_of(&m->old_version, o),
                      *new_relas = delta_elf_bytes_of(&m->new_version, w);
        if (s->info >= m->old_version.elf.n)
                return 0;
        _cleanup_(x_freep) struct place_index *index = calloc(n_new + 1, sizeof(*index));
        if (!index)
                return -ENOMEM;
        bool sorted = true;
        for (size_t i = 0; i < n_new; i++) {
                index[i] =
                        (struct place_index){delta_get64(new_relas + i * DELTA_ELF_RELA_SIZE), (uint32_t)i};
                sorted = sorted && (i == 0 || index[i - 1].place <= index[i].place);
        }
        if (!sorted)
                qsort(index, n_new, sizeof(*index), compare_places);
        struct delta_pieces runs = {0}, pieces = {0};
        int r = 0;
        size_t cursor = 0;
        for (size_t i = 0; i < n_old && r == 0; i++) {
                bool exact;
                uint64_t place = delta_elf_project(&m->frame, s->info,
                                                   delta_get64(old_relas + i * DELTA_ELF_RELA_SIZE), &exact);
                if (!exact)
                        continue;
                if (cursor >= n_new || index[cursor].place != place) {
                        size_t low = 0, high = n_new;
                        while (low < high) {
                                size_t middle = low + (high - low) / 2;
                                if (index[middle].place < place)
                                        low = middle + 1;
                                else
                                        high = middle;
                        }
                        cursor = low;
                }
                if (cursor < n_new && index[cursor].place == place) {
                        r = delta_pieces_add(&runs, (int64_t)i * DELTA_ELF_RELA_SIZE,
                                             (int64_t)index[cursor].index * DELTA_ELF_RELA_SIZE,
                                             DELTA_ELF_RELA_SIZE);
                        cursor++;
                }
        }
        /* Gaps of the same length on both sides are closed here too. */
        if (r == 0)
                delta_pieces_sort(&runs);
        struct delta_piece last = {0};
        for (size_t i = 0; i <= runs.n && r == 0; i++) {
                struct delta_piece p = i < runs.n ? runs.items[i] : (struct delta_piece){0};
                int64_t gap = p.new_offset - (last.new_offset + last.length);
                if (i < runs.n && last.length > 0 && gap == p.old_offset - (last.old_offset + last.length) &&
                    gap <= 10 * DELTA_ELF_RELA_SIZE) {
                        last.length += gap + p.length;
                        continue;
                }
                r = delta_pieces_add(&pieces, last.old_offset, last.new_offset, last.length);
                last = p;
        }
        if (r == 0)
                r = put_pieces(m, o, w, &pieces);
        delta_pieces_done(&runs);
        delta_pieces_done(&pieces);
        return r;
}

/* ---- The whole */

static int match_sections_as(struct delta_elf_matcher *m, enum how how) {
        int r = 0;
        for (unsigned w = 0; w < m->frame.n_new && r == 0; w++) {
                int o = m->frame.places[w].old_index;
                if (o < 0 || m->done[w] || !delta_elf_has_bytes(&m->new_version.elf.sections[w]) ||
                    !delta_elf_has_bytes(&m->old_version.elf.sections[o]) ||
                    how_to_match(&m->new_version, w) != how)
                        continue;
                m->done[w] = true;
                const struct delta_elf_section *old_section = &m->old_version.elf.sections[o];
                const struct delta_elf_section *new_section = &m->new_version.elf.sections[w];
                if (how == BY_BTF) {
                        r = delta_elf_match_btf(m, (unsigned)o, w);
                        if (r == -EBADMSG)
                                r = match_data(m, (unsigned)o, w, BY_BYTES);
                } else if (how == BY_LINKED) {
                        r = delta_elf_match_linked(m, (unsigned)o, w);
                } else if (old_section->size == new_section->size && how != BY_RECORDS && how != BY_RELAS &&
                           memcmp(delta_elf_bytes_of(&m->old_version, (unsigned)o),
                                  delta_elf_bytes_of(&m->new_version, w), (size_t)old_section->size) == 0)
                        r = delta_pieces_add(&m->pieces, (int64_t)old_section->offset,
                                             (int64_t)new_section->offset, (int64_t)new_section->size);
                else if (how == BY_RELAS)
                        r = match_relas(m, (unsigned)o, w);
                else if (how == BY_RECORDS || how == BY_BYTES)
                        r = match_data(m, (unsigned)o, w, how);
                else
                        r = match_strings_symbols_code(m, (unsigned)o, w, how);
        }
        return r < 0 ? r : refresh_map(m);
}

/* What lies outside of sections: headers, padding, what is appended. */
static int match_rest(struct delta_elf_matcher *m) {
        const struct delta_elf *o = &m->old_version.elf, *w = &m->new_version.elf;
        int r = delta_pieces_add(&m->pieces, 0, 0, DELTA_ELF_HEADER_SIZE);
        if (r == 0 && o->n_segments > 0 && w->n_segments > 0 && o->segments == w->segments)
                r = delta_pieces_add(&m->pieces, (int64_t)o->segments, (int64_t)w->segments,
                                     (int64_t)MIN(o->n_segments, w->n_segments) * DELTA_ELF_SEGMENT_SIZE);
        for (unsigned i = 0; i < w->n && r == 0; i++)
                if (m->frame.places[i].old_index >= 0)
                        r = delta_pieces_add(&m->pieces,
                                             (int64_t)o->headers +
                                                     m->frame.places[i].old_index * DELTA_ELF_SECTION_SIZE,
                                             (int64_t)w->headers + (int64_t)i * DELTA_ELF_SECTION_SIZE,
                                             DELTA_ELF_SECTION_SIZE);
        if (r < 0)
                return r;
        /* The tail behind the section headers, from its end: all but its middle is the same every time. */
        int64_t old_tail = (int64_t)(o->headers + (uint64_t)o->n * DELTA_ELF_SECTION_SIZE);
        int64_t new_tail = (int64_t)(w->headers + (uint64_t)w->n * DELTA_ELF_SECTION_SIZE);
        int64_t n = MIN(o->length - old_tail, w->length - new_tail);
        int64_t run = 0;
        for (int64_t i = n; i >= 0 && r == 0; i--) {
                if (i > 0 && m->pair->old_data[o->length - i] == m->pair->new_data[w->length - i]) {
                        run++;
                        continue;
                }
                if (run >= 8)
                        r = delta_pieces_add(&m->pieces, o->length - i - run, w->length - i - run, run);
                run = 0;
        }
        return r;
}

/* Small gaps between pieces that hold the same bytes on both sides (padding) join them. */
static int close_padding(struct delta_elf_matcher *m) {
        delta_pieces_sort(&m->pieces);
        struct delta_pieces joined = {0};
        int r = 0;
        for (size_t i = 0; i < m->pieces.n && r == 0; i++) {
                struct delta_piece p = m->pieces.items[i];
                if (joined.n > 0) {
                        struct delta_piece *last = &joined.items[joined.n - 1];
                        int64_t old_end = last->old_offset + last->length;
                        int64_t new_end = last->new_offset + last->length, gap = p.new_offset - new_end;
                        /* on from the piece before as long as bytes are equal */
                        int64_t n = 0;
                        while (n < gap && old_end + n < m->pair->old_length &&
                               m->pair->old_data[old_end + n] == m->pair->new_data[new_end + n])
                                n++;
                        if (gap <= 64 || n < gap)
                                last->length += n <= 64 ? n : 0;
                }
                r = delta_pieces_add(&joined, p.old_offset, p.new_offset, p.length);
        }
        delta_pieces_done(&m->pieces);
        m->pieces = joined;
        return r;
}

/* Files may be formed so that the node would refuse what is said of them: better found out here. */
static int try_predictor(struct delta_elf_matcher *m, const struct buf *side) {
        struct delta_predictor *p = NULL;
        int r = delta_predictor_new(DELTA_PREDICT_ELF, &m->old_file, m->pair->new_length, &m->map, side->data,
                                    side->len, NULL, &p, NULL);
        delta_predictor_free(p);
        return r;
}

static int match_all(struct delta_elf_matcher *m, struct buf *side) {
        int r = delta_elf_version_open(m->pair->old_data, m->pair->old_length, &m->old_file, &m->old_version);
        if (r == 0)
                r = delta_elf_version_open(m->pair->new_data, m->pair->new_length, &m->new_file,
                                           &m->new_version);
        if (r < 0)
                return r;
        if (m->old_version.elf.machine != m->new_version.elf.machine ||
            m->old_version.elf.type != m->new_version.elf.type)
                return -EBADMSG;
        r = delta_elf_frame_match(&m->old_file, &m->new_version.elf, &m->frame);
        if (r < 0)
                return r;
        m->done = calloc(m->frame.n_new, sizeof(*m->done));
        if (!m->done)
                return -ENOMEM;
        r = refresh_map(m);
        static const enum how order[] = {BY_STRINGS, BY_CODE,  BY_SYMBOLS, BY_BTF,
                                         BY_RECORDS, BY_BYTES, BY_RELAS,   BY_LINKED};
        for (size_t i = 0; i < ARRAY_SIZE(order) && r == 0; i++)
                r = match_sections_as(m, order[i]);
        if (r == 0)
                r = match_rest(m);
        if (r == 0)
                r = close_padding(m);
        if (r == 0)
                r = delta_elf_frame_encode(&m->frame, side);
        if (r < 0)
                return r;
        bool linked = m->old_version.elf.type != DELTA_ELF_RELOCATABLE;
        delta_put_number(side, (m->has_btf ? 1u : 0) | (linked ? 2u : 0));
        r = buf_append(side, m->btf_side.data, m->btf_side.len);
        if (r == 0 && linked) {
                r = refresh_map(m);
                if (r == 0)
                        r = delta_elf_choose_rules(m, side);
        }
        return r < 0 ? r : try_predictor(m, side);
}

int delta_elf_match(const struct delta_pair *pair, struct delta_pieces *ret, struct buf *ret_side) {
        struct delta_elf_matcher m = {.pair = pair};
        _cleanup_(buf_done) struct buf side = BUF_INIT;
        int r = match_all(&m, &side);
        if (r == 0) {
                *ret = m.pieces;
                m.pieces = (struct delta_pieces){0};
                *ret_side = side;
                side = (struct buf)BUF_INIT;
        }
        matcher_done(&m);
        return r;
}
