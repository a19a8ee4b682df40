/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/artifact_service.h"
#include "agent/assignment.h"
#include "agent/drift.h"
#include "agent/driver/cgroup.h"
#include "agent/enrolment.h"
#include "agent/import_socket.h"
#include "agent/link.h"
#include "agent/machine.h"
#include "agent/network_watch.h"
#include "agent/proc.h"
#include "agent/reconcile.h"
#include "agent/report_numbers.h"
#include "agent/secrets.h"
#include "agent/state_file.h"
#include "agent/status.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/str.h"
#include "crypto/digest.h"
#include "version.h"

#define AGENT_PROBLEM_MAX 640
#define AGENT_STATUS_FILE_MS 100
/* So long after the last change memory that is not in use is given back. */
#define AGENT_QUIET_MS 5000
#define AGENT_STORE_AGAIN_MS 5000
/* After a start the first report waits for the node to be at its goal, which takes a moment when all still
 * runs: so that a restarted agent does not show as a node that is being changed. No longer than this. */
#define AGENT_FIRST_REPORT_MS 3000

struct agent {
        const struct agent_settings *settings;
        int lock;
        struct loop *loop;
        struct root_dir *sysroot;
        struct object_store *objects;
        struct artifact_service *artifacts;
        struct ledger *ledger;
        struct secrets *secrets;
        struct drift *drift;
        struct cgroup *cgroup;
        struct network_watch *network;
        struct driver_host driver_host;
        struct health_host health_host;
        struct http_client *plain; /* for health checks */
        struct reconcile *reconcile;
        bool reconciling;
        char *node;
        struct table *warned;

        struct edge_address *edge;
        struct identity *identity;
        struct http_client *client;
        struct enrolment *enrolment;
        struct renewal *renewal;
        struct link *link;
        struct import_socket *import_socket;
        struct import *import; /* of `import` itself */
        char *link_text;       /* for `status` */
        struct assignment *held;
        char *assignment_path;

        char boot_id[BOOT_ID_SIZE];
        json_t *facts;
        msec_t started_at;
        struct assignment *unstored; /* verified, but there was no room to store it */
        struct loop_timer *first_report, *status_file, *quiet, *store_again;
        json_t *sent, *sending; /* statuses */
        struct report_numbers *numbers;
};

static char *state_path(const struct agent *a, const char *name) {
        return path_join(a->settings->state, name);
}

/* ---- status */

/* Before there is an identity there is little to say. */
static json_t *make_unenrolled_status(void) {
        return json_pack("{s:s, s:n, s:n, s:n, s:i, s:[]}", "state", "NotEnrolled", "revision", "target",
                         "message", "driftCorrected", 0, "apps");
}

static json_t *make_status(const struct agent *a) {
        if (!a->reconcile)
                return make_unenrolled_status();
        char problem[AGENT_PROBLEM_MAX];
        artifact_service_problem(a->artifacts, problem, sizeof(problem));
        struct status_facts f = {.node = a->node ? a->node : "",
                                 .boot_id = a->boot_id,
                                 .agent_version = SKERRY_VERSION,
                                 .platform = machine_platform(),
                                 .certificate_not_after = a->identity ? identity_not_after(a->identity) : 0,
                                 .facts = a->facts,
                                 .problem = problem};
        return status_make(a->reconcile, &f);
}

static void gone_quiet(void *arg) {
        struct agent *a = arg;
        if (a->reconcile && !reconcile_is_fetching(a->reconcile))
                artifact_service_rest(a->artifacts);
        memory_give_back();
}

static void write_status_file(void *arg) {
        struct agent *a = arg;
        _cleanup_(x_freep) char *path = state_path(a, "status.json"), *text = NULL;
        _cleanup_json_ json_t *status = make_status(a);
        loop_timer_set(a->quiet, AGENT_QUIET_MS);
        if (!path || !status ||
            json_object_set_new(status, "node", json_string(a->node ? a->node : "")) < 0 ||
            json_object_set_new(status, "link", json_string(a->link_text ? a->link_text : "not connected")) <
                    0 ||
            !(text = json_encode_pretty(status)))
                return;
        (void)state_file_write(path, text, strlen(text), NULL);
}

static void report_changed(void *arg) {
        struct agent *a = arg;
        if (!a->reconciling)
                return;
        if (a->status_file && !loop_timer_is_set(a->status_file))
                loop_timer_set(a->status_file, AGENT_STATUS_FILE_MS);
        if (a->link)
                link_report(a->link);
}

