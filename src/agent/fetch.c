/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/fetch.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/app.h"
#include "net/backoff.h"

#define FETCH_AT_ONCE 4
#define FETCH_BASE_MS 500
#define FETCH_CAP_MS 60000

struct transfer {
        struct fetch *fetch;
        char digest[65];
        struct http_call *call;
        struct object_writer *writer;
        struct err *err; /* what writing met */
};

struct fetch {
        struct fetch_host host;
        struct fetch_listener listener;
        struct source *source;
        char **missing;
        size_t next; /* into missing */
        struct transfer transfers[FETCH_AT_ONCE];
        size_t running;
        bool failed; /* of this round */
        struct loop_timer *timer;
        struct backoff backoff;
        struct prng random;
};

static void start_round(void *arg);

static void wait_and_retry(struct fetch *f, msec_t at_least_ms) {
        loop_timer_set(f->timer, backoff_next(&f->backoff, &f->random, at_least_ms));
}

static void transfer_reset(struct transfer *t) {
        if (t->call)
                http_call_cancel(TAKE_PTR(t->call));
        t->writer = object_writer_free(t->writer);
        t->err = err_free(t->err);
        t->digest[0] = '\0';
}

static int on_data(void *arg, const char *p, size_t n) {
        struct transfer *t = arg;
        return object_writer_append(t->writer, p, n, &t->err);
}

static void start_transfers(struct fetch *f);

static void on_done(void *arg, const struct http_result *r) {
        struct transfer *t = arg;
        struct fetch *f = t->fetch;
        _cleanup_(x_freep) char *message = NULL;

        t->call = NULL;
        if (t->err)
                message = str_format("object %.12s: %s", t->digest, err_message(t->err));
        else if (r->error)
                message = str_format("object %.12s: %s", t->digest,
                                     r->message ? r->message : strerror(-r->error));
        else if (r->status != 200)
                message = str_format("object %.12s: the edge answered with status %d", t->digest, r->status);
        else if (object_writer_commit(t->writer, &t->err) < 0)
                message = str_format("object %.12s: %s", t->digest, err_message(t->err));
        transfer_reset(t);
        f->running--;
        if (message) {
                bool first = !f->failed;
                f->failed = true;
                if (first) {
                        wait_and_retry(f, r->retry_after_ms);
                        f->listener.delayed(f->listener.arg, message);
                }
                return;
        }
        backoff_reset(&f->backoff);
        start_transfers(f);
}

static int start_transfer(struct fetch *f, struct transfer *t, const char *digest, struct err **err) {
        struct http_client *client;
        _cleanup_(x_freep) char *path = str_format("/edge/v1/objects/sha256/%s", digest);
        _cleanup_(x_freep) char *url = NULL;
        bool is_revision = str_eq(digest, f->source->revision);

        if (!path)
                return err_set_errno(err, ENOMEM, "object %.12s", digest);
        if (!f->host.edge(f->host.arg, path, &client, &url))
                return err_set(err, EHOSTUNREACH, "object %.12s: not connected", digest);
        int r = object_writer_new(f->host.objects, digest, is_revision ? REVISION_MAX : APP_FILE_MAX,
                                  &t->writer, err);
        if (r < 0)
                return r;
        memcpy(t->digest, digest, sizeof(t->digest));
        struct http_request request = {.url = url, .on_data = on_data, .done = on_done, .arg = t};
        r = http_client_send(client, &request, &t->call, err);
        if (r < 0)
                transfer_reset(t);
        return r;
}

static void start_transfers(struct fetch *f) {
        _cleanup_(err_freep) struct err *err = NULL;
        for (size_t i = 0; i < FETCH_AT_ONCE && !f->failed && f->missing && f->missing[f->next]; i++) {
                struct transfer *t = &f->transfers[i];
                if (t->call)
                        continue;
                if (start_transfer(f, t, f->missing[f->next], &err) < 0) {
                        f->failed = true;
                        wait_and_retry(f, -1);
                        f->listener.delayed(f->listener.arg, err_message(err));
                        return;
                }
                f->next++;
                f->running++;
        }
        /* The revision has come: look which files it names; or all is there. */
        if (f->running == 0 && !f->failed)
                loop_timer_set(f->timer, 0);
}

static void start_round(void *arg) {
        struct fetch *f = arg;
        _cleanup_(err_freep) struct err *err = NULL;

        if (f->running > 0) { /* of a round that failed in part */
                wait_and_retry(f, -1);
                return;
        }
        f->missing = strv_free(f->missing);
        f->next = 0;
        f->failed = false;
        int r = desired_missing(f->host.objects, f->source, &f->missing, &err);
        if (r == -EBADMSG) { /* damaged on disk, and removed by the store: fetch it again */
                wait_and_retry(f, -1);
                return;
        }
        if (r < 0) {
                f->listener.failed(f->listener.arg, err_message(err));
                return;
        }
        if (!f->missing) {
                f->listener.ready(f->listener.arg);
                return;
        }
        start_transfers(f);
}

int fetch_new(const struct fetch_host *host, const struct source *s, const struct fetch_listener *listener,
              struct fetch **ret, struct err **err) {
        struct fetch *f = calloc(1, sizeof(*f));
        if (!f)
                return err_set_errno(err, ENOMEM, "fetch");
        f->host = *host;
        f->listener = *listener;
        f->backoff = (struct backoff)BACKOFF_INIT(FETCH_BASE_MS, FETCH_CAP_MS);
        f->source = source_copy(s);
        f->timer = loop_timer_new(host->loop, start_round, f);
        for (size_t i = 0; i < FETCH_AT_ONCE; i++)
                f->transfers[i].fetch = f;
        if (!f->source || !f->timer) {
                fetch_free(f);
                return err_set_errno(err, ENOMEM, "fetch");
        }
        prng_seed_random(&f->random);
        loop_timer_set(f->timer, 0);
        *ret = f;
        return 0;
}

void fetch_hurry(struct fetch *f) {
        if (f->running == 0) {
                backoff_reset(&f->backoff);
                loop_timer_set(f->timer, 0);
        }
}

struct fetch *fetch_free(struct fetch *f) {
        if (!f)
                return NULL;
        for (size_t i = 0; i < FETCH_AT_ONCE; i++)
                transfer_reset(&f->transfers[i]);
        if (f->timer)
                loop_timer_free(f->timer);
        strv_free(f->missing);
        source_free(f->source);
        free(f);
        return NULL;
}
