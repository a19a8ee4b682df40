/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's error queue turned into error objects. The queue is always left empty: a stale entry would
 * make SSL_get_error() on the same thread report a failure that was not its own. */
#pragma once

#include "base/err.h"

/* As err_set(), with OpenSSL's newest reason appended after ": " when there is one. */
int openssl_err_set(struct err **err, int code, const char *format, ...) _printf_(3, 4);
