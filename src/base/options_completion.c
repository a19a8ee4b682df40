/* SPDX-License-Identifier: Apache-2.0 */
/* --help-completion: scripts for bash and zsh, whole, written from the tables of base/options.h.
 *
 * Both scripts work alike: find the command among the words, say whether the word before the cursor is an
 * option that wants a value, else count the positional arguments. A candidate source is a fixed list, files,
 * folders, or the program's answer to `<program> __complete WHAT [ARGUMENT...]`. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/options_internal.h"
#include "base/str.h"

/* The program's name as a shell identifier. */
static void identifier(const char *name, char *out, size_t size) {
        (void)snprintf(out, size, "_%s", name);
        for (char *p = out; *p; p++)
                if (!isalnum((unsigned char)*p))
                        *p = '_';
}

/* For single quotes, and for descriptions in zsh where ':' and brackets have a meaning. */
static void quoted(FILE *f, const char *s, bool zsh_description) {
        for (; *s; s++) {
                if (*s == '\'')
                        fputs("'\\''", f);
                else if (zsh_description && strchr(":[]\\", *s))
                        fprintf(f, "\\%c", *s);
                else
                        fputc(*s, f);
        }
}

static bool takes_value(const struct option_spec *o) {
        return o->type != OPTION_BOOL;
}

/* What the value of an option is, in the words of command_spec.completes. */
static const char *value_source(const struct option_spec *o) {
        if (o->choices)
                return o->choices[0] == '@' ? o->choices + 1 : o->choices;
        if (o->argument && strstr(o->argument, "DIR"))
                return "dir";
        if (o->argument && strstr(o->argument, "FILE"))
                return "file";
        return "-";
}

static bool source_is_list(const char *source, size_t len) {
        return memchr(source, ',', len) != NULL;
}

/* ---- bash */

static void bash_source(FILE *f, const char *source, size_t len) {
        if (len == 1 && *source == '-')
                fputs(":", f);
        else if (len == 4 && strncmp(source, "file", len) == 0)
                fputs("_filedir 2>/dev/null || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")", f);
        else if (len == 3 && strncmp(source, "dir", len) == 0)
                fputs("_filedir -d 2>/dev/null || mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")", f);
        else if (source_is_list(source, len)) {
                fputs("mapfile -t COMPREPLY < <(compgen -W '", f);
                for (size_t i = 0; i < len; i++)
                        fputc(source[i] == ',' ? ' ' : source[i], f);
                fputs("' -- \"$cur\")", f);
        } else {
                fprintf(f,
                        "mapfile -t COMPREPLY < <(compgen -W \"$(\"${words[0]}\" __complete %.*s"
                        " \"${args[@]}\" 2>/dev/null)\" -- \"$cur\")",
                        (int)len, source);
        }
}

static void bash_value_cases(FILE *f, const struct option_spec *options) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                if (!takes_value(o))
                        continue;
                fprintf(f, "                --%s", o->name);
                if (o->letter)
                        fprintf(f, "|-%c", o->letter);
                fputs(") ", f);
                const char *source = value_source(o);
                bash_source(f, source, strlen(source));
                fputs("; return ;;\n", f);
        }
}

static void bash_option_names(FILE *f, const struct option_spec *options) {
        for (const struct option_spec *o = options; o && o->name; o++)
                fprintf(f, " --%s", o->name);
}

/* All letters and names of options that take a value, for finding the words that are none. */
static void bash_valued(FILE *f, const struct program_spec *p) {
        const struct option_spec *options = p->global_options;
        const struct command_spec *c = p->commands;
        const char *separator = "";
        for (;;) {
                for (const struct option_spec *o = options; o && o->name; o++) {
                        if (!takes_value(o))
                                continue;
                        fprintf(f, "%s--%s", separator, o->name);
                        separator = "|";
                        if (o->letter)
                                fprintf(f, "|-%c", o->letter);
                }
                if (!c || !c->name)
                        break;
                options = c->options;
                c++;
        }
        if (!*separator)
                fputs("--help-completion", f);
}

