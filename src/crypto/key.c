/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "base/encode.h"
#include "base/str.h"
#include "crypto/key_openssl.h"
#include "crypto/key_pem.h"
#include "crypto/openssl_error.h"

#define SIGNATURE_MAX 256 /* DER of ECDSA over P-521 is 139 bytes */

struct key {
        EVP_PKEY *evp;
        atomic_uint references; /* signing happens on worker threads */
};

int key_wrap_evp(EVP_PKEY *evp, struct key **ret, struct err **err) {
        char group[32] = "";
        if (!EVP_PKEY_is_a(evp, "EC") || EVP_PKEY_get_group_name(evp, group, sizeof(group), NULL) != 1 ||
            (!str_eq(group, "prime256v1") && !str_eq(group, "secp384r1") && !str_eq(group, "secp521r1"))) {
                openssl_err_set(NULL, EIO, "%s", ""); /* empties the queue */
                const char *type = EVP_PKEY_get0_type_name(evp);
                return err_set(err, EKEYREJECTED,
                               "key is %s %s; only EC keys on P-256, P-384 or P-521 are taken",
                               type ? type : "of an unknown type", group);
        }
        struct key *k = calloc(1, sizeof(*k));
        if (!k || EVP_PKEY_up_ref(evp) != 1) {
                free(k);
                return err_set(err, ENOMEM, "out of memory");
        }
        k->evp = evp;
        atomic_init(&k->references, 1);
        *ret = k;
        return 0;
}

int key_generate(struct key **ret, struct err **err) {
        EVP_PKEY *evp = EVP_EC_gen("P-256");
        if (!evp)
                return openssl_err_set(err, EIO, "make a P-256 key");
        int r = key_wrap_evp(evp, ret, err);
        EVP_PKEY_free(evp);
        return r;
}

struct key *key_ref(struct key *k) {
        atomic_fetch_add(&k->references, 1);
        return k;
}

struct key *key_free(struct key *k) {
        if (k && atomic_fetch_sub(&k->references, 1) == 1) {
                EVP_PKEY_free(k->evp);
                free(k);
        }
        return NULL;
}

void *key_evp(const struct key *k) {
        return k->evp;
}

int key_to_pem(const struct key *k, char **ret_pem, struct err **err) {
        return evp_write_private(k->evp, NULL, ret_pem, err);
}

int key_save(const struct key *k, const char *path, const char *passphrase, struct err **err) {
        return evp_save_private(k->evp, path, passphrase, err);
}

static int wrap_and_free(EVP_PKEY *evp, struct key **ret, struct err **err) {
        int r = key_wrap_evp(evp, ret, err);
        EVP_PKEY_free(evp);
        return r;
}

int key_from_pem(const char *pem, struct key **ret, struct err **err) {
        EVP_PKEY *evp = NULL;
        int r = evp_read_pem(pem, NULL, &evp, err);
        return r < 0 ? r : wrap_and_free(evp, ret, err);
}

/* The DER of a P-256 key in a SubjectPublicKeyInfo (RFC 5480) is these bytes and an uncompressed point. */
static const uint8_t p256_prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
#define P256_POINT 65
#define P256_TEXT 124 /* base64 of both */

static const char public_begin[] = "-----BEGIN PUBLIC KEY-----\n",
                  public_end[] = "-----END PUBLIC KEY-----\n";

/* false: it is of another kind, or written otherwise. */
static bool p256_point(const char *pem, uint8_t ret[P256_POINT]) {
        _cleanup_(x_freep) void *der = NULL;
        char text[P256_TEXT];
        size_t n = 0, len = 0;
        if (!str_has_prefix(pem, public_begin))
                return false;
        for (pem += sizeof(public_begin) - 1; *pem && *pem != '-'; pem++)
                if (*pem != '\n') {
                        if (n == sizeof(text))
                                return false;
                        text[n++] = *pem;
                }
        if (!str_eq(pem, public_end) || base64_decode(text, n, &der, &len) < 0 ||
            len != sizeof(p256_prefix) + P256_POINT || memcmp(der, p256_prefix, sizeof(p256_prefix)) != 0)
                return false;
        memcpy(ret, (const uint8_t *)der + sizeof(p256_prefix), P256_POINT);
        return true;
}

