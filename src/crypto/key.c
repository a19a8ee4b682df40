/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "crypto/key_openssl.h"
#include "crypto/openssl_error.h"

#define KEY_PEM_MAX ((size_t)16 * 1024)
#define SIGNATURE_MAX 256 /* DER of ECDSA over P-521 is 139 bytes */
/* 16 MB and about 50 ms: what OpenSSL's own reader accepts without being told a larger bound. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1

struct key {
        EVP_PKEY *evp;
        atomic_uint references; /* signing happens on worker threads */
};

static void bio_freep(BIO **b) {
        BIO_free_all(*b);
}

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

static bool is_private(const struct key *k) {
        BIGNUM *scalar = NULL;
        bool yes = EVP_PKEY_get_bn_param(k->evp, OSSL_PKEY_PARAM_PRIV_KEY, &scalar) == 1;
        BN_clear_free(scalar);
        ERR_clear_error();
        return yes;
}

/* Copies what a memory BIO holds, and wipes the BIO when that is a secret. */
static int take_bio(BIO *bio, bool secret, char **ret, struct err **err) {
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        char *copy = len > 0 ? str_dup_n(data, (size_t)len) : NULL;
        if (secret && len > 0)
                OPENSSL_cleanse(data, (size_t)len);
        if (!copy)
                return err_set(err, ENOMEM, "out of memory");
        *ret = copy;
        return 0;
}

static int write_encrypted(BIO *bio, const struct key *k, const char *passphrase) {
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(k->evp);
        X509_ALGOR *algorithm =
                PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
        X509_SIG *sealed = NULL;
        if (info && algorithm) {
                sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), info, algorithm);
                if (sealed)
                        algorithm = NULL; /* now part of it */
        }
        int ok = sealed && PEM_write_bio_PKCS8(bio, sealed) == 1;
        X509_SIG_free(sealed);
        X509_ALGOR_free(algorithm);
        PKCS8_PRIV_KEY_INFO_free(info);
        return ok;
}

static int private_pem(const struct key *k, const char *passphrase, char **ret, struct err **err) {
        if (!is_private(k))
                return err_set(err, EINVAL, "the key holds no private half");
        if (passphrase && strlen(passphrase) > 1024)
                return err_set(err, EINVAL, "the passphrase is longer than 1024 bytes");
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!bio)
                return openssl_err_set(err, ENOMEM, "write key");
        int ok = passphrase ? write_encrypted(bio, k, passphrase)
                            : PEM_write_bio_PKCS8PrivateKey(bio, k->evp, NULL, NULL, 0, NULL, NULL) == 1;
        if (!ok)
                return openssl_err_set(err, EIO, "write key");
        return take_bio(bio, true, ret, err);
}

int key_to_pem(const struct key *k, char **ret_pem, struct err **err) {
        return private_pem(k, NULL, ret_pem, err);
}

int key_save(const struct key *k, const char *path, const char *passphrase, struct err **err) {
        char *pem = NULL;
        int r = private_pem(k, passphrase, &pem, err);
        if (r >= 0 && pem)
                r = file_write_atomic(path, pem, strlen(pem), 0600, err);
        if (pem) {
                OPENSSL_cleanse(pem, strlen(pem));
                free(pem);
        }
        if (r < 0)
                err_wrap(err, "save key %s", path);
        return r;
}

/* Never lets OpenSSL ask on the terminal. */
static int give_passphrase(char *out, int size, int writing, void *passphrase) {
        size_t len = passphrase ? strlen(passphrase) : 0;
        if (!passphrase || size < 0 || len > (size_t)size)
                return -1;
        memcpy(out, passphrase, len);
        return (int)len;
}

static int parse_pem(const char *pem, size_t len, const char *passphrase, struct key **ret,
                     struct err **err) {
        bool private = strstr(pem, "PRIVATE KEY-----") != NULL;
        bool sealed = strstr(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") != NULL;
        if (sealed && !passphrase)
                return err_set(err, EKEYREJECTED, "the key is encrypted: give its passphrase file");
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem, (int)len);
        if (!bio)
                return openssl_err_set(err, ENOMEM, "read key");
        EVP_PKEY *evp = private ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)passphrase)
                                : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
        if (!evp && sealed)
                return openssl_err_set(err, EKEYREJECTED, "the passphrase does not open the key");
        if (!evp)
                return openssl_err_set(err, EINVAL, "not a key in PEM");
        ERR_clear_error();
        int r = key_wrap_evp(evp, ret, err);
        EVP_PKEY_free(evp);
        return r;
}

int key_from_pem(const char *pem, struct key **ret, struct err **err) {
        size_t len = strnlen(pem, KEY_PEM_MAX + 1);
        if (len > KEY_PEM_MAX)
                return err_set(err, EINVAL, "key is longer than %zu bytes", KEY_PEM_MAX);
        return parse_pem(pem, len, NULL, ret, err);
}

int key_load(const char *path, const char *passphrase, struct key **ret, struct err **err) {
        char *pem = NULL;
        size_t len = 0;
        int r = file_read(path, KEY_PEM_MAX, &pem, &len, err);
        if (r < 0)
                return r;
        r = parse_pem(pem, len, passphrase, ret, err);
        OPENSSL_cleanse(pem, len);
        free(pem);
        if (r < 0)
                err_wrap(err, "load key %s", path);
        return r;
}

int key_public_pem(const struct key *k, char **ret_pem, struct err **err) {
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!bio || PEM_write_bio_PUBKEY(bio, k->evp) != 1)
                return openssl_err_set(err, EIO, "write public key");
        return take_bio(bio, false, ret_pem, err);
}

int key_id(const struct key *k, char out[65], struct err **err) {
        unsigned char *der = NULL;
        int len = i2d_PUBKEY(k->evp, &der);
        if (len <= 0)
                return openssl_err_set(err, EIO, "encode public key");
        sha256_hex(der, (size_t)len, out);
        OPENSSL_free(der);
        return 0;
}

int key_sign(const struct key *k, const void *message, size_t n, char **ret_base64, struct err **err) {
        if (!is_private(k))
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
