/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int code_sane(int code) {
        if (code < 0)
                code = -code;
        return code > 0 ? code : EIO;
}

/* Takes the message over. A caller's text may be built from the old error, so the old one goes last. */
static void put(struct err **err, int code, char *message) {
        struct err *made = NULL;
        if (message) {
                made = malloc(sizeof(*made));
                if (made)
                        *made = (struct err){.code = code, .message = message};
                else
                        free(message);
        }
        err_free(*err);
        *err = made;
}

static char *format_text(const char *format, va_list ap) _printf_(1, 0);
static char *format_text(const char *format, va_list ap) {
        char *text = NULL;
        return vasprintf(&text, format, ap) < 0 ? NULL : text;
}

int(err_set)(struct err **err, int code, const char *format, ...) {
        code = code_sane(code);
        if (!err)
                return -code;
        va_list ap;
        va_start(ap, format);
        char *message = format_text(format, ap);
        va_end(ap);
        put(err, code, message);
        return -code;
}

int(err_set_errno)(struct err **err, int code, const char *format, ...) {
        code = code_sane(code);
        if (!err)
                return -code;
        va_list ap;
        va_start(ap, format);
        _cleanup_(x_freep) char *what = format_text(format, ap);
        va_end(ap);
        char *message = NULL;
        char text[128];
        /* The GNU form: returns the words, not always in the buffer; safe from any thread. */
        if (what && asprintf(&message, "%s: %s", what, strerror_r(code, text, sizeof(text))) < 0)
                message = NULL;
        put(err, code, message);
        return -code;
}

static void wrap(struct err **err, int code, const char *format, va_list ap) _printf_(3, 0);
static void wrap(struct err **err, int code, const char *format, va_list ap) {
        _cleanup_(x_freep) char *what = format_text(format, ap);
        char *message = NULL;
        if (!what || asprintf(&message, "%s: %s", what, err_message(*err)) < 0)
                return; /* no memory to say more: what there was stays */
        put(err, code, message);
}

int(err_wrap)(struct err **err, const char *format, ...) {
        if (!err)
                return -EIO;
        int code = *err ? (*err)->code : EIO;
        va_list ap;
        va_start(ap, format);
        wrap(err, code, format, ap);
        va_end(ap);
        return -code;
}

int(err_wrap_code)(struct err **err, int r, const char *format, ...) {
        int code = code_sane(r);
        if (!err)
                return -code;
        va_list ap;
        va_start(ap, format);
        wrap(err, code, format, ap);
        va_end(ap);
        return -code;
}

const char *err_message(const struct err *err) {
        return err && err->message ? err->message : "unknown error";
}

int err_code(const struct err *err) {
        return err ? -err->code : -EIO;
}

int err_move(struct err **dst, struct err *src) {
        int r = err_code(src);
        if (!dst) {
                err_free(src);
                return r;
        }
        if (*dst != src) {
                err_free(*dst);
                *dst = src;
        }
        return r;
}

struct err *err_free(struct err *err) {
        if (err) {
                free(err->message);
                free(err);
        }
        return NULL;
}
