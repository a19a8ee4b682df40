/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rollout_view.h"

#include <string.h>

#include "base/str.h"
#include "cli/cli.h"

#define BAR_MIN 8
#define BAR_MAX 40
#define WAVE_NAME_MAX 20
#define NODE_NAME_MAX 32
#define NODES_SHOWN 12 /* of a kind, where the terminal does not say how many lines it has */

/* What a wave's nodes are counted by, in the order of the bar. */
enum segment { HEALTHY, FAILED, BACK, PROGRESSING, DEFERRED, PENDING, SEGMENTS };

static const struct {
        const char *key, *words;
        enum style style;
        const char *unicode, *plain;
} segments[SEGMENTS] = {
        [HEALTHY] = {"healthy", "healthy", STYLE_GOOD, "█", "#"},
        [FAILED] = {"failed", "failed", STYLE_BAD, "▚", "x"},
        [BACK] = {"rolledBack", "went back", STYLE_WARN, "◂", "<"},
        [PROGRESSING] = {"progressing", "progressing", STYLE_ACTIVE, "▒", "+"},
        [DEFERRED] = {"deferred", "deferred", STYLE_WARN, "┄", "-"},
        [PENDING] = {"pending", "pending", STYLE_DIM, "░", "."},
};

bool rollout_is_final(const json_t *rollout) {
        static const char *const phases[] = {"Succeeded", "Failed", "Aborted", "RolledBack", "Superseded"};
        for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
                if (str_eq(field_text(rollout, "status.phase"), phases[i]))
                        return true;
        return false;
}

int rollout_exit_code(const json_t *rollout) {
        return !rollout_is_final(rollout) || str_eq(field_text(rollout, "status.phase"), "Succeeded")
                       ? EXIT_SUCCESS
                       : EXIT_FAILURE;
}

void rollout_bar(const int64_t *counts, size_t n, size_t cells, size_t *ret_cells) {
        int64_t total = 0;
        size_t given = 0;
        for (size_t i = 0; i < n; i++) {
                ret_cells[i] = 0;
                total += MAX(counts[i], 0);
        }
        if (total == 0)
                return;
        for (size_t i = 0; i < n; i++) {
                if (counts[i] <= 0)
                        continue;
                ret_cells[i] = MAX((size_t)(counts[i] * (int64_t)cells / total), (size_t)1);
                given += ret_cells[i];
        }
        /* Rounding left cells over, or the small ones took too many: the largest pays, or gains. */
        while (given != cells) {
                size_t most = n;
                for (size_t i = 0; i < n; i++)
                        if (counts[i] > 0 && (most == n || ret_cells[i] > ret_cells[most] ||
                                              (ret_cells[i] == ret_cells[most] && counts[i] > counts[most])))
                                most = i;
                if (given > cells) {
                        if (ret_cells[most] == 0)
                                return;
                        ret_cells[most]--;
                        given--;
                } else {
                        ret_cells[most] += cells - given;
                        given = cells;
                }
        }
}

/* ---- one line at a time, cut at the terminal's edge */

struct painter {
        struct buf *out;
        const struct rollout_look *look;
        size_t at, lines;
};

static void put(struct painter *p, enum style style, const char *text) {
        _cleanup_(buf_done) struct buf safe = BUF_INIT, cut = BUF_INIT;
        size_t room = p->look->width > p->at ? p->look->width - p->at : 0;
        text_put_safe(&safe, text);
        text_put_cut(&cut, buf_str(&safe), room, p->look->unicode);
        style_puts(p->out, p->look->colour, style, buf_str(&cut));
        p->at += utf8_width(buf_str(&cut), cut.len);
}

/* As put(), for why something failed: further lines stand beneath column `indent`. */
static void put_reason(struct painter *p, const char *text, size_t indent) {
        _cleanup_(buf_done) struct buf safe = BUF_INIT;
        if (!p->look->whole) {
                put(p, STYLE_NONE, text);
                return;
        }
        text_put_safe(&safe, text);
        text_put_wrapped(p->out, buf_str(&safe), p->at, indent, p->look->width);
        p->at = p->look->width;
}

static void putf(struct painter *p, enum style style, const char *format, ...) _printf_(3, 4);
static void putf(struct painter *p, enum style style, const char *format, ...) {
        _cleanup_(buf_done) struct buf text = BUF_INIT;
        va_list ap;
        va_start(ap, format);
        buf_vprintf(&text, format, ap);
        va_end(ap);
        put(p, style, buf_str(&text));
}

