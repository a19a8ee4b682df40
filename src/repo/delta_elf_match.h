/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of two versions of an ELF file by structure, for the publisher. */
#pragma once

#include "repo/delta_elf.h"
#include "repo/delta_match.h"

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
        uint32_t *by_old;
        struct delta_map map;
        bool *done; /* by new section */
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
/* Code as one token an instruction. */
int delta_elf_code_tokens(struct delta_elf_matcher *m, const struct delta_elf_version *v, unsigned section,
                          struct delta_elf_tokens *ret);
