/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/enrolment.h"

#include <errno.h>
#include <string.h>

#include "agent/machine.h"
#include "base/str.h"
#include "crypto/cert.h"
#include "crypto/token.h"
#include "net/backoff.h"
#include "net/member.h"
#include "version.h"

#define ENROL_BASE_MS 1000
#define ENROL_CAP_MS 60000
#define ENROL_TIMEOUT_MS 60000
#define RENEW_CAP_MS 3600000
/* Clocks jump and machines sleep: look at the wall clock at least this often. */
#define RENEW_LOOK_MS 3600000

/* ---- enrolment */

struct enrolment {
        struct enrolment_request request;
        struct tls_config *tls;
        struct http_client *client;
        struct http_call *call;
        struct key *key; /* the same for all tries */
        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
};

static void enrol_try(void *arg);

/* Refusals are final: asking again with the same token and name gives the same answer. */
static bool is_final(int code) {
        return code == -EACCES || code == -EEXIST || code == -ENOENT || code == -EPROTO || code == -EINVAL;
}

static void enrol_failed(struct enrolment *e, const struct err *err, msec_t retry_after_ms) {
        if (!e->request.keep_trying || is_final(err_code(err))) {
                e->request.done(e->request.arg, NULL, err);
                return;
        }
        edge_address_next(e->request.edge);
        loop_timer_set(e->timer, backoff_next(&e->backoff, &e->random, retry_after_ms));
        if (e->request.waiting)
                e->request.waiting(e->request.arg, err_message(err));
}

static int read_answer(struct enrolment *e, const struct http_result *r, struct identity **ret,
                       struct err **err) {
        _cleanup_json_ json_t *j = NULL;
        const json_t *bundle;
        const char *kind, *certificate;
        int rc;
        if ((rc = json_decode(r->body, r->body_len, &j, err)) < 0 ||
            (rc = json_read_string(j, "kind", &kind, err)) < 0 ||
            (rc = json_read_string(j, "certificate", &certificate, err)) < 0 ||
            (rc = json_read_object(j, "bundle", &bundle, err)) < 0)
                return err_wrap(err, "%s: answer to the enrolment", edge_address_current(e->request.edge));
        if (!str_eq(kind, "node"))
                return err_set(err, EINVAL,
                               "the join token is for a %.16s; a node needs a token made for nodes", kind);
        return identity_create(e->request.state, e->key, certificate, bundle, ret, err);
}

static void enrol_done(void *arg, const struct http_result *r) {
        struct enrolment *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct identity *identity = NULL;
        e->call = NULL;
        if (r->error == -EKEYREJECTED)
                (void)err_set(&err, EKEYREJECTED,
                              "%s is not the server that the join token's pin names (or something stands "
                              "between): %s",
                              edge_address_current(e->request.edge), r->message);
        else if (r->error || r->status < 200 || r->status > 299)
                (void)edge_answer_error(e->request.edge, r, &err);
        else
                (void)read_answer(e, r, &identity, &err);
        if (identity)
                e->request.done(e->request.arg, identity, NULL);
        else
                enrol_failed(e, err, r->retry_after_ms);
}

static json_t *enrol_body(struct enrolment *e, struct err **err) {
        _cleanup_json_ json_t *facts = machine_facts(e->request.sysroot);
        json_t *body = NULL;
        if (!facts || json_object_set_new(facts, "platform", json_string(machine_platform())) < 0 ||
            json_object_set_new(facts, "agentVersion", json_string(SKERRY_VERSION)) < 0)
                return NULL;
        (void)member_enrol_body(e->key, e->request.token, e->request.name, "node", facts, &body, err);
        return body;
}

