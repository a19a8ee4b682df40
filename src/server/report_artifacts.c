/* SPDX-License-Identifier: Apache-2.0 */
#include "server/report_artifacts.h"

#include <errno.h>
#include <string.h>

#include "codec/json.h"
#include "repo/artifact.h"
#include "server/memory.h"
#include "server/report.h"

#define BYTES_MAX (INT64_C(1) << 46) /* so that no sum over a fleet overflows */

static const struct {
        const char *name;
        size_t offset;
} numbers[] = {
        {"bytesPredicted", offsetof(struct report_artifact, predicted)},
        {"bytesFetched", offsetof(struct report_artifact, fetched)},
        {"bytesTotal", offsetof(struct report_artifact, total)},
};

void report_artifacts_done(struct report_artifacts *a) {
        for (size_t i = 0; i < a->n; i++) {
                free(a->items[i].name);
                free(a->items[i].version);
                free(a->items[i].state);
                free(a->items[i].way);
                free(a->items[i].message);
        }
        free(a->items);
        *a = (struct report_artifacts){0};
}

static int check_word(const json_t *o, const char *key, struct err **err) {
        const char *word = NULL;
        int r = json_read_optional_string(o, key, &word, err);
        if (r >= 0 && word && strlen(word) > REPORT_WORD_MAX)
                r = err_set(err, EINVAL, "field %s: more than %d bytes", key, REPORT_WORD_MAX);
        return r;
}

static int check_one(const json_t *o, struct err **err) {
        const char *name = NULL, *version = NULL, *text = NULL;
        int r = json_read_string(o, "name", &name, err);
        if (r >= 0)
                r = json_read_string(o, "version", &version, err);
        if (r >= 0 && !artifact_name_is_valid(name))
                r = err_set(err, EINVAL, "field name: not the name of an artifact");
        if (r >= 0 && !artifact_version_is_valid(version))
                r = err_set(err, EINVAL, "field version: not a version");
        if (r >= 0)
                r = check_word(o, "state", err);
        if (r >= 0)
                r = check_word(o, "way", err);
        if (r >= 0)
                r = json_read_optional_string(o, "message", &text, err);
        for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(numbers); i++) {
                int64_t n = 0;
                r = json_read_optional_int(o, numbers[i].name, &n, err);
                if (r >= 0 && (n < 0 || n > BYTES_MAX))
                        r = err_set(err, EINVAL, "field %s: no number of bytes", numbers[i].name);
        }
        return r;
}

int report_artifacts_check(const json_t *list, struct err **err) {
        const json_t *o;
        size_t i;
        if (!list)
                return 0;
        if (!json_is_array(list))
                return err_set(err, EINVAL, "field artifacts: expected a list");
        if (json_array_size(list) > REPORT_ARTIFACTS_MAX)
                return err_set(err, EINVAL, "field artifacts: more than %d", REPORT_ARTIFACTS_MAX);
        json_array_foreach ((json_t *)list, i, o) {
                int r = check_one(o, err);
                if (r < 0)
                        return err_wrap_code(err, r, "artifacts[%zu]", i);
        }
        return 0;
}

static char *member(const json_t *o, const char *key) {
        const char *text = json_string_value(json_object_get(o, key));
        size_t n = text ? strnlen(text, REPORT_TEXT_MAX + 1) : 0;
        if (n > REPORT_TEXT_MAX)
                for (n = REPORT_TEXT_MAX; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
                        n--; /* between characters */
        return text ? must(str_dup_n(text, n)) : NULL;
}

void report_artifacts_take(struct report_artifacts *a, const json_t *list) {
        const json_t *o;
        size_t i;
        if (!list)
                return;
        report_artifacts_done(a);
        a->items = new0((json_array_size(list) + 1) * sizeof(*a->items));
        json_array_foreach ((json_t *)list, i, o) {
                struct report_artifact *x = &a->items[a->n++];
                *x = (struct report_artifact){.name = member(o, "name"),
                                              .version = member(o, "version"),
                                              .state = member(o, "state"),
                                              .way = member(o, "way"),
                                              .message = member(o, "message")};
                for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
                        (void)json_read_optional_int(
                                o, numbers[k].name, (int64_t *)(void *)((char *)x + numbers[k].offset), NULL);
        }
}

json_t *report_artifacts_json(const struct report_artifacts *a) {
        json_t *list = json_array_new();
        for (size_t i = 0; i < a->n; i++) {
                const struct report_artifact *x = &a->items[i];
                json_t *j = json_object_new();
                json_put(j, "name", json_text(x->name));
                json_put(j, "version", json_text(x->version));
                json_put(j, "state", json_text(x->state));
                json_put(j, "way", json_text(x->way));
                json_put(j, "message", json_text(x->message));
                json_put(j, "bytesPredicted", json_number(x->predicted));
                json_put(j, "bytesFetched", json_number(x->fetched));
                json_put(j, "bytesTotal", json_number(x->total));
                json_add(list, j);
        }
        return list;
}
