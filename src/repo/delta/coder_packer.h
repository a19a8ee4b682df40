/* SPDX-License-Identifier: Apache-2.0 */
/* Packs files on a thread of its own while the program goes on: their bytes are wanted only when the target
 * is written that far. */
#pragma once

#include "repo/delta/coder_packed.h"

struct delta_packer;
int delta_packer_new(const atomic_bool *cancel, struct delta_packer **ret);
/* Nobody may wait for a packing any more. */
struct delta_packer *delta_packer_free(struct delta_packer *p);
DEFINE_CLEANUP(struct delta_packer, delta_packer_free)

/* A file that is being packed; referenced by its file as long as that is open, and by the writer of the
 * target. Any thread. */
struct delta_packing;
/* Takes plain and bytes of x over; length: of bytes. Waits where much is under way; what is large is packed
 * when this returns. */
int delta_packer_begin(struct delta_packer *p, struct delta_packed *x, int64_t length,
                       struct delta_packing **ret);
struct delta_packing *delta_packing_ref(struct delta_packing *g);
struct delta_packing *delta_packing_unref(struct delta_packing *g);
/* Its file is closed: what holds it now is the writer. */
void delta_packing_close(struct delta_packing *g);
/* Waits for its bytes. -EBADMSG: it is shorter than it says; -ECANCELED, -ENOMEM. */
int delta_packing_wait(struct delta_packing *g, const uint8_t **ret);
