/* SPDX-License-Identifier: Apache-2.0 */
/* What the `skerry artifact` commands share: the work folder of a repository, and what lies in it. */
#pragma once

#include "cli/repo.h"
#include "repo/artifact.h"
#include "repo/tuf/publisher.h"

struct artifact_set {
        struct tuf_publisher *publisher;
        struct artifact **all; /* by name, release counter, platform */
        char **roles;          /* that vouch for each */
        size_t n;
};
/* Opens the repository and reads its artifacts; read_only: no lock is taken and nothing written. */
int artifact_set_open(const struct repo_globals *g, bool read_only, struct artifact_set **ret,
                      struct err **err);
struct artifact_set *artifact_set_free(struct artifact_set *s);
DEFINE_CLEANUP(struct artifact_set, artifact_set_free)

/* "path" below the published folder; malloc'ed. */
char *artifact_public_path(const struct artifact_set *s, const char *path);
/* -1 where there is no such file. Takes path over. */
int64_t artifact_public_size(const struct artifact_set *s, char *path);
/* Opens the payload of one artifact. */
int artifact_open_payload(const struct artifact_set *s, const struct artifact *a, int *ret_fd,
                          struct err **err);
/* The artifacts of NAME:VERSION; without a version of the newest that is not yanked. At least one, or -ENOENT
 * with the nearest name and the versions that there are. The list is the caller's, what is in it the set's.
 */
int artifact_set_find(const struct artifact_set *s, const char *name, const char *version,
                      const struct artifact ***ret, size_t *ret_n, struct err **err);
const struct artifact *artifact_of_platform(const struct artifact *const *all, size_t n,
                                            const char *platform);
int64_t artifact_highest_counter(const struct artifact_set *s, const char *name);
/* "NAME" or "NAME:VERSION"; *ret_version NULL for the former. */
int artifact_argument(const char *text, char **ret_name, char **ret_version, struct err **err);

/* The deltas that lead to a target: {"target":..., "deltas":[...]}; an empty list where there is no file. */
int artifact_delta_list(const struct artifact_set *s, const char *sha256, json_t **ret, struct err **err);
/* Length of the delta from one target to another; -1: none was made. */
int64_t artifact_delta_length(const json_t *list, const char *from);

/* Publishes what is staged, or says which keys are missing and what to run. Exit code. */
int artifact_publish(struct artifact_set *s, const char *what);
