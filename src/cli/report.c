/* SPDX-License-Identifier: Apache-2.0 */
/* How commands tell that they failed: see cli/cli.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"

int cli_fail(const struct err *err) {
        fprintf(stderr, "skerry: %s\n", err_message(err));
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
        buf_vprintf(&text, format, ap);
        va_end(ap);
        fprintf(stderr, "skerry: %s: %s\nTry 'skerry %s --help'.\n", command, buf_str(&text), command);
        return EXIT_USAGE;
}
