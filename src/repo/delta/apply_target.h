/* SPDX-License-Identifier: Apache-2.0 */
/* The target of a delta while it is written: strictly forward, on a thread of its own that also reads what is
 * copied from the seed, takes the digest and keeps the journal. */
#pragma once

#include "crypto/digest.h"
#include "repo/delta/apply.h"
#include "repo/delta/coder_packer.h"

/* The journal holds a check of every window of the target that was written. Whatever of it reached the disk,
 * a resume trusts only windows that it read back and found right. */
#define DELTA_JOURNAL_WINDOW ((int64_t)4 << 20)

struct delta_target_options {
        int seed_fd;
        int fd;              /* -1: nothing is written, only the digest taken */
        const char *journal; /* NULL: none */
        int64_t length;
        uint8_t identity[SHA256_SIZE]; /* of the delta: a journal of another one is not used */
        const atomic_bool *cancel;
};

struct delta_target;
/* Reads the journal back, if there is one. */
int delta_target_open(const struct delta_target_options *o, struct delta_target **ret, struct err **err);
/* Ends the thread; what was written stays, and so does the journal. */
struct delta_target *delta_target_free(struct delta_target *t);
DEFINE_CLEANUP(struct delta_target, delta_target_free)

/* Where this goes on: bytes before it are there already. What is made of them is dropped. */
int64_t delta_target_resumed_at(const struct delta_target *t);

/* Takes bytes that come next; waits when the thread is behind. Errors are those of the thread, too:
 * -ECANCELED, -ENOSPC, ... */
int delta_target_bytes(struct delta_target *t, const uint8_t *p, size_t n);
int delta_target_zeros(struct delta_target *t, int64_t n);
int delta_target_copy(struct delta_target *t, int64_t seed, int64_t n);
/* n bytes of a file that is being packed, from `at` on. */
int delta_target_packed(struct delta_target *t, struct delta_packing *packing, int64_t at, int64_t n);
/* Waits for all of it to be on the disk, and gives the digest. */
int delta_target_finish(struct delta_target *t, uint8_t ret_sha256[SHA256_SIZE], struct err **err);
/* Forgets the journal. */
void delta_target_drop_journal(struct delta_target *t);
/* Words for an error that one of the functions above returned. */
int delta_target_error(struct delta_target *t, int r, struct err **err);
