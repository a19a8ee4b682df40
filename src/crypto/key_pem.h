/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of any kind in PEM: PKCS#8, optionally under a passphrase, and SubjectPublicKeyInfo. For the modules
 * of crypto/ alone; what is secret is wiped on the way. */
#pragma once

#include <openssl/evp.h>

#include "base/err.h"

bool evp_is_private(EVP_PKEY *evp);
/* passphrase NULL: plain PKCS#8. With one: PBES2, scrypt + AES-256-CBC. -EINVAL: no private half. */
int evp_write_private(EVP_PKEY *evp, const char *passphrase, char **ret, struct err **err);
int evp_save_private(EVP_PKEY *evp, const char *path, const char *passphrase, struct err **err);
/* Private or public. -EKEYREJECTED: encrypted, and the passphrase is missing or wrong; -EINVAL: no key. */
int evp_read_pem(const char *pem, const char *passphrase, EVP_PKEY **ret, struct err **err);
int evp_load_pem(const char *path, const char *passphrase, EVP_PKEY **ret, struct err **err);
int evp_write_public(EVP_PKEY *evp, char **ret_pem, struct err **err);
/* Hex SHA-256 of the DER SubjectPublicKeyInfo. */
int evp_public_digest(EVP_PKEY *evp, char out[65], struct err **err);
