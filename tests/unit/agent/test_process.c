/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent/driver/output.h"
#include "agent/proc.h"
#include "base/str.h"
#include "fixture.h"

struct outcome {
        int error;
        char message[400];
        unsigned calls;
        unsigned ends;
        bool success;
        char end[400];
};

static void done(void *arg, const struct driver_outcome *o) {
        struct outcome *out = arg;
        out->error = o->error;
        out->calls++;
        (void)snprintf(out->message, sizeof(out->message), "%s", o->message ? o->message : "");
}

static void event(void *arg, const struct driver_event *e) {
        struct outcome *out = arg;
        assert_int_equal(e->type, DRIVER_ENDED);
        out->ends++;
        out->success = e->success;
        (void)snprintf(out->end, sizeof(out->end), "%s", e->message);
}

static bool has_ended(void *arg) {
        return ((struct outcome *)arg)->ends > 0;
}
static bool is_done(void *arg) {
        return ((struct outcome *)arg)->calls > 0;
}

static struct driver_part *new_part(struct fixture *f, struct desired *d, struct outcome *out) {
        struct driver_listener listener = {.event = event, .arg = out};
        struct driver_app app = {.name = "job",
                                 .desired = d,
                                 .unit = d ? &d->units[0] : NULL,
                                 .stop_timeout_ms = d ? d->units[0].spec->stop_timeout_ms : 1000};
        struct driver_part *p;
        *out = (struct outcome){0};
        assert_int_equal(process_driver.part_new(&f->host, &app, &listener, &p, NULL), 0);
        return p;
}

static struct desired *job(struct fixture *f, const char *command, const char *more) {
        _cleanup_(x_freep) char *apps =
                str_format("[{'name':'job','driver':'process','command':[%s]%s}]", command, more);
        return fixture_desired(f, apps);
}

static void operate(struct fixture *f, struct driver_part *p,
                    void (*operation)(struct driver_part *p, driver_done done, void *arg),
                    struct outcome *out) {
        out->calls = 0;
        operation(p, done, out);
        fixture_run(f, is_done, out);
        assert_int_equal(out->calls, 1);
}

static pid_t recorded_pid(struct fixture *f) {
        char path[128];
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        (void)snprintf(path, sizeof(path), "%s/run/job.json", f->state);
        if (file_read(path, 4096, &text, &len, NULL) < 0)
                return 0;
        assert_int_equal(json_decode(text, len, &j, NULL), 0);
        return (pid_t)json_integer_value(json_object_get(j, "pid"));
}

static bool lives(pid_t pid) {
        struct proc_stat st;
        return pid > 0 && proc_stat(pid, &st) == 0 && st.state != 'Z';
}

static char *output(struct fixture *f) {
        char path[128], *text = NULL;
        size_t len;
        (void)snprintf(path, sizeof(path), "%s/logs/job.log", f->state);
        return file_read(path, 1 << 22, &text, &len, NULL) < 0 ? NULL : text;
}

struct text_wait {
        struct fixture *f;
        const char *text;
};
static bool has_printed(void *arg) {
        struct text_wait *w = arg;
        _cleanup_(x_freep) char *text = output(w->f);
        return text && strstr(text, w->text);
}
static void wait_for_text(struct fixture *f, const char *text) {
        fixture_run(f, has_printed, &(struct text_wait){f, text});
}

static void stop(struct fixture *f, struct driver_part *p) {
        struct outcome out = {0};
        operate(f, p, process_driver.stop, &out);
        assert_int_equal(out.error, 0);
        driver_part_free(p);
}

static void starts_with_its_environment_and_ends(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/srv", f->sysroot);
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        _cleanup_(desired_freep) struct desired *d =
                job(f,
                    "'/bin/sh','-c','echo $SKERRY_NODE $SKERRY_APP $GREETING; pwd; echo oops >&2; exec sleep "
                    "1000'",
                    ",'environment':{'GREETING':'Moin Moin'},'workingDirectory':'/srv'");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(out.error, 0);
        wait_for_text(f, "oops\n");
        _cleanup_(x_freep) char *text = output(f);
        char expected[300], line[100];
        (void)snprintf(expected, sizeof(expected), "shop-1 job Moin Moin\n%s/srv\noops\n", f->sysroot);
        assert_string_equal(text, expected);
        process_driver.last_output(p, line, sizeof(line));
        assert_string_equal(line, "oops");

        pid_t pid = recorded_pid(f);
        struct proc_stat st;
        assert_int_equal(proc_stat(pid, &st), 0);
        assert_int_equal(st.session, pid); /* a session of its own */
        operate(f, p, process_driver.check, &out);
        assert_int_equal(out.error, 0);
        stop(f, p);
        assert_false(lives(pid));
        assert_int_equal(recorded_pid(f), 0);
        assert_int_equal(out.ends, 0); /* an end that was asked for is no event */
}

