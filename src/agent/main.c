/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/artifact_store.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/options.h"
#include "base/str.h"
#include "version.h"

#define TOKEN_FILE_MAX 4096
#define OPTION(name_, type_, field, argument_, fallback_, help_)                                             \
        {                                                                                                    \
                .name = name_, .type = type_, .offset = offsetof(struct agent_settings, field),              \
                .argument = argument_, .fallback = fallback_, .help = help_                                  \
        }

#define OPTION_STATE                                                                                         \
        {                                                                                                    \
                .name = "state", .letter = 's', .type = OPTION_STRING,                                       \
                .offset = offsetof(struct agent_settings, state), .argument = "DIR",                         \
                .fallback = "/var/lib/skerry-agent",                                                         \
                .help = "Folder the agent keeps its identity, objects and ledger in", .choices = "dir"       \
        }
#define OPTION_SYSROOT                                                                                       \
        {                                                                                                    \
                .name = "sysroot", .type = OPTION_STRING,                                                    \
                .offset = offsetof(struct agent_settings, sysroot), .argument = "DIR", .fallback = "/",      \
                .help = "Folder that managed files are put beneath", .choices = "dir"                        \
        }
#define OPTION_SERVER                                                                                        \
        {                                                                                                    \
                .name = "server", .type = OPTION_STRING, .offset = offsetof(struct agent_settings, server),  \
                .argument = "URL[,URL...]",                                                                  \
                .help = "Server or relay, https://HOST:PORT; further ones to fall back on", .required = true \
        }
#define OPTION_NAME                                                                                          \
        OPTION("name", OPTION_STRING, name, "NAME", NULL,                                                    \
               "Node name to ask for (default: the token's, then the host name)")
#define OPTION_TOKEN                                                                                         \
        OPTION("token", OPTION_STRING, token, "TOKEN", NULL,                                                 \
               "Join token, as 'skerry token create' printed it; used once, to enrol"),                      \
        {                                                                                                    \
                .name = "token-file", .type = OPTION_STRING,                                                 \
                .offset = offsetof(struct agent_settings, token_file), .argument = "FILE",                   \
                .help = "File that holds the join token", .choices = "file"                                  \
        }
#define OPTIONS_PODMAN                                                                                       \
        OPTION("podman", OPTION_STRING, podman, "PROGRAM", "podman", "The podman program"),                  \
                OPTION("podman-root", OPTION_STRING, podman_root, "DIR", NULL,                               \
                       "Podman's storage (default: containers in the state folder)"),                        \
                OPTION("podman-runroot", OPTION_STRING, podman_runroot, "DIR", NULL,                         \
                       "Podman's run state (default: containers-run in the state folder)"),                  \
                OPTION("podman-storage-driver", OPTION_STRING, podman_storage_driver, "NAME", NULL,          \
                       "Podman's storage driver (default: podman's own choice)"),                            \
                OPTION("podman-image-store", OPTION_STRING, podman_image_store, "DIR", NULL,                 \
                       "A further, read-only store of images, which agents may share")

#define OPTION_SECRETS                                                                                       \
        OPTION("secrets-folder", OPTION_STRING, secrets_folder, "DIR", NULL,                                 \
               "Where decrypted secrets lie, in memory (default: /run/skerry-secrets, else "                 \
               "/dev/shm/skerry-secrets)")

#define OPTIONS_REPOSITORY                                                                                   \
        {.name = "repository-root",                                                                          \
         .type = OPTION_STRING,                                                                              \
         .offset = offsetof(struct agent_settings, repository_root),                                         \
         .argument = "FILE",                                                                                 \
         .help = "Root of the artifact repository (TUF root.json), instead of the server's word",            \
         .choices = "file"},                                                                                 \
                {.name = "trust",                                                                            \
                 .type = OPTION_CHOICE,                                                                      \
                 .offset = offsetof(struct agent_settings, trust),                                           \
                 .argument = "WHOM",                                                                         \
                 .choices = "server,release-key",                                                            \
                 .help = "Who may make revisions: the server, or only who holds a release key (default: as " \
                         "the server says, and never less than it said before)"},                            \
                OPTION("artifact-budget", OPTION_STRING, artifact_budget, "SIZE", ARTIFACT_BUDGET_DEFAULT,   \
                       "Disk for artifacts, in bytes (2G) or percent; what runs, and what ran before, is "   \
                       "always kept")