static void set_link_text(struct agent *a, const char *text) {
        (void)str_replace(&a->link_text, text);
        if (a->status_file && !loop_timer_is_set(a->status_file))
                loop_timer_set(a->status_file, AGENT_STATUS_FILE_MS);
}

static bool is_too_early(struct agent *a) {
        struct node_report n;
        msec_t since = clock_mono_ms(loop_clock(a->loop)) - a->started_at;
        reconcile_report(a->reconcile, &n);
        if (n.converged || since >= AGENT_FIRST_REPORT_MS)
                return false;
        loop_timer_set(a->first_report, AGENT_FIRST_REPORT_MS - since);
        return true;
}

static void first_report_due(void *arg) {
        struct agent *a = arg;
        if (a->link)
                link_report(a->link);
}

static char *next_status(void *arg, bool full) {
        struct agent *a = arg;
        _cleanup_json_ json_t *difference = NULL;
        if (full) {
                json_decref(a->sent);
                a->sent = NULL;
        }
        if (is_too_early(a))
                return NULL;
        _cleanup_json_ json_t *now = make_status(a);
        /* A whole report is owed until one was taken. */
        if (!now || status_difference(a->sent, now, 0, !a->sent, &difference) < 0 || !difference)
                return NULL;
        char *text = NULL;
        if (json_object_set_new(difference, "seq", json_integer(report_numbers_next(a->numbers))) < 0 ||
            status_sign(difference, a->node, identity_key(a->identity), identity_serial(a->identity), &text) <
                    0)
                return NULL;
        json_decref(a->sending);
        a->sending = json_incref(now);
        return text;
}

static void status_sent(void *arg, bool taken) {
        struct agent *a = arg;
        json_decref(a->sent);
        a->sent = taken ? TAKE_PTR(a->sending) : NULL;
        json_decref(a->sending);
        a->sending = NULL;
}

/* ---- assignments */

/* Nothing is begun that a restart would not know of: an assignment that cannot be stored (a full disk) waits,
 * and is tried again. */
static void keep_assignment(struct agent *a, struct assignment *verified) {
        _cleanup_(assignment_freep) struct assignment *fresh = verified;
        _cleanup_(err_freep) struct err *err = NULL;
        char version[24];
        if (assignment_store(fresh, a->assignment_path, &err) < 0) {
                log_warning("an assignment could not be stored, trying again", "error", err_message(err),
                            NULL);
                a->unstored = TAKE_PTR(fresh);
                loop_timer_set(a->store_again, AGENT_STORE_AGAIN_MS);
                return;
        }
        (void)snprintf(version, sizeof(version), "%lld", (long long)fresh->version);
        log_info("assignment", "version", version, "fleet", fresh->fleet, "rollout", fresh->rollout, "commit",
                 fresh->commit, "target", fresh->revision, NULL);
        assignment_free(a->held);
        a->held = TAKE_PTR(fresh);
        repository_saw_time(artifact_service_repository(a->artifacts), a->held->issued_at);
        reconcile_assign(a->reconcile, a->held);
}

static void store_again(void *arg) {
        struct agent *a = arg;
        if (a->unstored)
                keep_assignment(a, TAKE_PTR(a->unstored));
}

static void take_assignment(struct agent *a, const json_t *event) {
        struct assignment *fresh = NULL;
        _cleanup_(err_freep) struct err *err = NULL;
        int r = assignment_verify(event, identity_bundle(a->identity), a->node,
                                  a->unstored ? a->unstored : a->held, ledger_floor(a->ledger), &fresh, &err);
        if (r == -EALREADY)
                return;
        if (r < 0) {
                log_warning("an assignment was not taken", "error", err_message(err), NULL);
                return;
        }
        a->unstored = assignment_free(a->unstored);
        keep_assignment(a, fresh);
}

static void take_bundle(struct agent *a, const json_t *event) {
        _cleanup_(err_freep) struct err *err = NULL;
        int64_t before = identity_bundle(a->identity)->sequence;
        int r = identity_take_bundle(a->identity, event, &err);
        if (r < 0) {
                log_warning("a trust bundle was not taken", "error", err_message(err), NULL);
                return;
        }
        if (identity_bundle(a->identity)->sequence == before)
                return;
        log_info("trust bundle updated", NULL);
        artifact_service_take_bundle(a->artifacts, identity_bundle(a->identity));
        reconcile_online(a->reconcile); /* what was not trusted may be now */
}

