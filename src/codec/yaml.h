/* SPDX-License-Identifier: Apache-2.0 */
/* YAML (libyaml) into values with positions. JSON is a subset, so it reads JSON too.
 *
 * Safe on hostile input: depth at most YAML_MAX_DEPTH, bytes and nodes bounded, aliases and tags
 * refused (they are how a small file becomes a large one), duplicate keys refused, UTF-8 checked. */
#pragma once

#include "codec/value.h"

#define YAML_MAX_DEPTH 64
#define YAML_MAX_BYTES (4u << 20)
#define YAML_MAX_NODES 1000000u

/* Decodes every document of the text. *ret_documents is an array in the arena; empty documents are
 * skipped. file names the source in positions and messages. What is wrong with the text, its size
 * included, is -EINVAL: the error says what, and *ret_where holds the position. With ret_where NULL the
 * message begins with "file:line:column: " instead. -ENOMEM when memory is out or the arena is full. */
int yaml_decode(struct arena *arena, const char *file, const char *text, size_t len,
                struct value ***ret_documents, size_t *ret_n, struct position *ret_where, struct err **err);

/* Is it YAML at all? What yaml_decode() refuses for safety's sake (anchors, tags, repeated keys, size) is
 * fine here. -EINVAL as above. Nothing is kept. */
int yaml_check(const char *file, const char *text, size_t len, struct position *ret_where, struct err **err);

/* What the core schema (YAML 1.2.2 section 10.3.2) makes of a plain scalar. */
enum value_type yaml_plain_type(const char *s, size_t len) _pure_;
