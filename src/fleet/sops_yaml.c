/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as YAML that YAML 1.1 and 1.2 read alike: what could be taken for something else stands in quotes. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "codec/json.h"
#include "fleet/sops_yaml.h"

/* Letters, and what can stand inside of a word; none of the words that YAML knows. */
static bool is_plain(const char *s, size_t n) {
        static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
        if (n == 0 || n > 200 || strlen(s) != n || !isalpha((unsigned char)*s))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return false;
        return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/+") == n;
}

/* Several lines that a block shows as they are. */
static bool is_block(const char *s, size_t n) {
        if (n < 2 || strlen(s) != n || s[n - 1] != '\n' || s[n - 2] == '\n' || isspace((unsigned char)*s) ||
            *s == '#')
                return false;
        for (size_t i = 0; i < n; i++)
                if (s[i] != '\n' && (s[i] < 0x20 || s[i] > 0x7e))
                        return false;
        return true;
}

static void put_indent(struct buf *out, unsigned indent) {
        for (unsigned i = 0; i < indent; i++)
                buf_putc(out, ' ');
}

static int put_quoted(const json_t *text, struct buf *out) {
        char *quoted = json_dumps(text, JSON_ENCODE_ANY);
        if (!quoted)
                return -ENOMEM;
        int r = buf_puts(out, quoted);
        explicit_bzero(quoted, strlen(quoted));
        free(quoted);
        return r;
}

static int put_key(const char *key, struct buf *out) {
        if (is_plain(key, strlen(key)))
                return buf_puts(out, key);
        _cleanup_json_ json_t *text = json_string(key);
        return text ? put_quoted(text, out) : -ENOMEM;
}

static int put_text(const json_t *text, struct buf *out, unsigned indent) {
        const char *s = json_string_value(text);
        size_t n = json_string_length(text);
        if (is_plain(s, n) || str_has_prefix(s, "ENC[AES256_GCM,"))
                return buf_printf(out, " %s\n", s);
        if (!is_block(s, n)) {
                buf_putc(out, ' ');
                int r = put_quoted(text, out);
                buf_putc(out, '\n');
                return r;
        }
        buf_puts(out, " |\n");
        for (const char *line = s; *line;) {
                size_t len = strcspn(line, "\n");
                if (len > 0)
                        put_indent(out, indent);
                (void)buf_append(out, line, len + 1);
                line += len + 1;
        }
        return buf_failed(out);
}

static int put(const json_t *j, struct buf *out, unsigned indent, bool after_dash);

/* What stands behind "key:" or "-", with its end of line. */
static int put_value(const json_t *v, struct buf *out, unsigned indent, bool after_dash) {
        bool map = json_is_object(v) && json_object_size(v) > 0,
             list = json_is_array(v) && json_array_size(v) > 0;
        if (map && after_dash) {
                buf_putc(out, ' ');
                return put(v, out, indent, true);
        }
        if (map || list) {
                buf_putc(out, '\n');
                return put(v, out, indent, false);
        }
        if (json_is_string(v))
                return put_text(v, out, indent);
        buf_putc(out, ' ');
        int r = put_quoted(v, out);
        buf_putc(out, '\n');
        return r;
}

static int put(const json_t *j, struct buf *out, unsigned indent, bool after_dash) {
        int r = 0;
        if (json_is_array(j)) {
                for (size_t i = 0; r == 0 && i < json_array_size(j); i++) {
                        put_indent(out, indent);
                        buf_putc(out, '-');
                        r = put_value(json_array_get(j, i), out, indent + 2, true);
                }
                return r;
        }
        const char *key;
        json_t *value;
        json_object_foreach ((json_t *)j, key, value) {
                if (!after_dash)
                        put_indent(out, indent);
                after_dash = false;
                r = put_key(key, out);
                buf_putc(out, ':');
                if (r == 0)
                        r = put_value(value, out, indent + 4, false);
                if (r < 0)
                        return r;
        }
        return r;
}

int sops_yaml_append(const json_t *object, struct buf *out) {
        int r = put(object, out, 0, false);
        return r < 0 ? r : buf_failed(out);
}
