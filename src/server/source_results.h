/* SPDX-License-Identifier: Apache-2.0 */
/* What stands of a source's newest commit, as its Git host is to show it: the source as a whole in the
 * context "skerry/SOURCE", and each fleet in "skerry/SOURCE/FLEET". */
#pragma once

#include <jansson.h>

#include "server/control.h"

struct source_result {
        const char *source, *commit; /* commit NULL: none was fetched yet */
        const char *failure;         /* why it is not in force: error, refusal, first diagnostic; NULL */
        bool is_compiled;            /* it is in force */
};
/* {context: {"commit","state","description","target"}}, at most STATUS_CONTEXTS_MAX; takes what does not fit
 * out from the end. */
json_t *source_results(const struct control *c, const struct source_result *r) _must_use_;
