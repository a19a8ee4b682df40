/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/report_numbers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/str.h"

struct report_numbers {
        char *path;
        int64_t last, reserved; /* the file covers all below reserved */
        bool known;
};

static void load(struct report_numbers *n) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        int64_t reserved;
        if (file_read(n->path, 64, &text, &len, NULL) < 0)
                return;
        text[strcspn(text, "\n")] = '\0';
        if (str_to_i64(text, &reserved) < 0 || reserved < 0 || reserved > INT64_MAX / 2)
                return;
        n->last = n->reserved = reserved;
        n->known = true;
}

int report_numbers_open(const char *path, struct report_numbers **ret, struct err **err) {
        _cleanup_(report_numbers_freep) struct report_numbers *n = calloc(1, sizeof(*n));
        if (!n || !(n->path = str_dup(path)))
                return err_set_errno(err, ENOMEM, "state");
        load(n);
        *ret = TAKE_PTR(n);
        return 0;
}

struct report_numbers *report_numbers_free(struct report_numbers *n) {
        if (!n)
                return NULL;
        free(n->path);
        free(n);
        return NULL;
}

bool report_numbers_are_known(const struct report_numbers *n) {
        return n->known;
}

int64_t report_numbers_next(struct report_numbers *n) {
        int64_t next = n->last + 1;
        if (next >= n->reserved) {
                char text[24];
                int64_t reserved = next + REPORT_NUMBERS_AT_ONCE;
                int len = snprintf(text, sizeof(text), "%lld\n", (long long)reserved);
                if (file_write_atomic(n->path, text, (size_t)len, 0600, NULL) == 0)
                        n->reserved = reserved;
        }
        n->last = next;
        return next;
}
