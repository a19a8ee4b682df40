/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "relay/repository_documents.h"

#define DELTAS_MAX 256
#define DELTA_FILE_MAX ((int64_t)64 << 30)

static int read_object(const char *text, size_t len, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        if (json_decode(text, len, &j, err) < 0 || !json_is_object(j))
                return err_set(err, EBADMSG, "is no JSON object");
        *ret = TAKE_PTR(j);
        return 0;
}

static int check_metadata(const struct repository_path *named, const char *text, size_t len,
                          int64_t *ret_version, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *body = NULL, *signatures = NULL;
        int64_t version = 0;
        int r = read_object(text, len, &j, err);
        if (r < 0)
                return r;
        if (json_read_object(j, "signed", &body, NULL) < 0 ||
            json_read_array(j, "signatures", &signatures, NULL) < 0 ||
            json_read_int(body, "version", &version, NULL) < 0 || version < 1)
                return err_set(err, EBADMSG, "is no TUF metadata");
        if (named->version > 0 && version != named->version)
                return err_set(err, EBADMSG, "holds version %lld", (long long)version);
        *ret_version = version;
        return 0;
}

/* {"target","deltas":[{"from","length","sha256"}]} (docs/formats/repository.md). */
static int read_list(const char *text, size_t len, const char *target, json_t **ret,
                     const json_t **ret_deltas, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *deltas = NULL;
        const char *of = NULL;
        int r = read_object(text, len, &j, err);
        if (r < 0)
                return r;
        if (json_read_string(j, "target", &of, NULL) < 0 || !str_eq(of, target) ||
            json_read_array(j, "deltas", &deltas, NULL) < 0 || json_array_size(deltas) > DELTAS_MAX)
                return err_set(err, EBADMSG, "is no list of the deltas to this target");
        for (size_t i = 0; i < json_array_size(deltas); i++) {
                const json_t *one = json_array_get(deltas, i);
                const char *from = NULL, *sha256 = NULL;
                int64_t length = 0;
                if (!json_is_object(one) || json_read_string(one, "from", &from, NULL) < 0 ||
                    json_read_string(one, "sha256", &sha256, NULL) < 0 ||
                    json_read_int(one, "length", &length, NULL) < 0 || !sha256_hex_is_valid(from) ||
                    !sha256_hex_is_valid(sha256) || length < 0 || length > DELTA_FILE_MAX)
                        return err_set(err, EBADMSG, "delta %zu of the list is not well-formed", i);
        }
        *ret_deltas = deltas;
        *ret = TAKE_PTR(j);
        return 0;
}

int repository_document_check(const struct repository_path *named, const char *text, size_t len,
                              int64_t *ret_version, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *deltas = NULL;
        *ret_version = 0;
        switch (named->kind) {
        case REPOSITORY_TIMESTAMP:
        case REPOSITORY_ROOT:
        case REPOSITORY_METADATA: return check_metadata(named, text, len, ret_version, err);
        case REPOSITORY_DELTA_LIST: return read_list(text, len, named->sha256, &j, &deltas, err);
        case REPOSITORY_INDEX: return 0;
        default: return err_set(err, EBADMSG, "is no document");
        }
}

int repository_delta_find(const char *text, size_t len, const char *target, const char *from,
                          char ret_sha256[SHA256_HEX_SIZE], int64_t *ret_length, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *deltas = NULL;
        int r = read_list(text, len, target, &j, &deltas, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_array_size(deltas); i++) {
                const json_t *one = json_array_get(deltas, i);
                if (!str_eq(json_string_value(json_object_get(one, "from")), from))
                        continue;
                memcpy(ret_sha256, json_string_value(json_object_get(one, "sha256")), SHA256_HEX_SIZE);
                *ret_length = json_integer_value(json_object_get(one, "length"));
                return 0;
        }
        return err_set(err, ENOENT, "there is no delta from %s", from);
}
