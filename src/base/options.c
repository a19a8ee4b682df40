/* SPDX-License-Identifier: Apache-2.0 */
#include "base/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/options_internal.h"
#include "base/str.h"

#define FILE_LIMIT ((size_t)1 << 20) /* bytes of a configuration file */
#define OPTIONS_MAX 128              /* options in one set; the tables are ours */

static void *slot_of(const struct option_spec *o, void *settings) {
        return (char *)settings + o->offset;
}

const struct option_spec *option_by_name(const struct option_spec *options, const char *name, size_t len) {
        for (const struct option_spec *o = options; o && o->name; o++)
                if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
                        return o;
        return NULL;
}

const struct option_spec *option_by_letter(const struct option_spec *options, char letter) {
        for (const struct option_spec *o = options; o && o->name; o++)
                if (o->letter && o->letter == letter)
                        return o;
        return NULL;
}

/* ---- values */

static int parse_bool(const char *value, bool *ret) {
        static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off",
                                                                                    "0"};
        for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
                if (str_eq(value, yes[i]) || str_eq(value, no[i])) {
                        *ret = str_eq(value, yes[i]);
                        return 0;
                }
        }
        return -EINVAL;
}

static int check_choice(const struct option_spec *o, const char *value, struct err **err) {
        if (!o->choices || o->choices[0] == '@')
                return 0;
        _cleanup_(strv_freep) char **choices = strv_split(o->choices, ",");
        if (!choices)
                return err_set_errno(err, ENOMEM, "read '%s'", o->name);
        if (strv_has(choices, value))
                return 0;
        const char *nearest = str_nearest(value, (const char *const *)choices, strv_len(choices));
        if (nearest)
                return err_set(err, EINVAL, "'%s' is none of %s; did you mean '%s'?", value, o->choices,
                               nearest);
        return err_set(err, EINVAL, "'%s' is none of %s", value, o->choices);
}

static int set_value(const struct option_spec *o, void *settings, const char *value, struct err **err) {
        void *slot = slot_of(o, settings);
        int r = 0;
        switch (o->type) {
        case OPTION_CHOICE:
                r = check_choice(o, value, err);
                if (r < 0)
                        return r;
                __attribute__((fallthrough));
        case OPTION_STRING: r = str_replace((char **)slot, value); break;
        case OPTION_STRINGS: r = strv_push((char ***)slot, value); break;
        case OPTION_BOOL:
                if (parse_bool(value, (bool *)slot) < 0)
                        return err_set(err, EINVAL, "'%s' is neither true nor false", value);
                break;
        case OPTION_INT:
                r = str_to_i64(value, (int64_t *)slot);
                if (r < 0)
                        return err_set(err, EINVAL, "'%s' is not a whole number%s", value,
                                       r == -ERANGE ? " in range" : "");
                break;
        case OPTION_DURATION:
                r = str_to_duration_ms(value, (int64_t *)slot);
                if (r < 0)
                        return err_set(err, EINVAL, "'%s' is not a duration like 30s, 5m or 1h30m", value);
                break;
        }
        return r < 0 ? err_set_errno(err, -r, "read '%s'", value) : 0;
}

static void clear_list(const struct option_spec *o, void *settings) {
        char ***slot = slot_of(o, settings);
        *slot = strv_free(*slot);
}

void options_set_fallbacks(const struct option_spec *options, void *settings) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                _cleanup_(err_freep) struct err *err = NULL;
                if (!o->fallback)
                        continue;
                _cleanup_(strv_freep) char **items = NULL;
                int r = 0;
                if (o->type == OPTION_STRINGS) {
                        items = strv_split(o->fallback, ",");
                        for (char **i = items; r == 0 && i && *i; i++)
                                r = set_value(o, settings, *i, &err);
                } else {
                        r = set_value(o, settings, o->fallback, &err);
                }
                if (r < 0) {
                        fprintf(stderr, "default of --%s: %s\n", o->name, err_message(err));
                        abort();
                }
        }
}

void options_release(const struct option_spec *options, void *settings) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                if (o->type == OPTION_STRINGS)
                        clear_list(o, settings);
                else if (o->type == OPTION_STRING || o->type == OPTION_CHOICE)
                        (void)str_replace((char **)slot_of(o, settings), NULL);
        }
}

static const char *nearest_option(const struct option_set *sets, size_t n_sets, const char *name) {
        const char *names[OPTIONS_MAX];
        size_t n = 0;
        for (size_t s = 0; s < n_sets; s++)
                for (const struct option_spec *o = sets[s].options; o && o->name && n < OPTIONS_MAX; o++)
                        names[n++] = o->name;
        if (n + 2 <= OPTIONS_MAX) {
                names[n++] = "help";
                names[n++] = "version";
        }
        return str_nearest(name, names, n);
}

