/* SPDX-License-Identifier: Apache-2.0 */
#include "server/edge_backend.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "codec/json.h"
#include "crypto/digest.h"
#include "repo/object_store.h"
#include "server/assignments.h"
#include "server/authority.h"
#include "server/inventory.h"
#include "server/memory.h"
#include "server/relays.h"
#include "server/repository.h"
#include "server/signed_report.h"
#include "server/tokens.h"

/* ---- answers that wait until what they say is durable */

struct answer {
        struct edge_reply *reply;
        json_t *body;
};

static void answer_durable(void *arg, int error) {
        struct answer *a = arg;
        if (error < 0) {
                json_decref(a->body);
                edge_reply_error(a->reply, 503, "unavailable",
                                 "the server could not write this down, try again");
        } else
                edge_reply_json(a->reply, a->body);
        free(a);
}

static void answer_later(struct control *c, struct edge_reply *reply, json_t *body) { /* takes body */
        struct answer *a = NEW(struct answer);
        *a = (struct answer){reply, body};
        turns_after(c->turns, answer_durable, a);
}

/* The authority's, and with it where trust in the repository begins. */
static json_t *bundle_make(const struct control *c) {
        json_t *bundle = authority_bundle(c->authority), *repository = repository_bundle(c);
        if (repository)
                json_put(bundle, "repository", repository);
        return bundle;
}

static json_t *membership(struct control *c, enum identity_kind kind, const char *name, const char *chain) {
        json_t *j = json_object_new();
        json_put(j, "name", json_text(name));
        json_put(j, "kind", json_text(identity_kind_name(kind)));
        json_put(j, "certificate", json_text(chain));
        json_put(j, "bundle", bundle_make(c));
        return j;
}

/* ---- joining */

struct joining { /* a request to join, taken apart */
        const char *token, *csr, *name, *hostname, *machine_id;
};

static int joining_read(const json_t *request, struct joining *j, struct err **err) {
        const json_t *facts = json_object_get(request, "facts");
        int r = json_read_string(request, "token", &j->token, err);
        if (r >= 0)
                r = json_read_string(request, "csr", &j->csr, err);
        if (r >= 0)
                r = json_read_optional_string(request, "name", &j->name, err);
        if (r >= 0 && facts && !json_is_null(facts)) {
                if (!json_is_object(facts))
                        return err_set(err, EINVAL, "field facts: expected an object");
                r = json_read_optional_string(facts, "hostname", &j->hostname, err);
                if (r >= 0)
                        r = json_read_optional_string(facts, "machineId", &j->machine_id, err);
        }
        if (r >= 0 && j->machine_id && strlen(j->machine_id) > 128)
                return err_set(err, EINVAL, "field machineId: longer than 128 bytes");
        return r;
}

/* A host name's first label as a node name: "Shop-1.example.org" -> "shop-1". */
static char *name_from_hostname(const char *hostname) {
        char *name = must(str_dup_n(hostname, strcspn(hostname, ".")));
        for (char *p = name; *p; p++)
                if (*p >= 'A' && *p <= 'Z')
                        *p = (char)(*p - 'A' + 'a');
                else if (*p == '_')
                        *p = '-';
        return name;
}

static int joining_name(const struct control *c, const struct joining *j, const struct join_token *t,
                        char **ret, struct err **err) {
        if (t->name && j->name && !str_eq(t->name, j->name))
                return err_set(err, EACCES, "the join token is for %s, not for %s", t->name, j->name);
        /* A machine that a list named gets the name that it has there. */
        const struct node *expected = inventory_machine(c, j->machine_id);
        char *name = t->name   ? copy_text(t->name)
                     : j->name ? copy_text(j->name)
                     : expected && expected->imported_at && str_eq(t->kind, "node")
                             ? copy_text(expected->name)
                     : j->hostname ? name_from_hostname(j->hostname)
                                   : NULL;
        if (!name || !name_is_dns_label(name)) {
                int r = err_set(
                        err, EINVAL,
                        "%s%s cannot be a node's name (a-z, 0-9, -, at most 63): give one with --name",
                        name ? "" : "a machine without host name", name ? name : "");
                free(name);
                return r;
        }
        *ret = name;
        return 0;
}

