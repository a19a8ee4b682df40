/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "version.h"

#define DEFAULT_CONNECT_MS 15000
#define DEFAULT_STALL_MS 60000
#define DEFAULT_LIMIT ((size_t)1 << 20)
#define HEADERS_MAX 64
#define BUFFER_BYTES 16384L  /* libcurl's own default is larger; an agent's calls are small */
#define KEEPALIVE_IDLE_S 300 /* past the longest heartbeat, so that a healthy link pays nothing for it */
#define KEEPALIVE_INTERVAL_S 30
#define CACHED_CONNECTIONS 8L

/* One set of connections. http_client_reconnect() starts a new one: old calls end in the old set, which
 * goes when its last call has gone, together with the TLS sessions that could resume an old identity. */
struct pool {
        struct list link; /* in client->pools */
        struct http_client *client;
        CURLM *multi;
        CURLSH *share; /* TLS sessions */
        struct loop_timer *timer;
        struct list calls;
};

struct http_client {
        struct loop *loop;
        struct tls_config *tls;
        char *user_agent;
        msec_t connect_ms, stall_ms;
        bool direct, unverified;
        struct list pools;
        struct pool *current;
        struct list queued;    /* calls made from inside libcurl, which cannot take them there */
        struct list cancelled; /* calls cancelled there, likewise */
        unsigned entered;      /* depth of our own entry points on the stack */
        bool in_curl;
        bool dead; /* http_client_free() was called below one of them */
        struct http_client_stats stats;
};

/* A socket that libcurl wants watched. libcurl closes the descriptor, this closes the watch. */
struct watch {
        uv_poll_t poll;
        struct pool *pool;
        curl_socket_t fd;
        int events;   /* watched for */
        bool hung_up; /* an error was seen, and nothing since */
};

struct http_call {
        struct list link; /* in pool->calls, client->queued or client->cancelled */
        struct pool *pool;
        CURL *easy;
        struct curl_slist *headers;
        char *url;
        struct buf body;
        size_t limit;
        int error; /* set by our own callbacks when they end the transfer */
        bool added, cancelled, headers_seen, streaming;
        int status;
        struct err *tls_error;
        int (*on_data)(void *arg, const char *p, size_t n);
        void (*on_headers)(void *arg, int status);
        void (*done)(void *arg, const struct http_result *r);
        void *arg;
        char detail[CURL_ERROR_SIZE];
};

/* ---- calls */

static struct http_call *call_free(struct http_call *call) {
        if (!call)
                return NULL;
        list_remove(&call->link);
        curl_easy_cleanup(call->easy);
        curl_slist_free_all(call->headers);
        buf_done(&call->body);
        err_free(call->tls_error);
        free(call->url);
        free(call);
        return NULL;
}
DEFINE_CLEANUP(struct http_call, call_free)

