/* SPDX-License-Identifier: Apache-2.0 */
/* What a path is, where that is clear: guesses that would be wrong now and then are questions instead. */
#pragma once

#include "repo/artifact.h"

/* said: the name of a type, or NULL. */
int artifact_guess_type(const char *said, const char *path, enum artifact_type *ret, struct err **err);
/* said: a platform, or NULL: a program's is read in its ELF header, a script or other file is for any; an
 * image's own is to be asked later ("" in ret). */
int artifact_guess_platform(const char *said, enum artifact_type type, const char *path,
                            char ret[PLATFORM_MAX], struct err **err);
