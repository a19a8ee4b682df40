/* SPDX-License-Identifier: Apache-2.0 */
/* Identities and recipients of age, and the file that keeps one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/age_internal.h"
#include "crypto/bech32.h"

#define IDENTITY_PREFIX "age-secret-key-"
#define RECIPIENT_PREFIX "age"
#define IDENTITY_FILE_MAX 65536

struct age_identity {
        struct secret *key;
        uint8_t public_key[X25519_SIZE];
        char recipient[BECH32_TEXT_MAX];
};

struct age_identity *age_identity_free(struct age_identity *i) {
        if (!i)
                return NULL;
        secret_free(i->key);
        free(i);
        return NULL;
}

static int identity_from_key(struct secret *key, struct age_identity **ret, struct err **err) {
        _cleanup_(age_identity_freep) struct age_identity *i = calloc(1, sizeof(*i));
        if (!i) {
                secret_free(key);
                return err_set_errno(err, ENOMEM, "age identity");
        }
        i->key = key;
        if (x25519_public((const uint8_t *)secret_text(key), i->public_key) < 0 ||
            bech32_encode(RECIPIENT_PREFIX, i->public_key, false, i->recipient) < 0)
                return err_set(err, EIO, "age identity: cannot make its recipient");
        *ret = TAKE_PTR(i);
        return 0;
}

static struct secret *new_key(void) {
        struct secret *key = secret_new(X25519_SIZE, false);
        if (key)
                secret_set_len(key, X25519_SIZE);
        return key;
}

int age_identity_generate(struct age_identity **ret, struct err **err) {
        struct secret *key = new_key();
        if (!key)
                return err_set_errno(err, ENOMEM, "age identity");
        random_bytes(secret_data(key), X25519_SIZE);
        return identity_from_key(key, ret, err);
}

int age_identity_parse(const char *text, struct age_identity **ret, struct err **err) {
        struct secret *key = new_key();
        if (!key)
                return err_set_errno(err, ENOMEM, "age identity");
        /* Upper case is how it is written; the checksum is over lower case. */
        if (!str_has_prefix(text, "AGE-SECRET-KEY-1") ||
            bech32_decode(IDENTITY_PREFIX, text, (uint8_t *)secret_data(key)) < 0) {
                secret_free(key);
                return err_set(err, EINVAL, "not an age identity of the form AGE-SECRET-KEY-1...");
        }
        return identity_from_key(key, ret, err);
}

const char *age_identity_recipient(const struct age_identity *i) {
        return i->recipient;
}

const uint8_t *age_identity_private(const struct age_identity *i) {
        return (const uint8_t *)secret_text(i->key);
}

const uint8_t *age_identity_public(const struct age_identity *i) {
        return i->public_key;
}

int age_identity_save(const struct age_identity *i, const char *path, struct err **err) {
        _cleanup_(secret_freep) struct secret *text = secret_new(512, false);
        char encoded[BECH32_TEXT_MAX];
        if (!text)
                return err_set_errno(err, ENOMEM, "%s", path);
        if (bech32_encode(IDENTITY_PREFIX, age_identity_private(i), true, encoded) < 0)
                return err_set(err, EIO, "%s: cannot write the identity", path);
        int n = snprintf(secret_data(text), secret_room(text), "# public key: %s\n%s\n", i->recipient,
                         encoded);
        explicit_bzero(encoded, sizeof(encoded));
        return file_write_atomic(path, secret_text(text), (size_t)n, 0600, err);
}

int age_identity_load(const char *path, struct age_identity **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        int r = file_read(path, IDENTITY_FILE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        r = -ENOENT;
        char *rest = text;
        for (char *line; r == -ENOENT && (line = strsep(&rest, "\n"));) {
                line[strcspn(line, "\r")] = '\0';
                if (*line && *line != '#')
                        r = age_identity_parse(line, ret, err);
        }
        if (text)
                explicit_bzero(text, len);
        if (r == -ENOENT)
                return err_set(err, EINVAL, "%s: holds no age identity", path);
        return r < 0 ? err_wrap_code(err, r, "%s", path) : 0;
}

int age_recipient_key(const char *text, uint8_t ret[X25519_SIZE]) {
        return str_has_prefix(text, RECIPIENT_PREFIX "1") ? bech32_decode(RECIPIENT_PREFIX, text, ret)
                                                          : -EINVAL;
}

bool age_recipient_is_valid(const char *text) {
        uint8_t key[X25519_SIZE];
        return text && age_recipient_key(text, key) == 0;
}
