/* SPDX-License-Identifier: Apache-2.0 */
/* Selectors as people and API callers write them. What is read must come back from its text and its JSON. */
#include <string.h>

#include "fleet/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct pair items[] = {{"role", "shop"}, {"site", "kiel"}};
        const struct pairs labels = {items, 2};
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        _cleanup_(err_freep) struct err *err = NULL;
        const char *text = arena_strndup(arena, (const char *)data, size);
        struct selector s, from_text, from_json;
        if (selector_parse(arena, text, &s, &err) < 0) {
                check(err != NULL);
                return 0;
        }
        _cleanup_(buf_done) struct buf first = BUF_INIT, second = BUF_INIT;
        selector_format(&s, &first);
        if (first.len > SELECTOR_TEXT_MAX) /* "a!=b" is written "a notin (b)", so it may grow */
                return 0;
        check(selector_parse(arena, buf_str(&first), &from_text, NULL) == 0);
        selector_format(&from_text, &second);
        check(strcmp(buf_str(&first), buf_str(&second)) == 0);
        json_t *j = selector_to_json(&s);
        check(j && selector_from_json(arena, j, &from_json, NULL) == 0);
        json_decref(j);
        bool matches = selector_matches(&s, &labels);
        check(matches == selector_matches(&from_text, &labels) &&
              matches == selector_matches(&from_json, &labels));
        check(!matches || !selector_disjoint(&s, &s));
        (void)selector_guarantees(&s, "site");
        return 0;
}
