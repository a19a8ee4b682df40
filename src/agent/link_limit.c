/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/link_limit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/artifact_store.h"
#include "agent/state_file.h"
#include "base/fs.h"
#include "base/str.h"
#include "codec/json.h"

#define KEEP_BYTES ((int64_t)256 << 10) /* what may be forgotten when the power goes */
#define PIECE_MIN ((int64_t)4 << 10)
#define WAIT_MAX_MS 60000

struct link_limit {
        const struct clock *clock;
        struct transfer_limit limit;
        bool limited;
        char *path;
        int64_t unkept;
        struct download_limit download;
};

static int parse_rate(const char *text, int64_t *ret, struct err **err) {
        struct artifact_budget bytes;
        if (str_eq(text, "none")) {
                *ret = TRANSFER_NO_LIMIT;
                return 0;
        }
        if (artifact_budget_parse(text, &bytes, NULL) < 0 || bytes.bytes < 0)
                return err_set(err, EINVAL, "'%.40s': expected bytes, with K, M or G: 500K, 2M, none", text);
        *ret = bytes.bytes;
        return 0;
}

static int parse_window(const char *text, struct transfer_window *ret, struct err **err) {
        unsigned fh, fm, th, tm;
        int used = 0;
        if (sscanf(text, "%2u:%2u-%2u:%2u=%n", &fh, &fm, &th, &tm, &used) != 4 || used == 0 || fh > 23 ||
            fm > 59 || th > 24 || tm > 59 || th * 60 + tm > 24 * 60)
                return err_set(err, EINVAL, "'%.60s': expected HH:MM-HH:MM=BYTES, 22:00-06:00=10M", text);
        ret->from = fh * 60 + fm;
        ret->to = th * 60 + tm;
        return parse_rate(text + used, &ret->bytes_per_second, err);
}

int link_limit_parse_bandwidth(const char *text, struct transfer_policy *policy, struct err **err) {
        _cleanup_(strv_freep) char **parts = strv_split(text, ",");
        int r = 0;
        policy->bytes_per_second = TRANSFER_NO_LIMIT;
        policy->n_windows = 0;
        for (size_t i = 0; r == 0 && parts && parts[i]; i++) {
                if (!strchr(parts[i], '=')) {
                        r = parse_rate(parts[i], &policy->bytes_per_second, err);
                } else if (policy->n_windows == TRANSFER_WINDOWS_MAX) {
                        r = err_set(err, EINVAL, "more than %d windows", TRANSFER_WINDOWS_MAX);
                } else {
                        r = parse_window(parts[i], &policy->windows[policy->n_windows], err);
                        policy->n_windows += r == 0;
                }
        }
        return r == 0 ? transfer_policy_check(policy, err) : r;
}

/* ---- time */

static struct transfer_time now(const struct link_limit *l) {
        struct transfer_time t = {.monotonic_ms = clock_mono_ms(l->clock),
                                  .wall_s = clock_wall_ms(l->clock) / 1000};
        time_t seconds = (time_t)t.wall_s;
        struct tm local;
        if (localtime_r(&seconds, &local))
                t.utc_offset_s = (int32_t)local.tm_gmtoff;
        return t;
}

/* ---- keeping */

static void keep(struct link_limit *l) {
        struct transfer_usage u = transfer_limit_usage(&l->limit);
        _cleanup_json_ json_t *j = json_pack("{s:i, s:I, s:I, s:I}", "format", 1, "day", (json_int_t)u.day,
                                             "used", (json_int_t)u.used, "ranMs", (json_int_t)u.ran_ms);
        _cleanup_(x_freep) char *text = j ? json_encode_compact(j) : NULL;
        if (text)
                (void)state_file_write(l->path, text, strlen(text), NULL);
        l->unkept = 0;
}

static bool read_kept(const struct link_limit *l, struct transfer_usage *ret) {
        _cleanup_(x_freep) char *text = NULL;
        _cleanup_json_ json_t *j = NULL;
        size_t len;
        return file_read(l->path, 4096, &text, &len, NULL) == 0 && json_decode(text, len, &j, NULL) == 0 &&
               json_read_int(j, "day", &ret->day, NULL) == 0 &&
               json_read_int(j, "used", &ret->used, NULL) == 0 &&
               json_read_int(j, "ranMs", &ret->ran_ms, NULL) == 0 && ret->used >= 0 && ret->ran_ms >= 0;
}

