/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/artifact_fetch_internal.h"
#include "base/str.h"
#include "codec/json.h"
#include "crypto/digest.h"

#define FETCH_BUDGET_MS 60000
/* Between rounds that brought bytes which were all wrong: doubled each time, up to this. */
#define FETCH_ROUND_CAP_MS ((msec_t)6 * 3600 * 1000)
#define FETCH_ROUND_BYTES ((int64_t)64 << 10)
#define FETCH_DELTAS_MAX 256
/* What an index comes to, before it was fetched: 19 bytes for a chunk of some 5 KiB. */
#define FETCH_INDEX_SHARE 256

/* ---- what is offered */

void ladder_read_list(struct artifact_fetch *f) {
        _cleanup_json_ json_t *list = NULL;
        const json_t *item;
        const char *target = NULL;
        size_t i;
        if (json_decode(buf_str(&f->body), f->body.len, &list, NULL) < 0 ||
            json_read_string(list, "target", &target, NULL) < 0 || !str_eq(target, f->artifact->sha256))
                return; /* of no use; it only would have saved bytes */
        free(f->deltas);
        f->deltas = NULL;
        f->n_deltas = 0;
        f->deltas = calloc(FETCH_DELTAS_MAX, sizeof(*f->deltas));
        json_array_foreach (json_object_get(list, "deltas"), i, item) {
                struct delta_offer d = {0};
                const char *from, *sha256;
                if (!f->deltas || f->n_deltas == FETCH_DELTAS_MAX)
                        return;
                if (json_read_string(item, "from", &from, NULL) < 0 ||
                    json_read_string(item, "sha256", &sha256, NULL) < 0 ||
                    json_read_int(item, "length", &d.length, NULL) < 0 || d.length <= 0 ||
                    d.length > f->artifact->length * 2 + 65536 || !sha256_hex_is_valid(from) ||
                    !sha256_hex_is_valid(sha256))
                        continue;
                memcpy(d.from, from, sizeof(d.from));
                memcpy(d.sha256, sha256, sizeof(d.sha256));
                f->deltas[f->n_deltas++] = d;
        }
}

const struct delta_offer *ladder_delta(const struct artifact_fetch *f, const char *from) {
        for (size_t i = 0; i < f->n_deltas; i++)
                if (str_eq(f->deltas[i].from, from))
                        return &f->deltas[i];
        return NULL;
}

int ladder_plan(struct artifact_fetch *f, char **seeds) {
        struct fetch_delta *deltas = calloc(f->n_deltas + 1, sizeof(*deltas));
        if (!deltas)
                return -ENOMEM;
        int64_t whole_there = ways_partial_length(f, ".whole");
        for (size_t i = 0; i < f->n_deltas; i++) {
                struct delta_suffixes names;
                delta_suffixes_of(f->deltas[i].from, &names);
                memcpy(deltas[i].from, f->deltas[i].from, sizeof(deltas[i].from));
                /* What is there of it need not come again. */
                deltas[i].length = MAX(f->deltas[i].length - ways_partial_length(f, names.delta), 1);
        }
        struct fetch_offer offer = {.length = f->artifact->length,
                                    .whole_wire = MAX(f->artifact->length - whole_there, 1),
                                    .deltas = deltas,
                                    .n_deltas = f->n_deltas,
                                    .has_chunks = f->chunks || !f->index_asked};
        if (f->chunks) {
                offer.chunk_pack_length = f->chunks->index->pack_length;
        } else {
                offer.chunk_index_length = f->artifact->length / FETCH_INDEX_SHARE + 1;
                offer.chunk_pack_length = f->artifact->length;
        }
        struct fetch_situation situation = {
                .seeds = (const char *const *)seeds,
                .n_seeds = strv_len(seeds),
                .chunks_missing = f->chunks ? chunk_fetch_missing(f->chunks->fetch) : -1,
                .never_full = f->host.never_full,
                .budget_left = f->host.budget_left ? f->host.budget_left(f->host.budget_arg) : -1,
                .failed_ways = f->failed_ways};
        fetch_plan_make(&offer, &situation, &f->plan);
        free(deltas);
        return 0;
}

/* ---- failures */

void ladder_give_up(struct artifact_fetch *f, enum fetch_way way) {
        f->wrong = 0;
        if (way == FETCH_NOTHING) /* the payload that lay here was damaged, and is gone: no way's fault */
                return;
        f->failed_ways |= 1u << way;
        switch (way) {
        case FETCH_DELTA: ways_unlink_delta(f); break;
        case FETCH_CHUNKS:
                ways_drop_chunks(f);
                f->has_index = false;
                ways_unlink(f, ".index");
                ways_unlink(f, ".chunks");
                ways_unlink(f, ".chunks-journal");
                break;
        case FETCH_WHOLE: ways_unlink(f, ".whole"); break;
        case FETCH_NOTHING:
        case FETCH_REFUSED: break;
        }
}

/* What came is of no use. The next mirror is asked, and caches are to look again: one that holds the wrong
 * bytes would give them for ever. */
static void doubt_source(struct artifact_fetch *f) {
        f->first_source++;
        f->wrong++;
        f->in_doubt = true;
}

