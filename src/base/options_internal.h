/* SPDX-License-Identifier: Apache-2.0 */
/* What the modules behind base/options.h share: not for others. */
#pragma once

#include "base/options.h"

/* Options and where their values go; several are searched in order (a command's own, then the global). */
struct option_set {
        const struct option_spec *options; /* may be NULL */
        void *settings;
};

/* The name "-" as an option: NULL when there is none. */
const struct option_spec *option_by_name(const struct option_spec *options, const char *name, size_t len);
const struct option_spec *option_by_letter(const struct option_spec *options, char letter);

/* As options_parse(), over several sets. argv here starts with the first argument. */
int option_sets_parse(const struct option_set *sets, size_t n_sets, int argc, char *const *argv,
                      char ***ret_positional, size_t *ret_n, struct err **err);

const struct command_spec *program_default_command(const struct program_spec *p);
/* Is this command shown to people? */
static inline bool command_is_shown(const struct command_spec *c) {
        return c->name[0] != '_';
}
/* "skerry rollout pause"; the program's name alone for the default command. Valid until the next call with
 * the same buffer. */
const char *command_title(const struct program_spec *p, const struct command_spec *c, char *out, size_t size);

/* command NULL: the program as a whole. group not NULL: only commands "GROUP ...". */
void options_print_help(FILE *f, const struct program_spec *p, const struct command_spec *command,
                        const char *group);
void options_print_man(FILE *f, const struct program_spec *p);
/* shell: "bash" or "zsh"; -EINVAL for others. */
int options_print_completion(FILE *f, const struct program_spec *p, const char *shell);