static void pad(struct painter *p, size_t column) {
        if (p->at < column)
                putf(p, STYLE_NONE, "%*s", (int)(column - p->at), "");
}

static void end_line(struct painter *p) {
        buf_putc(p->out, '\n');
        p->at = 0;
        p->lines++;
}

static const char *dot(const struct painter *p) {
        return p->look->unicode ? " · " : ", ";
}

/* ---- the head */

static void draw_head(struct painter *p, const json_t *r, msec_t now) {
        char short_commit[SHORT_COMMIT + 1], age[AGE_SIZE];
        const char *phase = field_text(r, "status.phase"), *commit = field_text(r, "spec.commit");
        bool paused = field_bool(r, "status.paused");
        put(p, STYLE_BOLD, field_text(r, "spec.fleet"));
        put(p, STYLE_NONE, "  ");
        put(p, paused ? STYLE_WARN : style_of_state(phase), phase);
        if (paused)
                put(p, STYLE_WARN, " (paused)");
        if (*field_text(r, "status.reason")) {
                put(p, STYLE_NONE, ":");
                _cleanup_(x_freep) char *reason = str_format(" %s", field_text(r, "status.reason"));
                put_reason(p, reason ? reason : "", 4);
        }
        end_line(p);

        if (*commit)
                put(p, STYLE_WARN, shorten(commit, SHORT_COMMIT, short_commit));
        if (*field_text(r, "spec.commitSubject")) {
                /* The rollout's name is what one may have to type: rather cut the subject. */
                _cleanup_(buf_done) struct buf safe = BUF_INIT, subject = BUF_INIT;
                size_t rest = strlen(", rollout ") + strlen(field_text(r, "metadata.name")) + 1;
                size_t room = p->look->width > p->at + rest ? p->look->width - p->at - rest : 0;
                text_put_safe(&safe, field_text(r, "spec.commitSubject"));
                text_put_cut(&subject, buf_str(&safe), room, p->look->unicode);
                putf(p, STYLE_NONE, " %s", buf_str(&subject));
        }
        if (*commit)
                put(p, STYLE_DIM, dot(p));
        putf(p, STYLE_DIM, "rollout %s", field_text(r, "metadata.name"));
        end_line(p);

        putf(p, STYLE_NONE, "%lld of %lld healthy", (long long)field_int(r, "status.healthy"),
             (long long)field_int(r, "status.total"));
        for (enum segment s = HEALTHY + 1; s < SEGMENTS; s++) {
                char path[32];
                (void)snprintf(path, sizeof(path), "status.%s", segments[s].key);
                if (field_int(r, path) == 0)
                        continue;
                put(p, STYLE_DIM, dot(p));
                putf(p, segments[s].style, "%lld %s", (long long)field_int(r, path), segments[s].words);
        }
        msec_t started = field_time(r, "status.startedAt"), finished = field_time(r, "status.finishedAt");
        if (started > 0) {
                put(p, STYLE_DIM, dot(p));
                putf(p, STYLE_DIM, "%s %s", finished > 0 ? "took" : "for",
                     age_format(MAX((finished > 0 ? finished : now) - started, 0), age, sizeof(age)));
        }
        end_line(p);
}

/* ---- the waves */

/* What is told by number behind a wave's state. */
static const enum segment told[] = {FAILED, BACK, DEFERRED};

/* Of the words behind a wave's bar. */
static size_t tail_width(const json_t *wave) {
        size_t width = strlen(field_text(wave, "state"));
        for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
                char count[24];
                int64_t n = field_int(wave, segments[told[i]].key);
                if (n > 0)
                        width += strlen(" - ") + strlen(segments[told[i]].words) + 1 +
                                 (size_t)snprintf(count, sizeof(count), "%lld", (long long)n);
        }
        return width;
}

