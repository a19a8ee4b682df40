/* SPDX-License-Identifier: Apache-2.0 */
#include "base/terminal.h"

#include <sys/ioctl.h>

#include "base/str.h"

static size_t from_environment(const char *name, size_t otherwise) {
        uint64_t n;
        const char *value = getenv(name);
        return value && str_to_u64(value, &n) == 0 && n > 0 && n < 10000 ? (size_t)n : otherwise;
}

size_t terminal_width(int fd) {
        struct winsize size;
        size_t width = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
                                                                            : from_environment("COLUMNS", 80);
        return width < 40 ? 40 : width;
}

size_t terminal_height(int fd) {
        struct winsize size;
        return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row
                                                                    : from_environment("LINES", 24);
}

bool terminal_is_live(int fd) {
        const char *term = getenv("TERM");
        return isatty(fd) == 1 && !str_is_empty(term) && !str_eq(term, "dumb");
}

bool terminal_has_colour(int fd) {
        return terminal_is_live(fd) && str_is_empty(getenv("NO_COLOR"));
}
