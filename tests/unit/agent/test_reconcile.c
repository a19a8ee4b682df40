/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/proc.h"
#include "agent/reconcile.h"
#include "base/random.h"
#include "base/str.h"
#include "fixture.h"

/* A node whose edge is a table of objects, or is away. */
struct node {
        struct fixture *f;
        struct reconcile *r;
        int64_t version;
        bool waits;           /* assignments give no leave to apply */
        const char *schedule; /* JSON with ' for ", or NULL */
        enum node_state waited_for;
        const char *revision; /* with it */
};

static void changed(void *arg) {
}

static bool no_edge(void *arg, const char *path, struct http_client **ret_client, char **ret_url) {
        return false;
}

static void start(struct node *n, const struct assignment *held) {
        struct fixture *f = n->f;
        struct reconcile_host host = {
                .driver = &f->host,
                .health = &f->health,
                .delivery = {.fetch = {.loop = f->loop, .objects = f->objects, .edge = no_edge}},
                .ledger = f->ledger,
                .check_interval_ms = 200,
                .changed = changed};
        assert_int_equal(reconcile_new(&host, &n->r, NULL), 0);
        reconcile_start(n->r, held);
}

/* The agent dies without a word: all that was not saved is lost. Processes go on. */
static void die(struct node *n) {
        char path[128];
        struct fixture *f = n->f;
        n->r = reconcile_free(n->r);
        ledger_free(f->ledger);
        (void)snprintf(path, sizeof(path), "%s/ledger.json", f->state);
        assert_int_equal(ledger_open(path, &f->ledger, NULL), 0);
        f->host.ledger = f->ledger;
}

static struct assignment *assignment_of(struct node *n, const struct source *s) {
        _cleanup_json_ json_t *j = json_pack(
                "{s:{s:s, s:I, s:s, s:s, s:{s:s, s:i}, s:O, s:O}, s:[]}", "signed", "_type", "assignment",
                "version", (json_int_t)n->version, "node", "shop-1", "fleet", "shops", "revision", "sha256",
                s->revision, "length", 1, "labels", s->labels, "variables", s->variables, "signatures");
        struct assignment *a;
        if (n->waits)
                json_object_set_new(json_object_get(j, "signed"), "apply", json_string("Wait"));
        if (n->schedule) {
                _cleanup_(x_freep) char *text = str_dup(n->schedule);
                json_t *schedule = NULL;
                for (char *p = text; *p; p++)
                        *p = *p == '\'' ? '"' : *p;
                assert_int_equal(json_decode(text, strlen(text), &schedule, NULL), 0);
                json_object_set_new(json_object_get(j, "signed"), "schedule", schedule);
        }
        assert_int_equal(assignment_parse(j, &a, NULL), 0);
        return a;
}

/* Assigns the apps under the next version; returns the revision's digest. */
static const char *assign(struct node *n, const char *apps) {
        static char digests[4][65];
        static unsigned at;
        char *out = digests[at++ % 4];
        _cleanup_(source_freep) struct source *s = fixture_source(n->f, apps);
        n->version++;
        _cleanup_(assignment_freep) struct assignment *a = assignment_of(n, s);
        (void)snprintf(out, sizeof(digests[0]), "%s", s->revision);
        reconcile_assign(n->r, a);
        return out;
}

static bool is_there(void *arg) {
        struct node *n = arg;
        struct node_report report;
        reconcile_report(n->r, &report);
        return report.assignment == n->version && report.state == n->waited_for &&
               (!n->revision || str_eq(report.revision, n->revision));
}

static struct node_report wait_for(struct node *n, enum node_state state, const char *revision) {
        struct node_report report;
        n->waited_for = state;
        n->revision = revision;
        fixture_run(n->f, is_there, n);
        reconcile_report(n->r, &report);
        return report;
}

static bool find(struct node *n, const char *name, struct app_report *ret) {
        for (size_t i = 0; reconcile_next_app(n->r, &i, ret);)
                if (str_eq(ret->name, name))
                        return true;
        return false;
}

static enum app_state state_of(struct node *n, const char *name) {
        struct app_report a;
        if (!find(n, name, &a))
                fail_msg("no app %s is reported", name);
        return a.state;
}

