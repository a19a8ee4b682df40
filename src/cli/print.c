/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/terminal.h"
#include "cli/cli.h"
#include "codec/json.h"

enum output output_from_text(const char *text) {
        static const char *const names[] = {
                [OUTPUT_TABLE] = "table", [OUTPUT_WIDE] = "wide", [OUTPUT_JSON] = "json",
                [OUTPUT_YAML] = "yaml",   [OUTPUT_NAME] = "name",
        };
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_eq(names[i], text))
                        return (enum output)i;
        return OUTPUT_TABLE;
}

struct columns_look look_of_stdout(bool wide) {
        return (struct columns_look){
                .width = isatty(STDOUT_FILENO) == 1 ? terminal_width(STDOUT_FILENO) : 0,
                .wide = wide,
                .colour = terminal_has_colour(STDOUT_FILENO),
                .unicode = locale_is_unicode(),
        };
}

int print_buf(const struct buf *b) {
        if (buf_failed(b)) {
                fputs("skerry: out of memory\n", stderr);
                return EXIT_FAILURE;
        }
        fwrite(buf_str(b), 1, b->len, stdout);
        /* program_main() looks at the stream's error and reports it. */
        (void)fflush(stdout);
        return EXIT_SUCCESS;
}

int print_columns(const struct columns *t, bool wide) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        const struct columns_look look = look_of_stdout(wide);
        if (columns_print(t, &look, &out) < 0) {
                fputs("skerry: out of memory\n", stderr);
                return EXIT_FAILURE;
        }
        return print_buf(&out);
}

int print_json(const json_t *j, enum output output) {
        _cleanup_(x_freep) char *text = output == OUTPUT_YAML ? json_encode_yaml(j) : json_encode_pretty(j);
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        if (!text) {
                fputs("skerry: out of memory\n", stderr);
                return EXIT_FAILURE;
        }
        buf_puts(&out, text);
        return print_buf(&out);
}

const json_t *field(const json_t *o, const char *path) {
        while (o) {
                size_t len = strcspn(path, ".");
                o = json_object_getn(o, path, len);
                if (!path[len])
                        break;
                path += len + 1;
        }
        return json_is_null(o) ? NULL : o;
}

const char *field_text(const json_t *o, const char *path) {
        const char *text = json_string_value(field(o, path));
        return text ? text : "";
}

int64_t field_int(const json_t *o, const char *path) {
        return json_integer_value(field(o, path));
}

bool field_bool(const json_t *o, const char *path) {
        return json_is_true(field(o, path));
}

msec_t field_time(const json_t *o, const char *path) {
        msec_t wall = 0;
        const char *text = field_text(o, path);
        return *text && time_parse(text, &wall) == 0 ? wall : 0;
}

const char *field_age(const json_t *o, const char *path, msec_t now, char out[AGE_SIZE]) {
        msec_t wall = field_time(o, path);
        if (wall == 0)
                return "";
        return age_format(MAX(now - wall, 0), out, AGE_SIZE);
}

const char *shorten(const char *text, size_t n, char *out) {
        size_t len = strnlen(text, n);
        memcpy(out, text, len);
        out[len] = '\0';
        return out;
}

void put_labels(struct buf *out, const json_t *labels) {
        const char *key, *separator = "";
        json_t *value;
        json_object_foreach ((json_t *)labels, key, value) {
                const char *text = json_string_value(value);
                buf_printf(out, "%s%s=%s", separator, key, text ? text : "");
                separator = ",";
        }
}

void put_selector(struct buf *out, const json_t *selector) {
        const json_t *labels = field(selector, "matchLabels"), *terms = field(selector, "matchExpressions");
        size_t i, k;
        json_t *term, *value;
        put_labels(out, labels);
        const char *separator = json_object_size(labels) ? "," : "";
        json_array_foreach ((json_t *)terms, i, term) {
                const char *key = field_text(term, "key"), *operator_ = field_text(term, "operator");
                buf_puts(out, separator);
                separator = ",";
                if (str_eq(operator_, "Exists")) {
                        buf_puts(out, key);
                } else if (str_eq(operator_, "DoesNotExist")) {
                        buf_printf(out, "!%s", key);
                } else {
                        buf_printf(out, "%s %s (", key, str_eq(operator_, "NotIn") ? "notin" : "in");
                        json_array_foreach ((json_t *)field(term, "values"), k, value)
                                buf_printf(out, "%s%s", k ? "," : "", json_string_value(value));
                        buf_putc(out, ')');
                }
        }
}

const char *bytes_format(int64_t bytes, char *out, size_t size) {
        static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
        if (bytes < 1024) {
                (void)snprintf(out, size, "%lld B", (long long)bytes);
                return out;
        }
        double value = (double)bytes / 1024;
        size_t unit = 0;
        while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
                value /= 1024;
                unit++;
        }
        (void)snprintf(out, size, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
        return out;
}
