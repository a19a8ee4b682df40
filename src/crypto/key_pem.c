/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key_pem.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "crypto/openssl_error.h"

#define KEY_PEM_MAX ((size_t)16 * 1024)
/* 16 MB and about 50 ms: what OpenSSL's own reader accepts without being told a larger bound. */
#define SCRYPT_N 16384
#define SCRYPT_R 8
#define SCRYPT_P 1

static void bio_freep(BIO **b) {
        BIO_free_all(*b);
}

/* Ed25519 has its private half as bytes, EC and RSA as a number. */
bool evp_is_private(EVP_PKEY *evp) {
        BIGNUM *scalar = NULL;
        size_t len = 0;
        bool yes = EVP_PKEY_is_a(evp, "ED25519")
                           ? EVP_PKEY_get_raw_private_key(evp, NULL, &len) == 1 && len > 0
                           : EVP_PKEY_get_bn_param(evp,
                                                   EVP_PKEY_is_a(evp, "RSA") ? OSSL_PKEY_PARAM_RSA_D
                                                                             : OSSL_PKEY_PARAM_PRIV_KEY,
                                                   &scalar) == 1;
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

static int write_encrypted(BIO *bio, EVP_PKEY *evp, const char *passphrase) {
        PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(evp);
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

int evp_write_private(EVP_PKEY *evp, const char *passphrase, char **ret, struct err **err) {
        if (!evp_is_private(evp))
                return err_set(err, EINVAL, "the key holds no private half");
        if (passphrase && strlen(passphrase) > 1024)
                return err_set(err, EINVAL, "the passphrase is longer than 1024 bytes");
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!bio)
                return openssl_err_set(err, ENOMEM, "write key");
        int ok = passphrase ? write_encrypted(bio, evp, passphrase)
                            : PEM_write_bio_PKCS8PrivateKey(bio, evp, NULL, NULL, 0, NULL, NULL) == 1;
        if (!ok)
                return openssl_err_set(err, EIO, "write key");
        return take_bio(bio, true, ret, err);
}

int evp_save_private(EVP_PKEY *evp, const char *path, const char *passphrase, struct err **err) {
        char *pem = NULL;
        int r = evp_write_private(evp, passphrase, &pem, err);
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

int evp_read_pem(const char *pem, const char *passphrase, EVP_PKEY **ret, struct err **err) {
        size_t len = strnlen(pem, KEY_PEM_MAX + 1);
        if (len > KEY_PEM_MAX)
                return err_set(err, EINVAL, "key is longer than %zu bytes", KEY_PEM_MAX);
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
        *ret = evp;
        return 0;
}

int evp_load_pem(const char *path, const char *passphrase, EVP_PKEY **ret, struct err **err) {
        char *pem = NULL;
        size_t len = 0;
        int r = file_read(path, KEY_PEM_MAX, &pem, &len, err);
        if (r < 0)
                return r;
        r = evp_read_pem(pem, passphrase, ret, err);
        OPENSSL_cleanse(pem, len);
        free(pem);
        return r;
}

int evp_write_public(EVP_PKEY *evp, char **ret_pem, struct err **err) {
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!bio || PEM_write_bio_PUBKEY(bio, evp) != 1)
                return openssl_err_set(err, EIO, "write public key");
        return take_bio(bio, false, ret_pem, err);
}

int evp_public_digest(EVP_PKEY *evp, char out[65], struct err **err) {
        unsigned char *der = NULL;
        int len = i2d_PUBKEY(evp, &der);
        if (len <= 0)
                return openssl_err_set(err, EIO, "encode public key");
        sha256_hex(der, (size_t)len, out);
        OPENSSL_free(der);
        return 0;
}
