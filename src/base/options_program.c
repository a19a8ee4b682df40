/* SPDX-License-Identifier: Apache-2.0 */
/* program_main() of base/options.h: from argv to a command that runs. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/fs.h"
#include "base/options_internal.h"
#include "base/str.h"
#include "version.h"

#define COMMANDS_MAX 128 /* the tables are ours */

const struct command_spec *program_default_command(const struct program_spec *p) {
        for (const struct command_spec *c = p->commands; p->default_command && c && c->name; c++)
                if (str_eq(c->name, p->default_command))
                        return c;
        return NULL;
}

const char *command_title(const struct program_spec *p, const struct command_spec *c, char *out,
                          size_t size) {
        if (!c || c == program_default_command(p))
                (void)snprintf(out, size, "%s", p->name);
        else
                (void)snprintf(out, size, "%s %s", p->name, c->name);
        return out;
}

/* Does the option in arg take the next argument as its value? Any command may be meant, for the command's own
 * word may come after its options. */
static bool takes_next(const struct program_spec *p, const char *arg) {
        bool is_long = arg[1] == '-';
        if (is_long && strchr(arg, '='))
                return false;
        if (str_eq(arg, "--help-completion"))
                return true;
        const struct command_spec *c = p->commands;
        const struct option_spec *options = p->global_options;
        for (;;) {
                const struct option_spec *o = NULL;
                if (is_long) {
                        o = option_by_name(options, arg + 2, strlen(arg + 2));
                } else {
                        for (const char *l = arg + 1; *l; l++) {
                                o = option_by_letter(options, *l);
                                if (!o)
                                        break;
                                if (o->type != OPTION_BOOL)
                                        return l[1] == '\0';
                        }
                }
                if (o)
                        return o->type != OPTION_BOOL;
                if (!c || !c->name)
                        return false;
                options = c->options;
                c++;
        }
}

/* The index of the first word that is no option nor an option's value, at or after `from`; argc when none. */
static int find_word(const struct program_spec *p, int argc, char **argv, int from) {
        for (int i = from; i < argc; i++) {
                const char *arg = argv[i];
                if (!arg || str_eq(arg, "--"))
                        return argc;
                if (arg[0] != '-' || !arg[1])
                        return i;
                if (takes_next(p, arg))
                        i++;
        }
        return argc;
}

static const struct command_spec *find_command(const struct program_spec *p, const char *first,
                                               const char *second) {
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                const char *rest = str_after_prefix(c->name, first);
                if (!rest)
                        continue;
                if ((!second && !*rest) || (second && *rest == ' ' && str_eq(rest + 1, second)))
                        return c;
        }
        return NULL;
}

/* Is word the first of commands with two words ("rollout")? */
static bool is_group(const struct program_spec *p, const char *word) {
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                const char *rest = str_after_prefix(c->name, word);
                if (rest && *rest == ' ')
                        return true;
        }
        return false;
}

/* The words of an unknown command, with the nearest one: the first word counts alone, too, so that a slip in
 * "rolout status" is seen. */
static int unknown_command(const struct program_spec *p, const char *word, const char *second,
                           struct err **err) {
        _cleanup_(strv_freep) char **names = NULL;
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                _cleanup_(x_freep) char *first = str_dup_n(c->name, strcspn(c->name, " "));
                if (command_is_shown(c) &&
                    (!first || strv_push(&names, first) < 0 || strv_push(&names, c->name) < 0))
                        return err_set_errno(err, ENOMEM, "find command %s", word);
        }
        const char *nearest = str_nearest(word, (const char *const *)names, strv_len(names));
        if (!nearest)
                return err_set(err, EINVAL, "unknown command '%s'", word);
        const char *rest = second && is_group(p, nearest) && find_command(p, nearest, second) ? second : NULL;
        return err_set(err, EINVAL, "unknown command '%s'; did you mean '%s%s%s'?", word, nearest,
                       rest ? " " : "", rest ? rest : "");
}

struct selection {
        const struct command_spec *command; /* NULL: none chosen */
        const char *group;                  /* first word of two, when the second is missing */
        int word, second;                   /* indices in argv to leave out; argc: none */
};

