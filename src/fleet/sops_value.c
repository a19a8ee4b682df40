/* SPDX-License-Identifier: Apache-2.0 */
/* Values of SOPS files: "ENC[AES256_GCM,data:...,iv:...,tag:...,type:str]", and the MAC over all of them. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/age_primitives.h"
#include "fleet/sops_internal.h"

#define NONCE_SIZE 32 /* as SOPS makes them */
#define NONCE_MAX 128

static const char *const type_names[] = {
        [SOPS_STR] = "str",     [SOPS_INT] = "int",   [SOPS_FLOAT] = "float",     [SOPS_BOOL] = "bool",
        [SOPS_BYTES] = "bytes", [SOPS_TIME] = "time", [SOPS_COMMENT] = "comment",
};
static const char value_begin[] = "ENC[AES256_GCM,";

bool sops_is_cipher_text(const char *text) {
        return str_has_prefix(text, value_begin) && str_has_suffix(text, "]");
}

/* "name:base64" and the character that ends it; moves on. */
static int read_part(const char **at, const char *name, char end, void **ret, size_t *ret_n) {
        const char *p = str_after_prefix(*at, name);
        const char *stop = p ? strchr(p, end) : NULL;
        if (!stop || base64_decode(p, (size_t)(stop - p), ret, ret_n) < 0)
                return -EBADMSG;
        *at = stop + 1;
        return 0;
}

struct sealed {
        void *data, *nonce, *tag;
        size_t data_n, nonce_n, tag_n;
        enum sops_type type;
};

static void sealed_done(struct sealed *s) {
        free(s->data);
        free(s->nonce);
        free(s->tag);
}

static int read_sealed(const char *text, struct sealed *s) {
        const char *at = str_after_prefix(text, value_begin);
        if (!at || read_part(&at, "data:", ',', &s->data, &s->data_n) < 0 ||
            read_part(&at, "iv:", ',', &s->nonce, &s->nonce_n) < 0 ||
            read_part(&at, "tag:", ',', &s->tag, &s->tag_n) < 0)
                return -EBADMSG;
        at = str_after_prefix(at, "type:");
        if (!at || s->tag_n != AEAD_TAG_SIZE || s->nonce_n < 1 || s->nonce_n > NONCE_MAX)
                return -EBADMSG;
        for (size_t i = 0; i < ARRAY_SIZE(type_names); i++) {
                const char *rest = str_after_prefix(at, type_names[i]);
                if (str_eq(rest, "]")) {
                        s->type = (enum sops_type)i;
                        return 0;
                }
        }
        return -EBADMSG;
}

/* What SOPS makes of a number or a truth value that it reads back, and tells the MAC. */
static int normalize(struct secret *plain, enum sops_type type) {
        char *text = secret_data(plain);
        if (type == SOPS_BOOL) {
                static const char *const yes[] = {"True", "true", "TRUE", "t", "T", "1"};
                static const char *const no[] = {"False", "false", "FALSE", "f", "F", "0"};
                for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
                        if (str_eq(text, yes[i]) || str_eq(text, no[i])) {
                                const char *to = str_eq(text, yes[i]) ? "True" : "False";
                                memcpy(text, to, strlen(to) + 1);
                                secret_set_len(plain, strlen(to));
                                return 0;
                        }
                return -EBADMSG;
        }
        if (type == SOPS_INT) {
                int64_t n;
                return str_to_i64(*text == '+' ? text + 1 : text, &n) < 0 ? -EBADMSG : 0;
        }
        if (type == SOPS_FLOAT) {
                char *end = NULL;
                double d = strtod(text, &end);
                _cleanup_(buf_done) struct buf out = BUF_INIT;
                if (end == text || *end || sops_float_text(d, &out) < 0)
                        return -EBADMSG;
                int r = out.len <= secret_room(plain) ? 0 : -EBADMSG;
                if (r == 0) {
                        memcpy(text, out.data, out.len);
                        secret_set_len(plain, out.len);
                }
                explicit_bzero(out.data, out.len);
                return r;
        }
        return 0;
}

int sops_value_open(const char *text, const uint8_t key[SOPS_KEY_SIZE], const char *additional,
                    enum sops_type *ret_type, struct secret **ret) {
        _cleanup_(sealed_done) struct sealed s = {0};
        int r = read_sealed(text, &s);
        if (r < 0)
                return r;
        /* Room for "False" and for a number that is written otherwise. */
        _cleanup_(secret_freep) struct secret *plain = secret_new(s.data_n + 400, false);
        if (!plain)
                return -ENOMEM;
        r = aes256_gcm_open(key, s.nonce, s.nonce_n, additional, s.data, s.data_n, s.tag,
                            (uint8_t *)secret_data(plain));
        if (r < 0)
                return r == -EBADMSG ? r : -EIO;
        secret_set_len(plain, s.data_n);
        if ((r = normalize(plain, s.type)) < 0)
                return r;
        *ret_type = s.type;
        *ret = TAKE_PTR(plain);
        return 0;
}

int sops_value_seal(const void *plain, size_t n, enum sops_type type, const uint8_t key[SOPS_KEY_SIZE],
                    const char *additional, struct buf *out) {
        uint8_t nonce[NONCE_SIZE], tag[AEAD_TAG_SIZE];
        _cleanup_(x_freep) uint8_t *sealed = malloc(n + 1);
        if (!sealed)
                return -ENOMEM;
        random_bytes(nonce, sizeof(nonce));
        int r = aes256_gcm_seal(key, nonce, sizeof(nonce), additional, plain, n, sealed, tag);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *data_text = base64_encode(sealed, n),
                                *tag_text = base64_encode(tag, sizeof(tag)),
                                *nonce_text = base64_encode(nonce, sizeof(nonce));
        if (!data_text || !nonce_text || !tag_text)
                return -ENOMEM;
        return buf_printf(out, "%sdata:%s,iv:%s,tag:%s,type:%s]", value_begin, data_text, nonce_text,
                          tag_text, type_names[type]);
}

