/* SPDX-License-Identifier: Apache-2.0 */
/* A fleet in virtual time: nodes with bad links and bad luck (sim_fleet.c), a server that crashes
 * (sim_server.c) with a rollout in it, and an operator who interferes (sim_rollout.c). Everything follows
 * from one seed. */
#pragma once

#include <stdio.h>

#include "base/random.h"
#include "fleet/rollout.h"

#define SIM_START ((msec_t)1790000000000)
#define SECOND ((msec_t)1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define REVISIONS_MAX 16

struct sim_node {
        char name[32];
        struct pair labels[2];

        /* The link. */
        bool online, is_dead; /* dead: a brick, until somebody repairs it */
        msec_t link_at;       /* when it changes; 0: not by itself */
        msec_t mean_up, mean_down;

        /* What the node does. */
        int running;  /* revision, 0: none */
        int target;   /* what it works towards */
        int64_t held; /* version of the assignment it has */
        enum member_state state;
        bool has_state;
        bool given_up; /* out of service for so long that the rollout counts it as failed, or begun anew */
        bool out_of_service; /* it is applying, or did and was not Healthy since */
        char reason[48];
        msec_t sync_at; /* when it hears of its newest assignment; 0: it has */
        msec_t work_at; /* when its state changes; 0: not by itself */
        msec_t pace;    /* mean time of one step of work */
        uint64_t generation;

        /* What the server's database has of it. */
        int assigned, good; /* good: what a rollback gives it */
        bool leave;         /* its assignment lets it apply */
        bool held_leave;    /* the one that it holds does */
        int64_t version;
        int by_rollout; /* whose assignment it is, 0: nobody's */
        bool removed;
        bool said_healthy;      /* of the present assignment: the server was told so */
        enum member_state said; /* the last state of the present assignment that the server took */
        bool said_anything;
};

struct sim_event {
        msec_t at;
        size_t node;
        uint64_t generation;
};

struct sim {
        struct prng random;
        msec_t now;
        bool calm; /* nobody interferes any more */

        struct sim_node *nodes;
        size_t n_nodes;
        struct sim_event *heap;
        size_t n_heap, cap_heap;
        double badness[REVISIONS_MAX]; /* how likely a revision fails on a node */
        int n_revisions;

        /* The server: in memory, and what its database holds. */
        struct rollout *rollout;
        int rollout_number, revision;
        json_t *disk_rollout;
        json_t **disk_members;
        size_t *node_of_member;
        enum rollout_phase last_phase;
        size_t finished; /* FINISHED effects of the rollout since its last beginning */
        msec_t last_tick;
        size_t n_ticks; /* at that time */
        int crash_odds; /* one step in so many */
        int check_odds;

        size_t n_steps, n_crashes;
        size_t outcomes[ROLLOUT_SUPERSEDED + 1], waited;
        bool verbose;
};

/* Ends the program with the words and the seed. */
_noreturn_ void sim_fail(const struct sim *s, const char *format, ...) _printf_(2, 3);
bool sim_chance(struct sim *s, double p);
msec_t sim_span(struct sim *s, msec_t mean); /* uniform around the mean, at least 1 */
void sim_revision_name(int revision, char out[24]);

/* ---- sim_fleet.c */
void sim_fleet_init(struct sim *s, size_t n_nodes);
void sim_fleet_done(struct sim *s);
bool sim_fleet_next(const struct sim *s, msec_t *ret_at);
void sim_fleet_run(struct sim *s); /* the event that is due */
/* The node is connected: takes a newer assignment and says where it is. */
void sim_node_sync(struct sim *s, size_t node);
/* There is a newer assignment: it reaches a connected node soon, not always at once. */
void sim_node_tell(struct sim *s, size_t node);
void sim_fleet_calm(struct sim *s);

/* ---- sim_server.c */
void sim_server_begin(struct sim *s); /* a new revision and its rollout; supersedes the one before */
void sim_server_done(struct sim *s);
/* Gives the event to the rollout and carries out what it says; may crash in between. 0 or -EINVAL. */
int sim_server_step(struct sim *s, const struct rollout_event *event);
void sim_server_presence(struct sim *s, size_t node);
void sim_server_report(struct sim *s, size_t node);
void sim_server_remove(struct sim *s, size_t node);
/* Is there an event that a rollout without a wake time can wait for? */
bool sim_server_waits_for_somebody(const struct sim *s);
