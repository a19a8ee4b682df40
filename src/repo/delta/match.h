/* SPDX-License-Identifier: Apache-2.0 */
/* Matching of bytes and of sequences, for the publisher (the structure of files is delta_elf_match.h's). */
#pragma once

#include "repo/delta/predict.h"

/* A growing list of pieces by rising new_offset. A piece that goes on where the last one ends joins it. */
struct delta_pieces {
        struct delta_piece *items;
        size_t n, capacity;
};
void delta_pieces_done(struct delta_pieces *p);
/* -ENOMEM. Empty pieces are left out. */
int delta_pieces_add(struct delta_pieces *p, int64_t old_offset, int64_t new_offset, int64_t length);
/* By new_offset; where two overlap in the new file the later one gives way. */
void delta_pieces_sort(struct delta_pieces *p);

/* Where the new bytes come from in the old ones, allowing for differences within a piece: longest matches by
 * suffix array, extended to both sides while most bytes agree (Percival, "Matching with Mismatches and
 * Assorted Applications", 2006). Offsets of the pieces added are moved by old_base and new_base. Inputs past
 * 64 MiB are matched window by window. -ENOMEM. */
int delta_match_bytes(const uint8_t *old_data, size_t n_old, const uint8_t *new_data, size_t n_new,
                      int64_t old_base, int64_t new_base, struct delta_pieces *ret);

/* Sequences of tokens (records, instructions, strings as numbers): pairs of equal runs, rising in both.
 * Runs are found by what is common at the ends, then by what stands once in both, then by shortest edit
 * path within a bound. Runs are {old index, new index, count}. -ENOMEM. */
int delta_match_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens, size_t n_new,
                       struct delta_pieces *ret);

/* The same where blocks changed places: adds runs for what no run of *runs covers yet, the longest first,
 * wherever they stand in the old sequence, each old token once. Runs shorter than `least` count only where
 * their tokens stand once in the old sequence. *runs is sorted by its new indexes afterwards. -ENOMEM. */
int delta_match_moved_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens,
                             size_t n_new, size_t least, struct delta_pieces *runs);
/* Fills gaps between runs with what is alike. -ENOMEM. */
int delta_match_gap_tokens(const uint64_t *old_tokens, size_t n_old, const uint64_t *new_tokens, size_t n_new,
                           struct delta_pieces *runs);
