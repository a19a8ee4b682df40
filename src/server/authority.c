/* SPDX-License-Identifier: Apache-2.0 */
#include "server/authority.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "codec/json.h"
#include "server/memory.h"

struct authority {
        char *domain;
        char *roots;        /* PEM */
        char *intermediate; /* PEM */
        struct key *intermediate_key, *assignment_key;
        char assignment_key_id[65];
        char *assignment_public; /* PEM */
        char pin[65];
        int64_t bundle_sequence;
};

struct authority *authority_free(struct authority *a) {
        if (!a)
                return NULL;
        free(a->domain);
        free(a->roots);
        free(a->intermediate);
        free(a->assignment_public);
        key_free(a->intermediate_key);
        key_free(a->assignment_key);
        free(a);
        return NULL;
}

static int pem_write(const char *folder, const char *name, const char *pem, struct err **err) {
        _cleanup_(x_freep) char *path = must(path_join(folder, name));
        return file_write_atomic(path, pem, strlen(pem), 0644, err);
}

static int pem_read(const char *folder, const char *name, char **ret, struct err **err) {
        _cleanup_(x_freep) char *path = must(path_join(folder, name));
        size_t len;
        return file_read(path, CERT_PEM_MAX, ret, &len, err);
}

static int key_read(const char *folder, const char *name, const char *passphrase, struct key **ret,
                    struct err **err) {
        _cleanup_(x_freep) char *path = must(path_join(folder, name));
        return key_load(path, passphrase, ret, err);
}

static int intermediate_make(const char *folder, const char *domain, const char *root_pem,
                             struct key *root_key, const char *passphrase, msec_t now, struct err **err) {
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_(x_freep) char *pem = NULL, *key_path = must(path_join(folder, "intermediate.key"));
        int r = key_generate(&key, err);
        if (r < 0)
                return r;
        r = cert_make_intermediate(key, domain, root_pem, root_key, now, &pem, err);
        if (r < 0)
                return r;
        r = key_save(key, key_path, passphrase, err);
        if (r < 0)
                return r;
        return pem_write(folder, "intermediate.pem", pem, err);
}

int authority_create(const char *state, const char *domain, const char *passphrase, msec_t now,
                     char ret_pin[65], struct err **err) {
        _cleanup_(x_freep) char *folder = must(path_join(state, "ca")), *root_pem = NULL,
                                *root_path = must(path_join(folder, "root.key")),
                                *assignment_path = must(path_join(folder, "assignment.key"));
        _cleanup_(key_freep) struct key *root_key = NULL, *assignment_key = NULL;
        int r = dir_make(folder, 0700, err);
        if (r >= 0)
                r = key_generate(&root_key, err);
        if (r >= 0)
                r = cert_make_root(root_key, domain, now, &root_pem, err);
        if (r >= 0)
                r = key_save(root_key, root_path, passphrase, err);
        if (r >= 0)
                r = pem_write(folder, "root.pem", root_pem, err);
        if (r >= 0)
                r = intermediate_make(folder, domain, root_pem, root_key, passphrase, now, err);
        if (r >= 0)
                r = key_generate(&assignment_key, err);
        if (r >= 0)
                r = key_save(assignment_key, assignment_path, passphrase, err);
        if (r >= 0)
                r = cert_pin_of_root(root_pem, ret_pin, err);
        return r < 0 ? err_wrap(err, "make the certificate authority in %s", folder) : 0;
}

/* Is the intermediate's time running out, or does it not belong to its key (power went between the two
 * writes of intermediate_make())? */
static bool intermediate_is_due(const char *pem, const struct key *key, msec_t now) {
        struct cert_info info = {0};
        _cleanup_(key_freep) struct key *held = NULL;
        char a[65], b[65];
        if (cert_inspect(pem, &info, NULL) < 0)
                return true;
        msec_t left = info.not_after - now, whole = info.not_after - info.not_before;
        cert_info_done(&info);
        if (left < whole / 3)
                return true;
        return cert_public_key(pem, &held, NULL) < 0 || key_id(held, a, NULL) < 0 ||
               key_id(key, b, NULL) < 0 || strcmp(a, b) != 0;
}

static int intermediate_refresh(struct authority *a, const char *folder, const char *passphrase, msec_t now,
                                struct err **err) {
        _cleanup_(key_freep) struct key *root_key = NULL;
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_(x_freep) char *pem = NULL;
        if (!intermediate_is_due(a->intermediate, a->intermediate_key, now))
                return 0;
        if (key_read(folder, "root.key", passphrase, &root_key, NULL) < 0)
                return 0; /* kept elsewhere: the old one goes on as long as it can */
        int r = intermediate_make(folder, a->domain, a->roots, root_key, passphrase, now, err);
        if (r >= 0)
                r = pem_read(folder, "intermediate.pem", &pem, err);
        if (r >= 0)
                r = key_read(folder, "intermediate.key", passphrase, &key, err);
        if (r < 0)
                return err_wrap(err, "renew the intermediate certificate");
        free(a->intermediate);
        key_free(a->intermediate_key);
        a->intermediate = TAKE_PTR(pem);
        a->intermediate_key = TAKE_PTR(key);
        return 0;
}