static int select_command(const struct program_spec *p, int argc, char **argv, struct selection *ret,
                          struct err **err) {
        struct selection s = {.command = program_default_command(p), .word = argc, .second = argc};
        const struct command_spec *fallback = s.command;
        int word = find_word(p, argc, argv, 1);
        if (word == argc) {
                *ret = s;
                return 0;
        }
        int second = find_word(p, argc, argv, word + 1);
        const struct command_spec *two = second < argc ? find_command(p, argv[word], argv[second]) : NULL;
        const struct command_spec *one = find_command(p, argv[word], NULL);
        if (two) {
                s.command = two;
                s.word = word;
                s.second = second;
        } else if (one) {
                s.command = one;
                s.word = word;
        } else if (is_group(p, argv[word])) {
                s.command = NULL;
                s.group = argv[word];
                s.word = word;
                if (second < argc) {
                        const char *names[COMMANDS_MAX];
                        size_t n = 0;
                        for (const struct command_spec *c = p->commands; c && c->name && n < COMMANDS_MAX;
                             c++) {
                                const char *rest = str_after_prefix(c->name, argv[word]);
                                if (rest && *rest == ' ')
                                        names[n++] = rest + 1;
                        }
                        const char *nearest = str_nearest(argv[second], names, n);
                        return nearest ? err_set(err, EINVAL,
                                                 "unknown command '%s %s'; did you mean '%s %s'?", s.group,
                                                 argv[second], s.group, nearest)
                                       : err_set(err, EINVAL, "unknown command '%s %s'", s.group,
                                                 argv[second]);
                }
        } else if (!fallback || fallback->max_arguments == 0) {
                return unknown_command(p, argv[word], second < argc ? argv[second] : NULL, err);
        }
        *ret = s;
        return 0;
}

static int usage_error(const struct program_spec *p, const struct command_spec *c, const struct err *err) {
        char title[256];
        fprintf(stderr, "%s: %s\nTry '%s --help'.\n", p->name, err_message(err),
                command_title(p, c, title, sizeof(title)));
        return EXIT_USAGE;
}

static int check_count(const struct command_spec *c, char *const *words, size_t n, struct err **err) {
        if (n < c->min_arguments)
                return err_set(err, EINVAL, "%s: too few arguments; it takes %s", c->name, c->arguments);
        if (n > c->max_arguments) {
                if (c->max_arguments == 0)
                        return err_set(err, EINVAL, "%s: it takes no arguments, but '%s' was given", c->name,
                                       words[0]);
                return err_set(err, EINVAL, "%s: one argument too many: '%s'; it takes %s", c->name,
                               words[c->max_arguments], c->arguments);
        }
        return 0;
}

/* The text that a string option has on the command line, before the real parse; NULL: not given. */
static const char *peek_option(const struct program_spec *p, int argc, char **argv,
                               const struct option_spec *o) {
        const char *found = NULL;
        for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++) {
                const char *arg = argv[i], *rest;
                if (arg[0] != '-' || !arg[1])
                        continue;
                if (arg[1] == '-') {
                        rest = str_after_prefix(arg + 2, o->name);
                        if (rest && *rest == '=')
                                found = rest + 1;
                        else if (rest && !*rest && i + 1 < argc)
                                found = argv[i + 1];
                } else if (o->letter && arg[1] == o->letter) {
                        found = arg[2] ? arg + 2 : i + 1 < argc ? argv[i + 1] : found;
                }
                if (takes_next(p, arg))
                        i++;
        }
        return found;
}

/* Reads the configuration file into a set: the one named on the command line, in the environment, or the
 * option's fallback, which need not exist. */
static int read_config(const struct program_spec *p, const struct option_set *set, int argc, char **argv,
                       struct err **err) {
        const struct option_spec *o =
                p->config_option ? option_by_name(set->options, p->config_option, strlen(p->config_option))
                                 : NULL;
        if (!o || o->type != OPTION_STRING)
                return 0;
        _cleanup_(x_freep) char *variable = NULL;
        const char *path = peek_option(p, argc, argv, o);
        if (!path && p->environment_prefix) {
                const struct option_spec only[] = {*o, OPTIONS_END};
                int r = options_read_environment(only, set->settings, p->environment_prefix, err);
                if (r < 0)
                        return r;
                const char *now = *(char **)(void *)((char *)set->settings + o->offset);
                if (now && !str_eq(now, o->fallback)) {
                        variable = str_dup(now);
                        path = variable;
                }
        }
        if (!path && (!o->fallback || access(o->fallback, F_OK) != 0))
                return 0;
        return options_read_file(set->options, set->settings, path ? path : o->fallback, err);
}

static int run_command(const struct program_spec *p, const struct command_spec *c, void *global_settings,
                       int argc, char **argv) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(strv_freep) char **words = NULL;
        size_t n_words = 0;
        _cleanup_(x_freep) void *settings = calloc(1, c->settings_size ? c->settings_size : 1);
        if (!settings) {
                fprintf(stderr, "%s: out of memory\n", p->name);
                return EXIT_FAILURE;
        }
        const struct option_set sets[] = {{c->options, settings}, {p->global_options, global_settings}};
        bool is_default = c == program_default_command(p);
        int r = 0;
        options_set_fallbacks(c->options, settings);
        options_set_fallbacks(p->global_options, global_settings);
        for (size_t s = 0; r == 0 && s < ARRAY_SIZE(sets); s++) {
                if (s == 0 && !is_default)
                        continue;
                r = read_config(p, &sets[s], argc, argv, &err);
                if (r == 0 && p->environment_prefix)
                        r = options_read_environment(sets[s].options, sets[s].settings, p->environment_prefix,
                                                     &err);
        }
        if (r == 0)
                r = option_sets_parse(sets, ARRAY_SIZE(sets), argc - 1, argv + 1, &words, &n_words, &err);
        if (r == 0)
                r = check_count(c, words, n_words, &err);
        if (r == 0 && p->global_size > 0 && p->global_size <= c->settings_size)
                memcpy(settings, global_settings, p->global_size);
        int code = r == 0 ? c->run(settings, words, n_words) : usage_error(p, c, err);
        options_release(c->options, settings);
        options_release(p->global_options, global_settings);
        return code;
}

