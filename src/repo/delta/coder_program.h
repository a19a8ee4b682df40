/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a delta: operations that make the target from its beginning to its end, written and read by
 * the same code (docs/formats/delta.md, "Program"). The maker hands in operations and the target's bytes; the
 * node gets operations and bytes out. One thread. */
#pragma once

#include "repo/delta/coder_difference.h"
#include "repo/delta/coder_file.h"
#include "repo/delta/coder_packer.h"
#include "repo/delta/format.h"
#include "repo/delta/predict.h"

enum delta_op_type {
        DELTA_OP_END,
        DELTA_OP_ZERO,
        DELTA_OP_COPY,    /* bytes of the seed */
        DELTA_OP_MATCH,   /* bytes of the seed, with differences */
        DELTA_OP_LITERAL, /* new bytes, coded */
        DELTA_OP_RAW,     /* new bytes as they are: they cannot be coded shorter */
        DELTA_OP_FILE,    /* begins a file of the target and makes its first bytes */
        DELTA_OP_MORE,    /* more bytes of a file that was begun */
        DELTA_OP_TYPES,
};

struct delta_op {
        enum delta_op_type type;
        int64_t length;   /* in the target */
        int64_t seed;     /* COPY, MATCH: offset in the seed */
        unsigned content; /* MATCH, LITERAL: encoding, for reports */
        /* FILE, MORE */
        int64_t skip;   /* from the end of what was made of the file last; its parts may stand in any order */
        bool last;      /* nothing more of this file comes */
        uint32_t index; /* MORE: among open files, the newest is 0 */
        struct delta_program_file *file; /* FILE, encoding: taken over */
};

/* What a run of bytes is, for whom they are made. */
struct delta_run {
        enum delta_op_type type; /* ZERO, COPY, MATCH, LITERAL, RAW */
        const char *kind;
        int64_t target, length;
        int64_t seed; /* COPY */
};

struct delta_program_io {
        void *arg;
        int (*read_seed)(void *arg, int64_t offset, void *p, size_t n);
        int64_t seed_length, target_length;
        const atomic_bool *cancel; /* looked at where work is long; may be NULL */
        int (*read_target)(void *arg, int64_t offset, void *p, size_t n); /* encoding */
        /* decoding: bytes are made, in order; p is NULL for zeros and for COPY */
        int (*made)(void *arg, const struct delta_run *run, const uint8_t *p);
        /* decoding: so are those from `at` on of a file that is being packed; takes a reference if it waits
         */
        int (*made_packed)(void *arg, const struct delta_run *run, struct delta_packing *packing, int64_t at);
        struct delta_packer *packer; /* decoding; outlives what made_packed() took */
        /* encoding: what is said from now on is said of this run; may be NULL */
        void (*kind)(void *arg, const struct delta_run *run);
};

struct delta_program;
/* All but io is borrowed. */
int delta_program_new(struct delta_columns *c, const struct delta_program_io *io, struct delta_program **ret);
struct delta_program *delta_program_free(struct delta_program *p);
DEFINE_CLEANUP(struct delta_program, delta_program_free)

/* Once, first. Encoding: the tables given; decoding: reads them. */
int delta_program_shared(struct delta_program *p, const void *tables, size_t n, struct err **err);
/* Codes one operation and all of its bytes. Decoding: *op is filled; END is the last. -EBADMSG for what
 * breaks a limit. */
int delta_program_step(struct delta_program *p, struct delta_op *op, struct err **err);
/* Encoding: would a file of this size fit beside those now open? */
bool delta_program_has_room(const struct delta_program *p, size_t pieces, size_t extents, size_t side,
                            int64_t packed);
int64_t delta_program_position(const struct delta_program *p);
