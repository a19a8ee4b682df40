/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line sets (main.c has the table). */
#pragma once

#include "base/clock.h"

struct agent_settings {
        char *state, *sysroot;
        char *server, *token, *token_file, *name;
        msec_t check_interval, heartbeat;
        char *podman, *podman_root, *podman_runroot, *podman_storage_driver, *podman_image_store;
        char *repository_root, *trust, **mirrors;
        char *artifact_budget, *bandwidth, *daily_budget;
        bool never_full;
        char *secrets_folder;
        char *output; /* status: text or json */
        char *log_level;
};
