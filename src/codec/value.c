/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/value.h"

#include <string.h>

const char *value_type_name(enum value_type t) {
        static const char *const names[] = {
                [VALUE_NULL] = "nothing", [VALUE_BOOL] = "true or false",
                [VALUE_INT] = "number",   [VALUE_FLOAT] = "decimal number",
                [VALUE_STRING] = "text",  [VALUE_LIST] = "list",
                [VALUE_MAP] = "map",
        };
        return (size_t)t < ARRAY_SIZE(names) ? names[t] : "value of unknown type";
}

const struct value *value_get(const struct value *v, const char *key) {
        if (!v || v->type != VALUE_MAP)
                return NULL;
        for (size_t i = 0; i < v->n_pairs; i++)
                if (strcmp(v->pairs[i].key, key) == 0)
                        return v->pairs[i].value;
        return NULL;
}
