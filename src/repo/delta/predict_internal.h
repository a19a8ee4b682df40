/* SPDX-License-Identifier: Apache-2.0 */
/* What the predictors have in common: how one is driven, numbers in side information, shared tables. */
#pragma once

#include "repo/delta/predict.h"

/* ---- Numbers of any size, bytes of any order */

/* Bytes read one after the other; anything past the end makes `failed`, and zeros come back. */
struct delta_reader {
        const uint8_t *at, *end;
        bool failed;
};
uint64_t delta_get_number(struct delta_reader *r); /* seven bits a byte, low ones first */
int64_t delta_get_signed(struct delta_reader *r);  /* zigzag */
int delta_put_number(struct buf *b, uint64_t v);
int delta_put_signed(struct buf *b, int64_t v);

static inline uint16_t delta_get16(const uint8_t *p) {
        return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t delta_get32(const uint8_t *p) {
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t delta_get64(const uint8_t *p) {
        return (uint64_t)delta_get32(p) | (uint64_t)delta_get32(p + 4) << 32;
}
static inline void delta_put16(uint8_t *p, uint16_t v) {
        p[0] = (uint8_t)v;
        p[1] = (uint8_t)(v >> 8);
}
static inline void delta_put32(uint8_t *p, uint32_t v) {
        delta_put16(p, (uint16_t)v);
        delta_put16(p + 2, (uint16_t)(v >> 16));
}
static inline void delta_put64(uint8_t *p, uint64_t v) {
        delta_put32(p, (uint32_t)v);
        delta_put32(p + 4, (uint32_t)(v >> 32));
}

/* ---- Drivers of predictors, one a kind */

struct delta_context { /* what a predictor is made of; all borrowed */
        const struct delta_file *old_file;
        int64_t new_length;
        const struct delta_map *map;
        const uint8_t *side;
        size_t side_length;
        const struct delta_shared *shared; /* may be NULL */
};
struct delta_driver {
        const char *name;
        int (*make)(const struct delta_context *c, void **ret);
        int (*predict)(void *p, int64_t old_offset, int64_t new_offset, size_t n, uint8_t *ret);
        const char *(*kind_at)(void *p, int64_t new_offset);
        void (*release)(void *p);
};
extern const struct delta_driver delta_elf_driver;

/* ---- Shared tables */

struct delta_step { /* from this old number on, until the next step, this is added */
        uint32_t from;
        int32_t shift;
};
struct delta_shared {
        struct delta_checksum { /* of a symbol of the kernel, as modules name it */
                uint32_t old_value, new_value;
        } * checksums; /* by rising old value */
        size_t n_checksums;
        struct delta_step *types, *strings; /* of the BTF that modules' own stands on, by rising from */
        size_t n_types, n_strings;
        uint32_t old_types, new_types, old_strings, new_strings; /* where modules' own begin; 0: not known */
};
/* NULL where there is none. */
const struct delta_checksum *delta_shared_checksum(const struct delta_shared *s, uint32_t old_value);
uint32_t delta_shared_step(const struct delta_step *steps, size_t n, uint32_t v);
