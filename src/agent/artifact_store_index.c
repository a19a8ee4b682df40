/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/artifact_store_internal.h"
#include "agent/kept_state.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define STORE_FORMAT 1
#define STORE_ENTRIES_MAX 4096

void artifact_index_free_entry(void *value) {
        struct entry *e = value;
        if (!e)
                return;
        artifact_free(e->artifact);
        free(e->name);
        free(e->target);
        free(e);
}
static void free_entryp(struct entry **e) {
        artifact_index_free_entry(*e);
}

static char *name_of(const char *target, const char *sha256) {
        return str_format("%s %s", sha256, target);
}

static int64_t now_s(const struct artifact_store *s) {
        return clock_wall_ms(s->clock) / 1000;
}

static int add_entry(struct artifact_store *s, const char *target, int64_t length, const char *sha256,
                     const json_t *custom, int64_t last_use, struct err **err) {
        _cleanup_(free_entryp) struct entry *e = calloc(1, sizeof(*e));
        if (!e || !(e->target = str_dup(target)) || !(e->name = name_of(target, sha256)))
                return err_set_errno(err, ENOMEM, "artifact %s", target);
        if (!table_get(s->entries, e->name) && table_len(s->entries) >= STORE_ENTRIES_MAX)
                return err_set(err, ENOSPC, "more than %d artifacts are known on this node",
                               STORE_ENTRIES_MAX);
        int r = artifact_from_target(target, length, sha256, custom, &e->artifact, err);
        if (r < 0)
                return r;
        e->last_use = last_use;
        r = table_set(s->entries, e->name, e);
        if (r < 0)
                return err_set_errno(err, -r, "artifact %s", target);
        (void)TAKE_PTR(e);
        return 0;
}

