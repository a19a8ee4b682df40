/* SPDX-License-Identifier: Apache-2.0 */
#include "server/inventory_import.h"

#include <errno.h>
#include <string.h>

#include "base/table.h"
#include "codec/json.h"
#include "server/memory.h"

#define MACHINE_ID_MAX 128

struct importing {
        struct control *control;
        struct table *names, *machines; /* of this list -> its item */
};

static bool machine_id_is_valid(const char *s) {
        size_t n = strlen(s);
        return n > 0 && n <= MACHINE_ID_MAX && s[strspn(s, "0123456789abcdefABCDEF-")] == '\0';
}

static int check(struct importing *im, const json_t *item, struct pairs **ret_labels, struct err **err) {
        static const char *const fields[] = {"name", "labels", "machineId"};
        const char *name = NULL, *machine = NULL;
        const json_t *labels = json_object_get(item, "labels");
        if (!json_is_object(item))
                return err_set(err, EINVAL, "expected an object");
        int r = json_check_fields(item, fields, ARRAY_SIZE(fields), err);
        if (r >= 0)
                r = json_read_string(item, "name", &name, err);
        if (r >= 0)
                r = json_read_optional_string(item, "machineId", &machine, err);
        if (r < 0)
                return r;
        if (!name_is_dns_label(name))
                return err_set(err, EINVAL, "name: %.100s is not a DNS label (a-z, 0-9, -, at most 63)",
                               name);
        if (machine && !machine_id_is_valid(machine))
                return err_set(err, EINVAL,
                               "machineId: %.40s is none: hexadecimal digits, as in /etc/machine-id",
                               machine);
        const struct node *n = inventory_node(im->control, name);
        if (n && !n->imported_at)
                return err_set(err, EINVAL,
                               "node %s is known already: change its labels with 'skerry node label'", name);
        if (table_get(im->names, name))
                return err_set(err, EINVAL, "node %s is in the list twice", name);
        const struct node *holder = machine ? inventory_machine(im->control, machine) : NULL;
        if (holder && !str_eq(holder->name, name))
                return err_set(err, EINVAL, "machineId: the machine is node %s already", holder->name);
        if (machine && table_get(im->machines, machine))
                return err_set(err, EINVAL, "machineId: the machine is in the list twice");
        if (labels && !json_is_object(labels) && !json_is_null(labels))
                return err_set(err, EINVAL, "labels: expected an object of labels");
        r = pairs_from_request(json_is_object(labels) ? labels : NULL, ret_labels, err);
        if (r < 0)
                return r;
        must_do(table_set(im->names, name, (void *)item));
        if (machine)
                must_do(table_set(im->machines, machine, (void *)item));
        return 0;
}

int inventory_import(struct control *c, const json_t *items, bool dry_run, size_t *ret_n,
                     json_t **ret_errors) {
        _cleanup_(table_freep) struct table *names = must(table_new(NULL)), *machines = must(table_new(NULL));
        struct importing im = {c, names, machines};
        size_t n = json_array_size(items);
        struct pairs **labels = new0((n + 1) * sizeof(struct pairs *));
        json_t *errors = json_array_new();
        for (size_t i = 0; i < n; i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                if (check(&im, json_array_get(items, i), &labels[i], &err) >= 0)
                        continue;
                json_t *e = json_object_new();
                json_put(e, "index", json_number((int64_t)i));
                /* What was cut within a character is no text any more. */
                json_t *message = json_string(err_message(err));
                json_put(e, "message",
                         message ? message : json_text("a field is far too long, and no name or label"));
                json_add(errors, e);
        }
        bool wrong = json_array_size(errors) > 0;
        for (size_t i = 0; i < n; i++) {
                if (!wrong && !dry_run) {
                        const json_t *item = json_array_get(items, i);
                        inventory_expect(c, json_string_value(json_object_get(item, "name")),
                                         json_string_value(json_object_get(item, "machineId")),
                                         TAKE_PTR(labels[i]));
                }
                free(labels[i]);
        }
        free(labels);
        if (wrong) {
                *ret_errors = errors;
                return -EINVAL;
        }
        json_decref(errors);
        *ret_n = n;
        return 0;
}
