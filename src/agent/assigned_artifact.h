/* SPDX-License-Identifier: Apache-2.0 */
/* An artifact as an assignment gives it to this node (docs/protocol.md, `signed.artifacts`): what the
 * director chose, to be held against what the image role of the repository says. Pure. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define ASSIGNED_ARTIFACTS_MAX 256

struct assigned_artifact { /* texts are borrowed from the JSON it was read from */
        const char *name, *version;
        const char *target; /* "artifacts/web/1.2.0/linux-amd64" */
        const char *sha256;
        const char *platform; /* as OCI writes it */
        int64_t length, release_counter;
};

/* -EINVAL: a member is missing or wrong, or the target's path is not the one of name, version, platform. */
int assigned_artifact_read(const json_t *j, struct assigned_artifact *ret, struct err **err);
/* A whole list: every entry is right, no name and version comes twice, no more than ASSIGNED_ARTIFACTS_MAX.
 * NULL is an empty list. */
int assigned_artifacts_check(const json_t *list, struct err **err);
/* Of a list that was checked; false when it is not there. */
bool assigned_artifacts_find(const json_t *list, const char *name, const char *version,
                             struct assigned_artifact *ret);