static int post(struct http_client *client, const struct edge_address *edge, const char *path,
                const json_t *body, void (*done)(void *arg, const struct http_result *r), void *arg,
                struct http_call **ret, struct err **err) {
        static const char *const headers[] = {"Content-Type: application/json", NULL};
        _cleanup_(x_freep) char *text = json_encode_compact(body), *url = edge_address_url(edge, path);
        if (!text || !url)
                return err_set_errno(err, ENOMEM, "%s", path);
        struct http_request request = {.method = "POST",
                                       .url = url,
                                       .headers = headers,
                                       .body = text,
                                       .body_len = strlen(text),
                                       .timeout_ms = ENROL_TIMEOUT_MS,
                                       .done = done,
                                       .arg = arg};
        return http_client_send(client, &request, ret, err);
}

static void enrol_try(void *arg) {
        struct enrolment *e = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *body = enrol_body(e, &err);
        if (!body) {
                if (!err)
                        (void)err_set_errno(&err, ENOMEM, "enrol");
                enrol_failed(e, err, -1);
                return;
        }
        if (post(e->client, e->request.edge, "/edge/v1/enrol", body, enrol_done, e, &e->call, &err) < 0)
                enrol_failed(e, err, -1);
}

int enrolment_start(const struct enrolment_request *request, struct enrolment **ret, struct err **err) {
        struct token token = {0};
        int r = token_parse(request->token, &token, err);
        if (r < 0)
                return err_wrap(err, "join token");
        if (!token.pin) {
                token_done(&token);
                return err_set(
                        err, EINVAL,
                        "join token: it does not carry the server's pin; copy the whole token, or make a new "
                        "one with `skerry token create`");
        }
        struct enrolment *e = calloc(1, sizeof(*e));
        struct tls_material material = {.peer = TLS_PEER_PIN, .pin = token.pin, .peer_is_edge = true};
        if (!e) {
                token_done(&token);
                return err_set_errno(err, ENOMEM, "enrol");
        }
        e->request = *request;
        e->backoff = (struct backoff)BACKOFF_INIT(ENROL_BASE_MS, ENROL_CAP_MS);
        prng_seed_random(&e->random);
        r = tls_client_new(&material, &e->tls, err);
        token_done(&token);
        if (r == 0)
                r = http_client_new(request->loop, &(struct http_client_options){.tls = e->tls}, &e->client,
                                    err);
        if (r == 0)
                r = key_generate(&e->key, err);
        if (r == 0 && !(e->timer = loop_timer_new(request->loop, enrol_try, e)))
                r = err_set_errno(err, ENOMEM, "enrol");
        if (r < 0) {
                enrolment_free(e);
                return r;
        }
        loop_timer_set(e->timer, 0);
        *ret = e;
        return 0;
}

struct enrolment *enrolment_free(struct enrolment *e) {
        if (!e)
                return NULL;
        if (e->call)
                http_call_cancel(e->call);
        http_client_free(e->client);
        tls_config_free(e->tls);
        key_free(e->key);
        if (e->timer)
                loop_timer_free(e->timer);
        free(e);
        return NULL;
}

/* ---- renewal */

struct renewal {
        struct renewal_host host;
        struct http_client *anonymous; /* for an expired certificate */
        struct http_call *call;
        struct key *key; /* the new one */
        struct loop_timer *timer;
        msec_t due; /* Unix ms */
        struct backoff backoff;
        struct prng random;
};

msec_t renewal_due(msec_t not_before, msec_t not_after, double unit) {
        msec_t life = not_after > not_before ? not_after - not_before : 0;
        return not_before + life / 2 - (msec_t)((double)(life / 10) * unit);
}

static void schedule(struct renewal *r) {
        r->due = renewal_due(identity_not_before(r->host.identity), identity_not_after(r->host.identity),
                             prng_unit(&r->random));
        backoff_reset(&r->backoff);
        loop_timer_set(r->timer,
                       MAX(MIN(r->due - clock_wall_ms(loop_clock(r->host.loop)), RENEW_LOOK_MS), 1000));
}

static void try_again(struct renewal *r, const struct err *err, msec_t retry_after_ms) {
        bool final = err_code(err) == -EACCES;
        msec_t wait = backoff_next(&r->backoff, &r->random, retry_after_ms);
        r->key = key_free(r->key);
        /* Somebody may let the node in again: seldom, but not never. */
        loop_timer_set(r->timer, final ? MAX(wait, RENEW_CAP_MS / 4) : wait);
        r->host.failed(r->host.arg, err_message(err), final);
}