static void bash_words(FILE *f, const struct program_spec *p, const char *group) {
        const char *last = "";
        size_t last_len = 0;
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                if (!command_is_shown(c))
                        continue;
                const char *word = c->name;
                if (group) {
                        word = str_after_prefix(c->name, group);
                        if (!word || *word != ' ')
                                continue;
                        word++;
                }
                size_t len = strcspn(word, " ");
                if (len == last_len && strncmp(word, last, len) == 0)
                        continue;
                fprintf(f, " %.*s", (int)len, word);
                last = word;
                last_len = len;
        }
}

/* One case of positional arguments: "$n" is how many stand before the cursor. */
static void bash_positional(FILE *f, const char *completes) {
        fputs("                case $n in\n", f);
        size_t n = 0;
        for (const char *p = completes + strspn(completes, " "); *p;) {
                size_t len = strcspn(p, " ");
                const char *next = p + len + strspn(p + len, " ");
                if (*next)
                        fprintf(f, "                %zu) ", n++);
                else
                        fputs("                *) ", f);
                bash_source(f, p, len);
                fputs(" ;;\n", f);
                p = next;
        }
        fputs("                esac\n", f);
}

/* Is this the first command that begins with the word, and is there a second word? Then ret_len is its
 * length. */
static bool begins_group(const struct program_spec *p, const struct command_spec *c, size_t *ret_len) {
        const char *blank = strchr(c->name, ' ');
        if (!blank || !command_is_shown(c))
                return false;
        size_t len = (size_t)(blank - c->name);
        for (const struct command_spec *before = p->commands; before != c; before++)
                if (strncmp(before->name, c->name, len + 1) == 0)
                        return false;
        *ret_len = len;
        return true;
}

static void bash_command(FILE *f, const struct program_spec *p, const struct command_spec *c) {
        fputs("        case $prev in\n", f);
        bash_value_cases(f, c ? c->options : NULL);
        bash_value_cases(f, p->global_options);
        fputs("        esac\n        if [[ $cur == -* ]]; then\n"
              "                mapfile -t COMPREPLY < <(compgen -W '--help",
              f);
        bash_option_names(f, c ? c->options : NULL);
        bash_option_names(f, p->global_options);
        if (!c || c == program_default_command(p))
                fputs(" --version", f);
        fputs("' -- \"$cur\")\n                return\n        fi\n", f);
}

static void print_bash(FILE *f, const struct program_spec *p) {
        const struct command_spec *fallback = program_default_command(p);
        char function[128];
        size_t len;
        identifier(p->name, function, sizeof(function));
        fprintf(f,
                "# bash completion for %s; written by `%s --help-completion bash`\n"
                "%s() {\n"
                "        local cur prev cword n i command='' word\n"
                "        local -a words args=() found=()\n"
                "        COMPREPLY=()\n"
                "        words=(\"${COMP_WORDS[@]}\")\n"
                "        cword=$COMP_CWORD\n"
                "        cur=${words[cword]}\n"
                "        prev=${words[cword - 1]}\n"
                "        # What stands before the cursor and is neither an option nor the value of one.\n"
                "        for ((i = 1; i < cword; i++)); do\n"
                "                word=${words[i]}\n"
                "                case $word in\n"
                "                ",
                p->name, p->name, function);
        bash_valued(f, p);
        fputs(") ((i++)) ;;\n"
              "                -*) ;;\n"
              "                *) found+=(\"$word\") ;;\n"
              "                esac\n"
              "        done\n"
              "        case \"${found[0]} ${found[1]}\" in\n",
              f);
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                if (strchr(c->name, ' '))
                        fprintf(f, "        '%s') command='%s'; args=(\"${found[@]:2}\") ;;\n", c->name,
                                c->name);
        fputs("        *) command=${found[0]}; args=(\"${found[@]:1}\") ;;\n"
              "        esac\n"
              "        n=${#args[@]}\n"
              "        case $command in\n",
              f);
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                if (!command_is_shown(c))
                        continue;
                fprintf(f, "        '%s')\n", c->name);
                bash_command(f, p, c);
                if (c->completes)
                        bash_positional(f, c->completes);
                fputs("                ;;\n", f);
        }
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                if (begins_group(p, c, &len)) {
                        _cleanup_(x_freep) char *group = str_dup_n(c->name, len);
                        if (!group)
                                return;
                        fprintf(f, "        '%s')\n                mapfile -t COMPREPLY < <(compgen -W '",
                                group);
                        bash_words(f, p, group);
                        fputs("' -- \"$cur\")\n                ;;\n", f);
                }
        fputs("        '')\n", f);
        bash_command(f, p, fallback);
        fputs("                mapfile -t COMPREPLY < <(compgen -W '", f);
        bash_words(f, p, NULL);
        fprintf(f,
                "' -- \"$cur\")\n"
                "                ;;\n"
                "        esac\n"
                "}\n"
                "complete -F %s %s\n",
                function, p->name);
}

