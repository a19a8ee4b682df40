/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/cert.h"
#include "crypto/spiffe_id.h"
#include "net/member.h"

#define IDENTITY_FILE_MAX (CERT_PEM_MAX + 16384)
#define BUNDLE_FILE_MAX ((size_t)2 << 20) /* a TUF root may be in it */

struct identity {
        char *folder;
        char *name;
        struct key *key;
        char *certificate;
        struct cert_info info;
        struct bundle *bundle;
        struct tls_config *tls;
};

struct identity *identity_free(struct identity *i) {
        if (!i)
                return NULL;
        free(i->folder);
        free(i->name);
        key_free(i->key);
        free(i->certificate);
        cert_info_done(&i->info);
        bundle_free(i->bundle);
        tls_config_free(i->tls);
        free(i);
        return NULL;
}

static int make_material(const struct identity *i, bool anonymous, char **ret_key_pem,
                         struct tls_material *ret, struct err **err) {
        _cleanup_(x_freep) char *key_pem = NULL;
        int r = anonymous ? 0 : key_to_pem(i->key, &key_pem, err);
        if (r < 0)
                return r;
        *ret = (struct tls_material){.certificate_pem = anonymous ? NULL : i->certificate,
                                     .key_pem = key_pem,
                                     .bundle_pem = i->bundle->roots,
                                     .peer = TLS_PEER_REQUIRED,
                                     .trust_domain = i->bundle->trust_domain,
                                     .peer_is_edge = true};
        *ret_key_pem = TAKE_PTR(key_pem);
        return 0;
}

static int use_material(struct identity *i, struct err **err) {
        _cleanup_(x_freep) char *key_pem = NULL;
        struct tls_material m;
        int r = make_material(i, false, &key_pem, &m, err);
        if (r < 0)
                return r;
        return i->tls ? tls_config_reload(i->tls, &m, err) : tls_client_new(&m, &i->tls, err);
}

/* Takes folder, key (a reference), certificate and bundle together, if they fit each other. */
static int assemble(const char *state, struct key *key, const char *certificate, struct bundle *bundle,
                    struct identity **ret, struct err **err) {
        _cleanup_(identity_freep) struct identity *i = calloc(1, sizeof(*i));
        int r;
        if (!i) {
                bundle_free(bundle);
                return err_set_errno(err, ENOMEM, "identity");
        }
        i->bundle = bundle;
        i->folder = path_join(state, "identity");
        i->certificate = str_dup(certificate);
        i->key = key_ref(key);
        if (!i->folder || !i->certificate)
                return err_set_errno(err, ENOMEM, "identity");
        if ((r = cert_inspect(certificate, &i->info, err)) < 0 ||
            (r = member_name(i->info.spiffe_id, i->bundle->trust_domain, IDENTITY_NODE, &i->name, err)) < 0 ||
            (r = member_check_key(key, certificate, err)) < 0 || (r = use_material(i, err)) < 0)
                return r;
        *ret = TAKE_PTR(i);
        return 0;
}

static int store_certificate(const char *folder, struct key *key, const char *certificate, struct err **err) {
        _cleanup_(x_freep) char *pem = NULL, *both = NULL, *path = path_join(folder, "node.pem"),
                                *copy = path_join(folder, "certificate.pem");
        int r = key_to_pem(key, &pem, err);
        if (r < 0)
                return r;
        both = str_format("%s%s", pem, certificate);
        if (!path || !copy || !both)
                return err_set_errno(err, ENOMEM, "identity");
        r = file_write_atomic(path, both, strlen(both), 0600, err);
        /* The public half once more, for people and their tools; nothing reads it back. */
        if (r == 0)
                (void)file_write_atomic(copy, certificate, strlen(certificate), 0644, NULL);
        explicit_bzero(pem, strlen(pem));
        explicit_bzero(both, strlen(both));
        return r;
}

static int store_bundle(const char *folder, const struct bundle *b, struct err **err) {
        _cleanup_(x_freep) char *text = json_encode_pretty(b->document),
                                *path = path_join(folder, "bundle.json");
        if (!text || !path)
                return err_set_errno(err, ENOMEM, "bundle");
        return file_write_atomic(path, text, strlen(text), 0644, err);
}

int identity_create(const char *state, struct key *key, const char *certificate, const json_t *bundle_json,
                    struct identity **ret, struct err **err) {
        _cleanup_(identity_freep) struct identity *i = NULL;
        struct bundle *bundle;
        int r;
        if ((r = bundle_from_json(bundle_json, &bundle, err)) < 0 ||
            (r = assemble(state, key, certificate, bundle, &i, err)) < 0 ||
            (r = dir_make(i->folder, 0700, err)) < 0 || (r = store_bundle(i->folder, i->bundle, err)) < 0 ||
            /* Last, since its presence is what says that the machine has enrolled. */
            (r = store_certificate(i->folder, key, certificate, err)) < 0)
                return r;
        *ret = TAKE_PTR(i);
        return 0;
}

