/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of skerry-server, one file each. */
#pragma once

#include "base/options.h"

extern const struct command_spec init_command, run_command, status_command, admin_token_create_command,
        admin_token_list_command, admin_token_delete_command, make_delta_command;

/* What the commands on a state folder share. */
#define STATE_OPTION(type)                                                                                   \
        {                                                                                                    \
                "state", 's', OPTION_STRING, offsetof(type, state), "DIR", "/var/lib/skerry-server",         \
                        "Folder that holds the server's keys and data", "dir"                                \
        }
#define PASSPHRASE_OPTION(type)                                                                              \
        {                                                                                                    \
                "passphrase-file", 0, OPTION_STRING, offsetof(type, passphrase_file), "FILE", NULL,          \
                        "File whose first line protects the keys of the certificate authority", "file"       \
        }

/* Prints the error to standard error as "skerry-server: ..."; returns EXIT_FAILURE. */
int command_failed(const struct err *err);