static void take_renew(struct agent *a, const json_t *event) {
        (void)event;
        renewal_now(a->renewal);
}

static void link_event(void *arg, const char *type, const json_t *event) {
        static const struct {
                const char *type;
                void (*take)(struct agent *a, const json_t *event);
        } events[] = {
                {"assignment", take_assignment},
                {"bundle", take_bundle},
                {"renew", take_renew},
        };
        for (size_t i = 0; i < ARRAY_SIZE(events); i++)
                if (str_eq(type, events[i].type)) {
                        events[i].take(arg, event);
                        return;
                }
}

/* ---- link */

static void link_up(void *arg) {
        struct agent *a = arg;
        log_info("connected", "edge", edge_address_current(a->edge), NULL);
        set_link_text(a, edge_address_current(a->edge));
        reconcile_online(a->reconcile);
}

static void link_down(void *arg, const char *why) {
        struct agent *a = arg;
        log_warning("not connected", "error", why, NULL);
        set_link_text(a, why);
        /* A certificate that ran out while the machine slept ends every handshake. */
        if (a->renewal && clock_wall_ms(loop_clock(a->loop)) >= identity_not_after(a->identity))
                renewal_now(a->renewal);
}

static int64_t held_assignment(void *arg) {
        const struct agent *a = arg;
        return a->held ? a->held->version : 0;
}

static bool find_edge(void *arg, const char *path, struct http_client **ret_client, char **ret_url) {
        struct agent *a = arg;
        char *url = a->link && link_is_up(a->link) ? edge_address_url(a->edge, path) : NULL;
        if (!url)
                return false;
        *ret_client = a->client;
        *ret_url = url;
        return true;
}

static void renewed(void *arg) {
        struct agent *a = arg;
        log_info("certificate renewed", NULL);
        link_renew(a->link);
        report_changed(a);
}

static void renewal_failed(void *arg, const char *why, bool final) {
        struct agent *a = arg;
        (void)a;
        log_warning(final ? "the certificate is not renewed: this node is not welcome any more"
                          : "the certificate could not be renewed, trying again",
                    "error", why, NULL);
}

static void network_changed(void *arg) {
        struct agent *a = arg;
        if (a->link)
                link_probe(a->link);
}

/* ---- putting together */

static void warn_once(void *arg, const char *message) {
        struct agent *a = arg;
        if (table_get(a->warned, message))
                return;
        (void)table_set(a->warned, message, a);
        log_warning(message, NULL);
}

static struct http_client *health_client(void *arg) {
        struct agent *a = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        struct http_client_options options = {.direct = true, .unverified = true};
        if (!a->plain && http_client_new(a->loop, &options, &a->plain, &err) < 0)
                log_error("no client for health checks", "error", err_message(err), NULL);
        return a->plain;
}

static int open_folders(struct agent *a, struct err **err) {
        static const char *const folders[] = {"run", "logs", "podman"};
        _cleanup_(x_freep) char *objects = state_path(a, "objects"), *ledger = state_path(a, "ledger.json"),
                                *numbers = state_path(a, "report-numbers");
        int r = state_lock(a->settings->state, &a->lock, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
                _cleanup_(x_freep) char *path = state_path(a, folders[i]);
                if (!path || (r = dir_make(path, 0700, err)) < 0)
                        return path ? r : err_set_errno(err, ENOMEM, "state");
        }
        a->assignment_path = state_path(a, "assignment.json");
        if (!objects || !ledger || !numbers || !a->assignment_path)
                return err_set_errno(err, ENOMEM, "state");
        if ((r = root_dir_open(a->settings->sysroot, &a->sysroot, err)) < 0)
                return err_wrap(err, "sysroot");
        if ((r = object_store_open(objects, 0, &a->objects, err)) < 0)
                return r;
        if ((r = report_numbers_open(numbers, &a->numbers, err)) < 0)
                return r;
        return ledger_open(ledger, &a->ledger, err);
}

/* Several agents may share a machine and its control group: their state folders tell them apart. */
static void open_cgroup(struct agent *a) {
        char digest[SHA256_HEX_SIZE], tag[9];
        sha256_hex(a->settings->state, strlen(a->settings->state), digest);
        (void)snprintf(tag, sizeof(tag), "%.8s", digest);
        (void)cgroup_open(NULL, tag, &a->cgroup, NULL);
}