int identity_load(const char *state, struct identity **ret, struct err **err) {
        _cleanup_(x_freep) char *folder = path_join(state, "identity"), *pem = NULL, *text = NULL;
        _cleanup_(x_freep) char *pem_path = folder ? path_join(folder, "node.pem") : NULL;
        _cleanup_(x_freep) char *bundle_path = folder ? path_join(folder, "bundle.json") : NULL;
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_json_ json_t *j = NULL;
        struct bundle *bundle;
        size_t len;
        int r;

        if (!pem_path || !bundle_path)
                return err_set_errno(err, ENOMEM, "identity");
        r = file_read(pem_path, IDENTITY_FILE_MAX, &pem, &len, err);
        if (r < 0)
                return r;
        const char *certificate = strstr(pem, "-----BEGIN CERTIFICATE-----");
        if (!certificate)
                return err_set(err, EINVAL, "%s: holds no certificate", pem_path);
        _cleanup_(x_freep) char *key_pem = str_dup_n(pem, (size_t)(certificate - pem));
        if (!key_pem)
                return err_set_errno(err, ENOMEM, "identity");
        r = key_from_pem(key_pem, &key, err);
        explicit_bzero(key_pem, strlen(key_pem));
        if (r < 0)
                return err_wrap(err, "%s", pem_path);
        if ((r = file_read(bundle_path, BUNDLE_FILE_MAX, &text, &len, err)) < 0)
                return r == -ENOENT ? err_set(err, EINVAL, "%s is missing: enrol again", bundle_path) : r;
        if ((r = json_decode(text, len, &j, err)) < 0 || (r = bundle_from_json(j, &bundle, err)) < 0)
                return err_wrap(err, "%s", bundle_path);
        r = assemble(state, key, certificate, bundle, ret, err);
        explicit_bzero(pem, strlen(pem));
        return r < 0 ? err_wrap(err, "%s", pem_path) : 0;
}

const char *identity_name(const struct identity *i) {
        return i->name;
}
const struct bundle *identity_bundle(const struct identity *i) {
        return i->bundle;
}
const char *identity_certificate(const struct identity *i) {
        return i->certificate;
}
const char *identity_serial(const struct identity *i) {
        return i->info.serial;
}
struct key *identity_key(const struct identity *i) {
        return i->key;
}
msec_t identity_not_before(const struct identity *i) {
        return i->info.not_before;
}
msec_t identity_not_after(const struct identity *i) {
        return i->info.not_after;
}
struct tls_config *identity_tls(struct identity *i) {
        return i->tls;
}

int identity_anonymous_tls(const struct identity *i, struct tls_config **ret, struct err **err) {
        _cleanup_(x_freep) char *key_pem = NULL;
        struct tls_material m;
        int r = make_material(i, true, &key_pem, &m, err);
        return r < 0 ? r : tls_client_new(&m, ret, err);
}

int identity_renew(struct identity *i, struct key *key, const char *certificate, msec_t now,
                   struct err **err) {
        _cleanup_(x_freep) char *id = NULL, *name = NULL, *copy = str_dup(certificate);
        struct cert_info info = {0};
        int r;

        if (!copy)
                return err_set_errno(err, ENOMEM, "renewed certificate");
        if ((r = cert_verify_svid(certificate, i->bundle->roots, i->bundle->trust_domain, now, 0, &id, err)) <
                    0 ||
            (r = member_check_key(key, certificate, err)) < 0 ||
            (r = cert_inspect(certificate, &info, err)) < 0)
                return err_wrap(err, "renewed certificate");
        r = member_name(info.spiffe_id, i->bundle->trust_domain, IDENTITY_NODE, &name, err);
        if (r == 0 && !str_eq(name, i->name))
                r = err_set(err, EINVAL, "it is for node %s, this is node %s", name, i->name);
        if (r == 0)
                r = store_certificate(i->folder, key, certificate, err);
        if (r < 0) {
                cert_info_done(&info);
                return err_wrap(err, "renewed certificate");
        }
        key_free(i->key);
        i->key = key_ref(key);
        free(i->certificate);
        i->certificate = TAKE_PTR(copy);
        cert_info_done(&i->info);
        i->info = info;
        return use_material(i, err);
}

int identity_take_bundle(struct identity *i, const json_t *bundle_json, struct err **err) {
        _cleanup_(bundle_freep) struct bundle *bundle = NULL;
        int r = bundle_from_json(bundle_json, &bundle, err);
        if (r < 0)
                return r;
        if (!str_eq(bundle->trust_domain, i->bundle->trust_domain))
                return err_set(err, EXDEV, "bundle: it is of trust domain %s, this node is in %s",
                               bundle->trust_domain, i->bundle->trust_domain);
        if (bundle->sequence < i->bundle->sequence)
                return err_set(err, ESTALE, "bundle: sequence %lld is lower than %lld, which is held",
                               (long long)bundle->sequence, (long long)i->bundle->sequence);
        if (bundle->sequence == i->bundle->sequence)
                return 0;
        r = store_bundle(i->folder, bundle, err);
        if (r < 0)
                return r;
        bundle_free(i->bundle);
        i->bundle = TAKE_PTR(bundle);
        return use_material(i, err);
}
