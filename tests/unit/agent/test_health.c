/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/str.h"
#include "fixture.h"

/* ---- counting */

static struct health_check spec(void) {
        return (struct health_check){.interval_ms = 10000,
                                     .failure_threshold = 3,
                                     .success_threshold = 2,
                                     .startup_grace_ms = 5000};
}

static void successes_pass_at_their_threshold_an_interval_apart(void **state) {
        struct health_check s = spec();
        struct health_count c;
        health_count_init(&c);
        assert_int_equal(health_count_step(&c, &s, true, 0), 10000);
        assert_false(c.passed);
        assert_int_equal(health_count_step(&c, &s, true, 10000), 10000);
        assert_true(c.passed);
}

static void failures_before_the_first_pass_are_tried_again_soon(void **state) {
        struct health_check s = spec();
        struct health_count c;
        msec_t before = 0;
        health_count_init(&c);
        s.startup_grace_ms = 1000000;
        for (int i = 0; i < 20; i++) {
                msec_t wait = health_count_step(&c, &s, false, i);
                assert_true(wait >= before && wait > 0 && wait <= s.interval_ms);
                before = wait;
        }
        assert_int_equal(before, s.interval_ms);
        /* a success begins the quick succession anew */
        (void)health_count_step(&c, &s, true, 20);
        assert_true(health_count_step(&c, &s, false, 30) < 1000);
        assert_false(c.failing || c.passed);
}

static void failures_in_the_grace_do_not_count(void **state) {
        struct health_check s = spec();
        struct health_count c;
        health_count_init(&c);
        for (int i = 0; i < 10; i++)
                (void)health_count_step(&c, &s, false, 4999);
        assert_false(c.failing);
        assert_int_equal(c.failures, 0);
        (void)health_count_step(&c, &s, false, 5000);
        (void)health_count_step(&c, &s, false, 5100);
        assert_false(c.failing);
        (void)health_count_step(&c, &s, false, 5200);
        assert_true(c.failing);
}

static void only_failures_in_a_row_count(void **state) {
        struct health_check s = spec();
        struct health_count c;
        health_count_init(&c);
        s.startup_grace_ms = 0;
        (void)health_count_step(&c, &s, true, 0);
        (void)health_count_step(&c, &s, true, 0);
        for (int i = 0; i < 10; i++) {
                (void)health_count_step(&c, &s, false, 0);
                (void)health_count_step(&c, &s, false, 0);
                assert_true(c.passed && !c.failing);
                (void)health_count_step(&c, &s, true, 0);
        }
        for (int i = 0; i < 3; i++)
                (void)health_count_step(&c, &s, false, 0);
        assert_true(c.failing && !c.passed);
        (void)health_count_step(&c, &s, true, 0);
        assert_true(c.failing); /* one is not enough to be well again */
        (void)health_count_step(&c, &s, true, 0);
        assert_true(c.passed && !c.failing);
}

static void once_passed_the_grace_is_over(void **state) {
        struct health_check s = spec();
        struct health_count c;
        health_count_init(&c);
        s.success_threshold = 1;
        (void)health_count_step(&c, &s, true, 0);
        for (int i = 0; i < 3; i++)
                (void)health_count_step(&c, &s, false, 100);
        assert_true(c.failing);
}

/* ---- running */

struct watch {
        struct health *health;
        enum health_verdict wanted;
        unsigned changes;
};

static void changed(void *arg) {
        ((struct watch *)arg)->changes++;
}
static bool is_wanted(void *arg) {
        struct watch *w = arg;
        return health_verdict(w->health) == w->wanted;
}

static void start(struct fixture *f, struct watch *w, const char *check) {
        _cleanup_(x_freep) char *apps =
                str_format("[{'name':'web','driver':'process','command':['/bin/true'],'environment':{"
                           "'COLOUR':'blue'},'healthChecks':[%s]}]",
                           check);
        _cleanup_(desired_freep) struct desired *d = fixture_desired(f, apps);
        *w = (struct watch){0};
        assert_int_equal(health_new(&f->health, d, &d->units[0], changed, w, &w->health, NULL), 0);
        health_start(w->health);
}

static void expect(struct fixture *f, struct watch *w, enum health_verdict wanted, const char *words) {
        char text[400];
        w->wanted = wanted;
        fixture_run(f, is_wanted, w);
        health_describe(w->health, text, sizeof(text));
        if (!strstr(text, words))
                fail_msg("\"%s\" does not say \"%s\"", text, words);
        w->health = health_free(w->health);
}

/* A process that answers every connection with this text; with an empty one it accepts and says nothing. */
static unsigned answerer_start(pid_t *ret, const char *text) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        *ret = fork();
        if (*ret == 0) {
                char request[1024];
                for (;;) {
                        int connection = accept(fd, NULL, NULL);
                        if (connection < 0 || !*text || recv(connection, request, sizeof(request), 0) <= 0)
                                continue;
                        if (write(connection, text, strlen(text)) < 0)
                                _exit(1);
                        (void)close(connection);
                }
        }
        (void)close(fd);
        return ntohs(address.sin_port);
}

