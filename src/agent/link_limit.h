/* SPDX-License-Identifier: Apache-2.0 */
/* What this node's link may carry for artifacts (repo/transfer_limit.h): so much a second, by time of day,
 * and so much a day. What was used today is kept in <state>/transfer.json over restarts. */
#pragma once

#include "agent/download.h"
#include "repo/transfer_limit.h"

/* "500K", "1M,22:00-06:00=10M": windows are of each day, the first that fits counts; "none" is no
 * limit. K, M, G are powers of 1024, of bytes a second. -EINVAL. */
int link_limit_parse_bandwidth(const char *text, struct transfer_policy *policy, struct err **err);

struct link_limit;
/* bandwidth, daily_budget ("50M"): NULL for none. */
int link_limit_new(struct loop *l, const char *state, const char *bandwidth, const char *daily_budget,
                   bool never_full, struct link_limit **ret, struct err **err);
struct link_limit *link_limit_free(struct link_limit *l); /* keeps what was used */
DEFINE_CLEANUP(struct link_limit, link_limit_free)

/* For downloads; NULL where nothing is limited. */
const struct download_limit *link_limit_download(struct link_limit *l);
int64_t link_limit_budget_left(struct link_limit *l); /* -1: no limit */
