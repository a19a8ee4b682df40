/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of an app on the machine: files in memory, either credentials in a folder of the app's user or
 * shown by symbolic links at their `path`; and variables for what is started. The links are the files
 * driver's to remove, since the ledger lists them among the app's files. */
#pragma once

#include "agent/driver/driver.h"
#include "base/secret.h"

/* A part beside the app's own driver, for a unit with such secrets, or to remove what an earlier one left. */
extern const struct driver secrets_driver;
bool secrets_are_given(const struct driver_host *host, const struct unit *unit, const char *app);

/* "NAME=value" after "NAME=value", each ended by a NUL, n of them, in memory that a child inherits; NULL in
 * *ret when there are none. */
int secrets_variables(const struct driver_host *host, const struct app_spec *spec, struct secret **ret,
                      size_t *ret_n, struct err **err);
/* The folder of the app's credentials; NULL in *ret when it has none. malloc'ed. */
int secrets_credentials(const struct driver_host *host, const struct app_spec *spec, char **ret,
                        struct err **err);
