/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as YAML that YAML 1.1 and 1.2 read alike, in the manner of SOPS (four blanks a level). */
#pragma once

#include <jansson.h>

#include "base/buf.h"

/* The members of an object, as deep as it goes. -ENOMEM, -EMSGSIZE. */
int sops_yaml_append(const json_t *object, struct buf *out);
