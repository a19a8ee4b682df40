/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/identity.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "crypto/spiffe_id.h"
#include "net/member.h"
#include "version.h"

#define IDENTITY_BYTES_MAX ((size_t)1 << 20)

struct identity *identity_free(struct identity *i) {
        if (!i)
                return NULL;
        free(i->name);
        free(i->trust_domain);
        free(i->server);
        free(i->key_pem);
        free(i->certificate_pem);
        free(i->roots_pem);
        json_decref(i->bundle);
        free(i);
        return NULL;
}

/* ---- the trust bundle */

struct bundle_parts {
        const char *trust_domain, *roots;
        int64_t sequence;
};

static int read_bundle(const json_t *bundle, struct bundle_parts *ret, struct err **err) {
        const json_t *keys = NULL;
        if (!json_is_object(bundle))
                return err_set(err, EINVAL, "trust bundle is no object");
        int r = json_read_string(bundle, "trustDomain", &ret->trust_domain, err);
        if (r >= 0)
                r = json_read_int(bundle, "sequence", &ret->sequence, err);
        if (r >= 0)
                r = json_read_string(bundle, "roots", &ret->roots, err);
        if (r >= 0)
                r = json_read_object(bundle, "assignmentKeys", &keys, err);
        if (r < 0) {
                err_wrap(err, "trust bundle");
                return r;
        }
        if (!trust_domain_is_valid(ret->trust_domain))
                return err_set(err, EINVAL, "trust bundle: \"%.80s\" is no trust domain", ret->trust_domain);
        struct cert_info info = {0};
        r = cert_inspect(ret->roots, &info, err);
        if (r < 0)
                err_wrap(err, "trust bundle: field roots");
        cert_info_done(&info);
        return r;
}

int identity_take_bundle(struct identity *i, const json_t *bundle, struct err **err) {
        struct bundle_parts parts = {0};
        int r = read_bundle(bundle, &parts, err);
        if (r < 0)
                return r;
        if (!str_eq(parts.trust_domain, i->trust_domain))
                return err_set(err, EINVAL, "trust bundle is of %s, we are of %s", parts.trust_domain,
                               i->trust_domain);
        const json_t *repository = json_object_get(bundle, "repository");
        bool has_more = parts.sequence == i->bundle_sequence && json_is_object(repository) &&
                        !json_equal(repository, json_object_get(i->bundle, "repository"));
        if (parts.sequence <= i->bundle_sequence && !has_more)
                return err_set(err, ESTALE, "trust bundle %lld is not newer than %lld",
                               (long long)parts.sequence, (long long)i->bundle_sequence);
        /* Only what the protocol names is kept and handed on: an event also has its type. */
        json_t *copy = json_pack(
                "{s:O, s:O, s:O, s:O}", "trustDomain", json_object_get(bundle, "trustDomain"), "sequence",
                json_object_get(bundle, "sequence"), "roots", json_object_get(bundle, "roots"),
                "assignmentKeys", json_object_get(bundle, "assignmentKeys"));
        /* Where trust in the repository begins; for nodes, who take it once. */
        if (copy && json_is_object(repository) &&
            json_object_set(copy, "repository", (json_t *)repository) < 0) {
                json_decref(copy);
                copy = NULL;
        }
        if (!copy || str_replace(&i->roots_pem, parts.roots) < 0) {
                json_decref(copy);
                return err_set(err, ENOMEM, "out of memory");
        }
        json_decref(i->bundle);
        i->bundle = copy;
        i->bundle_sequence = parts.sequence;
        return 0;
}

/* ---- reading one */

