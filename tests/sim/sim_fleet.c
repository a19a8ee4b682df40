/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "sim.h"

/* ---- the queue of events: a node has one, of its link or its work; older ones are recognised by generation
 */

static void heap_push(struct sim *s, struct sim_event e) {
        if (s->n_heap == s->cap_heap) {
                s->cap_heap = MAX(s->cap_heap * 2, 64u);
                s->heap = reallocarray(s->heap, s->cap_heap, sizeof(*s->heap));
                if (!s->heap)
                        abort();
        }
        size_t i = s->n_heap++;
        for (; i > 0 && s->heap[(i - 1) / 2].at > e.at; i = (i - 1) / 2)
                s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[i] = e;
}

static void heap_pop(struct sim *s) {
        struct sim_event last = s->heap[--s->n_heap];
        size_t i = 0;
        for (;;) {
                size_t child = 2 * i + 1;
                if (child >= s->n_heap)
                        break;
                if (child + 1 < s->n_heap && s->heap[child + 1].at < s->heap[child].at)
                        child++;
                if (s->heap[child].at >= last.at)
                        break;
                s->heap[i] = s->heap[child];
                i = child;
        }
        s->heap[i] = last;
}

static void schedule(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        msec_t at = n->link_at;
        if (n->work_at != 0 && (at == 0 || n->work_at < at))
                at = n->work_at;
        if (n->sync_at != 0 && (at == 0 || n->sync_at < at))
                at = n->sync_at;
        n->generation++;
        if (at != 0)
                heap_push(s, (struct sim_event){at, node, n->generation});
}

bool sim_fleet_next(const struct sim *s, msec_t *ret_at) {
        struct sim *mutable = (struct sim *)s;
        while (s->n_heap > 0 && s->nodes[s->heap[0].node].generation != s->heap[0].generation)
                heap_pop(mutable);
        if (s->n_heap == 0)
                return false;
        *ret_at = s->heap[0].at;
        return true;
}

/* ---- links */

static void plan_link(struct sim *s, struct sim_node *n) {
        msec_t mean = n->online ? n->mean_up : n->mean_down;
        n->link_at = mean == 0 ? 0 : s->now + sim_span(s, mean);
}

static void set_online(struct sim *s, size_t node, bool online) {
        struct sim_node *n = &s->nodes[node];
        if (n->online == online)
                return;
        n->online = online;
        plan_link(s, n);
        sim_server_presence(s, node);
        if (online)
                sim_node_sync(s, node);
        schedule(s, node);
}

static void draw_link(struct sim *s, struct sim_node *n) {
        double p = prng_unit(&s->random);
        if (p < 0.6) {
                n->online = true; /* for good */
        } else if (p < 0.75) {    /* flapping */
                n->online = sim_chance(s, 0.5);
                n->mean_up = 40 * SECOND;
                n->mean_down = 25 * SECOND;
        } else if (p < 0.9) { /* away for long now and then */
                n->online = sim_chance(s, 0.5);
                n->mean_up = 20 * MINUTE;
                n->mean_down = 30 * MINUTE;
        } /* else: never seen */
        plan_link(s, n);
}

/* ---- work */

static void set_state(struct sim *s, size_t node, enum member_state state, const char *reason) {
        struct sim_node *n = &s->nodes[node];
        n->state = state;
        n->has_state = true;
        (void)snprintf(n->reason, sizeof(n->reason), "%s", reason);
        if (n->online)
                sim_server_report(s, node);
}

static void begin_work(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        n->target = n->assigned;
        n->work_at = 0;
        n->out_of_service = n->given_up = false;
        if (n->target == 0) { /* it keeps what it runs and has nothing to say */
                n->has_state = false;
                return;
        }
        if (n->target == n->running) {
                set_state(s, node, MEMBER_HEALTHY, "");
                return;
        }
        n->work_at = s->now + sim_span(s, n->pace);
        set_state(s, node, MEMBER_DOWNLOADING, "");
}

/* The same assignment again, with leave to apply or without. */
static void take_leave(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        if (n->state == MEMBER_STAGED)
                n->work_at = n->held_leave ? s->now + sim_span(s, n->pace) : 0;
        sim_server_report(s, node);
}

void sim_node_sync(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        if (!n->online)
                return;
        if (n->held < n->version) {
                bool same = n->target == n->assigned && n->has_state;
                n->held = n->version;
                n->held_leave = n->leave;
                if (same && (n->state == MEMBER_DOWNLOADING || n->state == MEMBER_STAGED ||
                             n->state == MEMBER_WAITING_WINDOW || n->state == MEMBER_APPLYING ||
                             n->state == MEMBER_CONFIRMING))
                        take_leave(s, node);
                else
                        begin_work(s, node);
                schedule(s, node);
        } else if (n->has_state) {
                sim_server_report(s, node);
        }
}

void sim_node_tell(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        if (!n->online)
                return;
        if (sim_chance(s, 0.7)) {
                sim_node_sync(s, node);
                return;
        }
        n->sync_at = s->now + sim_span(s, 5 * SECOND);
        schedule(s, node);
        sim_server_report(s, node);
}

static void brick(struct sim *s, size_t node, msec_t for_ms) {
        struct sim_node *n = &s->nodes[node];
        n->is_dead = for_ms == 0;
        n->work_at = 0;
        set_online(s, node, false);
        n->link_at = for_ms == 0 ? 0 : s->now + for_ms;
}

