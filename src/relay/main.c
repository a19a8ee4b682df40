/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/str.h"
#include "codec/json.h"
#include "relay/enrolment.h"
#include "relay/relay.h"

#define DEFAULT_STATE "/var/lib/skerry-relay"
#define STATUS_BYTES_MAX ((size_t)64 * 1024)

/* ---- settings */

struct run_settings {
        char *state, *server, *token, *token_file, *name, *listen, *cache_max, *log_level;
        char **mirrors, **peers, *bandwidth, *prefetch;
};

struct enrol_settings {
        char *state, *server, *token, *token_file, *name;
};

struct status_settings {
        char *state, *output;
};

#define STATE_OPTION(type)                                                                                   \
        {                                                                                                    \
                "state", 0, OPTION_STRING, offsetof(type, state), "DIR", DEFAULT_STATE,                      \
                        "folder with the relay's identity, cache and what it must remember", NULL, false     \
        }
#define SERVER_OPTION(type)                                                                                  \
        {                                                                                                    \
                "server", 0, OPTION_STRING, offsetof(type, server), "URL", NULL,                             \
                        "the server's edge address, https://HOST:PORT; remembered after the enrolment",      \
                        NULL, false                                                                          \
        }
#define TOKEN_OPTION(type)                                                                                   \
        {                                                                                                    \
                "token", 0, OPTION_STRING, offsetof(type, token), "TOKEN", NULL,                             \
                        "join token of kind relay, used when the relay has no identity yet", NULL, false     \
        }
#define TOKEN_FILE_OPTION(type)                                                                              \
        {                                                                                                    \
                "token-file", 0, OPTION_STRING, offsetof(type, token_file), "FILE", NULL,                    \
                        "file that holds the join token, so that it does not show among the processes",      \
                        NULL, false                                                                          \
        }
#define NAME_OPTION(type)                                                                                    \
        {                                                                                                    \
                "name", 0, OPTION_STRING, offsetof(type, name), "NAME", NULL,                                \
                        "the relay's name; the token's name or the host's where it is not given", NULL,      \
                        false                                                                                \
        }

static const struct option_spec run_options[] = {
        STATE_OPTION(struct run_settings),
        SERVER_OPTION(struct run_settings),
        {"listen", 0, OPTION_STRING, offsetof(struct run_settings, listen), "ADDRESS:PORT", "[::]:8444",
         "where nodes connect", NULL, false},
        TOKEN_OPTION(struct run_settings),
        TOKEN_FILE_OPTION(struct run_settings),
        NAME_OPTION(struct run_settings),
        {"cache-max", 0, OPTION_STRING, offsetof(struct run_settings, cache_max), "SIZE", "10G",
         "most bytes of cached objects, with K, M, G or T; 0 for no bound", NULL, false},
        {"mirror", 0, OPTION_STRINGS, offsetof(struct run_settings, mirrors), "URL", NULL,
         "a web server that has the artifact repository, asked before the server; may be given again", NULL,
         false},
        {"peers", 0, OPTION_STRINGS, offsetof(struct run_settings, peers), "URL,...", NULL,
         "other relays of the site, asked before all others for what they have; may be given again", NULL,
         false},
        {"bandwidth", 0, OPTION_STRING, offsetof(struct run_settings, bandwidth),
         "RATE[,HH:MM-HH:MM=RATE...]", "none",
         "most bytes a second of the repository from mirrors and server, with K, M or G, and at times of the "
         "day",
         NULL, false},
        {"prefetch", 0, OPTION_CHOICE, offsetof(struct run_settings, prefetch), "WHETHER", "on",
         "fetch what the server says that nodes will ask for soon", "on,off", false},
        {"log-level", 0, OPTION_CHOICE, offsetof(struct run_settings, log_level), "LEVEL", "info",
         "least important records that are logged", "error,warning,info,debug", false},
        OPTIONS_END,
};

