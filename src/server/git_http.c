/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_http.h"

#include <curl/curl.h>
#include <git2/errors.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"

#define READ_AHEAD ((size_t)1 << 20) /* bytes held before the host is made to wait */
#define REQUEST_MAX ((size_t)64 << 20)
#define REDIRECTS_MAX 5L

#define ADVERTISEMENT_PATH "/info/refs?service=git-upload-pack"
#define ADVERTISEMENT_TYPE "application/x-git-upload-pack-advertisement"
#define RESULT_TYPE "application/x-git-upload-pack-result"

struct http_git {
        git_smart_subtransport base; /* first: libgit2 hands this pointer back */
        const struct git_access *access;
        CURLM *multi; /* keeps the connection between the calls of one fetch */
        char *url;    /* where the host's redirects led, without the path of the service */
};

struct http_git_stream {
        git_smart_subtransport_stream base;
        struct http_git *owner;
        bool is_advertisement, is_started, is_ended, is_paused;
        CURL *curl;
        struct curl_slist *headers;
        struct buf request, response;
        char error[CURL_ERROR_SIZE];
};

static int fail(const char *text) {
        git_error_set_str(GIT_ERROR_NET, text);
        return -1;
}

static int fail_text(char *text) { /* takes text */
        int r = fail(text ? text : "out of memory");
        free(text);
        return r;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg) {
        struct http_git_stream *s = arg;
        if (s->response.len > READ_AHEAD) {
                s->is_paused = true;
                return CURL_WRITEFUNC_PAUSE;
        }
        return buf_append(&s->response, p, size * n) < 0 ? 0 : size * n;
}

static int setup(struct http_git_stream *s) {
        const struct git_access *a = s->owner->access;
        _cleanup_(x_freep) char *url = str_format(
                "%s%s", s->owner->url, s->is_advertisement ? ADVERTISEMENT_PATH : "/git-upload-pack");
        s->curl = curl_easy_init();
        if (!s->curl || !url)
                return fail("out of memory");
        CURL *c = s->curl;
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_USERAGENT, "git/2.0 (skerry)");
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR,
                         str_has_prefix(s->owner->url, "https:") ? "https" : "http,https");
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, s->error);
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)GIT_CONNECT_SECONDS);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)GIT_STALL_SECONDS);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
        if (a->ca_file) {
                curl_easy_setopt(c, CURLOPT_CAINFO, a->ca_file);
                curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
        }
        if (a->username || a->password) {
                curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
                curl_easy_setopt(c, CURLOPT_USERNAME, a->username ? a->username : "git");
                curl_easy_setopt(c, CURLOPT_PASSWORD, a->password ? a->password : "");
        }
        if (s->is_advertisement) {
                curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
                curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
                s->headers = curl_slist_append(NULL, "Pragma: no-cache");
        } else {
                s->headers = curl_slist_append(NULL, "Content-Type: application/x-git-upload-pack-request");
                if (s->headers) {
                        struct curl_slist *more = curl_slist_append(s->headers, "Accept: " RESULT_TYPE);
                        s->headers = more ? more : s->headers;
                }
                curl_easy_setopt(c, CURLOPT_POST, 1L);
                curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->request.len);
                curl_easy_setopt(c, CURLOPT_POSTFIELDS, buf_str(&s->request));
        }
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, s->headers);
        return curl_multi_add_handle(s->owner->multi, c) == CURLM_OK ? 0 : fail("out of memory");
}

static int check_transfer(const struct http_git_stream *s, CURLcode code) {
        if (code == CURLE_OK)
                return 0;
        const char *why = s->error[0] ? s->error : curl_easy_strerror(code);
        if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
                return fail_text(str_format("the host's certificate is not trusted (%s); set caFile to the "
                                            "authority that signed it",
                                            why));
        return fail_text(str_format("%s", why));
}

static int check_answer(struct http_git_stream *s) {
        long status = 0;
        const char *type = NULL, *effective = NULL;
        curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(s->curl, CURLINFO_CONTENT_TYPE, &type);
        if (status == 0)
                return 0; /* no headers yet */
        if (status == 401 || status == 403)
                return fail_text(str_format(
                        "the host refused us (HTTP %ld): check usernameFile and passwordFile", status));
        if (status == 404)
                return fail("the host knows no such repository (HTTP 404), or hides it from this user");
        if (status != 200)
                return fail_text(str_format("the host answered HTTP %ld", status));
        if (!str_eq(type, s->is_advertisement ? ADVERTISEMENT_TYPE : RESULT_TYPE))
                return fail_text(
                        str_format("the answer is %s, not Git's: there is no smart Git host there, or "
                                   "something stands between",
                                   type ? type : "of no known type"));
        if (!s->is_advertisement)
                return 0;
        curl_easy_getinfo(s->curl, CURLINFO_EFFECTIVE_URL, &effective);
        if (effective && str_has_suffix(effective, ADVERTISEMENT_PATH)) {
                char *base = str_dup_n(effective, strlen(effective) - strlen(ADVERTISEMENT_PATH));
                if (base) {
                        free(s->owner->url);
                        s->owner->url = base;
                }
        }
        return 0;
}

