/* SPDX-License-Identifier: Apache-2.0 */
#include "server/commands.h"
#include "server/delta_process.h"

static int run(void *settings, char **arguments, size_t n_arguments) {
        (void)settings;
        (void)arguments;
        (void)n_arguments;
        return delta_process_child();
}

const struct command_spec make_delta_command = {
        .name = DELTA_PROCESS_COMMAND,
        .arguments = "",
        .summary = "Make a delta for the server that started this process",
        .run = run,
};
