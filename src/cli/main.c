/* SPDX-License-Identifier: Apache-2.0 */
/* skerry, the command line. The commands are in the files beside this one, one each. */
#include <signal.h>

#include "cli/cli.h"

static const struct option_spec global_options[] = {
        {"context", 'c', OPTION_STRING, offsetof(struct cli_globals, context), "NAME", NULL,
         "The server to talk to, out of the context file", "@contexts"},
        {"config", 0, OPTION_STRING, offsetof(struct cli_globals, config), "FILE", NULL, "The context file"},
        OPTIONS_END,
};

/* In the order of --help and the man page. */
static const struct command_spec *const commands[] = {
        &status_command,
        &get_command,
        &describe_command,
        &events_command,
        &rollout_status_command,
        &rollout_list_command,
        &rollout_pause_command,
        &rollout_resume_command,
        &rollout_retry_command,
        &rollout_abort_command,
        &rollout_approve_command,
        &rollout_promote_command,
        &rollout_emergency_command,
        &init_command,
        &validate_command,
        &plan_command,
        &diff_command,
        &history_command,
        &rollback_command,
        &release_command,
        &source_add_command,
        &source_list_command,
        &source_notify_command,
        &source_remove_command,
        &notify_command,
        &token_create_command,
        &token_list_command,
        &token_delete_command,
        &node_label_command,
        &node_revoke_command,
        &node_delete_command,
        &relay_revoke_command,
        &relay_delete_command,
        &node_import_command,
        &node_replace_command,
        &secret_recipients_command,
        &secret_add_command,
        &secret_remove_command,
        &secret_rotate_command,
        &secret_encrypt_command,
        &secret_edit_command,
        &secret_check_command,
        &audit_list_command,
        &audit_verify_command,
        &audit_head_command,
        &repo_init_command,
        &repo_key_command,
        &repo_add_command,
        &repo_remove_command,
        &repo_delegate_command,
        &repo_rotate_command,
        &repo_sign_command,
        &repo_prepare_command,
        &repo_submit_command,
        &repo_publish_command,
        &repo_status_command,
        &repo_verify_command,
        &repo_root_command,
        &repo_serve_command,
        &repo_export_command,
        &artifact_push_command,
        &artifact_list_command,
        &artifact_show_command,
        &artifact_diff_command,
        &artifact_yank_command,
        &artifact_delta_command,
        &artifact_prune_command,
        &artifact_pack_command,
        &delta_make_command,
        &delta_apply_command,
        &delta_show_command,
        &delta_chunks_command,
        &context_add_command,
        &context_list_command,
        &context_use_command,
        &context_remove_command,
        &version_command,
        &complete_command,
};

int main(int argc, char **argv) {
        struct command_spec table[ARRAY_SIZE(commands) + 1] = {0};
        struct cli_globals globals = {0};
        for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
                table[i] = *commands[i];
        const struct program_spec program = {
                .name = "skerry",
                .summary = "run a fleet of edge machines from a Git repository",
                .details = "One commit goes in; every node converges to it, in waves, or goes back. This is "
                           "the command line to a"
                           " Skerry server: it shows the fleet, its rollouts and its nodes, and checks and "
                           "plans changes to the"
                           " fleet's repository.\n"
                           "\n"
                           "Servers are known by contexts. 'skerry context add NAME --server URL "
                           "--token-file FILE' makes one"
                           " known.",
                .global_options = global_options,
                .commands = table,
                .environment_prefix = "SKERRY",
                .global_size = sizeof(struct cli_globals),
                .man_environment = "SKERRY_SERVER\tThe server's address; goes over the context's.\n"
                                   "SKERRY_TOKEN\tThe token; goes over the context's. With SKERRY_SERVER no "
                                   "context is needed.\n"
                                   "NO_COLOR\tWhen not empty: no colours.\n"
                                   "HTTPS_PROXY, NO_PROXY\tA proxy to reach the server through, and where "
                                   "not to use it.",
                .man_files = "$XDG_CONFIG_HOME/skerry/config.yaml, ~/.config/skerry/config.yaml\tThe "
                             "contexts: addresses and"
                             " tokens. Readable by its owner only.",
                .man_exit_codes =
                        "0\tDone. For plan: no changes. For rollout status --watch: the rollout succeeded.\n"
                        "1\tFailed. For validate: there are errors. For rollout status: the rollout failed, "
                        "was rolled"
                        " back, aborted or superseded.\n"
                        "2\tplan: there are changes.\n"
                        "64\tThe command line is wrong.\n"
                        "69\tThe server cannot be reached, is not available, or is not the one that is "
                        "trusted.\n"
                        "77\tThe server does not accept the token, or not for this.\n"
                        "130, 143\tInterrupted while watching.",
                .man_examples = "Make a server known:\n"
                                "\n"
                                "  skerry context add home --server https://fleet.example.org:8443 "
                                "--token-file admin.token\n"
                                "\n"
                                "Begin a fleet repository, check it and have it followed:\n"
                                "\n"
                                "  skerry init fleet\n"
                                "  skerry validate fleet\n"
                                "  skerry source add fleet --url https://git.example.org/fleet.git\n"
                                "\n"
                                "Let ten machines in the same site join:\n"
                                "\n"
                                "  skerry token create --uses 10 --ttl 1d --labels fleet=edge,site=kiel\n"
                                "\n"
                                "Push a change and watch it go out:\n"
                                "\n"
                                "  skerry plan --server; git push; skerry rollout status edge --watch\n"
                                "\n"
                                "Names of the nodes of a site that are not healthy:\n"
                                "\n"
                                "  skerry get nodes -l site=kiel -o json | jq -r '.items[] | "
                                "select(.status.observed.state !="
                                " \"Healthy\").metadata.name'",
        };
        /* A reader that has gone is seen where we write, and is no reason to die. */
        (void)signal(SIGPIPE, SIG_IGN);
        return program_main(&program, &globals, argc, argv);
}
