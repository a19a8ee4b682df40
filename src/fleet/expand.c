/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/expand.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

#define QUOTED_MAX 100

/* One thing found at a "${" or "$${". */
struct piece {
        size_t start, end; /* in the text, the braces included */
        bool literal;      /* "$${" */
        char name[300];    /* "labels.site" */
        bool has_default;
        size_t default_start, default_len;
};

static bool name_is_known_kind(const char *name) {
        const char *rest;
        if (strcmp(name, "node.name") == 0)
                return true;
        if ((rest = str_after_prefix(name, "labels.")))
                return label_key_is_valid(rest);
        if ((rest = str_after_prefix(name, "vars.")))
                return variable_name_is_valid(rest);
        return false;
}

/* How much of a reference to quote: no half character, and nothing that is not text. */
static int quoted_length(const char *body, size_t len) {
        size_t n = MIN(len, (size_t)QUOTED_MAX);
        while (n > 0 && n < len && ((unsigned char)body[n] & 0xc0) == 0x80)
                n--;
        return utf8_is_valid(body, n) && !memchr(body, '\0', n) ? (int)n : 0;
}

/* The next piece from *p on: 1 with *p filled and p->start >= from, 0 when there is none, -EINVAL with
 * p->start at the fault. */
static int find_piece(const char *text, size_t len, size_t from, struct piece *p, struct err **err) {
        size_t i = from;
        for (;;) {
                const char *dollar = i < len ? memchr(text + i, '$', len - i) : NULL;
                if (!dollar)
                        return 0;
                i = (size_t)(dollar - text);
                if (len - i >= 3 && text[i + 1] == '$' && text[i + 2] == '{') {
                        *p = (struct piece){.start = i, .end = i + 3, .literal = true};
                        return 1;
                }
                if (len - i >= 2 && text[i + 1] == '{')
                        break;
                i++;
        }
        *p = (struct piece){.start = i};
        const char *body = text + i + 2;
        const char *close = memchr(body, '}', len - i - 2);
        if (!close)
                return err_set(err, EINVAL, "\"${\" without \"}\": write \"$${\" for a literal \"${\"");
        size_t body_len = (size_t)(close - body);
        p->end = i + 2 + body_len + 1;
        const char *colon = memchr(body, ':', body_len);
        size_t name_len = colon ? (size_t)(colon - body) : body_len;
        size_t rest = body_len - name_len; /* ":-default" */
        int shown = quoted_length(body, body_len);
        if (name_len <
            sizeof(p->name)) /* a NUL in it cuts it short, and what is left is no name or another length */
                memcpy(p->name, body, name_len);
        if (strlen(p->name) != name_len || !name_is_known_kind(p->name) ||
            (colon && (rest < 2 || colon[1] != '-')))
                return err_set(err, EINVAL,
                               "\"${%.*s}\" is none of ${labels.x}, ${vars.x}, ${node.name}, with or without "
                               ":-default; "
                               "write \"$${\" for a literal \"${\"",
                               shown, body);
        if (colon) {
                p->has_default = true;
                p->default_start = p->start + 2 + name_len + 2;
                p->default_len = rest - 2;
                if (memmem(text + p->default_start, p->default_len, "${", 2))
                        return err_set(err, EINVAL,
                                       "\"${%.*s}\": a default is plain text, references do not nest", shown,
                                       body);
        }
        return 1;
}

static const char *value_of(const struct binding *b, const char *name) {
        const char *rest;
        if ((rest = str_after_prefix(name, "labels.")))
                return pairs_get(&b->labels, rest);
        if ((rest = str_after_prefix(name, "vars.")))
                return pairs_get(&b->variables, rest);
        return b->node_name;
}

const char *binding_get(const struct binding *b, const char *name) {
        return name_is_known_kind(name) ? value_of(b, name) : NULL;
}

bool reference_name_is_valid(const char *name) {
        return name && name_is_known_kind(name);
}

int expand_text(const char *text, size_t len, const struct binding *b, struct buf *out, struct err **err) {
        size_t done = 0;
        for (;;) {
                struct piece p;
                int r = find_piece(text, len, done, &p, err);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                buf_append(out, text + done, p.start - done);
                done = p.end;
                if (p.literal) {
                        buf_puts(out, "${");
                        continue;
                }
                const char *value = value_of(b, p.name);
                if (value)
                        buf_puts(out, value);
                else if (p.has_default)
                        buf_append(out, text + p.default_start, p.default_len);
                else
                        return err_set(
                                err, ENOKEY,
                                "${%s} is not known for node %s: set it, or give a default as in ${%s:-x}",
                                p.name, b->node_name ? b->node_name : "?", p.name);
                if (buf_failed(out) < 0) /* else a small text could keep us busy long after the limit */
                        break;
        }
        buf_append(out, text + done, len - done);
        if (buf_failed(out) == -EMSGSIZE)
                return err_set(err, EMSGSIZE, "text too long once its references are replaced");
        if (buf_failed(out) < 0)
                return err_set_errno(err, -buf_failed(out), "replace references");
        return 0;
}

int expand_references(struct arena *arena, const char *text, size_t len, struct reference **ret,
                      size_t *ret_n, size_t *ret_offset, struct err **err) {
        /* Twice over the text: count, then fill. */
        struct reference *references = NULL;
        size_t n = 0;
        for (int pass = 0; pass < 2; pass++) {
                n = 0;
                for (size_t done = 0;;) {
                        struct piece p;
                        int r = find_piece(text, len, done, &p, err);
                        if (r < 0) {
                                if (ret_offset)
                                        *ret_offset = p.start;
                                return r;
                        }
                        if (r == 0)
                                break;
                        done = p.end;
                        if (p.literal)
                                continue;
                        if (pass == 1) {
                                references[n] = (struct reference){
                                        .name = arena_strdup(arena, p.name),
                                        .has_default = p.has_default,
                                        .offset = p.start,
                                };
                                if (!references[n].name)
                                        return err_set_errno(err, ENOMEM, "read references");
                        }
                        n++;
                }
                if (pass == 0) {
                        references = arena_calloc(arena, n, sizeof(*references));
                        if (!references)
                                return err_set_errno(err, ENOMEM, "read references");
                }
        }
        *ret = references;
        *ret_n = n;
        return 0;
}
