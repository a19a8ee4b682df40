/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of `skerry/v1alpha1` as they are written in files: what the tables of kinds.c and kinds_app.c
 * decode into. Places are kept where a later check may have to name them. docs/reference.md is printed from
 * the same tables. */
#pragma once

#include "fleet/app.h"
#include "fleet/schedule.h"
#include "fleet/schema.h"

#define FLEET_API_VERSION "skerry/v1alpha1"

enum fleet_kind {
        FLEET_KIND_FLEET,
        FLEET_KIND_APP,
        FLEET_KIND_NODE,
        FLEET_KIND_ROLLOUT,
        FLEET_KIND_SCHEDULE
};
#define FLEET_KINDS 5
extern const char *const fleet_kind_names[FLEET_KINDS + 1]; /* ended by NULL, for SCHEMA_CHOICE */

struct metadata_document {
        struct located name;
        struct position where;
        struct pairs labels;
};

struct expression_document {
        const char *key;
        struct position where;
        int operator_; /* enum selector_operator */
        struct located_list values;
};
struct selector_document {
        struct pairs match_labels;
        struct position where; /* line 0: not given */
        struct expression_document *expressions;
        size_t n_expressions;
        struct selector selector; /* made of the above */
        bool broken;              /* some of it was wrong, and left out */
};

struct file_document {
        struct located path;
        struct position where;
        struct located content, source; /* exactly one is given */
        unsigned mode;
        const char *owner, *group;
        bool expand;
};

struct fleet_document {
        struct selector_document selector;
        struct located rollout;
        struct {
                struct pairs variables;
                struct file_document *files;
                size_t n_files;
                struct located_list apps;
                bool broken;
                /* Something is wrong with them, or they may be what another field was meant to be. */
                bool variables_unsure, apps_unsure;
        } template_;
};

struct http_document {
        const char *port;
        struct position where; /* line 0: not given; so for exec and tcp */
        const char *host, *path;
        int scheme; /* 0 http, 1 https */
};
struct exec_document {
        struct located_list command;
        struct position where;
};
struct tcp_document {
        const char *port;
        struct position where;
        const char *host;
};
struct check_document {
        const char *name;
        struct position where;
        struct http_document http;
        struct exec_document exec;
        struct tcp_document tcp;
        msec_t interval, timeout, startup_grace;
        int64_t failure_threshold, success_threshold;
};

struct artifact_document {
        struct located name;
        struct position where;
        struct located version, path; /* path.text NULL: not given */
};

struct secret_document {
        struct located secret;
        struct position where;
        struct located environment, credential, path; /* exactly one is given */
        unsigned mode;
        const char *owner, *group;
};

struct app_document {
        int driver; /* enum app_driver, or -1 where it was wrong */
        struct located_list command;
        const char *working_directory, *user;
        struct pairs environment;
        struct file_document *files;
        size_t n_files;
        struct artifact_document *artifacts;
        size_t n_artifacts;
        struct secret_document *secrets;
        size_t n_secrets;
        struct located_list manifests;
        struct {
                int64_t memory_max, cpu_max, pids_max;
        } resources;
        struct {
                int policy; /* enum restart_policy */
                msec_t backoff, max_backoff;
        } restart;
        msec_t stop_timeout, ready_timeout;
        struct check_document *checks;
        size_t n_checks;
        struct located_list depends_on;
        int prune; /* 0 Delete, 1 Keep */
};

struct node_document {
        struct pairs variables;
};

struct wave_document {
        const char *name;
        struct position where;
        struct selector_document selector;
        struct quantity limit, success_threshold, failure_budget;
        int64_t min_sample, approvals; /* 0: not given */
        int approval;                  /* 0 None, 1 Manual */
        struct located_list approvers;
        struct {
                msec_t duration;
        } pause;
};
struct budget_document {
        struct located_list group_by;
        struct position where;
        struct quantity max_unavailable;
};
struct rollout_document {
        struct wave_document *waves;
        size_t n_waves;
        struct quantity max_failed;
        int64_t min_sample;
        msec_t progress_deadline, defer_after;
        struct {
                msec_t download;
                struct position where;
                msec_t apply, confirm;
        } deadlines;
        struct located schedule;
        struct quantity max_unavailable;
        struct budget_document *budgets;
        size_t n_budgets;
        struct {
                bool on_failure;
        } rollback;
};

struct window_document {
        struct located from;
        struct position where;
        struct located to, cron;
        struct located_list days;
        msec_t duration, start_grace;
        struct schedule_window window; /* made of the above */
};
struct freeze_document {
        struct located from;
        struct position where;
        struct located to;
        const char *reason;
        struct schedule_freeze freeze; /* made of the above */
};
struct schedule_document {
        struct located time_zone;
        bool broken;
        struct window_document *windows;
        size_t n_windows;
        struct window_document *downloads;
        size_t n_downloads;
        struct freeze_document *freezes;
        size_t n_freezes;
};

struct document {
        enum fleet_kind kind;
        struct position where;
        struct metadata_document metadata;
        const char *called; /* its name for messages, also where that was wrong; never NULL */
        bool broken;        /* it has errors of its own: checks that would only repeat them are left out */
        union {
                struct fleet_document *fleet;
                struct app_document *app;
                struct node_document *node;
                struct rollout_document *rollout;
                struct schedule_document *schedule;
        };
        struct located_reference *references; /* by position */
        size_t n_references;
};

/* Decodes one document that says it is ours. -ENOMEM only; a document without a usable name has
 * metadata.name.text NULL. */
int document_decode(struct schema_decoder *d, enum fleet_kind kind, const struct value *v,
                    struct document *ret);

/* docs/reference.md. */
void kinds_write_reference(struct buf *out);

/* Tables that other tables nest. */
extern const struct schema file_schema;
extern const struct schema secret_schema;
extern const struct schema app_spec_schema;
extern const struct schema selector_schema;
extern const struct schema rollout_spec_schema;
extern const struct schema schedule_spec_schema;