/* From {"name","certificate","bundle"} and the key; the certificate is not judged here but its shape. */
static int from_json(const json_t *j, const char *key_pem, const char *server, struct identity **ret,
                     struct err **err) {
        const char *name = NULL, *certificate = NULL;
        const json_t *bundle = NULL;
        struct bundle_parts parts = {0};
        int r = json_read_string(j, "name", &name, err);
        if (r >= 0)
                r = json_read_string(j, "certificate", &certificate, err);
        if (r >= 0)
                r = json_read_object(j, "bundle", &bundle, err);
        if (r >= 0)
                r = read_bundle(bundle, &parts, err);
        if (r < 0)
                return r;

        _cleanup_(identity_freep) struct identity *i = calloc(1, sizeof(*i));
        if (!i)
                return err_set(err, ENOMEM, "out of memory");
        i->name = str_dup(name);
        i->trust_domain = str_dup(parts.trust_domain);
        i->server = str_dup(server);
        i->key_pem = str_dup(key_pem);
        i->certificate_pem = str_dup(certificate);
        i->bundle_sequence = -1;
        if (!i->name || !i->trust_domain || !i->server || !i->key_pem || !i->certificate_pem)
                return err_set(err, ENOMEM, "out of memory");
        r = identity_take_bundle(i, bundle, err);
        if (r < 0)
                return r;

        struct cert_info info = {0};
        r = cert_inspect(certificate, &info, err);
        i->received_at = i->not_before = info.not_before;
        i->not_after = info.not_after;
        cert_info_done(&info);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(i);
        return 0;
}

static int check_member(const struct identity *i, const char *spiffe_id, struct err **err) {
        _cleanup_(x_freep) char *name = NULL;
        int r = member_name(spiffe_id, i->trust_domain, IDENTITY_RELAY, &name, err);
        if (r < 0)
                return err_wrap_code(err, r, "is the join token one for relays?");
        return str_eq(name, i->name) ? 0
                                     : err_set(err, EINVAL, "the certificate is for %s, not for relay %s",
                                               spiffe_id, i->name);
}

static int check_key(const struct identity *i, struct err **err) {
        _cleanup_(key_freep) struct key *mine = NULL;
        int r = key_from_pem(i->key_pem, &mine, err);
        return r < 0 ? r : member_check_key(mine, i->certificate_pem, err);
}

int identity_from_answer(const char *answer, size_t len, const char *key_pem, const char *server,
                         const struct identity *previous, msec_t now, struct identity **ret,
                         struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        _cleanup_(identity_freep) struct identity *i = NULL;
        _cleanup_(x_freep) char *spiffe_id = NULL;
        int r = json_decode(answer, len, &j, err);
        if (r >= 0)
                r = from_json(j, key_pem, server, &i, err);
        if (r >= 0)
                r = cert_verify_svid(i->certificate_pem, i->roots_pem, i->trust_domain, now, 0, &spiffe_id,
                                     err);
        if (r >= 0)
                r = check_member(i, spiffe_id, err);
        if (r >= 0)
                r = check_key(i, err);
        if (r >= 0 && previous &&
            (!str_eq(previous->name, i->name) || !str_eq(previous->trust_domain, i->trust_domain)))
                r = err_set(err, EINVAL, "the certificate is for relay %s of %s", i->name, i->trust_domain);
        if (r >= 0 && previous && i->bundle_sequence < previous->bundle_sequence)
                r = err_set(err, ESTALE, "trust bundle goes back from %lld to %lld",
                            (long long)previous->bundle_sequence, (long long)i->bundle_sequence);
        if (r < 0) {
                err_wrap(err, "the server's answer");
                return r;
        }
        i->received_at = now;
        *ret = TAKE_PTR(i);
        return 0;
}

/* ---- on disk */

int identity_load(const char *state, struct identity **ret, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(state, "identity.json"), *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        const char *key = NULL, *server = NULL;
        int64_t received_at = 0;
        size_t len = 0;
        if (!path)
                return err_set(err, ENOMEM, "out of memory");
        int r = file_read(path, IDENTITY_BYTES_MAX, &text, &len, err);
        if (r < 0)
                return r;
        r = json_decode(text, len, &j, err);
        if (r >= 0)
                r = json_read_string(j, "key", &key, err);
        if (r >= 0)
                r = json_read_string(j, "server", &server, err);
        if (r >= 0)
                r = json_read_optional_int(j, "receivedAt", &received_at, err);
        if (r >= 0)
                r = from_json(j, key, server, ret, err);
        if (r < 0) {
                err_wrap(err, "read %s", path);
                return r;
        }
        if (received_at > (*ret)->not_before && received_at < (*ret)->not_after)
                (*ret)->received_at = received_at;
        return 0;
}

