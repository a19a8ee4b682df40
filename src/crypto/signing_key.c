/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/signing_key.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <string.h>

#include "base/str.h"
#include "crypto/key_pem.h"
#include "crypto/openssl_error.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

struct signing_key {
        EVP_PKEY *evp;
        enum signing_scheme scheme;
        atomic_uint references; /* publishers sign on worker threads */
};

static int refuse(EVP_PKEY *evp, struct err **err) {
        const char *type = EVP_PKEY_get0_type_name(evp);
        return err_set(err, EKEYREJECTED,
                       "key is %s of %d bits; taken are Ed25519, EC on P-256 and RSA of %d to %d bits",
                       type ? type : "of an unknown type", EVP_PKEY_get_bits(evp), RSA_BITS_MIN,
                       RSA_BITS_MAX);
}

/* Takes evp over, also when it fails. */
static int wrap(EVP_PKEY *evp, struct signing_key **ret, struct err **err) {
        enum signing_scheme scheme = SIGNING_ED25519;
        char group[32] = "";
        int r = 0;
        if (EVP_PKEY_is_a(evp, "ED25519"))
                scheme = SIGNING_ED25519;
        else if (EVP_PKEY_is_a(evp, "EC") && EVP_PKEY_get_group_name(evp, group, sizeof(group), NULL) == 1 &&
                 str_eq(group, "prime256v1"))
                scheme = SIGNING_ECDSA_P256;
        else if (EVP_PKEY_is_a(evp, "RSA") && EVP_PKEY_get_bits(evp) >= RSA_BITS_MIN &&
                 EVP_PKEY_get_bits(evp) <= RSA_BITS_MAX)
                scheme = SIGNING_RSA_PSS;
        else
                r = refuse(evp, err);
        ERR_clear_error();
        struct signing_key *k = r < 0 ? NULL : calloc(1, sizeof(*k));
        if (!k) {
                EVP_PKEY_free(evp);
                return r < 0 ? r : err_set_errno(err, ENOMEM, "take key");
        }
        k->evp = evp;
        k->scheme = scheme;
        atomic_init(&k->references, 1);
        *ret = k;
        return 0;
}

struct signing_key *signing_key_ref(struct signing_key *k) {
        atomic_fetch_add(&k->references, 1);
        return k;
}

struct signing_key *signing_key_free(struct signing_key *k) {
        if (k && atomic_fetch_sub(&k->references, 1) == 1) {
                EVP_PKEY_free(k->evp);
                free(k);
        }
        return NULL;
}

int signing_key_generate(enum signing_scheme scheme, struct signing_key **ret, struct err **err) {
        EVP_PKEY *evp = NULL;
        switch (scheme) {
        case SIGNING_ED25519: evp = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); break;
        case SIGNING_ECDSA_P256: evp = EVP_EC_gen("P-256"); break;
        case SIGNING_RSA_PSS: return err_set(err, EOPNOTSUPP, "RSA keys are verified, but not made");
        }
        if (!evp)
                return openssl_err_set(err, EIO, "make a key");
        return wrap(evp, ret, err);
}

int signing_key_from_pem(const char *pem, const char *passphrase, struct signing_key **ret,
                         struct err **err) {
        EVP_PKEY *evp = NULL;
        int r = evp_read_pem(pem, passphrase, &evp, err);
        return r < 0 ? r : wrap(evp, ret, err);
}

int signing_key_from_ed25519(const uint8_t public_key[32], struct signing_key **ret, struct err **err) {
        EVP_PKEY *evp = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, 32);
        if (!evp)
                return openssl_err_set(err, EINVAL, "not an Ed25519 key");
        return wrap(evp, ret, err);
}

int signing_key_save(const struct signing_key *k, const char *path, const char *passphrase,
                     struct err **err) {
        return evp_save_private(k->evp, path, passphrase, err);
}

int signing_key_load(const char *path, const char *passphrase, struct signing_key **ret, struct err **err) {
        EVP_PKEY *evp = NULL;
        int r = evp_load_pem(path, passphrase, &evp, err);
        if (r >= 0)
                r = wrap(evp, ret, err);
        return r < 0 ? err_wrap_code(err, r, "load key %s", path) : 0;
}

bool signing_key_pem_is_encrypted(const char *pem) {
        return strstr(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") != NULL;
}

enum signing_scheme signing_key_scheme(const struct signing_key *k) {
        return k->scheme;
}

bool signing_key_is_private(const struct signing_key *k) {
        return evp_is_private(k->evp);
}

int signing_key_public_pem(const struct signing_key *k, char **ret_pem, struct err **err) {
        return evp_write_public(k->evp, ret_pem, err);
}

int signing_key_public_ed25519(const struct signing_key *k, uint8_t ret[32]) {
        size_t len = 32;
        if (k->scheme != SIGNING_ED25519 || EVP_PKEY_get_raw_public_key(k->evp, ret, &len) != 1 || len != 32)
                return -EINVAL;
        return 0;
}

int signing_key_fingerprint(const struct signing_key *k, char ret[65], struct err **err) {
        return evp_public_digest(k->evp, ret, err);
}

/* Ed25519 hashes for itself. */
static const EVP_MD *digest_of(const struct signing_key *k) {
        return k->scheme == SIGNING_ED25519 ? NULL : EVP_sha256();
}

static bool set_padding(const struct signing_key *k, EVP_PKEY_CTX *context, int salt) {
        return k->scheme != SIGNING_RSA_PSS ||
               (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1);
}

int signing_key_sign(const struct signing_key *k, const void *message, size_t n,
                     uint8_t ret[SIGNING_SIGNATURE_MAX], size_t *ret_len, struct err **err) {
        if (!evp_is_private(k->evp))
                return err_set(err, EINVAL, "cannot sign: the key holds no private half");
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_PKEY_CTX *key_context = NULL;
        size_t len = SIGNING_SIGNATURE_MAX;
        bool ok = context && EVP_DigestSignInit(context, &key_context, digest_of(k), NULL, k->evp) == 1 &&
                  set_padding(k, key_context, RSA_PSS_SALTLEN_DIGEST) &&
                  EVP_DigestSign(context, ret, &len, n > 0 ? message : "", n) == 1;
        EVP_MD_CTX_free(context);
        if (!ok)
                return openssl_err_set(err, EIO, "sign");
        *ret_len = len;
        return 0;
}

int signing_key_verify(const struct signing_key *k, const void *message, size_t n, const void *signature,
                       size_t len) {
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_PKEY_CTX *key_context = NULL;
        bool ok = context && EVP_DigestVerifyInit(context, &key_context, digest_of(k), NULL, k->evp) == 1 &&
                  set_padding(k, key_context, RSA_PSS_SALTLEN_AUTO) &&
                  EVP_DigestVerify(context, signature, len, n > 0 ? message : (const void *)"", n) == 1;
        EVP_MD_CTX_free(context);
        ERR_clear_error();
        return ok ? 0 : -EKEYREJECTED;
}
