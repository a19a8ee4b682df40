/* SPDX-License-Identifier: Apache-2.0 */
/* What peers post to the edge, read as every kind of body; reports that are taken merge with one another. */
#include <stdint.h>
#include <string.h>

#include "relay/edge_body.h"
#include "relay/report_queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void report(struct report_queue *q, const json_t *batch) {
        const json_t *items = json_object_get(batch, "items");
        for (size_t i = 0; i < json_array_size(items); i++) {
                const json_t *item = json_array_get(items, i), *status = json_object_get(item, "status");
                const char *node = json_string_value(json_object_get(item, "node"));
                if (status)
                        (void)report_queue_status(q, node, status);
                else
                        (void)report_queue_presence(
                                q, node,
                                &(struct presence){
                                        .connected = json_is_true(json_object_get(item, "connected")),
                                        .address = json_string_value(json_object_get(item, "address")),
                                        .version = json_integer_value(json_object_get(item, "assignment")),
                                        .revoked = json_is_true(json_object_get(item, "revoked")),
                                });
                if (i % 3 == 0) {
                        json_decref(report_queue_take(q, 2, 1000));
                        if (i % 2)
                                report_queue_arrived(q);
                        else
                                report_queue_failed(q);
                }
        }
        if (json_is_true(json_object_get(batch, "reset")))
                report_queue_reset(q);
        json_decref(report_queue_take(q, 10, 1000));
        report_queue_failed(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *)data;
        json_t *j = NULL;
        if (edge_body_enrol(text, size, &j, NULL) == 0)
                json_decref(j);
        if (edge_body_renew(text, size, &j, NULL) == 0)
                json_decref(j);
        if (edge_body_status(text, size, &j, NULL) == 0)
                json_decref(j);
        struct report_queue *q = report_queue_new(1 << 16);
        if (q && edge_body_batch(text, size, &j, NULL) == 0) {
                report(q, j);
                json_decref(j);
        }
        report_queue_free(q);
        return 0;
}
