/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repository.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/terminal.h"
#include "cli/style.h"
#include "codec/yaml.h"

#define LINE_SHOWN 120 /* columns of a source line */
#define WRAP_INDENT 4
#define MARGIN 8 /* of the line's number */

int repository_compile(const char *dir, const struct fleet_node *inventory, size_t n_inventory,
                       struct fleet_model **ret, struct err **err) {
        return repository_compile_with(
                dir, &(struct fleet_compile_options){.inventory = inventory, .n_inventory = n_inventory}, ret,
                err);
}

int repository_compile_with(const char *dir, const struct fleet_compile_options *options,
                            struct fleet_model **ret, struct err **err) {
        struct fleet_tree *tree = NULL;
        int r = fleet_tree_open_folder(dir, &tree, err);
        if (r < 0)
                return r;
        r = fleet_compile_with(tree, options, ret, err);
        fleet_tree_close_folder(tree);
        return r;
}

struct diagnostics_look diagnostics_look_of(int fd, const char *dir) {
        bool terminal = isatty(fd) == 1;
        return (struct diagnostics_look){
                .dir = terminal ? dir : NULL,
                .colour = terminal_has_colour(fd),
                .unicode = locale_is_unicode(),
                .width = terminal ? terminal_width(fd) : 0,
        };
}

/* Line `number` of the text; NULL past its end. */
static const char *find_line(const char *text, uint32_t number, size_t *ret_len) {
        for (uint32_t n = 1; n < number; n++) {
                text = strchr(text, '\n');
                if (!text)
                        return NULL;
                text++;
        }
        *ret_len = strcspn(text, "\r\n");
        return text;
}

/* "    3 | metadata: {name: Shops}" and "      |             ^". */
static void put_source_line(struct buf *out, const char *text, const struct diagnostic *d,
                            const struct diagnostics_look *look) {
        size_t len = 0;
        const char *line = find_line(text, d->line, &len);
        if (!line)
                return;
        _cleanup_(x_freep) char *whole = str_dup_n(line, len);
        _cleanup_(x_freep) char *before = str_dup_n(line, MIN(len, (size_t)(d->column ? d->column - 1 : 0)));
        _cleanup_(buf_done) struct buf safe = BUF_INIT, cut = BUF_INIT, indent = BUF_INIT;
        if (!whole || !before)
                return;
        text_put_safe(&safe, whole);
        size_t shown = LINE_SHOWN;
        if (look->width > MARGIN && look->width - MARGIN < shown)
                shown = look->width - MARGIN;
        text_put_cut(&cut, buf_str(&safe), shown, look->unicode);
        text_put_safe(&indent, before);
        size_t column = utf8_width(buf_str(&indent), indent.len);
        style_printf(out, look->colour, STYLE_DIM, "%5u | ", d->line);
        buf_puts(out, buf_str(&cut));
        buf_putc(out, '\n');
        if (d->column == 0 || column >= shown)
                return;
        style_puts(out, look->colour, STYLE_DIM, "      | ");
        buf_printf(out, "%*s", (int)column, "");
        style_puts(out, look->colour, d->severity == SEVERITY_ERROR ? STYLE_BAD : STYLE_WARN, "^");
        buf_putc(out, '\n');
}

void repository_put_diagnostics(struct buf *out, const struct diagnostics *d,
                                const struct diagnostics_look *look) {
        _cleanup_(x_freep) char *text = NULL;
        const char *file = NULL; /* whose text that is */
        for (size_t i = 0; i < diagnostics_len(d); i++) {
                const struct diagnostic *one = diagnostics_at(d, i);
                bool error = one->severity == SEVERITY_ERROR;
                const char *severity = error ? "error" : "warning";
                _cleanup_(buf_done) struct buf place = BUF_INIT, words = BUF_INIT;
                if (*one->file) {
                        text_put_safe(&place, one->file);
                        if (one->line)
                                buf_printf(&place, ":%u:%u", one->line, one->column);
                        style_puts(out, look->colour, STYLE_BOLD, buf_str(&place));
                        buf_puts(out, ": ");
                }
                style_puts(out, look->colour, error ? STYLE_BAD : STYLE_WARN, severity);
                buf_puts(&words, ": ");
                text_put_safe(&words, one->message);
                if (one->suggestion) {
                        buf_puts(&words, " (");
                        text_put_safe(&words, one->suggestion);
                        buf_puts(&words, ")");
                }
                text_put_wrapped(out, buf_str(&words), place.len + (place.len ? 2 : 0) + strlen(severity),
                                 WRAP_INDENT, look->width);
                buf_putc(out, '\n');
                if (!look->dir || !*one->file || !one->line)
                        continue;
                if (!str_eq(file, one->file)) {
                        _cleanup_(x_freep) char *path = path_join(look->dir, one->file);
                        size_t len;
                        free(text);
                        text = NULL;
                        file = one->file;
                        if (path)
                                (void)file_read(path, YAML_MAX_BYTES, &text, &len, NULL);
                }
                if (text)
                        put_source_line(out, text, one, look);
        }
        size_t kept = 0;
        for (size_t i = 0; i < diagnostics_len(d); i++)
                kept += diagnostics_at(d, i)->severity == SEVERITY_ERROR;
        if (diagnostics_errors(d) > kept)
                buf_printf(out, "and %zu errors more\n", diagnostics_errors(d) - kept);
}