int options_set(const struct option_spec *options, void *settings, const char *name, const char *value,
                struct err **err) {
        const struct option_spec *o = option_by_name(options, name, strlen(name));
        if (!o) {
                const char *names[OPTIONS_MAX];
                size_t n = 0;
                for (o = options; o && o->name && n < OPTIONS_MAX; o++)
                        names[n++] = o->name;
                const char *nearest = str_nearest(name, names, n);
                return nearest ? err_set(err, ENOENT, "unknown setting '%s'; did you mean '%s'?", name,
                                         nearest)
                               : err_set(err, ENOENT, "unknown setting '%s'", name);
        }
        int r = set_value(o, settings, value, err);
        if (r < 0)
                (void)err_wrap(err, "%s", name);
        return r;
}

/* ---- configuration file and environment */

static char *trim(char *s) {
        while (isspace((unsigned char)*s))
                s++;
        size_t len = strlen(s);
        while (len > 0 && isspace((unsigned char)s[len - 1]))
                s[--len] = '\0';
        return s;
}

/* Takes the quotes or the trailing comment off a value, in place. NULL: a quote is not closed. */
static char *unquote(char *value) {
        value = trim(value);
        if (*value == '"' || *value == '\'') {
                char *end = strchr(value + 1, *value);
                if (!end)
                        return NULL;
                char *rest = end + 1;
                rest += strspn(rest, " \t");
                if (*rest && *rest != '#')
                        return NULL;
                *end = '\0';
                return value + 1;
        }
        for (char *p = value; *p; p++)
                if (*p == '#' && (p == value || p[-1] == ' ' || p[-1] == '\t')) {
                        *p = '\0';
                        break;
                }
        return trim(value);
}

static int read_line(const struct option_spec *options, void *settings, char *line, bool *seen,
                     struct err **err) {
        line = trim(line);
        if (!*line || *line == '#')
                return 0;
        char *colon = strchr(line, ':');
        if (!colon)
                return err_set(err, EINVAL, "'%s' is not of the form 'key: value'", line);
        *colon = '\0';
        const char *key = trim(line);
        char *value = unquote(colon + 1);
        if (!value)
                return err_set(err, EINVAL, "%s: the value's quote is not closed, or text follows it", key);
        const struct option_spec *o = option_by_name(options, key, strlen(key));
        if (o) {
                size_t index = (size_t)(o - options);
                if (seen[index] && o->type != OPTION_STRINGS)
                        return err_set(err, EINVAL, "%s: given twice", key);
                if (!seen[index] && o->type == OPTION_STRINGS)
                        clear_list(o, settings);
                seen[index] = true;
        }
        return options_set(options, settings, key, value, err);
}

int options_read_text(const struct option_spec *options, void *settings, const char *name, const char *text,
                      size_t len, struct err **err) {
        if (memchr(text, '\0', len))
                return err_set(err, EINVAL, "%s: not a text file", name);
        size_t n = 0;
        for (const struct option_spec *o = options; o && o->name; o++)
                n++;
        _cleanup_(x_freep) char *copy = str_dup_n(text, len);
        _cleanup_(x_freep) bool *seen = calloc(n + 1, sizeof(*seen));
        if (!copy || !seen)
                return err_set_errno(err, ENOMEM, "read %s", name);
        unsigned number = 1;
        for (char *line = copy, *next; line; line = next, number++) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                int r = read_line(options, settings, line, seen, err);
                if (r < 0) {
                        (void)err_wrap(err, "%s:%u", name, number);
                        return r;
                }
        }
        return 0;
}

int options_read_file(const struct option_spec *options, void *settings, const char *path, struct err **err) {
        _cleanup_(x_freep) char *text = NULL;
        size_t len;
        int r = file_read(path, FILE_LIMIT, &text, &len, err);
        return r < 0 ? r : options_read_text(options, settings, path, text, len, err);
}

int options_read_environment(const struct option_spec *options, void *settings, const char *prefix,
                             struct err **err) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                _cleanup_(x_freep) char *name = str_format("%s_%s", prefix, o->name);
                if (!name)
                        return err_set_errno(err, ENOMEM, "read the environment");
                for (char *p = name; *p; p++)
                        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
                const char *value = getenv(name);
                if (str_is_empty(value))
                        continue;
                int r = 0;
                if (o->type == OPTION_STRINGS) {
                        _cleanup_(strv_freep) char **items = strv_split(value, ",");
                        clear_list(o, settings);
                        for (char **i = items; r == 0 && i && *i; i++)
                                r = set_value(o, settings, *i, err);
                } else {
                        r = set_value(o, settings, value, err);
                }
                if (r < 0) {
                        (void)err_wrap(err, "environment variable %s", name);
                        return r;
                }
        }
        return 0;
}

/* ---- the command line */

struct parse {
        const struct option_set *sets;
        size_t n_sets;
        bool given[2][OPTIONS_MAX];
        int argc, index;
        char *const *argv;
        struct err **err;
};

static const struct option_spec *find_option(const struct parse *p, const char *name, size_t len, char letter,
                                             size_t *ret_set) {
        for (size_t s = 0; s < p->n_sets; s++) {
                const struct option_spec *o = name ? option_by_name(p->sets[s].options, name, len)
                                                   : option_by_letter(p->sets[s].options, letter);
                if (o) {
                        *ret_set = s;
                        return o;
                }
        }
        return NULL;
}

