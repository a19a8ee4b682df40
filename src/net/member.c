/* SPDX-License-Identifier: Apache-2.0 */
#include "net/member.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "crypto/cert.h"

int member_enrol_body(struct key *key, const char *token, const char *name, const char *otherwise,
                      json_t *facts, json_t **ret, struct err **err) {
        _cleanup_(x_freep) char *csr = NULL;
        int r = csr_make(key, name ? name : otherwise, &csr, err);
        if (r < 0)
                return r;
        json_t *body =
                json_pack("{s:s, s:s, s:s*, s:O}", "token", token, "csr", csr, "name", name, "facts", facts);
        if (!body)
                return err_set_errno(err, ENOMEM, "enrol");
        *ret = body;
        return 0;
}

int member_renew_body(struct key *key, struct key *held, const char *name, const char *certificate,
                      json_t **ret, struct err **err) {
        _cleanup_(x_freep) char *csr = NULL, *proof = NULL;
        int r = csr_make(key, name, &csr, err);
        if (r >= 0)
                r = key_sign(held, csr, strlen(csr), &proof, err);
        if (r < 0)
                return r;
        json_t *body = json_pack("{s:s, s:s, s:s}", "csr", csr, "certificate", certificate, "proof", proof);
        if (!body)
                return err_set_errno(err, ENOMEM, "renew");
        *ret = body;
        return 0;
}

int member_check_key(struct key *key, const char *certificate, struct err **err) {
        _cleanup_(key_freep) struct key *certified = NULL;
        char ours[65], theirs[65];
        int r = cert_public_key(certificate, &certified, err);
        if (r >= 0)
                r = key_id(certified, theirs, err);
        if (r >= 0)
                r = key_id(key, ours, err);
        if (r < 0)
                return r;
        return str_eq(ours, theirs) ? 0 : err_set(err, EINVAL, "the certificate is for another key");
}

int member_name(const char *spiffe_id, const char *trust_domain, enum identity_kind kind, char **ret,
                struct err **err) {
        _cleanup_(x_freep) char *name = NULL;
        enum identity_kind found;
        if (!spiffe_id || spiffe_id_member(spiffe_id, trust_domain, &found, &name) < 0)
                return err_set(err, EINVAL, "the certificate is for %s, not for a member of %s",
                               spiffe_id ? spiffe_id : "nobody", trust_domain);
        if (found != kind)
                return err_set(err, EINVAL, "the certificate is for %s, which is not a %s", spiffe_id,
                               kind == IDENTITY_NODE ? "node" : "relay");
        *ret = TAKE_PTR(name);
        return 0;
}
