/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/object_store.h"
