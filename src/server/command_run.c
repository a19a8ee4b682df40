/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-server run: the server itself. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fs.h"
#include "base/log.h"
#include "server/api.h"
#include "server/commands.h"
#include "server/edge_backend.h"
#include "server/git_source.h"
#include "server/memory.h"
#include "server/server_identity.h"
#include "version.h"

#define STOP_GRACE_MS 5000
#define CERTIFICATE_TTL_MIN ((msec_t)5000)

struct run_settings {
        char *state, *passphrase_file, *api_listen, *edge_listen, *log_level, *config;
        char *credentials, *repository, *trust, **repository_mirrors;
        int64_t certificate_ttl, renew_grace, heartbeat;
        bool require_reason;
        char *notify;
};

static const struct option_spec options[] = {
        STATE_OPTION(struct run_settings),
        PASSPHRASE_OPTION(struct run_settings),
        {"api-listen", 0, OPTION_STRING, offsetof(struct run_settings, api_listen), "ADDRESS:PORT",
         "127.0.0.1:8443", "Where people and the command line reach the API"},
        {"edge-listen", 0, OPTION_STRING, offsetof(struct run_settings, edge_listen), "ADDRESS:PORT",
         "127.0.0.1:8444", "Where nodes and relays connect"},
        {"certificate-ttl", 0, OPTION_DURATION, offsetof(struct run_settings, certificate_ttl), "TIME", "24h",
         "How long issued certificates hold; they are renewed at half of it"},
        {"renew-grace", 0, OPTION_DURATION, offsetof(struct run_settings, renew_grace), "TIME", "30d",
         "How long after its end a certificate may still be renewed"},
        {"heartbeat", 0, OPTION_DURATION, offsetof(struct run_settings, heartbeat), "TIME", "240s",
         "How often a silent link is tried"},
        {"credentials", 0, OPTION_STRING, offsetof(struct run_settings, credentials), "DIR", NULL,
         "Folder of the passwords and tokens that sources may name (default: $CREDENTIALS_DIRECTORY, which "
         "systemd sets, else STATE/credentials)",
         "dir"},
        {"repository", 0, OPTION_STRING, offsetof(struct run_settings, repository), "DIR|URL", NULL,
         "The artifact repository: its published folder, its work folder, or where a web server has it"},
        {"trust", 0, OPTION_CHOICE, offsetof(struct run_settings, trust), "WHO", "server",
         "Whose word nodes take for what they run: this server's, or only what release keys signed into the "
         "repository",
         "server,release-key"},
        {"repository-mirror", 0, OPTION_STRINGS, offsetof(struct run_settings, repository_mirrors), "URL",
         NULL, "Where nodes may fetch the repository, too; may be given again"},
        {"notify", 0, OPTION_STRING, offsetof(struct run_settings, notify), "FILE", NULL,
         "Who is told of what goes wrong: webhooks, Slack, Alertmanager", "file"},
        {"require-reason", 0, OPTION_BOOL, offsetof(struct run_settings, require_reason), NULL, NULL,
         "Refuse what people do without saying why; the audit log keeps it"},
        {"log-level", 0, OPTION_CHOICE, offsetof(struct run_settings, log_level), "LEVEL", "info",
         "How much is said", "error,warning,info,debug"},
        {"config", 0, OPTION_STRING, offsetof(struct run_settings, config), "FILE", "/etc/skerry/server.yaml",
         "File with these settings, \"name: value\" a line", "file"},
        OPTIONS_END,
};

struct server {
        struct loop *loop;
        struct settings settings;
        struct control *control;
        struct server_identity *identity;
        struct edge_backend backend;
        int waiting; /* listeners that still end */
        bool stopping;
};

static void listener_ended(void *arg) {
        struct server *s = arg;
        if (--s->waiting == 0)
                loop_stop(s->loop, EXIT_SUCCESS);
}

static void on_signal(void *arg, int signal) {
        struct server *s = arg;
        if (signal == SIGHUP || s->stopping)
                return;
        log_info("stopping", "signal", strsignal(signal), NULL);
        s->stopping = true;
        s->waiting = 2;
        events_end_streams(s->control->events);
        struct edge *edge = TAKE_PTR(s->control->edge);
        struct http_server *api = TAKE_PTR(s->control->api);
        edge_stop(edge, listener_ended, s);
        http_server_stop(api, STOP_GRACE_MS, listener_ended, s);
}

static char *credentials_folder(const struct run_settings *from) {
        const char *given = from->credentials ? from->credentials : getenv("CREDENTIALS_DIRECTORY");
        _cleanup_(x_freep) char *folder =
                given && *given ? copy_text(given) : must(path_join(from->state, "credentials"));
        if (*folder == '/')
                return TAKE_PTR(folder);
        _cleanup_(x_freep) char *here = must(getcwd(NULL, 0));
        return must(path_join(here, folder));
}

