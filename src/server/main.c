/* SPDX-License-Identifier: Apache-2.0 */
/* skerry-server: Git sources, compiler, rollouts, inventory, certificate authority, API. */
#include <stdio.h>

#include "server/commands.h"

int command_failed(const struct err *err) {
        fprintf(stderr, "skerry-server: %s\n", err_message(err));
        return EXIT_FAILURE;
}

int main(int argc, char **argv) {
        const struct command_spec commands[] = {
                run_command,
                init_command,
                status_command,
                admin_token_create_command,
                admin_token_list_command,
                admin_token_delete_command,
                make_delta_command,
                {0},
        };
        const struct program_spec program = {
                .name = "skerry-server",
                .summary = "run a fleet of edge machines from Git repositories",
                .details = "The centre of a fleet: follows Git repositories, compiles their commits into "
                           "revisions, brings them to the "
                           "nodes in waves, keeps the inventory, and issues certificates. 'skerry-server "
                           "init' makes one, "
                           "'skerry-server run' serves, and skerry(1) talks to it.",
                .commands = commands,
                .default_command = "run",
                .environment_prefix = "SKERRY_SERVER",
                .config_option = "config",
                .man_files = "/etc/skerry/server.yaml\tSettings of run, \"name: value\" a line.\n"
                             "/var/lib/skerry-server\tKeys, database, revisions, copies of the repositories. "
                             "Back it up as a whole "
                             "while the server is stopped.",
                .man_environment =
                        "SKERRY_SERVER_STATE, SKERRY_SERVER_API_LISTEN, ...\tThe options of run; the command "
                        "line goes over "
                        "them.\n"
                        "HTTPS_PROXY, NO_PROXY\tA proxy to reach Git hosts through, and where not to use it.",
                .man_exit_codes =
                        "0\tDone.\n1\tFailed; standard error says why.\n64\tThe command line was wrong.",
                .man_examples = "  skerry-server init --state /var/lib/skerry-server --domain "
                                "fleet.example.org --dns-name "
                                "skerry.example.org\n"
                                "  skerry-server run --state /var/lib/skerry-server --api-listen [::]:8443 "
                                "--edge-listen [::]:8444",
        };
        return program_main(&program, NULL, argc, argv);
}
