/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_status.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "codec/json.h"
#include "server/git_transport.h"
#include "server/memory.h"

static const struct host {
        const char *name;
        const char *api;          /* behind https://HOST, before the project */
        const char *context;      /* field that names the context */
        size_t description_max;   /* characters the host takes */
        const char *states[3];    /* by enum status_state */
        const char *token_header; /* before the token */
} hosts[] = {
        [STATUS_GITHUB] = {"github",
                           "/api/v3/repos/",
                           "context",
                           140,
                           {"pending", "success", "failure"},
                           "Authorization: Bearer "},
        [STATUS_GITLAB] = {"gitlab",
                           "/api/v4/projects/",
                           "name",
                           255,
                           {"running", "success", "failed"},
                           "PRIVATE-TOKEN: "},
        [STATUS_GITEA] = {"gitea",
                          "/api/v1/repos/",
                          "context",
                          255,
                          {"pending", "success", "failure"},
                          "Authorization: token "},
};

int status_host_from_name(const char *name, enum status_host *ret) {
        for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
                if (str_eq(hosts[i].name, name)) {
                        *ret = (enum status_host)i;
                        return 0;
                }
        return -EINVAL;
}

const char *status_state_name(enum status_state s) {
        return hosts[STATUS_GITHUB].states[s];
}

/* "owner/name" and the host from a repository's address; false: it has none. */
static bool repository_parse(const char *repository, char **ret_host, char **ret_path) {
        _cleanup_(x_freep) char *user = NULL, *port = NULL;
        const char *rest = str_after_prefix(repository, "https://");
        if (!rest)
                rest = str_after_prefix(repository, "http://");
        if (rest) {
                size_t n = strcspn(rest, "/");
                *ret_host = must(str_dup_n(rest, n));
                *ret_path = copy_text(rest + n);
        } else if (*repository == '/' || str_has_prefix(repository, "file:") ||
                   !git_ssh_url_parse(repository, &user, ret_host, &port, ret_path))
                return false;
        char *path = *ret_path;
        size_t slashes = strspn(path, "/"), n;
        memmove(path, path + slashes, strlen(path) - slashes + 1);
        for (n = strlen(path); n > 0 && path[n - 1] == '/'; n--)
                path[n - 1] = '\0';
        if (str_has_suffix(path, ".git"))
                path[n - 4] = '\0';
        return **ret_host && strchr(path, '/');
}

static void url_put_part(struct buf *out, const char *s, bool keep_slashes) {
        for (; *s; s++) {
                bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                             (*s >= '0' && *s <= '9') || strchr("-._~", *s) || (keep_slashes && *s == '/');
                if (plain)
                        (void)buf_putc(out, *s);
                else
                        (void)buf_printf(out, "%%%02X", (unsigned)(unsigned char)*s);
        }
}

int git_status_base(enum status_host host, const char *repository, const char *given, char **ret,
                    struct err **err) {
        _cleanup_(x_freep) char *name = NULL, *path = NULL;
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (given) {
                size_t n = strlen(given);
                while (n > 0 && given[n - 1] == '/')
                        n--;
                *ret = must(str_dup_n(given, n));
                return 0;
        }
        if (!repository_parse(repository, &name, &path))
                return err_set(err, EINVAL,
                               "missing: %s does not say where the project's API is; give its address, as "
                               "https://api.github.com/repos/OWNER/NAME",
                               repository);
        bool is_github_itself =
                host == STATUS_GITHUB && (str_eq(name, "github.com") || str_eq(name, "ssh.github.com"));
        if (is_github_itself)
                (void)buf_puts(&out, "https://api.github.com/repos/");
        else
                (void)buf_printf(&out, "https://%s%s", name, hosts[host].api);
        url_put_part(&out, path, host != STATUS_GITLAB);
        *ret = must(buf_take(&out, NULL));
        return 0;
}

void git_status_request_done(struct git_status_request *r) {
        free(r->url);
        free(r->body);
        for (char **h = r->headers; h && *h; h++) /* one of them is the token */
                explicit_bzero(*h, strlen(*h));
        strv_free(r->headers);
        *r = (struct git_status_request){0};
}

/* At most `most` characters, cut between two of them. */
static char *shortened(const char *text, size_t most) {
        size_t n = 0, at = 0;
        for (; text[at]; at++)
                if (((unsigned char)text[at] & 0xc0) != 0x80 && n++ == most - 3)
                        break;
        for (size_t i = at; text[i] && n <= most; i++)
                n += i > at && ((unsigned char)text[i] & 0xc0) != 0x80;
        return n > most ? must(str_format("%.*s...", (int)at, text)) : must(str_dup(text));
}

int git_status_request(enum status_host host, const char *base, const char *token, const struct git_status *s,
                       struct git_status_request *ret, struct err **err) {
        static const char *const always[] = {"Content-Type: application/json"};
        static const char *const github[] = {"Accept: application/vnd.github+json",
                                             "X-GitHub-Api-Version: 2022-11-28"};
        const struct host *h = &hosts[host];
        if (strpbrk(token, "\r\n") || !*token)
                return err_set(err, EINVAL, "the access token is no single line");
        _cleanup_(git_status_request_done) struct git_status_request r = {0};
        _cleanup_(x_freep) char *authorization = must(str_format("%s%s", h->token_header, token)),
                                *description = shortened(s->description, h->description_max);
        r.url = must(str_format("%s/statuses/%s", base, s->commit));
        for (size_t i = 0; i < ARRAY_SIZE(always); i++)
                must_do(strv_push(&r.headers, always[i]));
        for (size_t i = 0; host == STATUS_GITHUB && i < ARRAY_SIZE(github); i++)
                must_do(strv_push(&r.headers, github[i]));
        must_do(strv_push(&r.headers, authorization));
        explicit_bzero(authorization, strlen(authorization));
        json_t *j = json_object_new();
        json_put(j, "state", json_text(h->states[s->state]));
        json_put(j, h->context, json_text(s->context));
        json_put(j, "description", json_text(description));
        if (s->target_url)
                json_put(j, "target_url", json_text(s->target_url));
        r.body = must(json_encode_compact(j));
        json_decref(j);
        *ret = r;
        r = (struct git_status_request){0};
        return 0;
}

enum status_answer git_status_judge(enum status_host host, int http_status, const char *body) {
        if (http_status >= 200 && http_status < 300)
                return STATUS_TAKEN;
        /* GitLab's answer to being told what it knows. */
        if (host == STATUS_GITLAB && http_status == 400 && body && strstr(body, "Cannot transition status"))
                return STATUS_TAKEN;
        switch (http_status) {
        case 400:
        case 404:
        case 409:
        case 410:
        case 413:
        case 422: return STATUS_NEVER;
        default: return STATUS_LATER;
        }
}