static const struct option_spec enrol_options[] = {
        STATE_OPTION(struct enrol_settings), SERVER_OPTION(struct enrol_settings),
        TOKEN_OPTION(struct enrol_settings), TOKEN_FILE_OPTION(struct enrol_settings),
        NAME_OPTION(struct enrol_settings),  OPTIONS_END,
};

static const struct option_spec status_options[] = {
        STATE_OPTION(struct status_settings),
        {"output", 'o', OPTION_CHOICE, offsetof(struct status_settings, output), "FORMAT", "text",
         "how to print", "text,json", false},
        OPTIONS_END,
};

/* "10G", "512M", "1048576"; powers of 1024. */
static int parse_size(const char *text, int64_t *ret, struct err **err) {
        static const char units[] = "KMGT";
        _cleanup_(x_freep) char *number = str_dup(text);
        if (!number)
                return err_set(err, ENOMEM, "out of memory");
        unsigned shift = 0;
        size_t len = strlen(number);
        const char *unit = len > 0 ? strchr(units, number[len - 1]) : NULL;
        if (unit && *unit) {
                shift = 10 * (unsigned)(unit - units + 1);
                number[len - 1] = '\0';
        }
        int64_t n = 0;
        if (str_to_i64(number, &n) < 0 || n < 0 || n > (INT64_MAX >> shift))
                return err_set(err, EINVAL, "\"%s\" is no size; write for example 512M or 10G", text);
        *ret = n << shift;
        return 0;
}

static int parse_rate(const char *text, int64_t *ret, struct err **err) {
        if (!str_eq(text, "none"))
                return parse_size(text, ret, err);
        *ret = TRANSFER_NO_LIMIT;
        return 0;
}

/* "22:00-06:00=10M" */
static int parse_window(const char *text, struct transfer_window *ret, struct err **err) {
        unsigned h1, m1, h2, m2;
        int used = 0;
        if (sscanf(text, "%2u:%2u-%2u:%2u=%n", &h1, &m1, &h2, &m2, &used) != 4 || used == 0 || h1 > 23 ||
            h2 > 24 || m1 > 59 || m2 > 59)
                return err_set(err, EINVAL,
                               "\"%s\" is no time and bound; write for example "
                               "22:00-06:00=10M",
                               text);
        ret->from = h1 * 60 + m1;
        ret->to = (h2 * 60 + m2) % (24 * 60);
        return parse_rate(text + used, &ret->bytes_per_second, err);
}

/* "1M,22:00-06:00=10M": the bound, and others for times of the day; as the agent's. */
static int parse_limit(const char *text, struct transfer_policy *ret, struct err **err) {
        struct transfer_policy p = {.bytes_per_second = TRANSFER_NO_LIMIT,
                                    .bytes_per_day = TRANSFER_NO_LIMIT};
        _cleanup_(strv_freep) char **parts = strv_split(text, ",");
        int r = 0;
        for (size_t i = 0; r >= 0 && parts && parts[i]; i++) {
                if (!strchr(parts[i], '='))
                        r = parse_rate(parts[i], &p.bytes_per_second, err);
                else if (p.n_windows == TRANSFER_WINDOWS_MAX)
                        r = err_set(err, E2BIG, "more than %d times of the day", TRANSFER_WINDOWS_MAX);
                else
                        r = parse_window(parts[i], &p.windows[p.n_windows++], err);
        }
        if (r >= 0)
                r = transfer_policy_check(&p, err);
        if (r < 0)
                return err_wrap_code(err, r, "--bandwidth");
        *ret = p;
        return 0;
}

/* "--peers A,B --peers C" */
static int split_peers(char *const *lists, char ***ret, struct err **err) {
        _cleanup_(strv_freep) char **all = NULL;
        for (size_t i = 0; lists && lists[i]; i++) {
                _cleanup_(strv_freep) char **some = strv_split(lists[i], ",");
                for (size_t k = 0; some && some[k]; k++)
                        if (strv_push(&all, some[k]) < 0)
                                return err_set(err, ENOMEM, "out of memory");
        }
        *ret = TAKE_PTR(all);
        return 0;
}

