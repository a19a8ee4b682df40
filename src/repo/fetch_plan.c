/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "repo/fetch_plan.h"

const char *fetch_way_name(enum fetch_way w) {
        static const char *const names[] = {
                [FETCH_NOTHING] = "present", [FETCH_DELTA] = "delta",     [FETCH_CHUNKS] = "chunks",
                [FETCH_WHOLE] = "whole",     [FETCH_REFUSED] = "refused",
        };
        return (unsigned)w < ARRAY_SIZE(names) ? names[w] : "unknown";
}

#define BYTES_TEXT_SIZE 24

/* "512 B", "1.2 MB"; units of a thousand, as links and their bills count. */
static const char *bytes_text(int64_t n, char out[BYTES_TEXT_SIZE]) {
        static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
        double value = (double)n;
        size_t unit = 0;
        while (value >= 999.95 && unit + 1 < ARRAY_SIZE(units)) {
                value /= 1000;
                unit++;
        }
        snprintf(out, BYTES_TEXT_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
        return out;
}

static int64_t sum(int64_t a, int64_t b) {
        int64_t total;
        return __builtin_add_overflow(a, b, &total) ? INT64_MAX : total;
}

static bool has_seed(const struct fetch_situation *s, const char *sha256) {
        for (size_t i = 0; i < s->n_seeds; i++)
                if (str_eq(s->seeds[i], sha256))
                        return true;
        return false;
}

/* The shortest delta whose seed lies there; of equals the one with the lowest digest, so that the order in
 * which a list was written decides nothing. */
static const struct fetch_delta *best_delta(const struct fetch_offer *o, const struct fetch_situation *s) {
        const struct fetch_delta *best = NULL;
        for (size_t i = 0; i < o->n_deltas; i++) {
                const struct fetch_delta *d = &o->deltas[i];
                if (d->length <= 0 || !has_seed(s, d->from))
                        continue;
                if (!best || d->length < best->length ||
                    (d->length == best->length && strcmp(d->from, best->from) < 0))
                        best = d;
        }
        return best;
}

static int64_t chunk_bytes(const struct fetch_offer *o, const struct fetch_situation *s) {
        if (!o->has_chunks || o->chunk_index_length < 0 || o->chunk_pack_length < 0)
                return -1;
        int64_t missing = s->n_seeds == 0 || s->chunks_missing < 0 ? o->chunk_pack_length : s->chunks_missing;
        return sum(o->chunk_index_length, missing);
}

struct choice {
        enum fetch_way way;
        int64_t bytes; /* -1: not possible */
};

enum { FAILED = 1, FULL = 2, OVER_BUDGET = 4 };

/* What forbids a way that is possible; 0: nothing. */
static unsigned forbidden(const struct choice *c, const struct fetch_situation *s, int64_t full) {
        unsigned why = 0;
        if (s->failed_ways & 1u << c->way)
                why |= FAILED;
        if (s->never_full && c->bytes > 0 && (c->way == FETCH_WHOLE || c->bytes >= full))
                why |= FULL;
        if (s->budget_left >= 0 && c->bytes > s->budget_left)
                why |= OVER_BUDGET;
        return why;
}

static void explain_choice(const struct fetch_plan *p, char *out, size_t size) {
        char a[BYTES_TEXT_SIZE], b[BYTES_TEXT_SIZE];
        size_t n = (size_t)snprintf(out, size, "%s", bytes_text(p->bytes, a));
        if (p->way == FETCH_DELTA)
                n += (size_t)snprintf(out + n, size - n, " by delta from %.12s", p->from);
        else
                n += (size_t)snprintf(out + n, size - n, p->way == FETCH_CHUNKS ? " by chunks" : " whole");
        const struct {
                enum fetch_way way;
                int64_t bytes;
                const char *name;
        } others[] = {{FETCH_DELTA, p->bytes_delta, "by delta"},
                      {FETCH_CHUNKS, p->bytes_chunks, "by chunks"},
                      {FETCH_WHOLE, p->bytes_whole, "whole"}};
        const char *joint = "; else ";
        for (size_t i = 0; i < ARRAY_SIZE(others) && n < size; i++) {
                if (others[i].way == p->way || others[i].bytes < 0)
                        continue;
                n += (size_t)snprintf(out + n, size - n, "%s%s %s", joint, bytes_text(others[i].bytes, b),
                                      others[i].name);
                joint = ", ";
        }
}

/* Says what stands in the way of the plan, and what a person can do; `why` are all the reasons met. */
static void explain_refusal(const struct fetch_situation *s, const struct fetch_plan *p, unsigned why,
                            int64_t over_budget, char *out, size_t size) {
        char need[BYTES_TEXT_SIZE], left[BYTES_TEXT_SIZE];
        if (p->wants_chunk_index)
                snprintf(out, size, "the chunk index must be read first, to see what the seeds give");
        else if (why & OVER_BUDGET)
                snprintf(out, size,
                         "needs %s, today's budget has %s left: waits for the next day; raise the budget, or "
                         "bring it with skerry-agent import",
                         bytes_text(over_budget, need), bytes_text(s->budget_left, left));
        else if (why & FULL)
                snprintf(out, size,
                         "only in full (%s), which neverFull forbids: publish a delta from what runs there, "
                         "or "
                         "bring it with skerry-agent import",
                         bytes_text(p->bytes, need));
        else if (why & FAILED)
                snprintf(out, size,
                         "every way was tried and failed: see the node's log for the cause, check the "
                         "repository "
                         "with skerry repo verify");
        else
                snprintf(out, size, "the repository offers no way to get it: publish it again");
}

void fetch_plan_make(const struct fetch_offer *o, const struct fetch_situation *s, struct fetch_plan *ret) {
        const struct fetch_delta *delta = best_delta(o, s);
        struct fetch_plan p = {
                .way = FETCH_REFUSED,
                .bytes_delta = delta ? delta->length : -1,
                .bytes_chunks = chunk_bytes(o, s),
                .bytes_whole = o->length < 0       ? -1
                               : o->whole_wire > 0 ? o->whole_wire
                                                   : o->length,
        };
        if (s->present) {
                p.way = FETCH_NOTHING;
                snprintf(p.reason, sizeof(p.reason), "it is there already");
                *ret = p;
                return;
        }
        /* As much as the whole: also a pack of which the seeds give nothing, however well it is compressed.
         */
        int64_t full = p.bytes_whole >= 0 ? p.bytes_whole : INT64_MAX;
        if (o->has_chunks && o->chunk_pack_length > 0)
                full = MIN(full, o->chunk_pack_length);

        /* Of equals the simplest stands first. */
        const struct choice choices[] = {
                {FETCH_WHOLE, p.bytes_whole}, {FETCH_CHUNKS, p.bytes_chunks}, {FETCH_DELTA, p.bytes_delta}};
        const struct choice *best = NULL;
        int64_t cheapest = -1, over_budget = -1;
        unsigned why = 0;
        for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
                const struct choice *c = &choices[i];
                if (c->bytes < 0)
                        continue;
                unsigned against = forbidden(c, s, full);
                if (!against) {
                        if (!best || c->bytes < best->bytes)
                                best = c;
                        continue;
                }
                why |= against == OVER_BUDGET ? OVER_BUDGET : against & ~(unsigned)OVER_BUDGET;
                if (against == OVER_BUDGET && (over_budget < 0 || c->bytes < over_budget))
                        over_budget = c->bytes;
                if (cheapest < 0 || c->bytes < cheapest)
                        cheapest = c->bytes;
        }
        p.bytes = best ? best->bytes : MAX(cheapest, 0);
        p.wants_chunk_index = p.bytes_chunks >= 0 && s->n_seeds > 0 && s->chunks_missing < 0 &&
                              !(s->failed_ways & 1u << FETCH_CHUNKS) &&
                              (!best || o->chunk_index_length < best->bytes) &&
                              (s->budget_left < 0 || o->chunk_index_length <= s->budget_left);
        if (best) {
                p.way = best->way;
                if (best->way == FETCH_DELTA)
                        snprintf(p.from, sizeof(p.from), "%.64s", delta->from);
                explain_choice(&p, p.reason, sizeof(p.reason));
        } else
                explain_refusal(s, &p, why, over_budget, p.reason, sizeof(p.reason));
        *ret = p;
}
