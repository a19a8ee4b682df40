/* SPDX-License-Identifier: Apache-2.0 */
/* The outline of an ELF file (System V ABI, ELF-64, little endian): its sections, and where they went in the
 * file's new version. Files are hostile: whatever they claim, nothing is read past their ends. */
#pragma once

#include "repo/delta/predict_internal.h"

#define DELTA_ELF_SECTIONS_MAX 4096u
#define DELTA_ELF_NAMES_MAX (256u << 10)
#define DELTA_ELF_HEADER_SIZE 64
#define DELTA_ELF_SECTION_SIZE 64 /* of a section header */
#define DELTA_ELF_SEGMENT_SIZE 56 /* of a program header */
#define DELTA_ELF_SYMBOL_SIZE 24
#define DELTA_ELF_RELA_SIZE 24

enum { DELTA_ELF_RELOCATABLE = 1, DELTA_ELF_EXECUTABLE = 2, DELTA_ELF_SHARED = 3 }; /* e_type */
enum { DELTA_ELF_X86_64 = 62, DELTA_ELF_ARM64 = 183 };                              /* e_machine */
enum {
        DELTA_ELF_SYMTAB = 2,
        DELTA_ELF_STRTAB = 3,
        DELTA_ELF_RELA = 4,
        DELTA_ELF_NOBITS = 8,
        DELTA_ELF_DYNSYM = 11
};
enum { DELTA_ELF_ALLOC = 2, DELTA_ELF_EXEC = 4 }; /* sh_flags */

struct delta_elf_section {
        uint32_t name, type, link, info;
        uint64_t flags, address, offset, size, align, entry_size;
};

struct delta_elf {
        int64_t length;
        uint16_t type, machine, names_index, n_segments;
        uint64_t headers, segments; /* file offsets of the tables */
        unsigned n;
        struct delta_elf_section *sections;
        unsigned *by_offset; /* of sections that hold bytes of the file, by rising offset */
        unsigned n_by_offset;
        char *names; /* NUL-terminated in any case */
        size_t names_length;
};

/* -EBADMSG: not an ELF file that is understood here. */
int delta_elf_parse(const struct delta_file *f, struct delta_elf *ret);
void delta_elf_done(struct delta_elf *e);
const char *delta_elf_name(const struct delta_elf *e, unsigned section); /* "" for one that has none */
/* How many of by_offset begin at or before a file offset. */
unsigned delta_elf_sections_to(const struct delta_elf *e, uint64_t offset);
/* The section that holds a file offset, or -1. */
int delta_elf_section_at(const struct delta_elf *e, uint64_t offset);
static inline bool delta_elf_has_bytes(const struct delta_elf_section *s) {
        return s->type != DELTA_ELF_NOBITS && s->type != 0 && s->size > 0;
}

/* ---- Two versions side by side */

struct delta_elf_index;
struct delta_elf_place { /* a section of the new version */
        int old_index;   /* -1: it is new */
        uint64_t offset, size, address;
};
struct delta_elf_frame {
        struct delta_elf old;
        uint64_t new_headers;
        unsigned n_new;
        struct delta_elf_place *places;
        int *new_of_old;     /* index of the section in the new version, or -1 */
        unsigned *by_offset; /* places with bytes, by rising offset */
        unsigned n_by_offset;
        const struct delta_map *map;
        struct delta_elf_straight { /* sections that one piece covers whole: all in them moved by so much */
                bool known, straight;
                int64_t shift;
        } * straight;         /* by old index */
        unsigned *by_address; /* old sections that have addresses, by rising address */
        unsigned n_by_address;
        size_t cursor;                 /* in map->by_old */
        struct delta_elf_index *index; /* of map->by_old; NULL: not made */
};

/* The publisher's: both parsed, sections matched by name. Takes neither over. */
int delta_elf_frame_match(const struct delta_file *old_file, const struct delta_elf *new_elf,
                          struct delta_elf_frame *ret);
int delta_elf_frame_encode(const struct delta_elf_frame *f, struct buf *ret);
/* The node's. Reads the outline of the old file, and the new one's from side information. */
int delta_elf_frame_decode(const struct delta_file *old_file, int64_t new_length, struct delta_reader *side,
                           struct delta_elf_frame *ret);
void delta_elf_frame_done(struct delta_elf_frame *f);
/* Another map from now on. */
void delta_elf_frame_set_map(struct delta_elf_frame *f, const struct delta_map *map);
/* Makes many projections through a map that stays as it is faster; -ENOMEM. */
int delta_elf_frame_index_map(struct delta_elf_frame *f);
/* The same of new offsets. */
unsigned delta_elf_frame_places_to(const struct delta_elf_frame *f, uint64_t new_offset);
int delta_elf_frame_place_at(const struct delta_elf_frame *f, uint64_t new_offset); /* or -1 */

/* Projections: where what stood at an offset of an old section stands in the new one. What was matched with
 * nothing goes along with its nearest neighbour; what is not known stays. *ret_exact may be NULL. */
uint64_t delta_elf_project(struct delta_elf_frame *f, unsigned old_section, uint64_t offset, bool *ret_exact);
/* The same for addresses of a linked file; addresses outside of all sections stay. */
uint64_t delta_elf_project_address(struct delta_elf_frame *f, uint64_t address);
int delta_elf_section_of_address(const struct delta_elf_frame *f, uint64_t address); /* old; -1: none */
/* Whether a number can be meant as an address: linked there, and too large for what else numbers are. */
static inline bool delta_elf_is_absolute(const struct delta_elf_frame *f, uint32_t v) {
        return v >= 0x10000 && delta_elf_section_of_address(f, v) >= 0;
}
/* The new number of a symbol, judged by where its record went. */
uint32_t delta_elf_project_symbol(struct delta_elf_frame *f, unsigned old_symbols, uint32_t index);
