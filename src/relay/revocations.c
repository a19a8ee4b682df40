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
        struct table *nodes;   /* name -> msec_t, when it was heard of */
        struct table *serials; /* of a certificate -> likewise; oldest first */
};

static int add(struct table *t, const char *key, msec_t when) {
        msec_t *value = malloc(sizeof(*value));
        if (!value)
                return -ENOMEM;
        *value = when;
        if (table_set(t, key, value) < 0) {
                free(value);
                return -ENOMEM;
        }
        return 0;
}

static int load_all(struct table *into, const json_t *from, struct err **err) {
        const char *key;
        json_t *when;
        json_object_foreach ((json_t *)from, key, when)
                if (add(into, key, json_integer_value(when)) < 0)
                        return err_set(err, ENOMEM, "out of memory");
        return 0;
}

static int load(struct revocations *r, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *document = NULL;
        const json_t *nodes = NULL, *serials = NULL;
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
        if (result >= 0 && json_object_get(document, "serials"))
                result = json_read_object(document, "serials", &serials, err);
        if (result >= 0)
                result = load_all(r->nodes, nodes, err);
        if (result >= 0 && serials)
                result = load_all(r->serials, serials, err);
        if (result < 0)
                err_wrap(err, "read the revoked nodes from %s", r->path);
        return result;
}

static int store_all(json_t *into, const struct table *from) {
        const char *key;
        void *value;
        for (size_t i = 0; table_next(from, &i, &key, &value);)
                if (json_object_set_new(into, key, json_integer(*(const msec_t *)value)) < 0)
                        return -ENOMEM;
        return 0;
}

static int store(const struct revocations *r, struct err **err) {
        _cleanup_json_ json_t *document = json_pack("{s:{}, s:{}}", "nodes", "serials");
        if (!document || store_all(json_object_get(document, "nodes"), r->nodes) < 0 ||
            store_all(json_object_get(document, "serials"), r->serials) < 0)
                return err_set(err, ENOMEM, "out of memory");
        _cleanup_(x_freep) char *text = json_encode_pretty(document);
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
        r->serials = table_new(free);
        if (!r->path || !r->nodes || !r->serials)
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
        table_free(r->serials);
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
        if (add(r->nodes, node, now) < 0)
                return err_set(err, ENOMEM, "out of memory");
        return store(r, err);
}

int revocations_remove(struct revocations *r, const char *node, struct err **err) {
        return table_remove(r->nodes, node) ? store(r, err) : 0;
}

bool revocations_have_serial(const struct revocations *r, const char *serial) {
        return serial && table_get(r->serials, serial);
}

int revocations_add_serial(struct revocations *r, const char *serial, msec_t now, struct err **err) {
        const char *oldest;
        void *value;
        size_t first = 0;
        if (revocations_have_serial(r, serial))
                return 0;
        if (table_len(r->serials) >= REVOKED_SERIALS_MAX && table_next(r->serials, &first, &oldest, &value))
                (void)table_remove(r->serials, oldest);
        if (add(r->serials, serial, now) < 0)
                return err_set(err, ENOMEM, "out of memory");
        return store(r, err);
}
