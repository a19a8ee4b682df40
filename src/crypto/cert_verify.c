/* SPDX-License-Identifier: Apache-2.0 */
/* Verification of X.509-SVIDs: the chain by OpenSSL, the SPIFFE rules here. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/str.h"
#include "crypto/cert.h"
#include "crypto/cert_openssl.h"
#include "crypto/openssl_error.h"

#define SECURITY_LEVEL 2 /* 112 bits: no SHA-1, RSA from 2048 */

static void stack_freep(STACK_OF(X509) * *s) {
        cert_stack_free(*s);
}
static void store_freep(X509_STORE **s) {
        X509_STORE_free(*s);
}
static void context_freep(X509_STORE_CTX **c) {
        X509_STORE_CTX_free(*c);
}

static int check_usage(const X509 *leaf, struct err **err) {
        int critical = 0;
        ASN1_BIT_STRING *usage = X509_get_ext_d2i(leaf, NID_key_usage, &critical, NULL);
        bool sign = usage && ASN1_BIT_STRING_get_bit(usage, 0);
        bool cert_sign = usage && ASN1_BIT_STRING_get_bit(usage, 5);
        bool crl_sign = usage && ASN1_BIT_STRING_get_bit(usage, 6);
        bool present = usage != NULL;
        ASN1_BIT_STRING_free(usage);
        if (!present || critical != 1 || !sign)
                return err_set(err, EKEYREJECTED,
                               "certificate lacks the critical key usage digitalSignature");
        if (cert_sign || crl_sign)
                return err_set(err, EKEYREJECTED, "a leaf certificate may not sign certificates or CRLs");

        EXTENDED_KEY_USAGE *extended = X509_get_ext_d2i(leaf, NID_ext_key_usage, &critical, NULL);
        if (!extended)
                return critical == -1
                               ? 0
                               : err_set(err, EKEYREJECTED, "certificate's extended key usage is damaged");
        bool server = false, client = false;
        for (int i = 0; i < sk_ASN1_OBJECT_num(extended); i++) {
                int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(extended, i));
                server |= nid == NID_server_auth;
                client |= nid == NID_client_auth;
        }
        EXTENDED_KEY_USAGE_free(extended);
        if (!server || !client)
                return err_set(err, EKEYREJECTED,
                               "certificate's extended key usage must hold both serverAuth and clientAuth");
        return 0;
}

static int check_id(const X509 *leaf, const char *domain, char **ret, struct err **err) {
        _cleanup_(x_freep) char *id = NULL, *id_domain = NULL, *path = NULL;
        size_t count = 0;
        if (cert_uri_names(leaf, &id, &count) < 0)
                return err_set(err, ENOMEM, "out of memory");
        if (count != 1 || !id)
                return err_set(err, EKEYREJECTED, "certificate must have exactly one URI name, it has %zu",
                               count);
        int r = spiffe_id_parse(id, &id_domain, &path, err);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return err_set(err, EKEYREJECTED, "certificate's URI name is no valid SPIFFE ID");
        if (path[0] == '\0')
                return err_set(err, EKEYREJECTED,
                               "certificate names the trust domain itself, not a member: %s", id);
        if (domain && !str_eq(id_domain, domain))
                return err_set(err, EKEYREJECTED, "%s is not of trust domain %s", id, domain);
        *ret = TAKE_PTR(id);
        return 0;
}

int cert_check_svid_leaf(const X509 *leaf, const char *domain, char **ret_spiffe_id, struct err **err) {
        /* Both: X509_check_ca() excuses a CA whose key usage forbids it to sign certificates. */
        uint32_t flags = X509_get_extension_flags((X509 *)leaf);
        if (flags & EXFLAG_INVALID)
                return openssl_err_set(err, EKEYREJECTED, "certificate's extensions are damaged");
        if ((flags & EXFLAG_CA) || X509_check_ca((X509 *)leaf) != 0)
                return err_set(err, EKEYREJECTED, "certificate is one of a CA, not of a member");
        int r = check_usage(leaf, err);
        if (r >= 0)
                r = check_id(leaf, domain, ret_spiffe_id, err);
        ERR_clear_error();
        return r;
}

static int verify_chain(X509 *leaf, STACK_OF(X509) * untrusted, STACK_OF(X509) * roots, msec_t at,
                        struct err **err) {
        _cleanup_(store_freep) X509_STORE *store = X509_STORE_new();
        _cleanup_(context_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();
        if (!store || !context)
                return openssl_err_set(err, ENOMEM, "verify certificate");
        for (int i = 0; i < sk_X509_num(roots); i++)
                if (X509_STORE_add_cert(store, sk_X509_value(roots, i)) != 1)
                        return openssl_err_set(err, ENOMEM, "verify certificate");
        if (X509_STORE_CTX_init(context, store, leaf, untrusted) != 1)
                return openssl_err_set(err, ENOMEM, "verify certificate");
        X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_time(parameters, (time_t)(at / 1000));
        X509_VERIFY_PARAM_set_auth_level(parameters, SECURITY_LEVEL);
        X509_VERIFY_PARAM_set_depth(parameters, CERT_CHAIN_MAX);
        /* Every certificate of a SPIFFE bundle is an anchor, self-signed or not. */
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
        if (X509_verify_cert(context) == 1)
                return 0;
        int reason = X509_STORE_CTX_get_error(context);
        ERR_clear_error();
        return err_set(err, EKEYREJECTED, "certificate does not verify: %s",
                       X509_verify_cert_error_string(reason));
}

int cert_verify_svid(const char *chain_pem, const char *bundle_pem, const char *domain, msec_t now,
                     msec_t grace_ms, char **ret_spiffe_id, struct err **err) {
        _cleanup_(stack_freep) STACK_OF(X509) *chain = NULL;
        _cleanup_(stack_freep) STACK_OF(X509) *roots = NULL;
        _cleanup_(x_freep) char *id = NULL;
        int r = cert_parse_pem(chain_pem, CERT_CHAIN_MAX, &chain, err);
        if (r < 0) {
                err_wrap(err, "read certificate");
                return r;
        }
        r = cert_parse_pem(bundle_pem, CERT_BUNDLE_MAX, &roots, err);
        if (r < 0) {
                err_wrap(err, "read trust bundle");
                return r;
        }
        X509 *leaf = sk_X509_value(chain, 0);
        r = cert_check_svid_leaf(leaf, domain, &id, err);
        if (r < 0)
                return r;

        /* Within the grace the chain is judged as of the leaf's last valid second. */
        msec_t not_after = cert_time_ms(X509_get0_notAfter(leaf));
        msec_t at = now;
        if (now > not_after && grace_ms > 0 && now - not_after <= grace_ms)
                at = not_after - 1000;
        r = verify_chain(leaf, chain, roots, at, err);
        if (r < 0) {
                err_wrap(err, "%s", id);
                return r;
        }
        *ret_spiffe_id = TAKE_PTR(id);
        return 0;
}
