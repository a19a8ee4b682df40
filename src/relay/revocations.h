/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that the server had dropped, remembered on disk (STATE/revoked.json), so that a relay that was
 * restarted while its server is away still refuses them. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

struct revocations;

/* A damaged file is an error: to forget revocations in silence would let stolen nodes in. */
int revocations_open(const char *path, struct revocations **ret, struct err **err);
struct revocations *revocations_free(struct revocations *r);
DEFINE_CLEANUP(struct revocations, revocations_free)

bool revocations_have(const struct revocations *r, const char *node);
size_t revocations_len(const struct revocations *r);
/* Takes effect in memory even when the disk refuses it. */
int revocations_add(struct revocations *r, const char *node, msec_t now, struct err **err);
/* The server speaks of the node as a member again. */
int revocations_remove(struct revocations *r, const char *node, struct err **err);

/* Single certificates: the name behind them goes on with another one. Past REVOKED_SERIALS_MAX the oldest are
 * forgotten; certificates live for days, not for ever. */
#define REVOKED_SERIALS_MAX 10000
bool revocations_have_serial(const struct revocations *r, const char *serial);
int revocations_add_serial(struct revocations *r, const char *serial, msec_t now, struct err **err);
