/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/sops.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/yaml.h"
#include "crypto/digest.h"
#include "fleet/sops_internal.h"

#define SOPS_ARENA_MAX ((size_t)128 << 20)

const char *const sops_rule_names[SOPS_RULES] = {
        [SOPS_UNENCRYPTED_SUFFIX] = "unencrypted_suffix",
        [SOPS_ENCRYPTED_SUFFIX] = "encrypted_suffix",
        [SOPS_UNENCRYPTED_REGEX] = "unencrypted_regex",
        [SOPS_ENCRYPTED_REGEX] = "encrypted_regex",
};

/* ---- which values are encrypted */

/* Counts make small expressions large, references slow ones; the rest of what Go takes beyond POSIX would be
 * read as something else. */
static bool regex_is_taken(const char *text) {
        if (strlen(text) > SOPS_NAME_MAX || strchr(text, '{') || strstr(text, "(?"))
                return false;
        for (const char *p = text; (p = strchr(p, '\\')); p += 2)
                if (!p[1] || !strchr(".^$*+?()[]|\\/-_", p[1]))
                        return false;
        return true;
}

int sops_rule_make(const char *name, const struct sops_rules *from, struct sops_rule *ret, struct err **err) {
        const char *const texts[SOPS_RULES] = {from->unencrypted_suffix, from->encrypted_suffix,
                                               from->unencrypted_regex, from->encrypted_regex};
        struct sops_rule r = {.kind = SOPS_UNENCRYPTED_SUFFIX, .text = "_unencrypted"};
        size_t given = 0;
        for (unsigned i = 0; i < SOPS_RULES; i++)
                if (!str_is_empty(texts[i])) {
                        r = (struct sops_rule){.kind = i, .text = texts[i]};
                        given++;
                }
        if (given > 1)
                return err_set(err, EINVAL,
                               "%s: only one of the rules that say what is encrypted can be given", name);
        if (r.kind == SOPS_UNENCRYPTED_REGEX || r.kind == SOPS_ENCRYPTED_REGEX) {
                if (!regex_is_taken(r.text) || regcomp(&r.regex, r.text, REG_EXTENDED | REG_NOSUB) != 0)
                        return err_set(
                                err, EOPNOTSUPP,
                                "%s: %s \"%.100s\" is not taken: use a POSIX extended expression without "
                                "counts, or a suffix",
                                name, sops_rule_names[r.kind], r.text);
                r.compiled = true;
        }
        *ret = r;
        return 0;
}

void sops_rule_done(struct sops_rule *r) {
        if (r->compiled)
                regfree(&r->regex);
        r->compiled = false;
}

static bool key_fits(const char *key, const struct sops_rule *rule) {
        return rule->compiled ? regexec(&rule->regex, key, 0, NULL, 0) == 0 : str_has_suffix(key, rule->text);
}

bool sops_path_is_encrypted(const struct sops_path *p, const struct sops_rule *rule) {
        bool fits = false;
        for (size_t i = 0; !fits && i < p->n; i++)
                fits = key_fits(p->keys[i], rule);
        return fits == (rule->kind == SOPS_ENCRYPTED_SUFFIX || rule->kind == SOPS_ENCRYPTED_REGEX);
}

int sops_path_text(const struct sops_path *p, struct buf *out) {
        buf_clear(out);
        for (size_t i = 0; i < p->n; i++)
                buf_printf(out, "%s:", p->keys[i]);
        if (p->n == 0)
                buf_putc(out, ':');
        return buf_failed(out);
}

/* ---- walking */

struct walk {
        const struct sops_visitor *visitor;
        struct sops_path path;
        struct err **err;
};

