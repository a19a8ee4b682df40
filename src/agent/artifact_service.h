/* SPDX-License-Identifier: Apache-2.0 */
/* Artifacts on this node, put together from the settings: store, sources, image role, limits. */
#pragma once

#include "agent/bundle.h"
#include "agent/delivery.h"
#include "agent/settings.h"

struct artifact_service;
int artifact_service_new(struct loop *l, const struct agent_settings *s, const struct repository_edge *edge,
                         struct artifact_service **ret, struct err **err);
struct artifact_service *artifact_service_free(struct artifact_service *s);
DEFINE_CLEANUP(struct artifact_service, artifact_service_free)

struct artifact_store *artifact_service_store(struct artifact_service *s);
struct repository *artifact_service_repository(struct artifact_service *s);
/* What is wrong with what is kept here, for people; "" for nothing. */
void artifact_service_problem(const struct artifact_service *s, char *out, size_t size);
/* Root, trust and mirrors that the bundle gives. */
void artifact_service_take_bundle(struct artifact_service *s, const struct bundle *b);
/* Fills what concerns artifacts. */
void artifact_service_fill(struct artifact_service *s, struct delivery_host *host);
/* Lets go of connections that are only used now and then; nothing may be being fetched. */
void artifact_service_rest(struct artifact_service *s);
/* Before the loop is freed: ends all that lives on it. Freeing comes after it, since workers use the store.
 */
void artifact_service_stop(struct artifact_service *s);