static int authority_load(struct authority *a, const char *folder, const char *passphrase, msec_t now,
                          struct err **err) {
        int r = pem_read(folder, "root.pem", &a->roots, err);
        if (r >= 0)
                r = pem_read(folder, "intermediate.pem", &a->intermediate, err);
        if (r >= 0)
                r = key_read(folder, "intermediate.key", passphrase, &a->intermediate_key, err);
        if (r >= 0)
                r = key_read(folder, "assignment.key", passphrase, &a->assignment_key, err);
        if (r >= 0)
                r = cert_pin_of_root(a->roots, a->pin, err);
        if (r < 0)
                return r;
        return intermediate_refresh(a, folder, passphrase, now, err);
}

int authority_open(const char *state, const char *domain, const char *passphrase, int64_t bundle_sequence,
                   msec_t now, struct authority **ret, struct err **err) {
        _cleanup_(x_freep) char *folder = must(path_join(state, "ca"));
        _cleanup_(authority_freep) struct authority *a = NEW(struct authority);
        a->domain = copy_text(domain);
        a->bundle_sequence = bundle_sequence;
        int r = authority_load(a, folder, passphrase, now, err);
        if (r >= 0)
                r = key_id(a->assignment_key, a->assignment_key_id, err);
        if (r >= 0)
                r = key_public_pem(a->assignment_key, &a->assignment_public, err);
        if (r < 0)
                return err_wrap(err, "open the certificate authority in %s", folder);
        *ret = TAKE_PTR(a);
        return 0;
}

int authority_refresh(struct authority *a, const char *state, const char *passphrase, msec_t now,
                      struct err **err) {
        _cleanup_(x_freep) char *folder = must(path_join(state, "ca"));
        return intermediate_refresh(a, folder, passphrase, now, err);
}

const char *authority_domain(const struct authority *a) {
        return a->domain;
}
const char *authority_roots(const struct authority *a) {
        return a->roots;
}
const char *authority_pin(const struct authority *a) {
        return a->pin;
}

int authority_issue(struct authority *a, enum identity_kind kind, const char *name, struct key *subject,
                    const char *const *dns_names, msec_t ttl, msec_t now, char **ret_chain,
                    struct cert_info *ret_info, struct err **err) {
        _cleanup_(x_freep) char *id = must(spiffe_id_make(a->domain, kind, name)), *leaf = NULL;
        struct cert_request request = {.spiffe_id = id, .dns_names = dns_names, .not_after = now + ttl};
        int r = cert_issue(subject, &request, a->intermediate, a->intermediate_key, now, &leaf, err);
        if (r < 0)
                return err_wrap(err, "issue a certificate for %s", id);
        if (ret_info) {
                struct cert_info info = {0};
                r = cert_inspect(leaf, &info, err);
                if (r < 0)
                        return r;
                *ret_info = info;
        }
        *ret_chain = must(str_format("%s%s%s", leaf, a->intermediate, a->roots));
        return 0;
}

void renewal_done(struct renewal *r) {
        free(r->name);
        key_free(r->subject);
        *r = (struct renewal){0};
}

static int renewal_read(struct authority *a, const char *csr, const char *chain, const char *proof,
                        msec_t grace_ms, msec_t now, struct renewal *r, struct err **err) {
        _cleanup_(x_freep) char *id = NULL;
        _cleanup_(key_freep) struct key *old = NULL;
        struct cert_info info = {0};
        int k = cert_verify_svid(chain, a->roots, a->domain, now, grace_ms, &id, err);
        if (k >= 0)
                k = cert_public_key(chain, &old, err);
        if (k < 0)
                return k;
        k = key_verify(old, csr, strlen(csr), proof, err);
        if (k < 0)
                return err_wrap(err, "proof of the old key");
        k = csr_check(csr, &r->subject, err);
        if (k < 0)
                return k;
        if (spiffe_id_member(id, a->domain, &r->kind, &r->name) < 0)
                return err_set(err, EKEYREJECTED, "%s is not a name of this trust domain", id);
        k = cert_inspect(chain, &info, err);
        if (k < 0)
                return k;
        memcpy(r->serial, info.serial, sizeof(r->serial));
        cert_info_done(&info);
        return 0;
}

int authority_check_renewal(struct authority *a, const char *csr, const char *chain, const char *proof,
                            msec_t grace_ms, msec_t now, struct renewal *ret, struct err **err) {
        struct renewal renewal = {0};
        int r = renewal_read(a, csr, chain, proof, grace_ms, now, &renewal, err);
        if (r < 0) {
                renewal_done(&renewal);
                return r;
        }
        *ret = renewal;
        return 0;
}

json_t *authority_bundle(const struct authority *a) {
        json_t *bundle = json_object_new(), *keys = json_object_new();
        json_put(keys, a->assignment_key_id, json_text(a->assignment_public));
        json_put(bundle, "trustDomain", json_text(a->domain));
        json_put(bundle, "sequence", json_number(a->bundle_sequence));
        json_put(bundle, "roots", json_text(a->roots));
        json_put(bundle, "assignmentKeys", keys);
        return bundle;
}

json_t *authority_sign(struct authority *a, json_t *document) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_(x_freep) char *signature = NULL;
        if (json_encode_canonical(document, &text, NULL) < 0 ||
            key_sign(a->assignment_key, text.data, text.len, &signature, NULL) < 0) {
                json_decref(document);
                return NULL;
        }
        json_t *envelope = json_object_new(), *signatures = json_array_new(), *one = json_object_new();
        json_put(one, "keyid", json_text(a->assignment_key_id));
        json_put(one, "sig", json_text(signature));
        json_add(signatures, one);
        json_put(envelope, "signed", document);
        json_put(envelope, "signatures", signatures);
        return envelope;
}
