/* SPDX-License-Identifier: Apache-2.0 */
/* Models of what stands in files: bytes that are new, and bytes that differ from their prediction
 * (docs/formats/delta.md, "Content"). Context mixing: several guesses of the next bit, each from another
 * context, are weighed against each other by how well they did. One thread; DELTA_CONTENT_MEMORY bytes. */
#pragma once

#include "repo/delta/coder.h"

#define DELTA_CONTENT_MEMORY (6u << 20) /* at most, with 2^16 learnt bits */
#define DELTA_CONTENT_BITS 16u          /* of the program */
#define DELTA_KINDS 32                  /* kinds of content */

struct delta_content;
/* bits: the tables of new bytes hold 2^bits learnt bits, 8 and more; those of differing ones half. */
int delta_content_new(unsigned bits, struct delta_content **ret);
struct delta_content *delta_content_free(struct delta_content *m);
DEFINE_CLEANUP(struct delta_content, delta_content_free)

/* What stands before the next byte, as far as is known: forgotten at a jump. */
void delta_content_forget(struct delta_content *m);
/* Bytes that came about without being coded. */
void delta_content_note(struct delta_content *m, const uint8_t *p, size_t n);

/* New bytes: reads p when encoding, fills it when decoding. kind below DELTA_KINDS. `at` is the offset in the
 * file: alignment matters. */
void delta_content_literal(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                           uint8_t *p, size_t n);

/* Bytes with a prediction each. p as above. Calls are cut as the target is: any cut, but the same on both
 * sides. */
void delta_content_difference(struct delta_content *m, struct delta_coder *c, unsigned kind, int64_t at,
                              const uint8_t *predicted, uint8_t *p, size_t n);
