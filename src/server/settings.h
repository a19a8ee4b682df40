/* SPDX-License-Identifier: Apache-2.0 */
/* The state folder and what is settled in it once and for all; how one run is to behave.
 *
 * STATE/server.json   trust domain, name, names the certificate carries
 * STATE/ca/           authority.h
 * STATE/skerry.db     everything else that is remembered
 * STATE/store/        revisions and files by digest
 * STATE/git/          copies of the repositories that are followed
 * STATE/lock          held by the server that runs */
#pragma once

#include "base/clock.h"
#include "base/err.h"

struct settings {
        /* of the state folder */
        char *state;
        char *domain, *name;
        char **dns_names; /* names and addresses of the server's certificate */
        int64_t bundle_sequence;
        /* of this run */
        char *passphrase; /* NULL: the keys are plain */
        char *api_listen, *edge_listen;
        char *credentials;         /* folder of what the server may tell a source's host; absolute */
        char *repository;          /* of artifacts: a folder or a URL; NULL: none */
        char *repository_trust;    /* "server" or "release-key" */
        char **repository_mirrors; /* where nodes may fetch from, besides; NULL: nowhere */
        char *notify;              /* file that says who is told of what; NULL: nobody */
        bool require_reason;       /* acts of people must say why */
        msec_t certificate_ttl, renew_grace, heartbeat;
        int lock_fd;
};
void settings_done(struct settings *s);

/* Writes a fresh STATE/server.json. */
int settings_create(const char *state, const char *domain, const char *name, char *const *dns_names,
                    struct err **err);
/* Reads it into s->domain and so on. -ENOENT: there is no state, the error says how to make one. */
int settings_load(const char *state, struct settings *s, struct err **err);
bool settings_exist(const char *state);
/* One server a state: takes STATE/lock or says who has it. */
int settings_lock(struct settings *s, struct err **err);
/* The first line of the file; path NULL gives NULL. */
int settings_read_passphrase(const char *path, char **ret, struct err **err);
