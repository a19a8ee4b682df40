/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of two versions of an ELF file by structure, for the publisher. */
#pragma once

#include "repo/delta/btf.h"
#include "repo/delta/elf.h"
#include "repo/delta/match.h"

/* Pieces and side information for the ELF predictor. -EBADMSG: one of the two is no ELF file that is
 * understood here, or they are too unlike; nothing is returned. */
int delta_elf_match(const struct delta_pair *pair, struct delta_pieces *ret, struct buf *ret_side);

/* ---- For its parts */

struct delta_elf_symbol {
        const char *name;
        uint64_t value, size;
        uint16_t section;
        uint8_t type, binding;
};
struct delta_elf_version { /* one version in memory */
        const uint8_t *data;
        struct delta_elf elf;
        struct delta_elf_symbol *symbols;
        size_t n_symbols;
        unsigned *rela_of; /* by section: the section of its relocations, 0 for none */
};
struct delta_elf_matcher {
        const struct delta_pair *pair;
        struct delta_file old_file, new_file;
        struct delta_elf_version old_version, new_version;
        struct delta_elf_frame frame;
        struct delta_pieces pieces;
        struct delta_piece *mapped; /* those of the map: `pieces` grows on */
        uint32_t *by_old;
        struct delta_map map;
        bool *done; /* by new section */
        bool has_btf;
        struct buf btf_side;
};
struct delta_elf_tokens {
        uint64_t *tokens;
        uint64_t *offsets; /* one more than tokens: where each begins, and the end */
        size_t n, capacity;
};
void delta_elf_tokens_done(struct delta_elf_tokens *t);
int delta_elf_tokens_add(struct delta_elf_tokens *t, uint64_t token, uint64_t offset);

uint64_t delta_elf_hash(const void *p, size_t n, uint64_t seed);
/* What a relocation names, the same in both versions where it means the same: projected says that a target
 * in an old section is told by where it went. */
uint64_t delta_elf_rela_identity(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                                 unsigned section, const uint8_t *rela);
static inline const uint8_t *delta_elf_bytes_of(const struct delta_elf_version *v, unsigned section) {
        return v->data + v->elf.sections[section].offset;
}
/* Tokens of a section: a string each, a symbol each (told by its name). */
int delta_elf_string_tokens(const struct delta_elf_version *v, unsigned section,
                            struct delta_elf_tokens *ret);
int delta_elf_symbol_tokens(const struct delta_elf_version *v, unsigned section,
                            struct delta_elf_tokens *ret);
/* A copy of a section's bytes with what its relocations mean written over their places: equal where the
 * meaning is. NULL: no memory. */
uint8_t *delta_elf_meaning_of(struct delta_elf_matcher *m, const struct delta_elf_version *v,
                              unsigned section);
/* Records of one size; those whose beginning may be anything are told by what follows `skip` bytes of it. */
int delta_elf_record_tokens(const uint8_t *data, uint64_t size, unsigned record, unsigned skip,
                            struct delta_elf_tokens *ret);
/* Code as one token an instruction. */
int delta_elf_code_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                          struct delta_elf_tokens *ret);
enum delta_elf_order {                   /* what is known of the order of tokens */
                       DELTA_ELF_KEPT,   /* stays the same; only what is left over is looked for elsewhere */
                       DELTA_ELF_MIXED,  /* blocks change places */
                       DELTA_ELF_EITHER, /* both are tried */
};
/* Aligns tokens and adds the pieces that come of it to the matcher's; what is shorter than `least` bytes is
 * left out. ret_runs may be NULL. */
int delta_elf_match_by_tokens(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section,
                              const struct delta_elf_tokens *o, const struct delta_elf_tokens *w,
                              enum delta_elf_order order, unsigned least, struct delta_pieces *ret_runs);

struct delta_elf_btf_view { /* a BTF section in memory */
        const uint8_t *data, *types;
        const char *strings;
        size_t size;
        struct delta_btf btf;
        uint32_t base_strings, n_types;
        uint32_t base_types, base_votes; /* guessed, and by how many */
};
int delta_elf_btf_open(const struct delta_elf_version *v, unsigned section, struct delta_elf_btf_view *ret);
/* A name of the module's own; NULL for the kernel's. */
const char *delta_elf_btf_name(const struct delta_elf_btf_view *b, uint32_t name);
/* -EBADMSG: not understood, nothing was added. */
int delta_elf_match_btf(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section);
int delta_elf_version_open(const uint8_t *data, int64_t length, struct delta_file *file,
                           struct delta_elf_version *ret);
void delta_elf_version_close(struct delta_elf_version *v);

/* Linked files: tables whose records are told by what they refer to. */
bool delta_elf_is_linked_table(const struct delta_elf_version *v, unsigned section);
int delta_elf_match_linked(struct delta_elf_matcher *m, unsigned old_section, unsigned new_section);
/* In a copy of a writable section's bytes, words that look like addresses become the section they lead to. */
void delta_elf_hide_addresses(const struct delta_elf_version *v, unsigned section, uint8_t *copy);
/* Tries the rules that are open to choice and appends the best ones to the side information. */
int delta_elf_choose_rules(struct delta_elf_matcher *m, struct buf *side);
