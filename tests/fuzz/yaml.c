/* SPDX-License-Identifier: Apache-2.0 */
/* Fleet files from a Git host: the YAML reader. What it takes must come through JSON and our own YAML writer
 * unchanged. */
#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "codec/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
        if (!holds)
                abort();
}

static void check_positions(const struct value *v) {
        check(v->position.line > 0 && v->position.column > 0);
        if (v->type == VALUE_LIST)
                for (size_t i = 0; i < v->n_items; i++)
                        check_positions(v->items[i]);
        else if (v->type == VALUE_MAP)
                for (size_t i = 0; i < v->n_pairs; i++)
                        check_positions(v->pairs[i].value);
        else
                check(v->text != NULL);
}

static bool holds_real(const json_t *j) {
        const char *key;
        json_t *value;
        size_t i;
        if (json_is_real(j))
                return true;
        json_array_foreach ((json_t *)j, i, value) {
                if (holds_real(value))
                        return true;
        }
        json_object_foreach ((json_t *)j, key, value) {
                if (holds_real(value))
                        return true;
        }
        return false;
}

static void check_round_trip(const json_t *j) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        _cleanup_(x_freep) char *text = json_encode_yaml(j);
        struct value **documents;
        size_t n;
        check(yaml_decode(arena, "again", text, strlen(text), &documents, &n, NULL, NULL) == 0 && n == 1);
        _cleanup_json_ json_t *back = json_from_value(documents[0]);
        check(json_equal(j, back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(64u << 20);
        _cleanup_(err_freep) struct err *err = NULL;
        struct position where = {0};
        struct value **documents = NULL;
        size_t n = 0;
        int r = yaml_decode(arena, "input.yaml", (const char *)data, size, &documents, &n, &where, &err);
        int checked = yaml_check("input.yaml", (const char *)data, size, &where, NULL);
        check(r != 0 || checked == 0); /* what can be read is YAML */
        if (r < 0) {
                check(err != NULL && (r != -EINVAL || (where.line > 0 && where.column > 0)));
                return 0;
        }
        for (size_t i = 0; i < n; i++) {
                check_positions(documents[i]);
                _cleanup_json_ json_t *j = json_from_value(documents[i]);
                check(j != NULL);
                if (!holds_real(j)) /* the writer rounds those for people */
                        check_round_trip(j);
        }
        return 0;
}
