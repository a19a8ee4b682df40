/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of nodes in one process, for the edge interface to bear: each enrols, holds its own HTTP/2 link
 * with mutual TLS, takes its assignments, fetches the revision and reports itself healthy, signed with its
 * own key. They run nothing. Counters go to standard output, a JSON line at a time; a line on standard input
 * ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/status.h"
#include "base/clock.h"
#include "base/options.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/cert.h"
#include "crypto/key.h"
#include "h2_client.h"
#include "net/backoff.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)
#define ENROLLERS 4
#define ENROLLER_CALLS 16
#define TELL_MS 100
#define BACKOFF_BASE_MS 500 /* as the agent's link */
#define BACKOFF_CAP_MS 60000

struct settings {
        char *edge, *token, *prefix;
        int64_t nodes, handshakes, heartbeat_s, addresses;
};

struct node {
        struct load *load;
        char name[48], from[40];
        struct key *key;
        X509 *certificate;
        char serial[41];
        SSL_SESSION *session;
        struct h2_client *client;
        uv_timer_t timer;
        struct backoff backoff;
        bool up, shaking;
        char *line;
        size_t n_line;
        int64_t version, seq;
        char revision[65];  /* assigned */
        char reported[65];  /* taken by the edge as healthy */
        char reporting[65]; /* on its way */
        char *answer;       /* to the enrolment */
        size_t n_answer;
};

struct load {
        struct settings s;
        char host[64];
        int port;
        uv_loop_t loop;
        SSL_CTX *context;
        X509 **chain; /* between nodes' certificates and the root; the same for all */
        size_t n_chain;
        struct node *nodes;
        size_t next_enrol, enrolling, enrolled, shaking, up, waiting_first;
        struct h2_client *enrollers[ENROLLERS];
        char revision[65]; /* the newest seen */
        size_t offered, reported, refused, lost;
        char trouble[160];
        uv_timer_t tell;
        struct prng random;
};

static void connect_node(struct node *n);

static void trouble(struct load *l, const char *where, const char *why) {
        (void)snprintf(l->trouble, sizeof(l->trouble), "%s: %s", where, why);
}

/* ---- telling */

static void on_tell(uv_timer_t *t) {
        struct load *l = t->data;
        _cleanup_json_ json_t *j =
                json_pack("{s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:s}", "time",
                          (json_int_t)clock_wall_ms(clock_system()), "enrolled", (json_int_t)l->enrolled,
                          "up", (json_int_t)l->up, "revision", l->revision, "offered", (json_int_t)l->offered,
                          "reported", (json_int_t)l->reported, "lost", (json_int_t)l->lost, "refused",
                          (json_int_t)l->refused, "trouble", l->trouble);
        _cleanup_(x_freep) char *text = j ? json_encode_compact(j) : NULL;
        if (text && (puts(text) < 0 || fflush(stdout) != 0))
                exit(EXIT_FAILURE);
}

/* ---- one node's link */

static void report_answered(void *arg, int status, const char *p, size_t n) {
        struct node *d = arg;
        (void)p;
        if (n > 0)
                return;
        if (status != 204) {
                d->load->refused++;
                trouble(d->load, "report", status ? "refused" : "broke off");
                return;
        }
        if (str_eq(d->reporting, d->load->revision) && !str_eq(d->reported, d->reporting))
                d->load->reported++;
        memcpy(d->reported, d->reporting, sizeof(d->reported));
}

static void report(struct node *d, const char *state) {
        static struct h2_call call = {
                .method = "POST", .path = "/edge/v1/status", .on_data = report_answered};
        bool healthy = str_eq(state, "Healthy");
        const char *revision = d->revision[0] ? d->revision : NULL;
        _cleanup_json_ json_t *j =
                json_pack("{s:I, s:b, s:s, s:s, s:s, s:I, s:s?, s:s?, s:s, s:n, s:I, s:I, s:[], s:{s:s}}",
                          "seq", (json_int_t)++d->seq, "full", 1, "bootId", "load", "agentVersion", "0.1.0",
                          "platform", "linux/amd64", "assignment", (json_int_t)d->version, "revision",
                          healthy          ? revision
                          : d->reported[0] ? d->reported
                                           : NULL,
                          "target", revision, "state", state, "message", "driftCorrected", (json_int_t)0,
                          "certificateNotAfter", (json_int_t)0, "apps", "facts", "hostname", d->name);
        char *text = NULL;
        if (!j || !d->client || status_sign(j, d->name, d->key, d->serial, &text) < 0)
                return;
        memcpy(d->reporting, d->revision, sizeof(d->reporting));
        call.arg = d;
        call.body = text;
        if (h2_client_send(d->client, &call) < 0)
                free(text);
}