/* ---- plain values */

int sops_float_text(double d, struct buf *out) {
        char text[512];
        if (!isfinite(d))
                return -EINVAL;
        /* The fewest digits that read back as the same number, then without an exponent. */
        int digits = 1;
        for (; digits < 17; digits++) {
                (void)snprintf(text, sizeof(text), "%.*e", digits - 1, d);
                if (strtod(text, NULL) == d)
                        break;
        }
        (void)snprintf(text, sizeof(text), "%.*e", digits - 1, d);
        const char *e = strchr(text, 'e');
        int exponent = e ? atoi(e + 1) : 0, before = exponent + 1;
        char mantissa[32];
        size_t n = 0;
        for (const char *p = text; p < e && n < sizeof(mantissa); p++)
                if (isdigit((unsigned char)*p))
                        mantissa[n++] = *p;
        while (n > 1 && mantissa[n - 1] == '0')
                n--;
        if (*text == '-')
                buf_putc(out, '-');
        if (before <= 0)
                buf_puts(out, d == 0 ? "0" : "0.");
        for (int i = before; i < 0 && d != 0; i++)
                buf_putc(out, '0');
        if (d == 0 && before > 0) {
                buf_putc(out, '0');
                return buf_failed(out);
        }
        for (size_t i = 0; i < n; i++) {
                if (before > 0 && (int)i == before)
                        buf_putc(out, '.');
                buf_putc(out, mantissa[i]);
        }
        for (int i = (int)n; i < before; i++)
                buf_putc(out, '0');
        explicit_bzero(text, sizeof(text));
        explicit_bzero(mantissa, sizeof(mantissa));
        return buf_failed(out);
}

/* Numbers and dates that YAML 1.1 and 1.2, and so SOPS and we, take for different things. */
static bool is_ambiguous(const struct value *v) {
        const char *t = v->text;
        if (v->quoted || !t)
                return false;
        if (*t == '-' || *t == '+')
                t++;
        if (!isdigit((unsigned char)*t))
                return false;
        size_t digits = strspn(t, "0123456789");
        if (v->type == VALUE_INT)
                return *t == '0' && digits > 1;
        return v->type == VALUE_STRING &&
               (strchr(t, '_') || (digits == 4 && t[4] == '-') || str_has_prefix(t, "0b") || strchr(t, ':'));
}

int sops_value_text(const struct value *v, enum sops_type *ret_type, struct buf *out, struct err **err) {
        if (is_ambiguous(v))
                return err_set(
                        err, EINVAL,
                        "line %u: a number or date that not every tool reads alike: write it in quotes",
                        v->position.line);
        switch (v->type) {
        case VALUE_STRING:
                *ret_type = SOPS_STR;
                buf_puts(out, v->text);
                break;
        case VALUE_INT:
                *ret_type = SOPS_INT;
                buf_printf(out, "%lld", (long long)v->integer);
                break;
        case VALUE_BOOL:
                *ret_type = SOPS_BOOL;
                buf_puts(out, v->boolean ? "True" : "False");
                break;
        case VALUE_FLOAT:
                *ret_type = SOPS_FLOAT;
                if (sops_float_text(v->number, out) == -EINVAL)
                        return err_set(err, EINVAL, "line %u: not a finite number: write it in quotes",
                                       v->position.line);
                break;
        case VALUE_NULL:
        case VALUE_LIST:
        case VALUE_MAP: return err_set(err, EINVAL, "line %u: not one value", v->position.line);
        }
        return buf_failed(out) ? err_set_errno(err, ENOMEM, "value") : 0;
}

/* ---- the MAC: SHA-512 over the values, one after the other */

struct sops_mac {
        EVP_MD_CTX *context;
};

struct sops_mac *sops_mac_free(struct sops_mac *m) {
        if (!m)
                return NULL;
        EVP_MD_CTX_free(m->context);
        free(m);
        return NULL;
}

struct sops_mac *sops_mac_new(bool only_encrypted) {
        /* SHA-256 of "sops": so that a MAC of the one kind never passes for one of the other. */
        static const uint8_t initial[] = {0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34,
                                          0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f,
                                          0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69};
        _cleanup_(sops_mac_freep) struct sops_mac *m = calloc(1, sizeof(*m));
        if (!m || !(m->context = EVP_MD_CTX_new()) || EVP_DigestInit_ex(m->context, EVP_sha512(), NULL) != 1)
                return NULL;
        if (only_encrypted)
                sops_mac_add(m, initial, sizeof(initial));
        return TAKE_PTR(m);
}

void sops_mac_add(struct sops_mac *m, const void *p, size_t n) {
        (void)EVP_DigestUpdate(m->context, p, n);
}

void sops_mac_final(struct sops_mac *m, char ret[129]) {
        uint8_t digest[64] = {0};
        (void)EVP_DigestFinal_ex(m->context, digest, NULL);
        hex_encode(digest, sizeof(digest), ret);
        for (char *p = ret; *p; p++)
                *p = (char)toupper((unsigned char)*p);
}