/* Runs the transfer until there is something to read, or it has ended. */
static int pump(struct http_git_stream *s) {
        const struct git_access *a = s->owner->access;
        while (!s->is_ended && s->response.len == 0) {
                int running = 0, left = 0;
                if (a->cancelled && atomic_load(a->cancelled))
                        return fail("stopped");
                if (s->is_paused) {
                        s->is_paused = false;
                        curl_easy_pause(s->curl, CURLPAUSE_CONT);
                }
                if (curl_multi_perform(s->owner->multi, &running) != CURLM_OK)
                        return fail("the transfer cannot go on");
                for (CURLMsg *m; (m = curl_multi_info_read(s->owner->multi, &left));)
                        if (m->msg == CURLMSG_DONE && m->easy_handle == s->curl) {
                                s->is_ended = true;
                                int r = check_transfer(s, m->data.result);
                                if (r < 0)
                                        return r;
                        }
                if (!s->is_ended && s->response.len == 0)
                        curl_multi_poll(s->owner->multi, NULL, 0, 200, NULL);
        }
        return check_answer(s);
}

static int stream_read(git_smart_subtransport_stream *base, char *out, size_t size, size_t *ret) {
        struct http_git_stream *s = (struct http_git_stream *)base;
        if (!s->is_started) {
                s->is_started = true;
                int r = setup(s);
                if (r < 0)
                        return r;
        }
        int r = pump(s);
        if (r < 0)
                return r;
        size_t n = MIN(size, s->response.len);
        if (n > 0)
                memcpy(out, s->response.data, n);
        buf_consume(&s->response, n);
        *ret = n;
        return git_access_count(s->owner->access, n) ? 0 : -1;
}

static int stream_write(git_smart_subtransport_stream *base, const char *p, size_t n) {
        struct http_git_stream *s = (struct http_git_stream *)base;
        return buf_append(&s->request, p, n) < 0 ? fail("the request is too large") : 0;
}

static void stream_free(git_smart_subtransport_stream *base) {
        struct http_git_stream *s = (struct http_git_stream *)base;
        if (s->curl) {
                curl_multi_remove_handle(s->owner->multi, s->curl);
                curl_easy_cleanup(s->curl);
        }
        curl_slist_free_all(s->headers);
        buf_done(&s->request);
        buf_done(&s->response);
        free(s);
}

static int action(git_smart_subtransport_stream **out, git_smart_subtransport *base, const char *url,
                  git_smart_service_t service) {
        struct http_git *g = (struct http_git *)base;
        if (service != GIT_SERVICE_UPLOADPACK_LS && service != GIT_SERVICE_UPLOADPACK)
                return fail("only fetching is spoken here");
        if (!g->url) {
                size_t n = strlen(g->access->url);
                while (n > 0 && g->access->url[n - 1] == '/')
                        n--;
                g->url = str_dup_n(g->access->url, n);
        }
        struct http_git_stream *s = calloc(1, sizeof(*s));
        if (!s || !g->url) {
                free(s);
                return fail("out of memory");
        }
        s->owner = g;
        s->is_advertisement = service == GIT_SERVICE_UPLOADPACK_LS;
        s->request.limit = REQUEST_MAX;
        s->base.subtransport = base;
        s->base.read = stream_read;
        s->base.write = stream_write;
        s->base.free = stream_free;
        *out = &s->base;
        return 0;
}

static int subtransport_close(git_smart_subtransport *base) {
        return 0;
}

static void subtransport_free(git_smart_subtransport *base) {
        struct http_git *g = (struct http_git *)base;
        curl_multi_cleanup(g->multi);
        free(g->url);
        free(g);
}

int git_http_subtransport(git_smart_subtransport **out, git_transport *owner, void *access) {
        struct http_git *g = calloc(1, sizeof(*g));
        if (!g || !(g->multi = curl_multi_init())) {
                free(g);
                return fail("out of memory");
        }
        g->access = access;
        g->base.action = action;
        g->base.close = subtransport_close;
        g->base.free = subtransport_free;
        *out = &g->base;
        return 0;
}