static void object_came(void *arg, int status, const char *p, size_t n) {
        struct node *d = arg;
        (void)p;
        if (n > 0)
                return;
        if (status == 200) {
                report(d, "Applying");
                report(d, "Healthy");
        } else {
                d->load->refused++;
                trouble(d->load, "revision", status ? "refused" : "broke off");
        }
}

static void take_assignment(struct node *d, const json_t *event) {
        struct load *l = d->load;
        const json_t *signed_part = json_object_get(event, "signed"),
                     *revision = json_object_get(signed_part, "revision");
        const char *digest = json_string_value(json_object_get(revision, "sha256"));
        int64_t version = json_integer_value(json_object_get(signed_part, "version"));
        char path[128];
        if (version <= d->version)
                return;
        d->version = version;
        if (!digest || strlen(digest) != 64 || str_eq(digest, d->revision))
                return;
        memcpy(d->revision, digest, sizeof(d->revision));
        if (!str_eq(digest, l->revision)) {
                memcpy(l->revision, digest, sizeof(l->revision));
                l->offered = l->reported = 0;
        }
        l->offered++;
        (void)snprintf(path, sizeof(path), "/edge/v1/objects/sha256/%s", digest);
        const struct h2_call call = {.method = "GET", .path = path, .on_data = object_came, .arg = d};
        (void)h2_client_send(d->client, &call);
}

static void take_line(struct node *d) {
        _cleanup_json_ json_t *event = NULL;
        if (json_decode(d->line, d->n_line, &event, NULL) < 0)
                return;
        const char *type = json_string_value(json_object_get(event, "type"));
        if (str_eq(type, "hello")) {
                d->up = true;
                d->load->up++;
                d->backoff.failures = 0;
                report(d, "Healthy");
        } else if (str_eq(type, "assignment")) {
                take_assignment(d, event);
        }
}

static void events_came(void *arg, int status, const char *p, size_t n) {
        struct node *d = arg;
        if (n == 0 || status != 200) {
                if (n == 0)
                        trouble(d->load, "events", status == 200 ? "ended" : "refused");
                return;
        }
        while (n > 0) {
                const char *end = memchr(p, '\n', n);
                size_t part = end ? (size_t)(end - p) : n;
                char *line =
                        d->n_line + part < LINE_MAX_BYTES ? realloc(d->line, d->n_line + part + 1) : NULL;
                if (!line)
                        return;
                memcpy(line + d->n_line, p, part);
                d->line = line;
                d->n_line += part;
                line[d->n_line] = '\0';
                p += part + (end ? 1 : 0);
                n -= part + (end ? 1 : 0);
                if (end) {
                        if (d->n_line > 0)
                                take_line(d);
                        free(d->line);
                        d->line = NULL;
                        d->n_line = 0;
                }
        }
}

static void shaken(struct node *d) {
        if (!d->shaking)
                return;
        d->shaking = false;
        d->load->shaking--;
}

static void link_ready(void *arg) {
        struct node *d = arg;
        char path[128];
        shaken(d);
        (void)snprintf(path, sizeof(path), "/edge/v1/events?assignment=%lld&heartbeat=%lld",
                       (long long)d->version, (long long)d->load->s.heartbeat_s);
        const struct h2_call call = {.method = "GET", .path = path, .on_data = events_came, .arg = d};
        (void)h2_client_send(d->client, &call);
}

static void on_again(uv_timer_t *t) {
        connect_node(t->data);
}

static void link_closed(void *arg, const char *why) {
        struct node *d = arg;
        struct load *l = d->load;
        shaken(d);
        if (d->up) {
                l->up--;
                l->lost++;
        }
        d->up = false;
        d->client = NULL;
        free(d->line);
        d->line = NULL;
        d->n_line = 0;
        trouble(l, "link", why);
        (void)uv_timer_start(&d->timer, on_again, (uint64_t)backoff_next(&d->backoff, &l->random, -1), 0);
}

static void keep_session(void *arg, SSL_SESSION *session) {
        struct node *d = arg;
        SSL_SESSION_free(d->session);
        d->session = session;
}

static int show_certificate(void *arg, SSL *ssl) {
        struct node *d = arg;
        if (SSL_use_certificate(ssl, d->certificate) != 1 || SSL_use_PrivateKey(ssl, key_evp(d->key)) != 1)
                return -EINVAL;
        for (size_t i = 0; i < d->load->n_chain; i++)
                if (SSL_add1_chain_cert(ssl, d->load->chain[i]) != 1)
                        return -ENOMEM;
        return 0;
}

