/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of repo/tuf/publisher.h: known by name, found when something is to be signed; signing here and
 * elsewhere. */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "repo/tuf/publisher_internal.h"

#define KEY_NAME_MAX 64
#define KEY_ID_BEGINNING_MIN 8

static const char *text_of(const json_t *entry, const char *member) {
        return json_string_value(json_object_get(entry, member));
}

static bool key_name_is_valid(const char *name) {
        _cleanup_(strv_freep) char **parts = strv_split(name, ".");
        bool ok = *name && *name != '.' && !str_has_suffix(name, ".") && !strstr(name, "..") &&
                  strlen(name) <= KEY_NAME_MAX && parts;
        for (char **part = parts; ok && *part; part++)
                ok = name_is_dns_label(*part);
        return ok;
}

/* ---- Finding */

const json_t *publisher_key_entry(const struct tuf_publisher *p, const char *key_id) {
        const char *name;
        json_t *entry;
        json_object_foreach (json_object_get(p->config, "keys"), name, entry)
                if (str_eq(text_of(entry, "keyid"), key_id))
                        return entry;
        return NULL;
}

const char *publisher_key_name(const struct tuf_publisher *p, const char *key_id) {
        const char *name;
        json_t *entry;
        json_object_foreach (json_object_get(p->config, "keys"), name, entry)
                if (str_eq(text_of(entry, "keyid"), key_id))
                        return name;
        return key_id;
}

int publisher_find_key(const struct tuf_publisher *p, const char *wanted, const char **ret_name,
                       const json_t **ret, struct err **err) {
        const char *name, *found_name = NULL;
        json_t *entry;
        const json_t *found = NULL;
        json_object_foreach (json_object_get(p->config, "keys"), name, entry) {
                bool begins = strlen(wanted) >= KEY_ID_BEGINNING_MIN &&
                              str_has_prefix(text_of(entry, "keyid"), wanted);
                if (!str_eq(name, wanted) && !begins)
                        continue;
                if (found && !str_eq(name, wanted))
                        return err_set(err, EINVAL, "more than one key's id begins with %s", wanted);
                found = entry;
                found_name = name;
                if (str_eq(name, wanted))
                        break;
        }
        if (!found)
                return err_set(
                        err, ENOENT,
                        "there is no key %s; 'skerry repo key list' lists those there are, 'skerry repo key "
                        "generate' and 'add' bring others",
                        wanted);
        *ret_name = found_name;
        *ret = found;
        return 0;
}

/* ---- Adding */

static int put_key(struct tuf_publisher *p, const char *name, const struct tuf_key *key, const char *file,
                   const char *command, bool encrypted, struct err **err) {
        _cleanup_json_ json_t *config = json_deep_copy(p->config);
        json_t *entry =
                json_pack("{s:s, s:O, s:s*, s:s*, s:b}", "keyid", tuf_key_id(key), "key", tuf_key_json(key),
                          "file", file, "command", command, "encrypted", encrypted);
        if (!config || !entry || json_object_set_new(json_object_get(config, "keys"), name, entry) < 0)
                return err_set_errno(err, ENOMEM, "add key %s", name);
        return publisher_save_config(p, TAKE_PTR(config), err);
}

static int check_new_key(struct tuf_publisher *p, const char *name, struct err **err) {
        int r = publisher_check_writable(p, err);
        if (r < 0)
                return r;
        if (!key_name_is_valid(name))
                return err_set(err, EINVAL,
                               "'%s' is no name for a key: lower-case letters, digits and '-', parts joined "
                               "by dots, at "
                               "most %d",
                               name, KEY_NAME_MAX);
        if (json_object_get(json_object_get(p->config, "keys"), name))
                return err_set(err, EEXIST, "there is a key %s already", name);
        return 0;
}