/* Is the name free for this machine? */
static int name_check(const struct control *c, enum identity_kind kind, const char *name,
                      const char *machine_id, struct err **err) {
        const char *holder = NULL;
        msec_t not_after = 0, revoked_at = 0, now = control_now(c);
        if (kind == IDENTITY_NODE) {
                const struct node *n = inventory_node(c, name);
                if (!n)
                        return 0;
                if (n->replace_until > now) /* a person said so */
                        return 0;
                holder = n->machine_id;
                if (n->imported_at) { /* it is waited for: this machine, where the list names one */
                        if (!holder || !*holder || str_eq(holder, machine_id))
                                return 0;
                        return err_set(
                                err, EEXIST,
                                "node %s is expected to be another machine: take another name, or let it be "
                                "this one (skerry node replace %s)",
                                name, name);
                }
                not_after = n->certificate_not_after;
                revoked_at = n->revoked_at;
        } else {
                const struct relay *r = relays_find(c, name);
                if (!r)
                        return 0;
                holder = r->machine_id;
                not_after = r->certificate_not_after;
                revoked_at = r->revoked_at;
        }
        if (revoked_at)
                return err_set(
                        err, EEXIST,
                        "%s %s was revoked: forget it first (skerry node delete %s), or take another name",
                        identity_kind_name(kind), name, name);
        /* As long as its holder may come back and renew, a name is held. */
        if (not_after + c->settings->renew_grace > control_now(c) && !(holder && str_eq(holder, machine_id)))
                return err_set(
                        err, EEXIST, "another machine holds a certificate as %s %s: take another name, or %s",
                        identity_kind_name(kind), name,
                        kind == IDENTITY_NODE ? "let this one take its place first (skerry node replace)"
                                              : "revoke and delete that one");
        return 0;
}

/* A key that joined before asks again when the answer was lost on its way. Once what it made has been heard
 * of, the answer was not lost; and whoever overheard the request, a relay for one, must not be able to put
 * the certificate that is in use out of use by it. */
static int repeat_check(const struct control *c, enum identity_kind kind, const char *joined,
                        const char *name, struct err **err) {
        const struct node *n = kind == IDENTITY_NODE ? inventory_node(c, name) : NULL;
        const struct relay *r = kind == IDENTITY_RELAY ? relays_find(c, name) : NULL;
        if (!joined)
                return 0;
        if (!str_eq(joined, name))
                return err_set(err, EACCES, "this key joined as %s already, not as %s: take a new key",
                               joined, name);
        if (n ? n->address || n->report.is_known : r && r->address)
                return err_set(err, EACCES, "%s %s has joined already by this request: renew its certificate",
                               identity_kind_name(kind), name);
        return 0;
}

static int status_of(int error) {
        switch (-error) {
        case EACCES: return 403;
        case EEXIST: return 409;
        default: return 400;
        }
}

static const char *code_of(int error) {
        switch (-error) {
        case EACCES: return "forbidden";
        case EEXIST: return "conflict";
        default: return "invalid";
        }
}

static int join(struct control *c, const json_t *request, json_t **ret, char **ret_name, struct err **err) {
        struct joining j = {0};
        _cleanup_(x_freep) char *name = NULL, *chain = NULL;
        _cleanup_(key_freep) struct key *subject = NULL;
        char key[65];
        int r = joining_read(request, &j, err);
        if (r < 0)
                return r;
        struct join_token *t = tokens_check_join(c, j.token);
        if (!t)
                return err_set(err, EACCES,
                               "the join token is not known here: it was mistyped, deleted, or is of another "
                               "server");
        enum identity_kind kind = str_eq(t->kind, "relay") ? IDENTITY_RELAY : IDENTITY_NODE;
        r = csr_check(j.csr, &subject, err);
        if (r >= 0)
                r = key_id(subject, key, err);
        if (r < 0) {
                err_wrap(err, "the signing request");
                return -EINVAL;
        }
        r = join_token_check(t, key, control_now(c), err);
        if (r >= 0)
                r = joining_name(c, &j, t, &name, err);
        if (r >= 0)
                r = name_check(c, kind, name, j.machine_id, err);
        if (r >= 0)
                r = repeat_check(c, kind, join_token_joined(t, key), name, err);
        if (r < 0)
                return r;
        struct cert_info certificate = {0};
        r = authority_issue(c->authority, kind, name, subject, NULL, c->settings->certificate_ttl,
                            control_now(c), &chain, &certificate, err);
        if (r < 0)
                return r;
        tokens_use_join(c, t, key, name);
        if (kind == IDENTITY_RELAY)
                relays_enrol(c, name, j.machine_id, &certificate);
        else
                inventory_enrol(c, name, j.machine_id, pairs_pack(t->labels), &certificate);
        cert_info_done(&certificate);
        *ret = membership(c, kind, name, chain);
        *ret_name = TAKE_PTR(name);
        return 0;
}

