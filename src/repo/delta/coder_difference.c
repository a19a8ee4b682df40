/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/delta/coder_difference.h"

#include <string.h>

static void end_run(struct delta_difference *d) {
        if (d->run > 0)
                delta_columns_number(d->columns, DELTA_RUNS, d->run - 1);
        d->run = 0;
}

static void put(struct delta_difference *d, const uint8_t *predicted, const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n;) {
                uint64_t a, b;
                if (d->run == 0 && n - i >= 8) { /* most of it is as predicted */
                        memcpy(&a, predicted + i, 8);
                        memcpy(&b, p + i, 8);
                        if (a == b) {
                                d->gap += 8;
                                i += 8;
                                continue;
                        }
                }
                if (p[i] == predicted[i]) {
                        end_run(d);
                        d->gap++;
                } else {
                        if (d->run++ == 0) {
                                delta_columns_number(d->columns, DELTA_GAPS, d->gap);
                                d->gap = 0;
                        }
                        uint8_t difference = (uint8_t)(p[i] - predicted[i]);
                        delta_columns_bytes(d->columns, DELTA_DIFFERENCES, &difference, 1);
                }
                i++;
        }
}

static void get(struct delta_difference *d, uint8_t *p, size_t n) {
        uint8_t differences[256];
        while (n > 0) {
                if (!d->begun) {
                        d->gap = delta_columns_number(d->columns, DELTA_GAPS, 0);
                        d->run = 0;
                        d->begun = true;
                }
                if (delta_columns_failed(d->columns))
                        return;
                if (d->gap >= n) {
                        d->gap -= n;
                        return;
                }
                p += d->gap;
                n -= (size_t)d->gap;
                d->gap = 0;
                if (d->run == 0)
                        d->run = delta_columns_number(d->columns, DELTA_RUNS, 0) + 1;
                size_t k = (size_t)MIN(d->run, (uint64_t)MIN(n, sizeof(differences)));
                delta_columns_bytes(d->columns, DELTA_DIFFERENCES, differences, k);
                for (size_t i = 0; i < k; i++)
                        p[i] = (uint8_t)(p[i] + differences[i]);
                p += k;
                n -= k;
                d->run -= k;
                d->begun = d->run > 0;
        }
}

void delta_difference_code(struct delta_difference *d, const uint8_t *predicted, uint8_t *p, size_t n) {
        if (delta_columns_reading(d->columns))
                get(d, p, n);
        else
                put(d, predicted, p, n);
}

void delta_difference_finish(struct delta_difference *d) {
        end_run(d);
        if (d->gap > 0)
                delta_columns_number(d->columns, DELTA_GAPS, d->gap);
        d->gap = 0;
}
