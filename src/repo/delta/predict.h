/* SPDX-License-Identifier: Apache-2.0 */
/* Predictors: what the new bytes at a place should be, judged from the old bytes that were matched with it
 * and from the map of the whole pair of files.
 *
 * A delta matches pieces of a new file with pieces of its old version. Where code or data moved, what points
 * at it changes everywhere: relocations, symbol tables, relative calls, unwind tables. Those changes follow
 * from the map of the match itself, so the node can work them out. A predictor does that: new byte =
 * predicted byte
 * + difference, and the difference is nearly always zero. A predictor is a deterministic function of old
 * bytes, map, side information and shared tables; it can be as wrong as it likes, the result is still exact.
 * The same code runs in the publisher (to make the differences) and on the node.
 *
 * A map is piecewise: pieces {old, new, length}, none overlapping in the new file. */
#pragma once

#include "base/buf.h"
#include "base/err.h"

struct delta_piece {
        int64_t old_offset, new_offset, length; /* within the two files */
};
struct delta_map { /* both orders of the same pieces */
        const struct delta_piece *by_new;
        const uint32_t *by_old; /* indexes into by_new, by rising old_offset; old ranges may overlap */
        size_t n;
};
/* Where an old offset went; -1: nowhere. Between pieces: -1. */
int64_t delta_map_new(const struct delta_map *m, int64_t old_offset);

/* What predictors know of all file pairs of one delta: tables that are found by the publisher (say, which
 * checksum of a symbol became which, how type ids moved) and sent once. */
struct delta_shared;
int delta_shared_parse(const void *p, size_t n, struct delta_shared **ret,
                       struct err **err); /* hostile bytes */
struct delta_shared *delta_shared_free(struct delta_shared *s);
DEFINE_CLEANUP(struct delta_shared, delta_shared_free)

struct delta_file { /* an old file, read at any place */
        int64_t length;
        int (*read)(void *arg, int64_t offset, void *p, size_t n); /* whole or -Exxx */
        void *arg;
};

struct delta_predictor;
/* What a pair is treated as; "none" (0) predicts the old bytes. New kinds may be added, never renumbered. */
enum { DELTA_PREDICT_NONE = 0, DELTA_PREDICT_ELF = 1, DELTA_PREDICT_KINDS_MAX = 16 };
/* side: information of this pair made by the publisher (section table of the new file, ...), hostile bytes.
 * Memory at most 8 MiB; reads of `old` happen in predict() and here. All is borrowed until free. */
int delta_predictor_new(unsigned kind, const struct delta_file *old, int64_t new_length,
                        const struct delta_map *map, const void *side, size_t side_length,
                        const struct delta_shared *shared, struct delta_predictor **ret, struct err **err);
/* The bytes that the new file should have at [new_offset, +n), matched with [old_offset, +n). Any split of a
 * piece into calls, in any order, gives the same bytes. */
int delta_predictor_predict(struct delta_predictor *p, int64_t old_offset, int64_t new_offset, size_t n,
                            uint8_t *ret);
struct delta_predictor *delta_predictor_free(struct delta_predictor *p);
DEFINE_CLEANUP(struct delta_predictor, delta_predictor_free)

/* ---- The publisher's side */

struct delta_pair { /* two versions of one file, in memory */
        const uint8_t *old_data, *new_data;
        int64_t old_length, new_length;
};
/* Matches a pair and chooses its predictor: pieces covering what has a counterpart (by rising new_offset),
 * side information. Structure decides where there is any (sections with sections, symbol with symbol of the
 * same name, relocation with relocation), then bytes. Any thread. */
struct delta_match {
        unsigned kind;
        struct delta_piece *pieces;
        size_t n_pieces;
        struct buf side;
};
void delta_match_done(struct delta_match *m);
int delta_match_pair(const struct delta_pair *pair, struct delta_match *ret, struct err **err);

/* Collects, over all matched pairs, what goes into the shared tables; then encodes them. One thread at a
 * time. Order of adding does not matter. */
struct delta_shared_maker;
int delta_shared_maker_new(struct delta_shared_maker **ret);
int delta_shared_maker_add(struct delta_shared_maker *m, const struct delta_pair *pair,
                           const struct delta_match *match);
int delta_shared_maker_encode(struct delta_shared_maker *m, struct buf *ret);
struct delta_shared_maker *delta_shared_maker_free(struct delta_shared_maker *m);
DEFINE_CLEANUP(struct delta_shared_maker, delta_shared_maker_free)

/* What kind of content stands at an offset of the new file, for reports and for choosing streams: "elf
 * .text", "elf .rela.text", "module signature", ...; borrowed from static storage or the predictor. */
const char *delta_predictor_kind_at(struct delta_predictor *p, int64_t new_offset);
