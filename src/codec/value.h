/* SPDX-License-Identifier: Apache-2.0 */
/* Values that remember where they were written: what YAML files decode to.
 *
 * A value lives in the arena it was decoded into. Strings are NUL-terminated UTF-8 without NULs.
 * Scalars keep their text; `type` is what YAML 1.2 core schema makes of a plain scalar (a quoted one
 * is always a string). */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum value_type { VALUE_NULL, VALUE_BOOL, VALUE_INT, VALUE_FLOAT, VALUE_STRING, VALUE_LIST, VALUE_MAP };
const char *value_type_name(enum value_type t); /* "text", "number", "list", "map", ... for people */

struct position {
        const char *file;      /* borrowed from the arena */
        uint32_t line, column; /* from 1; columns count bytes */
};

struct value;
struct value_pair {
        const char *key;
        struct position key_position;
        struct value *value;
};
struct value {
        enum value_type type;
        struct position position;
        bool quoted; /* scalar written in quotes or as a block */
        union {
                bool boolean;
                int64_t integer;
                double number;
                struct {
                        struct value **items;
                        size_t n_items;
                };
                struct {
                        struct value_pair *pairs;
                        size_t n_pairs;
                };
        };
        const char *text; /* scalars: as written */
};

/* NULL when v is no map or has no such key. */
const struct value *value_get(const struct value *v, const char *key) _pure_;
