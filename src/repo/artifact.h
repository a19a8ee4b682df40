/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts as the repository names them (docs/formats/repository.md): names, versions, platforms, types, and
 * the description that stands, signed, in a target's `custom`. Pure functions over values. */
#pragma once

#include <jansson.h>

#include "base/err.h"

#define ARTIFACT_NAME_MAX 253
#define ARTIFACT_VERSION_MAX 128
#define ARTIFACT_HARDWARE_MAX 16 /* labels */
#define ARTIFACT_REASON_MAX 512  /* bytes */

enum artifact_type { ARTIFACT_FILE, ARTIFACT_TREE, ARTIFACT_OCI, ARTIFACT_IMAGE };
const char *artifact_type_name(enum artifact_type t); /* "file", "tree", "oci", "image" */
int artifact_type_from_name(const char *name, enum artifact_type *ret);

bool artifact_name_is_valid(const char *name);
bool artifact_version_is_valid(const char *version);
/* "NAME:VERSION" as people write it; -EINVAL says what is wrong. malloc'ed. */
int artifact_reference_parse(const char *text, char **ret_name, char **ret_version, struct err **err);

/* A platform as OCI writes it: "linux/amd64", "linux/arm64/v8"; "any". Normalised when parsed: arm64 without
 * variant is v8, arm without is v7, "x86_64" and "aarch64" are taken for what they mean. */
#define PLATFORM_MAX 48
int platform_parse(const char *text, char ret[PLATFORM_MAX], struct err **err);
/* The last part of a target's path: "linux-arm64-v8". */
void platform_file_name(const char *platform, char ret[PLATFORM_MAX]);
/* What this machine is ("linux/amd64"). */
const char *platform_here(void);
/* Can a node of platform `node` run what was made for `made_for`? 0: no; else higher is better: the same, a
 * lower variant of the same architecture (arm/v6 on v7), "any". Both as platform_parse() leaves them. */
int platform_match(const char *node, const char *made_for);

struct artifact { /* one platform of one version */
        char *name, *version;
        char platform[PLATFORM_MAX];
        enum artifact_type type;
        int64_t release_counter; /* from 1 */
        char *file_name;         /* type file: the name it had; else NULL */
        unsigned mode;           /* type file */
        json_t *hardware;        /* object of texts, or NULL */
        bool yanked;
        char *replaced_by;       /* a version, or NULL */
        char *reason;            /* why it was yanked, for people; or NULL */
        char *sbom, *provenance; /* target paths, or NULL */
        /* of the target */
        int64_t length;
        char sha256[65];
};
struct artifact *artifact_free(struct artifact *a);
DEFINE_CLEANUP(struct artifact, artifact_free)
/* path, length, sha256 and custom of a target; -EINVAL: it is none, or contradicts its path. */
int artifact_from_target(const char *path, int64_t length, const char *sha256, const json_t *custom,
                         struct artifact **ret, struct err **err);
json_t *artifact_custom(const struct artifact *a) _must_use_;
/* "artifacts/web/1.2.0/linux-amd64"; malloc'ed. */
char *artifact_target_path(const char *name, const char *version, const char *platform) _must_use_;
/* The best of n for a node: its platform, then its labels (object of texts, may be NULL) having all of
 * `hardware`, more of them preferred, then the higher release counter. A yanked one is the answer only where
 * nothing else fits, so that the caller can say so and name replaced_by. NULL: none fits. */
const struct artifact *artifact_choose(const struct artifact *const *all, size_t n, const char *platform,
                                       const json_t *labels);

/* Paths below the published folder; malloc'ed. */
char *repository_target_file(const char *target_path, const char *sha256)
        _must_use_; /* consistent snapshot */
char *repository_chunk_index(const char *sha256) _must_use_;
char *repository_chunk_pack(const char *sha256) _must_use_;
char *repository_delta_list(const char *sha256) _must_use_;
char *repository_delta(const char *sha256, const char *from) _must_use_;