/* The built-in options: does argv hold one of them before "--"? */
static int find_builtin(const struct program_spec *p, int argc, char **argv, const char *name, char letter) {
        for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++) {
                if (str_eq(argv[i], name))
                        return i;
                if (letter && argv[i][0] == '-' && argv[i][1] == letter && !argv[i][2])
                        return i;
                if (argv[i][0] == '-' && argv[i][1] && takes_next(p, argv[i]))
                        i++;
        }
        return 0;
}

static bool letter_is_used(const struct program_spec *p, char letter) {
        if (option_by_letter(p->global_options, letter))
                return true;
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                if (option_by_letter(c->options, letter))
                        return true;
        return false;
}

/* "skerry help rollout pause". */
static int run_help_words(const struct program_spec *p, int argc, char **argv, int help) {
        const struct command_spec *c = NULL;
        const char *group = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        if (help + 1 < argc) {
                c = help + 2 < argc ? find_command(p, argv[help + 1], argv[help + 2]) : NULL;
                if (!c)
                        c = find_command(p, argv[help + 1], NULL);
                if (!c && is_group(p, argv[help + 1]))
                        group = argv[help + 1];
                if (!c && !group) {
                        struct selection s;
                        if (select_command(p, argc - help, argv + help, &s, &err) < 0)
                                return usage_error(p, NULL, err);
                }
        }
        options_print_help(stdout, p, c, group);
        return EXIT_SUCCESS;
}

/* Is the pipe's other end closed? Asked of the pipe, because errno is from an earlier write, if from any. */
static bool reader_is_gone(int fd) {
        struct pollfd p = {.fd = fd};
        return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* What was printed must have arrived: `skerry get nodes > /dev/full` is a failure. A reader that has seen
 * enough, as in `| head`, is none. */
static int finish_output(const struct program_spec *p, int code) {
        bool failed = fflush(stdout) != 0;
        int error = failed ? errno : 0; /* 0: an earlier write failed, nobody knows any more of what */
        if ((!failed && !ferror(stdout)) || error == EPIPE || reader_is_gone(STDOUT_FILENO))
                return code;
        fprintf(stderr, "%s: standard output cannot be written%s%s\n", p->name, error ? ": " : "",
                error ? strerror(error) : "");
        return EXIT_FAILURE;
}

int program_main(const struct program_spec *p, void *global_settings, int argc, char **argv) {
        _cleanup_(err_freep) struct err *err = NULL;
        if (find_builtin(p, argc, argv, "--version", 0)) {
                printf("%s %s\n", p->name, SKERRY_VERSION);
                return finish_output(p, EXIT_SUCCESS);
        }
        if (find_builtin(p, argc, argv, "--help-man", 0)) {
                options_print_man(stdout, p);
                return finish_output(p, EXIT_SUCCESS);
        }
        int at = find_builtin(p, argc, argv, "--help-completion", 0);
        if (at) {
                const char *shell = at + 1 < argc ? argv[at + 1] : "";
                if (options_print_completion(stdout, p, shell) < 0) {
                        (void)err_set(&err, EINVAL, "--help-completion takes bash or zsh, not '%s'", shell);
                        return usage_error(p, NULL, err);
                }
                return finish_output(p, EXIT_SUCCESS);
        }

        bool help = find_builtin(p, argc, argv, "--help", letter_is_used(p, 'h') ? 0 : 'h') != 0;
        int word = find_word(p, argc, argv, 1);
        if (word < argc && str_eq(argv[word], "help") && !find_command(p, "help", NULL))
                return finish_output(p, run_help_words(p, argc, argv, word));

        struct selection s = {0};
        if (select_command(p, argc, argv, &s, &err) < 0)
                return usage_error(p, NULL, err);
        if (help) {
                /* A daemon's --help tells of its commands as well. */
                const struct command_spec *c = s.word < argc ? s.command : NULL;
                options_print_help(stdout, p, c, s.group);
                return finish_output(p, EXIT_SUCCESS);
        }
        if (!s.command) {
                options_print_help(stderr, p, NULL, s.group);
                return EXIT_USAGE;
        }

        _cleanup_(x_freep) char **rest = calloc((size_t)argc + 1, sizeof(*rest));
        if (!rest) {
                fprintf(stderr, "%s: out of memory\n", p->name);
                return EXIT_FAILURE;
        }
        int n = 0;
        for (int i = 0; i < argc; i++)
                if (i != s.word && i != s.second)
                        rest[n++] = argv[i];
        return finish_output(p, run_command(p, s.command, global_settings, n, rest));
}
