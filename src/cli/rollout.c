/* SPDX-License-Identifier: Apache-2.0 */
/* skerry rollout list | pause | resume | abort | retry. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/reason.h"
#include "cli/rollout_find.h"
#include "cli/rollout_view.h"
#include "codec/json.h"

struct list_settings {
        struct cli_globals globals;
        char *fleet, *output;
        bool active;
};
static const struct option_spec list_options[] = {
        {"fleet", 'f', OPTION_STRING, offsetof(struct list_settings, fleet), "FLEET", NULL,
         "Only those of this fleet", "@fleets"},
        {"active", 'a', OPTION_BOOL, offsetof(struct list_settings, active), NULL, NULL,
         "Only those that are under way"},
        {"output", 'o', OPTION_CHOICE, offsetof(struct list_settings, output), "FORMAT", "table",
         "How to print", OUTPUT_CHOICES},
        OPTIONS_END,
};

static int run_list(void *settings, char **arguments, size_t n) {
        const struct list_settings *s = settings;
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        if (s->fleet) {
                buf_puts(&query, "fleet=");
                url_put(&query, s->fleet);
        }
        if (s->active)
                buf_printf(&query, "%sactive=true", query.len ? "&" : "");
        return list_kind(&s->globals, "rollouts", buf_str(&query), s->output);
}

const struct command_spec rollout_list_command = {
        "rollout list", "",       "List rollouts", NULL, list_options, sizeof(struct list_settings), 0, 0,
        NULL,           run_list,
};

struct act_settings {
        struct cli_globals globals;
        char *reason, *wave;
        bool no_rollback;
};

static const struct option_spec act_options[] = {
        REASON_OPTION(struct act_settings),
        OPTIONS_END,
};
static const struct option_spec wave_options[] = {
        {"wave", 'w', OPTION_STRING, offsetof(struct act_settings, wave), "NAME", NULL,
         "The wave that is meant; refused when the rollout is at another one"},
        REASON_OPTION(struct act_settings),
        OPTIONS_END,
};
static const struct option_spec abort_options[] = {
        REASON_OPTION(struct act_settings),
        {"no-rollback", 0, OPTION_BOOL, offsetof(struct act_settings, no_rollback), NULL, NULL,
         "Leave nodes that took the new revision with it, instead of giving them the old one back"},
        OPTIONS_END,
};

/* What the rollout says of it now: who else must agree. */
static void tell_rest(const json_t *rollout) {
        _cleanup_(x_freep) char *next = rollout_next_step(rollout);
        if (next)
                puts(next);
}

static int act(const struct act_settings *s, const char *target, const char *verb, const json_t *rollback,
               const char *done) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(api_freep) struct api *api = NULL;
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        _cleanup_json_ json_t *rollout = NULL, *answer = NULL;
        _cleanup_json_ json_t *body = json_pack("{s:O*, s:s*}", "rollback", rollback, "wave", s->wave);
        _cleanup_(reason_done) struct reason why = {.given = s->reason};
        if (api_open(&s->globals, &api, &err) < 0 || rollout_find(api, target, &rollout, NULL, &err) < 0)
                return cli_fail(err);
        buf_puts(&path, "/rollouts/");
        url_put(&path, object_name(rollout));
        buf_printf(&path, "/%s", verb);
        if (reason_call(api, "POST", buf_str(&path), body, &why, &answer, &err) < 0) {
                (void)err_wrap(&err, "rollout %s of fleet %s", object_name(rollout),
                               field_text(rollout, "spec.fleet"));
                return cli_fail(err);
        }
        printf("Rollout %s of fleet %s %s.\n", object_name(rollout), field_text(rollout, "spec.fleet"), done);
        tell_rest(answer);
        return EXIT_SUCCESS;
}

static int run_pause(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "pause", NULL,
                   "is paused: nodes that have begun go on, no others begin");
}
static int run_resume(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "resume", NULL, "goes on");
}
static int run_retry(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "retry", NULL,
                   "is tried again on the nodes that failed");
}
static int run_approve(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "approve", NULL, "has your approval");
}
static int run_promote(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "promote", NULL,
                   "has your word that its current wave has passed");
}
static int run_emergency(void *settings, char **arguments, size_t n) {
        return act(settings, n ? arguments[0] : NULL, "emergency", NULL,
                   "has your word that it is an emergency");
}
static int run_abort(void *settings, char **arguments, size_t n) {
        const struct act_settings *s = settings;
        json_t *rollback = json_boolean(!s->no_rollback);
        int code = act(s, n ? arguments[0] : NULL, "abort", rollback,
                       s->no_rollback ? "is aborted" : "is aborted, and its nodes go back");
        json_decref(rollback);
        return code;
}

#define WHICH "Without a name the one active rollout is meant; with a fleet's name, its newest."

const struct command_spec rollout_pause_command = {
        "rollout pause",
        "[ROLLOUT|FLEET]",
        "Hold a rollout where it is",
        WHICH,
        act_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_pause,
};
const struct command_spec rollout_resume_command = {
        "rollout resume",
        "[ROLLOUT|FLEET]",
        "Let a paused rollout go on",
        WHICH,
        act_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_resume,
};
const struct command_spec rollout_retry_command = {
        "rollout retry",
        "[ROLLOUT|FLEET]",
        "Try the nodes that failed again",
        WHICH " A rollout that failed or was rolled back is taken up again.",
        act_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_retry,
};
const struct command_spec rollout_abort_command = {
        "rollout abort",
        "[ROLLOUT|FLEET]",
        "End a rollout and go back",
        WHICH,
        abort_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_abort,
};
const struct command_spec rollout_approve_command = {
        "rollout approve",
        "[ROLLOUT|FLEET]",
        "Let a wave begin that waits for people",
        WHICH
        " Who may, and how many must, is said by the wave's approval in the fleet's files; 'skerry rollout "
        "status' shows who is missing. Nobody can approve the same wave twice.",
        wave_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_approve,
};
const struct command_spec rollout_promote_command = {
        "rollout promote",
        "[ROLLOUT|FLEET]",
        "Let the current wave count as passed",
        WHICH
        " The rest of its soak, its threshold and its sample are not waited for, once a second person has "
        "said so too. Failures still count.",
        wave_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_promote,
};
const struct command_spec rollout_emergency_command = {
        "rollout emergency",
        "[ROLLOUT|FLEET]",
        "Let no wave soak from here on",
        WHICH
        " Takes two people: it begins to count when a second one has said so, too. Failures still count, "
        "and waves still wait for their approvals.",
        act_options,
        sizeof(struct act_settings),
        0,
        1,
        "rollouts",
        run_emergency,
};
