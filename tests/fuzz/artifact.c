/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile description of an artifact, and hostile names. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "repo/artifact.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_names(const char *text) {
        char platform[PLATFORM_MAX], again[PLATFORM_MAX], file[PLATFORM_MAX];
        char *name = NULL, *version = NULL;
        if (platform_parse(text, platform, NULL) == 0) {
                if (platform_parse(platform, again, NULL) < 0 || !str_eq(platform, again))
                        abort(); /* what is normal stays as it is */
                if (platform_match(platform, platform) == 0)
                        abort();
                platform_file_name(platform, file);
        }
        if (artifact_reference_parse(text, &name, &version, NULL) == 0) {
                free(name);
                free(version);
        }
}

static void try_description(const json_t *custom) {
        const json_t *o = json_object_get(custom, "skerry");
        const char *name = json_string_value(json_object_get(o, "name"));
        const char *version = json_string_value(json_object_get(o, "version"));
        const char *platform = json_string_value(json_object_get(o, "platform"));
        _cleanup_(artifact_freep) struct artifact *a = NULL, *b = NULL;
        _cleanup_json_ json_t *again = NULL, *last = NULL;
        _cleanup_(x_freep) char *path =
                artifact_target_path(name ? name : "x", version ? version : "1", platform ? platform : "any");
        if (!path || artifact_from_target(path, 1, DIGEST, custom, &a, NULL) < 0)
                return;
        again = artifact_custom(a);
        if (!again || artifact_from_target(path, 1, DIGEST, again, &b, NULL) < 0)
                abort(); /* what we write, we read */
        last = artifact_custom(b);
        if (!json_equal(again, last))
                abort();
        (void)artifact_choose((const struct artifact *const *)&a, 1, platform_here(), a->hardware);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_json_ json_t *custom = NULL;
        _cleanup_(x_freep) char *text = malloc(size + 1);
        if (!text)
                return 0;
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        try_names(text);
        if (json_decode(text, size, &custom, NULL) == 0)
                try_description(custom);
        return 0;
}
