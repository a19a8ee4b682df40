/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/drift.h"
#include "base/log.h"
#include "base/str.h"
#include "crypto/digest.h"

#define FIXTURE_PATIENCE_MS 60000

static void warn(void *arg, const char *message) {
        struct fixture *f = arg;
        (void)snprintf(f->warning, sizeof(f->warning), "%s", message);
}

static struct http_client *http(void *arg) {
        struct fixture *f = arg;
        if (!f->http)
                assert_int_equal(http_client_new(f->loop, &(struct http_client_options){.direct = true},
                                                 &f->http, NULL),
                                 0);
        return f->http;
}

int fixture_setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));
        char path[128];
        log_init("test", LOG_LEVEL_ERROR);
        (void)snprintf(f->folder, sizeof(f->folder), "/tmp/skerry-agent-test-XXXXXX");
        if (!mkdtemp(f->folder))
                return -1;
        (void)snprintf(f->state, sizeof(f->state), "%s/state", f->folder);
        (void)snprintf(f->sysroot, sizeof(f->sysroot), "%s/root", f->folder);
        static const char *const folders[] = {"state/run", "state/logs", "state/podman", "root/etc"};
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", f->folder, folders[i]);
                assert_int_equal(dir_make(path, 0755, NULL), 0);
        }
        assert_int_equal(loop_new(&f->loop, NULL), 0);
        assert_int_equal(root_dir_open(f->sysroot, &f->root, NULL), 0);
        (void)snprintf(path, sizeof(path), "%s/objects", f->state);
        assert_int_equal(object_store_open(path, 0, &f->objects, NULL), 0);
        (void)snprintf(path, sizeof(path), "%s/ledger.json", f->state);
        assert_int_equal(ledger_open(path, &f->ledger, NULL), 0);
        assert_int_equal(drift_new(f->loop, f->root, &f->drift, NULL), 0);
        f->host = (struct driver_host){.loop = f->loop,
                                       .sysroot = f->root,
                                       .state = f->state,
                                       .node = "shop-1",
                                       .objects = f->objects,
                                       .ledger = f->ledger,
                                       .drift = f->drift,
                                       .podman = {.program = "/nowhere/podman"},
                                       .warn = warn,
                                       .warn_arg = f};
        f->health = (struct health_host){.driver = &f->host, .http = http, .arg = f};
        *state = f;
        return 0;
}

int fixture_teardown(void **state) {
        struct fixture *f = *state;
        http_client_free(f->http);
        drift_free(f->drift);
        loop_free(f->loop);
        ledger_free(f->ledger);
        object_store_free(f->objects);
        root_dir_free(f->root);
        (void)path_remove(f->folder, NULL);
        free(f);
        return 0;
}

const char *fixture_object(struct fixture *f, const char *content) {
        static char digest[SHA256_HEX_SIZE];
        sha256_hex(content, strlen(content), digest);
        assert_int_equal(object_store_put(f->objects, digest, content, strlen(content), NULL), 0);
        return digest;
}

/* What the compiler would have filled in. */
static void complete_app(json_t *app) {
        static const struct {
                const char *key;
                int64_t value;
        } numbers[] = {{"restartBackoffMs", 50},
                       {"restartBackoffCapMs", 200},
                       {"stopTimeoutMs", 5000},
                       {"readyTimeoutMs", 30000}};
        json_t *checks = json_object_get(app, "healthChecks"), *c;
        size_t i;
        for (i = 0; i < ARRAY_SIZE(numbers); i++)
                if (!json_object_get(app, numbers[i].key))
                        json_object_set_new(app, numbers[i].key, json_integer(numbers[i].value));
        if (!json_object_get(app, "restart"))
                json_object_set_new(app, "restart", json_string("Always"));
        json_array_foreach (checks, i, c) {
                json_t *all = json_pack("{s:i, s:i, s:i, s:i, s:i}", "intervalMs", 50, "timeoutMs", 5000,
                                        "startupGraceMs", 0, "failureThreshold", 3, "successThreshold", 1);
                json_object_update(all, c);
                json_object_update(c, all);
                json_decref(all);
        }
}

static json_t *parse_apps(const char *apps) {
        struct err *err = NULL;
        json_t *list = NULL, *app;
        size_t i;
        char *text = str_dup(apps);
        for (char *p = text; *p; p++)
                if (*p == '\'')
                        *p = '"';
        if (json_decode(text, strlen(text), &list, &err) < 0)
                fail_msg("%s: %s", text, err_message(err));
        free(text);
        json_array_foreach (list, i, app)
                complete_app(app);
        return list;
}

struct source *fixture_source(struct fixture *f, const char *apps) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        _cleanup_json_ json_t *revision =
                json_pack("{s:s, s:s, s:s, s:{}, s:[s], s:[s], s:o}", "apiVersion", "skerry/v1alpha1", "kind",
                          "Revision", "fleet", "shops", "variables", "requires", "labels.site", "uses",
                          "labels.site", "apps", parse_apps(apps));
        _cleanup_json_ json_t *labels = json_pack("{s:s}", "site", "kiel"), *variables = json_object();
        struct source *s;
        assert_int_equal(json_encode_canonical(revision, &text, NULL), 0);
        assert_int_equal(source_make(fixture_object(f, buf_str(&text)), labels, variables, &s, NULL), 0);
        return s;
}

struct desired *fixture_desired(struct fixture *f, const char *apps) {
        _cleanup_(source_freep) struct source *s = fixture_source(f, apps);
        struct err *err = NULL;
        struct desired *d;
        if (desired_make(f->objects, s, "shop-1", &d, &err) < 0)
                fail_msg("%s", err_message(err));
        return d;
}

struct waiting {
        struct fixture *f;
        bool (*done)(void *arg);
        void *arg;
        struct loop_timer *timer;
        msec_t deadline;
};

static void look(void *arg) {
        struct waiting *w = arg;
        if (w->done && w->done(w->arg))
                loop_stop(w->f->loop, 0);
        else if (clock_mono_ms(loop_clock(w->f->loop)) > w->deadline)
                loop_stop(w->f->loop, w->done ? 1 : 0);
        else
                loop_timer_set(w->timer, 2);
}

static int wait(struct fixture *f, bool (*done)(void *arg), void *arg, msec_t patience_ms) {
        struct waiting w = {.f = f, .done = done, .arg = arg};
        w.deadline = clock_mono_ms(loop_clock(f->loop)) + patience_ms;
        w.timer = loop_timer_new(f->loop, look, &w);
        loop_timer_set(w.timer, 0);
        int code = loop_run(f->loop);
        loop_timer_free(w.timer);
        return code;
}

void fixture_run(struct fixture *f, bool (*done)(void *arg), void *arg) {
        if (wait(f, done, arg, FIXTURE_PATIENCE_MS) != 0)
                fail_msg("what was waited for did not come");
}

void fixture_turn(struct fixture *f) {
        (void)wait(f, NULL, NULL, 20);
}

char *fixture_read(struct fixture *f, const char *path) {
        char *text;
        size_t len;
        return root_dir_read(f->root, path, 1 << 20, &text, &len, NULL, NULL) < 0 ? NULL : text;
}

void fixture_write(struct fixture *f, const char *path, const char *content) {
        struct file_attributes a = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
        assert_int_equal(root_dir_write(f->root, path, content, strlen(content), &a, NULL), 0);
}

bool fixture_exists(const char *path) {
        return access(path, F_OK) == 0;
}

unsigned fixture_free_port(void) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
        (void)close(fd);
        return ntohs(a.sin_port);
}