/* How the revision turns out on the node. */
static void come_out(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        if (!sim_chance(s, s->badness[n->target])) {
                n->running = n->target;
                n->out_of_service = false;
                if (!s->calm && sim_chance(s, 0.08)) /* it will relapse */
                        n->work_at = s->now + sim_span(s, 5 * MINUTE);
                set_state(s, node, MEMBER_HEALTHY, "");
                return;
        }
        double p = prng_unit(&s->random);
        if (p < 0.8)
                n->out_of_service = false;
        if (p < 0.5)
                set_state(s, node, MEMBER_ROLLED_BACK, "app web: health check http failed");
        else if (p < 0.8)
                set_state(s, node, MEMBER_FAILED, "app web: exited with 1");
        else
                brick(s, node, p < 0.9 ? sim_span(s, 20 * MINUTE) : 0);
}

static void work(struct sim *s, size_t node) {
        struct sim_node *n = &s->nodes[node];
        msec_t next = s->now + sim_span(s, n->pace);
        n->work_at = 0;
        switch (n->state) {
        case MEMBER_DOWNLOADING:
                n->work_at = next;
                if (n->online) { /* else it waits for its link */
                        n->work_at = n->held_leave ? next : 0;
                        set_state(s, node, MEMBER_STAGED, "");
                }
                break;
        case MEMBER_STAGED:
                if (sim_chance(s, 0.1)) { /* its window closed meanwhile */
                        n->work_at = s->now + sim_span(s, 15 * MINUTE);
                        set_state(s, node, MEMBER_WAITING_WINDOW, "");
                } else {
                        n->work_at = next;
                        n->out_of_service = true;
                        set_state(s, node, MEMBER_APPLYING, "");
                }
                break;
        case MEMBER_WAITING_WINDOW: /* it opens: who has leave goes on, who has none asks for it */
                n->work_at = n->held_leave ? next : 0;
                set_state(s, node, MEMBER_STAGED, "");
                break;
        case MEMBER_APPLYING:
                n->work_at = next;
                set_state(s, node, MEMBER_CONFIRMING, "");
                break;
        case MEMBER_CONFIRMING: come_out(s, node); break;
        case MEMBER_HEALTHY: /* relapses */
                n->work_at = next;
                set_state(s, node, sim_chance(s, 0.5) ? MEMBER_CONFIRMING : MEMBER_APPLYING, "restarted");
                break;
        case MEMBER_PENDING:
        case MEMBER_OFFERED:
        case MEMBER_FAILED:
        case MEMBER_ROLLED_BACK:
        case MEMBER_TIMED_OUT:
        case MEMBER_DEFERRED: break;
        }
}

void sim_fleet_run(struct sim *s) {
        size_t node = s->heap[0].node;
        struct sim_node *n = &s->nodes[node];
        heap_pop(s);
        if (n->link_at != 0 && n->link_at <= s->now) {
                n->link_at = 0;
                if (!n->is_dead)
                        set_online(s, node, !n->online);
        } else if (n->sync_at != 0 && n->sync_at <= s->now) {
                n->sync_at = 0;
                sim_node_sync(s, node);
        } else if (n->work_at != 0 && n->work_at <= s->now) {
                work(s, node);
        }
        schedule(s, node);
}

/* ---- the whole */

void sim_fleet_init(struct sim *s, size_t n_nodes) {
        static const char *const sites[] = {"kiel", "husum", "flensburg"};
        s->n_nodes = n_nodes;
        s->nodes = calloc(MAX(n_nodes, 1u), sizeof(*s->nodes));
        if (!s->nodes)
                abort();
        s->badness[1] = 0;
        s->n_revisions = 2;
        for (size_t i = 0; i < n_nodes; i++) {
                struct sim_node *n = &s->nodes[i];
                (void)snprintf(n->name, sizeof(n->name), "node-%zu", i);
                n->labels[0] = (struct pair){"canary", sim_chance(s, 0.1) ? "true" : "false"};
                n->labels[1] = (struct pair){"site", sites[prng_below(&s->random, 3)]};
                n->pace = sim_chance(s, 0.05) ? 4 * MINUTE : sim_span(s, 6 * SECOND);
                n->running = n->assigned = n->good = sim_chance(s, 0.9) ? 1 : 0;
                draw_link(s, n);
                schedule(s, i);
        }
}

void sim_fleet_done(struct sim *s) {
        free(s->nodes);
        free(s->heap);
        s->nodes = NULL;
        s->heap = NULL;
        s->n_nodes = s->n_heap = s->cap_heap = 0;
}

/* Most links are mended, half of the bricks repaired; some nodes stay as they are for ever. */
void sim_fleet_calm(struct sim *s) {
        s->calm = true;
        for (size_t i = 0; i < s->n_nodes; i++) {
                struct sim_node *n = &s->nodes[i];
                if (sim_chance(s, n->is_dead || n->mean_up == 0 ? 0.5 : 0.1))
                        continue;
                n->is_dead = false;
                n->mean_up = n->mean_down = 0;
                n->link_at = 0;
                if (n->online)
                        schedule(s, i);
                else
                        set_online(s, i, true);
        }
}