static pid_t pid_of(struct node *n, const char *app) {
        char path[128];
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        (void)snprintf(path, sizeof(path), "%s/run/%s.json", n->f->state, app);
        if (file_read(path, 4096, &text, &len, NULL) < 0 || json_decode(text, len, &j, NULL) < 0)
                return 0;
        return (pid_t)json_integer_value(json_object_get(j, "pid"));
}

static bool lives(pid_t pid) {
        struct proc_stat st;
        return pid > 0 && proc_stat(pid, &st) == 0 && st.state != 'Z';
}

static void stopped(void *arg, const char *problem) {
        assert_null(problem);
        *(bool *)arg = true;
}
static bool is_true(void *arg) {
        return *(bool *)arg;
}

static int setup(void **state) {
        struct node *n = calloc(1, sizeof(*n));
        void *f;
        if (fixture_setup(&f) < 0)
                return -1;
        n->f = f;
        start(n, NULL);
        *state = n;
        return 0;
}

static int teardown(void **state) {
        struct node *n = *state;
        bool done = false;
        reconcile_stop_all(n->r, stopped, &done);
        fixture_run(n->f, is_true, &done);
        reconcile_free(n->r);
        void *f = n->f;
        free(n);
        return fixture_teardown(&f);
}

/* ---- texts of apps */

static const char *config(struct node *n, const char *content) {
        static char text[2][400];
        static unsigned at;
        char *out = text[at++ % 2];
        (void)snprintf(out, sizeof(text[0]),
                       "{'name':'conf','driver':'files','files':[{'path':'/etc/"
                       "conf','sha256':'%s','size':%zu,'mode':420}]}",
                       fixture_object(n->f, content), strlen(content));
        return out;
}

/* A process whose check looks for a file beneath the sysroot. */
static const char *service(const char *name, const char *v, const char *check, const char *more) {
        static char text[4][700];
        static unsigned at;
        char *out = text[at++ % 4];
        (void)snprintf(
                out, sizeof(text[0]),
                "{'name':'%s','driver':'process','command':['/bin/sleep','1000'],'environment':{'V':'%s'},"
                "'healthChecks':[{'name':'look','type':'exec','command':['/bin/sh','-c','%s']}]%s}",
                name, v, check, more);
        return out;
}

static const char *list(const char *a, const char *b, const char *c) {
        static char text[4][2400];
        static unsigned at;
        char *out = text[at++ % 4];
        (void)snprintf(out, sizeof(text[0]), "[%s%s%s%s%s]", a, b ? "," : "", b ? b : "", c ? "," : "",
                       c ? c : "");
        return out;
}

#define WELL "exit 0"
#define ILL "echo it is broken; exit 1"
#define SHORT ",'readyTimeoutMs':300"

/* ---- tests */

static void an_assignment_is_brought_about(void **state) {
        struct node *n = *state;
        const char *one =
                assign(n, list(config(n, "one"), service("web", "1", WELL, ",'dependsOn':['conf']"), NULL));
        struct node_report report = wait_for(n, NODE_HEALTHY, one);
        assert_string_equal(report.target, one);
        assert_string_equal(report.message, "");
        assert_int_equal(state_of(n, "web"), APP_HEALTHY);
        _cleanup_(x_freep) char *text = fixture_read(n->f, "/etc/conf");
        assert_string_equal(text, "one");
        assert_true(lives(pid_of(n, "web")));
        assert_null(ledger_target(n->f->ledger));
        assert_string_equal(ledger_stable(n->f->ledger)->revision, one);
}

static void what_did_not_change_is_not_touched(void **state) {
        struct node *n = *state;
        wait_for(n, NODE_HEALTHY,
                 assign(n, list(service("a", "1", WELL, ""), service("b", "1", WELL, ""), NULL)));
        pid_t a = pid_of(n, "a"), b = pid_of(n, "b");
        wait_for(n, NODE_HEALTHY,
                 assign(n, list(service("a", "1", WELL, ""), service("b", "2", WELL, ""), NULL)));
        assert_int_equal(pid_of(n, "a"), a);
        assert_int_not_equal(pid_of(n, "b"), b);
        assert_false(lives(b));
}

