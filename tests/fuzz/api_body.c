/* SPDX-License-Identifier: Apache-2.0 */
/* What callers and Git hosts send to the API, and nodes to the edge: each input goes through the readers of
 * every kind of body, of webhooks and of status reports. */
#include <string.h>

#include "codec/json.h"
#include "server/api_bodies.h"
#include "server/git_source.h"
#include "server/memory.h"
#include "server/report.h"
#include "server/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_bodies(const json_t *j) {
        struct label_change change = {0};
        struct reason_body reason = {0};
        struct token_body token = {0};
        struct source_spec spec = {0};
        const char *name = NULL;
        bool wait = false;
        if (body_label_change(j, &change, NULL) == 0) {
                struct pairs *labels = NULL;
                if (label_change_apply(&change, NULL, &labels, NULL) == 0)
                        free(labels);
                free(change.set);
        }
        (void)body_reason(j, false, &reason, NULL);
        (void)body_reason(j, true, &reason, NULL);
        (void)body_notify(j, &wait, NULL);
        (void)body_rollout_command(j, "approve", &reason, NULL);
        (void)body_import(j, &(struct import_body){0}, NULL);
        (void)body_replace(j, &(struct replace_body){0}, NULL);
        if (body_token(j, &token, NULL) == 0)
                free(token.labels);
        if (body_source(j, &name, &spec, NULL) == 0) {
                /* What was taken is taken again as it is shown. */
                json_t *shown = source_spec_json(&spec);
                struct source_spec again = {0};
                if (source_spec_read(shown, NULL, &again, NULL) < 0)
                        abort();
                source_spec_done(&again);
                json_decref(shown);
                source_spec_done(&spec);
        }
}

static void read_status(const json_t *j) {
        struct report r = {0};
        if (report_apply(&r, j, NULL) == 0) {
                json_t *kept = report_to_json(&r);
                struct report again = {0};
                if (report_apply(&again, kept, NULL) < 0)
                        abort();
                report_done(&again);
                json_decref(kept);
                (void)report_apply(&r, j, NULL);
        }
        report_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static bool ready;
        json_t *j = NULL;
        enum webhook_verdict verdict;
        if (!ready) {
                git_source_init();
                ready = true;
        }
        for (int host = WEBHOOK_GITHUB; host <= WEBHOOK_GITEA; host++)
                (void)webhook_judge((enum webhook_host)host, NULL,
                                    &(struct webhook_follows){.branch = "main"}, (const char *)data, size,
                                    &verdict, NULL);
        if (json_decode((const char *)data, size, &j, NULL) < 0)
                return 0;
        if (json_is_object(j))
                read_bodies(j);
        read_status(j);
        json_decref(j);
        return 0;
}
