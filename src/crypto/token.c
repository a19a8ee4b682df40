/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/token.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/encode.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/digest.h"

#define SECRET_BYTES 32
#define SECRET_TEXT 43 /* of base64url */
#define TOKEN_TEXT_MAX 256

static const char id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford base32 */

void token_done(struct token *t) {
        if (!t)
                return;
        free(t->pin);
        *t = (struct token){0};
}

static bool prefix_is_valid(const char *s, size_t len) {
        if (len == 0 || len >= sizeof(((struct token *)NULL)->prefix))
                return false;
        for (size_t i = 0; i < len; i++)
                if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9')))
                        return false;
        return true;
}

int token_make(const char *prefix, const char *pin, struct token *ret, char **ret_text) {
        if (!prefix_is_valid(prefix, strlen(prefix)) || (pin && !sha256_hex_is_valid(pin)))
                return -EINVAL;

        struct token t = {0};
        memcpy(t.prefix, prefix, strlen(prefix));
        uint8_t id[TOKEN_ID_SIZE - 1], secret[SECRET_BYTES];
        random_bytes(id, sizeof(id));
        for (size_t i = 0; i < sizeof(id); i++)
                t.id[i] = id_alphabet[id[i] % (sizeof(id_alphabet) - 1)];
        random_bytes(secret, sizeof(secret));
        char *secret_text = base64url_encode(secret, sizeof(secret));
        OPENSSL_cleanse(secret, sizeof(secret));
        if (!secret_text)
                return -ENOMEM;
        sha256_hex(secret_text, strlen(secret_text), t.secret_sha256);

        _cleanup_(x_freep) char *text =
                str_format("%s_%s.%s%s%s", t.prefix, t.id, secret_text, pin ? "." : "", pin ? pin : "");
        OPENSSL_cleanse(secret_text, strlen(secret_text));
        free(secret_text);
        if (!text)
                return -ENOMEM;
        if (pin && !(t.pin = str_dup(pin)))
                return -ENOMEM;
        *ret = t;
        *ret_text = TAKE_PTR(text);
        return 0;
}

/* The message never holds the text: a token that was pasted wrongly is still a secret. */
static int refuse(struct err **err, const char *why) {
        return err_set(err, EINVAL, "not a token: %s; copy it whole, as \"skerry token create\" printed it",
                       why);
}

int token_parse(const char *text, struct token *ret, struct err **err) {
        if (str_is_empty(text))
                return refuse(err, "it is empty");
        if (strnlen(text, TOKEN_TEXT_MAX + 1) > TOKEN_TEXT_MAX)
                return refuse(err, "it is too long");

        struct token t = {0};
        size_t prefix_len = strcspn(text, "_");
        if (text[prefix_len] != '_' || !prefix_is_valid(text, prefix_len))
                return refuse(err, "it does not start with a kind and '_'");
        memcpy(t.prefix, text, prefix_len);

        const char *id = text + prefix_len + 1;
        size_t id_len = strcspn(id, ".");
        if (id[id_len] != '.' || id_len != TOKEN_ID_SIZE - 1 || strspn(id, id_alphabet) != id_len)
                return refuse(err, "its id is malformed");
        memcpy(t.id, id, id_len);

        const char *secret = id + id_len + 1;
        size_t secret_len = strcspn(secret, ".");
        if (secret_len != SECRET_TEXT ||
            strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != secret_len)
                return refuse(err, "its secret part is malformed");
        sha256_hex(secret, secret_len, t.secret_sha256);

        if (secret[secret_len] == '.') {
                const char *pin = secret + secret_len + 1;
                if (!sha256_hex_is_valid(pin))
                        return refuse(err, "its last part, the pin of the server's root key, is malformed");
                t.pin = str_dup(pin);
                if (!t.pin)
                        return err_set(err, ENOMEM, "out of memory");
        }
        *ret = t;
        return 0;
}

bool token_hash_equal(const char *a, const char *b) {
        if (!sha256_hex_is_valid(a) || !sha256_hex_is_valid(b))
                return false;
        return bytes_equal_constant_time(a, b, SHA256_HEX_SIZE - 1);
}