static void what_left_is_removed_or_kept(void **state) {
        struct node *n = *state;
        wait_for(n, NODE_HEALTHY,
                 assign(n, list(config(n, "one"), service("a", "1", WELL, ""),
                                service("kept", "1", WELL, ",'keepOnPrune':true"))));
        pid_t a = pid_of(n, "a"), kept = pid_of(n, "kept");
        wait_for(n, NODE_HEALTHY, assign(n, list(service("b", "1", WELL, ""), NULL, NULL)));
        assert_false(lives(a));
        assert_true(lives(kept));
        assert_null(fixture_read(n->f, "/etc/conf"));
        struct app_report report;
        assert_false(find(n, "kept", &report));
        assert_null(ledger_app(n->f->ledger, "kept"));
        assert_int_equal(kill(-kept, SIGKILL), 0);
}

static void a_bad_version_takes_the_whole_node_back(void **state) {
        struct node *n = *state;
        const char *good = assign(n, list(config(n, "one"), service("a", "1", WELL, ",'dependsOn':['conf']"),
                                          service("b", "1", WELL, ",'dependsOn':['a']")));
        wait_for(n, NODE_HEALTHY, good);
        const char *bad = assign(n, list(config(n, "two"), service("a", "2", WELL, ",'dependsOn':['conf']"),
                                         service("b", "2", ILL, SHORT ",'dependsOn':['a']")));
        struct node_report report = wait_for(n, NODE_ROLLED_BACK, good);
        assert_string_equal(report.target, bad);
        assert_non_null(strstr(report.message, "app b: not healthy within 300ms"));
        assert_non_null(strstr(report.message, "it is broken"));
        assert_int_equal(state_of(n, "a"), APP_ROLLED_BACK);
        assert_int_equal(state_of(n, "b"), APP_ROLLED_BACK);
        _cleanup_(x_freep) char *text = fixture_read(n->f, "/etc/conf");
        assert_string_equal(text, "one");

        /* not tried again by itself, nor after a restart under the same assignment */
        pid_t a = pid_of(n, "a");
        die(n);
        start(n, NULL);
        fixture_turn(n->f);
        assert_non_null(ledger_failure(n->f->ledger));
        n->version = 0;
        report = wait_for(n, NODE_ROLLED_BACK, good);
        assert_int_equal(pid_of(n, "a"), a);

        /* a newer assignment is */
        n->version = 10;
        const char *better = assign(n, list(config(n, "two"), service("a", "2", WELL, ""), NULL));
        report = wait_for(n, NODE_HEALTHY, better);
        assert_string_equal(report.message, "");
        assert_int_equal(state_of(n, "a"), APP_HEALTHY);
}

static void the_same_assignment_is_not_tried_twice(void **state) {
        struct node *n = *state;
        const char *good = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, good);
        const char *apps = list(service("a", "2", ILL, SHORT), NULL, NULL);
        _cleanup_(source_freep) struct source *s = fixture_source(n->f, apps);
        assign(n, apps);
        wait_for(n, NODE_ROLLED_BACK, good);
        pid_t a = pid_of(n, "a");
        _cleanup_(assignment_freep) struct assignment *held = assignment_of(n, s);
        die(n);
        start(n, held);
        wait_for(n, NODE_ROLLED_BACK, good);
        assert_int_equal(pid_of(n, "a"), a);
        /* but under a higher version it is, and it fails again */
        assign(n, apps);
        wait_for(n, NODE_ROLLED_BACK, good);
        assert_int_not_equal(pid_of(n, "a"), a);
        assert_int_equal(ledger_failure(n->f->ledger)->assignment, n->version);
}

static void a_first_install_that_fails_keeps_what_is_well(void **state) {
        struct node *n = *state;
        assign(n, list(service("good", "1", WELL, ""), service("bad", "1", ILL, SHORT),
                       service("after", "1", WELL, ",'dependsOn':['bad']")));
        struct node_report report = wait_for(n, NODE_FAILED, NULL);
        assert_non_null(strstr(report.message, "app bad"));
        fixture_turn(n->f);
        struct app_report a;
        assert_true(find(n, "bad", &a));
        assert_int_equal(a.state, APP_FAILED);
        assert_string_equal(report.revision, "");
        assert_true(lives(pid_of(n, "good")));
        assert_int_equal(pid_of(n, "after"), 0);
        assert_null(ledger_stable(n->f->ledger));
        const char *fixed =
                assign(n, list(service("good", "1", WELL, ""), service("bad", "1", WELL, ""), NULL));
        wait_for(n, NODE_HEALTHY, fixed);
}

