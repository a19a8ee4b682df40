/* SPDX-License-Identifier: Apache-2.0 */
/* Commit statuses: what became of a commit, said where people look at it. The request's shapes follow
 * GitHub's "Create a commit status" (REST API, 2022-11-28), GitLab's "Set the pipeline status of a commit"
 * (API v4) and Gitea's "repoCreateStatus" (API v1). Pure. */
#pragma once

#include "base/err.h"

enum status_host { STATUS_GITHUB, STATUS_GITLAB, STATUS_GITEA };
int status_host_from_name(const char *name, enum status_host *ret); /* -EINVAL */

enum status_state { STATUS_PENDING, STATUS_SUCCESS, STATUS_FAILURE };
const char *status_state_name(enum status_state s); /* "pending", for ourselves */

struct git_status {
        const char *commit, *context;
        enum status_state state;
        const char *description;
        const char *target_url; /* NULL: none */
};

/* The project's address in the host's API: as given, or made from the repository's (https, ssh,
 * user@host:path). Malloc'ed. -EINVAL: a local repository says nothing of it. */
int git_status_base(enum status_host host, const char *repository, const char *given, char **ret,
                    struct err **err);

struct git_status_request { /* a POST */
        char *url, *body;
        char **headers; /* "Name: value" */
};
void git_status_request_done(struct git_status_request *r);
int git_status_request(enum status_host host, const char *base, const char *token, const struct git_status *s,
                       struct git_status_request *ret, struct err **err);

enum status_answer {
        STATUS_TAKEN, /* or known there already */
        STATUS_LATER, /* try again: the host or the way to it is not well, or does not let us (yet) */
        STATUS_NEVER, /* the host does not take this one */
};
enum status_answer git_status_judge(enum status_host host, int http_status, const char *body);
