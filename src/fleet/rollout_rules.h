/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of a rollout that the simulator proves it would miss: built with ROLLOUT_MUTATIONS (tests/sim
 * alone), one of them can be broken at a time, and a run must end in a complaint. Else they cost nothing. */
#pragma once

#include <stdbool.h>

#define ROLLOUT_RULES(X)                                                                                     \
        X(MAX_FAILED, "no more nodes fail than maxFailed tolerates")                                         \
        X(WAVE_BUDGET, "no more nodes of a wave fail than its failureBudget tolerates")                      \
        X(SAMPLE, "a wave needs its minSample of healthy nodes")                                             \
        X(UNDECIDED, "a wave waits for its members")                                                         \
        X(SOAK, "a wave soaks for its pause")                                                                \
        X(OBSERVED, "a soak ends when healthy nodes are seen, not remembered")                               \
        X(ONE_WAVE, "a wave's members are offered the revision when it begins, not before")                  \
        X(APPROVAL, "a wave begins when it is approved")                                                     \
        X(TWO_PEOPLE, "two people skip a soak or promote a wave, one cannot")                                \
        X(OTHER_REVISION, "a report counts for the revision it is about")                                    \
        X(SILENCE, "who went silent after staging is a failure, not deferred")                               \
        X(PAUSE, "a pause stops offers and slots")                                                           \
        X(SLOT, "a slot is given where every group has one free")                                            \
        X(SLOT_SILENCE, "a node keeps its slot when its link breaks")                                        \
        X(SLOT_REVOKED, "a slot is free when the node has heard that it has none")                           \
        X(SLOT_FREED, "a slot that is free is given to who waits")                                           \
        X(WAY_BACK, "everybody who has the revision goes back")                                              \
        X(STORED, "what changed is stored")

enum rollout_rule {
#define X(name, words) ROLLOUT_RULE_##name,
        ROLLOUT_RULES(X)
#undef X
                ROLLOUT_RULE_COUNT,
};

#ifdef ROLLOUT_MUTATIONS
extern enum rollout_rule rollout_broken_rule; /* ROLLOUT_RULE_COUNT: none */
#define RULE_HOLDS(name) (rollout_broken_rule != ROLLOUT_RULE_##name)
#else
#define RULE_HOLDS(name) true
#endif
