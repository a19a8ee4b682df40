/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: any bytes give settings or an error, never a crash or a leak. */
#include <stdint.h>

#include "base/clock.h"
#include "base/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
        char *name, *choice;
        char **list;
        int64_t number;
        msec_t wait;
        bool flag;
};

static const struct option_spec options[] = {
        {"name", 0, OPTION_STRING, offsetof(struct settings, name), NULL, NULL, "Text"},
        {"choice", 0, OPTION_CHOICE, offsetof(struct settings, choice), NULL, "one", "Choice", "one,two"},
        {"list", 0, OPTION_STRINGS, offsetof(struct settings, list), NULL, "a,b", "List"},
        {"number", 0, OPTION_INT, offsetof(struct settings, number), NULL, "1", "Number"},
        {"wait", 0, OPTION_DURATION, offsetof(struct settings, wait), NULL, "1s", "Time"},
        {"flag", 0, OPTION_BOOL, offsetof(struct settings, flag), NULL, NULL, "Switch"},
        OPTIONS_END,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct settings s = {0};
        _cleanup_(err_freep) struct err *err = NULL;
        options_set_fallbacks(options, &s);
        int r = options_read_text(options, &s, "fuzz.conf", (const char *)data, size, &err);
        if ((r < 0) != (err != NULL))
                abort();
        options_release(options, &s);
        return 0;
}
