/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/edge_body.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static int read_object(const char *text, size_t len, size_t limit, json_t **ret, struct err **err) {
        if (len > limit)
                return err_set(err, EMSGSIZE, "body is over %zu bytes", limit);
        _cleanup_json_ json_t *j = NULL;
        int r = json_decode(text, len, &j, err);
        if (r < 0)
                return r;
        if (!json_is_object(j))
                return err_set(err, EINVAL, "body is no JSON object");
        *ret = TAKE_PTR(j);
        return 0;
}

static int check_texts(const json_t *j, const char *const *names, struct err **err) {
        for (size_t i = 0; names[i]; i++) {
                const char *value = NULL;
                int r = json_read_string(j, names[i], &value, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

int edge_body_enrol(const char *text, size_t len, json_t **ret, struct err **err) {
        static const char *const texts[] = {"token", "csr", NULL};
        _cleanup_json_ json_t *j = NULL;
        const char *name = NULL;
        int r = read_object(text, len, EDGE_ENROL_MAX, &j, err);
        if (r >= 0)
                r = check_texts(j, texts, err);
        if (r >= 0)
                r = json_read_optional_string(j, "name", &name, err);
        if (r < 0)
                return r;
        const json_t *facts = json_object_get(j, "facts");
        if (facts && !json_is_object(facts) && !json_is_null(facts))
                return err_set(err, EINVAL, "field facts: expected object");
        *ret = TAKE_PTR(j);
        return 0;
}

int edge_body_renew(const char *text, size_t len, json_t **ret, struct err **err) {
        static const char *const texts[] = {"csr", "certificate", "proof", NULL};
        _cleanup_json_ json_t *j = NULL;
        int r = read_object(text, len, EDGE_RENEW_MAX, &j, err);
        if (r >= 0)
                r = check_texts(j, texts, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

static bool is_deeper(const json_t *j, int levels) {
        const char *key;
        json_t *value;
        size_t i;
        if (!json_is_object(j) && !json_is_array(j))
                return false;
        if (levels == 0)
                return true;
        json_object_foreach ((json_t *)j, key, value)
                if (is_deeper(value, levels - 1))
                        return true;
        json_array_foreach (j, i, value)
                if (is_deeper(value, levels - 1))
                        return true;
        return false;
}

/* RFC 5280 section 4.1.2.2: at most 20 octets. */
static bool serial_is_valid(const char *s) {
        size_t n = strlen(s);
        return n > 0 && n <= 40 && strspn(s, "0123456789abcdef") == n;
}

/* What would make a relay's whole batch be refused is refused where it comes in: a node must not be able to
 * spoil what others say. */
static int check_report(const json_t *report, struct err **err) {
        const json_t *status = NULL, *signature = NULL;
        const char *serial = NULL, *sig = NULL;
        int r = json_read_object(report, "signed", &status, err);
        if (r >= 0)
                r = json_read_object(report, "signature", &signature, err);
        if (r >= 0)
                r = json_read_string(signature, "serial", &serial, err);
        if (r >= 0)
                r = json_read_string(signature, "sig", &sig, err);
        if (r < 0)
                return r;
        if (!serial_is_valid(serial))
                return err_set(err, EINVAL, "field serial: is no serial number of a certificate");
        if (strlen(sig) > EDGE_SIGNATURE_MAX)
                return err_set(err, EINVAL, "field sig: longer than %d bytes", EDGE_SIGNATURE_MAX);
        if (is_deeper(status, EDGE_STATUS_DEPTH_MAX))
                return err_set(err, EINVAL, "a status is nested deeper than %d levels",
                               EDGE_STATUS_DEPTH_MAX);
        if (json_array_size(json_object_get(status, "apps")) > EDGE_STATUS_APPS_MAX)
                return err_set(err, EINVAL, "field apps: more than %d apps", EDGE_STATUS_APPS_MAX);
        return 0;
}

int edge_body_status(const char *text, size_t len, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        int r = read_object(text, len, EDGE_STATUS_MAX, &j, err);
        if (r >= 0)
                r = check_report(j, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

static int check_presence(const json_t *item, struct err **err) {
        const char *address = NULL, *serial = NULL;
        int64_t version = 0;
        bool revoked = false;
        if (!json_is_boolean(json_object_get(item, "connected")))
                return err_set(err, EINVAL, "field connected: expected true or false");
        int r = json_read_optional_string(item, "address", &address, err);
        if (r >= 0)
                r = json_read_optional_int(item, "assignment", &version, err);
        if (r >= 0)
                r = json_read_optional_bool(item, "revoked", &revoked, err);
        if (r >= 0)
                r = json_read_optional_string(item, "serial", &serial, err);
        if (r >= 0 && serial && !serial_is_valid(serial))
                r = err_set(err, EINVAL, "field serial: is no serial number of a certificate");
        if (r >= 0 && version < 0)
                r = err_set(err, EINVAL, "field assignment: is negative");
        return r;
}

static int check_item(const json_t *item, struct err **err) {
        const char *node = NULL;
        if (!json_is_object(item))
                return err_set(err, EINVAL, "expected object");
        int r = json_read_string(item, "node", &node, err);
        if (r < 0)
                return r;
        if (!name_is_dns_label(node))
                return err_set(err, EINVAL, "field node: \"%.80s\" is no node name", node);
        const json_t *status = json_object_get(item, "status");
        if (!status)
                return check_presence(item, err);
        if (!json_is_object(status))
                return err_set(err, EINVAL, "field status: expected object");
        if (json_object_get(item, "connected"))
                return err_set(err, EINVAL, "an item holds either \"connected\" or \"status\"");
        return 0;
}

int edge_body_batch(const char *text, size_t len, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *items = NULL;
        bool reset = false;
        int r = read_object(text, len, EDGE_BATCH_MAX, &j, err);
        if (r >= 0)
                r = json_read_optional_bool(j, "reset", &reset, err);
        if (r >= 0)
                r = json_read_array(j, "items", &items, err);
        if (r < 0)
                return r;
        if (json_array_size(items) > EDGE_BATCH_ITEMS_MAX)
                return err_set(err, EMSGSIZE, "more than %d items", EDGE_BATCH_ITEMS_MAX);
        size_t reports = 0;
        for (size_t i = 0; i < json_array_size(items); i++) {
                r = check_item(json_array_get(items, i), err);
                if (r >= 0 && json_object_get(json_array_get(items, i), "status") &&
                    ++reports > EDGE_BATCH_STATUS_MAX)
                        return err_set(err, EMSGSIZE, "more than %d reports", EDGE_BATCH_STATUS_MAX);
                if (r < 0) {
                        err_wrap(err, "item %zu", i);
                        return r;
                }
        }
        *ret = TAKE_PTR(j);
        return 0;
}
