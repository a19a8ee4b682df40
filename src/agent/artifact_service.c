/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/artifact_service.h"

#include <errno.h>
#include <stdio.h>

#include "agent/link_limit.h"
#include "base/fs.h"
#include "base/str.h"
#include "repo/tuf/client.h"

struct artifact_service {
        struct loop *loop;
        struct artifact_store *store;
        struct repository_sources *sources;
        struct repository *repository;
        struct link_limit *limit;
        bool never_full;
};

static int open_repository(struct artifact_service *s, const struct agent_settings *settings,
                           struct err **err) {
        _cleanup_(x_freep) char *root = NULL;
        size_t len = 0;
        int r;
        if (settings->repository_root &&
            (r = file_read(settings->repository_root, TUF_ROOT_MAX, &root, &len, err)) < 0)
                return err_wrap_code(err, r, "--repository-root");
        struct repository_options options = {.state = settings->state,
                                             .root = root,
                                             .root_len = len,
                                             .trust = settings->trust,
                                             .platform = platform_here(),
                                             .sources = s->sources,
                                             .artifacts = s->store,
                                             .clock = loop_clock(s->loop),
                                             .limit = link_limit_download(s->limit)};
        return repository_new(&options, &s->repository, err);
}

int artifact_service_new(struct loop *l, const struct agent_settings *settings,
                         const struct repository_edge *edge, struct artifact_service **ret,
                         struct err **err) {
        _cleanup_(artifact_service_freep) struct artifact_service *s = calloc(1, sizeof(*s));
        const char *text = settings->artifact_budget ? settings->artifact_budget : ARTIFACT_BUDGET_DEFAULT;
        struct artifact_budget budget;
        int r;
        if (!s)
                return err_set_errno(err, ENOMEM, "artifacts");
        s->loop = l;
        s->never_full = settings->never_full;
        if ((r = artifact_budget_parse(text, &budget, err)) < 0)
                return err_wrap_code(err, r, "--artifact-budget");
        if ((r = artifact_store_open(settings->state, &budget, loop_clock(l), &s->store, err)) < 0)
                return r;
        if ((r = repository_sources_new(l, edge, settings->mirrors, &s->sources, err)) < 0)
                return err_wrap_code(err, r, "--mirror");
        if ((r = link_limit_new(l, settings->state, settings->bandwidth, settings->daily_budget,
                                settings->never_full, &s->limit, err)) < 0)
                return r;
        if ((r = open_repository(s, settings, err)) < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct artifact_service *artifact_service_free(struct artifact_service *s) {
        if (!s)
                return NULL;
        repository_free(s->repository);
        repository_sources_free(s->sources);
        artifact_store_free(s->store);
        link_limit_free(s->limit);
        free(s);
        return NULL;
}

struct artifact_store *artifact_service_store(struct artifact_service *s) {
        return s->store;
}

struct repository *artifact_service_repository(struct artifact_service *s) {
        return s->repository;
}

void artifact_service_problem(const struct artifact_service *s, char *out, size_t size) {
        const char *trust = repository_problem(s->repository), *store = artifact_store_problem(s->store);
        (void)snprintf(out, size, "%s%s%s", trust ? trust : "", trust && store ? "; " : "",
                       store ? store : "");
}

void artifact_service_take_bundle(struct artifact_service *s, const struct bundle *b) {
        repository_take_bundle(s->repository, json_object_get(b->document, "repository"));
}

static int64_t budget_left(void *arg) {
        return link_limit_budget_left(arg);
}

void artifact_service_fill(struct artifact_service *s, struct delivery_host *host) {
        host->artifacts = s->store;
        host->repository = s->repository;
        host->artifact = (struct artifact_fetch_host){.loop = s->loop,
                                                      .sources = s->sources,
                                                      .artifacts = s->store,
                                                      .never_full = s->never_full,
                                                      .limit = link_limit_download(s->limit),
                                                      .budget_left = budget_left,
                                                      .budget_arg = s->limit};
}

void artifact_service_rest(struct artifact_service *s) {
        repository_sources_rest(s->sources);
}

void artifact_service_stop(struct artifact_service *s) {
        if (!s)
                return;
        repository_cancel(s->repository);
        repository_sources_rest(s->sources);
}
