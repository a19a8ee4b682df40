/* SPDX-License-Identifier: Apache-2.0 */
/* Out of memory in the control plane: stop.
 *
 * Everything the server has acknowledged is in the database, and it starts from there in well under a
 * second; a change that was applied by half in memory is what could not be mended. So the modules of this
 * folder take memory with must(), which ends the process when there is none, and its supervisor starts
 * it again. Requests are bounded where they come in, so a peer cannot bring this about. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/str.h"

static inline void *must(void *p) {
        if (!p) {
                fputs("skerry-server: out of memory, stopping: what was acknowledged is stored\n", stderr);
                abort();
        }
        return p;
}
static inline void must_do(int r) {
        if (r < 0)
                must(NULL);
}

static inline void *new0(size_t size) {
        return must(calloc(1, size));
}
#define NEW(type) ((type *)new0(sizeof(type)))

static inline char *copy_text(const char *s) { /* NULL stays NULL */
        return s ? must(str_dup(s)) : NULL;
}
static inline void replace_text(char **dst, const char *src) {
        must_do(str_replace(dst, src));
}

/* JSON makers that cannot fail; text NULL gives null. */
static inline json_t *json_text(const char *s) {
        return must(s ? json_string(s) : json_null());
}
static inline json_t *json_number(int64_t n) {
        return must(json_integer(n));
}
static inline json_t *json_object_new(void) {
        return must(json_object());
}
static inline json_t *json_array_new(void) {
        return must(json_array());
}
static inline void json_put(json_t *o, const char *key, json_t *value) { /* takes value */
        must_do(json_object_set_new(o, key, value));
}
static inline void json_add(json_t *a, json_t *value) { /* takes value */
        must_do(json_array_append_new(a, value));
}
