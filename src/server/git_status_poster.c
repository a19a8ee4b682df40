/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_status_poster.h"

#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/random.h"
#include "codec/json.h"
#include "net/backoff.h"
#include "net/http_client.h"
#include "server/memory.h"
#include "server/settings.h"

#define BASE_MS 1000
#define CAP_MS 600000
#define ANSWER_MAX 16384
#define TIMEOUT_MS 30000
#define CA_MAX ((size_t)1 << 20)

struct git_status_poster {
        struct git_status_poster_options o;
        enum status_host host;
        char *base, *error;
        struct tls_config *tls;
        struct http_client *http;
        struct http_call *call; /* under way */
        json_t *current;        /* what it says: context, commit, state, description */
        struct loop_timer *timer;
        struct prng random;
        struct backoff backoff;
        unsigned refusals;
};

static void poster_next(struct git_status_poster *p);

static void on_timer(void *arg) {
        poster_next(arg);
}

static int http_open(struct git_status_poster *p, struct err **err) {
        _cleanup_(x_freep) char *bundle = NULL;
        size_t len = 0;
        if (p->http)
                return 0;
        if (p->o.spec->ca_file && !p->tls) {
                int r = file_read(p->o.spec->ca_file, CA_MAX, &bundle, &len, err);
                if (r >= 0)
                        r = tls_client_new(&(struct tls_material){.bundle_pem = bundle, .check_host = true},
                                           &p->tls, err);
                if (r < 0)
                        return r;
        }
        return http_client_new(p->o.loop, &(struct http_client_options){.tls = p->tls}, &p->http, err);
}

int git_status_poster_new(const struct git_status_poster_options *o, struct git_status_poster **ret,
                          struct err **err) {
        struct git_status_poster *p = NEW(struct git_status_poster);
        int r = status_host_from_name(o->spec->status_host, &p->host);
        if (r >= 0)
                r = git_status_base(p->host, o->spec->url, o->spec->status_url, &p->base, err);
        if (r < 0) {
                json_decref(o->posted);
                free(p);
                return r;
        }
        p->o = *o;
        if (!json_is_object(p->o.posted)) {
                json_decref(p->o.posted);
                p->o.posted = json_object_new();
        }
        prng_seed_random(&p->random);
        p->backoff = (struct backoff)BACKOFF_INIT(BASE_MS, CAP_MS);
        p->timer = must(loop_timer_new(o->loop, on_timer, p));
        *ret = p;
        return 0;
}

struct git_status_poster *git_status_poster_free(struct git_status_poster *p) {
        if (!p)
                return NULL;
        loop_timer_free(p->timer);
        http_client_free(p->http); /* cancels the call */
        tls_config_free(p->tls);
        json_decref(p->current);
        json_decref(p->o.posted);
        free(p->base);
        free(p->error);
        free(p);
        return NULL;
}

json_t *git_status_poster_posted(const struct git_status_poster *p) {
        return p->o.posted;
}
const char *git_status_poster_error(const struct git_status_poster *p) {
        return p->error;
}