/* ---- for downloads */

static int64_t allow(void *arg, int64_t wish, msec_t *ret_wait_ms) {
        struct link_limit *l = arg;
        struct transfer_time t = now(l);
        int64_t allowed = transfer_limit_allowed(&l->limit, &t);
        /* Requests for a handful of bytes cost more than they bring. */
        if (allowed >= MIN(wish, PIECE_MIN))
                return MIN(allowed, wish);
        *ret_wait_ms = MIN(transfer_limit_wait_ms(&l->limit, &t, MIN(wish, PIECE_MIN)), (int64_t)WAIT_MAX_MS);
        if (*ret_wait_ms == 0 && allowed > 0)
                return MIN(allowed, wish); /* as many as are ever allowed at once */
        return 0;
}

static void used(void *arg, int64_t n) {
        struct link_limit *l = arg;
        struct transfer_time t = now(l);
        transfer_limit_used(&l->limit, &t, n);
        l->unkept += n;
        if (l->unkept >= KEEP_BYTES)
                keep(l);
}

static void explain(void *arg, int64_t wish, char *out, size_t size) {
        struct link_limit *l = arg;
        struct transfer_time t = now(l);
        int64_t wait = transfer_limit_wait_ms(&l->limit, &t, wish), left;
        left = transfer_limit_budget_left(&l->limit, &t);
        bool budget = left >= 0 && left < MIN(wish, l->limit.policy.bytes_per_day);
        const char *what = budget ? "the day's budget of bytes is used up (--daily-budget)"
                                  : "the link may not be used at this time (--bandwidth)";
        if (wait == TRANSFER_NEVER) {
                (void)snprintf(out, size, "%s, and will not be otherwise at any time", what);
                return;
        }
        time_t at = (time_t)(t.wall_s + (wait + 999) / 1000);
        struct tm local;
        char when[32] = "";
        if (!localtime_r(&at, &local) || strftime(when, sizeof(when), "%Y-%m-%d %H:%M %z", &local) == 0)
                (void)snprintf(when, sizeof(when), "in %lld s", (long long)(wait / 1000));
        (void)snprintf(out, size, "%s; goes on at %s", what, when);
}

const struct download_limit *link_limit_download(struct link_limit *l) {
        return l->limited ? &l->download : NULL;
}

int64_t link_limit_budget_left(struct link_limit *l) {
        struct transfer_time t = now(l);
        return l->limited ? transfer_limit_budget_left(&l->limit, &t) : -1;
}

int link_limit_new(struct loop *loop, const char *state, const char *bandwidth, const char *daily_budget,
                   bool never_full, struct link_limit **ret, struct err **err) {
        _cleanup_(link_limit_freep) struct link_limit *l = calloc(1, sizeof(*l));
        struct transfer_policy policy = {.bytes_per_second = TRANSFER_NO_LIMIT,
                                         .bytes_per_day = TRANSFER_NO_LIMIT,
                                         .never_full = never_full};
        struct transfer_usage kept;
        int r;
        if (!l || !(l->path = path_join(state, "transfer.json")))
                return err_set_errno(err, ENOMEM, "limits");
        l->clock = loop_clock(loop);
        if (bandwidth && (r = link_limit_parse_bandwidth(bandwidth, &policy, err)) < 0)
                return err_wrap_code(err, r, "--bandwidth");
        if (daily_budget && (r = parse_rate(daily_budget, &policy.bytes_per_day, err)) < 0)
                return err_wrap_code(err, r, "--daily-budget");
        l->limited = bandwidth || daily_budget;
        struct transfer_time t = now(l);
        transfer_limit_init(&l->limit, &policy, l->limited && read_kept(l, &kept) ? &kept : NULL, &t);
        l->download = (struct download_limit){.allow = allow, .used = used, .explain = explain, .arg = l};
        *ret = TAKE_PTR(l);
        return 0;
}

struct link_limit *link_limit_free(struct link_limit *l) {
        if (!l)
                return NULL;
        if (l->limited && l->unkept > 0)
                keep(l);
        free(l->path);
        free(l);
        return NULL;
}