static void a_second_apply_changes_nothing(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d = job(f, "'/bin/sleep','1000'", "");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        pid_t pid = recorded_pid(f);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(recorded_pid(f), pid);
        operate(f, p, process_driver.restart, &out);
        assert_int_not_equal(recorded_pid(f), pid);
        assert_false(lives(pid));
        stop(f, p);
}

static void a_restarted_agent_takes_it_over(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d = job(f, "'/bin/sleep','1000'", ""),
                                                *other = job(f, "'/bin/sleep','2000'", "");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        pid_t pid = recorded_pid(f);
        driver_part_free(p); /* the agent goes */
        assert_true(lives(pid));

        p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(recorded_pid(f), pid);
        /* its end is noticed all the same */
        assert_int_equal(kill(pid, SIGKILL), 0);
        fixture_run(f, has_ended, &out);
        assert_false(out.success);
        assert_non_null(strstr(out.end, "SIGKILL"));
        operate(f, p, process_driver.apply, &out);
        pid = recorded_pid(f);
        driver_part_free(p);

        /* in another version it is replaced */
        p = new_part(f, other, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(out.error, 0);
        assert_false(lives(pid));
        pid = recorded_pid(f);
        assert_true(lives(pid));
        driver_part_free(p);

        /* and one that knows nothing but its name can end it */
        p = new_part(f, NULL, &out);
        operate(f, p, process_driver.remove, &out);
        assert_false(lives(pid));
        driver_part_free(p);
}

/* What init is to a real agent: the process outlives the one that started it and is nobody's child here. */
static void one_that_is_not_our_child_is_watched_too(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d = job(f, "'/bin/sleep','1000'", "");
        char path[128], record[512], boot[BOOT_ID_SIZE];
        int pipe_fds[2];
        pid_t pid;
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t middle = fork();
        if (middle == 0) {
                pid_t inner = fork();
                if (inner == 0) {
                        (void)setsid();
                        (void)execl("/bin/sleep", "sleep", "1000", (char *)NULL);
                        _exit(1);
                }
                _exit(write(pipe_fds[1], &inner, sizeof(inner)) == sizeof(inner) ? 0 : 1);
        }
        assert_int_equal(waitpid(middle, NULL, 0), middle);
        assert_int_equal(read(pipe_fds[0], &pid, sizeof(pid)), sizeof(pid));
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        struct proc_stat st;
        while (proc_stat(pid, &st) == 0 && st.session != pid)
                fixture_turn(f);
        proc_boot_id(boot);
        (void)snprintf(path, sizeof(path), "%s/run/job.json", f->state);
        (void)snprintf(record, sizeof(record),
                       "{\"pid\":%d,\"startTime\":%llu,\"bootId\":\"%s\",\"digest\":\"%s\",\"outputStart\":0,"
                       "\"ended\":null}",
                       (int)pid, (unsigned long long)st.start_time, boot, d->units[0].digest);
        assert_int_equal(file_write_atomic(path, record, strlen(record), 0600, NULL), 0);

        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(recorded_pid(f), pid);
        assert_int_equal(kill(pid, SIGTERM), 0);
        fixture_run(f, has_ended, &out);
        assert_false(out.success);
        assert_non_null(strstr(out.end, "unknown"));
        driver_part_free(p);
}

static void a_number_that_went_to_another_is_left_alone(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        char path[128], record[512], boot[BOOT_ID_SIZE];
        _cleanup_(desired_freep) struct desired *d = job(f, "'/bin/sleep','1000'", "");
        pid_t stranger = fork();
        if (stranger == 0) {
                (void)setsid();
                (void)execl("/bin/sleep", "sleep", "1000", (char *)NULL);
                _exit(1);
        }
        proc_boot_id(boot);
        struct proc_stat st;
        assert_int_equal(proc_stat(stranger, &st), 0);
        (void)snprintf(path, sizeof(path), "%s/run/job.json", f->state);
        const struct {
                unsigned long long start;
                const char *boot;
        } cases[] = {{st.start_time - 1, boot}, {st.start_time, "another-boot"}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                (void)snprintf(record, sizeof(record),
                               "{\"pid\":%d,\"startTime\":%llu,\"bootId\":\"%s\",\"digest\":\"%s\","
                               "\"outputStart\":0,\"ended\":null}",
                               (int)stranger, cases[i].start, cases[i].boot, d->units[0].digest);
                assert_int_equal(file_write_atomic(path, record, strlen(record), 0600, NULL), 0);
                struct driver_part *p = new_part(f, d, &out);
                operate(f, p, process_driver.apply, &out);
                assert_int_not_equal(recorded_pid(f), stranger);
                stop(f, p);
                assert_true(lives(stranger));
        }
        assert_int_equal(kill(stranger, SIGKILL), 0);
        assert_int_equal(waitpid(stranger, NULL, 0), stranger);
}

static void ends_are_told_with_status_and_last_line(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *script;
                bool success;
                const char *words;
        } cases[] = {
                {"exit 0", true, "exited with status 0"},
                {"echo first; echo cannot open the till; exit 3", false,
                 "exited with status 3; last output: cannot open the till"},
                {"kill -11 $$", false, "killed by signal 11 (SIGSEGV)"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct outcome out;
                _cleanup_(x_freep) char *command = str_format("'/bin/sh','-c','%s'", cases[i].script);
                _cleanup_(desired_freep) struct desired *d = job(f, command, "");
                struct driver_part *p = new_part(f, d, &out);
                operate(f, p, process_driver.apply, &out);
                assert_int_equal(out.error, 0);
                fixture_run(f, has_ended, &out);
                assert_int_equal(out.success, cases[i].success);
                if (!strstr(out.end, cases[i].words))
                        fail_msg("\"%s\" does not say \"%s\"", out.end, cases[i].words);
                stop(f, p);
        }
}

static void a_job_that_is_done_is_not_run_again(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d =
                job(f, "'/bin/sh','-c','echo ran'", ",'restart':'OnFailure'");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        fixture_run(f, has_ended, &out);
        assert_true(out.success);
        driver_part_free(p);
        p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        fixture_run(f, has_ended, &out);
        assert_true(out.success);
        _cleanup_(x_freep) char *text = output(f);
        assert_string_equal(text, "ran\n");
        stop(f, p);
}

static void the_stubborn_and_their_children_are_killed(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d = job(f,
                                                         "'/bin/sh','-c','trap \\\"\\\" TERM; sleep 1000 & "
                                                         "echo child $!; while true; do sleep 1000; done'",
                                                         ",'stopTimeoutMs':50");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        wait_for_text(f, "child ");
        _cleanup_(x_freep) char *text = output(f);
        pid_t pid = recorded_pid(f), child = (pid_t)atoi(text + strlen("child "));
        stop(f, p);
        assert_false(lives(pid));
        while (lives(child)) /* killed; its end is init's to collect */
                fixture_turn(f);
}

static void children_of_one_that_died_do_not_stay(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d =
                job(f, "'/bin/sh','-c','sleep 1000 & echo child $!; exit 1'", "");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        fixture_run(f, has_ended, &out);
        _cleanup_(x_freep) char *text = output(f);
        pid_t child = (pid_t)atoi(text + strlen("child "));
        while (lives(child))
                fixture_turn(f);
        stop(f, p);
}

static void what_cannot_be_started_is_said(void **state) {
        struct fixture *f = *state;
        char path[128];
        static const struct {
                const char *command, *more, *words;
        } cases[] = {
                {"'/no/such/program'", "", "/no/such/program"},
                {"'no-such-program'", "", "PATH"},
                {"'relative/program'", "", "absolute"},
                {"'/etc/passwd'", "", "not an executable"},
                {"'/bad-script'", "", "execute the program"},
                {"'/bin/true'", ",'workingDirectory':'/no/where'", "/no/where"},
                {"'/bin/true'", ",'user':'nobody-here'", "nobody-here"},
        };
        (void)snprintf(path, sizeof(path), "%s/bad-script", f->sysroot);
        assert_int_equal(file_write_atomic(path, "#!/no/such/interpreter\n", 23, 0755, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct outcome out;
                _cleanup_(desired_freep) struct desired *d = job(f, cases[i].command, cases[i].more);
                struct driver_part *p = new_part(f, d, &out);
                operate(f, p, process_driver.apply, &out);
                assert_true(out.error < 0);
                if (!strstr(out.message, cases[i].words))
                        fail_msg("\"%s\" does not say \"%s\"", out.message, cases[i].words);
                assert_int_equal(recorded_pid(f), 0);
                driver_part_free(p);
        }
}

static void the_sysroots_program_comes_first(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        char path[128];
        static const char script[] = "#!/bin/sh\necho from the sysroot\n";
        (void)snprintf(path, sizeof(path), "%s/bin", f->sysroot);
        assert_int_equal(dir_make(path, 0755, NULL), 0);
        (void)snprintf(path, sizeof(path), "%s/bin/true", f->sysroot);
        assert_int_equal(file_write_atomic(path, script, sizeof(script) - 1, 0755, NULL), 0);
        _cleanup_(desired_freep) struct desired *d = job(f, "'/bin/true'", ",'restart':'Never'");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(out.error, 0);
        wait_for_text(f, "from the sysroot\n");
        stop(f, p);
}

static void limits_without_control_groups_are_warned_about(void **state) {
        struct fixture *f = *state;
        struct outcome out;
        _cleanup_(desired_freep) struct desired *d =
                job(f, "'/bin/sleep','1000'", ",'memoryMaxBytes':1000000");
        struct driver_part *p = new_part(f, d, &out);
        operate(f, p, process_driver.apply, &out);
        assert_int_equal(out.error, 0);
        assert_non_null(strstr(f->warning, "not enforced"));
        stop(f, p);
}

static void output_is_kept_small(void **state) {
        struct fixture *f = *state;
        char path[128], older[140], line[64];
        off_t size;
        (void)snprintf(path, sizeof(path), "%s/logs/job.log", f->state);
        (void)snprintf(older, sizeof(older), "%s.1", path);
        size_t n = (size_t)OUTPUT_FILE_MAX + 5000;
        char *big = malloc(n);
        memset(big, 'x', n);
        memcpy(big + n - 11, "\nlast one\n\n", 11);
        assert_int_equal(file_write_atomic(path, big, n, 0600, NULL), 0);
        output_last_line(path, 0, line, sizeof(line));
        assert_string_equal(line, "last one");
        assert_int_equal(output_trim(path, &size), 0);
        assert_int_equal(size, 0);
        char *kept;
        assert_int_equal(file_read(older, 1 << 22, &kept, &n, NULL), 0);
        assert_int_equal(n, OUTPUT_FILE_MAX);
        assert_memory_equal(kept + n - 11, "\nlast one\n\n", 11);
        free(kept);
        free(big);
        assert_int_equal(output_trim(path, &size), 0);
        output_last_line(path, 0, line, sizeof(line));
        assert_string_equal(line, "");
        output_last_line("/no/such/file", 0, line, sizeof(line));
        assert_string_equal(line, "");
        text_last_line("a\n\tb\x01\xc3\xa4\xff\n \n", 12, line, sizeof(line));
        assert_string_equal(line, "b \xc3\xa4"); /* cut where it is no text any more */
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(starts_with_its_environment_and_ends),
                T(a_second_apply_changes_nothing),
                T(a_restarted_agent_takes_it_over),
                T(one_that_is_not_our_child_is_watched_too),
                T(a_number_that_went_to_another_is_left_alone),
                T(ends_are_told_with_status_and_last_line),
                T(a_job_that_is_done_is_not_run_again),
                T(the_stubborn_and_their_children_are_killed),
                T(children_of_one_that_died_do_not_stay),
                T(what_cannot_be_started_is_said),
                T(the_sysroots_program_comes_first),
                T(limits_without_control_groups_are_warned_about),
                T(output_is_kept_small),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
