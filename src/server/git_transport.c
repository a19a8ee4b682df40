/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_transport.h"

#include <git2/errors.h>

#include "base/str.h"
#include "server/git_http.h"
#include "server/git_ssh.h"

bool git_access_count(const struct git_access *a, size_t n) {
        if (!a->received)
                return true;
        *a->received += n;
        if (a->limit == 0 || *a->received <= a->limit)
                return true;
        _cleanup_(x_freep) char *text = str_format(
                "the host sends more than the %llu MB that one fetch may bring: keep large files out of the "
                "repository (publish them as artifacts), or set fetchLimitMegabytes higher",
                (unsigned long long)(a->limit >> 20));
        git_error_set_str(GIT_ERROR_NET, text ? text : "the host sends too much");
        return false;
}

int git_transport_make(git_transport **out, git_remote *owner, void *payload) {
        struct git_access *access = payload;
        bool http = str_has_prefix(access->url, "http://") || str_has_prefix(access->url, "https://");
        git_smart_subtransport_definition definition = {
                .callback = http ? git_http_subtransport : git_ssh_subtransport,
                .rpc = http,
                .param = access,
        };
        return git_transport_smart(out, owner, &definition);
}
