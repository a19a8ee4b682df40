/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pairs_pack.h"

#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "server/memory.h"

struct pairs *pairs_pack(const struct pairs *p) {
        size_t n = p ? p->n : 0, size = sizeof(struct pairs) + n * sizeof(struct pair);
        for (size_t i = 0; i < n; i++)
                size += strlen(p->items[i].key) + strlen(p->items[i].value) + 2;
        struct pairs *packed = new0(size);
        packed->items = (struct pair *)(void *)(packed + 1);
        packed->n = n;
        char *at = (char *)(packed->items + n);
        for (size_t i = 0; i < n; i++) {
                packed->items[i].key = at;
                at = stpcpy(at, p->items[i].key) + 1;
                packed->items[i].value = at;
                at = stpcpy(at, p->items[i].value) + 1;
        }
        return packed;
}

struct pairs *pairs_pack_merged(const struct pairs *a, const struct pairs *b, const struct pairs *c) {
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        struct pairs merged = {NULL, 0}, next;
        const struct pairs *const sets[] = {a, b, c};
        for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
                if (!sets[i] || sets[i]->n == 0)
                        continue;
                must_do(pairs_merge(arena, &merged, sets[i], &next));
                merged = next;
        }
        return pairs_pack(&merged);
}

json_t *pairs_json(const struct pairs *p) {
        return p ? must(pairs_to_json(p)) : json_object_new();
}

char *pairs_text(const struct pairs *p) {
        if (!p || p->n == 0)
                return NULL;
        json_t *j = pairs_json(p);
        char *text = must(json_encode_compact(j));
        json_decref(j);
        return text;
}

struct pairs *pairs_from_text(const char *text) {
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        struct pairs set = {NULL, 0};
        json_t *j = NULL;
        if (text && json_decode(text, strlen(text), &j, NULL) == 0 &&
            pairs_from_json(arena, j, NULL, NULL, &set, NULL) < 0)
                set = (struct pairs){NULL, 0};
        json_decref(j);
        return pairs_pack(&set);
}

int pairs_from_request(const json_t *object, struct pairs **ret, struct err **err) {
        _cleanup_(arena_freep) struct arena *arena = must(arena_new(0));
        struct pairs set = {NULL, 0};
        if (object && json_object_size(object) > LABELS_MAX)
                return err_set(err, EINVAL, "%zu labels are too many, at most %d may be set",
                               json_object_size(object), LABELS_MAX);
        if (object) {
                int r = pairs_from_json(arena, object, label_key_is_valid, label_value_is_valid, &set, err);
                if (r < 0)
                        return r;
        }
        *ret = pairs_pack(&set);
        return 0;
}
