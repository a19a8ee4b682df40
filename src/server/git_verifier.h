/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one of the well-kept programs that judge signatures (ssh-keygen, gpgv) on bytes from a Git host.
 *
 * What it reads was written by strangers, so it gets little: a fresh folder of its own as home and working
 * folder, an environment of three variables, no file but the three standard ones, no network, no new
 * privileges, nothing but its home to write to (where the kernel has Landlock), bounds on memory, files and
 * time. Blocks; for worker threads. */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"

#define GIT_VERIFIER_SECONDS 20
#define GIT_VERIFIER_OUTPUT_MAX 16384

struct git_verifier; /* a folder; it and what is in it go with it */
int git_verifier_open(struct git_verifier **ret, struct err **err);
struct git_verifier *git_verifier_close(struct git_verifier *v);
DEFINE_CLEANUP(struct git_verifier, git_verifier_close)

/* A file in the folder, for arguments that name it without a path. */
int git_verifier_put(struct git_verifier *v, const char *name, const void *data, size_t len,
                     struct err **err);

/* argv[0] is looked for in /usr/bin and /bin. input: name of the file that is its standard input. What it
 * says on both channels goes to output, bytes that are no text replaced. 0 with its exit code; -ENOENT when
 * it is not installed (the error names the package), -ETIMEDOUT, -ECANCELED, -EIO when a signal ended it. */
int git_verifier_run(const struct git_verifier *v, const char *const *argv, const char *package,
                     const char *input, const atomic_bool *cancelled, struct buf *output, int *ret_code,
                     struct err **err);
