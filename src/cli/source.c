/* SPDX-License-Identifier: Apache-2.0 */
/* skerry source add | list | remove | notify, and skerry notify. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/terminal.h"
#include "cli/reason.h"
#include "cli/style.h"
#include "codec/json.h"

/* ---- add */

struct add_settings {
        struct cli_globals globals;
        char *url, *branch, *path;
        char *ssh_key, *known_hosts, *ca, *username, *password, *webhook_secret, *reason;
        char *tags, *tag_prefix, *signatures, *allowed_signers, *keyring;
        char *status_host, *status_url, *status_token;
        int64_t poll, fetch_limit;
};

static const struct option_spec add_options[] = {
        {"url", 'u', OPTION_STRING, offsetof(struct add_settings, url), "URL", NULL,
         "The repository: https://..., ssh://user@host/..., user@host:path or a folder on the server",
         .required = true},
        {"branch", 'b', OPTION_STRING, offsetof(struct add_settings, branch), "NAME", NULL,
         "The branch to follow (default: main, unless --tags is given)"},
        {"tags", 't', OPTION_STRING, offsetof(struct add_settings, tags), "RANGE", NULL,
         "Follow the newest tag whose version is in this range instead of a branch, as '>=1.2 <2'; "
         "pre-releases count "
         "only when it names one ('>=1.2.0-0')"},
        {"tag-prefix", 0, OPTION_STRING, offsetof(struct add_settings, tag_prefix), "TEXT", NULL,
         "What stands before the version in the names of those tags, as 'fleet-'"},
        {"path", 'p', OPTION_STRING, offsetof(struct add_settings, path), "FOLDER", NULL,
         "Where in the repository the fleet files are (default: everywhere)"},
        {"poll", 0, OPTION_DURATION, offsetof(struct add_settings, poll), "DURATION", "60s",
         "How often to look when nobody notifies"},
        {"ssh-key-file", 0, OPTION_STRING, offsetof(struct add_settings, ssh_key), "FILE", NULL,
         "Private key for ssh"},
        {"known-hosts-file", 0, OPTION_STRING, offsetof(struct add_settings, known_hosts), "FILE", NULL,
         "Host keys that are trusted for ssh, as in known_hosts"},
        {"ca-file", 0, OPTION_STRING, offsetof(struct add_settings, ca), "FILE", NULL,
         "Certificates that are trusted for https (default: the system's)"},
        {"username-file", 0, OPTION_STRING, offsetof(struct add_settings, username), "FILE", NULL,
         "File with the user name for https"},
        {"password-file", 0, OPTION_STRING, offsetof(struct add_settings, password), "FILE", NULL,
         "File with the password or access token for https"},
        {"webhook-secret-file", 0, OPTION_STRING, offsetof(struct add_settings, webhook_secret), "FILE", NULL,
         "File with the secret that signs webhooks of GitHub, GitLab or Gitea"},
        {"fetch-limit", 0, OPTION_INT, offsetof(struct add_settings, fetch_limit), "MEGABYTES", "512",
         "The most that one fetch may bring"},
        {"signatures", 0, OPTION_CHOICE, offsetof(struct add_settings, signatures), "POLICY", "off",
         "Must the commit (or the tag) be signed? What is not is refused", "off,required"},
        {"allowed-signers-file", 0, OPTION_STRING, offsetof(struct add_settings, allowed_signers), "FILE",
         NULL, "Whose SSH signatures count (format: ssh-keygen(1), ALLOWED SIGNERS)"},
        {"keyring-file", 0, OPTION_STRING, offsetof(struct add_settings, keyring), "FILE", NULL,
         "Whose OpenPGP signatures count (made by gpg --export)"},
        {"status-host", 0, OPTION_CHOICE, offsetof(struct add_settings, status_host), "KIND", NULL,
         "Post what becomes of each commit to its host, which is one of these", "github,gitlab,gitea"},
        {"status-url", 0, OPTION_STRING, offsetof(struct add_settings, status_url), "URL", NULL,
         "The project's address in that host's API (default: from --url)"},
        {"status-token-file", 0, OPTION_STRING, offsetof(struct add_settings, status_token), "FILE", NULL,
         "File with an access token that may write commit statuses"},
        REASON_OPTION(struct add_settings),
        OPTIONS_END,
};

/* All these files are read by the server, so a name relative to here would mean nothing there. */
static int put_file(json_t *body, const char *key, const char *path, struct err **err) {
        if (!path)
                return 0;
        _cleanup_(x_freep) char *absolute = NULL, *here = NULL;
        if (*path == '/') {
                absolute = str_dup(path);
        } else {
                here = getcwd(NULL, 0);
                absolute = here ? path_join(here, path) : NULL;
        }
        if (!absolute || json_object_set_new(body, key, json_string(absolute)) < 0)
                return err_set(err, EINVAL, "the file name '%s' is not text", path);
        return 0;
}