static int make_reconciler(struct agent *a, struct err **err) {
        const struct agent_settings *s = a->settings;
        a->driver_host = (struct driver_host){
                .loop = a->loop,
                .sysroot = a->sysroot,
                .state = s->state,
                .node = a->node,
                .objects = a->objects,
                .secrets = a->secrets,
                .artifacts = artifact_service_store(a->artifacts),
                .ledger = a->ledger,
                .drift = a->drift,
                .cgroup = a->cgroup,
                .podman = {.program = s->podman,
                           .root = s->podman_root,
                           .runroot = s->podman_runroot,
                           .storage_driver = s->podman_storage_driver,
                           .image_store = s->podman_image_store},
                .warn = warn_once,
                .warn_arg = a,
        };
        a->health_host = (struct health_host){.driver = &a->driver_host, .http = health_client, .arg = a};
        struct reconcile_host host = {
                .driver = &a->driver_host,
                .health = &a->health_host,
                .delivery = {.fetch = {.loop = a->loop, .objects = a->objects, .edge = find_edge, .arg = a}},
                .ledger = a->ledger,
                .check_interval_ms = s->check_interval,
                .changed = report_changed,
                .arg = a,
        };
        artifact_service_fill(a->artifacts, &host.delivery);
        return reconcile_new(&host, &a->reconcile, err);
}

static void on_signal(void *arg, int signal) {
        struct agent *a = arg;
        if (signal != SIGHUP)
                loop_stop(a->loop, 0);
}

static int agent_open(struct agent *a, const struct agent_settings *s, struct err **err) {
        *a = (struct agent){.settings = s, .lock = -1};
        a->warned = table_new(NULL);
        a->facts = machine_facts(s->sysroot);
        if (!a->warned || !a->facts)
                return err_set_errno(err, ENOMEM, "agent");
        proc_boot_id(a->boot_id);
        int r = open_folders(a, err);
        if (r == 0)
                r = loop_new(&a->loop, err);
        if (r == 0)
                r = secrets_new(s->state, s->secrets_folder, &a->secrets, err);
        if (r < 0)
                return r;
        (void)loop_on_signals(a->loop, on_signal, a);
        a->started_at = clock_mono_ms(loop_clock(a->loop));
        open_cgroup(a);
        return artifact_service_new(a->loop, s, &(struct repository_edge){find_edge, a}, &a->artifacts, err);
}

static void agent_close(struct agent *a) {
        if (a->ledger)
                (void)ledger_save(a->ledger, NULL);
        link_free(a->link);
        renewal_free(a->renewal);
        enrolment_free(a->enrolment);
        import_socket_free(a->import_socket);
        import_free(a->import);
        reconcile_free(a->reconcile);
        network_watch_free(a->network);
        http_client_free(a->client);
        http_client_free(a->plain);
        drift_free(a->drift);
        cgroup_free(a->cgroup);
        if (a->first_report)
                loop_timer_free(a->first_report);
        if (a->status_file)
                loop_timer_free(a->status_file);
        if (a->quiet)
                loop_timer_free(a->quiet);
        if (a->store_again)
                loop_timer_free(a->store_again);
        artifact_service_stop(a->artifacts);
        loop_free(a->loop);
        artifact_service_free(a->artifacts);
        identity_free(a->identity);
        edge_address_free(a->edge);
        assignment_free(a->held);
        assignment_free(a->unstored);
        ledger_free(a->ledger);
        report_numbers_free(a->numbers);
        object_store_free(a->objects);
        secrets_free(a->secrets);
        root_dir_free(a->sysroot);
        table_free(a->warned);
        json_decref(a->facts);
        json_decref(a->sent);
        json_decref(a->sending);
        free(a->assignment_path);
        free(a->link_text);
        free(a->node);
        x_closep(&a->lock);
}

static void listen_for_imports(struct agent *a);

/* Everything that needs no network: from here on the node lives. */
static int start_reconciling(struct agent *a, struct err **err) {
        char problem[AGENT_PROBLEM_MAX];
        int r = make_reconciler(a, err);
        if (r < 0)
                return r;
        if (a->held)
                repository_saw_time(artifact_service_repository(a->artifacts), a->held->issued_at);
        log_context_set("node", a->node);
        artifact_service_problem(a->artifacts, problem, sizeof(problem));
        if (*problem)
                log_error("state is damaged", "error", problem, NULL);
        a->reconciling = true;
        reconcile_start(a->reconcile, a->held);
        report_changed(a);
        listen_for_imports(a);
        return 0;
}