static json_t *names_to_json(char *const *names) {
        json_t *list = json_array();
        for (size_t i = 0; list && names && names[i]; i++)
                if (json_array_append_new(list, json_string(names[i])) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *entry_to_json(const struct entry *e) {
        return json_pack("{s:s, s:s, s:I, s:o, s:I}", "target", e->target, "sha256", e->artifact->sha256,
                         "length", (json_int_t)e->artifact->length, "custom", artifact_custom(e->artifact),
                         "lastUse", (json_int_t)e->last_use);
}

int artifact_index_save(struct artifact_store *s, struct err **err) {
        _cleanup_json_ json_t *list = json_array();
        _cleanup_(x_freep) char *path = path_join(s->state, "artifacts.json");
        void *value;
        for (size_t i = 0; table_next(s->entries, &i, NULL, &value);)
                if (json_array_append_new(list, entry_to_json(value)) < 0)
                        return err_set_errno(err, ENOMEM, "artifacts");
        _cleanup_json_ json_t *all =
                json_pack("{s:i, s:O, s:o, s:o, s:b}", "format", STORE_FORMAT, "artifacts", list, "running",
                          names_to_json(s->running), "previous", names_to_json(s->previous), "lost", s->lost);
        if (!path || !all)
                return err_set_errno(err, ENOMEM, "artifacts");
        int r = kept_state_write(path, all, err);
        s->unsaved = r < 0;
        if (r == 0)
                s->damaged = 0;
        return r;
}

static int read_names(const json_t *o, const char *key, char ***ret) {
        const json_t *list = json_object_get(o, key), *item;
        size_t i;
        json_array_foreach (list, i, item)
                if (json_is_string(item) && strv_push(ret, json_string_value(item)) < 0)
                        return -ENOMEM;
        return 0;
}

static int push_unknown(const struct artifact_store *s, const char *folder, const char *name, void *arg) {
        _cleanup_(x_freep) char *guess = str_format("%s " STORE_UNKNOWN, name);
        (void)s;
        (void)folder;
        if (!sha256_hex_is_valid(name))
                return 0;
        return guess ? strv_push(arg, guess) : -ENOMEM;
}

/* Nobody knows what runs: all that lies here may. */
static int begin_lost(struct artifact_store *s, bool there_was_one, struct err **err) {
        int r = artifact_store_each_name(s, "artifacts", push_unknown, &s->previous, err);
        if (r < 0)
                return r;
        s->lost = there_was_one || s->previous;
        /* A disk that is full just now is no reason not to go on: the next save says it again. */
        if (s->lost)
                (void)artifact_index_save(s, NULL);
        return 0;
}

static int read_index(struct artifact_store *s, const json_t *all, struct err **err) {
        const json_t *item;
        size_t i;
        json_array_foreach (json_object_get(all, "artifacts"), i, item) {
                const char *target, *sha256;
                int64_t length, last_use = 0;
                if (json_read_string(item, "target", &target, NULL) < 0 ||
                    json_read_string(item, "sha256", &sha256, NULL) < 0 ||
                    json_read_int(item, "length", &length, NULL) < 0 ||
                    json_read_optional_int(item, "lastUse", &last_use, NULL) < 0)
                        continue; /* of another version of us: the assignment describes it again */
                (void)add_entry(s, target, length, sha256, json_object_get(item, "custom"), last_use, NULL);
        }
        if (read_names(all, "running", &s->running) < 0 || read_names(all, "previous", &s->previous) < 0)
                return err_set_errno(err, ENOMEM, "artifacts");
        s->lost = json_is_true(json_object_get(all, "lost"));
        if (s->damaged > 0)
                (void)artifact_index_save(s, NULL);
        return 0;
}

int artifact_index_load(struct artifact_store *s, struct err **err) {
        _cleanup_(x_freep) char *path = path_join(s->state, "artifacts.json");
        _cleanup_json_ json_t *all = NULL;
        int64_t format = 0;
        if (!path)
                return err_set_errno(err, ENOMEM, "artifacts");
        int r = kept_state_read(path, &all, &s->damaged, NULL);
        if (r == -ENOMEM)
                return err_set_errno(err, ENOMEM, "artifacts");
        if (r < 0)
                return begin_lost(s, r != -ENOENT, err);
        if (json_read_int(all, "format", &format, NULL) < 0 || format != STORE_FORMAT)
                return begin_lost(s, true, err);
        return read_index(s, all, err);
}

int artifact_store_describe(struct artifact_store *s, const char *target, const struct artifact *a,
                            struct err **err) {
        _cleanup_json_ json_t *custom = artifact_custom(a);
        const struct artifact *known = artifact_store_find(s, target, a->sha256);
        _cleanup_json_ json_t *before = known ? artifact_custom(known) : NULL;
        if (!custom)
                return err_set_errno(err, ENOMEM, "artifact %s", target);
        if (!s->unsaved && before && json_equal(before, custom) && known->length == a->length)
                return 0;
        int r = add_entry(s, target, a->length, a->sha256, custom, now_s(s), err);
        return r < 0 ? r : artifact_index_save(s, err);
}

const struct artifact *artifact_store_find(const struct artifact_store *s, const char *target,
                                           const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        const struct entry *e = name ? table_get(s->entries, name) : NULL;
        return e ? e->artifact : NULL;
}

static bool same_names(char *const *a, char *const *b) {
        if (strv_len(a) != strv_len(b))
                return false;
        for (size_t i = 0; a && a[i]; i++)
                if (!strv_has(b, a[i]))
                        return false;
        return true;
}

int artifact_store_set_running(struct artifact_store *s, char *const *names, struct err **err) {
        _cleanup_(strv_freep) char **fresh = NULL;
        if (!s->lost && same_names(names, s->running))
                return s->unsaved ? artifact_index_save(s, err) : 0;
        for (size_t i = 0; names && names[i]; i++) {
                struct entry *e = table_get(s->entries, names[i]);
                if (e)
                        e->last_use = now_s(s);
                if (strv_push(&fresh, names[i]) < 0)
                        return err_set_errno(err, ENOMEM, "artifacts");
        }
        if (s->lost) { /* what was there before stays unknown, and stays */
                strv_free(s->running);
                s->lost = false;
        } else {
                strv_free(s->previous);
                s->previous = s->running;
        }
        s->running = TAKE_PTR(fresh);
        return artifact_index_save(s, err);
}

bool artifact_store_is_running(const struct artifact_store *s, const char *target, const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        return name && strv_has(s->running, name);
}

bool artifact_store_is_held(const struct artifact_store *s, const char *target, const char *sha256) {
        _cleanup_(x_freep) char *name = name_of(target, sha256);
        return name && (strv_has(s->running, name) || strv_has(s->previous, name));
}

static bool image_in(const struct artifact_store *s, char *const *names, const char *reference) {
        for (size_t i = 0; names && names[i]; i++) {
                const struct entry *e = table_get(s->entries, names[i]);
                _cleanup_(x_freep) char *image =
                        e ? str_format("localhost/%s:%s", e->artifact->name, e->artifact->version) : NULL;
                if (image && str_eq(image, reference))
                        return true;
        }
        return false;
}

static bool has_guesses(char *const *names) {
        for (size_t i = 0; names && names[i]; i++)
                if (str_has_suffix(names[i], " " STORE_UNKNOWN))
                        return true;
        return false;
}

bool artifact_store_holds_image(const struct artifact_store *s, const char *reference) {
        return s->lost || has_guesses(s->previous) || image_in(s, s->running, reference) ||
               image_in(s, s->previous, reference);
}

bool artifact_index_names(char *const *names, const char *sha256, bool guesses) {
        for (size_t i = 0; names && names[i]; i++)
                if (str_has_prefix(names[i], sha256) &&
                    (guesses || !str_has_suffix(names[i], " " STORE_UNKNOWN)))
                        return true;
        return false;
}

int64_t artifact_store_counter(const struct artifact_store *s, const char *name) {
        int64_t highest = 0;
        for (size_t i = 0; s->running && s->running[i]; i++) {
                const struct entry *e = table_get(s->entries, s->running[i]);
                if (e && str_eq(e->artifact->name, name))
                        highest = MAX(highest, e->artifact->release_counter);
        }
        return highest;
}

bool artifact_store_is_saved(const struct artifact_store *s) {
        return !s->unsaved;
}

const char *artifact_store_problem(const struct artifact_store *s) {
        if (s->lost)
                return "which artifacts run here was lost (artifacts.json was damaged, and its spare copy): "
                       "nothing is removed until what is assigned was seen well";
        if (s->unsaved)
                return "what artifacts lie here cannot be written to artifacts.json: nothing new is taken "
                       "until it can";
        if (s->damaged > 0)
                return "a copy of artifacts.json is damaged and cannot be mended now: is the disk full, or "
                       "failing?";
        return NULL;
}
