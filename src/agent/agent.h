/* SPDX-License-Identifier: Apache-2.0 */
/* The agent put together: state folder, identity, link, reconciler. Each function is one of the program's
 * commands and returns its exit code; they say what is wrong by the log or on standard error. */
#pragma once

#include "agent/settings.h"

/* Gets an identity and ends. */
int agent_enrol(const struct agent_settings *s);
/* Runs until SIGTERM or SIGINT; what it started goes on running. */
int agent_run(const struct agent_settings *s);
/* Ends everything that an agent with this state folder runs; files stay. */
int agent_stop_apps(const struct agent_settings *s);
/* Takes artifacts, and an assignment, from a folder (agent/import.h): through the agent that runs, or itself.
 */
int agent_import(const struct agent_settings *s, const char *folder);
/* Prints <state>/status.json. */
int agent_status(const struct agent_settings *s);