static void connect_node(struct node *d) {
        struct load *l = d->load;
        if (l->shaking >= (size_t)l->s.handshakes) { /* as if the machine were many */
                (void)uv_timer_start(&d->timer, on_again, 5 + prng_below(&l->random, 20), 0);
                return;
        }
        const struct h2_client_options o = {.loop = &l->loop,
                                            .context = l->context,
                                            .host = l->host,
                                            .port = l->port,
                                            .from = d->from,
                                            .session = d->session,
                                            .prepare = show_certificate,
                                            .ready = link_ready,
                                            .closed = link_closed,
                                            .resumable = keep_session,
                                            .arg = d};
        int r = h2_client_new(&o, &d->client);
        if (r < 0) {
                trouble(l, "connect", strerror(-r));
                (void)uv_timer_start(&d->timer, on_again, (uint64_t)backoff_next(&d->backoff, &l->random, -1),
                                     0);
                return;
        }
        d->shaking = true;
        l->shaking++;
}

/* ---- enrolment, over a few links without certificates */

static void enrol_more(struct load *l, struct h2_client *c);

static int keep_chain(struct load *l, BIO *rest) {
        X509 *one;
        while (l->n_chain == 0 && (one = PEM_read_bio_X509(rest, NULL, NULL, NULL)) != NULL) {
                l->chain = realloc(l->chain, sizeof(*l->chain));
                if (!l->chain)
                        return -ENOMEM;
                l->chain[l->n_chain++] = one;
        }
        ERR_clear_error();
        return 0;
}

static int take_identity(struct node *d) {
        struct load *l = d->load;
        _cleanup_json_ json_t *j = NULL;
        const char *pem = NULL;
        struct cert_info info = {0};
        if (json_decode(d->answer, d->n_answer, &j, NULL) < 0 ||
            json_read_string(j, "certificate", &pem, NULL) < 0 || cert_inspect(pem, &info, NULL) < 0)
                return -EBADMSG;
        memcpy(d->serial, info.serial, sizeof(d->serial));
        cert_info_done(&info);
        BIO *bio = BIO_new_mem_buf(pem, -1);
        d->certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        int r = d->certificate ? keep_chain(l, bio) : -EBADMSG;
        BIO_free(bio);
        return r;
}

static void enrol_answered(void *arg, int status, const char *p, size_t n) {
        struct node *d = arg;
        struct load *l = d->load;
        if (n > 0) {
                char *more = realloc(d->answer, d->n_answer + n);
                if (!more)
                        return;
                memcpy(more + d->n_answer, p, n);
                d->answer = more;
                d->n_answer += n;
                return;
        }
        l->enrolling--;
        if ((status != 200 && status != 201) || take_identity(d) < 0) {
                l->refused++;
                (void)snprintf(l->trouble, sizeof(l->trouble), "enrol %s: status %d: %.*s", d->name, status,
                               (int)MIN(d->n_answer, 100), d->answer ? d->answer : "");
        } else {
                l->enrolled++;
                connect_node(d);
        }
        free(d->answer);
        d->answer = NULL;
        for (size_t i = 0; i < ENROLLERS; i++)
                if (l->enrollers[i])
                        enrol_more(l, l->enrollers[i]);
}

static void enrol(struct h2_client *c, struct node *d) {
        _cleanup_(x_freep) char *csr = NULL;
        struct load *l = d->load;
        if (key_generate(&d->key, NULL) < 0 || csr_make(d->key, d->name, &csr, NULL) < 0)
                return;
        _cleanup_json_ json_t *j =
                json_pack("{s:s, s:s, s:s, s:{s:s, s:s, s:s, s:s}}", "token", l->s.token, "csr", csr, "name",
                          d->name, "facts", "hostname", d->name, "machineId", d->name, "platform",
                          "linux/amd64", "agentVersion", "0.1.0");
        const struct h2_call call = {.method = "POST",
                                     .path = "/edge/v1/enrol",
                                     .body = j ? json_encode_compact(j) : NULL,
                                     .on_data = enrol_answered,
                                     .arg = d};
        if (call.body && h2_client_send(c, &call) == 0)
                l->enrolling++;
}

static void enrol_more(struct load *l, struct h2_client *c) {
        while (l->next_enrol < (size_t)l->s.nodes && l->enrolling < (size_t)ENROLLERS * ENROLLER_CALLS)
                enrol(c, &l->nodes[l->next_enrol++]);
}

struct enroller {
        struct load *load;
        size_t index;
};

static void enroller_ready(void *arg) {
        struct enroller *e = arg;
        enrol_more(e->load, e->load->enrollers[e->index]);
}

static void enroller_closed(void *arg, const char *why) {
        struct enroller *e = arg;
        e->load->enrollers[e->index] = NULL;
        trouble(e->load, "enrolment link", why);
}

/* ---- the program */

