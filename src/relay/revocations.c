/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/revocations.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/table.h"
#include "codec/json.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)

struct revocations {
        char *path;
        struct table *nodes; /* name -> msec_t, when it was heard of */
};

static int add(struct revocations *r, const char *node, msec_t when) {
        msec_t *value = malloc(sizeof(*value));
        if (!value)
                return -ENOMEM;
        *value = when;
        if (table_set(r->nodes, node, value) < 0) {
                free(value);
                return -ENOMEM;
        }
        return 0;
}

static int load(struct revocations *r, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *document = NULL;
        const json_t *nodes = NULL;
        size_t len = 0;
        int result = file_read(r->path, FILE_BYTES_MAX, &text, &len, err);
        if (result == -ENOENT) {
                if (err)
                        *err = err_free(*err);
                return 0;
        }
        if (result >= 0)
                result = json_decode(text, len, &document, err);
        if (result >= 0)
                result = json_read_object(document, "nodes", &nodes, err);
        const char *name;
        json_t *when;
        json_object_foreach ((json_t *)nodes, name, when) {
                if (result >= 0 && add(r, name, json_integer_value(when)) < 0)
                        result = err_set(err, ENOMEM, "out of memory");
        }
        if (result < 0)
                err_wrap(err, "read the revoked nodes from %s", r->path);
        return result;
}

static int store(const struct revocations *r, struct err **err) {
        _cleanup_json_ json_t *document = json_pack("{s:{}}", "nodes");
        json_t *nodes = json_object_get(document, "nodes");
        const char *name;
        void *value;
        for (size_t i = 0; table_next(r->nodes, &i, &name, &value);)
                if (json_object_set_new(nodes, name, json_integer(*(const msec_t *)value)) < 0)
                        return err_set(err, ENOMEM, "out of memory");
        _cleanup_(x_freep) char *text = document ? json_encode_pretty(document) : NULL;
        if (!text)
                return err_set(err, ENOMEM, "out of memory");
        return file_write_atomic(r->path, text, strlen(text), 0600, err);
}

int revocations_open(const char *path, struct revocations **ret, struct err **err) {
        _cleanup_(revocations_freep) struct revocations *r = calloc(1, sizeof(*r));
        if (!r)
                return err_set(err, ENOMEM, "out of memory");
        r->path = str_dup(path);
        r->nodes = table_new(free);
        if (!r->path || !r->nodes)
                return err_set(err, ENOMEM, "out of memory");
        int result = load(r, err);
        if (result < 0)
                return result;
        *ret = TAKE_PTR(r);
        return 0;
}

struct revocations *revocations_free(struct revocations *r) {
        if (!r)
                return NULL;
        table_free(r->nodes);
        free(r->path);
        free(r);
        return NULL;
}

bool revocations_have(const struct revocations *r, const char *node) {
        return table_get(r->nodes, node) != NULL;
}

size_t revocations_len(const struct revocations *r) {
        return table_len(r->nodes);
}

int revocations_add(struct revocations *r, const char *node, msec_t now, struct err **err) {
        if (revocations_have(r, node))
                return 0;
        if (add(r, node, now) < 0)
                return err_set(err, ENOMEM, "out of memory");
        return store(r, err);
}

int revocations_remove(struct revocations *r, const char *node, struct err **err) {
        return table_remove(r->nodes, node) ? store(r, err) : 0;
}