static void count(struct http_call *call, struct http_client_stats *s) {
        curl_off_t down = 0, up = 0;
        long head = 0, request = 0, connects = 0;
        if (!call->added)
                return;
        (void)curl_easy_getinfo(call->easy, CURLINFO_NUM_CONNECTS, &connects);
        s->connections += (uint64_t)MAX(connects, 0);
        (void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
        (void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &up);
        (void)curl_easy_getinfo(call->easy, CURLINFO_HEADER_SIZE, &head);
        (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request);
        s->bytes_in += (uint64_t)down + (uint64_t)MAX(head, 0);
        s->bytes_out += (uint64_t)up + (uint64_t)MAX(request, 0);
}

static void leave_multi(struct http_call *call) {
        if (!call->added)
                return;
        count(call, &call->pool->client->stats);
        (void)curl_multi_remove_handle(call->pool->multi, call->easy);
        call->added = false;
}

static int error_of_connect(CURL *easy) {
        long number = 0;
        (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
        switch (number) {
        case ENETUNREACH:
        case EHOSTUNREACH:
        case ENETDOWN:
        case EADDRNOTAVAIL: return -EHOSTUNREACH;
        case ETIMEDOUT: return -ETIMEDOUT;
        default: return -ECONNREFUSED;
        }
}

/* libcurl tells a handshake that was cut off and one that was refused by the same code. */
static bool was_cut_off(const char *detail) {
        return strstr(detail, "SSL_ERROR_SYSCALL") || strstr(detail, "Connection reset") ||
               strstr(detail, "unexpected eof") || strstr(detail, "Broken pipe");
}

static int error_of(const struct http_call *call, CURLcode code) {
        switch (code) {
        case CURLE_OK: return 0;
        case CURLE_URL_MALFORMAT: return -EINVAL;
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_RESOLVE_HOST: return -EHOSTUNREACH;
        case CURLE_COULDNT_CONNECT: return error_of_connect(call->easy);
        case CURLE_OPERATION_TIMEDOUT: return -ETIMEDOUT;
        case CURLE_OUT_OF_MEMORY: return -ENOMEM;
        case CURLE_SSL_CONNECT_ERROR: return was_cut_off(call->detail) ? -EIO : -EKEYREJECTED;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
        case CURLE_SSL_CLIENTCERT: return -EKEYREJECTED;
        case CURLE_RECV_ERROR:
        case CURLE_SEND_ERROR:
                /* In TLS 1.3 a server refuses our certificate after our handshake is over. */
                return strstr(call->detail, " alert ") ? -EKEYREJECTED : -EIO;
        default: return -EIO;
        }
}

static const char *advice_of(int error) {
        switch (error) {
        case -ECONNREFUSED: return "is it running there, and is the address right?";
        case -EHOSTUNREACH: return "is the name right, and is there a network?";
        case -EKEYREJECTED: return "one side does not accept the other's certificate";
        case -EIO: return "the connection broke off";
        default: return NULL;
        }
}

static char *explain(const struct http_call *call, CURLcode code, int error) {
        if (error == -EMSGSIZE)
                return str_format("%s: the answer is over %zu bytes", call->url, call->limit);
        if (call->tls_error)
                return str_format("%s: %s", call->url, err_message(call->tls_error));
        if (call->error < 0)
                return str_format("%s: %s", call->url, strerror(-call->error));
        const char *what = call->detail[0] ? call->detail : curl_easy_strerror(code);
        const char *advice = advice_of(error);
        return str_format("%s: %s%s%s", call->url, what, advice ? "; " : "", advice ? advice : "");
}

const char *http_call_header(struct http_call *call, const char *name) {
        struct curl_header *h = NULL;
        if (curl_easy_header(call->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
                return NULL;
        return h->value;
}

/* Ends a call: reports and frees it. */
static void finish(struct http_call *call, CURLcode code) {
        struct http_client *c = call->pool->client;
        struct http_result r = {.retry_after_ms = -1, .body = ""};
        _cleanup_(x_freep) char *message = NULL;
        r.error = call->error < 0 ? call->error : error_of(call, code);
        r.status = call->status;
        if (r.error < 0) {
                c->stats.failures++;
                message = explain(call, code, r.error);
                r.message = message ? message : "out of memory";
        }
        if (r.status > 0) {
                curl_off_t seconds = 0;
                if (curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
                        r.retry_after_ms = (msec_t)MIN(seconds, 86400 * 365) * 1000;
                r.content_type = http_call_header(call, "Content-Type");
                r.etag = http_call_header(call, "ETag");
                r.body = buf_str(&call->body);
                r.body_len = call->body.len;
        }
        leave_multi(call);
        list_remove(&call->link);
        call->done(call->arg, &r);
        call_free(call);
}

/* ---- pools */

static struct pool *pool_free(struct pool *p) {
        if (!p)
                return NULL;
        list_remove(&p->link);
        loop_timer_free(p->timer);
        p->timer = NULL;
        if (p->multi)
                (void)curl_multi_cleanup(p->multi);
        if (p->share)
                (void)curl_share_cleanup(p->share);
        free(p);
        return NULL;
}
DEFINE_CLEANUP(struct pool, pool_free)

static void enter(struct http_client *c) {
        c->entered++;
}

static void destroy(struct http_client *c) {
        LIST_FOREACH (it, &c->pools)
                pool_free(LIST_ENTRY(it, struct pool, link));
        tls_config_free(c->tls);
        free(c->user_agent);
        free(c);
        curl_global_cleanup();
}

static void add_to_multi(struct http_call *call) {
        list_append(&call->pool->calls, &call->link);
        CURLMcode code = curl_multi_add_handle(call->pool->multi, call->easy);
        call->added = code == CURLM_OK;
        if (!call->added)
                finish(call, code == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT);
}

/* What could not be done while libcurl was on the stack. */
static void settle(struct http_client *c) {
        while (!list_is_empty(&c->cancelled)) {
                struct http_call *call = LIST_ENTRY(c->cancelled.next, struct http_call, link);
                leave_multi(call);
                call_free(call);
        }
        while (!c->dead && !list_is_empty(&c->queued)) {
                struct http_call *call = LIST_ENTRY(c->queued.next, struct http_call, link);
                list_remove(&call->link);
                add_to_multi(call);
        }
}

static void leave(struct http_client *c) {
        if (c->entered > 1) {
                c->entered--;
                return;
        }
        settle(c);
        c->entered--;
        LIST_FOREACH (it, &c->pools) {
                struct pool *p = LIST_ENTRY(it, struct pool, link);
                if (p != c->current && list_is_empty(&p->calls))
                        pool_free(p);
        }
        if (c->dead)
                destroy(c);
}

static void read_messages(struct pool *p) {
        int left;
        CURLMsg *message;
        while (!p->client->dead && (message = curl_multi_info_read(p->multi, &left))) {
                if (message->msg != CURLMSG_DONE)
                        continue;
                CURLcode code = message->data.result;
                struct http_call *call = NULL;
                (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
                finish(call, code);
        }
}

static void act(struct pool *p, curl_socket_t fd, int events) {
        struct http_client *c = p->client;
        int running;
        enter(c);
        c->in_curl = true;
        (void)curl_multi_socket_action(p->multi, fd, events, &running);
        c->in_curl = false;
        settle(c);
        read_messages(p);
        leave(c);
}

static void on_timer(void *arg) {
        act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg) {
        struct pool *p = arg;
        if (!p->timer)
                return 0;
        if (timeout_ms < 0)
                loop_timer_cancel(p->timer);
        else
                loop_timer_set(p->timer, timeout_ms);
        return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events) {
        struct watch *w = poll->data;
        int flags = 0;
        if (events & UV_READABLE)
                flags |= CURL_CSELECT_IN;
        if (events & UV_WRITABLE)
                flags |= CURL_CSELECT_OUT;
        if (status < 0) {
                /* The peer hung up, and libuv has stopped the watch. What it said last, a TLS alert say, can
                 * still be read, and is worth more to a person than that it hung up. */
                flags = w->hung_up ? CURL_CSELECT_ERR : CURL_CSELECT_IN | CURL_CSELECT_OUT;
                (void)uv_poll_start(&w->poll, w->events, on_poll);
        }
        w->hung_up = status < 0;
        act(w->pool, w->fd, flags); /* may close w */
}

static void on_watch_closed(uv_handle_t *handle) {
        free(handle->data);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data) {
        struct pool *p = arg;
        struct watch *w = socket_data;
        if (what == CURL_POLL_REMOVE) {
                if (w) {
                        (void)curl_multi_assign(p->multi, fd, NULL);
                        (void)uv_poll_stop(&w->poll);
                        uv_close((uv_handle_t *)&w->poll, on_watch_closed);
                }
                return 0;
        }
        if (!w) {
                w = calloc(1, sizeof(*w));
                if (!w)
                        return -1;
                if (uv_poll_init_socket(loop_uv(p->client->loop), &w->poll, fd) < 0) {
                        free(w);
                        return -1;
                }
                w->poll.data = w;
                w->pool = p;
                w->fd = fd;
                (void)curl_multi_assign(p->multi, fd, w);
        }
        int events = 0;
        if (what & CURL_POLL_IN)
                events |= UV_READABLE;
        if (what & CURL_POLL_OUT)
                events |= UV_WRITABLE;
        w->events = events;
        (void)uv_poll_start(&w->poll, events, on_poll);
        return 0;
}

static int pool_new(struct http_client *c, struct pool **ret, struct err **err) {
        _cleanup_(pool_freep) struct pool *p = calloc(1, sizeof(*p));
        if (!p)
                return err_set(err, ENOMEM, "out of memory");
        list_init(&p->link);
        list_init(&p->calls);
        p->client = c;
        p->multi = curl_multi_init();
        p->share = curl_share_init();
        p->timer = loop_timer_new(c->loop, on_timer, p);
        if (!p->multi || !p->share || !p->timer)
                return err_set(err, ENOMEM, "out of memory");
        (void)curl_share_setopt(p->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
        (void)curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
        (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
        (void)curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
        (void)curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
        (void)curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, CACHED_CONNECTIONS);
        list_append(&c->pools, &p->link);
        *ret = TAKE_PTR(p);
        return 0;
}

/* ---- the client */

int http_client_new(struct loop *l, const struct http_client_options *o, struct http_client **ret,
                    struct err **err) {
        if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
                return err_set(err, EIO, "start libcurl");
        struct http_client *c = calloc(1, sizeof(*c));
        if (!c) {
                curl_global_cleanup();
                return err_set(err, ENOMEM, "out of memory");
        }
        c->loop = l;
        list_init(&c->pools);
        list_init(&c->queued);
        list_init(&c->cancelled);
        c->connect_ms = o->connect_ms > 0 ? o->connect_ms : DEFAULT_CONNECT_MS;
        c->stall_ms = o->stall_ms > 0 ? o->stall_ms : DEFAULT_STALL_MS;
        c->direct = o->direct;
        c->unverified = o->unverified && !o->tls;
        c->tls = o->tls ? tls_config_ref(o->tls) : NULL;
        c->user_agent = str_dup(o->user_agent ? o->user_agent : "skerry/" SKERRY_VERSION);
        int r = c->user_agent ? pool_new(c, &c->current, err) : err_set(err, ENOMEM, "out of memory");
        if (r < 0) {
                destroy(c);
                return r;
        }
        *ret = c;
        return 0;
}

static void cancel_all(struct list *calls) {
        while (!list_is_empty(calls))
                http_call_cancel(LIST_ENTRY(calls->next, struct http_call, link));
}

struct http_client *http_client_free(struct http_client *c) {
        if (!c || c->dead)
                return NULL;
        enter(c);
        c->dead = true;
        cancel_all(&c->queued);
        LIST_FOREACH (it, &c->pools)
                cancel_all(&LIST_ENTRY(it, struct pool, link)->calls);
        leave(c);
        return NULL;
}

void http_client_reconnect(struct http_client *c) {
        struct pool *fresh = NULL;
        enter(c);
        /* Without memory for a second set the old one goes on: nothing is lost but the freshness. */
        if (!c->dead && pool_new(c, &fresh, NULL) == 0)
                c->current = fresh;
        leave(c);
}

void http_client_stats(const struct http_client *c, struct http_client_stats *ret) {
        *ret = c->stats;
        LIST_FOREACH (it, &c->pools) {
                struct pool *p = LIST_ENTRY(it, struct pool, link);
                LIST_FOREACH (jt, &p->calls)
                        count(LIST_ENTRY(jt, struct http_call, link), ret);
        }
}

/* ---- starting a call */

static size_t on_body(char *data, size_t size, size_t n, void *arg) {
        struct http_call *call = arg;
        size_t len = size * n;
        if (call->cancelled)
                return CURL_WRITEFUNC_ERROR;
        if (call->on_data && call->status >= 200 && call->status < 300) {
                int r = call->on_data(call->arg, data, len);
                if (r == 0 && !call->cancelled)
                        return len;
                call->error = r < 0 ? r : -r;
                return CURL_WRITEFUNC_ERROR;
        }
        if (len > call->limit - call->body.len) {
                call->error = -EMSGSIZE;
                return CURL_WRITEFUNC_ERROR;
        }
        if (buf_append(&call->body, data, len) < 0) {
                call->error = -ENOMEM;
                return CURL_WRITEFUNC_ERROR;
        }
        return len;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg) {
        struct http_call *call = arg;
        size_t len = size * n;
        bool end = len <= 2 && (len == 0 || line[0] == '\r' || line[0] == '\n');
        if (call->cancelled)
                return 0;
        if (!end || call->headers_seen)
                return len;
        long status = 0;
        (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status < 200) /* an interim answer: the real one follows */
                return len;
        call->headers_seen = true;
        call->status = (int)status;
        if (call->on_headers)
                call->on_headers(call->arg, call->status);
        return len;
}

static CURLcode on_ssl_context(CURL *easy, void *context, void *arg) {
        struct http_call *call = arg;
        if (tls_client_apply(call->pool->client->tls, context, &call->tls_error) < 0)
                return CURLE_SSL_CERTPROBLEM;
        return CURLE_OK;
}

static int on_socket_made(void *arg, curl_socket_t fd, curlsocktype purpose) {
        struct http_client *c = arg;
        /* Bytes that nobody acknowledges end the connection after the stall limit rather than after the
         * kernel's quarter of an hour. */
        unsigned ms = (unsigned)MIN(c->stall_ms, (msec_t)INT32_MAX);
        /* libcurl does not: a program we start would keep the connection open after we are gone. */
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (purpose == CURLSOCKTYPE_IPCXN)
                (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
        return CURL_SOCKOPT_OK;
}

static int add_header(struct http_call *call, const char *line) {
        struct curl_slist *more = curl_slist_append(call->headers, line);
        if (!more)
                return -ENOMEM;
        call->headers = more;
        return 0;
}

static int set_headers(struct http_call *call, const struct http_request *q, struct err **err) {
        bool has_type = false;
        int r = add_header(call, "Expect:"); /* no 100-continue round trip */
        for (size_t i = 0; r >= 0 && q->headers && q->headers[i]; i++) {
                if (i >= HEADERS_MAX || strpbrk(q->headers[i], "\r\n"))
                        return err_set(err, EINVAL, "%s: bad header \"%s\"", q->url, q->headers[i]);
                has_type |= strncasecmp(q->headers[i], "content-type:", 13) == 0;
                r = add_header(call, q->headers[i]);
        }
        if (r >= 0 && q->body && !has_type)
                r = add_header(call, "Content-Type: application/json");
        if (r < 0)
                return err_set(err, ENOMEM, "out of memory");
        return 0;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(call->easy, option, value) == CURLE_OK)

static bool set_tls(struct http_call *call) {
        bool ok = true;
        /* The verdict on the peer is the callback's that tls_client_apply() installs. Without these libcurl
         * would read the system's store of roots into memory first. */
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, tls_config_checks_host(call->pool->client->tls) ? 2L : 0L);
        SET(CURLOPT_CAINFO, NULL);
        SET(CURLOPT_CAPATH, NULL);
        SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
        SET(CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
        SET(CURLOPT_SSL_CTX_DATA, call);
        return ok;
}

static bool set_method(struct http_call *call, const struct http_request *q) {
        bool ok = true;
        const char *method = q->method ? q->method : "GET";
        if (q->body || str_eq(method, "POST")) {
                SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(q->body ? q->body_len : 0));
                SET(CURLOPT_COPYPOSTFIELDS, q->body && q->body_len > 0 ? q->body : "");
                if (!str_eq(method, "POST"))
                        SET(CURLOPT_CUSTOMREQUEST, method);
        } else if (str_eq(method, "HEAD"))
                SET(CURLOPT_NOBODY, 1L);
        else if (!str_eq(method, "GET"))
                SET(CURLOPT_CUSTOMREQUEST, method);
        return ok;
}

static bool set_limits(struct http_call *call, const struct http_request *q) {
        struct http_client *c = call->pool->client;
        bool ok = true;
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_ms);
        if (q->timeout_ms > 0)
                SET(CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
        if (!q->streaming) {
                SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
                SET(CURLOPT_LOW_SPEED_TIME, (long)((c->stall_ms + 999) / 1000));
        }
        SET(CURLOPT_TCP_KEEPALIVE, 1L);
        SET(CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
        SET(CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
        SET(CURLOPT_SOCKOPTFUNCTION, on_socket_made);
        SET(CURLOPT_SOCKOPTDATA, c);
        SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
        SET(CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
        return ok;
}

static bool set_options(struct http_call *call, const struct http_request *q) {
        struct http_client *c = call->pool->client;
        bool tls = str_has_prefix(q->url, "https:");
        bool ok = true;
        SET(CURLOPT_PRIVATE, call);
        SET(CURLOPT_ERRORBUFFER, call->detail);
        SET(CURLOPT_URL, q->url);
        SET(CURLOPT_PROTOCOLS_STR, "http,https");
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_NOPROGRESS, 1L);
        SET(CURLOPT_SHARE, call->pool->share);
        SET(CURLOPT_USERAGENT, c->user_agent);
        SET(CURLOPT_HTTPHEADER, call->headers);
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        /* Wait for a connection that is being made and share it. Over plain HTTP/1.1 there is nothing to
         * share, and waiting to find that out would hold a call back behind a slow first answer. */
        SET(CURLOPT_PIPEWAIT, tls ? 1L : 0L);
        SET(CURLOPT_WRITEFUNCTION, on_body);
        SET(CURLOPT_WRITEDATA, call);
        SET(CURLOPT_HEADERFUNCTION, on_header);
        SET(CURLOPT_HEADERDATA, call);
        if (c->direct)
                SET(CURLOPT_NOPROXY, "*");
        if (c->unverified) {
                SET(CURLOPT_SSL_VERIFYPEER, 0L);
                SET(CURLOPT_SSL_VERIFYHOST, 0L);
                SET(CURLOPT_CAINFO, NULL);
                SET(CURLOPT_CAPATH, NULL);
        }
        return ok && set_limits(call, q) && set_method(call, q) && (!tls || !c->tls || set_tls(call));
}

int http_client_send(struct http_client *c, const struct http_request *q, struct http_call **ret,
                     struct err **err) {
        if (c->dead)
                return err_set(err, ECANCELED, "%s: the client is closing", q->url);
        if (!str_has_prefix(q->url, "https://") && !str_has_prefix(q->url, "http://"))
                return err_set(err, EINVAL, "\"%s\" is no http or https address", q->url);
        _cleanup_(call_freep) struct http_call *call = calloc(1, sizeof(*call));
        if (!call)
                return err_set(err, ENOMEM, "out of memory");
        list_init(&call->link);
        call->pool = c->current;
        call->limit = q->limit ? q->limit : DEFAULT_LIMIT;
        call->streaming = q->streaming;
        call->on_data = q->on_data;
        call->on_headers = q->on_headers;
        call->done = q->done;
        call->arg = q->arg;
        call->url = str_dup(q->url);
        call->easy = curl_easy_init();
        if (!call->url || !call->easy)
                return err_set(err, ENOMEM, "out of memory");
        int r = set_headers(call, q, err);
        if (r < 0)
                return r;
        if (!set_options(call, q))
                return err_set(err, EINVAL, "%s: libcurl refuses the request", q->url);

        if (c->in_curl) {
                list_append(&c->queued, &call->link);
        } else {
                CURLMcode code = curl_multi_add_handle(call->pool->multi, call->easy);
                if (code != CURLM_OK)
                        return err_set(err, EIO, "%s: %s", q->url, curl_multi_strerror(code));
                call->added = true;
                list_append(&call->pool->calls, &call->link);
        }
        c->stats.calls++;
        if (ret)
                *ret = call;
        TAKE_PTR(call);
        return 0;
}

void http_call_cancel(struct http_call *call) {
        if (!call || call->cancelled)
                return;
        struct http_client *c = call->pool->client;
        call->cancelled = true;
        if (c->in_curl) {
                list_remove(&call->link);
                list_append(&c->cancelled, &call->link);
                return;
        }
        enter(c);
        leave_multi(call);
        call_free(call);
        leave(c);
}