static const char *text_of(const json_t *o, const char *key) {
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

/* ---- what is to be said next */

/* One that was left pending on a commit that is not the newest any more: nobody would ever close it. */
static json_t *left_behind(const struct git_status_poster *p, const json_t *wanted) {
        const char *context;
        json_t *before;
        json_object_foreach (p->o.posted, context, before) {
                const json_t *now = json_object_get(wanted, context);
                if (!str_eq(text_of(before, "state"), status_state_name(STATUS_PENDING)) ||
                    (now && str_eq(text_of(now, "commit"), text_of(before, "commit"))))
                        continue;
                _cleanup_(x_freep) char *description =
                        must(now ? str_format("superseded by commit %.9s", text_of(now, "commit"))
                                 : str_dup("not part of the repository any more"));
                json_t *j = json_object_new();
                json_put(j, "context", json_text(context));
                json_put(j, "commit", json_text(text_of(before, "commit")));
                json_put(j, "state", json_text(status_state_name(STATUS_FAILURE)));
                json_put(j, "description", json_text(description));
                return j;
        }
        return NULL;
}

static json_t *what_differs(const struct git_status_poster *p, json_t *wanted) {
        const char *context;
        json_t *now;
        json_object_foreach (wanted, context, now) {
                const json_t *before = json_object_get(p->o.posted, context);
                if (before && str_eq(text_of(before, "commit"), text_of(now, "commit")) &&
                    str_eq(text_of(before, "state"), text_of(now, "state")) &&
                    str_eq(text_of(before, "description"), text_of(now, "description")))
                        continue;
                json_t *j = must(json_copy(now));
                json_put(j, "context", json_text(context));
                return j;
        }
        return NULL;
}

/* Contexts that are gone and closed need not be remembered. */
static void forget_gone(struct git_status_poster *p, const json_t *wanted) {
        const char *context;
        json_t *before;
        void *next;
        json_object_foreach_safe (p->o.posted, next, context, before)
                if (!json_object_get(wanted, context) &&
                    !str_eq(text_of(before, "state"), status_state_name(STATUS_PENDING)))
                        json_object_del(p->o.posted, context);
}

/* ---- saying it */

static void set_error(struct git_status_poster *p, const char *text) {
        if (str_eq(p->error, text))
                return;
        replace_text(&p->error, text);
        if (text)
                log_warning("a commit status cannot be posted", "source", p->o.source, "error", text, NULL);
        p->o.changed(p->o.arg);
}

static void retry_later(struct git_status_poster *p, const char *why, msec_t at_least) {
        set_error(p, why);
        loop_timer_set(p->timer, backoff_next(&p->backoff, &p->random, at_least > 0 ? at_least : 0));
}

static void remember(struct git_status_poster *p, json_t *said) { /* takes said */
        json_t *j = json_object_new();
        json_put(j, "commit", json_text(text_of(said, "commit")));
        json_put(j, "state", json_text(text_of(said, "state")));
        json_put(j, "description", json_text(text_of(said, "description")));
        json_put(p->o.posted, text_of(said, "context"), j);
        json_decref(said);
        p->refusals = 0;
        backoff_reset(&p->backoff);
}

static void on_answer(void *arg, const struct http_result *r) {
        struct git_status_poster *p = arg;
        json_t *said = TAKE_PTR(p->current);
        p->call = NULL;
        enum status_answer answer = r->error ? STATUS_LATER : git_status_judge(p->host, r->status, r->body);
        _cleanup_(x_freep) char *why = NULL;
        if (answer != STATUS_TAKEN)
                why = must(r->error ? str_format("%s: %s", p->base, r->message ? r->message : "no answer")
                                    : str_format("%s answered HTTP %d to a status of commit %.9s%s", p->base,
                                                 r->status, text_of(said, "commit"),
                                                 r->status == 401 || r->status == 403 || r->status == 404
                                                         ? ": may the token in statusTokenFile write commit "
                                                           "statuses?"
                                                         : ""));
        if (answer == STATUS_LATER || (answer == STATUS_NEVER && ++p->refusals < STATUS_REFUSALS_MAX)) {
                json_decref(said);
                retry_later(p, why, r->retry_after_ms);
                return;
        }
        remember(p, said);
        if (answer == STATUS_TAKEN)
                replace_text(&p->error, NULL);
        else
                set_error(p, why); /* given up: it does not stand in the way of the others */
        p->o.changed(p->o.arg);
        poster_next(p);
}

static int post(struct git_status_poster *p, const json_t *j, struct err **err) {
        _cleanup_(git_status_request_done) struct git_status_request request = {0};
        _cleanup_(x_freep) char *token = NULL;
        enum status_state state = STATUS_PENDING;
        while (state < STATUS_FAILURE && !str_eq(status_state_name(state), text_of(j, "state")))
                state++;
        const char *target = text_of(j, "target");
        const struct git_status status = {.commit = text_of(j, "commit"),
                                          .context = text_of(j, "context"),
                                          .state = state,
                                          .description = text_of(j, "description"),
                                          .target_url = *target ? target : NULL};
        int r = http_open(p, err);
        if (r >= 0)
                r = settings_read_passphrase(p->o.spec->status_token_file, &token, err);
        if (r >= 0)
                r = git_status_request(p->host, p->base, token, &status, &request, err);
        if (token)
                explicit_bzero(token, strlen(token));
        if (r < 0)
                return r;
        return http_client_send(p->http,
                                &(struct http_request){.method = "POST",
                                                       .url = request.url,
                                                       .headers = (const char *const *)request.headers,
                                                       .body = request.body,
                                                       .body_len = strlen(request.body),
                                                       .limit = ANSWER_MAX,
                                                       .timeout_ms = TIMEOUT_MS,
                                                       .done = on_answer,
                                                       .arg = p},
                                &p->call, err);
}

static void poster_next(struct git_status_poster *p) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (p->call || loop_timer_is_set(p->timer))
                return;
        json_t *wanted = p->o.wanted(p->o.arg);
        json_t *next = left_behind(p, wanted);
        if (!next)
                next = what_differs(p, wanted);
        if (!next)
                forget_gone(p, wanted);
        json_decref(wanted);
        if (!next)
                return;
        p->current = next;
        if (post(p, next, &err) < 0) {
                json_decref(TAKE_PTR(p->current));
                retry_later(p, err_message(err), 0);
        }
}

void git_status_poster_wake(struct git_status_poster *p) {
        if (p)
                poster_next(p);
}
