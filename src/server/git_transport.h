/* SPDX-License-Identifier: Apache-2.0 */
/* How bytes reach a Git host: subtransports for libgit2's smart protocol.
 *
 * libgit2's own have no timeouts and one certificate store for the whole process, so that a host that
 * stalls would hold its worker for ever and one source's CA would be trusted for all. Here http and https go
 * through libcurl (proxy from the environment, CA file of the source) and ssh through OpenSSH's client, which
 * checks the host key against the known hosts as people know it. Local paths stay libgit2's.
 *
 * Everything blocks and belongs on a worker thread. */
#pragma once

#include <git2.h>
#include <git2/sys/transport.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GIT_CONNECT_SECONDS 15
#define GIT_STALL_SECONDS 60 /* without a byte */

struct git_access { /* borrowed strings; NULL where a source does not set them */
        const char *url;
        const char *username, *password;
        const char *ca_file;
        const char *ssh_key_file, *known_hosts_file;
        uint64_t *received, limit;    /* bytes so far, and the most; limit 0: any number */
        const atomic_bool *cancelled; /* checked several times a second; NULL: never */
};

/* Counts n bytes; false, with libgit2's error set, when the host sends more than is let. */
bool git_access_count(const struct git_access *a, size_t n);

/* A git_transport_cb for git_remote_callbacks; payload is a struct git_access that outlives the remote. */
int git_transport_make(git_transport **out, git_remote *owner, void *payload);

/* "user@host:path" and "ssh://user@host:port/path" taken apart; malloc'ed parts, user and port may be NULL.
 * false: neither, or parts that ssh could take for options. */
bool git_ssh_url_parse(const char *url, char **ret_user, char **ret_host, char **ret_port, char **ret_path);
