/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/age.h"

#include <errno.h>
#include <string.h>

#include "base/random.h"
#include "base/str.h"
#include "crypto/age_internal.h"
#include "crypto/digest.h"

#define FILE_KEY_SIZE 16
#define WRAPPED_SIZE (FILE_KEY_SIZE + AEAD_TAG_SIZE)
#define NONCE_SIZE 16
#define CHUNK_SIZE 65536
#define STANZA_ARGUMENTS_MAX 16
#define STANZA_BODY_MAX 16384 /* columns of text; no kind of stanza that there is comes near */
#define MAC_TEXT 43           /* base64 of 32 bytes */

static const char version_line[] = "age-encryption.org/v1\n";
static const char x25519_info[] = "age-encryption.org/v1/X25519";

static int bad(struct err **err, const char *what) {
        return err_set(err, EBADMSG, "age: %s", what);
}

static int mac_of(const uint8_t file_key[FILE_KEY_SIZE], const void *header, size_t n,
                  uint8_t ret[SHA256_SIZE]) {
        uint8_t key[32];
        int r = hkdf_sha256(file_key, FILE_KEY_SIZE, NULL, 0, "header", key);
        if (r == 0)
                hmac_sha256(key, sizeof(key), header, n, ret);
        explicit_bzero(key, sizeof(key));
        return r;
}

/* The key that wraps the file key: of the two public keys and the secret they share. */
static int wrap_key(const uint8_t shared[X25519_SIZE], const uint8_t share[X25519_SIZE],
                    const uint8_t recipient[X25519_SIZE], uint8_t ret[32]) {
        uint8_t salt[2 * X25519_SIZE];
        memcpy(salt, share, X25519_SIZE);
        memcpy(salt + X25519_SIZE, recipient, X25519_SIZE);
        return hkdf_sha256(shared, X25519_SIZE, salt, sizeof(salt), x25519_info, ret);
}

/* ---- reading the header */

struct reader {
        const char *at, *end;
};

/* The next line without its end; false when there is none. */
static bool next_line(struct reader *r, const char **ret, size_t *ret_n) {
        const char *end = memchr(r->at, '\n', (size_t)(r->end - r->at));
        if (!end)
                return false;
        *ret = r->at;
        *ret_n = (size_t)(end - r->at);
        r->at = end + 1;
        return true;
}

struct stanza {
        const char *arguments[STANZA_ARGUMENTS_MAX];
        size_t lengths[STANZA_ARGUMENTS_MAX], n;
        const char *body; /* of its first line */
        size_t body_n;    /* in columns; of a body in several lines no more than that it is longer */
};

static bool argument_is(const struct stanza *s, size_t i, const char *text) {
        return i < s->n && s->lengths[i] == strlen(text) && memcmp(s->arguments[i], text, s->lengths[i]) == 0;
}

static int read_arguments(const char *p, size_t n, struct stanza *s, struct err **err) {
        for (size_t at = 0; at <= n;) {
                const char *blank = at < n ? memchr(p + at, ' ', n - at) : NULL;
                size_t len = blank ? (size_t)(blank - p) - at : n - at;
                if (len == 0)
                        return bad(err, "a stanza has an empty argument");
                for (size_t i = 0; i < len; i++)
                        if (p[at + i] < 0x21 || p[at + i] > 0x7e)
                                return bad(err, "a stanza has an argument that is not plain text");
                if (s->n < STANZA_ARGUMENTS_MAX) { /* of those that we know none has so many */
                        s->arguments[s->n] = p + at;
                        s->lengths[s->n++] = len;
                }
                at += len + 1;
        }
        return 0;
}

static int read_body(struct reader *r, struct stanza *s, struct err **err) {
        uint8_t bytes[48];
        const char *line;
        size_t n;
        do {
                if (!next_line(r, &line, &n))
                        return bad(err, "a stanza is cut off");
                if (n > 64 || n % 4 == 1 || age_base64_decode(line, n, bytes, n * 6 / 8) < 0)
                        return bad(err, "the body of a stanza is not base64 in lines of 64 columns");
                if (!s->body)
                        s->body = line;
                s->body_n += n;
                if (s->body_n > STANZA_BODY_MAX)
                        return err_set(err, E2BIG, "age: the body of a stanza is longer than %d",
                                       STANZA_BODY_MAX);
        } while (n == 64);
        return 0;
}