static const struct option_spec run_options[] = {
        OPTION_SERVER,
        OPTION_TOKEN,
        OPTION_NAME,
        OPTION_STATE,
        OPTION_SYSROOT,
        OPTION("check-interval", OPTION_DURATION, check_interval, "TIME", "60s",
               "Time between full checks for drift"),
        OPTION("heartbeat", OPTION_DURATION, heartbeat, "TIME", "240s",
               "Time between signs of life to ask the edge for"),
        OPTIONS_REPOSITORY,
        OPTION("mirror", OPTION_STRINGS, mirrors, "URL", NULL,
               "Where artifacts are to be had when the edge has none; may be given again"),
        OPTION("bandwidth", OPTION_STRING, bandwidth, "RATE[,HH:MM-HH:MM=RATE...]", NULL,
               "Bytes a second that artifacts may take of the link, with other rates at times of the day"),
        OPTION("daily-budget", OPTION_STRING, daily_budget, "SIZE", NULL,
               "Bytes that artifacts may take of the link in a day"),
        OPTION("never-full", OPTION_BOOL, never_full, NULL, NULL,
               "Metered link: artifacts come as differences or not at all"),
        OPTION_SECRETS,
        OPTIONS_PODMAN,
        {.name = "log-level",
         .type = OPTION_CHOICE,
         .offset = offsetof(struct agent_settings, log_level),
         .argument = "LEVEL",
         .fallback = "info",
         .help = "How much is said",
         .choices = "error,warning,info,debug"},
        OPTIONS_END,
};

static const struct option_spec enrol_options[] = {
        OPTION_SERVER, OPTION_TOKEN, OPTION_NAME, OPTION_STATE, OPTION_SYSROOT, OPTIONS_END,
};

static const struct option_spec status_options[] = {
        OPTION_STATE,
        {.name = "output",
         .letter = 'o',
         .type = OPTION_CHOICE,
         .offset = offsetof(struct agent_settings, output),
         .argument = "FORMAT",
         .fallback = "text",
         .help = "How to print",
         .choices = "text,json"},
        OPTIONS_END,
};

static const struct option_spec import_options[] = {OPTION_STATE, OPTION_SYSROOT, OPTIONS_REPOSITORY,
                                                    OPTIONS_END};
static const struct option_spec stop_options[] = {OPTION_STATE, OPTION_SYSROOT, OPTION_SECRETS,
                                                  OPTIONS_PODMAN, OPTIONS_END};
static const struct option_spec version_options[] = {OPTIONS_END};

static int fail(const struct err *err) {
        (void)fprintf(stderr, "skerry-agent: %s\n", err_message(err));
        return 1;
}

/* What depends on other settings: podman's folders, and the token out of its file. */
static int complete(struct agent_settings *s, struct err **err) {
        size_t len;
        if (!s->podman_root)
                s->podman_root = str_format("%s/containers", s->state);
        if (!s->podman_runroot)
                s->podman_runroot = str_format("%s/containers-run", s->state);
        if (!s->podman_root || !s->podman_runroot)
                return err_set_errno(err, ENOMEM, "settings");
        if (!s->token_file || s->token)
                return 0;
        int r = file_read(s->token_file, TOKEN_FILE_MAX, &s->token, &len, err);
        if (r < 0)
                return err_wrap(err, "join token");
        s->token[strcspn(s->token, " \t\r\n")] = '\0';
        return 0;
}

static void set_up_process(struct agent_settings *s, enum log_level level) {
        if (s->log_level)
                (void)log_level_from_string(s->log_level, &level);
        log_init("skerry-agent", level);
        (void)signal(SIGPIPE, SIG_IGN);
        /* One arena and few threads: the agent lives beside the apps, on small machines. */
        (void)mallopt(M_ARENA_MAX, 1);
        (void)setenv("UV_THREADPOOL_SIZE", "2", 0);
}

static int set_up(struct agent_settings *s, enum log_level level) {
        _cleanup_(err_freep) struct err *err = NULL;
        set_up_process(s, level);
        return complete(s, &err) < 0 ? fail(err) : 0;
}

static int run_run(void *settings, char **arguments, size_t n) {
        int code = set_up(settings, LOG_LEVEL_INFO);
        return code ? code : agent_run(settings);
}

static int run_enrol(void *settings, char **arguments, size_t n) {
        struct agent_settings *s = settings;
        int code = set_up(s, LOG_LEVEL_WARNING);
        if (code)
                return code;
        if (str_is_empty(s->token)) {
                (void)fprintf(stderr, "skerry-agent: enrol needs --token or --token-file; 'skerry token "
                                      "create' makes one\n");
                return EXIT_USAGE;
        }
        return agent_enrol(s);
}

