/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets as an App names them. */
#include <string.h>

#include "base/fs.h"
#include "base/str.h"
#include "fleet/app_secret.h"
#include "fleet/kinds.h"

static void check_secret(struct schema_decoder *d, const struct value *v, void *object) {
        struct secret_document *s = object;
        size_t n = 0;
        const char *hash = s->secret.text ? strchr(s->secret.text, '#') : NULL;

        n += s->environment.text != NULL;
        n += s->credential.text != NULL;
        n += s->path.text != NULL;
        if (n != 1)
                schema_error(d, &v->position, "give exactly one of environment, credential and path",
                             n == 0 ? "a secret that nothing gets" : "a secret in more than one place");
        if (s->secret.text && (!hash || hash == s->secret.text || !hash[1]))
                schema_error(d, &s->secret.where,
                             "write the file and the value in it, as in shop.enc.yaml#db/password",
                             "field \"secret\": \"%.200s\" names no value of a file", s->secret.text);
        if (s->environment.text && !app_variable_name_is_valid(s->environment.text))
                schema_error(d, &s->environment.where, "use letters, digits and underscores",
                             "field \"environment\": \"%.100s\" is not the name of a variable",
                             s->environment.text);
        if (s->credential.text && !app_credential_name_is_valid(s->credential.text))
                schema_error(d, &s->credential.where, "use letters, digits and ._-",
                             "field \"credential\": \"%.100s\" is not a name", s->credential.text);
        if (s->path.text && !app_path_is_safe(s->path.text, false))
                schema_error(
                        d, &s->path.where, "write it from the root, as /etc/shop/key",
                        "field \"path\": \"%.200s\" is not an absolute path without \".\", \"..\" and \"//\"",
                        s->path.text);
        for (size_t i = 0; !s->path.text && i < 3; i++) {
                static const char *const names[] = {"mode", "owner", "group"};
                const struct value *field = value_get(v, names[i]);
                if (field)
                        schema_error(d, &field->position, "leave it out: only the app's user can read it",
                                     "field \"%s\" is for secrets with a \"path\"", names[i]);
        }
}

const struct schema secret_schema = {
        .name = "secret",
        .documentation = "A value of a SOPS file, decrypted on the node alone; exactly one of `environment`, "
                         "`credential`, `path`.",
        .size = sizeof(struct secret_document),
        .where_offset = offsetof(struct secret_document, where),
        .check = check_secret,
        .fields =
                (const struct schema_field[]){
                        {.name = "secret",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct secret_document, secret),
                         .required = true,
                         .documentation = "The encrypted file, relative to this one, and the value in it: "
                                          "`shop.enc.yaml#db/password`."},
                        {.name = "environment",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct secret_document, environment),
                         .documentation = "A variable of the process's environment; process only."},
                        {.name = "credential",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct secret_document, credential),
                         .documentation =
                                 "A file of this name in the folder $CREDENTIALS_DIRECTORY, which only the "
                                 "app's user can read; process only."},
                        {.name = "path",
                         .type = SCHEMA_LOCATED,
                         .offset = offsetof(struct secret_document, path),
                         .expands = true,
                         .documentation =
                                 "Where it shows on the node, as a symbolic link to a file in memory."},
                        {.name = "mode",
                         .type = SCHEMA_MODE,
                         .offset = offsetof(struct secret_document, mode),
                         .fallback = "0400",
                         .documentation = "Permissions; with `path`."},
                        {.name = "owner",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct secret_document, owner),
                         .documentation = "User name or quoted number; with `path`."},
                        {.name = "group",
                         .type = SCHEMA_WORD,
                         .offset = offsetof(struct secret_document, group),
                         .documentation = "Group name or quoted number; with `path`."},
                        {NULL},
                },
};
