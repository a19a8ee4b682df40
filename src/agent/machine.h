/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of the machine that the fleet is told. */
#pragma once

#include <jansson.h>

#include "base/macros.h"

/* {"hostname","kernel","os","osId","osVersion","machineId","arch","cpus","memoryBytes","diskBytes","tpm",
 * "addresses":[],"bootSlot"?}; NULL when memory is out. With a sysroot of its own, os and machine id are
 * those of the sysroot where it has them. */
json_t *machine_facts(const char *sysroot) _must_use_;
/* "linux/amd64" */
const char *machine_platform(void);
