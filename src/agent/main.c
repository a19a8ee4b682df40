/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/options.h"
#include "base/str.h"
#include "version.h"

#define FIELD(name) offsetof(struct agent_settings, name)

#define OPTION_STATE                                                                                         \
        {                                                                                                    \
                "state", 0, OPTION_STRING, FIELD(state), "DIR", "/var/lib/skerry-agent",                     \
                        "folder the agent keeps its identity, objects and ledger in", NULL, false            \
        }
#define OPTION_SYSROOT                                                                                       \
        {                                                                                                    \
                "sysroot", 0, OPTION_STRING, FIELD(sysroot), "DIR", "/",                                     \
                        "folder that managed files are put beneath", NULL, false                             \
        }
#define OPTION_SERVER                                                                                        \
        {                                                                                                    \
                "server", 0, OPTION_STRING, FIELD(server), "URL[,URL...]", NULL,                             \
                        "address of the server or relay, https://HOST:PORT; further ones to fall back on",   \
                        NULL, true                                                                           \
        }
#define OPTION_NAME                                                                                          \
        {                                                                                                    \
                "name", 0, OPTION_STRING, FIELD(name), "NAME", NULL,                                         \
                        "wished node name (default: the token's, then the host name)", NULL, false           \
        }
#define OPTION_PODMAN                                                                                        \
        {"podman", 0, OPTION_STRING, FIELD(podman), "PROGRAM", "podman", "the podman program", NULL, false}, \
                {"podman-root",                                                                              \
                 0,                                                                                          \
                 OPTION_STRING,                                                                              \
                 FIELD(podman_root),                                                                         \
                 "DIR",                                                                                      \
                 NULL,                                                                                       \
                 "podman's storage (default: STATE/containers)",                                             \
                 NULL,                                                                                       \
                 false},                                                                                     \
                {"podman-runroot",                                                                           \
                 0,                                                                                          \
                 OPTION_STRING,                                                                              \
                 FIELD(podman_runroot),                                                                      \
                 "DIR",                                                                                      \
                 NULL,                                                                                       \
                 "podman's run state (default: STATE/containers-run)",                                       \
                 NULL,                                                                                       \
                 false},                                                                                     \
                {"podman-storage-driver",                                                                    \
                 0,                                                                                          \
                 OPTION_STRING,                                                                              \
                 FIELD(podman_storage_driver),                                                               \
                 "NAME",                                                                                     \
                 NULL,                                                                                       \
                 "podman's storage driver (default: podman's own)",                                          \
                 NULL,                                                                                       \
                 false},                                                                                     \
        {                                                                                                    \
                "podman-image-store", 0, OPTION_STRING, FIELD(podman_image_store), "DIR", NULL,              \
                        "a further, read-only image store, shared by agents", NULL, false                    \
        }

static const struct option_spec enrol_options[] = {
        OPTION_SERVER,
        {"token", 0, OPTION_STRING, FIELD(token), "TOKEN", NULL, "join token, made by `skerry token create`",
         NULL, true},
        OPTION_NAME,
        OPTION_STATE,
        OPTION_SYSROOT,
        OPTIONS_END,
};

static const struct option_spec run_options[] = {
        OPTION_SERVER,
        {"token", 0, OPTION_STRING, FIELD(token), "TOKEN", NULL,
         "join token, used once when there is no identity yet", NULL, false},
        OPTION_NAME,
        OPTION_STATE,
        OPTION_SYSROOT,
        {"check-interval", 0, OPTION_DURATION, FIELD(check_interval), "TIME", "60s",
         "time between full checks for drift", NULL, false},
        {"heartbeat", 0, OPTION_DURATION, FIELD(heartbeat), "TIME", "240s",
         "wished time between signs of life on the link", NULL, false},
        OPTION_PODMAN,
        {"log-level", 0, OPTION_CHOICE, FIELD(log_level), "LEVEL", "info", "how much is logged",
         "error,warning,info,debug", false},
        OPTIONS_END,
};