/* *ret_ours: it is for X25519. A passphrase must stand alone (the format says so), and is not for us. */
static int read_stanza(struct reader *r, const char *line, size_t n, struct stanza *s, struct err **err) {
        int k = read_arguments(line + 3, n - 3, s, err);
        return k < 0 ? k : read_body(r, s, err);
}

static int unwrap(const struct stanza *s, const struct age_identity *i, uint8_t ret[FILE_KEY_SIZE],
                  struct err **err) {
        uint8_t share[X25519_SIZE], body[WRAPPED_SIZE], shared[X25519_SIZE], key[32];
        static const uint8_t nonce[CHACHA_NONCE_SIZE];
        if (s->n != 2 || age_base64_decode(s->arguments[1], s->lengths[1], share, sizeof(share)) < 0 ||
            s->body_n > 64 || age_base64_decode(s->body, s->body_n, body, sizeof(body)) < 0)
                return bad(err, "an X25519 stanza does not have the form of one");
        int r = x25519_shared(age_identity_private(i), share, shared);
        if (r == -EKEYREJECTED)
                return bad(err, "an X25519 stanza has a share of low order");
        if (r == 0)
                r = wrap_key(shared, share, age_identity_public(i), key);
        if (r == 0)
                r = chacha20_poly1305_open(key, nonce, body, sizeof(body), ret);
        explicit_bzero(shared, sizeof(shared));
        explicit_bzero(key, sizeof(key));
        if (r < 0 && r != -EBADMSG)
                return err_set(err, EIO, "age: cannot compute");
        return r == 0 ? 0 : -ENOKEY; /* for somebody else */
}

struct keyring {
        const struct age_identity *const *identities;
        size_t n;
};

static int try_stanza(const struct stanza *s, const struct keyring *k, uint8_t file_key[FILE_KEY_SIZE],
                      bool *found, struct err **err) {
        for (size_t i = 0; !*found && i < k->n; i++) {
                int r = unwrap(s, k->identities[i], file_key, err);
                if (r < 0 && r != -ENOKEY)
                        return r;
                *found = r == 0;
        }
        return 0;
}

/* Leaves the reader at the payload. */
static int read_header(struct reader *r, const struct keyring *k, uint8_t file_key[FILE_KEY_SIZE],
                       struct err **err) {
        const char *begin = r->at, *line;
        size_t n, stanzas = 0;
        uint8_t mac[SHA256_SIZE], told[SHA256_SIZE];
        bool found = false, passphrase = false;
        if ((size_t)(r->end - r->at) < sizeof(version_line) - 1 ||
            memcmp(r->at, version_line, sizeof(version_line) - 1) != 0)
                return bad(err, "it does not begin with age-encryption.org/v1");
        r->at += sizeof(version_line) - 1;
        struct reader header = {r->at, MIN(r->end, begin + AGE_HEADER_MAX)};
        for (;;) {
                struct stanza s = {0};
                if (!next_line(&header, &line, &n))
                        return (size_t)(r->end - begin) > AGE_HEADER_MAX
                                       ? err_set(err, E2BIG, "age: its header is longer than %zu bytes",
                                                 AGE_HEADER_MAX)
                                       : bad(err, "its header is cut off");
                if (n > 3 && memcmp(line, "---", 3) == 0)
                        break;
                if (n <= 3 || memcmp(line, "-> ", 3) != 0)
                        return bad(err, "a line of its header is neither a stanza nor the MAC");
                if (++stanzas > AGE_STANZAS_MAX)
                        return err_set(err, E2BIG, "age: more than %d stanzas", AGE_STANZAS_MAX);
                int q = read_stanza(&header, line, n, &s, err);
                if (q == 0 && argument_is(&s, 0, "X25519"))
                        q = try_stanza(&s, k, file_key, &found, err);
                if (q < 0)
                        return q;
                passphrase = passphrase || argument_is(&s, 0, "scrypt");
        }
        if (stanzas == 0)
                return bad(err, "it has no recipient");
        if (passphrase && stanzas > 1)
                return bad(err, "a passphrase stands beside other recipients");
        if (n != 4 + MAC_TEXT || line[3] != ' ' ||
            age_base64_decode(line + 4, MAC_TEXT, told, sizeof(told)) < 0)
                return bad(err, "the MAC of its header is not base64 of 32 bytes");
        if (!found)
                return err_set(err, ENOKEY, "age: %s",
                               passphrase ? "it is encrypted under a passphrase, which is not taken here"
                                          : "none of its recipients is ours");
        if (mac_of(file_key, begin, (size_t)(line + 3 - begin), mac) < 0)
                return err_set(err, EIO, "age: cannot compute");
        if (!bytes_equal_constant_time(mac, told, sizeof(mac)))
                return bad(err, "the MAC of its header does not fit: it was changed");
        r->at = header.at;
        return 0;
}

