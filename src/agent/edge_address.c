/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/edge_address.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"

#define EDGE_ADDRESSES_MAX 8

struct edge_address {
        char **addresses;
        size_t current;
};

static int check(const char *address, struct err **err) {
        const char *host = str_after_prefix(address, "https://");
        if (!host)
                return err_set(err, EINVAL, "server '%s': expected https://HOST:PORT", address);
        if (!*host || strpbrk(host, "/?#@ "))
                return err_set(err, EINVAL, "server '%s': expected https://HOST:PORT and nothing after it",
                               address);
        return 0;
}

int edge_address_parse(const char *text, struct edge_address **ret, struct err **err) {
        _cleanup_(edge_address_freep) struct edge_address *e = calloc(1, sizeof(*e));
        if (!e || !(e->addresses = strv_split(text, ", \t")))
                return err_set_errno(err, ENOMEM, "server");
        size_t n = strv_len(e->addresses);
        if (n == 0 || n > EDGE_ADDRESSES_MAX)
                return err_set(err, EINVAL, "server '%s': expected 1 to %d addresses parted by commas", text,
                               EDGE_ADDRESSES_MAX);
        for (size_t i = 0; i < n; i++) {
                char *a = e->addresses[i];
                size_t len = strlen(a);
                if (len > 0 && a[len - 1] == '/')
                        a[len - 1] = '\0';
                int r = check(a, err);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(e);
        return 0;
}

struct edge_address *edge_address_free(struct edge_address *e) {
        if (!e)
                return NULL;
        strv_free(e->addresses);
        free(e);
        return NULL;
}

const char *edge_address_current(const struct edge_address *e) {
        return e->addresses[e->current];
}

void edge_address_next(struct edge_address *e) {
        e->current = e->addresses[e->current + 1] ? e->current + 1 : 0;
}

char *edge_address_url(const struct edge_address *e, const char *path) {
        return str_format("%s%s", edge_address_current(e), path);
}

int edge_answer_error(const struct edge_address *e, const struct http_result *r, struct err **err) {
        const char *address = edge_address_current(e);
        _cleanup_json_ json_t *body = NULL;
        const char *code = NULL, *message = NULL;

        if (r->status == 0 || (r->error && r->status < 300)) {
                int cause = r->error ? -r->error : EIO;
                if (r->message && str_has_prefix(r->message, address))
                        return err_set(err, cause, "%s", r->message);
                return err_set(err, cause, "%s: %s", address, r->message ? r->message : strerror(cause));
        }
        if (r->status >= 300 && r->status < 400)
                return err_set(
                        err, EPROTO,
                        "%s: something else answers in its place with a redirection (%d): a captive portal?",
                        address, r->status);
        int error = r->status == 401 || r->status == 403 ? EACCES
                    : r->status == 404                   ? ENOENT
                    : r->status == 409                   ? EEXIST
                    : r->status >= 500                   ? EAGAIN
                                                         : EPROTO;
        if (json_decode(r->body, r->body_len, &body, NULL) == 0) {
                const json_t *o = json_object_get(body, "error");
                (void)json_read_string(o, "code", &code, NULL);
                (void)json_read_string(o, "message", &message, NULL);
        }
        if (message)
                return err_set(err, error, "%s answered %d: %.512s", address, r->status, message);
        return err_set(err, error,
                       "%s answered %d, not in the edge's words: does something else answer in its place?",
                       address, r->status);
}