/* ---- zsh */

static void zsh_source(FILE *f, const char *source, size_t len) {
        if (len == 1 && *source == '-')
                fputs("( )", f);
        else if (len == 4 && strncmp(source, "file", len) == 0)
                fputs("_files", f);
        else if (len == 3 && strncmp(source, "dir", len) == 0)
                fputs("_files -/", f);
        else if (source_is_list(source, len)) {
                fputc('(', f);
                for (size_t i = 0; i < len; i++)
                        fputc(source[i] == ',' ? ' ' : source[i], f);
                fputc(')', f);
        } else {
                fprintf(f, "{_skerry_ask %.*s}", (int)len, source);
        }
}

static void zsh_options(FILE *f, const struct option_spec *options) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                const char *repeat = o->type == OPTION_STRINGS ? "*" : "";
                fputs("                ", f);
                if (o->letter && !*repeat)
                        fprintf(f, "'(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter,
                                takes_value(o) ? "+" : "", o->name, takes_value(o) ? "=" : "");
                else if (o->letter)
                        fprintf(f, "'*'{-%c+,--%s=}'[", o->letter, o->name);
                else
                        fprintf(f, "'%s--%s%s[", repeat, o->name, takes_value(o) ? "=" : "");
                quoted(f, o->help ? o->help : "", true);
                fputc(']', f);
                if (takes_value(o)) {
                        const char *source = value_source(o);
                        fputc(':', f);
                        quoted(f, o->argument ? o->argument : "value", true);
                        fputc(':', f);
                        zsh_source(f, source, strlen(source));
                }
                fputs("' \\\n", f);
        }
}

static void zsh_positional(FILE *f, const char *completes) {
        for (const char *p = completes + strspn(completes, " "); *p;) {
                size_t len = strcspn(p, " ");
                const char *next = p + len + strspn(p + len, " ");
                fprintf(f, "                '%s:%.*s:", *next ? "" : "*",
                        source_is_list(p, len) ? 4 : (int)len, source_is_list(p, len) ? "word" : p);
                zsh_source(f, p, len);
                fputs("' \\\n", f);
                p = next;
        }
}

/* of_program: what stands before a command's name. */
static void zsh_command(FILE *f, const struct program_spec *p, const struct command_spec *c,
                        bool of_program) {
        fputs("                _arguments -s -S \\\n", f);
        if (c) {
                zsh_options(f, c->options);
                if (c->completes)
                        zsh_positional(f, c->completes);
        }
        zsh_options(f, p->global_options);
        fputs("                '(- *)'{-h,--help}'[Show help]'", f);
        fputs(of_program ? " '(- *)--version[Show the version]'\n" : "\n", f);
}

