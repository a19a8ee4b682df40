/* SPDX-License-Identifier: Apache-2.0 */
/* Runs rollouts over fleets of simulated nodes, one seed a run, and checks after every step what must always
 * hold:  sim_rollout --seed N --nodes N --runs N [--verbose]. A run that fails prints its seed. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "fleet/rollout_rules.h"
#include "sim.h"

#define CHAOS (3 * HOUR)
#define CALM (8 * HOUR)

static uint64_t current_seed; /* for the message of a run that fails */

void sim_fail(const struct sim *s, const char *format, ...) {
        va_list ap;
        fflush(stdout);
        va_start(ap, format);
        fprintf(stderr, "seed %llu, %zu nodes, rollout %d, after %.1f s and %zu steps: ",
                (unsigned long long)current_seed, s->n_nodes, s->rollout_number,
                (double)(s->now - SIM_START) / 1000, s->n_steps);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        vfprintf(stderr, format, ap);
#pragma GCC diagnostic pop
        va_end(ap);
        fprintf(stderr, "\nreplay: sim_rollout --seed %llu --nodes %zu --runs 1 --verbose\n",
                (unsigned long long)current_seed, s->n_nodes);
        _exit(1);
}

bool sim_chance(struct sim *s, double p) {
        return prng_unit(&s->random) < p;
}

msec_t sim_span(struct sim *s, msec_t mean) {
        return 1 + (msec_t)prng_below(&s->random, (uint64_t)(2 * mean));
}

void sim_revision_name(int revision, char out[24]) {
        (void)snprintf(out, 24, "revision-%d", revision);
}

/* ---- the operator */

static void interfere(struct sim *s) {
        static const char *const people[] = {"anna", "ben", "carl"};
        double p = prng_unit(&s->random);
        if (sim_chance(s, 0.3)) {
                static const enum rollout_event_type types[] = {ROLLOUT_EVENT_APPROVE, ROLLOUT_EVENT_APPROVE,
                                                                ROLLOUT_EVENT_EMERGENCY,
                                                                ROLLOUT_EVENT_PROMOTE};
                (void)sim_server_step(s, &(struct rollout_event){.type = types[prng_below(&s->random, 4)],
                                                                 .by = people[prng_below(&s->random, 3)]});
                return;
        }
        struct rollout_event event = {.type = ROLLOUT_EVENT_PAUSE, .reason = "lunch"};
        if (p < 0.25)
                event.type = ROLLOUT_EVENT_PAUSE;
        else if (p < 0.5)
                event.type = ROLLOUT_EVENT_RESUME;
        else if (p < 0.65)
                event.type = ROLLOUT_EVENT_RETRY;
        else if (p < 0.72)
                event = (struct rollout_event){.type = ROLLOUT_EVENT_ABORT, .rollback = sim_chance(s, 0.7)};
        else if (p < 0.78 && s->n_revisions < REVISIONS_MAX - 1) {
                sim_server_begin(s);
                return;
        } else {
                if (s->n_nodes > 0 && sim_chance(s, 0.5))
                        sim_server_remove(s, prng_below(&s->random, s->n_nodes));
                return;
        }
        (void)sim_server_step(s, &event);
}

/* In the calm he lets nothing lie: what is paused goes on, what has failed for good is begun anew by a new
 * commit. */
static void tend(struct sim *s) {
        if (s->rollout->paused)
                (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_RESUME});
        if (s->rollout->phase == ROLLOUT_AWAITING_APPROVAL) {
                (void)sim_server_step(s,
                                      &(struct rollout_event){.type = ROLLOUT_EVENT_APPROVE, .by = "dora"});
                (void)sim_server_step(s,
                                      &(struct rollout_event){.type = ROLLOUT_EVENT_APPROVE, .by = "emil"});
        }
}

/* ---- time */

/* Goes to the next thing that happens, at most to `until`; false: nothing does. */
static bool advance(struct sim *s, msec_t until) {
        msec_t at = until, fleet_at = 0, wake = rollout_next_wake(s->rollout);
        bool fleet = sim_fleet_next(s, &fleet_at);
        if (fleet)
                at = MIN(at, fleet_at);
        if (wake != 0)
                at = MIN(at, wake);
        s->now = MAX(s->now, at);
        if (fleet && fleet_at <= s->now && fleet_at <= at)
                sim_fleet_run(s);
        else if (wake != 0 && wake <= s->now)
                (void)sim_server_step(s, &(struct rollout_event){.type = ROLLOUT_EVENT_TICK});
        else
                return false;
        return true;
}

static void run_until(struct sim *s, msec_t until, bool stop_when_final) {
        while (s->now < until && !(stop_when_final && rollout_phase_is_final(s->rollout->phase)))
                if (!advance(s, until))
                        return;
}

/* ---- ends */

