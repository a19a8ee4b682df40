/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server_identity.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "server/authority.h"
#include "server/memory.h"

#define RETRY_MS 60000

struct server_identity {
        struct control *control;
        struct tls_config *api, *edge;
        struct loop_timer *renew;
};

static int issue(struct server_identity *i, char **ret_chain, char **ret_key, struct err **err) {
        struct control *c = i->control;
        const struct settings *s = c->settings;
        _cleanup_(key_freep) struct key *key = NULL;
        int r = key_generate(&key, err);
        if (r < 0)
                return r;
        r = authority_issue(c->authority, IDENTITY_SERVER, s->name, key, (const char *const *)s->dns_names,
                            s->certificate_ttl, control_now(c), ret_chain, NULL, err);
        return r < 0 ? r : key_to_pem(key, ret_key, err);
}

static int take(struct server_identity *i, struct err **err) {
        struct control *c = i->control;
        _cleanup_(x_freep) char *chain = NULL, *key = NULL;
        int r = issue(i, &chain, &key, err);
        if (r < 0)
                return r;
        struct tls_material api = {.certificate_pem = chain, .key_pem = key, .peer = TLS_PEER_NONE};
        struct tls_material edge = {.certificate_pem = chain,
                                    .key_pem = key,
                                    .bundle_pem = authority_roots(c->authority),
                                    .peer = TLS_PEER_OPTIONAL,
                                    .trust_domain = c->settings->domain};
        if (i->api) {
                r = tls_config_reload(i->api, &api, err);
                if (r >= 0)
                        r = tls_config_reload(i->edge, &edge, err);
        } else {
                r = tls_server_new(&api, &i->api, err);
                if (r >= 0)
                        r = tls_server_new(&edge, &i->edge, err);
        }
        explicit_bzero(key, strlen(key));
        return r;
}

static void renew(void *arg) {
        struct server_identity *i = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        const struct settings *s = i->control->settings;
        if (authority_refresh(i->control->authority, s->state, s->passphrase, control_now(i->control), &err) <
            0) {
                log_error("the intermediate certificate could not be renewed", "error", err_message(err),
                          NULL);
                err = err_free(err);
        }
        if (take(i, &err) < 0) {
                log_error("the server's certificate could not be renewed", "error", err_message(err), NULL);
                loop_timer_set(i->renew, RETRY_MS);
        } else {
                log_info("the server's certificate was renewed", NULL);
                loop_timer_set(i->renew, i->control->settings->certificate_ttl / 2);
        }
}

int server_identity_new(struct control *c, struct server_identity **ret, struct err **err) {
        struct server_identity *i = NEW(struct server_identity);
        i->control = c;
        int r = take(i, err);
        if (r < 0) {
                server_identity_free(i);
                return err_wrap(err, "the server's own certificate");
        }
        i->renew = must(loop_timer_new(c->loop, renew, i));
        loop_timer_set(i->renew, c->settings->certificate_ttl / 2);
        *ret = i;
        return 0;
}

struct server_identity *server_identity_free(struct server_identity *i) {
        if (!i)
                return NULL;
        loop_timer_free(i->renew);
        tls_config_free(i->api);
        tls_config_free(i->edge);
        free(i);
        return NULL;
}

struct tls_config *server_identity_api(struct server_identity *i) {
        return i->api;
}
struct tls_config *server_identity_edge(struct server_identity *i) {
        return i->edge;
}
