/* SPDX-License-Identifier: Apache-2.0 */
/* A control plane without listeners: a real database and real keys in a folder of its own; commits come as
 * texts (memory_tree.h), nodes enrol and report by calls. */
#pragma once

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../fleet/memory_tree.h"
#include "base/fs.h"
#include "server/assignments.h"
#include "server/authority.h"
#include "server/compile_job.h"
#include "server/director.h"
#include "server/fleets.h"
#include "server/inventory.h"
#include "server/memory.h"
#include "server/retention.h"
#include "server/rollouts.h"

struct fixture {
        char folder[64];
        struct loop *loop;
        struct settings settings;
        struct control *control;
        int commits;
        const char *trust; /* of its repository; NULL: it has none */
};

static inline void fixture_open(struct fixture *f) {
        _cleanup_(err_freep) struct err *err = NULL;
        assert_int_equal(loop_new(&f->loop, &err), 0);
        assert_int_equal(settings_load(f->folder, &f->settings, &err), 0);
        f->settings.certificate_ttl = 3600 * 1000;
        f->settings.renew_grace = 3600 * 1000;
        if (f->trust) {
                f->settings.repository = must(path_join(f->folder, "repository"));
                f->settings.repository_trust = copy_text(f->trust);
        }
        if (control_open(f->loop, &f->settings, &f->control, &err) < 0)
                fail_msg("%s", err_message(err));
        rollouts_start(f->control, 0);
        retention_start(f->control);
}

static inline void fixture_close(struct fixture *f) {
        control_close(f->control);
        loop_free(f->loop);
        f->control = control_free(f->control);
        settings_done(&f->settings);
}

static inline void fixture_make(struct fixture *f) {
        _cleanup_(err_freep) struct err *err = NULL;
        char pin[65];
        memset(f, 0, sizeof(*f));
        strcpy(f->folder, "/tmp/skerry-control-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        assert_int_equal(
                authority_create(f->folder, "example.org", NULL, clock_wall_ms(clock_system()), pin, &err),
                0);
        assert_int_equal(settings_create(f->folder, "example.org", "server", NULL, &err), 0);
        fixture_open(f);
}

static inline void fixture_done(struct fixture *f) {
        fixture_close(f);
        assert_int_equal(path_remove(f->folder, NULL), 0);
}

static inline void fixture_stop_loop(void *arg, int error) {
        assert_int_equal(error, 0);
        loop_stop(arg, 0);
}

/* Lets everything that was changed become durable. */
static inline void fixture_settle(struct fixture *f) {
        turns_after(f->control->turns, fixture_stop_loop, f->loop);
        assert_int_equal(loop_run(f->loop), 0);
}

/* Gives it a repository; what that holds is said by director_take(). */
static inline void fixture_add_repository(struct fixture *f, const char *trust) {
        _cleanup_(x_freep) char *metadata = must(path_join(f->folder, "repository/metadata"));
        assert_int_equal(dir_make(metadata, 0755, NULL), 0);
        f->trust = trust;
        fixture_settle(f);
        fixture_close(f);
        fixture_open(f);
}

/* The process ends and another begins on what is on disk. */
static inline void fixture_restart(struct fixture *f) {
        fixture_settle(f);
        fixture_close(f);
        fixture_open(f);
}

static inline struct compiled *fixture_compile(struct fixture *f, const char *source, const char *text) {
        _cleanup_(err_freep) struct err *err = NULL;
        struct compiled *compiled = NULL;
        struct memory_tree tree;
        char commit[41];
        (void)snprintf(commit, sizeof(commit), "%040d", ++f->commits);
        memory_tree_init(&tree, text);
        struct compile_input input = {.source = source,
                                      .commit = commit,
                                      .subject = "a subject",
                                      .author = "Ada <ada@example.org>",
                                      .tree = &tree.tree,
                                      .catalog = director_catalog(f->control),
                                      .objects = f->control->objects};
        if (compile_run(&input, &compiled, &err) < 0)
                fail_msg("%s", err_message(err));
        memory_tree_done(&tree);
        return compiled;
}

static inline void fixture_commit(struct fixture *f, const char *text) {
        struct compiled *compiled = fixture_compile(f, "fleet", text);
        if (compiled->n_errors) {
                char *said = json_dumps(compiled->diagnostics, 0);
                fail_msg("%s", said);
        }
        fleets_apply(f->control, "fleet", compiled);
        compiled_free(compiled);
        fixture_settle(f);
}

static inline struct node *fixture_node(struct fixture *f, const char *name, const char *key,
                                        const char *value) {
        struct cert_info certificate = {.not_after = clock_wall_ms(clock_system()) + 3600 * 1000};
        struct pair pair = {key, value};
        struct pairs labels = {&pair, key ? 1 : 0};
        (void)snprintf(certificate.serial, sizeof(certificate.serial), "%s", name);
        struct node *n = inventory_enrol(f->control, name, "machine", pairs_pack(&labels), &certificate);
        inventory_presence(f->control, n, true, NULL, "127.0.0.1");
        fixture_settle(f);
        return n;
}

static inline void fixture_report_of(struct fixture *f, struct node *n, int64_t version, const char *revision,
                                     const char *target, const char *state, const char *message) {
        json_t *j =
                json_pack("{s:b, s:I, s:s?, s:s?, s:s, s:s?}", "full", 1, "assignment", (json_int_t)version,
                          "revision", revision, "target", target, "state", state, "message", message);
        assert_non_null(j);
        inventory_report(f->control, n, j);
        json_decref(j);
        fixture_settle(f);
}

/* It runs what it was last told to, and is well. */
static inline void fixture_report_healthy(struct fixture *f, struct node *n) {
        assert_non_null(n->assigned);
        fixture_report_of(f, n, n->version, n->assigned->revision, n->assigned->revision, "Healthy", NULL);
}

/* It tried and went back by itself. */
static inline void fixture_report_rolled_back(struct fixture *f, struct node *n, const char *runs) {
        fixture_report_of(f, n, n->version, runs, n->assigned->revision, "RolledBack",
                          "app web: health check text failed");
}

static inline const char *fixture_phase(struct fixture *f) {
        struct rollout_record *r = rollouts_latest(f->control, "edge");
        static char phase[32];
        if (!r)
                return "none";
        json_t *j = rollouts_one_json(r, NULL);
        const char *text = json_string_value(json_object_get(json_object_get(j, "status"), "phase"));
        (void)snprintf(phase, sizeof(phase), "%s", text ? text : "?");
        json_decref(j);
        return phase;
}
