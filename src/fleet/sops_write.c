/* SPDX-License-Identifier: Apache-2.0 */
/* SOPS files written: documents encrypted, decrypted as a whole, and given other recipients. */
#include <errno.h>
#include <string.h>

#include "base/random.h"
#include "base/str.h"
#include "codec/json.h"
#include "codec/yaml.h"
#include "fleet/sops_internal.h"
#include "fleet/sops_yaml.h"

/* The format that we write; SOPS looks at it. */
#define SOPS_VERSION "3.8.1"
#define PLAIN_ARENA_MAX ((size_t)128 << 20)

static int no_memory(const char *name, struct err **err) {
        return err_set_errno(err, ENOMEM, "%s", name);
}

/* A copy of a document as JSON, each value replaced by what make() makes of it. */
struct copier {
        int (*make)(void *arg, const struct value *v, const struct sops_path *path, const char *pointer,
                    json_t **ret, struct err **err);
        void *arg;
        struct sops_path path;
        struct buf pointer;
        struct err **err;
};

static int copy(struct copier *c, const struct value *v, bool top, json_t **ret);

static int copy_below(struct copier *c, const char *key, size_t position, const struct value *v,
                      json_t **ret) {
        size_t before = c->pointer.len;
        if (key && c->path.n == ARRAY_SIZE(c->path.keys))
                return err_set(c->err, E2BIG, "nested too deeply");
        if (before > 0)
                buf_putc(&c->pointer, '/');
        for (const char *p = key; p && *p; p++)
                if (*p == '~' || *p == '/')
                        buf_puts(&c->pointer, *p == '~' ? "~0" : "~1");
                else
                        buf_putc(&c->pointer, *p);
        if (key)
                c->path.keys[c->path.n++] = key;
        else
                buf_printf(&c->pointer, "%zu", position);
        int r = buf_failed(&c->pointer) ? -ENOMEM : copy(c, v, false, ret);
        if (key)
                c->path.n--;
        if (c->pointer.data) {
                c->pointer.len = before;
                c->pointer.data[before] = '\0';
        }
        return r;
}

static int copy(struct copier *c, const struct value *v, bool top, json_t **ret) {
        _cleanup_json_ json_t *out = NULL;
        json_t *item = NULL;
        int r = 0;
        switch (v->type) {
        case VALUE_MAP:
                out = json_object();
                for (size_t i = 0; out && r == 0 && i < v->n_pairs; i++) {
                        if (top && str_eq(v->pairs[i].key, SOPS_SECTION))
                                continue;
                        r = copy_below(c, v->pairs[i].key, 0, v->pairs[i].value, &item);
                        if (r == 0 && json_object_set_new(out, v->pairs[i].key, item) < 0)
                                r = -ENOMEM;
                }
                break;
        case VALUE_LIST:
                out = json_array();
                for (size_t i = 0; out && r == 0 && i < v->n_items; i++) {
                        r = copy_below(c, NULL, i, v->items[i], &item);
                        if (r == 0 && json_array_append_new(out, item) < 0)
                                r = -ENOMEM;
                }
                break;
        case VALUE_NULL: out = json_null(); break;
        case VALUE_BOOL:
        case VALUE_INT:
        case VALUE_FLOAT:
        case VALUE_STRING: r = c->make(c->arg, v, &c->path, buf_str(&c->pointer), &out, c->err); break;
        }
        if (r == 0 && !out)
                r = -ENOMEM;
        if (r < 0)
                return r;
        *ret = TAKE_PTR(out);
        return 0;
}

static int write_document(const json_t *document, bool json, struct buf *out) {
        if (!json)
                return sops_yaml_append(document, out);
        char *text = json_encode_pretty(document);
        if (!text)
                return -ENOMEM;
        int r = buf_puts(out, text);
        explicit_bzero(text, strlen(text));
        free(text);
        return r;
}

/* ---- in plain text */

static json_t *typed(const char *text, size_t n, enum sops_type type) {
        int64_t integer;
        if (type == SOPS_BOOL)
                return json_boolean(str_eq(text, "True"));
        if (type == SOPS_INT && str_to_i64(text, &integer) == 0)
                return json_integer(integer);
        if (type == SOPS_FLOAT)
                return json_real(strtod(text, NULL));
        return json_stringn(text, n);
}