static void draw_wave(struct painter *p, const json_t *wave, bool is_current, size_t name_width,
                      size_t bar_width, size_t digits, msec_t now, bool going) {
        int64_t counts[SEGMENTS];
        size_t cells[SEGMENTS];
        const char *state = field_text(wave, "state");
        for (size_t i = 0; i < SEGMENTS; i++)
                counts[i] = field_int(wave, segments[i].key);
        rollout_bar(counts, SEGMENTS, bar_width, cells);
        put(p, is_current ? STYLE_BOLD : STYLE_NONE, is_current ? (p->look->unicode ? "▸ " : "> ") : "  ");
        _cleanup_(buf_done) struct buf name = BUF_INIT;
        text_put_cut(&name, field_text(wave, "name"), name_width, p->look->unicode);
        put(p, is_current ? STYLE_BOLD : STYLE_NONE, buf_str(&name));
        pad(p, 2 + name_width + 2);
        for (size_t i = 0; i < SEGMENTS; i++) {
                _cleanup_(buf_done) struct buf bar = BUF_INIT;
                for (size_t c = 0; c < cells[i]; c++)
                        buf_puts(&bar, p->look->unicode ? segments[i].unicode : segments[i].plain);
                put(p, segments[i].style, buf_str(&bar));
        }
        pad(p, 2 + name_width + 2 + bar_width);
        putf(p, STYLE_NONE, "  %*lld/%-*lld  ", (int)digits, (long long)counts[HEALTHY], (int)digits,
             (long long)field_int(wave, "total"));
        put(p, style_of_state(state), state);

        msec_t soak = field_time(wave, "soakUntil");
        if (going && str_eq(state, "Soaking") && soak > 0) {
                char left[32];
                /* Rounded up to seconds: "0s" is said when it is over, not before. */
                put(p, STYLE_DIM, dot(p));
                putf(p, STYLE_ACTIVE, "%s to go",
                     duration_format(MAX(soak - now + 999, 0) / 1000 * 1000, left, sizeof(left)));
        }
        for (size_t i = 0; i < ARRAY_SIZE(told); i++)
                if (counts[told[i]] > 0) {
                        put(p, STYLE_DIM, dot(p));
                        putf(p, segments[told[i]].style, "%lld %s", (long long)counts[told[i]],
                             segments[told[i]].words);
                }
        end_line(p);
}

static void draw_waves(struct painter *p, const json_t *r, msec_t now) {
        const json_t *waves = field(r, "status.waves");
        const char *current = field_text(r, "status.wave");
        size_t name_width = 4, digits = 1, i;
        bool going = !rollout_is_final(r);
        json_t *wave;
        json_array_foreach ((json_t *)waves, i, wave) {
                const char *name = field_text(wave, "name");
                name_width = MAX(name_width, utf8_width(name, strlen(name)));
                size_t d = 1;
                for (int64_t total = field_int(wave, "total"); total >= 10; total /= 10)
                        d++;
                digits = MAX(digits, d);
        }
        name_width = MIN(name_width, (size_t)WAVE_NAME_MAX);
        size_t tail = strlen("Progressing, 4m30s to go");
        json_array_foreach ((json_t *)waves, i, wave)
                tail = MAX(tail, tail_width(wave));
        size_t around = 2 + name_width + 2 + 2 + 2 * digits + 1 + 2 + tail;
        size_t bar =
                p->look->width > around + BAR_MIN ? MIN(p->look->width - around, (size_t)BAR_MAX) : BAR_MIN;
        json_array_foreach ((json_t *)waves, i, wave)
                draw_wave(p, wave, going && str_eq(field_text(wave, "name"), current), name_width, bar,
                          digits, now, going);
}

/* ---- the nodes */

enum group { GROUP_BAD, GROUP_ACTIVE, GROUP_DEFERRED, GROUP_BACK, GROUP_QUIET };

static bool went_back_unharmed(const json_t *member) {
        return str_eq(field_text(member, "state"), "RolledBack") && !*field_text(member, "reason");
}

enum style rollout_member_style(const json_t *member) {
        return went_back_unharmed(member) ? STYLE_WARN : style_of_state(field_text(member, "state"));
}

static enum group group_of(const json_t *member) {
        const char *state = field_text(member, "state");
        enum style style = style_of_state(state);
        if (went_back_unharmed(member))
                return GROUP_BACK;
        if (style == STYLE_BAD)
                return GROUP_BAD;
        if (str_eq(state, "Deferred"))
                return GROUP_DEFERRED;
        return style == STYLE_ACTIVE ? GROUP_ACTIVE : GROUP_QUIET;
}