static void check_end(struct sim *s) {
        const struct rollout *r = s->rollout;
        if (s->finished != 1 && s->n_crashes == 0)
                sim_fail(s, "%zu times finished", s->finished);
        for (size_t i = 0; i < r->n_members; i++) {
                const struct rollout_member *m = &r->members[i];
                const struct sim_node *n = &s->nodes[s->node_of_member[i]];
                if (m->removed || n->by_rollout != s->rollout_number)
                        continue;
                if (r->phase == ROLLOUT_ROLLED_BACK && n->assigned != n->good)
                        sim_fail(s, "rolled back, and %s is told to run revision %d", m->node, n->assigned);
                if (r->phase == ROLLOUT_ROLLED_BACK && m->went_back && n->online && n->running != n->good &&
                    n->held == n->version)
                        sim_fail(s, "%s went back and runs revision %d", m->node, n->running);
                if (r->phase == ROLLOUT_SUCCEEDED && n->assigned != s->revision)
                        sim_fail(s, "succeeded, and %s is told to run revision %d", m->node, n->assigned);
        }
}

/* Whatever has happened: when nobody interferes any more the rollout comes to an end, or waits for nodes that
 * do not come, which only a person can end. */
static void converge(struct sim *s) {
        sim_fleet_calm(s);
        msec_t end = s->now + CALM;
        while (s->now < end && !rollout_phase_is_final(s->rollout->phase)) {
                tend(s);
                run_until(s, MIN(end, s->now + 10 * MINUTE), true);
        }
        if (!rollout_phase_is_final(s->rollout->phase)) {
                if (!sim_server_waits_for_somebody(s))
                        sim_fail(s, "phase %s, wave %zu: does not come to an end",
                                 rollout_phase_name(s->rollout->phase), s->rollout->wave);
                s->waited++;
                if (sim_server_step(
                            s, &(struct rollout_event){.type = ROLLOUT_EVENT_ABORT, .rollback = true}) < 0)
                        sim_fail(s, "cannot be aborted");
                run_until(s, s->now + HOUR, true);
        }
        if (!rollout_phase_is_final(s->rollout->phase))
                sim_fail(s, "phase %s: aborted, and does not come to an end",
                         rollout_phase_name(s->rollout->phase));
        check_end(s);
        s->outcomes[s->rollout->phase]++;
}

static void run(struct sim *s, uint64_t seed, size_t n_nodes) {
        current_seed = seed;
        prng_seed(&s->random, seed);
        s->now = SIM_START;
        s->calm = false;
        s->rollout_number = 0;
        s->crash_odds = sim_chance(s, 0.7) ? 150 + (n_nodes > 1000 ? 2 * (int)n_nodes : 0) : 0;
        s->check_odds = n_nodes > 1000 ? (int)n_nodes / 5 : 3;
        sim_fleet_init(s, n_nodes);
        sim_server_begin(s);
        for (size_t actions = prng_below(&s->random, 12); actions > 0 && s->now < SIM_START + CHAOS;
             actions--) {
                run_until(s, s->now + sim_span(s, 10 * MINUTE), false);
                interfere(s);
        }
        s->crash_odds = 0;
        converge(s);
        sim_server_done(s);
        sim_fleet_done(s);
}

#ifdef ROLLOUT_MUTATIONS
enum rollout_rule rollout_broken_rule = ROLLOUT_RULE_COUNT;

static int break_rule(const char *name) {
        static const char *const names[] = {
#define X(rule, words) #rule,
                ROLLOUT_RULES(X)
#undef X
        };
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (str_eq(name, names[i])) {
                        rollout_broken_rule = (enum rollout_rule)i;
                        return 0;
                }
        return -EINVAL;
}
#else
static int break_rule(const char *name) {
        return -EINVAL; /* this one keeps them all */
}
#endif

static int usage(void) {
        fprintf(stderr, "usage: sim_rollout [--seed N] [--nodes N] [--runs N] [--verbose] [--break RULE]\n");
        return 64;
}

int main(int argc, char **argv) {
        uint64_t seed = 1, nodes = 60, runs = 1;
        struct sim s = {0};
        for (int i = 1; i < argc; i++) {
                uint64_t *number = str_eq(argv[i], "--seed")    ? &seed
                                   : str_eq(argv[i], "--nodes") ? &nodes
                                   : str_eq(argv[i], "--runs")  ? &runs
                                                                : NULL;
                if (str_eq(argv[i], "--verbose"))
                        s.verbose = true;
                else if (str_eq(argv[i], "--break") && i + 1 < argc && break_rule(argv[i + 1]) == 0)
                        i++;
                else if (!number || i + 1 == argc || str_to_u64(argv[++i], number) < 0 ||
                         nodes > ROLLOUT_MEMBERS_MAX)
                        return usage();
        }
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (uint64_t i = 0; i < runs; i++)
                run(&s, seed + i, nodes);
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%llu runs of %llu nodes from seed %llu: %zu steps, %zu crashes, %.1f s\n",
               (unsigned long long)runs, (unsigned long long)nodes, (unsigned long long)seed, s.n_steps,
               s.n_crashes,
               (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
        for (size_t i = 0; i < ARRAY_SIZE(s.outcomes); i++)
                if (s.outcomes[i] > 0)
                        printf("%6zu %s\n", s.outcomes[i], rollout_phase_name((enum rollout_phase)i));
        printf("%6zu waited for nodes that did not come, and were aborted\n", s.waited);
        return 0;
}