static void backend_enrol(void *arg, const json_t *request, const char *address, struct edge_reply *reply) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *name = NULL;
        json_t *body = NULL;
        int r = join(c, request, &body, &name, &err);
        if (r < 0) {
                log_warning("an enrolment was refused", "address", address, "error", err_message(err), NULL);
                edge_reply_error(reply, status_of(r), code_of(r), err_message(err));
                return;
        }
        log_info("enrolled", "name", name, "address", address, NULL);
        answer_later(c, reply, body);
}

/* ---- renewing */

static int renewal_admit(const struct control *c, const struct renewal *r, struct err **err) {
        const struct node *n = r->kind == IDENTITY_NODE ? inventory_node(c, r->name) : NULL;
        const struct relay *relay = r->kind == IDENTITY_RELAY ? relays_find(c, r->name) : NULL;
        const struct serials *serials = n ? &n->serials : relay ? &relay->serials : NULL;
        if (!serials)
                return err_set(err, EACCES,
                               "%s %s is not known here any more: enrol it again with a join token",
                               identity_kind_name(r->kind), r->name);
        if (n ? n->revoked_at : relay->revoked_at)
                return err_set(err, EACCES, "%s %s was revoked", identity_kind_name(r->kind), r->name);
        if (!serials_have(serials, r->serial))
                return err_set(err, EACCES,
                               "this certificate of %s %s was replaced: enrol it again with a join token",
                               identity_kind_name(r->kind), r->name);
        return 0;
}

static int renew(struct control *c, const json_t *request, json_t **ret, struct err **err) {
        const char *csr = NULL, *chain = NULL, *proof = NULL;
        _cleanup_(renewal_done) struct renewal renewal = {0};
        _cleanup_(x_freep) char *issued = NULL;
        int r = json_read_string(request, "csr", &csr, err);
        if (r >= 0)
                r = json_read_string(request, "certificate", &chain, err);
        if (r >= 0)
                r = json_read_string(request, "proof", &proof, err);
        if (r < 0)
                return r;
        if (strlen(chain) > CERT_PEM_MAX)
                return err_set(err, EINVAL, "field certificate: too long");
        r = authority_check_renewal(c->authority, csr, chain, proof, c->settings->renew_grace, control_now(c),
                                    &renewal, err);
        if (r < 0)
                return -EACCES;
        r = renewal_admit(c, &renewal, err);
        if (r < 0)
                return r;
        struct cert_info certificate = {0};
        r = authority_issue(c->authority, renewal.kind, renewal.name, renewal.subject, NULL,
                            c->settings->certificate_ttl, control_now(c), &issued, &certificate, err);
        if (r < 0)
                return r;
        if (renewal.kind == IDENTITY_NODE)
                inventory_renewed(c, inventory_node(c, renewal.name), &certificate);
        else
                relays_renewed(c, relays_find(c, renewal.name), &certificate);
        cert_info_done(&certificate);
        *ret = membership(c, renewal.kind, renewal.name, issued);
        return 0;
}

