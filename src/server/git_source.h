/* SPDX-License-Identifier: Apache-2.0 */
/* A Git repository that is followed: fetching one branch, or the newest of some tags, into a bare repository
 * of ours, and a commit's files as a tree for the compiler. Blocks; for worker threads, one at a time for
 * each folder. */
#pragma once

#include <stdatomic.h>

#include "base/clock.h"
#include "fleet/compile.h"

/* Once per process, before any thread uses the rest. */
void git_source_init(void);
void git_source_done(void);

struct git_fetch {
        const char *folder; /* the bare repository; made where missing */
        const char *url;    /* path, file://, http(s)://, ssh://, user@host:path */
        const char *branch; /* NULL: the host's default */
        const char *tags;   /* range of versions, source_version.h: the newest tag in it; NULL: the branch */
        const char *tag_prefix; /* before the version in a tag's name, or NULL */
        uint64_t limit;         /* most bytes that may come over; 0: any number */
        const char *ca_file, *ssh_key_file, *known_hosts_file;
        const char *username_file, *password_file;
        const char *path;     /* sub-folder, NULL: all */
        const char *previous; /* commit fetched before, or NULL */
        const atomic_bool *cancelled;
};
struct git_fetched {
        char id[65];
        char tree[65];   /* of the sub-folder */
        char *branch;    /* NULL where a tag is followed */
        char *tag;       /* its name; NULL where a branch is followed */
        char object[65]; /* what the ref names: the commit, or an annotated tag */
        char *subject, *author;
        msec_t time;
        bool rewritten; /* the previous commit is no ancestor of this one */
};
void git_fetched_done(struct git_fetched *c);

/* Only the branch's or the tag's objects come over. The error says what is wrong and with what: host, branch,
 * login. */
int git_source_fetch(const struct git_fetch *f, struct git_fetched *ret, struct err **err);

/* The files of a commit's sub-folder; at most FLEET_FILES_MAX. Submodules and symlinks are left out. */
int git_source_tree_open(const char *folder, const char *tree_id, struct fleet_tree **ret, struct err **err);
struct fleet_tree *git_source_tree_close(struct fleet_tree *t);
DEFINE_CLEANUP(struct fleet_tree, git_source_tree_close)
