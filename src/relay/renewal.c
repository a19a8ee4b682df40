/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/renewal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "net/backoff.h"
#include "net/http_client.h"

#define LOOK_EVERY_MS ((msec_t)600 * 1000) /* the wall clock may jump */
#define PAUSE_MS 1000                      /* between renewals, however short a certificate's life is */
#define BACKOFF_BASE_MS 5000
#define BACKOFF_CAP_MS 600000
#define TIMEOUT_MS 60000

struct renewal {
        struct loop *loop;
        struct identity *const *identity;
        void (*renewed)(void *arg, struct identity *fresh);
        void *arg;
        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
        struct http_client *client; /* while a renewal is under way */
        char *key_pem;
};

static void wait_for_half_life(struct renewal *r, msec_t at_least_ms) {
        msec_t in = identity_renew_at(*r->identity) - clock_wall_ms(loop_clock(r->loop));
        loop_timer_set(r->timer, MIN(MAX(in, at_least_ms), LOOK_EVERY_MS));
}

static void end_attempt(struct renewal *r) {
        r->client = http_client_free(r->client);
        free(TAKE_PTR(r->key_pem));
}

static void failed(struct renewal *r, const char *why, msec_t retry_after_ms) {
        log_warning("the certificate could not be renewed yet", "error", why, NULL);
        end_attempt(r);
        loop_timer_set(r->timer, backoff_next(&r->backoff, &r->random, retry_after_ms));
}

static void on_answer(void *arg, const struct http_result *a) {
        struct renewal *r = arg;
        const struct identity *old = *r->identity;
        struct identity *fresh = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (a->error < 0)
                failed(r, a->message, -1);
        else if (a->status != 200)
                failed(r, a->body, a->retry_after_ms);
        else if (identity_from_answer(a->body, a->body_len, r->key_pem, old->server, old,
                                      clock_wall_ms(loop_clock(r->loop)), &fresh, &err) < 0)
                failed(r, err_message(err), -1);
        else {
                end_attempt(r);
                backoff_reset(&r->backoff);
                r->renewed(r->arg, fresh);
                wait_for_half_life(r, PAUSE_MS);
        }
}

/* A client of its own, without certificate: the proof by the old key is what counts, so that a relay whose
 * certificate ran out while it was switched off can come back. */
static int send_request(struct renewal *r, struct err **err) {
        const struct identity *i = *r->identity;
        struct tls_config *tls = NULL;
        struct tls_material material = identity_anonymous_material(i);
        _cleanup_(x_freep) char *body = NULL, *url = str_format("%s/edge/v1/renew", i->server);
        if (!url)
                return err_set(err, ENOMEM, "out of memory");
        int result = identity_renew_request(i, &body, &r->key_pem, err);
        if (result >= 0)
                result = tls_client_new(&material, &tls, err);
        struct http_client_options options = {.tls = tls};
        if (result >= 0)
                result = http_client_new(r->loop, &options, &r->client, err);
        tls_config_free(tls);
        if (result < 0)
                return result;
        struct http_request q = {
                .method = "POST",
                .url = url,
                .body = body,
                .body_len = strlen(body),
                .timeout_ms = TIMEOUT_MS,
                .done = on_answer,
                .arg = r,
        };
        return http_client_send(r->client, &q, NULL, err);
}

void renewal_now(struct renewal *r) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (r->client) /* under way */
                return;
        if (send_request(r, &err) < 0)
                failed(r, err_message(err), -1);
}

static void on_timer(void *arg) {
        struct renewal *r = arg;
        if (identity_renew_at(*r->identity) > clock_wall_ms(loop_clock(r->loop)))
                wait_for_half_life(r, 0);
        else
                renewal_now(r);
}

void renewal_start(struct renewal *r) {
        wait_for_half_life(r, 0);
}

int renewal_new(struct loop *l, struct identity *const *identity,
                void (*renewed)(void *arg, struct identity *fresh), void *arg, struct renewal **ret,
                struct err **err) {
        _cleanup_(renewal_freep) struct renewal *r = calloc(1, sizeof(*r));
        if (!r)
                return err_set(err, ENOMEM, "out of memory");
        r->loop = l;
        r->identity = identity;
        r->renewed = renewed;
        r->arg = arg;
        r->backoff = (struct backoff)BACKOFF_INIT(BACKOFF_BASE_MS, BACKOFF_CAP_MS);
        prng_seed_random(&r->random);
        r->timer = loop_timer_new(l, on_timer, r);
        if (!r->timer)
                return err_set(err, ENOMEM, "out of memory");
        *ret = TAKE_PTR(r);
        return 0;
}

struct renewal *renewal_free(struct renewal *r) {
        if (!r)
                return NULL;
        loop_timer_free(r->timer);
        end_attempt(r);
        free(r);
        return NULL;
}