/* ---- the payload */

static void chunk_nonce(uint64_t counter, bool last, uint8_t nonce[CHACHA_NONCE_SIZE]) {
        memset(nonce, 0, CHACHA_NONCE_SIZE);
        for (unsigned i = 0; i < 8; i++)
                nonce[10 - i] = (uint8_t)(counter >> 8 * i);
        nonce[11] = last;
}

static int open_payload(struct reader *r, const uint8_t key[32], struct secret *out, struct err **err) {
        uint8_t nonce[CHACHA_NONCE_SIZE];
        size_t done = 0;
        for (uint64_t counter = 0;; counter++) {
                size_t left = (size_t)(r->end - r->at), n = MIN(left, (size_t)CHUNK_SIZE + AEAD_TAG_SIZE);
                bool last = n == left;
                if (n < AEAD_TAG_SIZE || (n == AEAD_TAG_SIZE && counter > 0))
                        return bad(err, "its payload is cut off");
                chunk_nonce(counter, last, nonce);
                if (chacha20_poly1305_open(key, nonce, r->at, n, (uint8_t *)secret_data(out) + done) < 0)
                        return bad(err, "its payload was changed or cut off");
                done += n - AEAD_TAG_SIZE;
                r->at += n;
                if (last)
                        break;
        }
        secret_set_len(out, done);
        return 0;
}

static int decrypt(const char *data, size_t n, const struct keyring *k, struct secret **ret,
                   struct err **err) {
        struct reader reader = {data, data + n};
        _cleanup_(secret_freep) struct secret *out = NULL;
        uint8_t file_key[FILE_KEY_SIZE] = {0}, key[32];
        int r = read_header(&reader, k, file_key, err);
        size_t left = (size_t)(reader.end - reader.at);
        if (r == 0 && left < NONCE_SIZE + AEAD_TAG_SIZE)
                r = bad(err, "its payload is cut off");
        if (r == 0 && hkdf_sha256(file_key, sizeof(file_key), reader.at, NONCE_SIZE, "payload", key) < 0)
                r = err_set(err, EIO, "age: cannot compute");
        explicit_bzero(file_key, sizeof(file_key));
        if (r < 0)
                return r;
        reader.at += NONCE_SIZE;
        out = secret_new(left, false);
        r = out ? open_payload(&reader, key, out, err) : err_set_errno(err, ENOMEM, "age");
        explicit_bzero(key, sizeof(key));
        if (r == 0)
                *ret = TAKE_PTR(out);
        return r;
}

int age_decrypt(const void *data, size_t n, const struct age_identity *const *identities, size_t n_identities,
                struct secret **ret, struct err **err) {
        const struct keyring k = {identities, n_identities};
        if (n > AGE_FILE_MAX)
                return err_set(err, E2BIG, "age: more than %zu bytes", AGE_FILE_MAX);
        if (!age_is_armored(data, n))
                return decrypt(data, n, &k, ret, err);
        _cleanup_(buf_done) struct buf binary = BUF_INIT;
        int r = age_unarmor(data, n, &binary, err);
        return r < 0 ? r : decrypt(buf_str(&binary), binary.len, &k, ret, err);
}

/* ---- writing */

