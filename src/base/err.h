/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: a code for programs, words for people.
 *
 * Functions return 0 or a negative errno value. Where a person will read the outcome, the last
 * parameter is `struct err **err`: on failure it receives an error object whose message is built
 * from the inside out ("deploy shop-app: read /etc/x: Permission denied"). Every taker accepts
 * NULL there. On success *err is untouched. Messages name the thing, the place and the way out.
 *
 * Ownership: the caller owns *err and releases it with err_free(). */
#pragma once

#include "base/macros.h"

struct err {
        int code;      /* positive errno value, e.g. ENOENT */
        char *message; /* UTF-8, no trailing newline or full stop */
};

/* Makes an error and returns -code, so that `return err_set(err, EINVAL, "...")` reads well.
 * When *err already holds an error it is replaced. code must be positive. Out of memory leaves *err
 * NULL and still returns -code; err_message() copes. */
int err_set(struct err **err, int code, const char *format, ...) _printf_(3, 4);

/* As err_set(), with ": " and strerror(code) appended. */
int err_set_errno(struct err **err, int code, const char *format, ...) _printf_(3, 4);

/* Puts "what: " before the message there is; keeps the code and returns it negated. With no error in
 * *err it makes one with EIO. Where err itself is NULL the code is not known here, and -EIO comes back:
 * functions whose callers look at the code use err_wrap_code(). */
int err_wrap(struct err **err, const char *format, ...) _printf_(2, 3);

/* As err_wrap(), with the code (negative, as functions return it) given: r comes back, whether or not
 * anybody listens. */
int err_wrap_code(struct err **err, int r, const char *format, ...) _printf_(3, 4);

/* The message, never NULL: "unknown error" for NULL. */
const char *err_message(const struct err *err);
/* The negative code, -EIO for NULL. */
int err_code(const struct err *err);

/* Moves an error to an out-parameter (frees it when dst is NULL); returns its negative code. */
int err_move(struct err **dst, struct err *src);

/* These return what they say in every case: a code below zero. Said once more where callers are compiled, so
 * that compilers and analyzers need not ask what `if (r < 0)` after them would do otherwise. */
static inline int err_below_zero(int r) {
        return r < 0 ? r : -5; /* EIO */
}
#define err_set(...) err_below_zero((err_set)(__VA_ARGS__))
#define err_set_errno(...) err_below_zero((err_set_errno)(__VA_ARGS__))
#define err_wrap(...) err_below_zero((err_wrap)(__VA_ARGS__))
#define err_wrap_code(...) err_below_zero((err_wrap_code)(__VA_ARGS__))

struct err *err_free(struct err *err);
DEFINE_CLEANUP(struct err, err_free)