static bool is_restarted(void *arg) {
        struct node *n = arg;
        struct app_report a;
        return find(n, "a", &a) && a.restarts > 0 && a.state == APP_HEALTHY;
}

static void a_process_that_dies_is_put_back_and_counted(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        struct node_report report = wait_for(n, NODE_HEALTHY, one);
        assert_int_equal(report.drift_corrected, 0);
        pid_t a = pid_of(n, "a");
        assert_int_equal(kill(a, SIGKILL), 0);
        fixture_run(n->f, is_restarted, n);
        report = wait_for(n, NODE_HEALTHY, one);
        assert_int_equal(report.drift_corrected, 1);
        assert_int_not_equal(pid_of(n, "a"), a);
}

static bool has_drifted_back(void *arg) {
        struct node *n = arg;
        struct node_report report;
        reconcile_report(n->r, &report);
        return report.drift_corrected > 0;
}

static void an_edited_file_is_put_back_and_counted(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(config(n, "one"), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        fixture_write(n->f, "/etc/conf", "hacked");
        fixture_run(n->f, has_drifted_back, n);
        _cleanup_(x_freep) char *text = fixture_read(n->f, "/etc/conf");
        assert_string_equal(text, "one");
        wait_for(n, NODE_HEALTHY, one);
}

static void later_sickness_is_not_rolled_back_and_recovery_ends_it(void **state) {
        struct node *n = *state;
        char check[200], path[128];
        (void)snprintf(path, sizeof(path), "%s/sick", n->f->folder);
        (void)snprintf(check, sizeof(check), "! test -e %s", path);
        const char *one = assign(n, list(service("a", "1", check, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        assert_int_equal(file_write_atomic(path, "", 0, 0644, NULL), 0);
        struct node_report report = wait_for(n, NODE_FAILED, one);
        assert_non_null(strstr(report.message, "app a: health check look"));
        assert_int_equal(state_of(n, "a"), APP_DEGRADED);
        assert_int_equal(unlink(path), 0);
        fixture_run(n->f, is_restarted, n);
        assert_int_not_equal(pid_of(n, "a"), a);
        report = wait_for(n, NODE_HEALTHY, one);
        assert_string_equal(report.message, "");
        assert_null(ledger_failure(n->f->ledger));
}

static void a_restarted_agent_finds_all_as_it_was(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(config(n, "one"), service("a", "1", WELL, ""), NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        die(n);
        n->version = 0;
        start(n, NULL);
        struct node_report report;
        reconcile_report(n->r, &report);
        assert_string_equal(report.revision, ""); /* not observed yet */
        report = wait_for(n, NODE_HEALTHY, one);
        assert_int_equal(pid_of(n, "a"), a);
        assert_int_equal(report.drift_corrected, 0);
}

/* Dies again and again at whatever point it is, from the first assignment over a change to a failure; comes
 * to the right end each time, with one process an app. */
static void death_at_any_point_comes_right(void **state) {
        struct node *n = *state;
        struct prng random;
        prng_seed(&random, 7);
        for (unsigned round = 0; round < 12; round++) {
                /* Made anew each round: what nothing refers to any more is swept from the object store. */
                const char *apps =
                        round % 2 ? list(config(n, "two"), service("a", "2", WELL, ",'dependsOn':['conf']"),
                                         service("b", "1", WELL, ""))
                                  : list(config(n, "one"), service("a", "1", WELL, ",'dependsOn':['conf']"),
                                         NULL);
                _cleanup_(source_freep) struct source *s = fixture_source(n->f, apps);
                n->version++;
                _cleanup_(assignment_freep) struct assignment *held = assignment_of(n, s);
                reconcile_assign(n->r, held);
                for (unsigned deaths = 0; deaths < 3; deaths++) {
                        for (uint64_t turns = prng_below(&random, 4); turns > 0; turns--)
                                fixture_turn(n->f);
                        pid_t before = pid_of(n, "a");
                        die(n);
                        start(n, held);
                        fixture_turn(n->f);
                        assert_true(before == 0 || before == pid_of(n, "a") || !lives(before));
                }
                wait_for(n, NODE_HEALTHY, s->revision);
                _cleanup_(x_freep) char *text = fixture_read(n->f, "/etc/conf");
                assert_string_equal(text, round % 2 ? "two" : "one");
                assert_true(lives(pid_of(n, "a")));
        }
}

static void a_target_that_stops_the_agent_is_given_up(void **state) {
        struct node *n = *state;
        const char *good = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, good);
        _cleanup_(source_freep) struct source *s =
                fixture_source(n->f, list(service("a", "2", ILL, ""), NULL, NULL));
        n->version++;
        _cleanup_(assignment_freep) struct assignment *held = assignment_of(n, s);
        reconcile_assign(n->r, held);
        wait_for(n, NODE_CONFIRMING, NULL);
        for (unsigned i = 0; i < 4; i++) {
                die(n);
                start(n, held);
        }
        struct node_report report = wait_for(n, NODE_ROLLED_BACK, good);
        assert_non_null(strstr(report.message, "the agent was stopped 3 times"));
}

static void a_newer_assignment_takes_over_halfway(void **state) {
        struct node *n = *state;
        assign(n, list(service("a", "1", ILL, ""), NULL, NULL));
        wait_for(n, NODE_CONFIRMING, NULL);
        pid_t a = pid_of(n, "a");
        wait_for(n, NODE_HEALTHY, assign(n, list(service("a", "2", WELL, ""), NULL, NULL)));
        assert_false(lives(a));
}

/* All of it is brought, nothing of it is begun; what runs goes on, through a restart of the agent too. */
static void without_leave_it_is_staged(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        const char *apps = list(service("a", "2", WELL, ""), NULL, NULL);
        _cleanup_(source_freep) struct source *s = fixture_source(n->f, apps);
        n->waits = true;
        n->version++;
        _cleanup_(assignment_freep) struct assignment *wait = assignment_of(n, s);
        reconcile_assign(n->r, wait);
        struct node_report report = wait_for(n, NODE_STAGED, one);
        assert_string_equal(report.target, s->revision);
        assert_string_equal(report.message, "waits for its turn to apply");
        assert_int_equal(pid_of(n, "a"), a);
        assert_null(ledger_target(n->f->ledger));
        die(n);
        start(n, wait);
        wait_for(n, NODE_STAGED, one);
        assert_int_equal(pid_of(n, "a"), a);
        n->waits = false;
        n->version++;
        _cleanup_(assignment_freep) struct assignment *leave = assignment_of(n, s);
        reconcile_assign(n->r, leave);
        wait_for(n, NODE_HEALTHY, s->revision);
        assert_false(lives(a));
        n->waits = true; /* what runs already needs no leave */
        n->version++;
        _cleanup_(assignment_freep) struct assignment *again = assignment_of(n, s);
        reconcile_assign(n->r, again);
        wait_for(n, NODE_HEALTHY, s->revision);
}

#define FROZEN "'freezes':[{'from':'1970-01-01','to':'9999-12-31','reason':'for ever'}]"
#define NEVER "[{'cron':'0 0 31 2 *','durationMs':3600000}]"

/* The node keeps its windows by itself: nobody is asked. */
static void out_of_its_window_nothing_is_applied(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        n->schedule = "{'timeZone':'UTC'," FROZEN "}";
        const char *apps = list(service("a", "2", WELL, ""), NULL, NULL);
        assign(n, apps);
        struct node_report report = wait_for(n, NODE_WAITING_WINDOW, one);
        assert_string_equal(report.message, "waits: frozen (for ever), goes on 9999-12-31T23:59:59.999Z");
        assert_int_equal(pid_of(n, "a"), a);
        n->schedule = "{'timeZone':'Europe/Atlantis'}";
        assign(n, apps);
        report = wait_for(n, NODE_WAITING_WINDOW, one);
        assert_non_null(strstr(report.message, "time zone Europe/Atlantis is not known here"));
        assert_int_equal(pid_of(n, "a"), a);
        n->schedule =
                "{'timeZone':'node','windows':[{'from':'00:00','to':'24:00','weekdays':[0,1,2,3,4,5,6]}]}";
        const char *two = assign(n, apps);
        wait_for(n, NODE_HEALTHY, two);
        assert_false(lives(a));
        n->schedule = "{'timeZone':'UTC','downloads':" NEVER "}";
        assign(n, list(service("a", "3", WELL, ""), NULL, NULL));
        report = wait_for(n, NODE_WAITING_WINDOW, two);
        assert_string_equal(report.message, "waits for its download window, which does not open");
        assert_false(reconcile_is_fetching(n->r));
        n->schedule = NULL;
        wait_for(n, NODE_HEALTHY, assign(n, list(service("a", "3", WELL, ""), NULL, NULL)));
}

static void no_fleet_keeps_everything(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        _cleanup_json_ json_t *j =
                json_pack("{s:{s:s, s:I, s:s, s:n, s:n, s:{}, s:{}}, s:[]}", "signed", "_type", "assignment",
                          "version", (json_int_t)++n->version, "node", "shop-1", "fleet", "revision",
                          "labels", "variables", "signatures");
        _cleanup_(assignment_freep) struct assignment *none = NULL;
        assert_int_equal(assignment_parse(j, &none, NULL), 0);
        reconcile_assign(n->r, none);
        struct node_report report = wait_for(n, NODE_HEALTHY, one);
        assert_string_equal(report.target, "");
        assert_int_equal(pid_of(n, "a"), a);
}

static void a_missing_object_is_waited_for(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        assign(n,
               "[{'name':'conf','driver':'files','files':[{'path':'/etc/conf','sha256':'"
               "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','size':3,'mode':420}]}]");
        struct node_report report = wait_for(n, NODE_DOWNLOADING, one);
        fixture_turn(n->f);
        reconcile_report(n->r, &report);
        assert_non_null(strstr(report.message, "not connected"));
        assert_int_equal(pid_of(n, "a"), a);
}

static void an_unreadable_revision_changes_nothing(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        pid_t a = pid_of(n, "a");
        _cleanup_json_ json_t *labels = json_object();
        struct source *s;
        assert_int_equal(
                source_make(fixture_object(n->f, "{\"kind\":\"Nonsense\"}"), labels, labels, &s, NULL), 0);
        n->version++;
        _cleanup_(assignment_freep) struct assignment *bad = assignment_of(n, s);
        reconcile_assign(n->r, bad);
        struct node_report report = wait_for(n, NODE_ROLLED_BACK, one);
        assert_non_null(strstr(report.message, "revision"));
        assert_int_equal(pid_of(n, "a"), a);
        source_free(s);

        /* readable, but not for a node without that label */
        _cleanup_(source_freep) struct source *full =
                fixture_source(n->f, list(service("a", "${labels.site}", WELL, ""), NULL, NULL));
        assert_int_equal(source_make(full->revision, labels, labels, &s, NULL), 0);
        n->version++;
        _cleanup_(assignment_freep) struct assignment *unbound = assignment_of(n, s);
        reconcile_assign(n->r, unbound);
        report = wait_for(n, NODE_ROLLED_BACK, one);
        assert_non_null(strstr(report.message, "labels.site"));
        assert_int_equal(pid_of(n, "a"), a);
        source_free(s);
}

static void without_podman_its_apps_fail_in_words(void **state) {
        struct node *n = *state;
        const char *one = assign(n, list(service("a", "1", WELL, ""), NULL, NULL));
        wait_for(n, NODE_HEALTHY, one);
        assign(n, list(service("a", "1", WELL, ""),
                       "{'name':'pod','driver':'podman','manifests':[{'apiVersion':'v1','kind':'Pod','"
                       "metadata':{'name':'pod'},"
                       "'spec':{'containers':[{'name':'c','image':'i'}]}}]}",
                       NULL));
        struct node_report report = wait_for(n, NODE_ROLLED_BACK, one);
        assert_non_null(strstr(report.message, "podman is not installed"));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(an_assignment_is_brought_about),
                T(what_did_not_change_is_not_touched),
                T(what_left_is_removed_or_kept),
                T(a_bad_version_takes_the_whole_node_back),
                T(the_same_assignment_is_not_tried_twice),
                T(a_first_install_that_fails_keeps_what_is_well),
                T(a_process_that_dies_is_put_back_and_counted),
                T(an_edited_file_is_put_back_and_counted),
                T(later_sickness_is_not_rolled_back_and_recovery_ends_it),
                T(a_restarted_agent_finds_all_as_it_was),
                T(death_at_any_point_comes_right),
                T(a_target_that_stops_the_agent_is_given_up),
                T(a_newer_assignment_takes_over_halfway),
                T(without_leave_it_is_staged),
                T(out_of_its_window_nothing_is_applied),
                T(no_fleet_keeps_everything),
                T(a_missing_object_is_waited_for),
                T(an_unreadable_revision_changes_nothing),
                T(without_podman_its_apps_fail_in_words),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
