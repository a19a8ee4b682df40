/* SPDX-License-Identifier: Apache-2.0 */
/* --help and --help-man: both are written from the tables of base/options.h. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/options_internal.h"
#include "base/str.h"
#include "base/terminal.h"
#include "version.h"

#define HELP_MAX_WIDTH 100 /* longer lines read badly, however wide the terminal */
#define TERM_COLUMN 30     /* where the explanations begin */

/* ---- the small text form of details and man_*: see struct program_spec */

enum line_kind { LINE_BLANK, LINE_LITERAL, LINE_ITEM, LINE_TEXT };

struct text_line {
        enum line_kind kind;
        const char *start; /* LINE_ITEM: the term */
        size_t len;
        const char *rest; /* LINE_ITEM: what follows the tab */
        size_t rest_len;
};

/* Takes the next line off *text. False at the end. */
static bool next_line(const char **text, struct text_line *ret) {
        const char *p = *text;
        if (!p || !*p)
                return false;
        size_t len = strcspn(p, "\n");
        const char *tab = memchr(p, '\t', len);
        *ret = (struct text_line){.kind = LINE_TEXT, .start = p, .len = len};
        if (len == 0)
                ret->kind = LINE_BLANK;
        else if (*p == ' ')
                ret->kind = LINE_LITERAL;
        else if (tab) {
                ret->kind = LINE_ITEM;
                ret->len = (size_t)(tab - p);
                ret->rest = tab + 1;
                ret->rest_len = len - ret->len - 1;
        }
        *text = p + len + (p[len] == '\n');
        return true;
}

/* ---- --help */

/* Words of text wrapped between column indent and width; the cursor stands at column `at`. */
static size_t put_words(FILE *f, const char *text, size_t len, size_t at, size_t indent, size_t width) {
        bool first = true;
        while (len > 0) {
                size_t blanks = 0, word = 0;
                while (blanks < len && text[blanks] == ' ')
                        blanks++;
                text += blanks;
                len -= blanks;
                while (word < len && text[word] != ' ')
                        word++;
                if (word == 0)
                        break;
                size_t columns = utf8_width(text, word);
                bool at_start = at <= indent;
                if (!at_start && at + !first + columns > width) {
                        fprintf(f, "\n%*s", (int)indent, "");
                        at = indent;
                        at_start = true;
                } else if (at < indent) {
                        fprintf(f, "%*s", (int)(indent - at), "");
                        at = indent;
                }
                if (!at_start) {
                        fputc(' ', f);
                        at++;
                }
                fwrite(text, 1, word, f);
                at += columns;
                first = false;
                text += word;
                len -= word;
        }
        return at;
}

/* "  term      explanation", the explanation wrapped in its column. */
static void put_item(FILE *f, const char *term, const char *text, size_t text_len, size_t width) {
        size_t at = 2 + utf8_width(term, strlen(term));
        size_t column = width < 70 ? 8 : TERM_COLUMN;
        fprintf(f, "  %s", term);
        if (text_len > 0) {
                if (at + 2 > column) {
                        fputc('\n', f);
                        at = 0;
                }
                put_words(f, text, text_len, at, column, width);
        }
        fputc('\n', f);
}

static void put_text(FILE *f, const char *text, size_t width) {
        struct text_line l;
        size_t at = 0;
        while (next_line(&text, &l)) {
                if (l.kind == LINE_TEXT) {
                        at = put_words(f, l.start, l.len, at, 0, width);
                        continue;
                }
                if (at > 0)
                        fputc('\n', f);
                at = 0;
                if (l.kind == LINE_BLANK) {
                        fputc('\n', f);
                } else if (l.kind == LINE_LITERAL) {
                        fprintf(f, "%.*s\n", (int)l.len, l.start);
                } else {
                        _cleanup_(x_freep) char *term = str_dup_n(l.start, l.len);
                        put_item(f, term ? term : "", l.rest, l.rest_len, width);
                }
        }
        if (at > 0)
                fputc('\n', f);
}

static const char *value_name(const struct option_spec *o) {
        if (o->argument)
                return o->argument;
        switch (o->type) {
        case OPTION_BOOL: return NULL;
        case OPTION_INT: return "NUMBER";
        case OPTION_DURATION: return "DURATION";
        case OPTION_CHOICE: return "CHOICE";
        case OPTION_STRING:
        case OPTION_STRINGS: break;
        }
        return "VALUE";
}

