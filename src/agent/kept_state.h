/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON object of the state folder that must not be lost unseen: what is trusted, counters that never go
 * back, what runs. It is kept twice, each copy with its number and a SHA-256 over what it says:
 *
 *   <path>.spare   written first      {"saved":n,"sha256":"...","state":{...}}
 *   <path>         written second     the same
 *
 * Each is replaced atomically and durably. What is read is the newest copy that is whole. So one damaged copy
 * costs nothing: the spare is never older than the other, and the other is older than the spare by one save
 * at most, which then was never told to have succeeded. Both damaged is said, and not taken for none. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define KEPT_STATE_MAX ((size_t)8 << 20)

/* 0: the state, a new reference. -ENOENT: there never was one. -EBADMSG: there was, and no copy is whole; or
 * -EIO and others: none can be read. *ret_damaged: how many copies are not what was written (0 to 2), set
 * with 0, too: the next save mends them. */
int kept_state_read(const char *path, json_t **ret, unsigned *ret_damaged, struct err **err);
/* Both copies are on the disk, or an error: then the new or the old is read the next time. */
int kept_state_write(const char *path, json_t *state, struct err **err);
