/* SPDX-License-Identifier: Apache-2.0 */
/* What the store (artifact_store.c) and its index (artifact_store_index.c) share. */
#pragma once

#include <pthread.h>

#include "agent/artifact_store.h"
#include "base/table.h"

struct entry {
        char *name; /* "<sha256> <target>" */
        char *target;
        struct artifact *artifact;
        int64_t last_use; /* Unix seconds */
};

struct artifact_store {
        char *state;
        struct artifact_budget budget;
        const struct clock *clock;
        struct table *entries; /* by name */
        char **running, **previous;
        /* Which artifacts run was lost. Then `previous` names every payload that lay here, as
         * "<sha256> " STORE_UNKNOWN, and nothing is removed until it is known again what runs. */
        bool lost;
        bool unsaved;          /* the index on the disk is not this one */
        unsigned damaged;      /* copies of the index that had to be mended when it was opened */
        struct table *claimed; /* digests; values are the store */

        pthread_mutex_t seen_lock;
        struct table *seen; /* digests -> struct seen: contents compared, any thread */
};

#define STORE_UNKNOWN "?" /* the target of a payload of which only the digest is known */

void artifact_index_free_entry(void *entry);
/* Reads the index, or begins one from what lies there. */
int artifact_index_load(struct artifact_store *s, struct err **err);
int artifact_index_save(struct artifact_store *s, struct err **err);
/* Do these names (running, previous) have the digest? guesses: those of STORE_UNKNOWN count. */
bool artifact_index_names(char *const *names, const char *sha256, bool guesses);
/* Calls fn for every name in a folder of the state. */
int artifact_store_each_name(const struct artifact_store *s, const char *folder,
                             int (*fn)(const struct artifact_store *s, const char *folder, const char *name,
                                       void *arg),
                             void *arg, struct err **err);
