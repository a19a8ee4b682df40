/* SPDX-License-Identifier: Apache-2.0 */
/* Makes one delta in a published folder and puts it into the target's list (docs/formats/repository.md).
 * Blocking, for minutes; on a thread of its own. */
#pragma once

#include <stdatomic.h>

#include "base/err.h"

struct delta_job {
        const char *folder;                  /* the published one */
        const char *from_path, *from_sha256; /* target path and digest of the seed */
        const char *to_path, *to_sha256;
        const atomic_bool *cancelled;
        const char *program; /* delta_process.h; NULL: this one */
};
/* Is it in the list, and the file there? Cheap. */
bool delta_job_is_done(const char *folder, const char *from_sha256, const char *to_sha256);
/* Bytes of the delta in ret_length. -ECANCELED; -EFBIG: it is no smaller than the target, so none is kept.
 * The file is whole before the list names it. */
int delta_job_run(const struct delta_job *job, int64_t *ret_length, struct err **err);
