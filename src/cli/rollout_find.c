/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rollout_find.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"

/* Rollout ids sort by the time they were made. */
static const json_t *newest(const json_t *list) {
        const json_t *found = NULL;
        size_t i;
        json_t *o;
        json_array_foreach ((json_t *)field(list, "items"), i, o)
                if (!found || strcmp(object_name(o), object_name(found)) > 0)
                        found = o;
        return found;
}

static int get_by_id(struct api *a, const char *id, json_t **ret, struct err **err) {
        _cleanup_(buf_done) struct buf path = BUF_INIT;
        buf_puts(&path, "/rollouts/");
        url_put(&path, id);
        return api_call(a, "GET", buf_str(&path), NULL, ret, err);
}

static int find_any(struct api *a, json_t **ret, struct err **err) {
        const struct kind *k = kind_find("rollout", NULL);
        _cleanup_json_ json_t *active = NULL, *all = NULL;
        int r = kind_list(a, k, "active=true", &active, err);
        if (r < 0)
                return r;
        const json_t *items = field(active, "items");
        if (json_array_size(items) > 1) {
                _cleanup_(buf_done) struct buf fleets = BUF_INIT;
                size_t i;
                json_t *o;
                json_array_foreach ((json_t *)items, i, o)
                        buf_printf(&fleets, "%s%s", i ? ", " : "", field_text(o, "spec.fleet"));
                return err_set(err, EINVAL, "several rollouts are active; name one of the fleets %s",
                               buf_str(&fleets));
        }
        const json_t *found = newest(active);
        if (!found) {
                r = kind_list(a, k, "", &all, err);
                if (r < 0)
                        return r;
                found = newest(all);
        }
        if (!found)
                return err_set(err, ENOENT, "there was no rollout yet");
        return get_by_id(a, object_name(found), ret, err);
}

int rollout_find(struct api *a, const char *target, json_t **ret, bool *ret_fleet, struct err **err) {
        _cleanup_(err_freep) struct err *why = NULL;
        _cleanup_(buf_done) struct buf query = BUF_INIT;
        _cleanup_json_ json_t *list = NULL, *fleet = NULL;
        if (ret_fleet)
                *ret_fleet = !target;
        if (!target)
                return find_any(a, ret, err);
        buf_puts(&query, "fleet=");
        url_put(&query, target);
        int r = kind_list(a, kind_find("rollout", NULL), buf_str(&query), &list, &why);
        if (r < 0 && r != -ENOENT && r != -EINVAL)
                return err_move(err, TAKE_PTR(why));
        const json_t *found = newest(list);
        if (found) {
                if (ret_fleet)
                        *ret_fleet = true;
                return get_by_id(a, object_name(found), ret, err);
        }
        why = err_free(why);
        r = get_by_id(a, target, ret, &why);
        if (r != -ENOENT && r != -EINVAL)
                return r < 0 ? err_move(err, TAKE_PTR(why)) : 0;
        r = kind_get(a, kind_find("fleet", NULL), target, &fleet, &why);
        if (r == 0)
                return err_set(err, ENOENT, "fleet %s had no rollout yet", target);
        return err_set(err, ENOENT, "no rollout and no fleet is called '%s': %s", target, err_message(why));
}
