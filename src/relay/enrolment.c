/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/enrolment.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/token.h"
#include "net/backoff.h"
#include "net/http_client.h"

#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS 30000
#define TIMEOUT_MS 60000

struct attempt {
        struct loop *loop;
        const struct enrolment_options *options;
        struct http_client *client;
        struct loop_timer *retry;
        struct backoff backoff;
        struct prng random;
        char *url, *body, *key_pem;
        struct identity *identity;
        struct err *err;
        bool settled;
};

static void settle(struct attempt *a) {
        a->settled = true;
        loop_stop(a->loop, 0);
}

/* The words of the API's error body, or the body itself. */
static const char *words_of(const struct http_result *r, json_t **ret_owner) {
        const char *message = NULL;
        if (json_decode(r->body, r->body_len, ret_owner, NULL) >= 0)
                message = json_string_value(json_object_get(json_object_get(*ret_owner, "error"), "message"));
        return message ? message : r->body;
}

static void on_answer(void *arg, const struct http_result *r) {
        struct attempt *a = arg;
        const struct enrolment_options *o = a->options;
        _cleanup_json_ json_t *owner = NULL;
        a->err = err_free(a->err);
        if (r->error == 0 && r->status == 200) {
                int result = identity_from_answer(r->body, r->body_len, a->key_pem, o->server, NULL,
                                                  clock_wall_ms(loop_clock(a->loop)), &a->identity, &a->err);
                if (result >= 0 && identity_save(a->identity, o->state, &a->err) < 0)
                        a->identity = identity_free(a->identity);
                settle(a);
                return;
        }
        if (r->error == -EKEYREJECTED)
                err_set(&a->err, EKEYREJECTED,
                        "%s; the token pins another root than this server's: is the address right, and the "
                        "token of "
                        "this server?",
                        r->message);
        else if (r->error < 0)
                err_set(&a->err, -r->error, "%s", r->message);
        else
                err_set(&a->err, r->status < 500 ? EACCES : EAGAIN, "%s answers %d: %.300s", o->server,
                        r->status, words_of(r, &owner));
        bool may_pass = r->error < 0 ? r->error != -EKEYREJECTED && r->error != -EINVAL
                                     : r->status >= 500 || r->status == 429;
        if (!o->patient || !may_pass) {
                settle(a);
                return;
        }
        msec_t wait = backoff_next(&a->backoff, &a->random, r->retry_after_ms);
        log_warning("enrolment did not succeed yet", "error", err_message(a->err), NULL);
        loop_timer_set(a->retry, wait);
}

static void send_request(void *arg) {
        struct attempt *a = arg;
        struct http_request q = {
                .method = "POST",
                .url = a->url,
                .body = a->body,
                .body_len = strlen(a->body),
                .timeout_ms = TIMEOUT_MS,
                .done = on_answer,
                .arg = a,
        };
        if (http_client_send(a->client, &q, NULL, &a->err) < 0)
                settle(a);
}

static void attempt_done(struct attempt *a) {
        http_client_free(a->client);
        loop_timer_free(a->retry);
        free(a->url);
        free(a->body);
        free(a->key_pem);
        identity_free(a->identity);
        err_free(a->err);
}

static int prepare(struct attempt *a, struct err **err) {
        const struct enrolment_options *o = a->options;
        struct token token = {0};
        struct tls_config *tls = NULL;
        int r = token_parse(o->token, &token, err);
        if (r < 0)
                return r;
        if (!token.pin)
                r = err_set(err, EINVAL, "this is no join token: it does not say which server to trust");
        struct tls_material material = {.peer = TLS_PEER_PIN, .pin = token.pin, .peer_is_edge = true};
        if (r >= 0)
                r = dir_make(o->state, 0700, err);
        if (r >= 0)
                r = tls_client_new(&material, &tls, err);
        struct http_client_options client = {.tls = tls};
        if (r >= 0)
                r = http_client_new(a->loop, &client, &a->client, err);
        if (r >= 0)
                r = identity_enrol_request(o->token, o->name, &a->body, &a->key_pem, err);
        tls_config_free(tls);
        token_done(&token);
        if (r < 0)
                return r;
        size_t len = strlen(o->server);
        while (len > 0 && o->server[len - 1] == '/')
                len--;
        a->url = str_format("%.*s/edge/v1/enrol", (int)len, o->server);
        a->retry = loop_timer_new(a->loop, send_request, a);
        if (!a->url || !a->retry)
                return err_set(err, ENOMEM, "out of memory");
        return 0;
}

int enrolment_run(struct loop *l, const struct enrolment_options *o, struct identity **ret,
                  struct err **err) {
        _cleanup_(attempt_done) struct attempt a = {
                .loop = l,
                .options = o,
                .backoff = BACKOFF_INIT(BACKOFF_BASE_MS, BACKOFF_CAP_MS),
        };
        prng_seed_random(&a.random);
        int r = prepare(&a, err);
        if (r < 0)
                return r;
        loop_timer_set(a.retry, 0);
        (void)loop_run(l);
        if (a.identity) {
                *ret = TAKE_PTR(a.identity);
                return 0;
        }
        if (!a.settled)
                return err_set(err, ECANCELED, "stopped before the enrolment was through");
        return err_move(err, TAKE_PTR(a.err));
}