/* "The help. One of: a, b. Default: x." */
static void explain_option(struct buf *b, const struct option_spec *o) {
        buf_puts(b, o->help ? o->help : "");
        if (o->type == OPTION_CHOICE && o->choices && o->choices[0] != '@') {
                buf_puts(b, ": ");
                for (const char *p = o->choices; *p; p++)
                        buf_puts(b, *p == ',' ? ", " : (char[]){*p, '\0'});
        }
        if (o->type == OPTION_STRINGS)
                buf_puts(b, " (may be given several times)");
        if (o->required)
                buf_puts(b, " (required)");
        else if (!str_is_empty(o->fallback))
                buf_printf(b, " (default: %s)", o->fallback);
}

static void put_options(FILE *f, const char *title, const struct option_spec *options, size_t width) {
        if (!options || !options->name)
                return;
        fprintf(f, "\n%s:\n", title);
        for (const struct option_spec *o = options; o->name; o++) {
                _cleanup_(buf_done) struct buf term = BUF_INIT, text = BUF_INIT;
                if (o->letter)
                        buf_printf(&term, "-%c, --%s", o->letter, o->name);
                else
                        buf_printf(&term, "    --%s", o->name);
                if (value_name(o))
                        buf_printf(&term, " %s", value_name(o));
                explain_option(&text, o);
                put_item(f, buf_str(&term), buf_str(&text), text.len, width);
        }
}

static void put_commands(FILE *f, const struct program_spec *p, const char *group, size_t width) {
        const struct command_spec *fallback = program_default_command(p);
        bool titled = false;
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                const char *rest = group ? str_after_prefix(c->name, group) : "";
                if (!command_is_shown(c) || (group && (!rest || (*rest != ' ' && *rest))))
                        continue;
                if (c == fallback && !group && !c[1].name && c == p->commands)
                        return; /* the only command, which needs no word */
                if (!titled)
                        fprintf(f, "\nCommands:\n");
                titled = true;
                _cleanup_(buf_done) struct buf term = BUF_INIT, text = BUF_INIT;
                buf_puts(&term, c->name);
                buf_puts(&text, c->summary);
                if (c == fallback)
                        buf_puts(&text, " (the default)");
                put_item(f, buf_str(&term), buf_str(&text), text.len, width);
        }
}

/* How many commands are shown? */
static size_t count_shown(const struct program_spec *p) {
        size_t n = 0;
        for (const struct command_spec *c = p->commands; c && c->name; c++)
                n += command_is_shown(c);
        return n;
}