static int write_stanza(const char *recipient, const uint8_t file_key[FILE_KEY_SIZE], struct buf *out,
                        struct err **err) {
        static const uint8_t nonce[CHACHA_NONCE_SIZE];
        uint8_t theirs[X25519_SIZE], secret[X25519_SIZE], share[X25519_SIZE], shared[X25519_SIZE], key[32],
                body[WRAPPED_SIZE];
        if (age_recipient_key(recipient, theirs) < 0)
                return err_set(err, EINVAL, "\"%.80s\" is not an age recipient of the form age1...",
                               recipient);
        random_bytes(secret, sizeof(secret));
        int r = x25519_public(secret, share);
        if (r == 0)
                r = x25519_shared(secret, theirs, shared);
        if (r == 0)
                r = wrap_key(shared, share, theirs, key);
        if (r == 0)
                r = chacha20_poly1305_seal(key, nonce, file_key, FILE_KEY_SIZE, body);
        explicit_bzero(secret, sizeof(secret));
        explicit_bzero(shared, sizeof(shared));
        explicit_bzero(key, sizeof(key));
        if (r == -EKEYREJECTED)
                return err_set(err, EINVAL, "recipient %s is a point of low order", recipient);
        if (r < 0)
                return err_set(err, EIO, "age: cannot compute");
        buf_puts(out, "-> X25519 ");
        (void)age_base64_append(out, share, sizeof(share));
        buf_putc(out, '\n');
        (void)age_base64_append(out, body, sizeof(body));
        buf_putc(out, '\n');
        return 0;
}

static int write_payload(const void *data, size_t n, const uint8_t file_key[FILE_KEY_SIZE], struct buf *out) {
        uint8_t salt[NONCE_SIZE], nonce[CHACHA_NONCE_SIZE], key[32];
        const uint8_t *p = data;
        random_bytes(salt, sizeof(salt));
        int r = hkdf_sha256(file_key, FILE_KEY_SIZE, salt, sizeof(salt), "payload", key);
        if (r == 0)
                r = buf_append(out, salt, sizeof(salt));
        uint64_t counter = 0;
        do {
                size_t len = MIN(n, (size_t)CHUNK_SIZE);
                if (r == 0)
                        r = buf_reserve(out, len + AEAD_TAG_SIZE);
                if (r < 0)
                        break;
                chunk_nonce(counter++, len == n, nonce);
                r = chacha20_poly1305_seal(key, nonce, p, len, (uint8_t *)out->data + out->len);
                out->len += len + AEAD_TAG_SIZE;
                p += len;
                n -= len;
        } while (n > 0);
        explicit_bzero(key, sizeof(key));
        return r;
}

static int encrypt(const void *data, size_t n, const char *const *recipients, size_t n_recipients,
                   const uint8_t file_key[FILE_KEY_SIZE], struct buf *out, struct err **err) {
        uint8_t mac[SHA256_SIZE];
        buf_puts(out, version_line);
        for (size_t i = 0; i < n_recipients; i++) {
                int r = write_stanza(recipients[i], file_key, out, err);
                if (r < 0)
                        return r;
        }
        buf_puts(out, "---");
        if (buf_failed(out) || mac_of(file_key, out->data, out->len, mac) < 0)
                return err_set_errno(err, ENOMEM, "age");
        buf_putc(out, ' ');
        (void)age_base64_append(out, mac, sizeof(mac));
        buf_putc(out, '\n');
        if (buf_failed(out) || write_payload(data, n, file_key, out) < 0)
                return err_set_errno(err, ENOMEM, "age");
        return 0;
}

int age_encrypt(const void *data, size_t n, const char *const *recipients, size_t n_recipients, bool armored,
                struct buf *out, struct err **err) {
        _cleanup_(buf_done) struct buf binary = BUF_INIT;
        uint8_t file_key[FILE_KEY_SIZE];
        if (n > AGE_FILE_MAX / 2 || n_recipients > AGE_STANZAS_MAX)
                return err_set(err, E2BIG, "age: too much to encrypt at once");
        if (n_recipients == 0)
                return err_set(err, EINVAL, "age: no recipient");
        random_bytes(file_key, sizeof(file_key));
        int r = encrypt(data, n, recipients, n_recipients, file_key, &binary, err);
        explicit_bzero(file_key, sizeof(file_key));
        if (r < 0)
                return r;
        r = armored ? age_armor(binary.data, binary.len, out) : buf_append(out, binary.data, binary.len);
        return r < 0 ? err_set_errno(err, -r, "age") : 0;
}
