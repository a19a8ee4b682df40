/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF predictor's insides, for its parts. */
#pragma once

#include "repo/delta/elf.h"

#define DELTA_ELF_SYMBOLS_MAX (1u << 20)
#define DELTA_ELF_WINDOW (64u << 10)

enum delta_elf_rule {
        DELTA_ELF_RULE_BYTES,
        DELTA_ELF_RULE_RELA,
        DELTA_ELF_RULE_SYMBOLS,
        DELTA_ELF_RULE_X86,
        DELTA_ELF_RULE_ARM64,
        DELTA_ELF_RULE_VERSIONS,
        DELTA_ELF_RULE_CHECKSUMS,
        DELTA_ELF_RULE_BTF,
        DELTA_ELF_RULE_UNWIND,
        DELTA_ELF_RULE_UNWIND_INDEX,
        /* What the publisher tries on data of linked files, and tells. */
        DELTA_ELF_RULE_ADDRESSES,
        DELTA_ELF_RULE_TABLES,
        DELTA_ELF_RULE_OFFSETS,
        DELTA_ELF_RULE_FUNCTIONS,
};

struct stretch { /* of one old section matched with one new one; offsets count from the sections' beginnings
                  */
        unsigned old_section;
        uint64_t old_begin, old_size, new_begin, old_at, new_at;
        size_t n;
        uint8_t *ret; /* holds the old bytes; what is predicted otherwise is put over them */
};

struct delta_elf_btf;
struct delta_elf_functions { /* Go's table of them */
        bool known;
        uint64_t code;     /* address that offsets of code count from */
        uint64_t parts[8]; /* where other offsets count from, within the section */
        uint8_t *words;    /* four bits a word */
};
struct delta_elf_predictor {
        struct delta_elf_frame frame;
        const struct delta_file *old_file;
        const struct delta_shared *shared;
        uint8_t *rules; /* by old section */
        char **kinds;   /* names for reports, made when asked for */
        int symbols_of; /* section whose symbols are loaded, or -1 */
        uint16_t *section_of_symbol;
        size_t n_symbols;
        struct delta_elf_btf *btf; /* NULL: there is none */
        uint8_t *window;           /* of the old file, DELTA_ELF_WINDOW */
        int64_t window_at;
        size_t window_length;
        struct {
                int section; /* whose marks these are, or -1 */
                uint8_t *marks;
        } unwind;
        struct {
                int section;
                uint8_t *begins; /* a bit for each word that code points at */
        } tables;
        struct delta_elf_functions functions;
        int failed;       /* what a rule for records met, reading */
        int offsets_into; /* .rodata, or -1 */
        struct {          /* where decoding of a piece stands */
                size_t piece;
                bool valid;
                int64_t at;
        } decoding;
};

typedef void (*delta_elf_record_rule)(struct delta_elf_predictor *p, unsigned old_section, uint64_t old_at,
                                      uint64_t new_at, uint8_t *record);
/* Records of fixed size, at most 64 bytes. */
int delta_elf_predict_records(struct delta_elf_predictor *p, const struct stretch *s, size_t size,
                              delta_elf_record_rule rule);
/* Old bytes from `at` on, at least `want` of them unless `end` comes first; valid until the next call. */
int delta_elf_window(struct delta_elf_predictor *p, int64_t at, size_t want, int64_t end, const uint8_t **ret,
                     size_t *ret_n);
void delta_elf_rule_address(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                            uint8_t *record);
void delta_elf_rule_unwind_index(struct delta_elf_predictor *p, unsigned section, uint64_t old_at,
                                 uint64_t new_at, uint8_t *record);
void delta_elf_rule_table(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                          uint8_t *record);
int delta_elf_predict_unwind(struct delta_elf_predictor *p, const struct stretch *s);
int delta_elf_predict_tables(struct delta_elf_predictor *p, const struct stretch *s);
void delta_elf_rule_offsets(struct delta_elf_predictor *p, unsigned section, uint64_t old_at, uint64_t new_at,
                            uint8_t *record);
int delta_elf_predict_functions(struct delta_elf_predictor *p, const struct stretch *s);
/* Rules the publisher may choose from, by number; the first is none. */
#define DELTA_ELF_CHOICES 4u
/* Whether the publisher may choose a rule for a section. */
bool delta_elf_rule_is_open(const struct delta_elf *e, unsigned section);

int delta_elf_load_symbols(struct delta_elf_predictor *p, unsigned symbols);
/* From the publisher's words on the BTF section. */
int delta_elf_btf_decode(struct delta_reader *side, struct delta_elf_btf **ret);
void delta_elf_btf_free(struct delta_elf_btf *b);
int delta_elf_predict_btf(struct delta_elf_predictor *p, const struct stretch *s);
/* An arm64 instruction without what moves in it. */
uint32_t delta_arm64_hide(uint32_t instruction);
int delta_elf_predict_arm64(struct delta_elf_predictor *p, const struct stretch *s);
int delta_elf_predict_x86(struct delta_elf_predictor *p, const struct stretch *s);

/* What a relocation adds to its target besides the offset meant: displacements in x86-64 code count from the
 * next instruction, four bytes on (mostly). */
static inline uint64_t delta_elf_rela_bias(const struct delta_elf *e, uint32_t section, uint32_t type) {
        bool relative = type == 2 || type == 4; /* R_X86_64_PC32, R_X86_64_PLT32 */
        return e->machine == DELTA_ELF_X86_64 && relative && section < e->n &&
                               e->sections[section].flags & DELTA_ELF_EXEC
                       ? 4
                       : 0;
}