static void backend_renew(void *arg, const json_t *request, struct edge_reply *reply) {
        struct control *c = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        json_t *body = NULL;
        int r = renew(c, request, &body, &err);
        if (r < 0) {
                log_warning("a renewal was refused", "error", err_message(err), NULL);
                edge_reply_error(reply, status_of(r), code_of(r), err_message(err));
                return;
        }
        answer_later(c, reply, body);
}

/* ---- speaking */

static void backend_presence(void *arg, const char *node, bool connected, const char *via,
                             const char *address, int64_t version) {
        struct control *c = arg;
        struct node *n = inventory_node(c, node);
        if (!n || (connected && n->revoked_at))
                return;
        /* A node that moved is told of twice: what it left must not undo where it went. */
        if (!connected && n->connected && !str_eq(n->relay, via))
                return;
        inventory_presence(c, n, connected, via, address);
        if (connected)
                assignments_catch_up(c, n, version);
}

static void backend_status(void *arg, const char *node, const char *via, const json_t *status) {
        struct control *c = arg;
        struct node *n = inventory_node(c, node);
        if (n && !n->revoked_at)
                signed_report_take(c, n, via, status);
}

struct settle {
        void (*done)(void *arg, int error);
        void *arg;
};

static void settled(void *arg, int error) {
        struct settle *s = arg;
        s->done(s->arg, error);
        free(s);
}

static void backend_settle(void *arg, void (*done)(void *done_arg, int error), void *done_arg) {
        struct control *c = arg;
        struct settle *s = NEW(struct settle);
        *s = (struct settle){done, done_arg};
        turns_after(c->turns, settled, s);
}

static void backend_relay_presence(void *arg, const char *relay, bool connected, const char *address) {
        struct control *c = arg;
        struct relay *r = relays_find(c, relay);
        if (r)
                relays_presence(c, r, connected, address);
        /* What was revoked while the relay was away, it hears now: it may be alone again soon. Certificates
         * that have run out need nobody to refuse them. */
        struct node *n;
        for (size_t i = 0; r && connected && c->edge && inventory_next(c, &i, &n);)
                if (n->revoked_at && n->certificate_not_after > control_now(c))
                        edge_drop(c->edge, IDENTITY_NODE, n->name);
}

static void backend_object(void *arg, const char *sha256, void (*done)(void *done_arg, int fd),
                           void *done_arg) {
        struct control *c = arg;
        done(done_arg, object_store_open_object(c->objects, sha256));
}

static bool backend_admit(void *arg, const struct edge_peer *peer) {
        const struct control *c = arg;
        if (peer->is_relay) {
                const struct relay *r = relays_find(c, peer->name);
                return r && !r->revoked_at && (!peer->serial || serials_have(&r->serials, peer->serial));
        }
        const struct node *n = inventory_node(c, peer->name);
        return n && !n->revoked_at && (!peer->serial || serials_have(&n->serials, peer->serial));
}

static json_t *backend_bundle(void *arg) {
        const struct control *c = arg;
        return bundle_make(c);
}

static void backend_repository(void *arg, const struct edge_repository_request *q,
                               void (*done)(void *done_arg, const struct edge_repository_file *f),
                               void *done_arg) {
        repository_serve(arg, q, done, done_arg);
}

struct edge_backend edge_backend_make(struct control *c) {
        return (struct edge_backend){
                .arg = c,
                .enrol = backend_enrol,
                .renew = backend_renew,
                .presence = backend_presence,
                .status = backend_status,
                .settle = backend_settle,
                .relay_presence = backend_relay_presence,
                .object = backend_object,
                .repository = backend_repository,
                .admit = backend_admit,
                .bundle = backend_bundle,
        };
}

/* ---- closing connections */

struct drop {
        struct control *control;
        enum identity_kind kind;
        char *name;
};

static void drop_now(void *arg, int error) {
        struct drop *d = arg;
        if (error == 0 && d->control->edge)
                edge_drop(d->control->edge, d->kind, d->name);
        free(d->name);
        free(d);
}

void edge_backend_drop_later(struct control *c, enum identity_kind kind, const char *name) {
        struct drop *d = NEW(struct drop);
        *d = (struct drop){c, kind, copy_text(name)};
        turns_after(c->turns, drop_now, d);
}
