/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/options.h"
#include "base/str.h"

struct settings {
        char *output, *directory, *config;
        char **selectors;
        int64_t count;
        msec_t wait;
        bool watch, all;
};

static const struct option_spec options[] = {
        {"output", 'o', OPTION_CHOICE, offsetof(struct settings, output), "FORMAT", "table", "How to print",
         "table,wide,json"},
        {"state-dir", 'd', OPTION_STRING, offsetof(struct settings, directory), "DIR", NULL,
         "Where to keep state"},
        {"selector", 'l', OPTION_STRINGS, offsetof(struct settings, selectors), "SELECTOR", "x=y",
         "Which ones"},
        {"count", 'n', OPTION_INT, offsetof(struct settings, count), NULL, "5", "How many"},
        {"wait", 0, OPTION_DURATION, offsetof(struct settings, wait), NULL, "1h", "How long"},
        {"watch", 'w', OPTION_BOOL, offsetof(struct settings, watch), NULL, NULL, "Go on"},
        {"all", 'a', OPTION_BOOL, offsetof(struct settings, all), NULL, NULL, "Everything"},
        {"config", 'c', OPTION_STRING, offsetof(struct settings, config), "FILE", "/nonexistent/skerry.conf",
         "Settings"},
        OPTIONS_END,
};

/* options_parse() over the words of a line. */
static int parse(struct settings *s, const char *line, char ***words, size_t *n, struct err **err) {
        _cleanup_(strv_freep) char **argv = strv_split(line, " ");
        return options_parse(options, s, (int)strv_len(argv), argv, words, n, err);
}

static void test_every_way_to_give_a_value(void **state) {
        struct settings s = {0};
        char **words = NULL;
        size_t n = 0;
        options_set_fallbacks(options, &s);
        assert_string_equal(s.output, "table");
        assert_int_equal(s.wait, 3600000);
        assert_string_equal(s.selectors[0], "x=y");
        assert_int_equal(
                parse(&s,
                      "p one --output=json -d/a -l a=b --selector c=d -wan7 --wait 1m30s - -- --output -x",
                      &words, &n, NULL),
                0);
        assert_string_equal(s.output, "json");
        assert_string_equal(s.directory, "/a");
        assert_int_equal(strv_len(s.selectors), 2); /* the fallback gave way */
        assert_string_equal(s.selectors[0], "a=b");
        assert_string_equal(s.selectors[1], "c=d");
        assert_true(s.watch && s.all);
        assert_int_equal(s.count, 7);
        assert_int_equal(s.wait, 90000);
        assert_int_equal(n, 4);
        static const char *const expected[] = {"one", "-", "--output", "-x"};
        for (size_t i = 0; i < n; i++)
                assert_string_equal(words[i], expected[i]);
        strv_free(words);
        words = NULL;
        assert_int_equal(parse(&s, "p --watch=false", &words, &n, NULL), 0);
        assert_false(s.watch);
        assert_int_equal(n, 0);
        strv_free(words);
        options_release(options, &s);
        assert_null(s.output);
        assert_null(s.selectors);
}