int identity_save(const struct identity *i, const char *state, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(state, "identity.json");
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s, s:I, s:s, s:s, s:O}", "name", i->name, "server", i->server,
                          "receivedAt", (json_int_t)i->received_at, "key", i->key_pem, "certificate",
                          i->certificate_pem, "bundle", i->bundle);
        _cleanup_(x_freep) char *text = j ? json_encode_pretty(j) : NULL;
        if (!path || !text)
                return err_set(err, ENOMEM, "out of memory");
        return file_write_atomic(path, text, strlen(text), 0600, err);
}

/* ---- asking */

/* Both as text. */
static int asked_with(struct key *key, const json_t *body, char **ret_body, char **ret_key_pem,
                      struct err **err) {
        _cleanup_(x_freep) char *pem = NULL, *text = json_encode_compact(body);
        if (!text)
                return err_set(err, ENOMEM, "out of memory");
        int r = key_to_pem(key, &pem, err);
        if (r < 0)
                return r;
        *ret_body = TAKE_PTR(text);
        *ret_key_pem = TAKE_PTR(pem);
        return 0;
}

int identity_enrol_request(const char *token, const char *name, char **ret_body, char **ret_key_pem,
                           struct err **err) {
        _cleanup_(x_freep) char *machine_id = NULL;
        _cleanup_(key_freep) struct key *key = NULL;
        _cleanup_json_ json_t *body = NULL;
        struct utsname host;
        size_t len = 0;
        if (uname(&host) < 0)
                return err_set_errno(err, errno, "read the host's name");
        if (file_read("/etc/machine-id", 128, &machine_id, &len, NULL) >= 0)
                machine_id[strcspn(machine_id, "\n")] = '\0';
        _cleanup_json_ json_t *facts = json_pack("{s:s, s:s*, s:s, s:s}", "hostname", host.nodename,
                                                 "machineId", machine_id, "platform",
                                                 str_eq(host.machine, "x86_64")    ? "linux/amd64"
                                                 : str_eq(host.machine, "aarch64") ? "linux/arm64"
                                                                                   : host.machine,
                                                 "agentVersion", SKERRY_VERSION);
        if (!facts)
                return err_set(err, ENOMEM, "out of memory");
        int r = key_generate(&key, err);
        if (r >= 0)
                r = member_enrol_body(key, token, name, host.nodename, facts, &body, err);
        return r < 0 ? r : asked_with(key, body, ret_body, ret_key_pem, err);
}

int identity_renew_request(const struct identity *i, char **ret_body, char **ret_key_pem, struct err **err) {
        _cleanup_(key_freep) struct key *held = NULL, *key = NULL;
        _cleanup_json_ json_t *body = NULL;
        int r = key_from_pem(i->key_pem, &held, err);
        if (r >= 0)
                r = key_generate(&key, err);
        if (r >= 0)
                r = member_renew_body(key, held, i->name, i->certificate_pem, &body, err);
        return r < 0 ? r : asked_with(key, body, ret_body, ret_key_pem, err);
}

msec_t identity_renew_at(const struct identity *i) {
        return i->received_at + (i->not_after - i->received_at) / 2;
}

/* ---- TLS */

struct tls_material identity_server_material(const struct identity *i) {
        return (struct tls_material){
                .certificate_pem = i->certificate_pem,
                .key_pem = i->key_pem,
                .bundle_pem = i->roots_pem,
                .peer = TLS_PEER_OPTIONAL,
                .trust_domain = i->trust_domain,
        };
}

struct tls_material identity_client_material(const struct identity *i) {
        return (struct tls_material){
                .certificate_pem = i->certificate_pem,
                .key_pem = i->key_pem,
                .bundle_pem = i->roots_pem,
                .peer = TLS_PEER_REQUIRED,
                .trust_domain = i->trust_domain,
                .peer_is_edge = true,
        };
}

struct tls_material identity_anonymous_material(const struct identity *i) {
        return (struct tls_material){
                .bundle_pem = i->roots_pem,
                .peer = TLS_PEER_REQUIRED,
                .trust_domain = i->trust_domain,
                .peer_is_edge = true,
        };
}
