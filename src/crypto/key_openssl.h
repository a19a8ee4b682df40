/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as OpenSSL objects; for the modules of crypto/ alone. */
#pragma once

#include <openssl/evp.h>

#include "crypto/key.h"

/* A key around evp (its reference is shared, the caller keeps its own). -EKEYREJECTED when it is of a
 * kind or size that Skerry does not take. */
int key_wrap_evp(EVP_PKEY *evp, struct key **ret, struct err **err);