static int make_body(const struct add_settings *s, const char *name, json_t *body, struct err **err) {
        const struct {
                const char *key, *path;
        } files[] = {
                {"sshKeyFile", s->ssh_key},
                {"knownHostsFile", s->known_hosts},
                {"caFile", s->ca},
                {"usernameFile", s->username},
                {"passwordFile", s->password},
                {"webhookSecretFile", s->webhook_secret},
                {"allowedSignersFile", s->allowed_signers},
                {"keyringFile", s->keyring},
                {"statusTokenFile", s->status_token},
        };
        const char *branch = s->branch || s->tags ? s->branch : "main";
        /* A folder of this machine, given as one types it. */
        bool local = !strstr(s->url, "://") && access(s->url, F_OK) == 0;
        int r = local ? put_file(body, "url", s->url, err) : 0;
        if (r < 0)
                return r;
        if ((!local && json_object_set_new(body, "url", json_string(s->url)) < 0) ||
            json_object_set_new(body, "name", json_string(name)) < 0 ||
            (branch && json_object_set_new(body, "branch", json_string(branch)) < 0) ||
            (s->tags && json_object_set_new(body, "tags", json_string(s->tags)) < 0) ||
            (s->tag_prefix && json_object_set_new(body, "tagPrefix", json_string(s->tag_prefix)) < 0) ||
            (!str_eq(s->signatures, "off") &&
             json_object_set_new(body, "signatures", json_string(s->signatures)) < 0) ||
            (s->status_host && json_object_set_new(body, "statusHost", json_string(s->status_host)) < 0) ||
            (s->status_url && json_object_set_new(body, "statusUrl", json_string(s->status_url)) < 0) ||
            json_object_set_new(body, "fetchLimitMegabytes", json_integer(s->fetch_limit)) < 0 ||
            json_object_set_new(body, "pollSeconds", json_integer((s->poll + 999) / 1000)) < 0 ||
            (s->path && json_object_set_new(body, "path", json_string(s->path)) < 0))
                return err_set(err, EINVAL, "source %s: an option is not text", name);
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                r = put_file(body, files[i].key, files[i].path, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run_add(void *settings, char **arguments, size_t n) {
        const struct add_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *body = json_object(), *answer = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        if (!name_is_dns_label(arguments[0]))
                return cli_usage("source add",
                                 "'%s' is not a name: lower case letters, digits and '-' inside, at most 63",
                                 arguments[0]);
        if (make_body(s, arguments[0], body, &err) < 0)
                return cli_usage("source add", "%s", err_message(err));
        if (api_open(&s->globals, &api, &err) < 0 ||
            reason_call(api, "POST", "/sources", body, &why, &answer, &err) < 0)
                return cli_fail(err);
        printf("Source %s added; 'skerry get sources' shows how it is doing.\n", arguments[0]);
        return EXIT_SUCCESS;
}

const struct command_spec source_add_command = {
        "source add",
        "NAME",
        "Follow a Git repository",
        "The files named by options are read by the server, each time they are needed, so that secrets can "
        "be renewed"
        " in place; they must be there on the server's machine.",
        add_options,
        sizeof(struct add_settings),
        1,
        1,
        "-",
        run_add,
};

/* ---- list, remove */

struct list_settings {
        struct cli_globals globals;
        char *output;
};
static const struct option_spec list_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        return list_kind(&s->globals, "sources", "", s->output);
}

const struct command_spec source_list_command = {
        "source list",
        "",
        "List the repositories that are followed",
        NULL,
        list_options,
        sizeof(struct list_settings),
        0,
        0,
        NULL,
        run_list,
};

struct remove_settings {
        struct cli_globals globals;
        char *reason;
};
static const struct option_spec remove_options[] = {REASON_OPTION(struct remove_settings), OPTIONS_END};

static int run_remove(void *settings, char **arguments, size_t n) {
        const struct remove_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        _cleanup_json_ json_t *o = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_puts(&path, "/sources/");
        url_put(&path, arguments[0]);
        if (api_open(&s->globals, &api, &err) < 0 ||
            kind_get(api, kind_find("source", NULL), arguments[0], &o, &err) < 0 ||
            reason_call(api, "DELETE", buf_str(&path), NULL, &why, NULL, &err) < 0)
                return cli_fail(err);
        printf("Source %s is not followed any more.\n", arguments[0]);
        return EXIT_SUCCESS;
}

const struct command_spec source_remove_command = {
        "source remove",
        "NAME",
        "Stop following a repository",
        NULL,
        remove_options,
        sizeof(struct remove_settings),
        1,
        1,
        "sources",
        run_remove,
};

/* ---- notify */

struct notify_settings {
        struct cli_globals globals;
        bool wait;
};
static const struct option_spec notify_options[] = {
        {"wait", 'w', OPTION_BOOL, offsetof(struct notify_settings, wait), NULL, NULL,
         "Wait until it is fetched and compiled; fail, and say why, when it does not compile"},
        OPTIONS_END,
};

/* Tells how a source stands after a fetch. False: not well. */
static bool tell_source(const json_t *source) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct kind *k = kind_find("source", NULL);
        char commit[SHORT_COMMIT + 1];
        bool healthy = field_bool(source, "status.healthy");
        const char *at = field_text(source, "status.commit");
        if (healthy) {
                buf_puts(&out, "Source ");
                text_put_safe(&out, object_name(source));
                buf_printf(&out, " is at %s: ", *at ? shorten(at, SHORT_COMMIT, commit) : "no commit");
                text_put_safe(&out, field_text(source, "status.commitSubject"));
                buf_putc(&out, '\n');
                (void)print_buf(&out);
                return true;
        }
        fprintf(stderr, "skerry: source %s is not well; its last good commit %s stays in force\n",
                object_name(source),
                *field_text(source, "status.compiledCommit")
                        ? shorten(field_text(source, "status.compiledCommit"), SHORT_COMMIT, commit)
                        : "(none yet)");
        const struct columns_look look = {.width = isatty(STDERR_FILENO) == 1 ? terminal_width(STDERR_FILENO)
                                                                              : 0,
                                          .colour = terminal_has_colour(STDERR_FILENO)};
        k->notes(&out, source, &look);
        fputs(buf_str(&out), stderr);
        return false;
}