/* As deep as YAML_MAX_DEPTH, which is no more than a path holds. */
static int walk(struct walk *w, const struct value *v, bool top) {
        int r = 0;
        switch (v->type) {
        case VALUE_MAP:
                for (size_t i = 0; r == 0 && i < v->n_pairs; i++) {
                        if (top && str_eq(v->pairs[i].key, SOPS_SECTION))
                                continue;
                        if (w->path.n == ARRAY_SIZE(w->path.keys))
                                return err_set(w->err, E2BIG, "nested too deeply");
                        w->path.keys[w->path.n++] = v->pairs[i].key;
                        r = walk(w, v->pairs[i].value, false);
                        w->path.n--;
                }
                return r;
        case VALUE_LIST:
                for (size_t i = 0; r == 0 && i < v->n_items; i++)
                        r = walk(w, v->items[i], false);
                return r;
        case VALUE_NULL: return 0;
        case VALUE_BOOL:
        case VALUE_INT:
        case VALUE_FLOAT:
        case VALUE_STRING: return w->visitor->visit(w->visitor->arg, v, &w->path, w->err);
        }
        return 0;
}

int sops_walk(const struct value *v, const struct sops_visitor *visitor, struct err **err) {
        struct walk w = {.visitor = visitor, .err = err};
        return walk(&w, v, true);
}

/* One step of a pointer, its escapes undone. */
static char *next_step(const char **pointer) {
        size_t n = strcspn(*pointer, "/"), at = 0;
        char *step = str_dup_n(*pointer, n);
        if (!step)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                bool escape = step[i] == '~' && (step[i + 1] == '0' || step[i + 1] == '1');
                step[at++] = !escape ? step[i] : step[i + 1] == '0' ? '~' : '/';
                i += escape;
        }
        step[at] = '\0';
        *pointer += n + ((*pointer)[n] == '/');
        return step;
}

