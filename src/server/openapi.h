/* SPDX-License-Identifier: Apache-2.0 */
/* docs/openapi.json, built in by embed.py. */
#pragma once

#include <stddef.h>

extern const char openapi_document[];
extern const size_t openapi_document_len;
