/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the state folder that need not outlive a power cut (what runs, status for `skerry-agent
 * status`), and the lock that keeps a second agent out of it. What must be durable goes through
 * file_write_atomic(). */
#pragma once

#include "base/err.h"

/* Replaces path atomically for readers and for our own restart, without waiting for the disk. */
int state_file_write(const char *path, const void *data, size_t len, struct err **err);

/* Makes the state folder (0700) and takes its lock for as long as the descriptor is open. -EBUSY: another
 * agent holds it; the message names its process. */
int state_lock(const char *state, int *ret_fd, struct err **err);