static void on_input(uv_poll_t *p, int status, int events) {
        struct load *l = p->data;
        (void)status;
        (void)events;
        uv_stop(&l->loop);
}

static int begin(struct load *l) {
        static struct enroller enrollers[ENROLLERS];
        static uv_poll_t input;
        l->nodes = calloc((size_t)l->s.nodes, sizeof(*l->nodes));
        l->context = SSL_CTX_new(TLS_client_method());
        if (!l->nodes || !l->context || uv_loop_init(&l->loop) != 0)
                return -ENOMEM;
        SSL_CTX_set_min_proto_version(l->context, TLS1_3_VERSION);
        h2_client_prepare_context(l->context);
        for (size_t i = 0; i < (size_t)l->s.nodes; i++) {
                struct node *d = &l->nodes[i];
                d->load = l;
                (void)snprintf(d->name, sizeof(d->name), "%s%zu", l->s.prefix, i);
                (void)snprintf(d->from, sizeof(d->from), "127.0.%zu.1", 1 + i % (size_t)l->s.addresses);
                d->backoff = (struct backoff)BACKOFF_INIT(BACKOFF_BASE_MS, BACKOFF_CAP_MS);
                (void)uv_timer_init(&l->loop, &d->timer);
                d->timer.data = d;
        }
        for (size_t i = 0; i < ENROLLERS; i++) {
                enrollers[i] = (struct enroller){l, i};
                const struct h2_client_options o = {.loop = &l->loop,
                                                    .context = l->context,
                                                    .host = l->host,
                                                    .port = l->port,
                                                    .ready = enroller_ready,
                                                    .closed = enroller_closed,
                                                    .arg = &enrollers[i]};
                int r = h2_client_new(&o, &l->enrollers[i]);
                if (r < 0)
                        return r;
        }
        (void)uv_timer_init(&l->loop, &l->tell);
        l->tell.data = l;
        (void)uv_timer_start(&l->tell, on_tell, TELL_MS, TELL_MS);
        if (uv_poll_init(&l->loop, &input, STDIN_FILENO) == 0) {
                input.data = l;
                (void)uv_poll_start(&input, UV_READABLE, on_input);
        }
        return 0;
}

static const struct option_spec options[] = {
        {"edge", 'e', OPTION_STRING, offsetof(struct settings, edge), "ADDRESS:PORT", NULL,
         "What to connect to", NULL, true},
        {"token", 't', OPTION_STRING, offsetof(struct settings, token), "TOKEN", NULL,
         "A join token for all of them", NULL, true},
        {"nodes", 'n', OPTION_INT, offsetof(struct settings, nodes), "N", "1000", "How many nodes"},
        {"prefix", 'p', OPTION_STRING, offsetof(struct settings, prefix), "TEXT", "load-",
         "What their names begin with"},
        {"handshakes", 0, OPTION_INT, offsetof(struct settings, handshakes), "N", "256", "So many at once"},
        {"heartbeat", 0, OPTION_INT, offsetof(struct settings, heartbeat_s), "SECONDS", "240",
         "Heartbeat that is wished"},
        {"addresses", 0, OPTION_INT, offsetof(struct settings, addresses), "N", "8",
         "Loopback addresses that connections come from"},
        OPTIONS_END,
};

static int run(void *settings, char **arguments, size_t n) {
        static struct load load;
        struct load *l = &load;
        (void)arguments;
        (void)n;
        l->s = *(const struct settings *)settings;
        const char *colon = strrchr(l->s.edge, ':');
        if (!colon || (size_t)(colon - l->s.edge) >= sizeof(l->host) || l->s.nodes < 1 ||
            l->s.addresses < 1 || l->s.addresses > 250) {
                fputs("skerry-load: --edge ADDRESS:PORT, 1 to 250 --addresses\n", stderr);
                return EXIT_USAGE;
        }
        (void)snprintf(l->host, sizeof(l->host), "%.*s", (int)(colon - l->s.edge), l->s.edge);
        l->port = atoi(colon + 1);
        prng_seed_random(&l->random);
        int r = begin(l);
        if (r < 0) {
                fprintf(stderr, "skerry-load: %s: %s\n", l->s.edge, strerror(-r));
                return EXIT_FAILURE;
        }
        (void)uv_run(&l->loop, UV_RUN_DEFAULT);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        const struct command_spec commands[] = {
                {.name = "run",
                 .arguments = "",
                 .summary = "Hold the links of many nodes",
                 .options = options,
                 .settings_size = sizeof(struct settings),
                 .run = run},
                {0},
        };
        const struct program_spec program = {.name = "skerry-load",
                                             .summary = "hold the links of many nodes to measure an edge",
                                             .commands = commands,
                                             .default_command = "run"};
        return program_main(&program, NULL, argc, argv);
}
