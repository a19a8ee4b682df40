/* SPDX-License-Identifier: Apache-2.0 */
/* How commands tell that they failed: see cli/cli.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/terminal.h"
#include "cli/cli.h"
#include "cli/style.h"

static void tell(const char *words) {
        static const char name[] = "skerry: ";
        _cleanup_(buf_done) struct buf safe = BUF_INIT, wrapped = BUF_INIT;
        size_t width = isatty(STDERR_FILENO) == 1 ? terminal_width(STDERR_FILENO) : 0;
        text_put_safe(&safe, words);
        text_put_wrapped(&wrapped, buf_str(&safe), strlen(name), 2, width);
        fprintf(stderr, "%s%s\n", name, buf_str(&wrapped));
}

int cli_fail(const struct err *err) {
        tell(err_message(err));
        switch (err_code(err)) {
        case -EHOSTUNREACH: return EXIT_UNREACHABLE;
        case -EKEYREJECTED: return EXIT_FORBIDDEN;
        default: return EXIT_FAILURE;
        }
}

int cli_usage(const char *command, const char *format, ...) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        va_list ap;
        va_start(ap, format);
        buf_printf(&text, "%s: ", command);
        buf_vprintf(&text, format, ap);
        va_end(ap);
        tell(buf_str(&text));
        fprintf(stderr, "Try 'skerry %s --help'.\n", command);
        return EXIT_USAGE;
}