/* "'word:summary'" for every first word, or every second word of a group. */
static void zsh_words(FILE *f, const struct program_spec *p, const char *group) {
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                const char *word = c->name, *summary = c->summary;
                size_t len;
                if (!command_is_shown(c))
                        continue;
                if (group) {
                        word = str_after_prefix(c->name, group);
                        if (!word || *word != ' ')
                                continue;
                        word++;
                } else if (strchr(word, ' ')) {
                        if (!begins_group(p, c, &len))
                                continue;
                        fprintf(f, " '%.*s:", (int)len, word);
                        quoted(f, summary, true);
                        fputs(" ...'", f);
                        continue;
                }
                fprintf(f, " '%s:", word);
                quoted(f, summary, true);
                fputc('\'', f);
        }
}

static void print_zsh(FILE *f, const struct program_spec *p) {
        const struct command_spec *fallback = program_default_command(p);
        char function[128];
        size_t len;
        identifier(p->name, function, sizeof(function));
        fprintf(f,
                "#compdef %s\n"
                "# zsh completion for %s; written by `%s --help-completion zsh`\n\n"
                "_skerry_ask() {\n"
                "        local -a answers\n"
                "        answers=(${(f)\"$(_call_program %s %s __complete $1 ${(q)line[1,CURRENT-2]} "
                "2>/dev/null)\"})\n"
                "        compadd -a answers\n"
                "}\n\n"
                "%s() {\n"
                "        local -a commands\n"
                "        local command word i=2 skip=1\n"
                "        local -a line\n"
                "        # The command's words: the first ones that are neither an option nor the value of "
                "one.\n"
                "        while ((i < CURRENT)); do\n"
                "                word=$words[i]\n"
                "                case $word in\n"
                "                ",
                p->name, p->name, p->name, p->name, p->name, function);
        bash_valued(f, p);
        fputs(") ((i++)) ;;\n"
              "                -*) ;;\n"
              "                *) command=$word; skip=$i; break ;;\n"
              "                esac\n"
              "                ((i++))\n"
              "        done\n"
              "        case \"$command $words[skip+1]\" in\n",
              f);
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                if (strchr(c->name, ' '))
                        fprintf(f,
                                "        '%s') ((skip + 1 < CURRENT)) && { command='%s'; ((skip++)) } ;;\n",
                                c->name, c->name);
        fputs("        esac\n"
              "        if [[ -n $command ]]; then\n"
              "                # _arguments wants to see the command's own words only.\n"
              "                words=(\"$command\" \"${(@)words[skip+1,-1]}\")\n"
              "                ((CURRENT -= skip - 1))\n"
              "        fi\n"
              "        case $command in\n",
              f);
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                if (!command_is_shown(c))
                        continue;
                fprintf(f, "        '%s')\n", c->name);
                zsh_command(f, p, c, false);
                fputs("                ;;\n", f);
        }
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                if (begins_group(p, c, &len)) {
                        _cleanup_(x_freep) char *group = str_dup_n(c->name, len);
                        if (!group)
                                return;
                        fprintf(f, "        '%s')\n                commands=(", group);
                        zsh_words(f, p, group);
                        fputs(" )\n                _describe command commands\n                ;;\n", f);
                }
        fputs("        '')\n                if [[ $words[CURRENT] == -* ]] || ((i > CURRENT)); then\n", f);
        zsh_command(f, p, fallback, true);
        fputs("                else\n                commands=(", f);
        zsh_words(f, p, NULL);
        fprintf(f,
                " )\n"
                "                _describe command commands\n"
                "                fi\n"
                "                ;;\n"
                "        esac\n"
                "}\n\n"
                "%s \"$@\"\n",
                function);
}

int options_print_completion(FILE *f, const struct program_spec *p, const char *shell) {
        if (str_eq(shell, "bash"))
                print_bash(f, p);
        else if (str_eq(shell, "zsh"))
                print_zsh(f, p);
        else
                return -EINVAL;
        return 0;
}
