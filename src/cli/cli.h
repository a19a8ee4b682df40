/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of `skerry` shares: the global options, the exit codes, how failure is told.
 *
 * A command is one file that defines one `const struct command_spec` below; main.c lists them. The settings
 * struct of a command begins with a `struct cli_globals`. */
#pragma once

#include "base/err.h"
#include "base/options.h"

/* Exit codes beside 0, EXIT_FAILURE and EXIT_USAGE; the man page explains them. */
#define EXIT_CHANGES 2      /* plan: there are changes */
#define EXIT_UNREACHABLE 69 /* EX_UNAVAILABLE: no answer from the server, or not from the server we trust */
#define EXIT_FORBIDDEN 77   /* EX_NOPERM: the server does not accept our token, or not for this */

struct cli_globals {
        char *context; /* --context, $SKERRY_CONTEXT; NULL: the current one */
        char *config;  /* --config, $SKERRY_CONFIG; NULL: the usual place */
};

/* Prints "skerry: MESSAGE" and returns the exit code that fits. */
int cli_fail(const struct err *err);
/* As cli_fail(), for a mistake in the arguments of a command: EXIT_USAGE. */
int cli_usage(const char *command, const char *format, ...) _printf_(2, 3);

extern const struct command_spec artifact_delta_command, artifact_diff_command, artifact_list_command,
        artifact_prune_command, artifact_push_command, artifact_show_command, artifact_yank_command;
extern const struct command_spec secret_add_command, secret_check_command, secret_edit_command,
        secret_encrypt_command, secret_recipients_command, secret_remove_command, secret_rotate_command;
extern const struct command_spec audit_head_command, audit_list_command, audit_verify_command,
        node_import_command, node_replace_command;
extern const struct command_spec diff_command, history_command, rollback_command;
extern const struct command_spec artifact_pack_command, complete_command, context_add_command,
        context_list_command, context_remove_command, context_use_command, delta_apply_command,
        delta_chunks_command, delta_make_command, delta_show_command, describe_command, events_command,
        get_command, init_command, node_delete_command, node_label_command, node_revoke_command,
        notify_command, plan_command, release_command, relay_delete_command, relay_revoke_command,
        rollout_abort_command, rollout_approve_command, rollout_promote_command, rollout_emergency_command,
        rollout_list_command, rollout_pause_command, rollout_resume_command, rollout_retry_command,
        rollout_status_command, source_add_command, source_list_command, source_notify_command,
        source_remove_command, status_command, token_create_command, token_delete_command, token_list_command,
        validate_command, version_command;
extern const struct command_spec repo_add_command, repo_delegate_command, repo_export_command,
        repo_init_command, repo_key_command, repo_prepare_command, repo_publish_command, repo_remove_command,
        repo_root_command, repo_rotate_command, repo_serve_command, repo_sign_command, repo_status_command,
        repo_submit_command, repo_verify_command;