static void draw_member(struct painter *p, const json_t *m, enum group group, size_t name_width, msec_t now) {
        static const char *const signs[][2] = {
                [GROUP_BAD] = {"✗ ", "x "},
                [GROUP_ACTIVE] = {"• ", "+ "},
                [GROUP_DEFERRED] = {"┄ ", "- "},
                [GROUP_BACK] = {"◂ ", "< "},
        };
        const char *state = field_text(m, "state"), *reason = field_text(m, "reason");
        bool away = group != GROUP_DEFERRED && field(m, "connected") && !field_bool(m, "connected");
        enum style style = rollout_member_style(m);
        char age[AGE_SIZE];
        put(p, STYLE_NONE, "  ");
        put(p, style, signs[group][p->look->unicode ? 0 : 1]);
        _cleanup_(buf_done) struct buf name = BUF_INIT;
        text_put_cut(&name, field_text(m, "node"), name_width, p->look->unicode);
        put(p, STYLE_NONE, buf_str(&name));
        pad(p, 4 + name_width + 2);
        put(p, style, state);
        pad(p, 4 + name_width + 2 + 13);
        if (*reason) {
                _cleanup_(x_freep) char *words = str_format("%s%s", reason, away ? " (away)" : "");
                put_reason(p, words ? words : reason, p->at);
                away = false;
        } else if (group == GROUP_ACTIVE && *field_age(m, "since", now, age)) {
                putf(p, STYLE_DIM, "for %s", age);
        } else if (group == GROUP_BACK) {
                put(p, STYLE_DIM, "with the others");
        }
        if (away)
                put(p, STYLE_WARN, "  away");
        end_line(p);
}

static void draw_group(struct painter *p, const json_t *members, enum group group, size_t most, msec_t now) {
        size_t i, n = 0, name_width = 8, shown = 0;
        json_t *m;
        json_array_foreach ((json_t *)members, i, m) {
                if (group_of(m) != group)
                        continue;
                const char *name = field_text(m, "node");
                n++;
                name_width = MAX(name_width, utf8_width(name, strlen(name)));
        }
        name_width = MIN(name_width, (size_t)NODE_NAME_MAX);
        if (n > most && most > 0)
                most--; /* a line for the rest */
        json_array_foreach ((json_t *)members, i, m)
                if (shown < most && group_of(m) == group) {
                        draw_member(p, m, group, name_width, now);
                        shown++;
                }
        if (n > shown && most > 0) {
                putf(p, STYLE_DIM, "    and %zu more", n - shown);
                end_line(p);
        }
}

static void draw_members(struct painter *p, const json_t *r, msec_t now) {
        const json_t *members = field(r, "status.members");
        size_t counts[GROUP_QUIET + 1] = {0}, i;
        json_t *m;
        json_array_foreach ((json_t *)members, i, m)
                counts[group_of(m)]++;
        bool going = !rollout_is_final(r);
        for (enum group g = GROUP_BAD; g < GROUP_QUIET; g++) {
                if (counts[g] == 0 || (g == GROUP_ACTIVE && !going))
                        continue;
                size_t most = NODES_SHOWN;
                if (p->look->height > 0) {
                        size_t left = p->look->height > p->lines + 1 ? p->look->height - p->lines - 1 : 0;
                        if (left < 3)
                                return;
                        most = MIN(left - 1, (size_t)NODES_SHOWN);
                }
                end_line(p);
                draw_group(p, members, g, most, now);
        }
}

void rollout_draw(struct buf *out, const json_t *rollout, msec_t now, const struct rollout_look *look) {
        struct painter p = {.out = out, .look = look};
        draw_head(&p, rollout, now);
        end_line(&p);
        draw_waves(&p, rollout, now);
        draw_members(&p, rollout, now);
        _cleanup_(x_freep) char *next = look->whole ? rollout_next_step(rollout) : NULL;
        if (next) {
                end_line(&p);
                put_reason(&p, next, 2);
                end_line(&p);
        }
}

static const json_t *current_wave(const json_t *rollout) {
        const json_t *wave;
        size_t i;
        json_array_foreach (field(rollout, "status.waves"), i, wave)
                if (str_eq(field_text(wave, "name"), field_text(rollout, "status.wave")))
                        return wave;
        return NULL;
}

