/* SPDX-License-Identifier: Apache-2.0 */
/* skerry node revoke | label | delete. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/labels_argument.h"
#include "codec/json.h"

/* Calls /nodes/NAME followed by rest; a name that there is none of is told with the nearest one. */
static int call_node(struct api *api, const char *method, const char *name, const char *rest,
                     const json_t *body, json_t **ret, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_puts(&path, "/nodes/");
        url_put(&path, name);
        buf_puts(&path, rest);
        int r = api_call(api, method, buf_str(&path), body, ret, &why);
        if (r == -ENOENT) {
                _cleanup_json_ json_t *o = NULL;
                int found = kind_get(api, kind_find("node", NULL), name, &o, err);
                if (found < 0)
                        return found;
        }
        return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
}

struct revoke_settings {
        struct cli_globals globals;
        char *reason;
};
static const struct option_spec revoke_options[] = {
        {"reason", 'r', OPTION_STRING, offsetof(struct revoke_settings, reason), "TEXT", NULL,
         "Why; it is kept with the node's events"},
        OPTIONS_END,
};

static int run_revoke(void *settings, char **arguments, size_t n) {
        const struct revoke_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *body = json_pack("{s:s*}", "reason", s->reason);
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                if (call_node(api, "POST", arguments[i], "/revoke", body, NULL, &err) < 0)
                        return cli_fail(err);
                printf("Node %s is revoked: its connection is closed and its certificate is not taken any "
                       "more.\n",
                       arguments[i]);
        }
        return EXIT_SUCCESS;
}

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
};
static const struct option_spec no_options[] = {OPTIONS_END};

static int run_label(void *settings, char **arguments, size_t n) {
        const struct label_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf labels = BUF_INIT;
        _cleanup_json_ json_t *set = json_object(), *gone = json_array(), *body = NULL, *node = NULL;
        for (size_t i = 1; i < n; i++)
                if (labels_argument_parse(arguments[i], set, gone, &err) < 0)
                        return cli_usage("node label", "%s", err_message(err));
        body = json_pack("{s:O, s:O}", "set", set, "remove", gone);
        if (!body)
                return EXIT_FAILURE;
        if (api_open(&s->globals, &api, &err) < 0 ||
            call_node(api, "PATCH", arguments[0], "/labels", body, &node, &err) < 0)
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
        no_options,
        sizeof(struct label_settings),
        2,
        SIZE_MAX,
        "nodes -",
        run_label,
};

static int run_delete(void *settings, char **arguments, size_t n) {
        const struct label_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        if (api_open(&s->globals, &api, &err) < 0)
                return cli_fail(err);
        for (size_t i = 0; i < n; i++) {
                if (call_node(api, "DELETE", arguments[i], "", NULL, NULL, &err) < 0)
                        return cli_fail(err);
                printf("Node %s is forgotten.\n", arguments[i]);
        }
        return EXIT_SUCCESS;
}

const struct command_spec node_delete_command = {
        "node delete",
        "NAME...",
        "Forget nodes that are revoked or long gone",
        NULL,
        no_options,
        sizeof(struct label_settings),
        1,
        SIZE_MAX,
        "nodes",
        run_delete,
};
