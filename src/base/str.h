/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: comparison, splitting, numbers, durations, and the nearest known name. */
#pragma once

#include "base/macros.h"
#include "base/utf8.h"

static inline bool str_is_empty(const char *s) {
        return !s || !*s;
}
bool str_eq(const char *a, const char *b);                     /* NULL equals only NULL */
bool str_has_prefix(const char *s, const char *prefix) _pure_; /* NULL s: false */
bool str_has_suffix(const char *s, const char *suffix) _pure_;
/* What follows prefix in s, or NULL when s does not start with it. */
const char *str_after_prefix(const char *s, const char *prefix) _pure_;

/* strdup/asprintf that return NULL only when memory is out. str_dup(NULL) is NULL. */
char *str_dup(const char *s) _must_use_;
char *str_dup_n(const char *s, size_t n) _must_use_;
char *str_format(const char *format, ...) _printf_(1, 2) _must_use_;
/* Frees *dst and puts a copy of src there (NULL clears); 0 or -ENOMEM with *dst unchanged. */
int str_replace(char **dst, const char *src);

/* Strict whole-string numbers: no blanks, no sign for unsigned; -EINVAL, -ERANGE. */
int str_to_u64(const char *s, uint64_t *ret);
int str_to_i64(const char *s, int64_t *ret);

/* Durations as people write them: "90s", "5m", "1h30m", "250ms", "2d"; a bare number is seconds.
 * Value in milliseconds. -EINVAL on anything else, -ERANGE past 100 years. */
int str_to_duration_ms(const char *s, int64_t *ret_ms);
/* "1h30m", "45s", "250ms"; at most two units. Writes at most size bytes, always terminated. */
const char *duration_format(int64_t ms, char *out, size_t size);

/* A DNS label: 1-63 of [a-z0-9-], starting and ending with a letter or digit (RFC 1123). */
bool name_is_dns_label(const char *s) _pure_;

/* How many bytes one must put in, take out or change, or neighbours swap (once each: "optimal string
 * alignment"), to make b of a. Bounded: returns limit + 1 as soon as it must be larger. */
size_t str_distance(const char *a, const char *b, size_t limit);
/* The candidate nearest to s, when it is near enough to be a slip of the keyboard (distance at most
 * 1 + length/4); else NULL. */
const char *str_nearest(const char *s, const char *const *candidates, size_t n);

/* A NULL-terminated vector of malloc'ed strings. */
char **strv_free(char **v);
static inline void strv_freep(char ***v) {
        strv_free(*v);
}
size_t strv_len(char *const *v);
/* Splits at any one of the separators; empty pieces are dropped. NULL when memory is out. */
char **strv_split(const char *s, const char *separators);
int strv_push(char ***v, const char *s); /* appends a copy */
bool strv_has(char *const *v, const char *s);
