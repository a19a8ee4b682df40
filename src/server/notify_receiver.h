/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told of what: the file that skerry-server run --notify names, and what each kind of receiver is
 * sent. Pure.
 *
 *   receivers:
 *     - name: ops
 *       type: webhook            # webhook, slack (and what takes the same: Mattermost, Rocket.Chat),
 * alertmanager url: https://...         # alertmanager: its base address events: [RolloutFailed]  # default:
 * all of notify_kinds template: '{"text": ${message}}'   # webhook: see notify_body() tokenFile: /etc/... #
 * sent as Authorization: Bearer; read each time caFile: /etc/...         # default: the system's certificates
 *   nodeLostAfter: 5m            # a node that is away for longer is lost
 */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"

#define RECEIVERS_MAX 32
#define TEMPLATE_MAX 4096

enum receiver_type { RECEIVER_WEBHOOK, RECEIVER_SLACK, RECEIVER_ALERTMANAGER };

struct receiver {
        char *name, *url, *template, *token_file, *ca_file;
        char **events; /* NULL: all */
        enum receiver_type type;
};
struct receivers {
        struct receiver *items;
        size_t n;
        msec_t node_lost_after;
};
void receivers_done(struct receivers *r);
/* -EINVAL with the receiver and the field. */
int receivers_parse(const char *file, const char *text, size_t len, struct receivers *ret, struct err **err);

/* Events that people are told of, and how bad they are: "critical", "warning", "info"; NULL: not told of. */
const char *notify_severity(const char *type);
/* Does the receiver want events of the type? */
bool receiver_wants(const struct receiver *r, const char *type);

/* event: {"type", "message", "time", "severity", "node"?, "fleet"?, "rollout"?, "source"?, "actor"?}. In a
 * template
 * ${message} and the like become JSON texts, quotes included, or null; $${ is a ${. Malloc'ed. */
char *notify_body(const struct receiver *r, const json_t *event) _must_use_;
/* Where it is posted; malloc'ed. */
char *notify_url(const struct receiver *r) _must_use_;
