/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http_client.h"
