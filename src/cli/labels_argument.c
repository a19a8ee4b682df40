/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/labels_argument.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "fleet/labels.h"

static int parse_piece(char *piece, json_t *set, json_t *remove_, struct err **err) {
        char *equals = strchr(piece, '=');
        size_t len = strlen(piece);
        if (!equals) {
                if (remove_ && len > 1 && piece[len - 1] == '-') {
                        piece[len - 1] = '\0';
                        if (!label_key_is_valid(piece))
                                return err_set(err, EINVAL, "'%s' is not the key of a label", piece);
                        return json_array_append_new(remove_, json_string(piece)) < 0 ? -ENOMEM : 0;
                }
                return err_set(err, EINVAL,
                               remove_ ? "'%s' is neither KEY=VALUE nor KEY-" : "'%s' is not KEY=VALUE",
                               piece);
        }
        *equals = '\0';
        if (!label_key_is_valid(piece))
                return err_set(
                        err, EINVAL,
                        "'%s' is not the key of a label: letters, digits and '-', '_', '.', '/' inside",
                        piece);
        if (!label_value_is_valid(equals + 1))
                return err_set(err, EINVAL,
                               "'%s' is not the value of a label: at most 63 letters, digits and '-', '_', "
                               "'.' inside",
                               equals + 1);
        if (json_object_get(set, piece))
                return err_set(err, EINVAL, "the label '%s' is given twice", piece);
        return json_object_set_new(set, piece, json_string(equals + 1)) < 0 ? -ENOMEM : 0;
}

int labels_argument_parse(const char *text, json_t *set, json_t *remove_, struct err **err) {
        _cleanup_(strv_freep) char **pieces = strv_split(text, ",");
        if (!set)
                return err_set_errno(err, ENOMEM, "read the labels");
        for (char **p = pieces; p && *p; p++) {
                int r = parse_piece(*p, set, remove_, err);
                if (r == -ENOMEM)
                        return err_set_errno(err, ENOMEM, "read the labels");
                if (r < 0)
                        return r;
        }
        return 0;
}
