/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that describe the kinds of fleet files. One table decodes a YAML map into a struct, names every
 * fault in it, and prints its part of the reference page; so the three cannot drift apart.
 *
 * Decoding never stops at the first fault: a field that is wrong keeps its default, is reported, and the
 * next one is read. Decoded text is borrowed from the value tree. */
#pragma once

#include "base/clock.h"
#include "fleet/diagnostic.h"
#include "fleet/rollout_policy.h"
#include "fleet/source.h"

enum schema_type {
        SCHEMA_TEXT,         /* const char * */
        SCHEMA_WORD,         /* const char *: text without blanks and control characters, not empty */
        SCHEMA_NAME,         /* const char *, a DNS label */
        SCHEMA_LOCATED,      /* struct located: text that remembers its place */
        SCHEMA_LOCATED_NAME, /* struct located, a DNS label */
        SCHEMA_PORT,         /* const char *: a number from 1 to 65535, or text that holds a reference */
        SCHEMA_BOOL,         /* bool */
        SCHEMA_INTEGER,      /* int64_t within min and max */
        SCHEMA_DURATION,     /* msec_t within min and max: "30s" */
        SCHEMA_SECONDS,      /* msec_t within min and max, written as a whole number of seconds */
        SCHEMA_QUANTITY,     /* struct quantity: 3 or "10%" */
        SCHEMA_MODE,         /* unsigned: permission bits in quoted octal */
        SCHEMA_BYTES,        /* int64_t: "64Mi" */
        SCHEMA_CPU,          /* int64_t thousandths of a processor: "500m", "1.5" */
        SCHEMA_CHOICE,       /* int: index into choices */
        SCHEMA_TEXTS,        /* struct located_list, not empty */
        SCHEMA_NAMES,        /* struct located_list of DNS labels without repetition */
        SCHEMA_LABELS,       /* struct pairs, checked as labels */
        SCHEMA_VARIABLES,    /* struct pairs, checked as variables */
        SCHEMA_PAIRS,        /* struct pairs: environment */
        SCHEMA_OBJECT,       /* nested struct in place */
        SCHEMA_OBJECTS,      /* pointer to an array of nested structs, its size_t count right behind it */
};

struct located {
        const char *text; /* NULL: not given */
        struct position where;
};
struct located_list {
        struct located *items;
        size_t n;
};

struct schema;
struct schema_field {
        const char *name; /* NULL ends the table */
        enum schema_type type;
        size_t offset;
        bool required;
        bool expands;         /* `${}` references may stand in it: they are collected */
        const char *fallback; /* default as it would be written, or NULL for zero */
        int64_t min, max;     /* numbers and durations (ms), both 0: no bounds; lists and maps: most items */
        const char *const *choices;  /* CHOICE; ended by NULL */
        const struct schema *nested; /* OBJECT, OBJECTS */
        const char *documentation;   /* one sentence */
};

struct schema_decoder;
struct schema {
        const char *name; /* "App", "health check" */
        const char *documentation;
        size_t size;
        const struct schema_field *fields;
        size_t where_offset; /* of a struct position that receives the map's place; 0: none (put it second) */
        size_t broken_offset; /* of a bool that says, to check() already, whether it holds errors; 0: none */
        /* Checks that concern several fields; may be NULL. */
        void (*check)(struct schema_decoder *d, const struct value *v, void *object);
};

/* A `${}` reference somewhere in a decoded document. */
struct located_reference {
        const char *name; /* "vars.port" */
        bool has_default;
        struct position where;
};

struct schema_decoder {
        struct arena *arena;
        struct diagnostics *diagnostics;
        const struct source *source;
        struct located_reference *references; /* of the document being decoded */
        size_t n_references, cap_references;
        int failed; /* -ENOMEM: give up */
};

/* Sets defaults and decodes v. Only -ENOMEM is returned; everything else is a diagnostic. */
int schema_decode(struct schema_decoder *d, const struct schema *s, const struct value *v, void *object);
/* Collects the references of a text that stands at v; reports bad ones. */
void schema_collect_references(struct schema_decoder *d, const struct value *v);
/* References in a whole file's content (positions are places in source). */
void schema_collect_content_references(struct schema_decoder *d, const struct source *source);

void schema_error(struct schema_decoder *d, const struct position *where, const char *suggestion,
                  const char *format, ...) _printf_(4, 5);
void schema_warning(struct schema_decoder *d, const struct position *where, const char *suggestion,
                    const char *format, ...) _printf_(4, 5);
/* "did you mean \"web\"?" in buf, or NULL when no candidate is near. */
const char *suggest_nearest(const char *name, const char *const *candidates, size_t n, char *buf,
                            size_t size);
#define SUGGESTION_SIZE 512

/* `text "abc"`, `number 7`, `a list`: a value as messages name it. Long text is cut. */
const char *schema_describe(const struct value *v, char *buf, size_t size);

/* "64Mi", "1G", "500": bytes; "500m", "2", "0.5": thousandths of a processor. -EINVAL, -ERANGE. */
int schema_parse_bytes(const char *text, int64_t *ret);
int schema_parse_cpu(const char *text, int64_t *ret);

/* The reference page in the making: a table of fields for a schema, then those it nests, each once. */
#define SCHEMA_PAGE_MAX 64
struct schema_page {
        struct buf *out;
        const struct schema *written[SCHEMA_PAGE_MAX];
        size_t n_written;
};
void schema_write_reference(struct schema_page *page, const struct schema *s, const char *heading);