static int make_plain(void *arg, const struct value *v, const struct sops_path *path, const char *pointer,
                      json_t **ret, struct err **err) {
        const struct sops *s = arg;
        _cleanup_(secret_freep) struct secret *plain = NULL;
        _cleanup_(buf_done) struct buf additional = BUF_INIT;
        enum sops_type type = SOPS_STR;
        (void)pointer;
        if (!sops_path_is_encrypted(path, &s->rule) || *v->text == '\0') {
                *ret = json_from_value(v);
                return *ret ? 0 : no_memory(s->name, err);
        }
        int r = sops_path_text(path, &additional);
        if (r >= 0)
                r = sops_value_open(v->text, (const uint8_t *)secret_text(s->data_key), buf_str(&additional),
                                    &type, &plain);
        if (r < 0)
                return err_set_errno(err, -r, "%s: line %u", s->name, v->position.line);
        *ret = typed(secret_text(plain), secret_len(plain), type);
        return *ret ? 0
                    : err_set(err, EILSEQ, "%s: line %u: the value is not UTF-8: it can be used, not shown",
                              s->name, v->position.line);
}

int sops_plain(const struct sops *s, struct buf *out, struct err **err) {
        struct copier c = {.make = make_plain, .arg = (void *)(uintptr_t)s, .err = err};
        _cleanup_json_ json_t *document = NULL;
        if (!s->data_key)
                return err_set(err, ENOKEY, "%s: not open", s->name);
        int r = copy(&c, s->root, true, &document);
        buf_done(&c.pointer);
        if (r == 0)
                r = write_document(document, s->json, out);
        if (r == -ENOMEM)
                return no_memory(s->name, err);
        return r;
}

/* ---- the section */

static int wrap_key(const char *name, const struct secret *key, const char *const *recipients, size_t n,
                    const struct sops *before, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *list = json_array();
        if (n == 0)
                return err_set(err, EINVAL, "%s: a file without recipients could never be read again", name);
        if (n > SOPS_RECIPIENTS_MAX)
                return err_set(err, E2BIG, "%s: %zu recipients, at most %d are taken", name, n,
                               SOPS_RECIPIENTS_MAX);
        for (size_t i = 0; list && i < n; i++) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                const char *held = NULL;
                /* Of the same key: what a recipient has already stays, so that the change is only what
                 * changed. */
                for (size_t k = 0; before && k < before->n_recipients; k++)
                        if (str_eq(before->recipients[k], recipients[i]))
                                held = before->keys[k];
                int r = held ? 0
                             : age_encrypt(secret_text(key), secret_len(key), &recipients[i], 1, true, &text,
                                           err);
                if (r < 0)
                        return err_wrap_code(err, r, "%s", name);
                if (json_array_append_new(list, json_pack("{s:s, s:s}", "recipient", recipients[i], "enc",
                                                          held ? held : buf_str(&text))) < 0)
                        return no_memory(name, err);
        }
        if (!list)
                return no_memory(name, err);
        *ret = TAKE_PTR(list);
        return 0;
}

/* ---- encrypting */

struct encrypting {
        const char *name;
        const struct sops *before; /* whose cipher texts may stay; NULL: none */
        const struct sops_rule *rule;
        const uint8_t *key;
        struct sops_mac *mac;
        bool mac_only_encrypted;
};

/* The cipher text that stands at the same place, when it is of the same plain text. */
static const char *same_as_before(const struct encrypting *e, const char *pointer,
                                  const struct sops_path *path, const struct buf *plain,
                                  const char *additional) {
        _cleanup_(secret_freep) struct secret *held = NULL;
        struct sops_path was;
        enum sops_type type;
        int ignored;
        const struct value *v = e->before ? sops_locate(e->before, pointer, &was, NULL, &ignored) : NULL;
        (void)path;
        if (!v || v->type != VALUE_STRING || !sops_is_cipher_text(v->text) ||
            sops_value_open(v->text, e->key, additional, &type, &held) < 0 ||
            secret_len(held) != plain->len || memcmp(secret_text(held), plain->data, plain->len) != 0)
                return NULL;
        return v->text;
}

