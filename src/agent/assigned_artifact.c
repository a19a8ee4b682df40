/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/assigned_artifact.h"

#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/artifact.h"

#define ARTIFACT_LENGTH_MAX ((int64_t)1 << 40)

static int check(const struct assigned_artifact *a, struct err **err) {
        char platform[PLATFORM_MAX];
        _cleanup_(x_freep) char *path = NULL;

        if (!artifact_name_is_valid(a->name))
                return err_set(err, EINVAL, "'%.80s' is no name of an artifact", a->name);
        if (!artifact_version_is_valid(a->version))
                return err_set(err, EINVAL, "%s: '%.80s' is no version", a->name, a->version);
        if (!sha256_hex_is_valid(a->sha256))
                return err_set(err, EINVAL, "%s:%s: '%.80s' is no SHA-256", a->name, a->version, a->sha256);
        if (a->length < 0 || a->length > ARTIFACT_LENGTH_MAX)
                return err_set(err, EINVAL, "%s:%s: length %lld is not between 0 and %lld", a->name,
                               a->version, (long long)a->length, (long long)ARTIFACT_LENGTH_MAX);
        if (a->release_counter < 1)
                return err_set(err, EINVAL, "%s:%s: releaseCounter %lld is not above 0", a->name, a->version,
                               (long long)a->release_counter);
        if (platform_parse(a->platform, platform, err) < 0)
                return err_wrap(err, "%s:%s", a->name, a->version);
        path = artifact_target_path(a->name, a->version, platform);
        if (!path)
                return err_set_errno(err, ENOMEM, "%s:%s", a->name, a->version);
        if (!str_eq(path, a->target))
                return err_set(err, EINVAL, "%s:%s for %s: target '%.200s' is not '%s'", a->name, a->version,
                               platform, a->target, path);
        return 0;
}

int assigned_artifact_read(const json_t *j, struct assigned_artifact *ret, struct err **err) {
        struct assigned_artifact a = {0};
        int r;
        if ((r = json_read_string(j, "name", &a.name, err)) < 0 ||
            (r = json_read_string(j, "version", &a.version, err)) < 0 ||
            (r = json_read_string(j, "target", &a.target, err)) < 0 ||
            (r = json_read_string(j, "sha256", &a.sha256, err)) < 0 ||
            (r = json_read_string(j, "platform", &a.platform, err)) < 0 ||
            (r = json_read_int(j, "length", &a.length, err)) < 0 ||
            (r = json_read_int(j, "releaseCounter", &a.release_counter, err)) < 0)
                return r;
        if ((r = check(&a, err)) < 0)
                return r;
        *ret = a;
        return 0;
}

int assigned_artifacts_check(const json_t *list, struct err **err) {
        struct assigned_artifact a, other;
        const json_t *item;
        size_t i;
        if (!list)
                return 0;
        if (!json_is_array(list))
                return err_set(err, EINVAL, "artifacts: expected a list");
        if (json_array_size(list) > ASSIGNED_ARTIFACTS_MAX)
                return err_set(err, EINVAL, "artifacts: more than %d", ASSIGNED_ARTIFACTS_MAX);
        json_array_foreach (list, i, item) {
                if (assigned_artifact_read(item, &a, err) < 0)
                        return err_wrap(err, "artifacts: %zu", i);
                for (size_t k = 0; k < i; k++)
                        if (assigned_artifact_read(json_array_get(list, k), &other, NULL) == 0 &&
                            str_eq(a.name, other.name) && str_eq(a.version, other.version))
                                return err_set(err, EINVAL, "artifacts: %s:%s comes twice", a.name,
                                               a.version);
        }
        return 0;
}

bool assigned_artifacts_find(const json_t *list, const char *name, const char *version,
                             struct assigned_artifact *ret) {
        const json_t *item;
        size_t i;
        json_array_foreach (list, i, item)
                if (str_eq(json_string_value(json_object_get(item, "name")), name) &&
                    str_eq(json_string_value(json_object_get(item, "version")), version))
                        return assigned_artifact_read(item, ret, NULL) == 0;
        return false;
}