static int settings_take(struct server *s, const struct run_settings *from, struct err **err) {
        struct settings *to = &s->settings;
        enum log_level level = LOG_LEVEL_INFO;
        (void)log_level_from_string(from->log_level, &level);
        log_init("skerry-server", level);
        if (str_eq(from->trust, "release-key") && !from->repository)
                return err_set(err, EINVAL,
                               "--trust release-key: what release keys signed lies in a repository; give "
                               "one with --repository");
        if (from->certificate_ttl < CERTIFICATE_TTL_MIN)
                return err_set(err, EINVAL, "--certificate-ttl: at least 5 seconds");
        int r = settings_load(from->state, to, err);
        if (r >= 0)
                r = settings_read_passphrase(from->passphrase_file, &to->passphrase, err);
        if (r < 0)
                return r;
        replace_text(&to->api_listen, from->api_listen);
        replace_text(&to->edge_listen, from->edge_listen);
        free(to->credentials);
        to->credentials = credentials_folder(from);
        replace_text(&to->repository, from->repository);
        replace_text(&to->repository_trust, from->trust);
        for (size_t i = 0; from->repository_mirrors && from->repository_mirrors[i]; i++)
                must_do(strv_push(&to->repository_mirrors, from->repository_mirrors[i]));
        to->certificate_ttl = from->certificate_ttl;
        to->renew_grace = from->renew_grace;
        to->heartbeat = from->heartbeat;
        replace_text(&to->notify, from->notify);
        to->require_reason = from->require_reason;
        return settings_lock(to, err);
}

static int listen_on(struct server *s, struct err **err) {
        struct control *c = s->control;
        s->backend = edge_backend_make(c);
        struct edge_options edge = {.address = s->settings.edge_listen,
                                    .tls = server_identity_edge(s->identity),
                                    .trust_domain = s->settings.domain,
                                    .heartbeat_ms = s->settings.heartbeat,
                                    .accept_relays = true};
        int r = edge_start(s->loop, &edge, &s->backend, &c->edge, err);
        if (r < 0)
                return err_wrap(err, "the edge on %s", s->settings.edge_listen);
        r = api_start(c, server_identity_api(s->identity), err);
        return r < 0 ? err_wrap(err, "the API on %s", s->settings.api_listen) : 0;
}

static int serve(struct server *s, struct err **err) {
        int r = control_open(s->loop, &s->settings, &s->control, err);
        if (r >= 0)
                r = server_identity_new(s->control, &s->identity, err);
        if (r >= 0)
                r = listen_on(s, err);
        if (r < 0)
                return r;
        (void)loop_on_signals(s->loop, on_signal, s);
        control_start(s->control);
        log_info("serving", "version", SKERRY_VERSION, "trust_domain", s->settings.domain, "api",
                 s->settings.api_listen, "edge", s->settings.edge_listen, NULL);
        if (!s->settings.repository || str_eq(s->settings.repository_trust, "server"))
                log_warning("development trust: what nodes run is signed by a key on this server", NULL);
        return loop_run(s->loop);
}

/* A connection each for many nodes. */
static void raise_limits(void) {
        struct rlimit l;
        if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
                l.rlim_cur = l.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &l);
        }
        /* Few heaps: what a compile took goes back instead of lying in one heap for each thread. */
        (void)mallopt(M_ARENA_MAX, 2);
}

static int run(void *settings, char **arguments, size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct server s = {0};
        raise_limits();
        git_source_init();
        int r = settings_take(&s, settings, &err);
        if (r >= 0)
                r = loop_new(&s.loop, &err);
        if (r >= 0)
                r = serve(&s, &err);
        if (s.control && s.control->edge) /* a listener failed to start */
                edge_stop(TAKE_PTR(s.control->edge), NULL, NULL);
        server_identity_free(s.identity);
        if (s.control)
                control_close(s.control);
        loop_free(s.loop);
        control_free(s.control);
        settings_done(&s.settings);
        git_source_done();
        return r < 0 ? command_failed(err) : r;
}

const struct command_spec run_command = {
        .name = "run",
        .arguments = "",
        .summary = "Serve nodes, relays and people until told to stop",
        .details = "Follows the Git sources, compiles their commits, leads rollouts, issues certificates. "
                   "SIGTERM ends it in "
                   "order; being killed loses nothing that was acknowledged.",
        .options = options,
        .settings_size = sizeof(struct run_settings),
        .run = run,
};