void ladder_download_failed(struct artifact_fetch *f, enum fetch_way way, const struct download_result *r) {
        const char *words = r->message ? r->message : strerror(-r->error);
        bool absent = r->error == -ENOENT || r->error == -EOPNOTSUPP;
        switch (r->error) {
        case -ENOENT:
        case -EOPNOTSUPP: ladder_give_up(f, way); break;
        case -ESTALE:
                if (way == FETCH_DELTA)
                        ways_unlink_delta(f);
                else if (way == FETCH_WHOLE)
                        ways_unlink(f, ".whole");
                doubt_source(f);
                if (f->wrong >= FETCH_WRONG_MAX)
                        ladder_give_up(f, way);
                break;
        case -EBADMSG:
        case -EMSGSIZE:
        case -ELOOP:
                doubt_source(f);
                if (f->wrong >= FETCH_WRONG_MAX || f->host.once)
                        ladder_give_up(f, way);
                break;
        default:
                if (fetch_error_is_full(r->error)) {
                        fetch_disk_full(f, words);
                        return;
                }
                f->first_source++;
                break;
        }
        if (f->host.once && r->error != -ENOENT && r->error != -EBADMSG)
                ladder_give_up(f, way);
        if (f->host.once || absent)
                fetch_soon(f);
        else
                fetch_wait(f, r->retry_after_ms, words);
}

static enum fetch_way way_of_job(enum fetch_job_kind kind) {
        switch (kind) {
        case FETCH_JOB_OPEN_CHUNKS:
        case FETCH_JOB_FEED_CHUNKS:
        case FETCH_JOB_FINISH_CHUNKS: return FETCH_CHUNKS;
        case FETCH_JOB_DELTA: return FETCH_DELTA;
        case FETCH_JOB_WHOLE: return FETCH_WHOLE;
        case FETCH_JOB_PREPARE: return FETCH_NOTHING;
        }
        return FETCH_NOTHING;
}

static bool is_wrong(int error) {
        return error == -EBADMSG || error == -EINVAL || error == -EMSGSIZE || error == -E2BIG;
}

/* Not the bytes, and not a full disk: memory, a seed or a disk that cannot be read. It may pass; where it
 * does not, another way may do without what cannot be read. */
static void machine_failed(struct artifact_fetch *f, enum fetch_job_kind kind, const struct err *err) {
        ways_drop_chunks(f);
        if (kind == FETCH_JOB_OPEN_CHUNKS) /* perhaps the index is not there any more */
                f->has_index = f->index_asked = false;
        if (f->host.once || ++f->wrong >= FETCH_WRONG_MAX)
                ladder_give_up(f, way_of_job(kind));
        fetch_wait(f, -1, err_message(err));
}

void ladder_job_failed(struct artifact_fetch *f, enum fetch_job_kind kind, int error, const struct err *err) {
        enum fetch_way way = way_of_job(kind);
        ways_drop_ranges(f);
        f->feed_is_cut = false;
        if (fetch_error_is_full(error)) {
                fetch_disk_full(f, err_message(err));
                return;
        }
        if (!is_wrong(error)) {
                machine_failed(f, kind, err);
                return;
        }
        doubt_source(f);
        /* What a source or a cache may have spoilt is asked for again, past caches and of the next mirror.
         * That a right index does not make the target, nothing mends. */
        bool again = kind != FETCH_JOB_FINISH_CHUNKS && f->wrong < FETCH_WRONG_MAX && !f->host.once &&
                     error == -EBADMSG;
        if (!again) {
                ladder_give_up(f, way);
        } else if (kind == FETCH_JOB_DELTA) {
                ways_unlink_delta(f);
        } else if (kind == FETCH_JOB_OPEN_CHUNKS) {
                ways_unlink(f, ".index");
                f->has_index = f->index_asked = false;
        }
        fetch_wait(f, -1, err_message(err));
}

void ladder_refused(struct artifact_fetch *f) {
        char reason[FETCH_MESSAGE_MAX], when[200] = "";
        const struct download_limit *limit = f->host.limit;
        int64_t left = f->host.budget_left ? f->host.budget_left(f->host.budget_arg) : -1;
        if (left >= 0 && f->plan.bytes > left && limit && limit->explain)
                limit->explain(limit->arg, f->plan.bytes, when, sizeof(when));
        (void)snprintf(reason, sizeof(reason), "%s%s%s", f->plan.reason, *when ? "; " : "", when);
        if (f->host.once) {
                f->listener.failed(f->listener.arg, -ENOENT, reason);
                return;
        }
        msec_t wait = FETCH_BUDGET_MS;
        /* A new round, from the list on: the repository may have more by then. */
        if (f->failed_ways) {
                f->failed_ways = 0;
                f->listed = f->index_asked = false;
                f->in_doubt = true;
                if (f->fetched - f->fetched_at_round >= FETCH_ROUND_BYTES) {
                        wait = MIN(wait << MIN(f->wasted_rounds, 10u), FETCH_ROUND_CAP_MS);
                        f->wasted_rounds++;
                }
                f->fetched_at_round = f->fetched;
        }
        fetch_wait(f, wait + (msec_t)prng_below(&f->random, (uint64_t)wait / 2), reason);
}
