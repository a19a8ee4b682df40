/* SPDX-License-Identifier: Apache-2.0 */
#include "server/source_version.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static bool is_identifier_byte(char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* No leading zeroes, at most 18 digits. */
static bool number_read(const char **p, uint64_t *ret) {
        const char *s = *p;
        uint64_t n = 0;
        size_t digits = 0;
        for (; is_digit(*s) && digits < 19; s++, digits++)
                n = n * 10 + (uint64_t)(*s - '0');
        if (digits == 0 || digits > 18 || (digits > 1 && **p == '0'))
                return false;
        *p = s;
        *ret = n;
        return true;
}

/* Identifiers with dots between them. */
static bool identifiers_read(const char **p, bool numbers_are_strict) {
        for (;;) {
                const char *begin = *p;
                bool only_digits = true;
                for (; is_identifier_byte(**p); (*p)++)
                        only_digits = only_digits && is_digit(**p);
                if (*p == begin || (numbers_are_strict && only_digits && *begin == '0' && *p - begin > 1))
                        return false;
                if (**p != '.')
                        return true;
                (*p)++;
        }
}

/* What may follow the three numbers: -pre.release+build. */
static bool tail_read(const char **p, struct version *v) {
        if (**p == '-') {
                v->pre = ++*p;
                if (!identifiers_read(p, true))
                        return false;
                v->pre_len = (size_t)(*p - v->pre);
        }
        if (**p == '+') {
                ++*p;
                if (!identifiers_read(p, false))
                        return false;
        }
        return true;
}

bool version_parse(const char *text, struct version *ret) {
        struct version v = {0};
        const char *p = *text == 'v' ? text + 1 : text;
        if (!number_read(&p, &v.major) || *p++ != '.' || !number_read(&p, &v.minor) || *p++ != '.' ||
            !number_read(&p, &v.patch) || !tail_read(&p, &v) || *p)
                return false;
        *ret = v;
        return true;
}

static int number_order(uint64_t a, uint64_t b) {
        return (a > b) - (a < b);
}

static int identifier_order(const char *a, size_t a_len, const char *b, size_t b_len) {
        bool a_number = strspn(a, "0123456789") >= a_len, b_number = strspn(b, "0123456789") >= b_len;
        if (a_number != b_number)
                return a_number ? -1 : 1;
        if (a_number && a_len != b_len) /* no leading zeroes: the longer one is the greater */
                return a_len < b_len ? -1 : 1;
        int order = memcmp(a, b, MIN(a_len, b_len));
        return order ? order : number_order(a_len, b_len);
}

static int pre_order(const struct version *a, const struct version *b) {
        if (a->pre_len == 0 || b->pre_len == 0)
                return (a->pre_len == 0) - (b->pre_len == 0); /* a release comes after its pre-releases */
        const char *p = a->pre, *q = b->pre, *p_end = p + a->pre_len, *q_end = q + b->pre_len;
        for (;;) {
                const char *p_dot = memchr(p, '.', (size_t)(p_end - p)),
                           *q_dot = memchr(q, '.', (size_t)(q_end - q));
                size_t p_len = (size_t)((p_dot ? p_dot : p_end) - p),
                       q_len = (size_t)((q_dot ? q_dot : q_end) - q);
                int order = identifier_order(p, p_len, q, q_len);
                if (order)
                        return order;
                if (!p_dot || !q_dot)
                        return (p_dot != NULL) - (q_dot != NULL);
                p = p_dot + 1;
                q = q_dot + 1;
        }
}

int version_compare(const struct version *a, const struct version *b) {
        int order = number_order(a->major, b->major);
        if (!order)
                order = number_order(a->minor, b->minor);
        if (!order)
                order = number_order(a->patch, b->patch);
        return order ? order : pre_order(a, b);
}

/* ---- ranges */

struct partial {
        struct version v;
        int parts; /* numbers that were given: 0 to 3 */
};

static bool partial_read(const char **p, struct partial *ret) {
        struct partial r = {0};
        uint64_t *const numbers[] = {&r.v.major, &r.v.minor, &r.v.patch};
        bool is_open = false; /* a wildcard was met */
        if (**p == 'v')
                (*p)++;
        for (int i = 0; i < 3; i++) {
                if (**p == '*' || **p == 'x' || **p == 'X') {
                        is_open = true;
                        (*p)++;
                } else if (!number_read(p, numbers[i]) || is_open)
                        return false;
                else
                        r.parts = i + 1;
                if (i == 2 || **p != '.')
                        break;
                (*p)++;
        }
        if (r.parts == 3 && !tail_read(p, &r.v))
                return false;
        if (**p && **p != ' ' && **p != '|')
                return false;
        *ret = r;
        return true;
}

/* The lowest version behind all that share the first `parts` numbers: a pre-release, so that none of those
 * come before it. */
static struct version behind(const struct version *v, int parts) {
        return (struct version){.major = v->major + (parts == 1),
                                .minor = parts == 1 ? 0 : v->minor + (parts == 2),
                                .patch = parts == 3 ? v->patch + 1 : 0,
                                .pre = "0",
                                .pre_len = 1};
}

enum operation {
        OPERATION_GE,
        OPERATION_GT,
        OPERATION_LE,
        OPERATION_LT,
        OPERATION_EQUAL,
        OPERATION_CARET,
        OPERATION_TILDE
};

