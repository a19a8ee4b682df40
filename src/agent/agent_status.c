/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "agent/agent.h"
#include "agent/status.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"

int agent_status(const struct agent_settings *s) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *path = path_join(s->state, "status.json"), *data = NULL;
        _cleanup_json_ json_t *status = NULL;
        size_t len;
        int r = path ? file_read(path, (size_t)4 << 20, &data, &len, &err) : -ENOMEM;
        if (r == -ENOENT) {
                (void)fprintf(stderr, "skerry-agent: no agent has run with the state folder %s yet\n",
                              s->state);
                return 1;
        }
        if (r < 0) {
                (void)fprintf(stderr, "skerry-agent: %s\n", err_message(err));
                return 1;
        }
        if (str_eq(s->output, "json")) {
                (void)fputs(data, stdout);
                return 0;
        }
        if (json_decode(data, len, &status, &err) < 0) {
                (void)fprintf(stderr, "skerry-agent: %s\n", err_message(err));
                return 1;
        }
        return status_print(status, stdout) < 0 ? 1 : 0;
}