static int start_link(struct agent *a, struct err **err) {
        struct http_client_options options = {.tls = identity_tls(a->identity)};
        struct link_listener listener = {.up = link_up,
                                         .down = link_down,
                                         .event = link_event,
                                         .assignment = held_assignment,
                                         .status = next_status,
                                         .status_sent = status_sent,
                                         .arg = a};
        int r = http_client_new(a->loop, &options, &a->client, err);
        if (r < 0)
                return r;
        struct renewal_host renewal = {.loop = a->loop,
                                       .edge = a->edge,
                                       .identity = a->identity,
                                       .client = a->client,
                                       .renewed = renewed,
                                       .failed = renewal_failed,
                                       .arg = a};
        if ((r = link_new(a->loop, a->edge, a->client, a->settings->heartbeat, &listener, &a->link, err)) <
                    0 ||
            (r = renewal_start(&renewal, &a->renewal, err)) < 0)
                return r;
        link_start(a->link);
        return 0;
}

/* ---- enrolment */

static void enrol_waiting(void *arg, const char *why) {
        struct agent *a = arg;
        log_warning("not enrolled yet, trying again", "error", why, NULL);
        set_link_text(a, why);
}

/* Its age identity is as old as its being a node, or as its first start with one; from then on others may
 * encrypt for it, so its public half is among its facts. */
static int know_secrets(struct agent *a, struct err **err) {
        int r = secrets_ensure_identity(a->secrets, err);
        if (r < 0)
                return err_wrap_code(err, r, "age identity");
        if (json_object_set_new(a->facts, "recipient", json_string(secrets_recipient(a->secrets))) < 0)
                return err_set_errno(err, ENOMEM, "agent");
        return 0;
}

static int become(struct agent *a, struct identity *identity, struct err **err) {
        a->identity = identity;
        if (!a->node && !(a->node = str_dup(identity_name(identity))))
                return err_set_errno(err, ENOMEM, "agent");
        if (!str_eq(a->node, identity_name(identity)))
                return err_set(err, EINVAL,
                               "the state folder holds the work of node %s, the identity is %s's", a->node,
                               identity_name(identity));
        artifact_service_take_bundle(a->artifacts, identity_bundle(identity));
        return know_secrets(a, err);
}

static void enrolled_to_run(void *arg, struct identity *identity, const struct err *problem) {
        struct agent *a = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        if (!identity) {
                log_error("this machine was not let in", "error", err_message(problem), NULL);
                if (!a->reconciling)
                        loop_stop(a->loop, 1);
                return;
        }
        log_info("enrolled", "node", identity_name(identity), NULL);
        /* Its connection would stay open without use, and cost the server as much as the link does. */
        a->enrolment = enrolment_free(a->enrolment);
        if (become(a, identity, &err) < 0 || (!a->reconciling && start_reconciling(a, &err) < 0) ||
            start_link(a, &err) < 0) {
                log_error("cannot start", "error", err_message(err), NULL);
                loop_stop(a->loop, 1);
        }
}

static int start_enrolment(struct agent *a, bool keep_trying,
                           void (*done)(void *arg, struct identity *identity, const struct err *err),
                           struct err **err) {
        const struct agent_settings *s = a->settings;
        struct enrolment_request request = {.loop = a->loop,
                                            .edge = a->edge,
                                            .state = s->state,
                                            .token = s->token,
                                            .name = s->name,
                                            .sysroot = s->sysroot,
                                            .keep_trying = keep_trying,
                                            .waiting = enrol_waiting,
                                            .done = done,
                                            .arg = a};
        if (s->name && !name_is_dns_label(s->name))
                return err_set(err, EINVAL, "--name '%s': expected a DNS label: 1 to 63 of a-z, 0-9 and '-'",
                               s->name);
        return enrolment_start(&request, &a->enrolment, err);
}