static int notify_one(struct api *api, const char *name, bool wait, bool *ret_well, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        _cleanup_json_ json_t *body = json_pack("{s:b}", "wait", wait), *answer = NULL, *source = NULL;
        const struct kind *k = kind_find("source", NULL);
        buf_puts(&path, "/sources/");
        url_put(&path, name);
        buf_puts(&path, "/notify");
        int r = wait ? api_call_slow(api, "POST", buf_str(&path), body, &answer, &why)
                     : api_call(api, "POST", buf_str(&path), body, &answer, &why);
        /* The words for an unknown name, with the nearest one. */
        if (r == -ENOENT && (r = kind_get(api, k, name, &source, err)) < 0)
                return r;
        if (r < 0)
                return err_move(err, TAKE_PTR(why));
        if (!wait)
                return 0;
        if (!field(answer, "status") && kind_get(api, k, name, &source, err) < 0)
                return err_code(err ? *err : NULL);
        if (!tell_source(source ? source : answer))
                *ret_well = false;
        return 0;
}

static int run_notify(void *settings, char **arguments, size_t n) {
        const struct notify_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(strv_freep) char **names = NULL;
        bool well = true;
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++)
                if (strv_push(&names, arguments[i]) < 0)
                        return EXIT_FAILURE;
        if (n == 0) {
                _cleanup_json_ json_t *list = NULL;
                size_t i;
                json_t *o;
                if (kind_list(api, kind_find("source", NULL), "", &list, &err) < 0)
                        return cli_fail(err);
                json_array_foreach ((json_t *)field(list, "items"), i, o)
                        if (strv_push(&names, object_name(o)) < 0)
                                return EXIT_FAILURE;
                if (!names) {
                        (void)err_set(&err, ENOENT,
                                      "no repository is followed yet; 'skerry source add' adds one");
                        return cli_fail(err);
                }
        }
        for (char **name = names; name && *name; name++)
                if (notify_one(api, *name, s->wait, &well, &err) < 0)
                        return cli_fail(err);
        return well ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define NOTIFY_DETAILS                                                                                       \
        "For a post-receive hook, or for the impatient. Without a name every source is fetched. Returns at " \
        "once,"                                                                                              \
        " unless --wait is given."

const struct command_spec source_notify_command = {
        "source notify",
        "[NAME...]",
        "Have repositories fetched now",
        NOTIFY_DETAILS,
        notify_options,
        sizeof(struct notify_settings),
        0,
        SIZE_MAX,
        "sources",
        run_notify,
};

const struct command_spec notify_command = {
        "notify",
        "[SOURCE...]",
        "Have repositories fetched now (as 'source notify')",
        NOTIFY_DETAILS,
        notify_options,
        sizeof(struct notify_settings),
        0,
        SIZE_MAX,
        "sources",
        run_notify,
};
