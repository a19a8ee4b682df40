/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/tuf/key.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/encode.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define KEY_FILE_MAX ((size_t)64 * 1024)

/* ---- Keys */

struct tuf_key {
        json_t *json;
        struct signing_key *key;
        char id[SHA256_HEX_SIZE], fingerprint[SHA256_HEX_SIZE];
        atomic_uint references;
};

struct tuf_key *tuf_key_ref(struct tuf_key *k) {
        atomic_fetch_add(&k->references, 1);
        return k;
}

struct tuf_key *tuf_key_free(struct tuf_key *k) {
        if (k && atomic_fetch_sub(&k->references, 1) == 1) {
                json_decref(k->json);
                signing_key_free(k->key);
                free(k);
        }
        return NULL;
}

const json_t *tuf_key_json(const struct tuf_key *k) {
        return k->json;
}
const char *tuf_key_id(const struct tuf_key *k) {
        return k->id;
}
const char *tuf_key_fingerprint(const struct tuf_key *k) {
        return k->fingerprint;
}

static int make_key(json_t *json, struct signing_key *key, struct tuf_key **ret, struct err **err) {
        _cleanup_(buf_done) struct buf canonical = BUF_INIT;
        int r = json_encode_olpc(json, &canonical, err);
        if (r < 0)
                return r;
        _cleanup_(tuf_key_freep) struct tuf_key *k = calloc(1, sizeof(*k));
        if (!k)
                return err_set_errno(err, ENOMEM, "take key");
        atomic_init(&k->references, 1);
        k->json = json_incref(json);
        k->key = signing_key_ref(key);
        sha256_hex(canonical.data, canonical.len, k->id);
        r = signing_key_fingerprint(key, k->fingerprint, err);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(k);
        return 0;
}

static const struct key_kind {
        const char *type, *scheme;
        enum signing_scheme signing;
} key_kinds[] = {
        {"ed25519", "ed25519", SIGNING_ED25519},
        {"ecdsa", "ecdsa-sha2-nistp256", SIGNING_ECDSA_P256},
        {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", SIGNING_ECDSA_P256},
        {"rsa", "rsassa-pss-sha256", SIGNING_RSA_PSS},
};

static int read_public(const struct key_kind *kind, const char *text, struct signing_key **ret,
                       struct err **err) {
        if (kind->signing == SIGNING_ED25519) {
                uint8_t raw[32];
                if (hex_decode(text, strnlen(text, 65), raw, sizeof(raw)) < 0)
                        return err_set(err, EINVAL, "an ed25519 key is not 64 hex digits");
                return signing_key_from_ed25519(raw, ret, err);
        }
        _cleanup_(signing_key_freep) struct signing_key *key = NULL;
        int r = signing_key_from_pem(text, NULL, &key, err);
        if (r < 0)
                return r;
        if (signing_key_scheme(key) != kind->signing || signing_key_is_private(key))
                return err_set(err, EINVAL, "the key's PEM does not hold a public key of scheme %s",
                               kind->scheme);
        *ret = TAKE_PTR(key);
        return 0;
}

int tuf_key_from_json(const json_t *j, struct tuf_key **ret, struct err **err) {
        const char *type = NULL, *scheme = NULL, *text = NULL;
        const json_t *value = NULL;
        int r = json_is_object(j) ? 0 : err_set(err, EINVAL, "a key is not an object");
        if (r < 0 || (r = json_read_string(j, "keytype", &type, err)) < 0 ||
            (r = json_read_string(j, "scheme", &scheme, err)) < 0 ||
            (r = json_read_object(j, "keyval", &value, err)) < 0)
                return r;
        const struct key_kind *kind = NULL;
        for (size_t i = 0; i < ARRAY_SIZE(key_kinds); i++)
                if (str_eq(key_kinds[i].type, type) && str_eq(key_kinds[i].scheme, scheme))
                        kind = &key_kinds[i];
        if (!kind)
                return err_set(err, EOPNOTSUPP, "keys of type %.40s with scheme %.40s are not known", type,
                               scheme);
        r = json_read_string(value, "public", &text, err);
        if (r < 0)
                return r;
        _cleanup_(signing_key_freep) struct signing_key *key = NULL;
        r = read_public(kind, text, &key, err);
        return r < 0 ? r : make_key((json_t *)j, key, ret, err);
}

int tuf_key_from_signing_key(const struct signing_key *k, struct tuf_key **ret, struct err **err) {
        _cleanup_(x_freep) char *pem = NULL;
        _cleanup_json_ json_t *json = NULL;
        char hex[65];
        uint8_t raw[32];
        int r = signing_key_public_pem(k, &pem, err);
        if (r < 0)
                return r;
        const char *text = pem;
        size_t kind = 0;
        while (key_kinds[kind].signing != signing_key_scheme(k))
                kind++;
        if (signing_key_public_ed25519(k, raw) >= 0) {
                hex_encode(raw, sizeof(raw), hex);
                text = hex;
        }
        json = json_pack("{s:s, s:s, s:{s:s}}", "keytype", key_kinds[kind].type, "scheme",
                         key_kinds[kind].scheme, "keyval", "public", text);
        if (!json)
                return err_set_errno(err, ENOMEM, "write key");
        return tuf_key_from_json(json, ret, err);
}

int tuf_key_load(const char *path, struct tuf_key **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        int r = file_read(path, KEY_FILE_MAX, &text, &len, err);
        if (r < 0)
                return r;
        if (text[strspn(text, " \t\r\n")] == '{') {
                _cleanup_json_ json_t *j = NULL;
                r = json_decode(text, len, &j, err);
                if (r >= 0)
                        r = tuf_key_from_json(j, ret, err);
        } else {
                _cleanup_(signing_key_freep) struct signing_key *key = NULL;
                r = signing_key_from_pem(text, NULL, &key, err);
                if (r >= 0)
                        r = tuf_key_from_signing_key(key, ret, err);
                explicit_bzero(text, len);
        }
        return r < 0 ? err_wrap_code(err, r, "read key %s", path) : 0;
}

int tuf_key_verify(const struct tuf_key *k, const void *p, size_t n, const char *signature_hex) {
        uint8_t signature[SIGNING_SIGNATURE_MAX];
        size_t len = strnlen(signature_hex, 2 * sizeof(signature) + 1);
        if (len == 0 || len % 2 != 0 || len > 2 * sizeof(signature) ||
            hex_decode(signature_hex, len, signature, len / 2) < 0)
                return -EKEYREJECTED;
        return signing_key_verify(k->key, p, n, signature, len / 2);
}
