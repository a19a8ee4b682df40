/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a load generator that knows no client certificates: every TLS context it makes shows the one
 * of the file that CLIENT_CERTIFICATE names (chain and key). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdlib.h>

SSL_CTX *SSL_CTX_new(const SSL_METHOD *method) {
        SSL_CTX *(*next)(const SSL_METHOD *) =
                (SSL_CTX * (*)(const SSL_METHOD *)) dlsym(RTLD_NEXT, "SSL_CTX_new");
        const char *file = getenv("CLIENT_CERTIFICATE");
        SSL_CTX *context = next(method);
        if (context && file &&
            (SSL_CTX_use_certificate_chain_file(context, file) != 1 ||
             SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) != 1))
                abort();
        return context;
}