static int no_such_key(const struct sops *s, const struct value *v, const char *step, const char *pointer,
                       struct err **err) {
        const char *names[256], *near = NULL;
        size_t n = 0;
        for (size_t i = 0; v->type == VALUE_MAP && i < v->n_pairs && n < ARRAY_SIZE(names); i++)
                if (!str_eq(v->pairs[i].key, SOPS_SECTION))
                        names[n++] = v->pairs[i].key;
        near = str_nearest(step, names, n);
        return err_set(err, ENOENT, "%s: there is nothing at \"%.200s\"%s%s%s", s->name, pointer,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

const struct value *sops_locate(const struct sops *s, const char *pointer, struct sops_path *path,
                                struct err **err, int *ret_error) {
        const struct value *v = s->root;
        const char *rest = pointer;
        *path = (struct sops_path){.n = 0};
        while (*rest || v == s->root) {
                _cleanup_(x_freep) char *step = next_step(&rest);
                const struct value *next = NULL;
                uint64_t position;
                if (!step) {
                        *ret_error = err_set_errno(err, ENOMEM, "%s", s->name);
                        return NULL;
                }
                if (v->type == VALUE_MAP && !(v == s->root && str_eq(step, SOPS_SECTION))) {
                        for (size_t i = 0; !next && i < v->n_pairs; i++)
                                if (str_eq(v->pairs[i].key, step) && path->n < ARRAY_SIZE(path->keys)) {
                                        next = v->pairs[i].value;
                                        path->keys[path->n++] = v->pairs[i].key;
                                }
                } else if (v->type == VALUE_LIST && str_to_u64(step, &position) == 0 && position < v->n_items)
                        next = v->items[position];
                if (!next) {
                        *ret_error = no_such_key(s, v, step, pointer, err);
                        return NULL;
                }
                v = next;
        }
        if (v->type == VALUE_MAP || v->type == VALUE_LIST) {
                *ret_error = err_set(err, EISDIR,
                                     "%s: \"%.200s\" is a %s: name one value in it, as in \"%.200s/%s\"",
                                     s->name, pointer, v->type == VALUE_MAP ? "map" : "list", pointer,
                                     v->type == VALUE_MAP ? (v->n_pairs ? v->pairs[0].key : "key") : "0");
                return NULL;
        }
        return v;
}

/* ---- reading */

struct sops *sops_free(struct sops *s) {
        if (!s)
                return NULL;
        sops_rule_done(&s->rule);
        secret_free(s->data_key);
        arena_free(s->arena);
        free(s->text);
        free(s->name);
        free(s);
        return NULL;
}

static const char *text_of(const struct value *section, const char *key) {
        const struct value *v = value_get(section, key);
        return v && v->type == VALUE_STRING ? v->text : NULL;
}

static int read_recipients(struct sops *s, struct err **err) {
        const struct value *list = value_get(s->section, "age");
        size_t n = list && list->type == VALUE_LIST ? list->n_items : 0;
        if (list && list->type != VALUE_LIST && list->type != VALUE_NULL)
                return err_set(err, EINVAL, "%s: sops.age is not a list", s->name);
        if (n > SOPS_RECIPIENTS_MAX)
                return err_set(err, E2BIG, "%s: %zu recipients, at most %d are taken", s->name, n,
                               SOPS_RECIPIENTS_MAX);
        s->recipients = arena_calloc(s->arena, n + 1, sizeof(*s->recipients));
        s->keys = arena_calloc(s->arena, n + 1, sizeof(*s->keys));
        if (!s->recipients || !s->keys)
                return err_set_errno(err, ENOMEM, "%s", s->name);
        for (size_t i = 0; i < n; i++) {
                const char *recipient = text_of(list->items[i], "recipient"),
                           *key = text_of(list->items[i], "enc");
                if (!recipient || !key)
                        return err_set(err, EINVAL, "%s: sops.age[%zu] has no recipient and enc", s->name, i);
                for (size_t k = 0; k < i; k++)
                        if (str_eq(recipient, s->recipients[k]))
                                return err_set(err, EINVAL, "%s: recipient %.80s is there twice", s->name,
                                               recipient);
                s->recipients[i] = recipient;
                s->keys[i] = key;
                s->n_recipients = i + 1;
        }
        return 0;
}

static int read_section(struct sops *s, struct err **err) {
        static const char *const unknown[] = {"unencrypted_comment_regex", "encrypted_comment_regex"};
        struct sops_rules rules = {
                text_of(s->section, sops_rule_names[0]), text_of(s->section, sops_rule_names[1]),
                text_of(s->section, sops_rule_names[2]), text_of(s->section, sops_rule_names[3])};
        const struct value *only = value_get(s->section, "mac_only_encrypted"),
                           *groups = value_get(s->section, "key_groups");
        for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
                if (!str_is_empty(text_of(s->section, unknown[i])))
                        return err_set(err, EOPNOTSUPP, "%s: sops.%s is not taken", s->name, unknown[i]);
        if (groups && groups->type != VALUE_NULL)
                return err_set(err, EOPNOTSUPP, "%s: groups of keys (Shamir's secret sharing) are not taken",
                               s->name);
        s->modified = text_of(s->section, "lastmodified");
        s->mac = text_of(s->section, "mac");
        s->mac_only_encrypted = only && only->type == VALUE_BOOL && only->boolean;
        if (str_is_empty(s->modified) || str_is_empty(s->mac))
                return err_set(err, EINVAL, "%s: its section sops has no lastmodified and mac", s->name);
        int r = sops_rule_make(s->name, &rules, &s->rule, err);
        return r < 0 ? r : read_recipients(s, err);
}

static int count_value(void *arg, const struct value *v, const struct sops_path *p, struct err **err) {
        size_t *n = arg;
        (void)v;
        (void)p;
        return ++*n > SOPS_VALUES_MAX ? err_set(err, E2BIG, "more than %d values", SOPS_VALUES_MAX) : 0;
}

int sops_parse(const char *name, const char *text, size_t len, struct sops **ret, struct err **err) {
        _cleanup_(sops_freep) struct sops *s = calloc(1, sizeof(*s));
        struct value **documents = NULL;
        size_t n = 0, values = 0;
        const struct sops_visitor counter = {count_value, &values};
        if (len > SOPS_FILE_MAX)
                return err_set(err, E2BIG, "%s: larger than %zu MiB", name, SOPS_FILE_MAX >> 20);
        if (!s || !(s->name = str_dup(name)) || !(s->arena = arena_new(SOPS_ARENA_MAX)) ||
            !(s->text = str_dup_n(text, len)))
                return err_set_errno(err, ENOMEM, "%s", name);
        s->len = strlen(s->text);
        s->json = s->text[strspn(s->text, " \t\r\n")] == '{';
        int r = yaml_decode(s->arena, s->name, s->text, s->len, &documents, &n, NULL, err);
        if (r < 0)
                return r;
        if (n > 1)
                return err_set(err, EOPNOTSUPP, "%s: more than one document in the file", name);
        s->root = n == 1 ? documents[0] : NULL;
        s->section = value_get(s->root, SOPS_SECTION);
        if (!s->section || s->section->type != VALUE_MAP)
                return err_set(err, EINVAL,
                               "%s: not a SOPS file: it has no section \"sops\" (skerry secret encrypt "
                               "makes one)",
                               name);
        r = sops_walk(s->root, &counter, err);
        if (r < 0)
                return err_wrap_code(err, r, "%s", name);
        if ((r = read_section(s, err)) < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

bool sops_is_json(const struct sops *s) {
        return s->json;
}
size_t sops_recipients(const struct sops *s) {
        return s->n_recipients;
}
const char *sops_recipient(const struct sops *s, size_t i) {
        return i < s->n_recipients ? s->recipients[i] : NULL;
}

bool sops_has_recipient(const struct sops *s, const char *recipient) {
        for (size_t i = 0; i < s->n_recipients; i++)
                if (str_eq(s->recipients[i], recipient))
                        return true;
        return false;
}

const char *sops_other_keys(const struct sops *s) {
        static const char *const kinds[] = {"pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault"};
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const struct value *v = value_get(s->section, kinds[i]);
                if (v && v->type == VALUE_LIST && v->n_items > 0)
                        return kinds[i];
        }
        return NULL;
}

int sops_find(const struct sops *s, const char *pointer, const char **ret, struct err **err) {
        struct sops_path path;
        int r = -EINVAL;
        const struct value *v = sops_locate(s, pointer, &path, err, &r);
        if (!v)
                return r;
        if (!sops_path_is_encrypted(&path, &s->rule) || v->type != VALUE_STRING ||
            !sops_is_cipher_text(v->text))
                return err_set(err, ENOKEY,
                               "%s: \"%.200s\" is not encrypted: everybody who sees the repository can "
                               "read it; skerry secret edit encrypts it",
                               s->name, pointer);
        *ret = v->text;
        return 0;
}

/* ---- opening */

struct checking {
        const struct sops *s;
        const uint8_t *key;
        struct sops_mac *mac;
        struct buf additional;
};

static int check_value(void *arg, const struct value *v, const struct sops_path *p, struct err **err) {
        struct checking *c = arg;
        bool encrypted = sops_path_is_encrypted(p, &c->s->rule);
        enum sops_type type;
        if (!encrypted) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                if (c->s->mac_only_encrypted)
                        return 0;
                struct value plain = *v;
                plain.quoted = true; /* as SOPS wrote it: it is what it says */
                int r = sops_value_text(&plain, &type, &text, err);
                if (r == 0 && text.len > 0)
                        sops_mac_add(c->mac, text.data, text.len);
                return r;
        }
        if (v->type != VALUE_STRING)
                return err_set(err, EBADMSG, "line %u: a value that should be encrypted is not",
                               v->position.line);
        if (*v->text == '\0')
                return 0; /* the empty text is left as it is */
        _cleanup_(secret_freep) struct secret *plain = NULL;
        int r = sops_path_text(p, &c->additional);
        if (r == 0)
                r = sops_value_open(v->text, c->key, buf_str(&c->additional), &type, &plain);
        if (r == -EBADMSG)
                return err_set(err, EBADMSG, "line %u: the value was changed, moved, or is not encrypted",
                               v->position.line);
        if (r < 0)
                return err_set_errno(err, -r, "line %u", v->position.line);
        sops_mac_add(c->mac, secret_text(plain), secret_len(plain));
        return 0;
}

static int check_mac(const struct sops *s, const uint8_t *key, struct err **err) {
        _cleanup_(sops_mac_freep) struct sops_mac *mac = sops_mac_new(s->mac_only_encrypted);
        _cleanup_(secret_freep) struct secret *told = NULL;
        struct checking c = {.s = s, .key = key, .mac = mac};
        const struct sops_visitor visitor = {check_value, &c};
        enum sops_type type;
        char ours[129];
        if (!mac)
                return err_set_errno(err, ENOMEM, "%s", s->name);
        int r = sops_walk(s->root, &visitor, err);
        buf_done(&c.additional);
        if (r < 0)
                return err_wrap_code(err, r, "%s", s->name);
        sops_mac_final(mac, ours);
        r = sops_value_open(s->mac, key, s->modified, &type, &told);
        if (r == -ENOMEM)
                return err_set_errno(err, ENOMEM, "%s", s->name);
        if (r < 0 || secret_len(told) != sizeof(ours) - 1 ||
            !bytes_equal_constant_time(secret_text(told), ours, sizeof(ours) - 1))
                return err_set(err, EBADMSG,
                               "%s: the MAC over its values does not fit: it was changed without its key",
                               s->name);
        return 0;
}

static int open_key(const struct sops *s, const struct age_identity *const *identities, size_t n,
                    struct secret **ret, struct err **err) {
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < s->n_recipients; k++) {
                        _cleanup_(secret_freep) struct secret *key = NULL;
                        if (!str_eq(s->recipients[k], age_identity_recipient(identities[i])))
                                continue;
                        int r = age_decrypt(s->keys[k], strlen(s->keys[k]), &identities[i], 1, &key, err);
                        if (r == -ENOKEY)
                                return err_set(err, EBADMSG,
                                               "%s: the key of recipient %s is encrypted for another",
                                               s->name, s->recipients[k]);
                        if (r < 0)
                                return err_wrap_code(err, r, "%s", s->name);
                        if (secret_len(key) != SOPS_KEY_SIZE)
                                return err_set(err, EBADMSG, "%s: its data key is not of %d bytes", s->name,
                                               SOPS_KEY_SIZE);
                        *ret = TAKE_PTR(key);
                        return 0;
                }
        return err_set(err, ENOKEY, "%s: %s is no recipient of it", s->name,
                       n == 1 ? age_identity_recipient(identities[0]) : "none of the identities");
}

int sops_open(struct sops *s, const struct age_identity *const *identities, size_t n, struct err **err) {
        _cleanup_(secret_freep) struct secret *key = NULL;
        int r = open_key(s, identities, n, &key, err);
        if (r == 0)
                r = check_mac(s, (const uint8_t *)secret_text(key), err);
        if (r < 0)
                return r;
        secret_free(s->data_key);
        s->data_key = TAKE_PTR(key);
        return 0;
}

int sops_value(const struct sops *s, const char *pointer, struct secret **ret, struct err **err) {
        _cleanup_(buf_done) struct buf additional = BUF_INIT;
        _cleanup_(secret_freep) struct secret *plain = NULL;
        struct sops_path path;
        enum sops_type type = SOPS_STR;
        const char *text = NULL;
        int r = sops_find(s, pointer, &text, err);
        if (r < 0)
                return r;
        if (!s->data_key)
                return err_set(err, ENOKEY, "%s: not open", s->name);
        (void)sops_locate(s, pointer, &path, NULL, &r);
        r = sops_path_text(&path, &additional);
        if (r >= 0)
                r = sops_value_open(text, (const uint8_t *)secret_text(s->data_key), buf_str(&additional),
                                    &type, &plain);
        if (r < 0)
                return err_set_errno(err, -r, "%s: \"%.200s\"", s->name, pointer);
        if (type == SOPS_BOOL) {
                const char *to = str_eq(secret_text(plain), "True") ? "true" : "false";
                memcpy(secret_data(plain), to, strlen(to) + 1);
        }
        *ret = TAKE_PTR(plain);
        return 0;
}