static int run_import(void *settings, char **arguments, size_t n) {
        set_up_process(settings, LOG_LEVEL_WARNING);
        return agent_import(settings, arguments[0]);
}

static int run_status(void *settings, char **arguments, size_t n) {
        return agent_status(settings);
}

static int run_stop_apps(void *settings, char **arguments, size_t n) {
        int code = set_up(settings, LOG_LEVEL_WARNING);
        return code ? code : agent_stop_apps(settings);
}

static int run_version(void *settings, char **arguments, size_t n) {
        (void)printf("skerry-agent %s\n", SKERRY_VERSION);
        return 0;
}

#define COMMAND(name_, summary_, details_, options_, run_)                                                   \
        {                                                                                                    \
                .name = name_, .arguments = "", .summary = summary_, .details = details_,                    \
                .options = options_, .settings_size = sizeof(struct agent_settings), .run = run_             \
        }

static const struct command_spec commands[] = {
        COMMAND("run", "Bring this node to what its fleet's repository says, and keep it there",
                "It first converges from what it has stored, then connects. Ended by SIGTERM, or by a crash, "
                "it leaves "
                "running what it started; the next agent with the same state folder takes over.",
                run_options, run_run),
        COMMAND("enrol", "Get an identity by a join token, and end", NULL, enrol_options, run_enrol),
        {.name = "import",
         .arguments = "DIR",
         .summary = "Take artifacts, and an assignment, from a folder that was carried here",
         .details = "DIR is what 'skerry repo export' writes. Everything is verified as it is over a link. "
                    "Works "
                    "while the agent runs, and before it starts.",
         .options = import_options,
         .settings_size = sizeof(struct agent_settings),
         .min_arguments = 1,
         .max_arguments = 1,
         .completes = "dir",
         .run = run_import},
        COMMAND("status", "Show what this node runs", NULL, status_options, run_status),
        COMMAND("stop-apps", "End everything the agent runs on this node",
                "The agent itself must be stopped. Managed files stay; the next 'skerry-agent run' starts "
                "the apps again.",
                stop_options, run_stop_apps),
        COMMAND("version", "Show the version", NULL, version_options, run_version),
        {.name = NULL},
};

static const struct program_spec program = {
        .name = "skerry-agent",
        .summary = "keep one machine at the state its fleet's repository describes",
        .details = "One runs on each node. It holds one outbound connection to a relay or server, applies "
                   "signed "
                   "revisions, watches that they stay applied, and goes back when a new one does not become "
                   "healthy. "
                   "Without a network it keeps what it has.",
        .commands = commands,
        .default_command = "run",
        .environment_prefix = "SKERRY_AGENT",
        .man_files =
                "/var/lib/skerry-agent/identity\tKey, certificate and trust bundle.\n"
                "/var/lib/skerry-agent/artifacts\tPayloads of artifacts; beside them trees, files and what "
                "is being fetched.\n"
                "/var/lib/skerry-agent/repository\tTrusted metadata of the artifact repository.\n"
                "/var/lib/skerry-agent/ledger.json\tWhat is applied, and what can be gone back to.\n"
                "/var/lib/skerry-agent/report-numbers\tA number that no report has reached yet; they only "
                "rise.\n"
                "/var/lib/skerry-agent/logs\tWhat apps of the process driver print.\n"
                "/var/lib/skerry-agent/status.json\tThe node's state, as 'skerry-agent status' shows it.",
        .man_environment =
                "SKERRY_AGENT_SERVER, SKERRY_AGENT_TOKEN, ...\tThe options of run; the command line goes "
                "over "
                "them.\n"
                "HTTPS_PROXY, NO_PROXY\tA proxy to reach the edge through, and where not to use it.\n"
                "CONTAINERS_CONF\tHanded on to podman.",
        .man_exit_codes =
                "0\tDone, or stopped by a signal.\n1\tFailed; standard error or the journal says why.\n"
                "64\tThe command line was wrong.",
        .man_examples =
                "  skerry-agent run --server https://relay.example.org:8444 --token-file /root/join-token\n"
                "  skerry-agent import /media/usb\n"
                "  skerry-agent status -o json",
};

int main(int argc, char **argv) {
        return program_main(&program, NULL, argc, argv);
}
