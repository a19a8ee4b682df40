/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a delta go, printed. */
#pragma once

#include "base/buf.h"
#include "codec/json.h"
#include "repo/delta/make.h"

json_t *delta_rows_json(const struct delta_report *report) _must_use_; /* [{kind, targetBytes, deltaBytes}] */
/* The dearest kinds, a line each behind `indent`, and what the others come to. */
void delta_rows_put(struct buf *out, const char *indent, const struct delta_report *report);