int tuf_publisher_generate_key(struct tuf_publisher *p, const char *name, enum signing_scheme scheme,
                               const char *passphrase, struct err **err) {
        _cleanup_(signing_key_freep) struct signing_key *private = NULL;
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
        int r = check_new_key(p, name, err);
        if (r < 0)
                return r;
        _cleanup_(x_freep) char *file = str_format("keys/%s.pem", name);
        _cleanup_(x_freep) char *path = file ? publisher_path(p, file, NULL) : NULL;
        if (!path)
                return err_set_errno(err, ENOMEM, "make key %s", name);
        if (access(path, F_OK) == 0)
                return err_set(err, EEXIST, "%s is there already: a private key is never written over", path);
        if ((r = signing_key_generate(scheme, &private, err)) < 0 ||
            (r = tuf_key_from_signing_key(private, &key, err)) < 0)
                return err_wrap_code(err, r, "make key %s", name);
        r = publisher_before_change(p, path);
        if (r < 0)
                return err_set_errno(err, -r, "make key %s", name);
        if ((r = signing_key_save(private, path, passphrase, err)) < 0 ||
            (r = put_key(p, name, key, file, NULL, passphrase != NULL, err)) < 0)
                return r;
        struct tuf_signer *signer = NULL;
        r = tuf_signer_from_key(private, &signer, err);
        if (r >= 0 && table_set(p->signers, tuf_key_id(key), signer) < 0) {
                tuf_signer_free(signer);
                r = err_set_errno(err, ENOMEM, "make key %s", name);
        }
        return r;
}

int tuf_publisher_register_key(struct tuf_publisher *p, const char *name, struct tuf_key *key,
                               const char *file, const char *command, struct err **err) {
        _cleanup_(x_freep) char *pem = NULL;
        size_t len = 0;
        int r = check_new_key(p, name, err);
        if (r < 0)
                return r;
        if (publisher_key_entry(p, tuf_key_id(key)))
                return err_set(err, EEXIST, "this key is known already, as %s",
                               publisher_key_name(p, tuf_key_id(key)));
        bool encrypted = file && file_read(file, (size_t)64 * 1024, &pem, &len, NULL) >= 0 &&
                         signing_key_pem_is_encrypted(pem);
        if (pem)
                explicit_bzero(pem, len);
        return put_key(p, name, key, file, command, encrypted, err);
}

/* Which roles list the key now: "root,targets". */
static char *roles_of_key(const struct tuf_publisher *p, const char *key_id) {
        _cleanup_(strv_freep) char **roles = NULL;
        struct buf out = BUF_INIT;
        if (publisher_roles(p, &roles, NULL) < 0 || strv_push(&roles, "snapshot") < 0 ||
            strv_push(&roles, "timestamp") < 0)
                return NULL;
        for (char **role = roles; *role; role++) {
                struct publisher_voucher by;
                if (publisher_voucher(p, *role, &by, NULL) < 0)
                        continue;
                for (size_t i = 0; i < by.role->n_key_ids; i++)
                        if (str_eq(by.role->key_ids[i], key_id))
                                buf_printf(&out, "%s%s", out.len ? "," : "", *role);
        }
        return out.len ? buf_take(&out, NULL) : str_dup("");
}