static void enrolled_to_end(void *arg, struct identity *identity, const struct err *problem) {
        struct agent *a = arg;
        _cleanup_(err_freep) struct err *err = NULL;
        a->identity = identity;
        (void)report_numbers_next(a->numbers);
        if (identity && know_secrets(a, &err) < 0)
                (void)fprintf(stderr, "skerry-agent: %s (tried again when it runs)\n", err_message(err));
        if (identity)
                (void)printf("enrolled as %s\n", identity_name(identity));
        else
                (void)fprintf(stderr, "skerry-agent: %s\n", err_message(problem));
        loop_stop(a->loop, identity ? 0 : 1);
}

static int fail(const struct err *err) {
        (void)fprintf(stderr, "skerry-agent: %s\n", err_message(err));
        return 1;
}

int agent_enrol(const struct agent_settings *s) {
        _cleanup_(agent_close) struct agent a;
        _cleanup_(err_freep) struct err *err = NULL;
        struct identity *present;

        if (agent_open(&a, s, &err) < 0)
                return fail(err);
        if (identity_load(s->state, &present, NULL) == 0) {
                (void)fprintf(stderr,
                              "skerry-agent: %s holds the identity of node %s already; remove %s/identity to "
                              "enrol anew\n",
                              s->state, identity_name(present), s->state);
                identity_free(present);
                return 1;
        }
        if (edge_address_parse(s->server, &a.edge, &err) < 0 ||
            start_enrolment(&a, false, enrolled_to_end, &err) < 0)
                return fail(err);
        return loop_run(a.loop);
}

/* ---- run */

static int prepare_run(struct agent *a, struct err **err) {
        const struct agent_settings *s = a->settings;
        _cleanup_(err_freep) struct err *problem = NULL;
        struct identity *identity = NULL;
        int r;

        a->first_report = loop_timer_new(a->loop, first_report_due, a);
        a->status_file = loop_timer_new(a->loop, write_status_file, a);
        a->quiet = loop_timer_new(a->loop, gone_quiet, a);
        a->store_again = loop_timer_new(a->loop, store_again, a);
        if (!a->first_report || !a->status_file || !a->quiet || !a->store_again)
                return err_set_errno(err, ENOMEM, "agent");
        if (drift_new(a->loop, a->sysroot, &a->drift, &problem) < 0)
                log_warning("files are not watched, only checked from time to time", "error",
                            err_message(problem), NULL);
        if (network_watch_new(a->loop, network_changed, a, &a->network, NULL) < 0)
                log_debug("the network is not watched", NULL);
        problem = err_free(problem);
        r = assignment_load(a->assignment_path, &a->held, &problem);
        if (r < 0 && r != -ENOENT)
                log_error("the stored assignment cannot be read; the node keeps what it runs", "error",
                          err_message(problem), NULL);
        if ((r = edge_address_parse(s->server, &a->edge, err)) < 0)
                return r;

        problem = err_free(problem);
        r = identity_load(s->state, &identity, &problem);
        if (r < 0 && r != -ENOENT)
                return err_move(err, TAKE_PTR(problem));
        problem = err_free(problem);
        if (a->held && !(a->node = str_dup(a->held->node)))
                return err_set_errno(err, ENOMEM, "agent");
        if (identity && (r = become(a, identity, err)) < 0)
                return r;
        /* Apps first: they need no network, and no identity where one was lost. */
        if (a->node && (r = start_reconciling(a, err)) < 0)
                return r;
        if (identity) {
                bool known = report_numbers_are_known(a->numbers);
                if ((r = start_link(a, err)) == 0 && !known)
                        renewal_now(a->renewal); /* the server takes any number under a new certificate */
                return r;
        }
        if (str_is_empty(s->token))
                r = err_set(&problem, ENOENT,
                            "this machine has not enrolled: give --token or --token-file, made by "
                            "'skerry token create'");
        else
                r = start_enrolment(a, true, enrolled_to_run, &problem);
        if (r < 0 && !a->reconciling)
                return err_move(err, TAKE_PTR(problem));
        /* A node that lost its identity keeps what it runs, with or without a way to get another. */
        if (r < 0)
                log_error("not connected, and cannot enrol", "error", err_message(problem), NULL);
        return 0;
}

int agent_run(const struct agent_settings *s) {
        _cleanup_(agent_close) struct agent a;
        _cleanup_(err_freep) struct err *err = NULL;

        log_info("starting", "version", SKERRY_VERSION, "state", s->state, "sysroot", s->sysroot, NULL);
        if (agent_open(&a, s, &err) < 0 || prepare_run(&a, &err) < 0) {
                log_error("cannot start", "error", err_message(err), NULL);
                return 1;
        }
        int code = loop_run(a.loop);
        if (a.reconcile && a.reconciling)
                write_status_file(&a);
        log_info("stopped; what it started goes on", NULL);
        return code;
}

