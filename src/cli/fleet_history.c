/* SPDX-License-Identifier: Apache-2.0 */
/* skerry history FLEET and skerry rollback FLEET. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cli/kinds.h"
#include "cli/print.h"
#include "cli/reason.h"
#include "codec/json.h"

/* ---- history */

struct history_settings {
        struct cli_globals globals;
        char *output;
};
static const struct option_spec history_options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct history_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

/* What a fleet is held at, on standard error, so that it is seen beside every form of output. */
static void tell_pin(const json_t *fleet) {
        const json_t *pin = field(fleet, "status.pinned");
        char revision[SHORT_DIGEST + 1], git[SHORT_DIGEST + 1];
        if (!pin)
                return;
        fprintf(stderr,
                "skerry: fleet %s is pinned to revision %s by %s%s%s; Git wants %s. 'skerry rollback %s "
                "--clear' follows "
                "Git again.\n",
                object_name(fleet),
                shorten(field_text(fleet, "status.desiredRevision"), SHORT_DIGEST, revision),
                field_text(pin, "by"), *field_text(pin, "reason") ? ": " : "", field_text(pin, "reason"),
                shorten(field_text(pin, "gitRevision"), SHORT_DIGEST, git), object_name(fleet));
}

static int run_history(void *settings, char **arguments, size_t n) {
        const struct history_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *fleet = NULL;
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        if (api_open(&s->globals, &api, &err) < 0 ||
            kind_get(api, kind_find("fleet", NULL), arguments[0], &fleet, &err) < 0)
                return cli_fail(err);
        tell_pin(fleet);
        buf_puts(&query, "fleet=");
        url_put(&query, arguments[0]);
        return list_kind(&s->globals, "rollouts", buf_str(&query), s->output);
}

const struct command_spec history_command = {
        "history",
        "FLEET",
        "Show what a fleet ran: its rollouts, the newest first",
        "Each line is a rollout with the commit and the revision that it brought (-o wide shows the "
        "revision). The server "
        "keeps the last 20 of each fleet; 'skerry rollback' goes back to any of them.",
        history_options,
        sizeof(struct history_settings),
        1,
        1,
        "fleets",
        run_history,
};

/* ---- rollback */

struct rollback_settings {
        struct cli_globals globals;
        char *to, *reason, *output;
        bool clear;
};
static const struct option_spec rollback_options[] = {
        {"to", 't', OPTION_STRING, offsetof(struct rollback_settings, to), "REVISION", NULL,
         "What to go back to: the first 7 or more digits of a revision of 'skerry history', or of its "
         "commit"},
        {"clear", 0, OPTION_BOOL, offsetof(struct rollback_settings, clear), NULL, NULL,
         "Follow Git again: roll out what it wants by now"},
        REASON_OPTION(struct rollback_settings),
        {"output", 'o', OPTION_CHOICE, offsetof(struct rollback_settings, output), "FORMAT", "table",
         "How to print", "table,json,yaml"},
        OPTIONS_END,
};

static int tell_rollback(const json_t *fleet, const struct rollback_settings *s) {
        char revision[SHORT_DIGEST + 1];
        enum output output = output_from_text(s->output);
        if (output == OUTPUT_JSON || output == OUTPUT_YAML)
                return print_json(fleet, output);
        (void)shorten(field_text(fleet, "status.desiredRevision"), SHORT_DIGEST, revision);
        if (s->clear)
                printf("Fleet %s follows Git again, to revision %s.\n", object_name(fleet), revision);
        else
                printf("Fleet %s goes back to revision %s in the waves of its policy, and stays there "
                       "whatever is pushed, "
                       "until 'skerry rollback %s --clear'. Revert the commit in Git before that.\n",
                       object_name(fleet), revision, object_name(fleet));
        if (*field_text(fleet, "status.waitsFor"))
                printf("It waits: %s\n", field_text(fleet, "status.waitsFor"));
        return EXIT_SUCCESS;
}

static int run_rollback(void *settings, char **arguments, size_t n) {
        const struct rollback_settings *s = settings;
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_json_ json_t *fleet = NULL, *answer = NULL;
        _cleanup_json_ json_t *body = s->clear ? NULL : json_pack("{s:s?}", "to", s->to);
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        if (!s->to == !s->clear)
                return cli_usage("rollback", "say either --to REVISION or --clear");
        if (!s->clear && !body)
                return cli_usage("rollback", "--to: this is no text");
        buf_puts(&path, "/fleets/");
        url_put(&path, arguments[0]);
        buf_puts(&path, "/rollback");
        if (api_open(&s->globals, &api, &err) < 0 ||
            kind_get(api, kind_find("fleet", NULL), arguments[0], &fleet, &err) < 0 ||
            reason_call(api, s->clear ? "DELETE" : "POST", buf_str(&path), body, &why, &answer, &err) < 0)
                return cli_fail(err);
        return tell_rollback(answer, s);
}

const struct command_spec rollback_command = {
        "rollback",
        "FLEET",
        "Bring a fleet back to an earlier revision, in spite of Git",
        "The fleet is pinned to a revision that it had: that is rolled out in waves as any other, and what "
        "is pushed "
        "meanwhile is compiled, but not rolled out. 'skerry get fleets' shows the pin until it is cleared. "
        "The lasting way "
        "back is to revert the commit in Git; after that clear the pin.",
        rollback_options,
        sizeof(struct rollback_settings),
        1,
        1,
        "fleets",
        run_rollback,
};
