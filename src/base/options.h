/* SPDX-License-Identifier: Apache-2.0 */
/* Declarative configuration: one table gives the command-line parser, the configuration file's keys,
 * `--help`, the shell completion and the man page.
 *
 * A program (or a subcommand) describes its settings as `struct option_spec` rows that point into a
 * settings struct by offset. Strings land as malloc'ed copies (options_release() frees them). */
#pragma once

#include <stdio.h>

#include "base/err.h"

enum option_type {
        OPTION_STRING,   /* char *            */
        OPTION_STRINGS,  /* char ** (repeat)  */
        OPTION_BOOL,     /* bool, no argument */
        OPTION_INT,      /* int64_t           */
        OPTION_DURATION, /* msec_t (int64_t)  */
        OPTION_CHOICE,   /* char *, one of choices, comma separated */
};

struct option_spec {
        const char *name; /* long name without dashes; NULL ends the table */
        char letter;      /* short form, or 0 */
        enum option_type type;
        size_t offset;        /* in the settings struct */
        const char *argument; /* shown in help: "DIR", "NAME=VALUE" */
        const char *fallback; /* default as text, or NULL */
        const char *help;     /* one sentence, no full stop */
        const char *choices;  /* OPTION_CHOICE: "table,wide,json"; else NULL. Completion uses it too;
                                 "@nodes" style names ask the program for candidates. */
        bool required;
};

#define OPTIONS_END                                                                                          \
        { NULL, 0, OPTION_STRING, 0, NULL, NULL, NULL, NULL, false }

/* One command: a program itself, or one of its subcommands (names may hold a blank: "rollout pause"). */
struct command_spec {
        const char *name;      /* "get"; NULL ends a table of commands */
        const char *arguments; /* "KIND [NAME...]", or "" */
        const char *summary;   /* one line */
        const char *details;   /* paragraphs for --help and man, or NULL */
        const struct option_spec *options;
        size_t settings_size; /* bytes of the settings struct */
        size_t min_arguments;
        size_t max_arguments; /* SIZE_MAX: any number */
        /* What the positional arguments are, for completion: one word for each, the last one for all
         * further ones. "file", "dir", fixed choices with a comma in them ("bash,zsh"), "-" for nothing;
         * any other word WHAT is asked for by running `<program> __complete WHAT [ARGUMENT...]` with the
         * positional arguments before it (a command of that name; commands that begin with '_' are not
         * shown). "kinds objects" */
        const char *completes;
        /* settings as parsed, positional arguments; returns the process's exit code. */
        int (*run)(void *settings, char **arguments, size_t n_arguments);
};

struct program_spec {
        const char *name;                         /* "skerry-agent" */
        const char *summary;                      /* one line for man and --help */
        const char *details;                      /* or NULL */
        const struct option_spec *global_options; /* before or after the subcommand; NULL where none */
        const struct command_spec *commands;      /* ended by a NULL name */
        const char *default_command; /* run when no word is given (daemons), or NULL: print help */
        /* Text without roff, or NULL: blank lines part paragraphs, "TERM<tab>what it is" makes a list, lines
         * that begin with a blank stand as they are. `details` above are written the same way. */
        const char *man_files, *man_environment, *man_exit_codes, *man_examples;
        /* "SKERRY_AGENT": SKERRY_AGENT_STATE_DIR sets --state-dir. Holds for global options and those of the
         * default command. NULL: the environment is not read. */
        const char *environment_prefix;
        /* Name of the (global or default command's) string option that names a configuration file: it is
         * read before the environment and the command line. A file that is only the option's fallback may
         * be absent. NULL: none. */
        const char *config_option;
        /* Not 0: the settings of every command begin with a copy of the global settings, of this many bytes
         * (its strings stay the global ones). */
        size_t global_size;
};

#define EXIT_USAGE 64 /* sysexits.h EX_USAGE: the command line was wrong */

/* Parses argv (argv[0] is skipped) over what settings hold: `--name value`, `--name=value`, `-n value`,
 * `-nvalue`, bundled switches, `--`. A list given here replaces the list that was there. Required options
 * must be set by then. ret_positional is a strv of the rest. Later sources win: call options_set_fallbacks(),
 * then options_read_file(), then options_read_environment(), then this. */
int options_parse(const struct option_spec *options, void *settings, int argc, char **argv,
                  char ***ret_positional, size_t *ret_n, struct err **err);
/* Fallbacks must be right: a wrong one is a mistake of ours and ends the process. */
void options_set_fallbacks(const struct option_spec *options, void *settings);
/* One value from its text; a list grows by one. -ENOENT for an unknown name, with the nearest one. */
int options_set(const struct option_spec *options, void *settings, const char *name, const char *value,
                struct err **err);
/* "key: value" lines, '#' comments, values may be quoted; unknown and repeated keys are errors with file:line
 * and the nearest key (lists are given by repeating their key). */
int options_read_file(const struct option_spec *options, void *settings, const char *path, struct err **err);
/* The same for text that is at hand; name stands for it in errors. */
int options_read_text(const struct option_spec *options, void *settings, const char *name, const char *text,
                      size_t len, struct err **err);
/* PREFIX_NAME for each option; lists are comma separated; empty values count as not given. */
int options_read_environment(const struct option_spec *options, void *settings, const char *prefix,
                             struct err **err);
void options_release(const struct option_spec *options, void *settings);

/* A whole program: picks the subcommand, parses, prints help (--help), man page (--help-man, roff) and
 * completion (--help-completion bash|zsh), version (--version); reports usage errors with the nearest
 * option and exit code 64. `global_settings` receives the global options. Returns the exit code. */
int program_main(const struct program_spec *program, void *global_settings, int argc, char **argv);