/* ---- import */

/* From a folder rather than from the edge: the same checks. */
static int import_assign(void *arg, const json_t *document, struct err **err) {
        struct agent *a = arg;
        struct assignment *fresh = NULL;
        if (!a->identity)
                return err_set(err, ENOKEY, "assignment: this machine has not enrolled yet");
        int r = assignment_verify(document, identity_bundle(a->identity), a->node,
                                  a->unstored ? a->unstored : a->held, ledger_floor(a->ledger), &fresh, err);
        if (r < 0)
                return r;
        if (a->reconcile) {
                a->unstored = assignment_free(a->unstored);
                keep_assignment(a, fresh);
                return 0;
        }
        r = assignment_store(fresh, a->assignment_path, err);
        assignment_free(fresh);
        return r;
}

static void import_arrived(void *arg) {
        struct agent *a = arg;
        if (a->reconcile)
                reconcile_online(a->reconcile);
}

static void make_import_host(struct agent *a, struct import_host *ret) {
        *ret = (struct import_host){.assign = import_assign, .arrived = import_arrived, .arg = a};
        ret->delivery.fetch = (struct fetch_host){.loop = a->loop, .objects = a->objects};
        ret->delivery.node = a->node ? a->node : "";
        artifact_service_fill(a->artifacts, &ret->delivery);
}

static void listen_for_imports(struct agent *a) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct import_host host;
        make_import_host(a, &host);
        if (import_socket_listen(&host, a->settings->state, &a->import_socket, &err) < 0)
                log_warning("imports need the agent to be stopped", "error", err_message(err), NULL);
}

static void import_say(void *arg, const char *line) {
        (void)arg;
        (void)printf("%s\n", line);
        (void)fflush(stdout);
}

static void import_done(void *arg, int error, const char *message) {
        struct agent *a = arg;
        if (error < 0)
                (void)fprintf(stderr, "skerry-agent: %s\n", message ? message : strerror(-error));
        loop_stop(a->loop, error < 0);
}

/* No agent runs: the work is done here. */
static int import_alone(const struct agent_settings *s, const char *folder) {
        _cleanup_(agent_close) struct agent a;
        _cleanup_(err_freep) struct err *err = NULL;
        struct import_host host;
        struct identity *identity = NULL;
        int r = agent_open(&a, s, &err);
        if (r == 0)
                (void)assignment_load(a.assignment_path, &a.held, NULL);
        if (r == 0 && identity_load(s->state, &identity, NULL) == 0)
                r = become(&a, identity, &err);
        if (r < 0)
                return fail(err);
        make_import_host(&a, &host);
        host.say = import_say;
        host.done = import_done;
        host.report_arg = &a;
        if (import_start(&host, folder, &a.import, &err) < 0)
                return fail(err);
        return loop_run(a.loop);
}

int agent_import(const struct agent_settings *s, const char *folder) {
        _cleanup_(err_freep) struct err *err = NULL;
        _cleanup_(x_freep) char *absolute = realpath(folder, NULL);
        if (!absolute) {
                (void)fprintf(stderr, "skerry-agent: %s: %s\n", folder, strerror(errno));
                return 1;
        }
        int r = import_socket_ask(s->state, absolute, &err);
        if (r == -ENOENT || r == -ECONNREFUSED)
                return import_alone(s, absolute);
        return r < 0 ? fail(err) : r;
}

/* ---- stop-apps */

static void apps_stopped(void *arg, const char *problem) {
        struct agent *a = arg;
        if (problem)
                (void)fprintf(stderr, "skerry-agent: %s\n", problem);
        loop_stop(a->loop, problem ? 1 : 0);
}

int agent_stop_apps(const struct agent_settings *s) {
        _cleanup_(agent_close) struct agent a;
        _cleanup_(err_freep) struct err *err = NULL;

        if (agent_open(&a, s, &err) < 0 || !(a.node = str_dup("")) || make_reconciler(&a, &err) < 0)
                return fail(err);
        reconcile_stop_all(a.reconcile, apps_stopped, &a);
        return loop_run(a.loop);
}
