/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a process which has gone quiet need not keep. */
#pragma once

#include "base/macros.h"

/* Gives unused heap back and lets go of the pages of program and library code, which the kernel maps again
 * from its cache, or from disk, as they are next used. What a program ran once at its start (and the
 * constructors of libraries that came along unasked) is most of what a small idle daemon has resident. Costs
 * some page faults after; call it when nothing has happened for a while. Safe at any time, from any thread.
 */
void memory_give_back(void);
