/* SPDX-License-Identifier: Apache-2.0 */
/* The numbered files of migrations/, built in by embed.py. */
#pragma once

#include "db/db.h"

extern const struct db_migration migrations[];
extern const size_t migrations_len;
