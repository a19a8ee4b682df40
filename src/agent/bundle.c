/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/bundle.h"

#include <errno.h>
#include <string.h>

#include "crypto/cert.h"
#include "crypto/spiffe_id.h"

#define BUNDLE_KEY_PEM_MAX 8192

static void destroy_key(void *value) {
        key_free(value);
}

static int read_keys(const json_t *keys, struct table **ret, struct err **err) {
        _cleanup_(table_freep) struct table *t = table_new(destroy_key);
        const char *id;
        json_t *pem;

        if (!t)
                return err_set_errno(err, ENOMEM, "bundle");
        if (json_object_size(keys) > BUNDLE_KEYS_MAX)
                return err_set(err, EINVAL, "bundle: more than %d assignment keys", BUNDLE_KEYS_MAX);
        json_object_foreach ((json_t *)keys, id, pem) {
                struct key *k = NULL;
                if (!json_is_string(pem) || json_string_length(pem) > BUNDLE_KEY_PEM_MAX)
                        return err_set(err, EINVAL, "bundle: assignment key %.64s: expected a PEM text", id);
                if (key_from_pem(json_string_value(pem), &k, err) < 0)
                        return err_wrap(err, "bundle: assignment key %.64s", id);
                int r = table_set(t, id, k);
                if (r < 0) {
                        key_free(k);
                        return err_set_errno(err, -r, "bundle");
                }
        }
        *ret = TAKE_PTR(t);
        return 0;
}

int bundle_from_json(const json_t *j, struct bundle **ret, struct err **err) {
        const char *domain, *roots;
        const json_t *keys;
        int64_t sequence;
        int r;

        if ((r = json_read_string(j, "trustDomain", &domain, err)) < 0 ||
            (r = json_read_int(j, "sequence", &sequence, err)) < 0 ||
            (r = json_read_string(j, "roots", &roots, err)) < 0 ||
            (r = json_read_object(j, "assignmentKeys", &keys, err)) < 0)
                return err_wrap(err, "bundle");
        if (!trust_domain_is_valid(domain))
                return err_set(err, EINVAL, "bundle: '%.64s' is no trust domain", domain);
        if (sequence < 0)
                return err_set(err, EINVAL, "bundle: negative sequence");
        if (strlen(roots) > CERT_PEM_MAX)
                return err_set(err, EINVAL, "bundle: roots are longer than %d bytes", CERT_PEM_MAX);
        struct cert_info info;
        if (cert_inspect(roots, &info, err) < 0)
                return err_wrap(err, "bundle: roots");
        cert_info_done(&info);

        _cleanup_(bundle_freep) struct bundle *b = calloc(1, sizeof(*b));
        if (!b)
                return err_set_errno(err, ENOMEM, "bundle");
        r = read_keys(keys, &b->keys, err);
        if (r < 0)
                return r;
        const json_t *repository = json_object_get(j, "repository");
        if (repository && !json_is_null(repository) && !json_is_object(repository))
                return err_set(err, EINVAL, "bundle: repository: expected an object");
        b->document = json_pack("{s:s, s:I, s:s, s:O, s:O*}", "trustDomain", domain, "sequence",
                                (json_int_t)sequence, "roots", roots, "assignmentKeys", keys, "repository",
                                json_is_object(repository) ? repository : NULL);
        if (!b->document)
                return err_set_errno(err, ENOMEM, "bundle");
        b->trust_domain = json_string_value(json_object_get(b->document, "trustDomain"));
        b->roots = json_string_value(json_object_get(b->document, "roots"));
        b->sequence = sequence;
        *ret = TAKE_PTR(b);
        return 0;
}

struct bundle *bundle_free(struct bundle *b) {
        if (!b)
                return NULL;
        table_free(b->keys);
        json_decref(b->document);
        free(b);
        return NULL;
}

struct key *bundle_assignment_key(const struct bundle *b, const char *key_id) {
        return table_get(b->keys, key_id);
}