static int make_sealed(void *arg, const struct value *v, const struct sops_path *path, const char *pointer,
                       json_t **ret, struct err **err) {
        struct encrypting *e = arg;
        _cleanup_(buf_done) struct buf plain = BUF_INIT, additional = BUF_INIT, sealed = BUF_INIT;
        bool encrypted = sops_path_is_encrypted(path, e->rule);
        enum sops_type type;
        int r = sops_value_text(v, &type, &plain, err);
        if (r < 0)
                return err_wrap_code(err, r, "%s", e->name);
        if (encrypted && sops_is_cipher_text(buf_str(&plain)))
                r = err_set(err, EINVAL, "%s: line %u: the value is encrypted already", e->name,
                            v->position.line);
        if (r == 0 && plain.len > 0 && (encrypted || !e->mac_only_encrypted))
                sops_mac_add(e->mac, plain.data, plain.len);
        if (r == 0 && (!encrypted || plain.len == 0)) {
                *ret = json_from_value(v);
                r = *ret ? 0 : no_memory(e->name, err);
        } else if (r == 0) {
                const char *text = NULL;
                r = sops_path_text(path, &additional);
                if (r == 0 && !(text = same_as_before(e, pointer, path, &plain, buf_str(&additional)))) {
                        r = sops_value_seal(plain.data, plain.len, type, e->key, buf_str(&additional),
                                            &sealed);
                        text = buf_str(&sealed);
                }
                if (r < 0 || !(*ret = json_string(text)))
                        r = no_memory(e->name, err);
        }
        if (plain.data)
                explicit_bzero(plain.data, plain.len);
        return r;
}

static int make_section(const struct sops_encryption *e, const struct encrypting *work,
                        const struct secret *key, json_t **ret, struct err **err) {
        _cleanup_json_ json_t *section = e->before ? json_from_value(e->before->section) : json_object(),
                              *list = NULL;
        _cleanup_(buf_done) struct buf mac = BUF_INIT;
        char digest[129];
        sops_mac_final(work->mac, digest);
        int r = wrap_key(work->name, key, e->recipients, e->n_recipients, work->before, &list, err);
        if (r < 0)
                return r;
        if (!section || sops_value_seal(digest, sizeof(digest) - 1, SOPS_STR, work->key, e->time, &mac) < 0 ||
            json_object_set(section, "age", list) < 0 ||
            json_object_set_new(section, "lastmodified", json_string(e->time)) < 0 ||
            json_object_set_new(section, "mac", json_string(buf_str(&mac))) < 0)
                return no_memory(work->name, err);
        if (!e->before || e->rules) {
                for (size_t i = 0; i < SOPS_RULES; i++)
                        (void)json_object_del(section, sops_rule_names[i]);
                if (json_object_set_new(section, sops_rule_names[work->rule->kind],
                                        json_string(work->rule->text)) < 0)
                        return no_memory(work->name, err);
        }
        if (!json_object_get(section, "version") &&
            json_object_set_new(section, "version", json_string(SOPS_VERSION)) < 0)
                return no_memory(work->name, err);
        *ret = TAKE_PTR(section);
        return 0;
}

static int encrypt(const struct value *root, bool json, struct encrypting *work,
                   const struct sops_encryption *e, const struct secret *key, struct buf *out,
                   struct err **err) {
        struct copier c = {.make = make_sealed, .arg = work, .err = err};
        _cleanup_json_ json_t *document = NULL;
        json_t *section = NULL;
        int r = copy(&c, root, true, &document);
        buf_done(&c.pointer);
        if (r == 0)
                r = make_section(e, work, key, &section, err);
        if (r == 0 && (json_object_set_new(document, SOPS_SECTION, section) < 0 ||
                       write_document(document, json, out) < 0))
                r = -ENOMEM;
        return r == -ENOMEM ? no_memory(work->name, err) : r;
}

static int count_values(void *arg, const struct value *v, const struct sops_path *p, struct err **err) {
        size_t *n = arg;
        (void)v;
        (void)p;
        return ++*n > SOPS_VALUES_MAX ? err_set(err, E2BIG, "more than %d values", SOPS_VALUES_MAX) : 0;
}

static int read_plain(struct arena *arena, const char *name, const char *plain, size_t len,
                      const struct value **ret, struct err **err) {
        struct value **documents = NULL;
        size_t n = 0, values = 0;
        const struct sops_visitor counter = {count_values, &values};
        int r = yaml_decode(arena, name, plain, len, &documents, &n, NULL, err);
        if (r < 0)
                return r;
        if (n != 1 || documents[0]->type != VALUE_MAP)
                return err_set(err, EINVAL, "%s: expected one document that is a map", name);
        if (value_get(documents[0], SOPS_SECTION))
                return err_set(err, EEXIST, "%s: it has a section \"sops\": it is encrypted already", name);
        if ((r = sops_walk(documents[0], &counter, err)) < 0)
                return err_wrap_code(err, r, "%s", name);
        *ret = documents[0];
        return 0;
}

