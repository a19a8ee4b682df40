/* SPDX-License-Identifier: Apache-2.0 */
/* skerry node revoke | label | delete, and relay revoke | delete. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/labels_argument.h"
#include "cli/reason.h"
#include "codec/json.h"

struct revoke_settings {
        struct cli_globals globals;
        char *reason;
};
static const struct option_spec revoke_options[] = {
        REASON_OPTION(struct revoke_settings),
        OPTIONS_END,
};

static int shut_out(const struct revoke_settings *s, const char *kind, const char *title, char **names,
                    size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *body = json_object();
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        const struct kind *k = kind_find(kind, NULL);
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                if (reason_kind_call(api, k, "POST", names[i], "/revoke", body, &why, NULL, &err) < 0)
                        return cli_fail(err);
                printf("%s %s is revoked: its connection is closed and its certificate is not taken any "
                       "more.\n",
                       title, names[i]);
        }
        return EXIT_SUCCESS;
}

static int run_revoke(void *settings, char **arguments, size_t n) {
        return shut_out(settings, "node", "Node", arguments, n);
}
static int run_revoke_relay(void *settings, char **arguments, size_t n) {
        return shut_out(settings, "relay", "Relay", arguments, n);
}

const struct command_spec relay_revoke_command = {
        "relay revoke",
        "NAME...",
        "Shut relays out for good",
        "As 'node revoke', for a relay. Its nodes connect again once they know of another way in.",
        revoke_options,
        sizeof(struct revoke_settings),
        1,
        SIZE_MAX,
        "relays",
        run_revoke_relay,
};

const struct command_spec node_revoke_command = {
        "node revoke",
        "NAME...",
        "Shut nodes out for good",
        "Live connections end within seconds, and the node's certificate is not accepted again, here or at "
        "relays. What"
        " runs on the node goes on running. The machine can come back only with a new join token.",
        revoke_options,
        sizeof(struct revoke_settings),
        1,
        SIZE_MAX,
        "nodes",
        run_revoke,
};

struct label_settings {
        struct cli_globals globals;
        char *reason;
};
static const struct option_spec label_options[] = {REASON_OPTION(struct label_settings), OPTIONS_END};

static int run_label(void *settings, char **arguments, size_t n) {
        const struct label_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf labels = BUF_INIT;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        _cleanup_json_ json_t *set = json_object(), *gone = json_array(), *body = NULL, *node = NULL;
        for (size_t i = 1; i < n; i++)
                if (labels_argument_parse(arguments[i], set, gone, &err) < 0)
                        return cli_usage("node label", "%s", err_message(err));
        body = json_pack("{s:O, s:O}", "set", set, "remove", gone);
        if (!body)
                return EXIT_FAILURE;
        if (api_open(&s->globals, &api, &err) < 0 ||
            reason_kind_call(api, kind_find("node", NULL), "PATCH", arguments[0], "/labels", body, &why,
                             &node, &err) < 0)
                return cli_fail(err);
        buf_printf(&labels, "Node %s: ", arguments[0]);
        put_labels(&labels, field(node, "metadata.labels"));
        buf_putc(&labels, '\n');
        return print_buf(&labels);
}

const struct command_spec node_label_command = {
        "node label",
        "NAME KEY=VALUE... KEY-...",
        "Set and remove labels of a node",
        "KEY=VALUE sets a label, KEY- removes one that was set here. Labels in the node's own document in "
        "the fleet"
        " repository win over these, and these over those of its join token.",
        label_options,
        sizeof(struct label_settings),
        2,
        SIZE_MAX,
        "nodes -",
        run_label,
};

static int forget(const struct label_settings *s, const char *kind, const char *title, char **names,
                  size_t n) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        const struct kind *k = kind_find(kind, NULL);
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                if (reason_kind_call(api, k, "DELETE", names[i], "", NULL, &why, NULL, &err) < 0)
                        return cli_fail(err);
                printf("%s %s is forgotten.\n", title, names[i]);
        }
        return EXIT_SUCCESS;
}

static int run_delete(void *settings, char **arguments, size_t n) {
        return forget(settings, "node", "Node", arguments, n);
}
static int run_delete_relay(void *settings, char **arguments, size_t n) {
        return forget(settings, "relay", "Relay", arguments, n);
}

const struct command_spec relay_delete_command = {
        "relay delete",
        "NAME...",
        "Forget relays that are revoked or long gone",
        NULL,
        label_options,
        sizeof(struct label_settings),
        1,
        SIZE_MAX,
        "relays",
        run_delete_relay,
};

const struct command_spec node_delete_command = {
        "node delete",
        "NAME...",
        "Forget nodes that are revoked or long gone",
        NULL,
        label_options,
        sizeof(struct label_settings),
        1,
        SIZE_MAX,
        "nodes",
        run_delete,
};
