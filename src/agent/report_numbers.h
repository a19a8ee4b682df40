/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of reports: every one higher than all before, over restarts, whatever the clock does, so that the
 * server can tell an old report from a new one (docs/protocol.md, "Status").
 *
 * The file names a number that none has reached yet; it is written, durably, once in REPORT_NUMBERS_AT_ONCE
 * reports and at every start, so a start skips some. While it cannot be written (a full disk) numbers go on
 * without it, and it is tried again with each. Then a second start may use some of them again, and the server
 * hears nothing of this node until they are passed, or its certificate is renewed. */
#pragma once

#include "base/err.h"

#define REPORT_NUMBERS_AT_ONCE 1000

struct report_numbers;
/* A file that is not there, or damaged, is as good as none: see report_numbers_are_known(). -ENOMEM. */
int report_numbers_open(const char *path, struct report_numbers **ret, struct err **err);
struct report_numbers *report_numbers_free(struct report_numbers *n);
DEFINE_CLEANUP(struct report_numbers, report_numbers_free)

/* Does it know which numbers were used before? If not, a new certificate is needed to be heard. */
bool report_numbers_are_known(const struct report_numbers *n);
int64_t report_numbers_next(struct report_numbers *n);
