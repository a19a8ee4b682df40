/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the server's sources is this folder a clone of? Answered by the URLs of its Git remotes. */
#pragma once

#include <jansson.h>

#include "base/err.h"

/* URLs of the remotes of the clone that dir lies in, as its .git/config gives them; *ret NULL (and 0) where
 * dir lies in none. Only `url` lines of [remote] sections are read: nothing is included, nothing rewritten.
 */
int git_remote_urls(const char *dir, char ***ret, struct err **err);

/* Do two URLs lead to the same repository? https://host/a/b.git, ssh://git@host/a/b and git@host:a/b.git do;
 * so do /srv/b and file:///srv/b.git. Ports and logins are not looked at. */
bool git_same_repository(const char *a, const char *b);

/* The name of the source that `skerry plan` compares with, out of the API's list of them: `wanted` when it is
 * given, else the only one there is, else the only one that dir is a clone of. *ret is borrowed from the
 * list; NULL where the server follows no repository. -ENOENT: no source has the wanted name; -EINVAL: which
 * one is not clear. */
int git_choose_source(const json_t *sources, const char *wanted, const char *dir, const char **ret,
                      struct err **err);
