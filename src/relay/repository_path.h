/* SPDX-License-Identifier: Apache-2.0 */
/* What a path below a published repository names (docs/formats/repository.md). Pure.
 *
 * Whoever asks a server or a relay for a file of the repository is answered only for names of this form: no
 * other file below the same folder, and none outside, can be asked for. */
#pragma once

#include "base/err.h"
#include "crypto/digest.h"

#define REPOSITORY_PATH_MAX 1024
#define REPOSITORY_ETAG_SIZE 160

enum repository_kind {
        REPOSITORY_TIMESTAMP,  /* metadata/timestamp.json */
        REPOSITORY_ROOT,       /* metadata/N.root.json */
        REPOSITORY_METADATA,   /* metadata/N.<role>.json */
        REPOSITORY_TARGET,     /* targets/.../<sha256>.<name> */
        REPOSITORY_INDEX,      /* chunks/ab/<sha256>.index */
        REPOSITORY_PACK,       /* chunks/ab/<sha256>.pack */
        REPOSITORY_DELTA_LIST, /* deltas/ab/<sha256>.json */
        REPOSITORY_DELTA,      /* deltas/ab/<sha256>/<seed>.delta */
};

struct repository_path {
        enum repository_kind kind;
        bool immutable;                  /* once there it never changes */
        int64_t version;                 /* of metadata; 0 */
        char sha256[SHA256_HEX_SIZE];    /* of the target; "" for metadata */
        char from[SHA256_HEX_SIZE];      /* a delta's seed; "" */
        char etag[REPOSITORY_ETAG_SIZE]; /* of what never changes, the same wherever it is served; else "" */
};
/* -EINVAL: no path that stays below the folder; -ENOENT: one, but not of a repository. */
int repository_path_parse(const char *path, struct repository_path *ret);

/* base + "/" + path with what a URL cannot hold as %XX; malloc'ed, NULL when memory is out. */
char *repository_url(const char *base, const char *path) _must_use_;
