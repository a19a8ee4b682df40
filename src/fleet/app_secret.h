/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of an app: values of SOPS files (fleet/sops.h), which only the node that runs the app decrypts. A
 * revision names the file by its digest, as cipher text, and the value by its pointer. */
#pragma once

#include <jansson.h>

#include "base/err.h"
#include "fleet/app.h"

/* Strict, as app_spec_from_json(). */
int app_secrets_from_json(struct arena *arena, const json_t *list, struct app_spec *a, struct err **err);
json_t *app_secret_to_json(const struct app_secret *s) _must_use_; /* NULL when memory is out */
int app_secrets_check(const struct app_spec *a, bool expanded, struct err **err);

/* May an environment variable, or the file of a credential, have this name? */
bool app_variable_name_is_valid(const char *s);
bool app_credential_name_is_valid(const char *s);
/* "environment DB", "credential tls.key", "file /etc/x": for messages. */
const char *app_secret_label(const struct app_secret *s, char *out, size_t size);