static void renew_done(void *arg, const struct http_result *result) {
        struct renewal *r = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_json_ json_t *j = NULL;
        const json_t *bundle;
        const char *certificate;
        int rc;

        r->call = NULL;
        if (result->error || result->status < 200 || result->status > 299)
                rc = edge_answer_error(r->host.edge, result, &err);
        else if ((rc = json_decode(result->body, result->body_len, &j, &err)) == 0 &&
                 (rc = json_read_string(j, "certificate", &certificate, &err)) == 0) {
                /* The bundle first: the certificate may already be of a new root. */
                if (json_read_object(j, "bundle", &bundle, NULL) == 0)
                        (void)identity_take_bundle(r->host.identity, bundle, NULL);
                rc = identity_renew(r->host.identity, r->key, certificate,
                                    clock_wall_ms(loop_clock(r->host.loop)), &err);
        }
        if (rc < 0) {
                try_again(r, err, result->retry_after_ms);
                return;
        }
        r->key = key_free(r->key);
        r->anonymous = http_client_free(r->anonymous);
        schedule(r);
        r->host.renewed(r->host.arg);
}

/* A certificate that has expired would end the handshake: renewed without showing it, by proof alone. */
static int choose_client(struct renewal *r, struct http_client **ret, struct err **err) {
        _cleanup_(tls_config_freep) struct tls_config *tls = NULL;
        int rc;
        if (clock_wall_ms(loop_clock(r->host.loop)) < identity_not_after(r->host.identity)) {
                *ret = r->host.client;
                return 0;
        }
        if (!r->anonymous && ((rc = identity_anonymous_tls(r->host.identity, &tls, err)) < 0 ||
                              (rc = http_client_new(r->host.loop, &(struct http_client_options){.tls = tls},
                                                    &r->anonymous, err)) < 0))
                return rc;
        *ret = r->anonymous;
        return 0;
}

static int renew(struct renewal *r, struct err **err) {
        _cleanup_json_ json_t *body = NULL;
        const struct identity *held = r->host.identity;
        struct http_client *client;
        int rc;

        r->key = key_free(r->key);
        if ((rc = choose_client(r, &client, err)) < 0 || (rc = key_generate(&r->key, err)) < 0 ||
            (rc = member_renew_body(r->key, identity_key(held), identity_name(held),
                                    identity_certificate(held), &body, err)) < 0)
                return rc;
        return post(client, r->host.edge, "/edge/v1/renew", body, renew_done, r, &r->call, err);
}

static void renew_look(void *arg) {
        struct renewal *r = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        msec_t left = r->due - clock_wall_ms(loop_clock(r->host.loop));
        if (r->call)
                return;
        if (left > 0)
                loop_timer_set(r->timer, MIN(left, RENEW_LOOK_MS));
        else if (renew(r, &err) < 0)
                try_again(r, err, -1);
}

int renewal_start(const struct renewal_host *host, struct renewal **ret, struct err **err) {
        struct renewal *r = calloc(1, sizeof(*r));
        if (!r || !(r->timer = loop_timer_new(host->loop, renew_look, r))) {
                free(r);
                return err_set_errno(err, ENOMEM, "renew");
        }
        r->host = *host;
        r->backoff = (struct backoff)BACKOFF_INIT(ENROL_BASE_MS, RENEW_CAP_MS);
        prng_seed_random(&r->random);
        schedule(r);
        *ret = r;
        return 0;
}

void renewal_now(struct renewal *r) {
        r->due = 0;
        if (!r->call)
                loop_timer_set(r->timer, 0);
}

struct renewal *renewal_free(struct renewal *r) {
        if (!r)
                return NULL;
        if (r->call)
                http_call_cancel(r->call);
        http_client_free(r->anonymous);
        key_free(r->key);
        loop_timer_free(r->timer);
        free(r);
        return NULL;
}
