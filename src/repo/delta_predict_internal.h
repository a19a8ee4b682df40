/* SPDX-License-Identifier: Apache-2.0 */
/* What the predictors have in common: how one is driven, numbers in side information, shared tables. */
#pragma once

#include "repo/delta_predict.h"

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
