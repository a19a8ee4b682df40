/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/openssl_error.h"

#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>

int openssl_err_set(struct err **err, int code, const char *format, ...) {
        unsigned long newest = ERR_peek_last_error();
        const char *reason = newest ? ERR_reason_error_string(newest) : NULL;
        ERR_clear_error();
        if (!err)
                return -code;
        _cleanup_(x_freep) char *what = NULL;
        va_list ap;
        va_start(ap, format);
        if (vasprintf(&what, format, ap) < 0)
                what = NULL;
        va_end(ap);
        if (!what)
                return err_set(err, code, "%s", reason ? reason : "out of memory");
        if (!reason)
                return err_set(err, code, "%s", what);
        return err_set(err, code, "%s: %s", what, reason);
}