static const struct option_spec status_options[] = {
        OPTION_STATE,
        {"output", 'o', OPTION_CHOICE, FIELD(output), "FORMAT", "text", "text or json", "text,json", false},
        OPTIONS_END,
};

static const struct option_spec stop_options[] = {
        OPTION_STATE,
        OPTION_SYSROOT,
        OPTION_PODMAN,
        OPTIONS_END,
};

static const struct option_spec version_options[] = {OPTIONS_END};

/* Podman's storage is the agent's own unless told otherwise. */
static bool complete(struct agent_settings *s) {
        if (!s->podman_root)
                s->podman_root = str_format("%s/containers", s->state);
        if (!s->podman_runroot)
                s->podman_runroot = str_format("%s/containers-run", s->state);
        return s->podman_root && s->podman_runroot;
}

static void set_up(const struct agent_settings *s, enum log_level level) {
        if (s->log_level)
                (void)log_level_from_string(s->log_level, &level);
        log_init("skerry-agent", level);
        (void)signal(SIGPIPE, SIG_IGN);
        /* One arena and few threads: the agent lives beside the apps, on small machines. */
        (void)mallopt(M_ARENA_MAX, 1);
        (void)setenv("UV_THREADPOOL_SIZE", "2", 0);
}

static int run_enrol(void *settings, char **arguments, size_t n) {
        (void)arguments;
        (void)n;
        set_up(settings, LOG_LEVEL_WARNING);
        return agent_enrol(settings);
}

static int run_run(void *settings, char **arguments, size_t n) {
        (void)arguments;
        (void)n;
        set_up(settings, LOG_LEVEL_INFO);
        return complete(settings) ? agent_run(settings) : 1;
}

static int run_status(void *settings, char **arguments, size_t n) {
        (void)arguments;
        (void)n;
        return agent_status(settings);
}

static int run_stop_apps(void *settings, char **arguments, size_t n) {
        (void)arguments;
        (void)n;
        set_up(settings, LOG_LEVEL_WARNING);
        return complete(settings) ? agent_stop_apps(settings) : 1;
}

static int run_version(void *settings, char **arguments, size_t n) {
        (void)settings;
        (void)arguments;
        (void)n;
        (void)printf("skerry-agent %s\n", SKERRY_VERSION);
        return 0;
}

static const struct command_spec commands[] = {
        {"run", "", "bring this node to what the fleet repository says, and keep it there",
         "The agent first converges from what it has stored, then connects. Ended by SIGTERM it leaves "
         "running what it "
         "started; the next agent with the same state folder takes over.",
         run_options, sizeof(struct agent_settings), 0, 0, NULL, run_run},
        {"enrol", "", "get an identity by a join token", NULL, enrol_options, sizeof(struct agent_settings),
         0, 0, NULL, run_enrol},
        {"status", "", "show what this node runs", NULL, status_options, sizeof(struct agent_settings), 0, 0,
         NULL, run_status},
        {"stop-apps", "", "end everything the agent runs on this node",
         "The agent itself must be stopped. Managed files stay; the next `skerry-agent run` starts the apps "
         "again.",
         stop_options, sizeof(struct agent_settings), 0, 0, NULL, run_stop_apps},
        {"version", "", "print the version", NULL, version_options, sizeof(struct agent_settings), 0, 0, NULL,
         run_version},
        {NULL},
};

static const struct program_spec program = {
        .name = "skerry-agent",
        .summary = "keeps one machine at the state its fleet repository describes",
        .details = "One per node. It holds one outbound connection to a relay or server, applies signed "
                   "revisions, "
                   "watches that they stay applied, and goes back when a new one does not become healthy.",
        .commands = commands,
        .default_command = NULL,
};

int main(int argc, char **argv) {
        return program_main(&program, NULL, argc, argv);
}
