/* SPDX-License-Identifier: Apache-2.0 */
/* Objects written out for people, whole: what `skerry describe` prints. Each appends to out. */
#pragma once

#include "cli/print.h"

void describe_node(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_fleet(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_app(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_rollout(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_source(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_revision(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_relay(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);
void describe_token(struct buf *out, const json_t *o, msec_t now, const struct columns_look *look);

/* A list of diagnostics, a line each (more where the terminal is narrow), "file:line:column: error: message
 * (suggestion)". */
void describe_diagnostics(struct buf *out, const json_t *list, const char *indent,
                          const struct columns_look *look);
/* What an event says, and about what, from column `at` of a line to its end. */
void describe_event(struct buf *out, const json_t *event, size_t at, const struct columns_look *look);
/* The style of an event's type. */
enum style style_of_event(const char *type);
