/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that change something, with the reason why: it goes into the server's audit log. Where the server
 * insists on one and none was given, a person at a terminal is asked, once a command. */
#pragma once

#include "cli/kinds.h"

struct reason {
        const char *given; /* --reason; NULL: none */
        char *asked;
};
void reason_done(struct reason *w);

#define REASON_OPTION(type)                                                                                  \
        {                                                                                                    \
                "reason", 'r', OPTION_STRING, offsetof(type, reason), "TEXT", NULL,                          \
                        "Why; the audit log keeps it, and others see it"                                     \
        }

/* As api_call(). With a body the reason is its member "reason", else a part of the query. */
int reason_call(struct api *a, const char *method, const char *path, const json_t *body, struct reason *w,
                json_t **ret, struct err **err);
/* As kind_call(). */
int reason_kind_call(struct api *a, const struct kind *k, const char *method, const char *name,
                     const char *rest, const json_t *body, struct reason *w, json_t **ret, struct err **err);