static void answerer_stop(pid_t pid) {
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static const char *http_check(unsigned port, const char *more) {
        static char text[300];
        (void)snprintf(text, sizeof(text),
                       "{'name':'page','type':'http','host':'127.0.0.1','port':'%u','path':'/"
                       "healthz','scheme':'http'%s}",
                       port, more);
        return text;
}

static const char *tcp_check(const char *host, unsigned port) {
        static char text[300];
        (void)snprintf(text, sizeof(text), "{'name':'port','type':'tcp','host':'%s','port':'%u'}", host,
                       port);
        return text;
}

static void exec_checks(void **state) {
        struct fixture *f = *state;
        struct watch w;
        start(f, &w,
              "{'name':'look','type':'exec','command':['/bin/sh','-c','test $SKERRY_APP.$COLOUR = "
              "web.blue']}");
        expect(f, &w, HEALTH_PASSED, "");
        start(f, &w, "{'name':'look','type':'exec','command':['/bin/sh','-c','echo no paper; exit 4']}");
        expect(f, &w, HEALTH_FAILING, "health check look: /bin/sh exited with status 4: no paper");
        start(f, &w, "{'name':'look','type':'exec','command':['/bin/sh','-c','sleep 1000'],'timeoutMs':30}");
        expect(f, &w, HEALTH_FAILING, "did not end in its time");
        start(f, &w, "{'name':'look','type':'exec','command':['/no/such/program']}");
        expect(f, &w, HEALTH_FAILING, "/no/such/program");
}

static void http_checks(void **state) {
        struct fixture *f = *state;
        pid_t a;
        struct watch w;
        static const struct {
                const char *answer;
                enum health_verdict verdict;
                const char *words;
        } cases[] = {
                {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", HEALTH_PASSED, ""},
                {"HTTP/1.1 204 No Content\r\n\r\n", HEALTH_PASSED, ""},
                {"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", HEALTH_PASSED, ""},
                {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", HEALTH_FAILING,
                 "answered with status 404"},
                {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", HEALTH_FAILING,
                 "answered with status 503"},
                {"SSH-2.0-OpenSSH\r\n", HEALTH_FAILING, "health check page"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                unsigned port = answerer_start(&a, cases[i].answer);
                start(f, &w, http_check(port, ""));
                expect(f, &w, cases[i].verdict, cases[i].words);
                answerer_stop(a);
        }
        unsigned port = answerer_start(&a, "");
        start(f, &w, http_check(port, ",'timeoutMs':50"));
        expect(f, &w, HEALTH_FAILING, "health check page");
        answerer_stop(a);
        start(f, &w, http_check(fixture_free_port(), ""));
        expect(f, &w, HEALTH_FAILING, "connect");
}

static void a_proxy_is_none_of_their_business(void **state) {
        struct fixture *f = *state;
        pid_t a;
        struct watch w;
        assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
        unsigned port = answerer_start(&a, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        start(f, &w, http_check(port, ""));
        expect(f, &w, HEALTH_PASSED, "");
        answerer_stop(a);
        assert_int_equal(unsetenv("http_proxy"), 0);
}

static void tcp_checks(void **state) {
        struct fixture *f = *state;
        pid_t a;
        struct watch w;
        unsigned port = answerer_start(&a, "");
        start(f, &w, tcp_check("127.0.0.1", port));
        expect(f, &w, HEALTH_PASSED, "");
        start(f, &w, tcp_check("localhost", port));
        expect(f, &w, HEALTH_PASSED, "");
        answerer_stop(a);
        start(f, &w, tcp_check("127.0.0.1", fixture_free_port()));
        expect(f, &w, HEALTH_FAILING, "refused");
        start(f, &w, tcp_check("host.invalid", 1));
        expect(f, &w, HEALTH_FAILING, "not known");
}

static void all_checks_must_pass(void **state) {
        struct fixture *f = *state;
        struct watch w;
        start(f, &w,
              "{'name':'good','type':'exec','command':['/bin/"
              "true']},{'name':'bad','type':'exec','command':['/bin/false']}");
        expect(f, &w, HEALTH_FAILING, "health check bad");
        start(f, &w,
              "{'name':'good','type':'exec','command':['/bin/"
              "true']},{'name':'also','type':'exec','command':['/bin/true']}");
        expect(f, &w, HEALTH_PASSED, "");
}

static void freed_in_the_middle_of_a_check(void **state) {
        struct fixture *f = *state;
        pid_t a;
        struct watch w;
        unsigned port = answerer_start(&a, "");
        const char *const checks[] = {"{'name':'x','type':'exec','command':['/bin/sleep','1000']}",
                                      http_check(port, ""), tcp_check("localhost", port),
                                      tcp_check("10.255.255.1", 9)};
        for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
                for (int turns = 0; turns < 2; turns++) {
                        start(f, &w, checks[i]);
                        for (int t = 0; t < turns; t++)
                                fixture_turn(f);
                        w.health = health_free(w.health);
                        fixture_turn(f);
                }
        answerer_stop(a);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(successes_pass_at_their_threshold_an_interval_apart),
                cmocka_unit_test(failures_before_the_first_pass_are_tried_again_soon),
                cmocka_unit_test(failures_in_the_grace_do_not_count),
                cmocka_unit_test(only_failures_in_a_row_count),
                cmocka_unit_test(once_passed_the_grace_is_over),
                T(exec_checks),
                T(http_checks),
                T(a_proxy_is_none_of_their_business),
                T(tcp_checks),
                T(all_checks_must_pass),
                T(freed_in_the_middle_of_a_check),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