/* "anna or ben"; nothing: whoever may act on rollouts. */
static void put_approvers(struct buf *out, const json_t *rollout, const json_t *wave) {
        const json_t *policy = json_array_get(field(rollout, "spec.policy.waves"),
                                              (size_t)field_int(wave, "policyWave")),
                     *approvers = field(policy, "approvers");
        size_t n = json_array_size(approvers);
        for (size_t i = 0; i < n; i++) {
                const char *name = json_string_value(json_array_get(approvers, i));
                buf_printf(out, "%s%s", i == 0 ? " of " : i + 1 == n ? " or " : ", ", name ? name : "?");
        }
}

/* Who has said so already: "; ada has approved". */
static void put_approved(struct buf *out, const json_t *rollout, const char *kind, const char *wave,
                         const char *verb) {
        const json_t *a;
        size_t i, n = 0;
        json_array_foreach (field(rollout, "status.approvals"), i, a)
                if (str_eq(field_text(a, "kind"), kind) && (!wave || str_eq(field_text(a, "wave"), wave)))
                        buf_printf(out, "%s%s", n++ ? ", " : "; ", field_text(a, "by"));
        if (n > 0)
                buf_printf(out, " %s %s", n == 1 ? "has" : "have", verb);
}

static char *approval_step(const json_t *rollout, const char *fleet) {
        const json_t *wave = current_wave(rollout);
        const char *name = field_text(rollout, "status.wave");
        int64_t missing = field_int(wave, "missingApprovals");
        struct buf out = BUF_INIT;
        buf_printf(&out, "Wave %s waits for the approval", name);
        if (missing > 1)
                buf_printf(&out, " of %lld people", (long long)missing);
        put_approvers(&out, rollout, wave);
        put_approved(&out, rollout, "Wave", name, "approved");
        buf_printf(&out, ": 'skerry rollout approve %s'.", fleet);
        char *text = buf_failed(&out) ? NULL : str_dup(buf_str(&out));
        buf_done(&out);
        return text;
}

/* One person has said so, and a second must. */
static char *second_step(const json_t *rollout, const char *fleet) {
        static const struct {
                const char *kind, *verb;
        } kinds[] = {{"Emergency", "emergency"}, {"Promote", "promote"}};
        const char *wave = field_text(rollout, "status.wave");
        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
                const json_t *a, *said = NULL;
                size_t i, n = 0;
                json_array_foreach (field(rollout, "status.approvals"), i, a)
                        if (str_eq(field_text(a, "kind"), kinds[k].kind) &&
                            str_eq(field_text(a, "wave"), wave)) {
                                said = a;
                                n++;
                        }
                if (n != 1)
                        continue;
                return str_format(
                        "%s asked to %s%s%s: it takes a second person, with 'skerry rollout %s %s'.",
                        field_text(said, "by"), k == 0 ? "skip every soak" : "let wave ", k == 0 ? "" : wave,
                        k == 0 ? "" : " pass", kinds[k].verb, fleet);
        }
        return NULL;
}

char *rollout_next_step(const json_t *rollout) {
        const char *fleet = field_text(rollout, "spec.fleet"), *phase = field_text(rollout, "status.phase");
        if (field_bool(rollout, "status.paused") && !rollout_is_final(rollout))
                return str_format(
                        "It waits: 'skerry rollout resume %s' lets it go on, 'skerry rollout abort %s' "
                        "gives its nodes the last good revision back.",
                        fleet, fleet);
        if (str_eq(phase, "AwaitingApproval"))
                return approval_step(rollout, fleet);
        if (!rollout_is_final(rollout)) {
                char *second = second_step(rollout, fleet);
                if (second)
                        return second;
        }
        if (str_eq(phase, "Failed") || str_eq(phase, "RolledBack"))
                return str_format("Push a commit that mends it, or 'skerry rollout retry %s' to try the same "
                                  "again; 'skerry events --rollout %s' tells the whole story.",
                                  fleet, field_text(rollout, "metadata.name"));
        return NULL;
}

/* ---- line by line */

static void put_time(struct buf *out, msec_t now) {
        char text[TIME_TEXT_SIZE];
        buf_printf(out, "%.8s  ", time_format(now, text) + 11);
}

static const json_t *wave_at(const json_t *rollout, size_t i) {
        return json_array_get(field(rollout, "status.waves"), i);
}

