/* SPDX-License-Identifier: Apache-2.0 */
/* Output: -o formats, and the fields of API objects as text. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "cli/columns.h"

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };
#define OUTPUT_CHOICES "table,wide,json,yaml,name"
/* text is one of OUTPUT_CHOICES, as the option parser saw to. */
enum output output_from_text(const char *text);

/* How tables look on standard output: as wide as the terminal, unlimited where it is none. */
struct columns_look look_of_stdout(bool wide);

/* Writes and flushes standard output. Exit code. */
int print_buf(const struct buf *b);
int print_columns(const struct columns *t, bool wide);
/* Pretty JSON, or YAML for OUTPUT_YAML. Exit code. */
int print_json(const json_t *j, enum output output);

/* A field by its dotted path ("status.observed.state"); NULL when absent or null. */
const json_t *field(const json_t *o, const char *path);
/* "" when absent or no text. */
const char *field_text(const json_t *o, const char *path);
int64_t field_int(const json_t *o, const char *path); /* 0 when absent */
bool field_bool(const json_t *o, const char *path);   /* false when absent */
/* A time as wall milliseconds; 0 when absent or wrong. */
msec_t field_time(const json_t *o, const char *path);

#define AGE_SIZE 24
/* How long ago, "5m"; "" when absent. */
const char *field_age(const json_t *o, const char *path, msec_t now, char out[AGE_SIZE]);

#define SHORT_DIGEST 12
#define SHORT_COMMIT 9
/* The first n characters; out needs n + 1 bytes. */
const char *shorten(const char *text, size_t n, char *out);
/* {"a":"b","c":"d"} as "a=b,c=d". */
void put_labels(struct buf *out, const json_t *labels);
/* A selector object as kubectl writes it: "role=shop,site in (kiel,ulm),!old". */
void put_selector(struct buf *out, const json_t *selector);
/* 1536 as "1.5 KiB". */
const char *bytes_format(int64_t bytes, char *out, size_t size);