int tuf_publisher_each_key(struct tuf_publisher *p, int (*fn)(void *arg, const struct tuf_publisher_key *k),
                           void *arg) {
        const char *name;
        json_t *entry;
        json_object_foreach (json_object_get(p->config, "keys"), name, entry) {
                _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
                _cleanup_(x_freep) char *roles = NULL;
                int r = tuf_key_from_json(json_object_get(entry, "key"), &key, NULL);
                if (r < 0)
                        return r;
                roles = roles_of_key(p, tuf_key_id(key));
                if (!roles)
                        return -ENOMEM;
                const struct tuf_publisher_key k = {.name = name,
                                                    .id = tuf_key_id(key),
                                                    .key = key,
                                                    .file = text_of(entry, "file"),
                                                    .command = text_of(entry, "command"),
                                                    .encrypted =
                                                            json_is_true(json_object_get(entry, "encrypted")),
                                                    .roles = roles};
                r = fn(arg, &k);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* ---- Signers */

static int open_file_signer(struct tuf_publisher *p, const char *name, const json_t *entry,
                            struct tuf_signer **ret, struct err **err) {
        const char *file = text_of(entry, "file");
        _cleanup_(x_freep) char *path = *file == '/' ? str_dup(file) : publisher_path(p, file, NULL);
        _cleanup_(x_freep) char *passphrase = NULL;
        if (!path)
                return err_set_errno(err, ENOMEM, "sign with key %s", name);
        if (access(path, F_OK) < 0)
                return -ENOKEY; /* kept elsewhere today: a stick that is not plugged in */
        if (json_is_true(json_object_get(entry, "encrypted"))) {
                int r = p->options.passphrase
                                ? p->options.passphrase(p->options.passphrase_arg, name, &passphrase, err)
                                : -ENOKEY;
                if (r < 0)
                        return r;
        }
        int r = tuf_signer_from_file(path, passphrase, ret, err);
        if (passphrase)
                explicit_bzero(passphrase, strlen(passphrase));
        return r;
}

static int open_signer(struct tuf_publisher *p, const char *name, const json_t *entry,
                       struct tuf_signer **ret, struct err **err) {
        const char *command = text_of(entry, "command");
        if (text_of(entry, "file"))
                return open_file_signer(p, name, entry, ret, err);
        if (!command)
                return -ENOKEY;
        _cleanup_(tuf_key_freep) struct tuf_key *key = NULL;
        int r = tuf_key_from_json(json_object_get(entry, "key"), &key, err);
        return r < 0 ? r : tuf_signer_from_command(command, name, key, ret, err);
}

int publisher_signer(struct tuf_publisher *p, const char *key_id, struct tuf_signer **ret, struct err **err) {
        _cleanup_(tuf_signer_freep) struct tuf_signer *signer = NULL;
        const json_t *entry = publisher_key_entry(p, key_id);
        *ret = table_get(p->signers, key_id);
        if (*ret || !entry || table_get(p->absent, key_id))
                return 0;
        const char *name = publisher_key_name(p, key_id);
        _cleanup_(err_freep) struct err *why = NULL;
        int r = open_signer(p, name, entry, &signer, &why);
        if (r == -ENOKEY)
                return table_set(p->absent, key_id, p) < 0 ? err_set_errno(err, ENOMEM, "sign") : 0;
        if (r < 0)
                return err_wrap_code(err, err_move(err, TAKE_PTR(why)), "sign with key %s", name);
        if (!str_eq(tuf_key_id(tuf_signer_key(signer)), key_id))
                return err_set(err, EKEYREJECTED, "the file of key %s holds another key (%.16s...)", name,
                               tuf_key_id(tuf_signer_key(signer)));
        if (table_set(p->signers, key_id, signer) < 0)
                return err_set_errno(err, ENOMEM, "sign");
        *ret = TAKE_PTR(signer);
        return 0;
}

static int add_keys(char ***ids, const struct tuf_role *role) {
        for (size_t i = 0; i < role->n_key_ids; i++)
                if (!strv_has(*ids, role->key_ids[i]) && strv_push(ids, role->key_ids[i]) < 0)
                        return -ENOMEM;
        return 0;
}

int publisher_useful_keys(const struct tuf_publisher *p, const char *role, char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **ids = NULL;
        struct publisher_voucher by;
        int r = publisher_voucher(p, role, &by, err);
        if (r < 0)
                return r;
        const struct tuf_metadata *old = table_get(p->published, "root");
        r = add_keys(&ids, by.role);
        /* Signed by the keys that go as well as by those that come, it can be read by clients on both sides
         * of a root's change. */
        if (r >= 0 && old && tuf_role_is_top_level(role))
                r = add_keys(&ids, &old->roles[publisher_type(role)]);
        if (r < 0)
                return err_set_errno(err, ENOMEM, "sign role %s", role);
        *ret = TAKE_PTR(ids);
        return 0;
}

/* ---- Signing */

static json_t *find_signature(json_t *document, const char *key_id) {
        json_t *list = json_object_get(document, "signatures");
        for (size_t i = 0; i < json_array_size(list); i++)
                if (str_eq(text_of(json_array_get(list, i), "keyid"), key_id))
                        return json_array_get(list, i);
        return NULL;
}

int publisher_put_signature(json_t *document, const char *key_id, const char *hex) {
        json_t *known = find_signature(document, key_id);
        int r = known ? json_object_set_new(known, "sig", json_string(hex))
                      : json_array_append_new(json_object_get(document, "signatures"),
                                              json_pack("{s:s, s:s}", "keyid", key_id, "sig", hex));
        return r < 0 ? -ENOMEM : 0;
}

static bool is_asked_for(const struct tuf_publisher *p, const char *key_id, const char *const *only,
                         size_t n) {
        bool asked = n == 0;
        for (size_t i = 0; !asked && i < n; i++)
                asked = str_eq(only[i], key_id) || str_eq(only[i], publisher_key_name(p, key_id)) ||
                        (strlen(only[i]) >= KEY_ID_BEGINNING_MIN && str_has_prefix(key_id, only[i]));
        return asked;
}

int publisher_sign_document(struct tuf_publisher *p, const char *role, json_t *document,
                            const char *const *only, size_t n_only, size_t *ret_made, struct err **err) {
        _cleanup_(strv_freep) char **ids = NULL;
        _cleanup_(buf_done) struct buf bytes = BUF_INIT;
        size_t made = 0;
        int r = publisher_useful_keys(p, role, &ids, err);
        if (r < 0 || (r = json_encode_olpc(json_object_get(document, "signed"), &bytes, err)) < 0)
                return r;
        for (char **id = ids; id && *id; id++) {
                struct tuf_signer *signer = NULL;
                _cleanup_(x_freep) char *hex = NULL;
                if (!is_asked_for(p, *id, only, n_only) || find_signature(document, *id))
                        continue;
                r = publisher_signer(p, *id, &signer, err);
                if (r < 0)
                        return r;
                if (!signer)
                        continue;
                if ((r = tuf_sign(signer, buf_str(&bytes), bytes.len, &hex, err)) < 0)
                        return err_wrap_code(err, r, "sign role %s", role);
                if (publisher_put_signature(document, *id, hex) < 0)
                        return err_set_errno(err, ENOMEM, "sign role %s", role);
                made++;
        }
        *ret_made = made;
        return 0;
}

static int sign_one(struct tuf_publisher *p, const char *role, const char *const *keys, size_t n_keys,
                    size_t *made, struct err **err) {
        const struct tuf_metadata *m = table_get(p->staged, role);
        struct publisher_voucher by;
        size_t n = 0;
        if (publisher_voucher(p, role, &by, NULL) < 0)
                return 0; /* nobody delegates to it any more */
        _cleanup_json_ json_t *document = json_deep_copy(m->document);
        if (!document)
                return err_set_errno(err, ENOMEM, "sign role %s", role);
        int r = publisher_sign_document(p, role, document, keys, n_keys, &n, err);
        *made += n;
        return r < 0 || n == 0 ? r : publisher_stage_document(p, role, TAKE_PTR(document), err);
}

int tuf_publisher_sign(struct tuf_publisher *p, const char *role, const char *const *keys, size_t n_keys,
                       size_t *ret_made, struct err **err) {
        _cleanup_(strv_freep) char **roles = NULL;
        size_t made = 0;
        int r = publisher_check_writable(p, err);
        for (size_t i = 0; r >= 0 && i < n_keys; i++) {
                const char *name;
                const json_t *entry;
                r = publisher_find_key(p, keys[i], &name, &entry, err);
        }
        if (r >= 0 && role && !table_get(p->staged, role))
                r = err_set(err, ENOENT, "nothing of role %s is staged", role);
        const char *name;
        for (size_t i = 0; r >= 0 && table_next(p->staged, &i, &name, NULL);)
                if ((!role || str_eq(role, name)) && strv_push(&roles, name) < 0)
                        r = err_set_errno(err, ENOMEM, "sign");
        for (char **one = roles; r >= 0 && one && *one; one++)
                r = sign_one(p, *one, keys, n_keys, &made, err);
        if (r >= 0 && ret_made)
                *ret_made = made;
        return r;
}

/* ---- Signing elsewhere */

static int staged_role(const struct tuf_publisher *p, const char *role, struct tuf_metadata **ret,
                       struct err **err) {
        *ret = table_get(p->staged, role);
        return *ret ? 0
                    : err_set(err, ENOENT,
                              "nothing of role %s is staged; 'skerry repo sign --renew %s' stages it anew",
                              role, role);
}

int tuf_publisher_prepare(struct tuf_publisher *p, const char *role, char **ret, size_t *ret_len,
                          struct err **err) {
        struct tuf_metadata *m = NULL;
        int r = staged_role(p, role, &m, err);
        return r < 0 ? r : tuf_metadata_serialise(m, ret, ret_len, err);
}

int tuf_publisher_prepare_bytes(struct tuf_publisher *p, const char *role, char **ret, size_t *ret_len,
                                struct err **err) {
        struct tuf_metadata *m = NULL;
        int r = staged_role(p, role, &m, err);
        if (r < 0)
                return r;
        char *copy = str_dup_n(m->canonical, m->canonical_len);
        if (!copy)
                return err_set_errno(err, ENOMEM, "prepare role %s", role);
        *ret = copy;
        *ret_len = m->canonical_len;
        return 0;
}

int tuf_prepared_sign(const char *data, size_t len, struct tuf_signer *s, char **ret, size_t *ret_len,
                      struct err **err) {
        _cleanup_json_ json_t *document = NULL;
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *m = NULL, *done = NULL;
        _cleanup_(x_freep) char *hex = NULL;
        if (len > TUF_TARGETS_MAX)
                return err_set(err, EFBIG, "the file is longer than metadata may be");
        int r = json_decode(data, len, &document, err);
        if (r < 0)
                return r;
        const char *type = text_of(json_object_get(document, "signed"), "_type");
        r = tuf_metadata_from_json(type ? publisher_type(type) : TUF_TARGETS, document, &m, err);
        if (r < 0 || (r = tuf_sign(s, m->canonical, m->canonical_len, &hex, err)) < 0)
                return r;
        _cleanup_json_ json_t *signed_document = json_deep_copy(document);
        if (!signed_document ||
            publisher_put_signature(signed_document, tuf_key_id(tuf_signer_key(s)), hex) < 0)
                return err_set_errno(err, ENOMEM, "sign");
        r = tuf_metadata_from_json(m->type, signed_document, &done, err);
        return r < 0 ? r : tuf_metadata_serialise(done, ret, ret_len, err);
}

/* Is this a signature of use on m, by a key that the roles list? */
static int check_signature(const struct tuf_publisher *p, const char *role, const struct tuf_metadata *m,
                           const char *key_id, const char *hex, struct err **err) {
        const json_t *entry = publisher_key_entry(p, key_id);
        struct publisher_voucher by;
        _cleanup_(strv_freep) char **useful = NULL;
        int r = publisher_voucher(p, role, &by, err);
        if (r < 0 || (r = publisher_useful_keys(p, role, &useful, err)) < 0)
                return r;
        if (!strv_has(useful, key_id))
                return err_set(err, EKEYREJECTED, "key %.16s... (%s) is none of those that sign role %s",
                               key_id, entry ? publisher_key_name(p, key_id) : "unknown", role);
        struct tuf_key *key = table_get(by.m->keys, key_id);
        const struct tuf_metadata *old = table_get(p->published, "root");
        if (!key && old)
                key = table_get(old->keys, key_id);
        if (!key || tuf_key_verify(key, m->canonical, m->canonical_len, hex) < 0)
                return err_set(err, EKEYREJECTED, "the signature of key %s does not fit role %s version %lld",
                               publisher_key_name(p, key_id), role, (long long)m->version);
        return 0;
}

/* A delegated role that its owner edited. */
static int take_newer(struct tuf_publisher *p, const char *role, const struct tuf_metadata *given,
                      size_t *ret_new, struct err **err) {
        const struct tuf_metadata *published = table_get(p->published, role);
        struct publisher_voucher by;
        if (tuf_role_is_top_level(role))
                return err_set(
                        err, ESTALE,
                        "role %s was edited since this was prepared: prepare it again ('skerry repo prepare "
                        "%s') and have that signed",
                        role, role);
        int r = publisher_voucher(p, role, &by, err);
        if (r < 0)
                return r;
        if (published && given->version <= published->version)
                return err_set(err, ESTALE,
                               "version %lld of role %s is not newer than %lld, which is published",
                               (long long)given->version, role, (long long)published->version);
        if (tuf_metadata_count_signatures(given, by.m, by.role) == 0)
                return err_set(err, EKEYREJECTED, "version %lld of role %s is signed by none of its keys",
                               (long long)given->version, role);
        *ret_new = json_array_size(json_object_get(given->document, "signatures"));
        return publisher_stage_document(p, role, json_incref(given->document), err);
}

int tuf_publisher_submit(struct tuf_publisher *p, const char *role, const char *data, size_t len,
                         size_t *ret_new, struct err **err) {
        _cleanup_(tuf_metadata_freep) struct tuf_metadata *given = NULL;
        struct tuf_metadata *staged = table_get(p->staged, role);
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = tuf_metadata_parse(publisher_type(role), data, len, &given, err)) < 0)
                return r;
        if (!staged || staged->canonical_len != given->canonical_len ||
            memcmp(staged->canonical, given->canonical, given->canonical_len) != 0)
                return take_newer(p, role, given, ret_new, err);
        _cleanup_json_ json_t *document = json_deep_copy(staged->document);
        size_t new = 0;
        json_t *list = json_object_get(given->document, "signatures");
        for (size_t i = 0; i < json_array_size(list); i++) {
                const char *id = text_of(json_array_get(list, i), "keyid"),
                           *hex = text_of(json_array_get(list, i), "sig");
                if (str_eq(tuf_metadata_signature(staged, id), hex))
                        continue;
                r = check_signature(p, role, staged, id, hex, err);
                if (r < 0)
                        return r;
                if (!document || publisher_put_signature(document, id, hex) < 0)
                        return err_set_errno(err, ENOMEM, "submit role %s", role);
                new ++;
        }
        r = new > 0 ? publisher_stage_document(p, role, TAKE_PTR(document), err) : 0;
        if (r >= 0)
                *ret_new = new;
        return r;
}

int tuf_publisher_submit_signature(struct tuf_publisher *p, const char *role, const char *key,
                                   const char *signature_hex, struct err **err) {
        struct tuf_metadata *m = NULL;
        const char *name = NULL;
        const json_t *entry = NULL;
        int r = publisher_check_writable(p, err);
        if (r < 0 || (r = staged_role(p, role, &m, err)) < 0 ||
            (r = publisher_find_key(p, key, &name, &entry, err)) < 0 ||
            (r = check_signature(p, role, m, text_of(entry, "keyid"), signature_hex, err)) < 0)
                return r;
        _cleanup_json_ json_t *document = json_deep_copy(m->document);
        if (!document || publisher_put_signature(document, text_of(entry, "keyid"), signature_hex) < 0)
                return err_set_errno(err, ENOMEM, "submit role %s", role);
        return publisher_stage_document(p, role, TAKE_PTR(document), err);
}