static void tell_waves(struct buf *out, const json_t *before, const json_t *r, msec_t now) {
        size_t n = json_array_size(field(r, "status.waves"));
        for (size_t i = 0; i < n; i++) {
                const json_t *wave = wave_at(r, i), *old = wave_at(before, i);
                const char *state = field_text(wave, "state");
                int64_t healthy = field_int(wave, "healthy"), failed = field_int(wave, "failed"),
                        deferred = field_int(wave, "deferred"), back = field_int(wave, "rolledBack");
                if (old && str_eq(state, field_text(old, "state")) && healthy == field_int(old, "healthy") &&
                    failed == field_int(old, "failed") && deferred == field_int(old, "deferred") &&
                    back == field_int(old, "rolledBack"))
                        continue;
                put_time(out, now);
                buf_puts(out, "wave ");
                text_put_safe(out, field_text(wave, "name"));
                buf_printf(out, ": ");
                text_put_safe(out, state);
                buf_printf(out, ", %lld of %lld healthy", (long long)healthy,
                           (long long)field_int(wave, "total"));
                if (failed > 0)
                        buf_printf(out, ", %lld failed", (long long)failed);
                if (back > 0)
                        buf_printf(out, ", %lld went back", (long long)back);
                if (deferred > 0)
                        buf_printf(out, ", %lld deferred", (long long)deferred);
                msec_t soak = field_time(wave, "soakUntil");
                if (str_eq(state, "Soaking") && soak > now) {
                        char left[32];
                        buf_printf(out, ", %s to go",
                                   duration_format((soak - now + 999) / 1000 * 1000, left, sizeof(left)));
                }
                buf_putc(out, '\n');
        }
}

/* Members stay in one order for a rollout's whole life, so their places tell who is who. */
static void tell_failures(struct buf *out, const json_t *before, const json_t *r, msec_t now) {
        const json_t *members = field(r, "status.members"), *old_members = field(before, "status.members");
        size_t i;
        json_t *m;
        json_array_foreach ((json_t *)members, i, m) {
                const json_t *old = json_array_get(old_members, i);
                const char *state = field_text(m, "state"), *reason = field_text(m, "reason");
                if (group_of(m) != GROUP_BAD && !str_eq(state, "Deferred"))
                        continue;
                if (old && str_eq(field_text(old, "node"), field_text(m, "node")) &&
                    str_eq(field_text(old, "state"), state) && str_eq(field_text(old, "reason"), reason))
                        continue;
                put_time(out, now);
                buf_puts(out, "node ");
                text_put_safe(out, field_text(m, "node"));
                buf_puts(out, ": ");
                text_put_safe(out, state);
                if (*reason) {
                        buf_puts(out, ": ");
                        text_put_safe(out, reason);
                }
                buf_putc(out, '\n');
        }
}

static void tell_head(struct buf *out, const json_t *r, msec_t now) {
        char commit[SHORT_COMMIT + 1];
        put_time(out, now);
        buf_puts(out, "fleet ");
        text_put_safe(out, field_text(r, "spec.fleet"));
        buf_puts(out, ": rollout ");
        text_put_safe(out, field_text(r, "metadata.name"));
        if (*field_text(r, "spec.commit"))
                buf_printf(out, " of %s ", shorten(field_text(r, "spec.commit"), SHORT_COMMIT, commit));
        text_put_safe(out, field_text(r, "spec.commitSubject"));
        buf_putc(out, '\n');
}

void rollout_tell(struct buf *out, const json_t *before, const json_t *r, msec_t now) {
        const char *phase = field_text(r, "status.phase"), *reason = field_text(r, "status.reason");
        bool paused = field_bool(r, "status.paused");
        /* Another rollout: everything about it is new. */
        if (before && !str_eq(field_text(before, "metadata.name"), field_text(r, "metadata.name")))
                before = NULL;
        if (!before)
                tell_head(out, r, now);
        tell_waves(out, before, r, now);
        tell_failures(out, before, r, now);
        if (before && str_eq(phase, field_text(before, "status.phase")) &&
            paused == field_bool(before, "status.paused") &&
            str_eq(reason, field_text(before, "status.reason")))
                return;
        put_time(out, now);
        buf_printf(out, "%s%s", phase, paused ? " (paused)" : "");
        if (*reason) {
                buf_puts(out, ": ");
                text_put_safe(out, reason);
        }
        buf_printf(out, " (%lld of %lld healthy)\n", (long long)field_int(r, "status.healthy"),
                   (long long)field_int(r, "status.total"));
}