static struct secret *choose_key(const struct sops_encryption *e) {
        struct secret *key = secret_new(SOPS_KEY_SIZE, false);
        if (!key)
                return NULL;
        secret_set_len(key, SOPS_KEY_SIZE);
        if (e->before && e->keep_key)
                memcpy(secret_data(key), secret_text(e->before->data_key), SOPS_KEY_SIZE);
        else
                random_bytes(secret_data(key), SOPS_KEY_SIZE);
        return key;
}

int sops_encrypt(const char *name, const char *plain, size_t len, const struct sops_encryption *e,
                 struct buf *out, struct err **err) {
        static const struct sops_rules standard;
        _cleanup_(arena_freep) struct arena *arena = arena_new(PLAIN_ARENA_MAX);
        _cleanup_(secret_freep) struct secret *key = NULL;
        _cleanup_(sops_mac_freep) struct sops_mac *mac = NULL;
        _cleanup_(sops_rule_done) struct sops_rule own = {.kind = 0};
        const struct value *root = NULL;
        const char *others = e->before && !e->keep_key ? sops_other_keys(e->before) : NULL;
        if (!arena)
                return no_memory(name, err);
        if (e->before && !e->before->data_key)
                return err_set(err, ENOKEY, "%s: not open", name);
        if (others)
                return err_set(err, EOPNOTSUPP,
                               "%s: it has keys of kind %s too, which only sops can renew: use sops rotate",
                               name, others);
        int r = read_plain(arena, name, plain, len, &root, err);
        if (r == 0 && (e->rules || !e->before))
                r = sops_rule_make(name, e->rules ? e->rules : &standard, &own, err);
        if (r < 0)
                return r;
        bool only = e->before && e->before->mac_only_encrypted;
        if (!(key = choose_key(e)) || !(mac = sops_mac_new(only)))
                return no_memory(name, err);
        struct encrypting work = {.name = name,
                                  .before = e->keep_key ? e->before : NULL,
                                  .rule = e->rules || !e->before ? &own : &e->before->rule,
                                  .key = (const uint8_t *)secret_text(key),
                                  .mac = mac,
                                  .mac_only_encrypted = only};
        bool json = plain[strspn(plain, " \t\r\n")] == '{';
        return encrypt(root, json, &work, e, key, out, err);
}

/* ---- other recipients */

/* Where the section begins in the text, when it stands last and at the margin of a YAML file. */
static bool find_section(const struct sops *s, size_t *ret) {
        const struct value_pair *last = s->root->n_pairs ? &s->root->pairs[s->root->n_pairs - 1] : NULL;
        const char *at = s->text;
        if (s->json || !last || !str_eq(last->key, SOPS_SECTION) || last->key_position.column != 1)
                return false;
        for (uint32_t line = 1; line < last->key_position.line; line++) {
                at = strchr(at, '\n');
                if (!at)
                        return false;
                at++;
        }
        *ret = (size_t)(at - s->text);
        return str_has_prefix(at, SOPS_SECTION ":");
}

int sops_write_recipients(const struct sops *s, const char *const *recipients, size_t n, struct buf *out,
                          struct err **err) {
        _cleanup_json_ json_t *section = json_from_value(s->section), *document = NULL;
        json_t *list = NULL;
        size_t at = 0;
        if (!s->data_key)
                return err_set(err, ENOKEY, "%s: not open", s->name);
        int r = wrap_key(s->name, s->data_key, recipients, n, s, &list, err);
        if (r < 0)
                return r;
        if (!section || json_object_set_new(section, "age", list) < 0)
                return no_memory(s->name, err);
        bool alone = find_section(s, &at);
        document = alone ? json_object() : json_from_value(s->root);
        if (!document || json_object_set(document, SOPS_SECTION, section) < 0 ||
            (alone && buf_append(out, s->text, at) < 0) || write_document(document, s->json, out) < 0)
                return no_memory(s->name, err);
        return 0;
}