static void put_builtins(FILE *f, size_t width) {
        static const char *const items[][2] = {
                {"-h, --help", "Show this help"},
                {"    --version", "Show the version"},
                {"    --help-man", "Print the man page"},
                {"    --help-completion SHELL", "Print the completion script for bash or zsh"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(items); i++)
                put_item(f, items[i][0], items[i][1], strlen(items[i][1]), width);
}

void options_print_help(FILE *f, const struct program_spec *p, const struct command_spec *command,
                        const char *group) {
        size_t width = MIN(terminal_width(fileno(f)), (size_t)HELP_MAX_WIDTH);
        const struct command_spec *fallback = program_default_command(p);
        char title[256];
        if (command) {
                fprintf(f, "Usage: %s [OPTION...]%s%s\n\n", command_title(p, command, title, sizeof(title)),
                        str_is_empty(command->arguments) ? "" : " ",
                        command->arguments ? command->arguments : "");
                put_words(f, command->summary, strlen(command->summary), 0, 0, width);
                fputc('\n', f);
                if (command->details) {
                        fputc('\n', f);
                        put_text(f, command->details, width);
                }
                put_options(f, "Options", command->options, width);
                put_options(f, "Global options", p->global_options, width);
                return;
        }
        if (group)
                fprintf(f, "Usage: %s %s COMMAND [OPTION...]\n", p->name, group);
        else if (!fallback)
                fprintf(f, "Usage: %s COMMAND [OPTION...]\n", p->name);
        else
                fprintf(f, "Usage: %s%s [OPTION...]\n", p->name, count_shown(p) > 1 ? " [COMMAND]" : "");
        if (!group) {
                fputc('\n', f);
                put_words(f, p->summary, strlen(p->summary), 0, 0, width);
                fputc('\n', f);
                if (p->details) {
                        fputc('\n', f);
                        put_text(f, p->details, width);
                }
        }
        put_commands(f, p, group, width);
        if (fallback && !group)
                put_options(f, "Options", fallback->options, width);
        put_options(f, "Global options", p->global_options, width);
        if (!group) {
                fprintf(f, "\nMore:\n");
                put_builtins(f, width);
        }
        if (count_shown(p) > 1)
                fprintf(f, "\nSee '%s %s%sCOMMAND --help' for the options of one command.\n", p->name,
                        group ? group : "", group ? " " : "");
}

/* ---- --help-man */

/* Text that roff takes as it stands. */
static void roff(FILE *f, const char *s, size_t len) {
        for (size_t i = 0; i < len; i++) {
                bool first = i == 0 || s[i - 1] == '\n';
                if (first && (s[i] == '.' || s[i] == '\''))
                        fputs("\\&", f);
                switch (s[i]) {
                case '\\': fputs("\\e", f); break;
                case '-': fputs("\\-", f); break;
                case '~': fputs("\\(ti", f); break;
                case '^': fputs("\\(ha", f); break;
                case '`': fputs("\\(ga", f); break;
                case '\'': fputs("\\(aq", f); break;
                default: fputc(s[i], f); break;
                }
        }
}

static void roff_string(FILE *f, const char *s) {
        roff(f, s, strlen(s));
}

static void roff_text(FILE *f, const char *text) {
        struct text_line l;
        bool literal = false, paragraph = true;
        while (next_line(&text, &l)) {
                if (literal && l.kind != LINE_LITERAL) {
                        fputs(".fi\n.RE\n", f);
                        literal = false;
                }
                switch (l.kind) {
                case LINE_BLANK: paragraph = true; break;
                case LINE_LITERAL:
                        if (!literal)
                                fputs(".PP\n.RS 4\n.nf\n", f);
                        literal = true;
                        while (l.len > 0 && *l.start == ' ') {
                                l.start++;
                                l.len--;
                        }
                        roff(f, l.start, l.len);
                        fputc('\n', f);
                        paragraph = true;
                        break;
                case LINE_ITEM:
                        fputs(".TP\n\\fB", f);
                        roff(f, l.start, l.len);
                        fputs("\\fR\n", f);
                        roff(f, l.rest, l.rest_len);
                        fputc('\n', f);
                        paragraph = true;
                        break;
                case LINE_TEXT:
                        if (paragraph)
                                fputs(".PP\n", f);
                        paragraph = false;
                        roff(f, l.start, l.len);
                        fputc('\n', f);
                        break;
                }
        }
        if (literal)
                fputs(".fi\n.RE\n", f);
}

static void man_options(FILE *f, const struct option_spec *options) {
        for (const struct option_spec *o = options; o && o->name; o++) {
                _cleanup_(buf_done) struct buf text = BUF_INIT;
                fputs(".TP\n", f);
                if (o->letter)
                        fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
                fputs("\\fB\\-\\-", f);
                roff_string(f, o->name);
                fputs("\\fR", f);
                if (value_name(o)) {
                        fputs(" \\fI", f);
                        roff_string(f, value_name(o));
                        fputs("\\fR", f);
                }
                fputc('\n', f);
                explain_option(&text, o);
                roff(f, buf_str(&text), text.len);
                fputs(".\n", f);
        }
}

static void man_section(FILE *f, const char *title, const char *text) {
        if (str_is_empty(text))
                return;
        fprintf(f, ".SH %s\n", title);
        roff_text(f, text);
}

static void man_commands(FILE *f, const struct program_spec *p) {
        const struct command_spec *fallback = program_default_command(p);
        if (count_shown(p) <= (fallback ? 1 : 0))
                return;
        fputs(".SH COMMANDS\n", f);
        for (const struct command_spec *c = p->commands; c && c->name; c++) {
                if (!command_is_shown(c))
                        continue;
                fputs(".SS \"", f);
                roff_string(f, c->name);
                if (!str_is_empty(c->arguments)) {
                        fputc(' ', f);
                        roff_string(f, c->arguments);
                }
                fputs("\"\n", f);
                roff_string(f, c->summary);
                fputs(".\n", f);
                if (c == fallback) { /* what the page is about */
                        fputs("Without a command the program does this; the options are those under "
                              "OPTIONS.\n",
                              f);
                        continue;
                }
                if (c->details)
                        roff_text(f, c->details);
                man_options(f, c->options);
        }
}

static void man_environment(FILE *f, const struct program_spec *p) {
        const struct command_spec *fallback = program_default_command(p);
        if (!p->environment_prefix && str_is_empty(p->man_environment))
                return;
        fputs(".SH ENVIRONMENT\n", f);
        if (p->environment_prefix) {
                const struct option_spec *tables[] = {fallback ? fallback->options : NULL, p->global_options};
                for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
                        for (const struct option_spec *o = tables[t]; o && o->name; o++) {
                                fprintf(f, ".TP\n\\fB%s_", p->environment_prefix);
                                for (const char *c = o->name; *c; c++)
                                        fputc(*c == '-' ? '_' : toupper((unsigned char)*c), f);
                                fputs("\\fR\nAs \\fB\\-\\-", f);
                                roff_string(f, o->name);
                                fputs("\\fR; the command line wins.\n", f);
                        }
        }
        if (p->man_environment)
                roff_text(f, p->man_environment);
}

/* The programs that point at each other, with the sections of their pages. */
static const char *const family[] = {"skerry(1)", "skerry-agent(8)", "skerry-relay(8)", "skerry-server(8)"};

static char man_section_of(const struct program_spec *p) {
        for (size_t i = 0; i < ARRAY_SIZE(family); i++) {
                const char *rest = str_after_prefix(family[i], p->name);
                if (rest && *rest == '(')
                        return rest[1];
        }
        return '1';
}

void options_print_man(FILE *f, const struct program_spec *p) {
        const struct command_spec *fallback = program_default_command(p);
        fputs(".TH \"", f);
        for (const char *c = p->name; *c; c++)
                fputc(toupper((unsigned char)*c), f);
        fprintf(f, "\" \"%c\" \"\" \"skerry %s\" \"Skerry manual\"\n.nh\n.ad l\n", man_section_of(p),
                SKERRY_VERSION);
        fputs(".SH NAME\n", f);
        roff_string(f, p->name);
        fputs(" \\- ", f);
        roff_string(f, p->summary);
        fputs("\n.SH SYNOPSIS\n\\fB", f);
        roff_string(f, p->name);
        fputs(fallback ? "\\fR [\\fIOPTION\\fR...]\n" : "\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n", f);
        if (fallback && count_shown(p) > 1) {
                fputs(".br\n\\fB", f);
                roff_string(f, p->name);
                fputs("\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n", f);
        }
        fputs(".SH DESCRIPTION\n", f);
        if (p->details)
                roff_text(f, p->details);
        else
                fprintf(f, "%s.\n", p->summary);
        if (fallback && fallback->details)
                roff_text(f, fallback->details);
        man_commands(f, p);
        fputs(".SH OPTIONS\n", f);
        if (fallback)
                man_options(f, fallback->options);
        man_options(f, p->global_options);
        fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nShow help, for the whole or for the command it stands "
              "with.\n"
              ".TP\n\\fB\\-\\-version\\fR\nShow the version.\n"
              ".TP\n\\fB\\-\\-help\\-completion\\fR \\fISHELL\\fR\nPrint the completion script for bash or "
              "zsh.\n",
              f);
        if (p->config_option) {
                fputs(".SH CONFIGURATION FILE\nThe file named by \\fB\\-\\-", f);
                roff_string(f, p->config_option);
                fputs("\\fR holds lines of the form \\(lqkey: value\\(rq, where the keys are the long "
                      "options\\(aq names"
                      " without dashes. Lists are given by repeating their key; \\(lq#\\(rq begins a "
                      "comment. What the"
                      " environment or the command line says wins.\n",
                      f);
        }
        man_environment(f, p);
        man_section(f, "FILES", p->man_files);
        man_section(f, "EXIT STATUS",
                    p->man_exit_codes ? p->man_exit_codes
                                      : "0\tDone.\n1\tFailed.\n64\tThe command line is wrong.");
        man_section(f, "EXAMPLES", p->man_examples);
        fputs(".SH SEE ALSO\n", f);
        bool first = true;
        for (size_t i = 0; i < ARRAY_SIZE(family); i++) {
                const char *rest = str_after_prefix(family[i], p->name);
                if (rest && *rest == '(')
                        continue;
                const char *bracket = strchr(family[i], '(');
                fputs(first ? "\\fB" : ", \\fB", f);
                roff(f, family[i], (size_t)(bracket - family[i]));
                fprintf(f, "\\fR%s", bracket);
                first = false;
        }
        fputc('\n', f);
}
