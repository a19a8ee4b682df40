/* SPDX-License-Identifier: Apache-2.0 */
#include "server/git_transport.h"

#include "base/str.h"
#include "server/git_http.h"
#include "server/git_ssh.h"

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