static int fail(const struct err *err) {
        fprintf(stderr, "skerry-relay: %s\n", err_message(err));
        return 1;
}

/* ---- one relay a state folder */

static int lock_state(const char *state, int *ret_fd, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(state, "lock");
        int r = dir_make(state, 0700, err);
        if (r < 0)
                return r;
        if (!path)
                return err_set(err, ENOMEM, "out of memory");
        _cleanup_(x_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return err_set_errno(err, errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return err_set(err, EBUSY, "another skerry-relay uses %s", state);
                return err_set_errno(err, errno, "lock %s", path);
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ---- enrolment */

static int read_token(const char *token, const char *file, char **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len = 0;
        if (token) {
                text = str_dup(token);
                if (!text)
                        return err_set(err, ENOMEM, "out of memory");
        } else if (file) {
                int r = file_read(file, 4096, &text, &len, err);
                if (r < 0)
                        return r;
                text[strcspn(text, " \t\r\n")] = '\0';
        }
        *ret = TAKE_PTR(text);
        return 0;
}

static int enrol(struct loop *l, const char *state, const char *server, const char *token, const char *file,
                 const char *name, bool patient, struct identity **ret, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        int r = read_token(token, file, &text, err);
        if (r < 0)
                return r;
        if (!text)
                return err_set(err, ENOENT,
                               "%s holds no identity: give a join token with --token or --token-file "
                               "(\"skerry token create --kind relay\" makes one)",
                               state);
        if (!server)
                return err_set(err, EINVAL,
                               "--server is needed to enrol, as https://HOST:PORT of the server's edge");
        struct enrolment_options o = {state, server, text, name, patient};
        return enrolment_run(l, &o, ret, err);
}

static void on_early_signal(void *arg, int signal) {
        loop_stop(arg, 1);
}

static int run_enrol(void *arg, char **arguments, size_t n_arguments) {
        const struct enrol_settings *s = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(loop_freep) struct loop *l = NULL;
        _cleanup_(identity_freep) struct identity *identity = NULL;
        _cleanup_(x_closep) int lock = -1;
        log_init("skerry-relay", LOG_LEVEL_WARNING);
        if (lock_state(s->state, &lock, &err) < 0 || loop_new(&l, &err) < 0)
                return fail(err);
        if (identity_load(s->state, &identity, &err) >= 0) {
                printf("relay %s of %s is enrolled already\n", identity->name, identity->trust_domain);
                return 0;
        }
        if (err_code(err) != -ENOENT)
                return fail(err);
        err = err_free(err);
        (void)loop_on_signals(l, on_early_signal, l);
        if (enrol(l, s->state, s->server, s->token, s->token_file, s->name, false, &identity, &err) < 0)
                return fail(err);
        printf("relay %s of %s is enrolled\n", identity->name, identity->trust_domain);
        return 0;
}

/* ---- run */

static void on_signal(void *arg, int signal) {
        if (signal != SIGHUP)
                relay_stop(arg, 0);
}

/* Frees the loop when the relay has run. */
static int run_with(struct loop **loop, const struct run_settings *s, struct err **err) {
        struct loop *l = *loop;
        struct identity *identity = NULL;
        struct relay *relay = NULL;
        struct relay_options o = {.state = s->state, .listen = s->listen};
        _cleanup_(strv_freep) char **peers = NULL;
        struct transfer_policy limit;
        int r = parse_size(s->cache_max, &o.cache_max, err);
        if (r >= 0)
                r = parse_limit(s->bandwidth, &limit, err);
        if (r >= 0)
                r = split_peers(s->peers, &peers, err);
        if (r < 0)
                return r;
        o.limit = &limit;
        o.mirrors = (const char *const *)s->mirrors;
        o.peers = (const char *const *)peers;
        o.prefetch = str_eq(s->prefetch, "on");
        (void)loop_on_signals(l, on_early_signal, l);
        r = identity_load(s->state, &identity, err);
        if (r == -ENOENT) {
                if (err)
                        *err = err_free(*err);
                r = enrol(l, s->state, s->server, s->token, s->token_file, s->name, true, &identity, err);
        }
        if (r < 0)
                return r;
        if (s->server && !str_eq(s->server, identity->server)) {
                r = str_replace(&identity->server, s->server);
                if (r >= 0)
                        r = identity_save(identity, s->state, err);
                if (r < 0) {
                        identity_free(identity);
                        return r;
                }
        }
        log_context_set("relay", identity->name);
        r = relay_start(l, &o, identity, &relay, err);
        if (r < 0)
                return r;
        (void)loop_on_signals(l, on_signal, relay);
        r = loop_run(l);
        relay_close(relay);
        *loop = loop_free(l);
        relay_free(relay);
        return r;
}

static int run_relay(void *arg, char **arguments, size_t n_arguments) {
        const struct run_settings *s = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(loop_freep) struct loop *l = NULL;
        _cleanup_(x_closep) int lock = -1;
        enum log_level level = LOG_LEVEL_INFO;
        (void)log_level_from_string(s->log_level, &level);
        log_init("skerry-relay", level);
        if (lock_state(s->state, &lock, &err) < 0 || loop_new(&l, &err) < 0)
                return fail(err);
        int r = run_with(&l, s, &err);
        if (r == -ECANCELED) /* a signal during the enrolment */
                return 0;
        if (r < 0) {
                log_error("the relay cannot run", "error", err_message(err), NULL);
                return 1;
        }
        return r;
}

/* ---- status */

static bool is_running(const char *state) {
        _cleanup_(x_freep) char *path = path_join(state, "lock");
        _cleanup_(x_closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static void print_text(const json_t *j, bool running) {
        const json_t *link = json_object_get(j, "link"), *cache = json_object_get(j, "cache");
        const json_t *waiting = json_object_get(j, "waiting");
        const char *error = json_string_value(json_object_get(link, "error"));
        const char *since = json_string_value(json_object_get(link, "since"));
        bool up = running && json_is_true(json_object_get(link, "up"));
        printf("Relay        %s of %s\n", json_string_value(json_object_get(j, "name")),
               json_string_value(json_object_get(j, "trustDomain")));
        printf("State        %s\n", running ? "running" : "not running; what follows is what it said last");
        printf("Listens on   %s\n", json_string_value(json_object_get(j, "listen")));
        printf("Server       %s\n", json_string_value(json_object_get(j, "server")));
        printf("Link         %s%s\n", up ? "up since " : "down", up && since ? since : "");
        if (!up && error)
                printf("             %s\n", error);
        printf("Nodes        %lld connected, %lld revoked\n",
               (long long)json_integer_value(json_object_get(j, "nodes")),
               (long long)json_integer_value(json_object_get(j, "revoked")));
        printf("To report    %lld nodes, %lld bytes\n",
               (long long)json_integer_value(json_object_get(waiting, "nodes")),
               (long long)json_integer_value(json_object_get(waiting, "bytes")));
        printf("Cache        %lld of %lld bytes, %lld hits, %lld fetched, %lld failures\n",
               (long long)json_integer_value(json_object_get(cache, "bytes")),
               (long long)json_integer_value(json_object_get(cache, "maxBytes")),
               (long long)json_integer_value(json_object_get(cache, "hits")),
               (long long)json_integer_value(json_object_get(cache, "fetched")),
               (long long)json_integer_value(json_object_get(cache, "failures")));
        const json_t *files = json_object_get(j, "repository");
        printf("Repository   %lld hits, %lld misses, %lld waited along, %lld bytes from afar, %lld from "
               "peers\n",
               (long long)json_integer_value(json_object_get(files, "hits")),
               (long long)json_integer_value(json_object_get(files, "misses")),
               (long long)json_integer_value(json_object_get(files, "coalesced")),
               (long long)json_integer_value(json_object_get(files, "bytesOrigin")),
               (long long)json_integer_value(json_object_get(files, "bytesPeers")));
        printf("Certificate  until %s\n", json_string_value(json_object_get(j, "certificateNotAfter")));
}

static int run_status(void *arg, char **arguments, size_t n_arguments) {
        const struct status_settings *s = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = path_join(s->state, "status.json"), *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len = 0;
        if (!path)
                return 1;
        int r = file_read(path, STATUS_BYTES_MAX, &text, &len, &err);
        if (r == -ENOENT)
                err_set(&err, ENOENT, "no relay has run with %s yet", s->state);
        else if (r >= 0)
                r = json_decode(text, len, &j, &err);
        if (r < 0)
                return fail(err);
        bool running = is_running(s->state);
        if (str_eq(s->output, "json")) {
                (void)json_object_set_new(j, "running", json_boolean(running));
                _cleanup_(x_freep) char *pretty = json_encode_pretty(j);
                fputs(pretty ? pretty : "", stdout);
        } else {
                print_text(j, running);
        }
        return running ? 0 : 3;
}

/* ---- the program */

static const struct command_spec commands[] = {
        {
                .name = "run",
                .arguments = "",
                .summary = "Serve the nodes of a site",
                .details = "Connects to the server, lets nodes connect, hands them what the server has for "
                           "them and "
                           "passes on what they report. While the server is away the nodes are served from "
                           "what is "
                           "kept in the state folder; certificates are not issued then.\n"
                           "\n"
                           "Without an identity in the state folder it enrols first, and goes on trying "
                           "while the "
                           "server cannot be reached.",
                .options = run_options,
                .settings_size = sizeof(struct run_settings),
                .run = run_relay,
        },
        {
                .name = "enrol",
                .arguments = "",
                .summary = "Join a server with a token, once",
                .options = enrol_options,
                .settings_size = sizeof(struct enrol_settings),
                .run = run_enrol,
        },
        {
                .name = "status",
                .arguments = "",
                .summary = "Show what the relay on this machine does",
                .options = status_options,
                .settings_size = sizeof(struct status_settings),
                .run = run_status,
        },
        {.name = NULL},
};

static const struct program_spec program = {
        .name = "skerry-relay",
        .summary = "serves the nodes of a site or region for a Skerry server",
        .details =
                "A relay is what nodes connect to where the server is far away: it holds their connections, "
                "keeps "
                "every object and every node's newest assignment on its disk, and goes on serving while the "
                "server is away. It signs nothing: it can withhold, never forge.",
        .commands = commands,
        .default_command = "run",
        .environment_prefix = "SKERRY_RELAY",
        .man_files = DEFAULT_STATE
        "/identity.json\tname, key, certificate and trust bundle (mode 0600)\n" DEFAULT_STATE
        "/objects/\tcached objects, named by their digest\n" DEFAULT_STATE
        "/repository/\tfiles of the artifact repository that are not whole yet, and packs\n" DEFAULT_STATE
        "/assignments/\tthe newest assignment of each node\n" DEFAULT_STATE
        "/revoked.json\tnodes that the server has revoked\n" DEFAULT_STATE
        "/status.json\twhat \"skerry-relay status\" prints",
        .man_exit_codes =
                "0\tended as it was told to\n1\tfailed; the reason is on standard error or in the log\n3\t"
                "status: the relay is not running\n64\tthe command line was wrong",
        .man_examples =
                " skerry-relay enrol --server https://skerry.example.org:8444 --token-file /run/join.token\n"
                " skerry-relay run --listen '[::]:8444' --cache-max 50G",
};

int main(int argc, char **argv) {
        return program_main(&program, NULL, argc, argv);
}