static int apply(struct parse *p, const struct option_spec *o, size_t set, const char *value) {
        size_t index = (size_t)(o - p->sets[set].options);
        if (index < OPTIONS_MAX && set < ARRAY_SIZE(p->given)) {
                if (!p->given[set][index] && o->type == OPTION_STRINGS)
                        clear_list(o, p->sets[set].settings);
                p->given[set][index] = true;
        }
        int r = set_value(o, p->sets[set].settings, value, p->err);
        if (r < 0)
                (void)err_wrap(p->err, "option --%s", o->name);
        return r;
}

/* The value of an option that wants one and has none attached. NULL: there is none left. */
static const char *next_argument(struct parse *p) {
        return p->index < p->argc ? p->argv[p->index++] : NULL;
}

static int missing_value(struct parse *p, const struct option_spec *o) {
        return err_set(p->err, EINVAL, "option --%s needs a value: --%s %s", o->name, o->name,
                       o->argument ? o->argument : "VALUE");
}

static int parse_long(struct parse *p, const char *arg) {
        const char *equals = strchr(arg, '=');
        size_t len = equals ? (size_t)(equals - arg) : strlen(arg), set = 0;
        const struct option_spec *o = find_option(p, arg, len, 0, &set);
        if (!o) {
                _cleanup_(x_freep) char *name = str_dup_n(arg, len);
                const char *nearest = name ? nearest_option(p->sets, p->n_sets, name) : NULL;
                if (nearest)
                        return err_set(p->err, EINVAL, "unknown option '--%.*s'; did you mean '--%s'?",
                                       (int)len, arg, nearest);
                return err_set(p->err, EINVAL, "unknown option '--%.*s'", (int)len, arg);
        }
        const char *value = equals ? equals + 1 : o->type == OPTION_BOOL ? "true" : next_argument(p);
        return value ? apply(p, o, set, value) : missing_value(p, o);
}

static int parse_short(struct parse *p, const char *letters) {
        for (; *letters; letters++) {
                size_t set = 0;
                const struct option_spec *o = find_option(p, NULL, 0, *letters, &set);
                if (!o)
                        return err_set(p->err, EINVAL, "unknown option '-%c'", *letters);
                if (o->type == OPTION_BOOL) {
                        int r = apply(p, o, set, "true");
                        if (r < 0)
                                return r;
                        continue;
                }
                const char *value = letters[1] ? letters + 1 : next_argument(p);
                return value ? apply(p, o, set, value) : missing_value(p, o);
        }
        return 0;
}

static int check_required(const struct option_set *set, const bool *given, struct err **err) {
        for (const struct option_spec *o = set->options; o && o->name; o++) {
                if (!o->required)
                        continue;
                size_t index = (size_t)(o - set->options);
                bool is_text =
                        o->type == OPTION_STRING || o->type == OPTION_CHOICE || o->type == OPTION_STRINGS;
                bool there = is_text ? *(void **)slot_of(o, set->settings) != NULL
                                     : index < OPTIONS_MAX && given[index];
                if (!there)
                        return err_set(err, EINVAL, "option --%s is required: --%s %s", o->name, o->name,
                                       o->argument ? o->argument : "VALUE");
        }
        return 0;
}

int option_sets_parse(const struct option_set *sets, size_t n_sets, int argc, char *const *argv,
                      char ***ret_positional, size_t *ret_n, struct err **err) {
        struct parse p = {.sets = sets, .n_sets = n_sets, .argc = argc, .argv = argv, .err = err};
        _cleanup_(strv_freep) char **positional = NULL;
        bool only_words = false;
        while (p.index < argc) {
                const char *arg = argv[p.index++];
                int r = 0;
                if (only_words || arg[0] != '-' || !arg[1])
                        r = strv_push(&positional, arg) < 0 ? err_set_errno(err, ENOMEM, "read the arguments")
                                                            : 0;
                else if (str_eq(arg, "--"))
                        only_words = true;
                else
                        r = arg[1] == '-' ? parse_long(&p, arg + 2) : parse_short(&p, arg + 1);
                if (r < 0)
                        return r;
        }
        for (size_t s = 0; s < n_sets && s < ARRAY_SIZE(p.given); s++) {
                int r = check_required(&sets[s], p.given[s], err);
                if (r < 0)
                        return r;
        }
        *ret_n = strv_len(positional);
        *ret_positional = TAKE_PTR(positional);
        return 0;
}

int options_parse(const struct option_spec *options, void *settings, int argc, char **argv,
                  char ***ret_positional, size_t *ret_n, struct err **err) {
        struct option_set set = {options, settings};
        return option_sets_parse(&set, 1, argc > 0 ? argc - 1 : 0, argc > 0 ? argv + 1 : argv, ret_positional,
                                 ret_n, err);
}