int key_from_public_pem(const char *pem, struct key **ret, struct err **err) {
        uint8_t point[P256_POINT];
        char group[] = "P-256";
        EVP_PKEY *evp = NULL;
        if (!p256_point(pem, point))
                return key_from_pem(pem, ret, err);
        OSSL_PARAM parameters[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
                OSSL_PARAM_construct_end(),
        };
        EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
        bool ok = context && EVP_PKEY_fromdata_init(context) == 1 &&
                  EVP_PKEY_fromdata(context, &evp, EVP_PKEY_PUBLIC_KEY, parameters) == 1;
        EVP_PKEY_CTX_free(context);
        if (!ok)
                return openssl_err_set(err, EINVAL, "read public key");
        return wrap_and_free(evp, ret, err);
}

int key_load(const char *path, const char *passphrase, struct key **ret, struct err **err) {
        EVP_PKEY *evp = NULL;
        int r = evp_load_pem(path, passphrase, &evp, err);
        if (r >= 0)
                r = wrap_and_free(evp, ret, err);
        if (r < 0)
                err_wrap(err, "load key %s", path);
        return r;
}

int key_public_pem(const struct key *k, char **ret_pem, struct err **err) {
        return evp_write_public(k->evp, ret_pem, err);
}

int key_id(const struct key *k, char out[65], struct err **err) {
        return evp_public_digest(k->evp, out, err);
}

int key_sign(const struct key *k, const void *message, size_t n, char **ret_base64, struct err **err) {
        if (!evp_is_private(k->evp))
                return err_set(err, EINVAL, "cannot sign: the key holds no private half");
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        unsigned char signature[SIGNATURE_MAX];
        size_t len = sizeof(signature);
        int ok = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, k->evp) == 1 &&
                 EVP_DigestSign(context, signature, &len, n > 0 ? message : "", n) == 1;
        EVP_MD_CTX_free(context);
        if (!ok)
                return openssl_err_set(err, EIO, "sign");
        char *text = base64_encode(signature, len);
        if (!text)
                return err_set(err, ENOMEM, "out of memory");
        *ret_base64 = text;
        return 0;
}

int key_verify(const struct key *k, const void *message, size_t n, const char *signature_base64,
               struct err **err) {
        _cleanup_(x_freep) void *signature = NULL;
        size_t len = 0;
        size_t text_len = strnlen(signature_base64, SIGNATURE_MAX * 2);
        int r = base64_decode(signature_base64, text_len, &signature, &len);
        if (r == -ENOMEM)
                return err_set(err, ENOMEM, "out of memory");
        if (r < 0 || len == 0 || len > SIGNATURE_MAX)
                return err_set(err, EINVAL, "signature is not base64 of at most %d bytes", SIGNATURE_MAX);
        const unsigned char *p = signature;
        ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &p, (long)len);
        bool whole = parsed && p == (const unsigned char *)signature + len;
        ECDSA_SIG_free(parsed);
        if (!whole)
                return openssl_err_set(err, EINVAL, "signature is not an ECDSA signature in DER");

        EVP_MD_CTX *context = EVP_MD_CTX_new();
        if (!context || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, k->evp) != 1) {
                EVP_MD_CTX_free(context);
                return openssl_err_set(err, EIO, "verify signature");
        }
        int verdict = EVP_DigestVerify(context, signature, len, n > 0 ? message : (const void *)"", n);
        EVP_MD_CTX_free(context);
        ERR_clear_error();
        if (verdict != 1)
                return err_set(err, EKEYREJECTED, "signature does not fit");
        return 0;
}