static enum operation operation_read(const char **p) {
        static const struct {
                const char *text;
                enum operation operation;
        } operations[] = {{">=", OPERATION_GE},  {">", OPERATION_GT},    {"<=", OPERATION_LE},
                          {"<", OPERATION_LT},   {"=", OPERATION_EQUAL}, {"^", OPERATION_CARET},
                          {"~", OPERATION_TILDE}};
        for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
                if (str_has_prefix(*p, operations[i].text)) {
                        *p += strlen(operations[i].text);
                        *p += strspn(*p, " ");
                        return operations[i].operation;
                }
        return OPERATION_EQUAL;
}

static int caret_parts(const struct partial *p) {
        if (p->v.major > 0 || p->parts == 1)
                return 1;
        return p->v.minor > 0 || p->parts == 2 ? 2 : 3;
}

/* One comparator as bounds; returns how many, negative when it can hold for nothing. */
static int comparator_expand(enum operation operation, const struct partial *p, struct version_bound out[2]) {
        bool is_whole = p->parts == 3;
        if (p->parts == 0) {
                out[0] = (struct version_bound){.relation = VERSION_GE};
                return operation == OPERATION_GT || operation == OPERATION_LT ? -1 : 1;
        }
        out[0] = (struct version_bound){.relation = VERSION_GE, .version = p->v};
        out[1] = (struct version_bound){.relation = VERSION_LT};
        switch (operation) {
        case OPERATION_GE: return 1;
        case OPERATION_GT:
                out[0].relation = is_whole ? VERSION_GT : VERSION_GE;
                if (!is_whole) {
                        out[0].version = behind(&p->v, p->parts);
                        out[0].version.pre_len = 0;
                }
                return 1;
        case OPERATION_LE:
                out[0].relation = is_whole ? VERSION_LE : VERSION_LT;
                if (!is_whole)
                        out[0].version = behind(&p->v, p->parts);
                return 1;
        case OPERATION_LT:
                out[0].relation = VERSION_LT;
                if (!is_whole)
                        out[0].version = (struct version){p->v.major, p->v.minor, p->v.patch, "0", 1};
                return 1;
        case OPERATION_EQUAL:
                if (is_whole)
                        out[1] = (struct version_bound){.relation = VERSION_LE, .version = p->v};
                else
                        out[1].version = behind(&p->v, p->parts);
                return 2;
        case OPERATION_CARET: out[1].version = behind(&p->v, caret_parts(p)); return 2;
        case OPERATION_TILDE: out[1].version = behind(&p->v, MIN(p->parts, 2)); return 2;
        }
        return -1;
}

int version_range_parse(const char *text, struct version_range *ret, struct err **err) {
        struct version_range r = {0};
        size_t in_set = 0;
        if (strlen(text) > VERSION_RANGE_TEXT_MAX)
                return err_set(err, EINVAL, "a range of more than %d bytes", VERSION_RANGE_TEXT_MAX);
        for (const char *p = text;;) {
                p += strspn(p, " ");
                if (!*p || str_has_prefix(p, "||")) {
                        if (in_set == 0)
                                return err_set(err, EINVAL,
                                               "\"%s\" has an empty part: write a range as >=1.2 <2, ^1.4, "
                                               "~1.4.2, 1.x or *",
                                               text);
                        r.n_sets++;
                        in_set = 0;
                        if (!*p)
                                break;
                        p += 2;
                        continue;
                }
                struct version_bound bounds[2];
                struct partial partial;
                const char *begin = p;
                enum operation operation = operation_read(&p);
                int n = partial_read(&p, &partial) ? comparator_expand(operation, &partial, bounds) : -1;
                if (n < 0)
                        return err_set(err, EINVAL,
                                       "column %zu: %.*s is no condition on versions: write >=1.2, <2, ^1.4, "
                                       "~1.4.2, 1.x or *",
                                       (size_t)(begin - text) + 1, (int)strcspn(begin, " |"), begin);
                if (r.n + (size_t)n > VERSION_BOUNDS_MAX)
                        return err_set(err, EINVAL, "a range of more than %d conditions",
                                       VERSION_BOUNDS_MAX / 2);
                for (int i = 0; i < n; i++) {
                        bounds[i].set = r.n_sets;
                        bounds[i].names_pre = partial.v.pre_len > 0;
                        r.bounds[r.n++] = bounds[i];
                }
                in_set++;
        }
        *ret = r;
        return 0;
}

static bool bound_holds(const struct version_bound *b, const struct version *v) {
        int order = version_compare(v, &b->version);
        switch (b->relation) {
        case VERSION_GE: return order >= 0;
        case VERSION_GT: return order > 0;
        case VERSION_LE: return order <= 0;
        case VERSION_LT: return order < 0;
        }
        return false;
}

bool version_range_has(const struct version_range *range, const struct version *v) {
        for (size_t set = 0; set < range->n_sets; set++) {
                bool holds = true, names_pre = false;
                for (size_t i = 0; i < range->n; i++)
                        if (range->bounds[i].set == set) {
                                holds = holds && bound_holds(&range->bounds[i], v);
                                names_pre = names_pre || range->bounds[i].names_pre;
                        }
                if (holds && (v->pre_len == 0 || names_pre))
                        return true;
        }
        return false;
}