static void test_mistakes_are_named(void **state) {
        static const struct {
                const char *first, *second, *says;
        } cases[] = {
                {"--ouput", "json", "did you mean '--output'"},
                {"--hlep", NULL, "did you mean '--help'"},
                {"--something-else", NULL, "unknown option '--something-else'"},
                {"-x", NULL, "unknown option '-x'"},
                {"-wx", NULL, "unknown option '-x'"},
                {"--output", NULL, "--output FORMAT"},
                {"-o", NULL, "option --output needs a value"},
                {"-o", "jsn", "did you mean 'json'"},
                {"--count", "5x", "'5x' is not a whole number"},
                {"--count", "99999999999999999999", "in range"},
                {"--wait", "soon", "not a duration"},
                {"--watch=maybe", NULL, "neither true nor false"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(err_freep) struct err *err = NULL;
                struct settings s = {0};
                char *argv[] = {(char *)"p", (char *)cases[i].first, (char *)cases[i].second, NULL};
                char **words = NULL;
                size_t n = 99;
                assert_int_equal(options_parse(options, &s, cases[i].second ? 3 : 2, argv, &words, &n, &err),
                                 -EINVAL);
                assert_null(words);
                assert_int_equal(n, 99);
                if (!strstr(err_message(err), cases[i].says))
                        fail_msg("'%s' does not say '%s'", err_message(err), cases[i].says);
                options_release(options, &s);
        }
}

static char *write_config(const char *text) {
        char *path = str_dup("/tmp/skerry-options-XXXXXX");
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
        return path;
}

static void test_file_then_environment(void **state) {
        struct settings s = {0};
        options_set_fallbacks(options, &s);
        _cleanup_(x_freep) char *path = write_config("# comment\n"
                                                     "output:   json   # so\n"
                                                     "\n"
                                                     "state-dir: \"/with # sign\"\n"
                                                     "selector: a=1\n"
                                                     "selector: b=2\n"
                                                     "watch: yes\n"
                                                     "count: 8");
        assert_int_equal(options_read_file(options, &s, path, NULL), 0);
        assert_string_equal(s.output, "json");
        assert_string_equal(s.directory, "/with # sign");
        assert_int_equal(strv_len(s.selectors), 2);
        assert_true(s.watch);
        assert_int_equal(s.count, 8);
        unlink(path);

        setenv("TRY_STATE_DIR", "/from/env", 1);
        setenv("TRY_SELECTOR", "c=3,d=4,e=5", 1);
        setenv("TRY_COUNT", "", 1);
        assert_int_equal(options_read_environment(options, &s, "TRY", NULL), 0);
        assert_string_equal(s.directory, "/from/env");
        assert_int_equal(strv_len(s.selectors), 3);
        assert_int_equal(s.count, 8);
        setenv("TRY_COUNT", "many", 1);
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(options_read_environment(options, &s, "TRY", &err), -EINVAL);
        assert_non_null(strstr(err_message(err), "TRY_COUNT"));
        unsetenv("TRY_STATE_DIR");
        unsetenv("TRY_SELECTOR");
        unsetenv("TRY_COUNT");
        options_release(options, &s);
}

static void test_file_mistakes_have_a_line(void **state) {
        static const struct {
                const char *text, *says;
        } cases[] = {
                {"output: json\nouput: wide\n", ":2: unknown setting 'ouput'; did you mean 'output'?"},
                {"\n\noutput json\n", ":3: 'output json' is not of the form"},
                {"count: 1\ncount: 2\n", ":2: count: given twice"},
                {"state-dir: \"open\n", "quote is not closed"},
                {"state-dir: 'a' b\n", "text follows it"},
                {"output: xml", ":1: output: 'xml' is none of table,wide,json"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct settings s = {0};
                _cleanup_(err_freep) struct err *err = NULL;
                _cleanup_(x_freep) char *path = write_config(cases[i].text);
                assert_true(options_read_file(options, &s, path, &err) < 0);
                if (!strstr(err_message(err), cases[i].says) || !str_has_prefix(err_message(err), path))
                        fail_msg("'%s' does not say '%s'", err_message(err), cases[i].says);
                unlink(path);
                options_release(options, &s);
        }
}

/* ---- whole programs */

struct global {
        char *context;
        bool verbose;
};

static const struct option_spec global_options[] = {
        {"context", 0, OPTION_STRING, offsetof(struct global, context), "NAME", NULL, "Which context"},
        {"verbose", 'v', OPTION_BOOL, offsetof(struct global, verbose), NULL, NULL, "Say more"},
        OPTIONS_END,
};

static struct buf ran = BUF_INIT; /* what the last command got */

static int note(const char *name, struct settings *s, char **arguments, size_t n) {
        buf_clear(&ran);
        buf_printf(&ran, "%s output=%s dir=%s", name, s->output, s->directory ? s->directory : "-");
        for (size_t i = 0; i < n; i++)
                buf_printf(&ran, " %s", arguments[i]);
        return 3;
}
static int run_get(void *settings, char **arguments, size_t n) {
        return note("get", settings, arguments, n);
}
static int run_pause(void *settings, char **arguments, size_t n) {
        return note("pause", settings, arguments, n);
}

static const struct command_spec commands[] = {
        {"get", "KIND [NAME...]", "Show objects", "Like this:\n\n  program get nodes\n\nnodes\tthe nodes",
         options, sizeof(struct settings), 1, 3, "kinds,things objects", run_get},
        {"rollout pause", "ROLLOUT", "Pause a rollout", NULL, options, sizeof(struct settings), 1, 1,
         "rollouts", run_pause},
        {"rollout status", "ROLLOUT", "Show a rollout", NULL, options, sizeof(struct settings), 1, 1,
         "rollouts", run_pause},
        {"__complete", "WHAT", "", NULL, NULL, 0, 1, 9, NULL, run_get},
        {NULL},
};
static const struct program_spec program = {
        .name = "program",
        .summary = "try things",
        .global_options = global_options,
        .commands = commands,
        .man_exit_codes = "0\tfine\n64\twrong usage",
        .man_examples = ".dangerous line\n\n  program get 'x' \\n",
        .environment_prefix = "TRY",
};

/* Runs with its output caught: ret_out receives standard output and error together. */
static int run_program(const struct program_spec *p, struct buf *ret_out, const char *line) {
        struct global global = {0};
        _cleanup_(strv_freep) char **argv = strv_split(line, " ");
        char path[] = "/tmp/skerry-output-XXXXXX";
        int fd = mkstemp(path), out = dup(STDOUT_FILENO), errors = dup(STDERR_FILENO);
        assert_true(fd >= 0 && out >= 0 && errors >= 0);
        fflush(stdout);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        int code = program_main(p, &global, (int)strv_len(argv), argv);
        fflush(stdout);
        dup2(out, STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        close(out);
        close(errors);
        close(fd);
        _cleanup_(x_freep) char *data = NULL;
        size_t len = 0;
        assert_int_equal(file_read(path, 1 << 20, &data, &len, NULL), 0);
        unlink(path);
        buf_clear(ret_out);
        buf_append(ret_out, data, len);
        return code;
}

static void test_commands_are_found(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        assert_int_equal(run_program(&program, &out, "program get nodes a b"), 3);
        assert_string_equal(buf_str(&ran), "get output=table dir=- nodes a b");
        assert_int_equal(
                run_program(&program, &out, "program --verbose -o json rollout --context x pause r1"), 3);
        assert_string_equal(buf_str(&ran), "pause output=json dir=- r1");
        assert_int_equal(run_program(&program, &out, "program get pause rollout"), 3);
        assert_string_equal(buf_str(&ran), "get output=table dir=- pause rollout");
}

static void test_usage_errors(void **state) {
        static const struct {
                const char *line, *says;
        } cases[] = {
                {"program", "Usage: program COMMAND"},
                {"program gett nodes", "did you mean 'get'"},
                {"program rollout", "rollout pause"},
                {"program rolout pause x", "did you mean 'rollout pause'"},
                {"program rolout", "did you mean 'rollout'"},
                {"program rollout pauze r", "did you mean 'rollout pause'"},
                {"program get", "too few arguments; it takes KIND [NAME...]"},
                {"program get a b c d", "one argument too many: 'd'"},
                {"program get a --contxt x", "did you mean '--context'"},
                {"program get a -o xml", "Try 'program get --help'"},
                {"program --help-completion fish", "bash or zsh, not 'fish'"},
                {"program help gett", "did you mean 'get'"},
        };
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(run_program(&program, &out, cases[i].line), EXIT_USAGE);
                if (!strstr(buf_str(&out), cases[i].says))
                        fail_msg("%s: '%s' does not say '%s'", cases[i].line, buf_str(&out), cases[i].says);
        }
}

static void test_help_and_man(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        setenv("COLUMNS", "60", 1);
        assert_int_equal(run_program(&program, &out, "program get --help"), 0);
        assert_non_null(strstr(buf_str(&out), "Usage: program get [OPTION...] KIND [NAME...]"));
        assert_non_null(strstr(buf_str(&out), "table, wide, json (default: table)"));
        assert_non_null(strstr(buf_str(&out), "  program get nodes\n"));
        for (const char *line = buf_str(&out); *line; line += strcspn(line, "\n") + 1)
                assert_true(strcspn(line, "\n") <= 60);
        unsetenv("COLUMNS");
        assert_int_equal(run_program(&program, &out, "program help rollout"), 0);
        assert_non_null(strstr(buf_str(&out), "rollout status"));
        assert_null(strstr(buf_str(&out), "Show objects"));
        assert_int_equal(run_program(&program, &out, "program --help"), 0);
        assert_null(strstr(buf_str(&out), "__complete"));
        assert_int_equal(run_program(&program, &out, "program --version"), 0);
        assert_true(str_has_prefix(buf_str(&out), "program "));

        assert_int_equal(run_program(&program, &out, "program --help-man"), 0);
        assert_true(str_has_prefix(buf_str(&out), ".TH \"PROGRAM\" \"1\""));
        assert_non_null(strstr(buf_str(&out), "\n\\&.dangerous line\n"));
        assert_non_null(strstr(buf_str(&out), "program get \\(aqx\\(aq \\en"));
        assert_non_null(strstr(buf_str(&out), ".SH EXIT STATUS\n.TP\n\\fB0\\fR\nfine\n"));
        assert_non_null(strstr(buf_str(&out), "TRY_CONTEXT"));
        assert_null(strstr(buf_str(&out), "TRY_OUTPUT")); /* only global options are read from there */
        assert_null(strstr(buf_str(&out), "__complete"));
}

/* The scripts are checked by the shells that read them. */
static void test_completion(void **state) {
        _cleanup_(buf_done) struct buf script = BUF_INIT;
        assert_int_equal(run_program(&program, &script, "program --help-completion bash"), 0);
        buf_puts(
                &script,
                "program() { [ \"$1\" = __complete ] && echo \"asked-$2-$3 other\"; }\n"
                "try() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _program; echo \"${COMPREPLY[*]}\"; }\n"
                "try program ''\ntry program ro\ntry program rollout ''\ntry program get ''\n"
                "try program get things ''\ntry program get -o w\ntry program --context rollout get things "
                "asked\n"
                "try program rollout pause --co\ntry program rollout pause as\n");
        _cleanup_(x_freep) char *path = write_config(buf_str(&script));
        _cleanup_(x_freep) char *command = str_format("bash %s", path);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        char answer[4096];
        size_t n = fread(answer, 1, sizeof(answer) - 1, f);
        answer[n] = '\0';
        assert_int_equal(pclose(f), 0);
        unlink(path);
        assert_string_equal(answer,
                            "get rollout\nrollout\npause status\nkinds things\nasked-objects-things other\n"
                            "wide\nasked-objects-things\n--count --config --context\nasked-rollouts-\n");

        assert_int_equal(run_program(&program, &script, "program --help-completion zsh"), 0);
        assert_true(str_has_prefix(buf_str(&script), "#compdef program\n"));
        assert_non_null(strstr(buf_str(&script),
                               "'(-o --output)'{-o+,--output=}'[How to print]:FORMAT:(table wide json)'"));
}

static const struct command_spec daemon_commands[] = {
        {"run", "", "Run", NULL, options, sizeof(struct settings), 0, 0, NULL, run_get},
        {"init", "", "Prepare", NULL, options, sizeof(struct settings), 0, 0, NULL, run_pause},
        {NULL},
};
static const struct program_spec daemon_program = {
        .name = "program",
        .summary = "serve",
        .commands = daemon_commands,
        .default_command = "run",
        .environment_prefix = "TRY",
        .config_option = "config",
};

static void test_daemon_takes_the_strongest_source(void **state) {
        _cleanup_(buf_done) struct buf out = BUF_INIT;
        _cleanup_(x_freep) char *path = write_config("output: wide\nstate-dir: /file\n");
        _cleanup_(x_freep) char *with_config = str_format("program -c %s", path);
        _cleanup_(x_freep) char *with_option = str_format("program --config=%s -d /line", path);
        assert_int_equal(run_program(&daemon_program, &out, "program"),
                         3); /* an absent fallback file is fine */
        assert_string_equal(buf_str(&ran), "get output=table dir=-");
        assert_int_equal(run_program(&daemon_program, &out, with_config), 3);
        assert_string_equal(buf_str(&ran), "get output=wide dir=/file");
        setenv("TRY_STATE_DIR", "/environment", 1);
        assert_int_equal(run_program(&daemon_program, &out, with_config), 3);
        assert_string_equal(buf_str(&ran), "get output=wide dir=/environment");
        assert_int_equal(run_program(&daemon_program, &out, with_option), 3);
        assert_string_equal(buf_str(&ran), "get output=wide dir=/line");
        unsetenv("TRY_STATE_DIR");
        setenv("TRY_CONFIG", path, 1);
        assert_int_equal(run_program(&daemon_program, &out, "program"), 3);
        assert_string_equal(buf_str(&ran), "get output=wide dir=/file");
        unsetenv("TRY_CONFIG");
        assert_int_equal(run_program(&daemon_program, &out, "program -c /nonexistent/x"), EXIT_USAGE);
        assert_int_equal(run_program(&daemon_program, &out, "program init"), 3);
        assert_string_equal(buf_str(&ran), "pause output=table dir=-");
        assert_int_equal(run_program(&daemon_program, &out, "program inti"), EXIT_USAGE);
        unlink(path);
}

static int release(void **state) {
        buf_done(&ran);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_way_to_give_a_value),
                cmocka_unit_test(test_mistakes_are_named),
                cmocka_unit_test(test_file_then_environment),
                cmocka_unit_test(test_file_mistakes_have_a_line),
                cmocka_unit_test(test_commands_are_found),
                cmocka_unit_test(test_usage_errors),
                cmocka_unit_test(test_help_and_man),
                cmocka_unit_test(test_completion),
                cmocka_unit_test(test_daemon_takes_the_strongest_source),
        };
        return cmocka_run_group_tests(tests, NULL, release);
}
